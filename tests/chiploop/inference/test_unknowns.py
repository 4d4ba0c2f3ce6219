"""The vector of all that is estimated: names, places, and what each chip makes of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest

from chiploop.inference.prior import Prior
from chiploop.inference.unknowns import Unknowns
from chiploop.models.facts import DonorSpread
from chiploop.models.tissue_model import PriorSpec
from tests.chiploop.inference.linear_study import CHIPS, DONORS, LINES, prior_of, varied

PRIOR = Prior.of(
    [
        PriorSpec("IC50", "lognormal", "nM", 30.0, 0.8),
        PriorSpec("Bmax", "truncated_normal", "1", 0.6, 0.3, 0.0, 0.98),
        PriorSpec("kB", "lognormal", "1/h", 0.02, 0.3),
    ],
    [DonorSpread("kB", 0.15, 0.4), DonorSpread("Bmax", 0.1, 0.2)],
    dose_sd=0.05,
)
EFFECTS = ("TEER of chip A", "TEER of donor d1")
UNKNOWNS = Unknowns.of(PRIOR, CHIPS, DONORS, LINES, EFFECTS)


def some_z(n: int = 5, unknowns: Unknowns = UNKNOWNS) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, unknowns.dims))


def test_every_entry_has_its_name_at_its_place() -> None:
    assert UNKNOWNS.names == (
        "IC50", "Bmax", "kB",
        "spread of kB", "spread of Bmax",
        "kB of d1", "Bmax of d1", "kB of d2", "Bmax of d2",
        "dose of L1", "dose of L2",
        "TEER of chip A", "TEER of donor d1",
    )  # fmt: skip
    assert UNKNOWNS.dims == len(UNKNOWNS.names) == len(set(UNKNOWNS.names))
    for place, wanted in (
        (UNKNOWNS.at_spreads, ("spread of kB", "spread of Bmax")),
        (UNKNOWNS.at_deviations, ("kB of d1", "Bmax of d1", "kB of d2", "Bmax of d2")),
        (UNKNOWNS.at_doses, ("dose of L1", "dose of L2")),
        (UNKNOWNS.at_effects, EFFECTS),
    ):
        assert UNKNOWNS.names[place] == wanted
    deviations = UNKNOWNS.deviations(np.arange(13.0)[None])
    assert deviations[0].tolist() == [[5.0, 6.0], [7.0, 8.0]]


def test_a_chips_parameters_are_its_donors_own_around_the_populations() -> None:
    z = some_z()
    found = UNKNOWNS.chip_parameters(z)
    assert found.shape == (5, 4, 3)
    at = {name: z[:, j] for j, name in enumerate(UNKNOWNS.names)}
    for c, chip in enumerate(CHIPS):
        donor = DONORS[chip]
        assert found[:, c, 0] == pytest.approx(30.0 * np.exp(0.8 * at["IC50"])), "the same for all"
        sd = 0.15 * np.exp(0.4 * at["spread of kB"])
        ln_kb = np.log(0.02) + 0.3 * at["kB"] + sd * at[f"kB of {donor}"]
        assert found[:, c, 2] == pytest.approx(np.exp(ln_kb)), "sd is of ln(value), as stated"
    assert np.array_equal(found[:, 0], found[:, 1]), "chips of one donor"
    assert np.all((found[..., 1] > 0.0) & (found[..., 1] < 0.98)), "a donor stays within the bounds"
    middle = replace(PRIOR, donor_spreads=(DonorSpread("Bmax", 1e-4, 0.0),))
    few = Unknowns.of(middle, CHIPS, DONORS, LINES)
    z = np.zeros((1, few.dims))
    z[0, few.names.index("Bmax of d2")] = 1.0
    moved = few.chip_parameters(z)[0, :, 1] - few.chip_parameters(0 * z)[0, :, 1]
    slope = middle.mapped(np.zeros((1, 3)))[1][0, 1]
    assert moved == pytest.approx([0, 0, 1e-4 / 0.3 * slope, 1e-4 / 0.3 * slope], rel=1e-3)


def test_a_chips_drug_is_its_lines() -> None:
    z = some_z()
    found = UNKNOWNS.drug_factors(z)
    assert found is not None
    l1, l2 = (np.exp(0.05 * z[:, UNKNOWNS.names.index(f"dose of {line}")]) for line in ("L1", "L2"))
    assert found == pytest.approx(np.stack([l1, l2, l1, l2], axis=1))


def test_what_does_not_differ_takes_no_place() -> None:
    shared = Unknowns.of(prior_of(3), CHIPS, DONORS, LINES)
    assert shared.names == ("k0", "k1", "k2")
    assert shared.is_shared and not UNKNOWNS.is_shared
    z = some_z(4, shared)
    assert shared.chip_parameters(z).shape == (4, 3)
    assert shared.drug_factors(z) is None
    dosed = Unknowns.of(prior_of(3, dose_sd=0.1), CHIPS, DONORS, LINES)
    assert dosed.names == ("k0", "k1", "k2", "dose of L1", "dose of L2")
    known = Unknowns.of(prior_of(3, varied(1)), CHIPS, DONORS, LINES)
    assert known.names == ("k0", "k1", "k2", "spread of k1", "k1 of d1", "k1 of d2")


@pytest.mark.parametrize(
    "unknowns",
    [
        UNKNOWNS,
        Unknowns.of(PRIOR, CHIPS, DONORS, LINES),
        Unknowns.of(prior_of(3), CHIPS, DONORS, LINES, EFFECTS),
        Unknowns.of(prior_of(3, dose_sd=0.3), CHIPS, DONORS, LINES),
        Unknowns.of(prior_of(3, varied(0, 2, ln_sd=0.5)), CHIPS, DONORS, LINES),
    ],
    ids=["all", "no effects", "shared", "doses", "donors"],
)
def test_the_chain_rule_is_that_of_differences(unknowns: Unknowns) -> None:
    rng = np.random.default_rng(4)
    chip = np.array([0, 3, 1, 2, 2, 0])
    weights = rng.standard_normal((len(chip), unknowns.p))
    by_dose = rng.standard_normal(len(chip))

    def quantities(z: np.ndarray) -> np.ndarray:
        own = unknowns.chip_parameters(z)
        own = own[:, None].repeat(len(CHIPS), axis=1) if own.ndim == 2 else own
        factors = unknowns.drug_factors(z)
        found = (np.sqrt(own[:, chip]) * weights).sum(axis=2)
        return found if factors is None else found + by_dose * factors[:, chip] ** 2

    z = some_z(4, unknowns)
    own = unknowns.chip_parameters(z)
    own = own[:, None].repeat(len(CHIPS), axis=1) if own.ndim == 2 else own
    slopes = 0.5 / np.sqrt(own[:, chip]) * weights
    factors = unknowns.drug_factors(z)
    if factors is not None:
        slopes = np.concatenate([slopes, (2 * by_dose * factors[:, chip])[..., None]], axis=2)
    h = 1e-5
    wanted = np.stack(
        [
            (quantities(z + h * unit) - quantities(z - h * unit)) / (2 * h)
            for unit in np.eye(unknowns.dims)
        ],
        axis=-1,
    )
    found = unknowns.chained(z, slopes, chip)
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-8)
    assert not found[..., unknowns.at_effects].any(), "effects are the likelihood's"


def test_a_donor_that_nothing_is_known_of_is_a_draw_from_the_population() -> None:
    """Population as learned, its deviation as before: ln kB scatters by the donors' sd around it."""
    exactly = Unknowns.of(
        replace(PRIOR, donor_spreads=(DonorSpread("kB", 0.15, 0.0),)), CHIPS, DONORS, LINES
    )
    z = np.random.default_rng(1).standard_normal((20_000, exactly.dims))
    z[:, :3] = 0.1 * z[:, :3] + 0.5  # the population after a calibration
    own = PRIOR.parameters(exactly.donor_standard(z))
    population = PRIOR.parameters(z[:, :3])
    for d in range(2):
        gap = np.log(own[:, d, 2] / population[:, 2]) / 0.15
        assert kstest(gap, "norm").pvalue > 0.01
        assert kstest(gap / 1.1, "norm").pvalue < 1e-3, "a wider one is told apart"
    assert np.array_equal(own[:, 0, :2], population[:, :2])


def test_a_donor_spread_of_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match="kX differ between donors, but have no prior"):
        Prior.of(PRIOR.specs, [DonorSpread("kX", 0.1, 0.1)])

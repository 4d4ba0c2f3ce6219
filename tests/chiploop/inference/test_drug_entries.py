"""Which parameters are a drug's own, where they stand, and what chips of either drug make of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.matched_study import matched_study, schedules_of
from chiploop.inference.drug_entries import ONE_DRUG, DrugEntries, drug_entries
from chiploop.inference.posterior import Posterior
from chiploop.inference.prior import Prior
from chiploop.inference.surrogate import Surrogate
from chiploop.inference.target import Target
from chiploop.inference.unknowns import Unknowns
from chiploop.models.facts import DonorSpread
from chiploop.models.study_model import model_of
from chiploop.models.tissue_model import PriorSpec
from chiploop.next_exposure import likelihood_of
from chiploop.protocols_path import protocols_folder
from chiploop.record.posterior_file import read_posterior, write_posterior
from chiploop.study import load_study
from tests.chiploop.campaigns import PASSED

STUDIES = protocols_folder() / "studies"
TWO = load_study(STUDIES / "ad_jak_two_drugs.yaml")
ONE = load_study(STUDIES / "ad_jak_dose_finding.yaml")
UPA, ABRO = TWO.drugs
CHIPS = ("A", "B", "C", "D")
DONORS = {"A": "d1", "B": "d1", "C": "d2", "D": "d2"}
LINES = {"A": "L1", "B": "L2", "C": "L1", "D": "L2"}
DRUGS = {"A": "u", "B": "a", "C": "u", "D": "a"}
ENTRIES = DrugEntries.of(("EC4", "IC50", "TC50"), ("IC50", "TC50"), ("u", "a"))
PRIOR = replace(
    Prior.of(
        [
            PriorSpec(name, "lognormal", "nM", center, 0.5)
            for name, center in zip(ENTRIES.names, (0.1, 30.0, 2e4, 150.0, 3e4), strict=True)
        ],
        [DonorSpread("IC50[u]", 0.1, 0.3), DonorSpread("IC50[a]", 0.2, 0.3)],
        dose_sd=0.05,
    ),
    drugs=ENTRIES,
)
UNKNOWNS = Unknowns.of(PRIOR, CHIPS, DONORS, LINES, drugs=DRUGS)


def test_the_first_drug_has_the_models_places_and_the_others_follow() -> None:
    assert ENTRIES.names == ("EC4", "IC50[u]", "TC50[u]", "IC50[a]", "TC50[a]")
    assert ENTRIES.places.tolist() == [[0, 1, 2], [0, 3, 4]]
    assert [ENTRIES.drug_of(entry) for entry in range(5)] == [None, "u", "u", "a", "a"]
    values = np.arange(5.0)
    assert ENTRIES.of_drug(values, "u").tolist() == [0.0, 1.0, 2.0]
    assert ENTRIES.of_drug(values, "a").tolist() == [0.0, 3.0, 4.0]
    for wrong in ("b", None):
        with pytest.raises(ValueError, match="there are u, a"):
            ENTRIES.of_drug(values, wrong)
    assert (
        DrugEntries.named(ENTRIES.names, ENTRIES.drugs).places.tolist() == ENTRIES.places.tolist()
    )


@pytest.mark.parametrize("name", ["skin_chip", "psoriasis_chip"])
def test_what_nothing_shows_of_without_drug_is_a_drugs_own_and_nothing_else(name: str) -> None:
    """Potency, slope and toxicity: toxicity above all, which one drug can not show for another."""
    study = load_study(STUDIES / "psoriasis_tyk2.yaml") if name == "psoriasis_chip" else ONE
    other = study.drug.model_copy(update={"name": "other"})
    entries = drug_entries(model_of(study), study.model_copy(update={"further_drugs": (other,)}))
    own = {entry.removesuffix("[other]") for entry in entries.names if "[other]" in entry}
    assert own == {"IC50", "h", "TC50", "ktox"}


def test_one_drug_has_no_entries_of_its_own() -> None:
    model = model_of(ONE)
    assert drug_entries(model, ONE) is ONE_DRUG
    prior = Prior.of_study(model, ONE)
    assert prior.names == model.estimated_names
    assert prior.donor_spreads == model.donor_spreads
    target = Target(likelihood_of(ONE, schedules_of(ONE, [[0.0] * 4]), ()), prior)
    assert not target.unknowns.drug_of.size
    assert not any("[" in entry for entry in target.names)
    values = np.random.default_rng(0).standard_normal((2, 3, target.unknowns.p))
    chips = np.arange(3)
    assert target.unknowns.own(values, chips) is values, "not even copied"
    assert target.unknowns.at_entries(values, chips) is values


def test_each_drugs_potency_has_the_prior_of_its_own_file() -> None:
    prior = Prior.of_study(model_of(TWO), TWO)
    specs = {spec.name: spec for spec in prior.specs}
    assert specs[f"IC50[{UPA}]"].center == 30.0
    assert specs[f"IC50[{ABRO}]"].center == 150.0
    assert specs[f"TC50[{UPA}]"].center == specs[f"TC50[{ABRO}]"].center
    assert [s.name for s in prior.donor_spreads] == [
        "EC13", f"IC50[{UPA}]", "kB", f"IC50[{ABRO}]",
    ]  # fmt: skip


def test_a_chips_parameters_are_those_of_its_own_drug_and_donor() -> None:
    z = np.random.default_rng(0).standard_normal((6, UNKNOWNS.dims))
    at = {name: z[:, j] for j, name in enumerate(UNKNOWNS.names)}
    found = UNKNOWNS.chip_parameters(z)
    assert found.shape == (6, 4, 3)
    for c, chip in enumerate(CHIPS):
        drug, donor = DRUGS[chip], DONORS[chip]
        sd = {"u": 0.1, "a": 0.2}[drug] * np.exp(0.3 * at[f"spread of IC50[{drug}]"])
        ln = np.log({"u": 30.0, "a": 150.0}[drug]) + 0.5 * at[f"IC50[{drug}]"]
        assert found[:, c, 1] == pytest.approx(np.exp(ln + sd * at[f"IC50[{drug}] of {donor}"]))
        tc50 = {"u": 2e4, "a": 3e4}[drug] * np.exp(0.5 * at[f"TC50[{drug}]"])
        assert found[:, c, 2] == pytest.approx(tc50)
        assert found[:, c, 0] == pytest.approx(0.1 * np.exp(0.5 * at["EC4"])), "every drug's"


def test_the_chain_rule_through_drugs_is_that_of_differences() -> None:
    rng = np.random.default_rng(4)
    chip = np.array([0, 3, 1, 2, 2, 0])
    weights = rng.standard_normal((len(chip), 3))

    def quantities(z: np.ndarray) -> np.ndarray:
        factors = UNKNOWNS.drug_factors(z)
        assert factors is not None
        own = np.sqrt(UNKNOWNS.chip_parameters(z)[:, chip])
        return np.asarray((own * weights).sum(axis=2) + factors[:, chip] ** 2)

    z = rng.standard_normal((4, UNKNOWNS.dims))
    own, factors = UNKNOWNS.chip_parameters(z)[:, chip], UNKNOWNS.drug_factors(z)
    assert factors is not None
    slopes = np.concatenate([0.5 / np.sqrt(own) * weights, 2 * factors[:, chip, None]], axis=2)
    h = 1e-5
    wanted = np.stack(
        [(quantities(z + h * u) - quantities(z - h * u)) / (2 * h) for u in np.eye(UNKNOWNS.dims)],
        axis=-1,
    )
    assert UNKNOWNS.chained(z, slopes, chip) == pytest.approx(wanted, rel=1e-6, abs=1e-8)


def target_of(seed: int = 3) -> Target:
    matched = matched_study(TWO, ((60.0, 480.0, 240.0, 1920.0),), seed)
    likelihood = likelihood_of(TWO, matched.schedules, matched.readouts)
    return Target(likelihood, Prior.of_study(model_of(TWO), TWO))


def test_a_drugs_readings_say_nothing_of_another_drugs_parameters() -> None:
    target = target_of()
    z = 0.3 * np.random.default_rng(1).standard_normal((1, target.dims))
    _, jacobian = target.linearised(z)
    rows = target.likelihood.rows.chip[target.likelihood.row_of]
    of_upa = np.array([target.likelihood.drugs[target.likelihood.chips[c]] == UPA for c in rows])
    # readings of donors and plates share scatter, so that what is whitened is taken back first
    blocks, at = target.likelihood.blocks, 0
    by_z = np.zeros_like(jacobian[0])
    for block in blocks:
        size = len(block.rows)
        by_z[at : at + size] = block.factor @ jacobian[0, at : at + size]
        at += size
    for j, name in enumerate(target.names):
        if f"[{UPA}]" in name:
            assert np.abs(by_z[~of_upa, j]).max() < 1e-9, name
        if f"[{ABRO}]" in name:
            assert np.abs(by_z[of_upa, j]).max() < 1e-9, name
    assert np.abs(by_z[of_upa][:, target.names.index(f"IC50[{UPA}]")]).max() > 1e-3
    assert np.abs(by_z[~of_upa][:, target.names.index(f"IC50[{ABRO}]")]).max() > 1e-3


def test_the_surrogates_gradient_through_drugs_is_that_of_differences() -> None:
    target = target_of()
    rng = np.random.default_rng(2)
    z = 0.3 * rng.standard_normal((Surrogate.least_points(target) + 60, target.dims))
    means = target.likelihood.plain_means(target.predicted(z))
    surrogate = Surrogate.trained(target, z, means, np.ones(len(z)))
    at = z[:2]
    density, gradient = surrogate.log_posterior(at)
    h = 3e-3
    for name in (f"IC50[{UPA}]", f"IC50[{ABRO}]", f"h[{ABRO}]", "EC4", f"IC50[{ABRO}] of D2"):
        unit = h * np.eye(target.dims)[target.names.index(name)]
        up, down = (surrogate.log_posterior(at + s * unit)[0] for s in (1, -1))
        assert gradient[:, target.names.index(name)] == pytest.approx(
            (up - down) / (2 * h), rel=2e-2, abs=2e-2
        ), name
    assert np.isfinite(density).all()


def some_posterior() -> Posterior:
    z = np.random.default_rng(5).standard_normal((8, UNKNOWNS.dims))
    return Posterior(
        names=PRIOR.names,
        units=("nM",) * 5,
        particles=PRIOR.parameters(z[:, :5]),
        standard=z,
        mode=PRIOR.parameters(z[:1, :5])[0],
        entries=UNKNOWNS.names,
        donors=UNKNOWNS.donors,
        of_donors=PRIOR.parameters(UNKNOWNS.donor_standard(z)),
        lines=UNKNOWNS.lines,
        drug_factors=np.exp(0.05 * z[:, UNKNOWNS.at_doses]),
        drugs=ENTRIES,
    )


def test_a_posterior_gives_chips_of_either_drug_their_own_parameters() -> None:
    posterior = some_posterior()
    chosen = np.arange(8)
    drugs = [DRUGS[chip] for chip in CHIPS]
    own = posterior.chip_parameters([DONORS[chip] for chip in CHIPS], chosen, drugs)
    assert own == pytest.approx(UNKNOWNS.chip_parameters(posterior.standard))
    with pytest.raises(ValueError, match="shorter"):
        posterior.chip_parameters(["d1", "d2"], chosen)


def test_the_file_of_a_posterior_keeps_its_drugs(tmp_path: Path) -> None:
    posterior = some_posterior()
    write_posterior(tmp_path / "two.nc", posterior, PASSED)
    again, _ = read_posterior(tmp_path / "two.nc")
    assert again.names == posterior.names and again.drugs.drugs == ("u", "a")
    assert np.array_equal(again.drugs.places, ENTRIES.places)
    assert np.array_equal(again.of_donors, posterior.of_donors)
    one = replace(posterior, drugs=ONE_DRUG)
    write_posterior(tmp_path / "one.nc", one, PASSED)
    assert read_posterior(tmp_path / "one.nc")[0].drugs is ONE_DRUG

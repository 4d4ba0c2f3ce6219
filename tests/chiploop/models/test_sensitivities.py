"""Derivatives of readouts: neighbouring lanes against the analytic tangent system and high-order differences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chiploop.models.compiler import compile_model
from chiploop.models.inlet import ChipInlet
from chiploop.models.sbml import read_model
from chiploop.models.tangent import ALONG, SLOPE, tangent_model
from chiploop.models.tissue_model import MODELS, TissueModel
from tests.chiploop.models.chips import DEMO, inlet, parameters
from tests.chiploop.models.test_tissue_model import STUDY

TIMES = np.array([30.0, 48.0, 72.0, 100.0, 124.0])
STARTS = np.array([np.nan, np.nan, 48.0, np.nan, 100.0])
CHIPS = [inlet(STUDY), inlet(STUDY, "D", 0.5)]


@pytest.fixture(scope="module")
def precise() -> TissueModel:
    return TissueModel("skin_chip", MODELS["skin_chip"], 1e-9, readouts=DEMO)


def share_of_range(difference: np.ndarray, set_: np.ndarray, readouts: np.ndarray) -> np.ndarray:
    """Return |difference of slopes| as change of a readout per doubling-like change of ln parameter."""
    scale = np.nanmax(np.abs(readouts), axis=(0, 1, 2))
    return np.abs(difference * set_) / scale[:, None]


def by_differences(model: TissueModel, set_: np.ndarray) -> np.ndarray:
    """Return slopes by central differences of order four."""
    columns = []
    for j in range(set_.shape[1]):
        h = 3e-3 * set_[0, j]
        moved = np.repeat(set_, 4, axis=0)
        moved[:, j] += h * np.array([-2.0, -1.0, 1.0, 2.0])
        a, b, c, d = model.simulate(moved, CHIPS, TIMES, STARTS).readouts
        columns.append((a - 8 * b + 8 * c - d) / (12 * h))
    return np.stack(columns, axis=-1)[None]


@pytest.mark.parametrize("case", ["default", "potent", "weak"])
def test_sensitivities_agree_with_differences_of_fourth_order(
    precise: TissueModel, case: str
) -> None:
    changed = {
        "default": {},
        "potent": {"IC50": 3.0, "h": 2.2, "Bmax": 0.2},
        "weak": {"IC50": 900.0, "EC4": 0.5, "ktox": 0.05, "TC50": 4000.0},
    }[case]
    set_ = parameters(precise, **changed)
    readouts, slopes = precise.sensitivities(set_, CHIPS, TIMES, STARTS)
    plain = precise.simulate(set_, CHIPS, TIMES, STARTS).readouts
    assert readouts == pytest.approx(plain, rel=1e-7, nan_ok=True)
    off = share_of_range(slopes - by_differences(precise, set_), set_[0], readouts)
    assert np.nanmax(off) < 1e-5
    assert np.isnan(off).sum() == np.isnan(readouts).sum() * set_.shape[1]


def test_at_the_usual_tolerance_they_are_as_good_as_the_simulation(precise: TissueModel) -> None:
    usual = TissueModel("skin_chip", MODELS["skin_chip"], readouts=DEMO)
    set_ = parameters(precise)
    _, wanted = precise.sensitivities(set_, CHIPS, TIMES, STARTS)
    readouts, slopes = usual.sensitivities(set_, CHIPS, TIMES, STARTS)
    assert np.nanmax(share_of_range(slopes - wanted, set_[0], readouts)) < 1e-5


def test_the_tangent_system_says_the_same(precise: TissueModel, tmp_path: Path) -> None:
    names = precise.estimated_names
    model = tangent_model(read_model(precise.text, "skin_chip"), names)
    observed = [SLOPE + "TEER", f"integral_{SLOPE}C26", SLOPE + "V"]
    compiled = compile_model(
        precise.text, "skin_chip", precise.compiled.inputs, observed, [SLOPE + "C26"],
        tmp_path, model=model,
    )  # fmt: skip
    set_ = parameters(precise)
    directions = np.eye(len(names))
    rows = compiled.parameter_rows(
        len(names),
        {
            **{name: set_[0, j] for j, name in enumerate(names)},
            **{ALONG + name: directions[:, j] for j, name in enumerate(names)},
        },
    )
    schedules = [precise.schedule(chip, {}) for chip in CHIPS]
    found = compiled.run(rows, schedules, TIMES, rtol=1e-9).observed  # (p, chips, times, 3)
    readouts, slopes = precise.sensitivities(set_, CHIPS, TIMES, STARTS)
    ends, begins = [2, 4], [1, 3]  # the windows of STARTS
    wanted = [
        found[..., 0],
        (found[:, :, ends, 1] - found[:, :, begins, 1]) / 24.0,
        -(found[:, :, ends, 2] - found[:, :, begins, 2]),
    ]
    for r, reference in enumerate(wanted):
        got = slopes[0, :, :, r] if r == 0 else slopes[0][:, ends, r]
        scale = np.nanmax(np.abs(readouts[..., r]))
        assert np.abs((got - np.moveaxis(reference, 0, -1)) * set_[0]).max() < 5e-6 * scale


def test_a_slope_that_is_one_percent_off_does_not_pass(precise: TissueModel) -> None:
    set_ = parameters(precise)
    readouts, slopes = precise.sensitivities(set_, CHIPS, TIMES, STARTS)
    off = share_of_range(1.01 * slopes - by_differences(precise, set_), set_[0], readouts)
    assert np.nanmax(off) > 1e-3


def test_many_sets_give_what_each_gives_alone(precise: TissueModel) -> None:
    rng = np.random.default_rng(4)
    sets = parameters(precise) * np.exp(0.2 * rng.standard_normal((3, 16)))
    sets[:, precise.estimated_names.index("Fmax")] = 0.8
    readouts, slopes = precise.sensitivities(sets, CHIPS, TIMES, STARTS)
    for i in range(3):
        one, slope = precise.sensitivities(sets[i], CHIPS, TIMES, STARTS)
        assert np.array_equal(one[0], readouts[i], equal_nan=True)
        assert np.array_equal(slope[0], slopes[i], equal_nan=True)


def own_sets(model: TissueModel, n: int = 2) -> np.ndarray:
    """Return parameters (n, chips, p), every chip its own."""
    rng = np.random.default_rng(7)
    sets = parameters(model) * np.exp(0.2 * rng.standard_normal((n, 2, 16)))
    sets[..., model.estimated_names.index("Fmax")] = 0.8
    return np.asarray(sets)


def test_a_chip_with_its_own_parameters_has_their_derivatives(precise: TissueModel) -> None:
    sets = own_sets(precise)
    readouts, slopes = precise.sensitivities(sets, CHIPS, TIMES, STARTS)
    assert slopes.shape == (2, 2, 5, 3, 16)
    for c, chip in enumerate(CHIPS):
        one, slope = precise.sensitivities(sets[:, c], [chip], TIMES, STARTS)
        assert np.array_equal(one[:, 0], readouts[:, c], equal_nan=True)
        assert np.array_equal(slope[:, 0], slopes[:, c], equal_nan=True)


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
def test_the_last_derivative_is_by_the_factor_of_the_chips_drug(
    precise: TissueModel, own: bool
) -> None:
    sets = own_sets(precise) if own else own_sets(precise)[:, 0]
    factors = np.array([[1.0, 1.3], [0.8, 1.1]])
    readouts, slopes = precise.sensitivities(sets, CHIPS, TIMES, STARTS, drug_factors=factors)
    assert slopes.shape == (2, 2, 5, 3, 17)
    plain = precise.simulate(sets, CHIPS, TIMES, STARTS, drug_factors=factors).readouts
    assert readouts == pytest.approx(plain, rel=1e-7, nan_ok=True)
    h = 3e-3
    moved = [
        precise.simulate(sets, CHIPS, TIMES, STARTS, drug_factors=factors * (1 + k * h)).readouts
        for k in (-2, -1, 1, 2)
    ]
    by_ln = (moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / (12 * h)
    scale = np.nanmax(np.abs(readouts), axis=(0, 1, 2))
    off = np.abs(slopes[..., 16] * factors[:, :, None, None] - by_ln) / scale
    assert np.nanmax(off) < 1e-5
    assert np.nanmax(np.abs(by_ln) / scale) > 0.01, "the drug is felt"
    assert (
        np.nanmax(np.abs(1.01 * slopes[..., 16] * factors[:, :, None, None] - by_ln) / scale) > 1e-4
    )
    # the others are those of the same dose, given as one
    given = [
        ChipInlet(c.chip_id, c.edges_h, c.inputs * np.array([1, f, 1, 1]), c.constants)
        for c, f in zip(CHIPS, factors[0], strict=True)
    ]
    _, wanted = precise.sensitivities(sets[:1], given, TIMES, STARTS)
    sizes = sets[0] if not own else sets[0][:, None, None]
    off = np.abs((slopes[:1, ..., :16] - wanted) * sizes) / scale[:, None]
    assert np.nanmax(off) < 1e-6


def test_a_parameter_at_zero_has_its_derivative_too(precise: TissueModel) -> None:
    set_ = parameters(precise, Bmax=0.0)
    _, slopes = precise.sensitivities(set_, CHIPS, TIMES, STARTS)
    near = parameters(precise, Bmax=1e-4)
    j = precise.estimated_names.index("Bmax")
    change = (
        precise.simulate(near, CHIPS, TIMES, STARTS).readouts
        - precise.simulate(set_, CHIPS, TIMES, STARTS).readouts
    )
    assert slopes[..., 0, j] == pytest.approx(change[..., 0] / 1e-4, rel=1e-3)


def test_a_failed_trajectory_has_no_derivative(precise: TissueModel) -> None:
    sets = np.concatenate([parameters(precise), parameters(precise, kB=np.inf)])
    readouts, slopes = precise.sensitivities(sets, CHIPS, TIMES, STARTS)
    assert np.isnan(readouts[1]).all() and np.isnan(slopes[1]).all()
    assert np.isfinite(slopes[0, ..., 0, :]).all()


def test_derivatives_across_events_are_refused() -> None:
    text = "model mine\nT = 3; x = 1; x' = -x; at (time >= T): x = 2;\nend\n"
    with pytest.raises(ValueError, match="across events"):
        tangent_model(read_model(text, "mine"), ["T"])

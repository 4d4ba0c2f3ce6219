"""The goal as a number of a tissue: found where a known curve has it, capped and said where not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiploop.goals import (
    GRID_NM,
    REST_H,
    estimate,
    estimates,
    goal_values,
    reference_inlets,
)
from chiploop.models.facts import ModelFacts
from chiploop.models.inlet import ChipInlet
from chiploop.models.study_model import model_of
from chiploop.models.tissue_model import ReadoutSpec, Simulation
from chiploop.study import Goal, Study, load_study

STUDY = load_study(Path(__file__).parents[2] / "protocols" / "studies" / "ad_jak_dose_finding.yaml")


@dataclass(frozen=True)
class HillModel:
    """Readouts that follow Hill curves: parameters (n, 3) are EC50 nM, slope, residual effect."""

    facts: ModelFacts = STUDY.tissue
    readouts: tuple[ReadoutSpec, ...] = (
        ReadoutSpec("TEER", "moment", "ohm*cm2", "log"),
        ReadoutSpec("CCL26", "window_mean", "pg/mL", "log"),
    )

    def simulate(
        self,
        parameters: np.ndarray,
        inlets: list[ChipInlet],
        times_h: np.ndarray,
        window_starts_h: np.ndarray,
    ) -> Simulation:
        ec50, slope, left = np.asarray(parameters, dtype=float).T[:, :, None]
        drug = np.array([inlet.inputs[-1, 1] for inlet in inlets])
        stimulus = np.array([float(inlet.inputs[-1, 3] > 0) for inlet in inlets])
        effect = stimulus * (left + (1 - left) / (1 + (drug / ec50) ** slope))
        readouts = np.stack([1500.0 - 1000.0 * effect, 3.0 + 200.0 * effect], axis=-1)[:, :, None]
        n, c = effect.shape
        return Simulation(readouts, np.zeros((n, c, 0)), np.ones((n, c, 1)), 0, n * c)


def found(
    parameters: list[list[float]], fraction: float = 0.5, study: Study = STUDY
) -> dict[str, np.ndarray]:
    goals = tuple(
        Goal(name=f"EC_{readout}", readout=readout, effect_fraction=fraction, exposure_h=48.0)
        for readout in ("CCL26", "TEER")
    )
    return goal_values(HillModel(), study.model_copy(update={"goals": goals}), np.array(parameters))  # type: ignore[arg-type]


@pytest.mark.parametrize("ec50", [0.7, 30.0, 3333.0, 2e5])
@pytest.mark.parametrize("slope", [0.7, 1.0, 2.0])
def test_the_ec50_of_a_hill_curve_is_found_within_a_percent(ec50: float, slope: float) -> None:
    for values in found([[ec50, slope, 0.0]]).values():
        assert values == pytest.approx([ec50], rel=0.01)


@pytest.mark.parametrize(("fraction", "ratio"), [(0.1, 1 / 9), (0.5, 1.0), (0.9, 9.0)])
def test_any_fraction_of_the_effect_can_be_asked_for(fraction: float, ratio: float) -> None:
    for values in found([[100.0, 1.0, 0.0]], fraction).values():
        assert values == pytest.approx([100.0 * ratio], rel=0.01)


def test_a_fall_and_a_rise_count_alike_and_the_effect_is_that_of_the_stimulus() -> None:
    half_left = found([[100.0, 1.0, 0.25]])
    # 0.25 + 0.75 / (1 + x) = 0.5 at x = 2
    assert half_left["EC_CCL26"] == pytest.approx([200.0], rel=0.01)
    assert half_left["EC_TEER"] == pytest.approx(half_left["EC_CCL26"], rel=1e-9)


def test_an_effect_that_no_concentration_has_is_infinite() -> None:
    values = found([[100.0, 1.0, 0.6], [100.0, 1.0, 0.0], [1e9, 1.0, 0.0]])["EC_CCL26"]
    assert np.isinf(values).tolist() == [True, False, True]


def test_an_effect_reached_below_the_grid_is_the_grids_beginning() -> None:
    assert found([[1e-3, 1.0, 0.0]])["EC_CCL26"].tolist() == [GRID_NM[0]]


def test_without_stimulus_there_is_no_effect_to_halve() -> None:
    plain = STUDY.model_copy(update={"stimulus_ng_ml": {}})
    assert np.isinf(found([[100.0, 1.0, 0.0]], study=plain)["EC_CCL26"]).all()


def test_an_unreached_share_is_reported_and_counts_as_the_grids_end() -> None:
    values = np.concatenate([np.full(80, 100.0), np.full(20, np.inf)])
    one = estimate("EC50", values)
    assert one.unreached == pytest.approx(0.2)
    assert (one.lower, one.median, one.upper) == (100.0, 100.0, GRID_NM[-1])
    assert one.unit == "nM"
    nowhere = estimate("EC50", np.full(10, np.inf))
    assert (nowhere.lower, nowhere.upper, nowhere.unreached) == (GRID_NM[-1], GRID_NM[-1], 1.0)


@given(st.floats(0.5, 0.99))
def test_an_interval_says_its_level_and_holds_it(level: float) -> None:
    values = np.exp(np.random.default_rng(0).standard_normal(4000))
    one = estimate("EC50", values, level)
    assert one.level == level
    inside = np.mean((values >= one.lower) & (values <= one.upper))
    assert inside == pytest.approx(level, abs=2e-3)
    assert np.mean(values < one.lower) == pytest.approx((1 - level) / 2, abs=2e-3)


def test_estimates_keep_the_studys_order() -> None:
    names = [goal.name for goal in STUDY.goals]
    values = {name: np.array([float(i + 1)]) for i, name in enumerate(names)}
    assert [one.name for one in estimates(values)] == names
    assert [one.level for one in estimates(values)] == [0.9] * len(names)


def test_the_reference_experiment_is_a_day_of_rest_then_stimulus_and_drug_together() -> None:
    rest, vehicle, treated = reference_inlets(STUDY, STUDY.tissue, 48.0, np.array([0.0, 70.0]))
    assert [inlet.edges_h.tolist() for inlet in (rest, vehicle, treated)] == [[0, REST_H, 72.0]] * 3
    assert treated.inputs[0].tolist() == [60.0, 0.0, 0.0, 0.0]
    assert treated.inputs[1] == pytest.approx([60.0, 70.0, 0.5 / 15.0, 1.0 / 12.6])
    assert rest.inputs[1].tolist() == [60.0, 0.0, 0.0, 0.0]
    assert treated.constants["flg_dose"] == 1.0


def test_the_goal_of_the_tissue_moves_with_its_potency_and_is_near_the_demos_doses() -> None:
    model = model_of(STUDY)
    center = np.array([[spec.center for spec in model.estimated]])
    potent = center.copy()
    potent[0, model.estimated_names.index("IC50")] /= 3.0
    one, other = (goal_values(model, STUDY, p)["EC50_CCL26"][0] for p in (center, potent))
    # drug enters only as D/IC50 here; the wall and the rest are linear, so the shift is exact
    assert other == pytest.approx(one / 3.0, rel=0.01)
    assert 10.0 < one < 1000.0

"""The goal as a number of a tissue: found where a known curve has it, capped and said where not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiploop.goal_curves import GRID_NM, REST_H, Tissue, reference_curves, reference_inlets
from chiploop.goals import (
    GoalDraws,
    donor_tissues,
    estimate,
    estimates,
    goal_draws,
    goal_values,
    meaning,
    target_nm,
    tissue_of,
)
from chiploop.inference.posterior import Posterior
from chiploop.models.facts import ModelFacts
from chiploop.models.inlet import ChipInlet
from chiploop.models.study_model import model_of
from chiploop.models.tissue_model import ReadoutSpec, Simulation
from chiploop.study import Goal, Study, load_study
from chiploop.study_fields import Amount

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
        *,
        chip_factors: None = None,
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


@pytest.mark.parametrize(
    ("fraction", "ratio"), [(0.1, 1 / 9), (0.5, 1.0), (0.9, 9.0), (0.95, 19.0)]
)
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


# --- other goals


def one_goal(parameters: object, study: Study = STUDY, **goal: object) -> GoalDraws:
    """Return the draws of one goal of the curves above."""
    asked = Goal(name="G", readout="TEER", exposure_h=48.0, **goal)  # type: ignore[arg-type]
    limited = study.limits.model_copy(update={"viability": 0.8})
    own = study.model_copy(update={"goals": (asked,), "limits": limited})
    return goal_draws(ToxicHill(), own, np.array(parameters, dtype=float))["G"]  # type: ignore[arg-type]


@dataclass(frozen=True)
class ToxicHill(HillModel):
    """The same, and viability 1 / (1 + c / TC50): parameters (n, 4), the last is TC50 nM."""

    def simulate(
        self, parameters: np.ndarray, inlets: list[ChipInlet], *at: np.ndarray, **more: None
    ) -> Simulation:  # type: ignore[override]
        found = super().simulate(parameters[:, :3], inlets, *at, **more)
        drug = np.array([inlet.inputs[-1, 1] for inlet in inlets])
        found.viability[:, :, 0] = 1.0 / (1.0 + drug / parameters[:, 3:4])
        return found


@pytest.mark.parametrize(("ec50", "slope", "tc50"), [(10.0, 1.0, 4000.0), (300.0, 2.0, 40.0)])
def test_the_therapeutic_index_is_the_closed_form(ec50: float, slope: float, tc50: float) -> None:
    # viability 0.8 at TC50 / 4; 90 % of the effect is gone at EC50 9^(1/slope)
    found = one_goal([[ec50, slope, 0.0, tc50]], kind="therapeutic_index", effect_fraction=0.9)
    assert found.unit == "1"
    assert found.values == pytest.approx([tc50 / 4.0 / (ec50 * 9.0 ** (1.0 / slope))], rel=0.02)


def test_an_index_without_a_harmful_or_a_potent_dose_counts_as_the_grids_end_and_is_told() -> None:
    never, always, inert = [10.0, 1.0, 0.0, 1e12], [10.0, 1.0, 0.0, 4e3], [10.0, 1.0, 0.6, 4e3]
    found = one_goal([never, always, inert], kind="therapeutic_index", effect_fraction=0.5)
    assert np.isnan(found.values).tolist() == [True, False, True]
    end = GRID_NM[-1]
    assert found.capped == pytest.approx([end / 10.0, 100.0, 1000.0 / end], rel=0.02)
    told = estimate("TI", found)
    assert (told.unit, told.unreached) == ("1", pytest.approx(2 / 3))
    assert told.upper <= end / 10.0 * 1.02


def target(value: float, **change: object) -> dict[str, object]:
    """Return a goal of a TEER."""
    return {"kind": "target_response", "target": Amount(value=value, unit="ohm*cm2"), **change}


def test_a_target_is_met_where_the_curve_first_has_it() -> None:
    # TEER 1500 - 1000 / (1 + c / 100): 1000 at c = 100, 1400 at 900
    found = one_goal([[100.0, 1.0, 0.0, 1e9]] * 2, **target(1000.0))
    assert (found.unit, found.values) == ("nM", pytest.approx([100.0] * 2, rel=0.01))
    assert one_goal([[100.0, 1.0, 0.0, 1e9]], **target(1400.0)).values == pytest.approx(
        [900.0], rel=0.01
    )


def test_a_target_is_met_from_above_where_the_drug_lowers_the_readout() -> None:
    goal = Goal(
        name="G", kind="target_response", readout="CCL26", exposure_h=48.0,
        target=Amount(value=53.0, unit="pg/mL"),
    )  # fmt: skip
    own = STUDY.model_copy(update={"goals": (goal,)})
    found = goal_draws(HillModel(), own, np.array([[100.0, 1.0, 0.0]]))["G"]  # type: ignore[arg-type]
    # 3 + 200 / (1 + c / 100) = 53 at c = 300
    assert found.values == pytest.approx([300.0], rel=0.01)


def test_a_target_beyond_the_curve_is_unreached_and_one_behind_it_needs_no_drug() -> None:
    for parameters in ([[100.0, 1.0, 0.0, 1e9]], [[100.0, 1.0, 0.3, 1e9], [100.0, 1.0, 0.0, 1e9]]):
        assert np.isinf(one_goal(parameters, **target(1501.0)).values).all()
        assert (one_goal(parameters, **target(400.0)).values == GRID_NM[0]).all()
    some = one_goal([[100.0, 1.0, 0.5, 1e9], [100.0, 1.0, 0.0, 1e9]], **target(1300.0))
    assert np.isinf(some.values).tolist() == [True, False]
    assert estimate("T", some).unreached == 0.5


def test_a_readout_that_turns_round_beyond_the_studys_limit_is_judged_within_it() -> None:
    rest, vehicle = np.array([1500.0]), np.array([500.0])
    falls = np.where(GRID_NM <= 1e4, 1500.0 - 1000.0 / (1 + GRID_NM / 100.0), 1.0)[None]
    found = target_nm(1000.0, rest, vehicle, falls, 4000.0)
    assert found == pytest.approx([100.0], rel=0.01)
    assert target_nm(400.0, rest, vehicle, falls, 4000.0).tolist() == [GRID_NM[0]]


def test_a_drug_that_moves_nothing_never_meets_a_target_on_the_way_back_to_rest() -> None:
    flat = np.full((1, len(GRID_NM)), 500.0)
    found = target_nm(1000.0, np.array([1500.0]), np.array([500.0]), flat, 4000.0)
    assert np.isinf(found).all()


# --- donors


def donor_posterior() -> Posterior:
    """Return a posterior in which D2 is three times as sensitive as the population."""
    model = model_of(STUDY)
    center = np.array([[spec.center for spec in model.estimated]])
    ic50 = model.estimated_names.index("IC50")
    of_donors = np.tile(center[:, None], (1, 3, 1))
    of_donors[:, 1, ic50] /= 3.0
    names = model.estimated_names
    return Posterior(
        names,
        ("",) * len(names),
        center,
        center,
        center[0],
        donors=("D1", "D2", "D3"),
        of_donors=of_donors,
    )


def of_whom(study: Study, *whose: str) -> Study:
    """Return the study with the EC50 of each of these."""
    goals = tuple(
        Goal(name=f"EC50_{of}", readout="CCL26", effect_fraction=0.5, exposure_h=48.0, of=of)
        for of in whose
    )
    return study.model_copy(update={"goals": goals})


def test_donor_goals_differ_where_donors_differ_and_the_population_is_neither() -> None:
    study, model = of_whom(STUDY, "population", "D1", "D2"), model_of(STUDY)
    same = {d.id: d.model_copy(update={"flg": "wild_type"}) for d in STUDY.donors.values()}
    study, posterior = study.model_copy(update={"donors": same}), donor_posterior()
    found = goal_values(model, study, posterior.particles, donor_tissues(study, posterior))
    assert found["EC50_D1"] == found["EC50_population"]
    assert found["EC50_D2"] == pytest.approx(found["EC50_D1"] / 3.0, rel=0.01)


def test_a_donors_goal_is_of_its_own_genotype() -> None:
    model, center = model_of(STUDY), donor_posterior().particles
    names = [spec.name for spec in model.readouts]
    donors = {d.id: d.model_copy(update={"flg": "null"}) for d in STUDY.donors.values()}
    goal = Goal(name="T", kind="target_response", readout="TEER", exposure_h=48.0, of="D1",
                target=Amount(value=1.0, unit="ohm*cm2"))  # fmt: skip
    own = STUDY.model_copy(update={"donors": donors})
    seen = {
        flg: reference_curves(model, own, 48.0, Tissue(center, flg)).vehicle[0, names.index("TEER")]
        for flg in ("wild_type", "null")
    }
    assert seen["null"] < 0.99 * seen["wild_type"]
    assert tissue_of(own, "D1", center, {}).flg == "null"
    assert tissue_of(own, "population", center, {}).flg == "wild_type"
    level = Amount(value=float(np.sqrt(seen["null"] * seen["wild_type"])), unit="ohm*cm2")
    both = [
        goal.model_copy(update={"name": of, "of": of, "target": level})
        for of in ("D1", "population")
    ]
    found = goal_values(model, own.model_copy(update={"goals": tuple(both)}), center)
    # the wild type stands above it already; the donor without filaggrin has to be brought there
    assert found["population"].tolist() == [GRID_NM[0]]
    assert found["D1"][0] > 10.0 * GRID_NM[0]


# --- words


def test_each_kind_has_its_sentence() -> None:
    index = Goal(
        name="TI", kind="therapeutic_index", readout="TEER", effect_fraction=0.5, exposure_h=48.0
    )
    assert meaning(STUDY, STUDY.goals[0]) == (
        "upadacitinib at the inlet that takes away 50 % of the stimulus' effect on CCL26 within 48 h"
    )
    assert meaning(STUDY, index) == (
        "upadacitinib that brings viability down to 80 %, over the concentration that takes away 50 % of the "
        "stimulus' effect on TEER within 48 h"
    )
    level = Goal(name="T", readout="TEER", exposure_h=24.0, of="D1", **target(1000.0))  # type: ignore[arg-type]
    assert meaning(STUDY, level, "barrier") == (
        "lowest upadacitinib at the inlet that brings barrier to 1000 ohm*cm2 within 24 h, of donor D1"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, '"effect" is missing'),
        ({"kind": "therapeutic_index"}, '"effect" is missing'),
        ({"kind": "target_response"}, '"target" is missing'),
        (
            {"kind": "target_response", "effect_fraction": 0.5, **target(10.0)},
            '"effect" has no meaning',
        ),
        ({**target(10.0), "kind": "potency", "effect_fraction": 0.5}, '"target" has no meaning'),
    ],
)
def test_a_goal_without_what_its_kind_needs_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Goal(name="G", readout="TEER", exposure_h=48.0, **given)  # type: ignore[arg-type]

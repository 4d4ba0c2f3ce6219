"""Further stimuli: pumps and stocks of their own, what chips get of them, and which doses they let be given."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from chiploop.campaign import suggest
from chiploop.campaign_values import Campaign
from chiploop.dosing import PumpStep, delivered_segments, make_programme, remaining_ul
from chiploop.errors import DoseNotFeasible, SafetyRefusal
from chiploop.exposure import exposure_from_dict, feasible_exposures, make_exposure
from chiploop.goals import goal_draws
from chiploop.inference.prior import Prior
from chiploop.kept_predictions import name_of
from chiploop.models.study_model import model_of
from chiploop.next_exposure import highest_read_nm
from chiploop.policies import POLICIES
from chiploop.record.actions import JournalTotals
from chiploop.safety import check_before_wire
from chiploop.study import load_study
from chiploop.virtual_lab import VirtualLab
from tests.chiploop.campaigns import deliver, exact, fitted

STUDY = load_study(Path(__file__).parents[2] / "protocols" / "studies" / "ad_jak_arms.yaml")
FULL = remaining_ul(STUDY, {})
AFTER_PILOT = JournalTotals(
    last_dose_end_h=dict.fromkeys(STUDY.line_ids, 72.0), highest_dose_nm=480.0
)


@pytest.fixture(scope="module")
def usual() -> Campaign:
    return fitted(study=STUDY)


def test_a_line_has_a_pump_for_each_of_its_stimuli_and_for_the_stocks_that_stand_in_them() -> None:
    assert STUDY.pump_roles("L1") == ("medium", "stimulus", "il13", "low", "il13_low", "high")
    assert STUDY.pump_roles("L3") == ("medium", "stimulus", "low", "high")
    assert "L1-il13" in FULL and "L3-il13" not in FULL


def test_a_dose_in_another_stimulus_is_made_of_that_stimulus_and_its_stock_alone() -> None:
    exposure = make_exposure(STUDY, "L1", 120.0, "in_il13", exact, FULL)
    assert exposure.arm == "il13"
    volumes = {step.stock: step.volume_ul for step in exposure.steps}
    whole = 2 * 60.0 * 48.0
    assert volumes == pytest.approx({"il13": whole * 0.9, "il13_low": whole * 0.1})
    (part,) = exposure.parts
    given = {step.pump: step.volume_ul for step in part.steps}
    segment = delivered_segments(STUDY, part, given, 76.0, 124.0)["C01"]
    assert {k: v for k, v in segment.stimulus_ng_ml.items() if v} == {"IL-13": pytest.approx(4.0)}
    assert segment.drug_nm == pytest.approx(120.0)
    check_before_wire(STUDY, part, AFTER_PILOT, 76.0, 72.0, cycle=2)


def test_what_a_chip_got_follows_the_volumes_of_every_stimulus() -> None:
    part = make_exposure(STUDY, "L1", 120.0, "in_il13", exact, FULL).parts[0]
    given = {step.pump: step.volume_ul for step in part.steps} | {"L1-il13_low": 0.0}
    segment = delivered_segments(STUDY, part, given, 76.0, 124.0)["C01"]
    assert segment.drug_nm == 0.0 and segment.stimulus_ng_ml["IL-13"] == pytest.approx(4.0)
    plain = make_programme(STUDY, "L1", "medium", 0.0, 24.0, exact, FULL)
    rest = delivered_segments(STUDY, plain, {"L1-medium": 2880.0}, 0.0, 24.0)["C01"]
    assert set(rest.stimulus_ng_ml.values()) == {0.0}


def test_a_stock_of_one_stimulus_is_no_pump_of_a_line_without_it() -> None:
    part = make_exposure(STUDY, "L1", 120.0, "in_il13", exact, FULL).parts[0]
    steps = tuple(
        PumpStep(step.pump.replace("L1", "L3"), step.stock, step.flow_rate_ul_h, step.volume_ul)
        for step in part.steps
    )
    with pytest.raises(SafetyRefusal, match="L3-il13 holds il13, which is neither a stimulus"):
        check_before_wire(STUDY, replace(part, line="L3", steps=steps), AFTER_PILOT, 76.0, 72.0)
    with pytest.raises(DoseNotFeasible, match="line L3 has no pump of il13"):
        make_exposure(STUDY, "L3", 0.0, "in_il13", exact, FULL)


def test_a_stimulus_without_a_stock_can_be_given_without_drug_alone() -> None:
    bare = STUDY.model_copy(
        update={"stocks": {name: s for name, s in STUDY.stocks.items() if name != "il13_low"}}
    )
    assert make_exposure(bare, "L1", 0.0, "in_il13", exact, FULL).arm == "il13"
    with pytest.raises(DoseNotFeasible, match="line L1 has no stock of its drug in il13"):
        make_exposure(bare, "L1", 120.0, "in_il13", exact, FULL)


def test_every_concentration_is_looked_at_in_every_stimulus_and_the_vehicle_once_in_each() -> None:
    found, refused = feasible_exposures(STUDY, "L1", (0.0, 120.0, 3000.0), exact, FULL)
    assert [(one.asked_nm, one.schedule, one.arm) for one in found] == [
        (0.0, "whole", "stimulus"),
        (0.0, "in_il13", "il13"),
        (120.0, "whole", "stimulus"),
        (120.0, "in_il13", "il13"),
        (3000.0, "whole", "stimulus"),
    ]
    assert [(one.asked_nm, one.schedule) for one in refused] == [(3000.0, "in_il13")]
    assert "a stock of 1200 nM is weaker than the dose" in refused[0].reason
    only, none = feasible_exposures(STUDY, "L3", (0.0, 120.0), exact, FULL)
    assert {one.arm for one in only} == {"stimulus"} and not none


def test_the_same_flows_in_another_stimulus_are_predicted_anew() -> None:
    one, other = (make_exposure(STUDY, "L1", 0.0, way, exact, FULL) for way in STUDY.schedules)
    assert name_of("L1", one) != name_of("L1", other)


def test_an_exposure_comes_back_from_the_record_with_its_stimulus() -> None:
    exposure = make_exposure(STUDY, "L1", 120.0, "in_il13", exact, FULL)
    assert exposure_from_dict(asdict(exposure)) == exposure
    old = asdict(make_exposure(STUDY, "L1", 120.0, "whole", exact, FULL))
    for part in old["parts"]:
        del part["arm"]  # as records of before there were several
    assert exposure_from_dict(old).arm == "stimulus"


# --- which doses may be given


def test_in_another_stimulus_a_dose_may_be_as_high_as_what_was_read_and_no_step_higher(
    usual: Campaign,
) -> None:
    fold = STUDY.limits.fold_step
    assert highest_read_nm(usual, 48.0, "L1") == 480.0
    assert fold * (highest_read_nm(usual, 48.0, "L1", "il13") or 0.0) == pytest.approx(480.0)
    began = make_exposure(STUDY, "L1", 240.0, "in_il13", exact, FULL).parts[0]
    wait = make_programme(STUDY, "L1", "stimulus", 0.0, 4.0, exact, FULL)
    after = deliver(deliver(usual, wait, 72.0, 76.0), began, 76.0, 124.0)
    assert highest_read_nm(after, 48.0, "L1", "il13") == pytest.approx(240.0)
    assert highest_read_nm(after, 48.0, "L1") == 480.0


def test_proposed_doses_keep_within_it_in_both_stimuli(usual: Campaign) -> None:
    found = suggest(usual, exact, FULL, AFTER_PILOT, np.random.default_rng(0))
    for programmes, allowed in zip(found.table.programmes, found.table.allowed, strict=True):
        may = [p.asked_nm for p, ok in zip(programmes, allowed, strict=True) if ok]
        assert 480.0 < max(may) <= 4 * 480.0
        in_il13 = [
            p.asked_nm for p, ok in zip(programmes, allowed, strict=True) if ok and p.arm == "il13"
        ]
        assert not in_il13 or 240.0 < max(in_il13) <= 480.0
    why = [r.reason for r in found.proposal.refused if r.schedule == "in_il13" and r.asked_nm > 480]
    assert any("read out in il13, or so far below one of another stimulus" in one for one in why)


def test_a_goal_of_one_stimulus_is_learned_by_giving_it(usual: Campaign) -> None:
    found = suggest(usual, exact, FULL, AFTER_PILOT, np.random.default_rng(0))
    assert any(dose.schedule == "in_il13" for dose in found.proposal.doses)


def test_a_person_gets_the_stimulus_asked_for_without_drug_too(usual: Campaign) -> None:
    own = {"L1": 0.0, "L2": 120.0, "L3": 0.0}
    ways = {"L1": "in_il13", "L2": "in_il13"}
    found = suggest(
        usual,
        exact,
        FULL,
        AFTER_PILOT,
        np.random.default_rng(0),
        own_nm=own,
        own_schedules=ways,
    ).proposal
    assert [(d.asked_nm, d.schedule, d.programme.arm) for d in found.doses] == [
        (0.0, "in_il13", "il13"),
        (120.0, "in_il13", "il13"),
        (0.0, "whole", "stimulus"),
    ]
    with pytest.raises(SafetyRefusal, match="120 nM by in_il13 on L3"):
        suggest(
            usual,
            exact,
            FULL,
            AFTER_PILOT,
            np.random.default_rng(0),
            own_nm={"L1": 0.0, "L2": 0.0, "L3": 120.0},
            own_schedules={"L3": "in_il13"},
        )


def test_a_stimulus_that_a_line_has_no_pump_of_is_refused_without_drug_too(usual: Campaign) -> None:
    with pytest.raises(SafetyRefusal, match="0 nM by in_il13 on L3"):
        suggest(
            usual,
            exact,
            FULL,
            AFTER_PILOT,
            np.random.default_rng(0),
            own_nm={"L1": 0.0, "L2": 0.0, "L3": 0.0},
            own_schedules={"L3": "in_il13"},
        )


def test_what_is_mixed_of_two_stimuli_or_is_not_what_it_says_is_refused_before_the_wire() -> None:
    dose = make_exposure(STUDY, "L1", 120.0, "whole", exact, FULL).parts[0]
    other = tuple(
        replace(step, pump="L1-il13", stock="il13") if step.stock == "stimulus" else step
        for step in dose.steps
    )
    thinned = tuple(
        replace(step, pump="L1-medium", stock="medium") if step.stock == "stimulus" else step
        for step in dose.steps
    )
    plain = make_programme(STUDY, "L1", "medium", 0.0, 24.0, exact, FULL)
    wrong = replace(plain, steps=(replace(plain.steps[0], pump="L1-il13", stock="il13"),))
    for spoiled, said in (
        (replace(dose, steps=other), "il13, which is not stimulus"),
        (replace(dose, steps=thinned), "medium, which is not stimulus"),
        (replace(dose, arm="il13"), "which is not il13"),
        (wrong, "il13, which is not plain medium"),
    ):
        with pytest.raises(SafetyRefusal, match=said):
            check_before_wire(STUDY, spoiled, AFTER_PILOT, 76.0, 72.0, cycle=2)


@pytest.mark.parametrize("policy", ["log_grid", "thompson"])
def test_doses_chosen_without_a_measure_are_in_the_usual_stimulus(
    usual: Campaign, policy: str
) -> None:
    table = suggest(usual, exact, FULL, AFTER_PILOT, np.random.default_rng(0)).table
    batch = POLICIES[policy](table, np.random.default_rng(1))
    chosen = [table.programmes[i][c.candidate] for i, c in enumerate(batch.choices)]
    assert {one.arm for one in chosen} == {"stimulus"}


# --- what the stimulus changes


def test_the_same_goal_in_a_stronger_stimulus_is_another_number(usual: Campaign) -> None:
    model = model_of(STUDY)
    prior = Prior.of_study(model, STUDY)
    middle = prior.parameters(np.zeros((1, len(prior.specs))))
    drawn = goal_draws(model, STUDY, middle)
    own, other = (drawn[name].values[0] for name in ("EC50_CCL26", "EC50_IL13"))
    assert np.isfinite([own, other]).all() and abs(np.log(own / other)) > 0.02
    same = [goal.model_copy(update={"stimulus": None}) for goal in STUDY.goals]
    alike = goal_draws(model, STUDY.model_copy(update={"goals": tuple(same)}), middle)
    assert alike["EC50_IL13"].values[0] == alike["EC50_CCL26"].values[0] == own


def test_virtual_chips_get_the_stimulus_of_the_pumps_that_flow() -> None:
    def shown(role: str) -> float:
        lab = VirtualLab(STUDY, 1, True)
        lab.advance(0.0, 24.0, {line: {"medium": 120.0} for line in STUDY.line_ids})
        lab.advance(24.0, 72.0, {line: {role: 120.0} for line in STUDY.line_ids})
        pieces = lab.through_tubing("L1", 72.0, 73.0, {role: 120.0})
        assert pieces[-1][2] == 0.0
        names = list(lab.model.facts.stimuli)
        return float(pieces[-1][3 + names.index("IL-13")])

    per_ng_ml = STUDY.tissue.stimuli["IL-13"].nm(1.0)
    assert shown("stimulus") == pytest.approx(1.0 * per_ng_ml)
    assert shown("il13") == pytest.approx(4.0 * per_ng_ml)

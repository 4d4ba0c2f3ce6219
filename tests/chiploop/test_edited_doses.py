"""A person's own doses meet every rule, are measured like any, and are never changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from chiploop import next_exposure
from chiploop.campaign import Suggestion, learned, suggest
from chiploop.campaign_values import Campaign, proposal_from_dict
from chiploop.errors import SafetyRefusal, WrongUse
from chiploop.inference.posterior import Misfit
from chiploop.policies.nested_information import NestedMonteCarlo
from chiploop.record.actions import JournalTotals
from chiploop.study import Study
from chiploop.study_schedules import Schedule
from tests.chiploop.campaigns import (
    FULL,
    PASSED,
    STUDY,
    asked,
    exact,
    fitted,
    pilot,
    posterior,
    readings,
)

TOTALS = JournalTotals(last_dose_end_h=dict.fromkeys(STUDY.line_ids, 72.0), highest_dose_nm=480.0)
OWN = {"L1": 0.0, "L2": 77.7, "L3": 240.0, "L4": 900.0}
FIRES = Misfit(True, 0.01, 0.07, ("TEER lags behind",), {"TEER lags": 0.01})


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(next_exposure, "DRAWS", 48)
    yield


@pytest.fixture(scope="module")
def usual() -> Campaign:
    return fitted()


def edited(campaign: Campaign, own_nm: dict[str, float], **more: object) -> Suggestion:
    return suggest(
        campaign,
        exact,
        FULL,
        TOTALS,
        np.random.default_rng(0),
        own_nm=own_nm,
        **more,  # type: ignore[arg-type]
    )


def with_limits(**limits: float) -> Study:
    return STUDY.model_copy(update={"limits": STUDY.limits.model_copy(update=limits)})


def test_own_doses_are_proposed_as_they_are_and_measured(usual: Campaign) -> None:
    found = edited(usual, OWN)
    proposal, table = found.proposal, found.table
    assert asked(proposal) == OWN
    assert proposal.policy == "own_doses"
    at = {
        i: [one.asked_nm for one in table.programmes[i]].index(OWN[line])
        for i, line in enumerate(table.lines)
    }
    assert [dose.risk for dose in proposal.doses] == [table.risk[i][at[i]] for i in range(4)]
    assert proposal.eig_nats is not None and proposal.eig_error_nats is not None
    again = NestedMonteCarlo(table.predictable(), np.random.default_rng(5)).information(at)
    assert abs(again.nats - proposal.eig_nats) < 4.0 * np.hypot(
        again.error_nats, proposal.eig_error_nats
    )


def test_a_dose_that_is_not_on_the_grid_is_simulated_beside_it_and_one_that_is_not_twice(
    usual: Campaign,
) -> None:
    usual_doses = suggest(usual, exact, FULL, TOTALS, np.random.default_rng(0)).table
    table = edited(usual, OWN).table
    more = [len(a) - len(b) for a, b in zip(table.programmes, usual_doses.programmes, strict=True)]
    assert more == [0, 1, 1, 1], "the vehicle is a candidate anyway"
    for line, features in enumerate(usual_doses.features):
        doses = [one.asked_nm for one in usual_doses.programmes[line]]
        same = [k for k, one in enumerate(table.programmes[line]) if one.asked_nm in doses]
        assert np.array_equal(table.features[line][:, same], features)


@pytest.mark.parametrize(
    ("line", "nm", "why"),
    [
        ("L2", 1930.0, "4.02 times the highest dose read out"),
        ("L3", 5000.0, "above the limit of 4000 nM"),
        ("L4", 40.0, "L4-low needs 576 uL and has 0 uL"),
    ],
)
def test_a_dose_that_a_limit_forbids_is_refused_by_its_name_with_what_may_be_given(
    usual: Campaign, line: str, nm: float, why: str
) -> None:
    left = {**FULL, **dict.fromkeys(("L4-low", "L4-high"), 0.0)} if line == "L4" else FULL
    own = {**OWN, "L4": 900.0, line: nm}
    with pytest.raises(SafetyRefusal, match=f"{nm:g} nM on {line}: .*{why}") as refusal:
        suggest(usual, exact, left, TOTALS, np.random.default_rng(0), own_nm=own)
    assert "may be given there" in str(refusal.value)
    assert str(refusal.value).endswith("Nothing was changed")
    assert f"on {'L2' if line != 'L2' else 'L3'}:" not in str(refusal.value)


def test_own_doses_keep_the_schedule_that_is_named_and_are_refused_by_it(usual: Campaign) -> None:
    schedules = {"whole": Schedule(), "pulses": Schedule(for_h=8.0, every_h=16.0, times=3)}
    study = STUDY.model_copy(update={"schedules": schedules})
    pulsed = replace(usual, study=study)
    found = edited(pulsed, OWN, own_schedules={"L1": "whole", "L3": "pulses"}).proposal
    assert asked(found) == OWN
    assert [dose.schedule for dose in found.doses] == ["whole", "whole", "pulses", "whole"]
    assert len(found.doses[2].programme.parts) == 6
    with pytest.raises(SafetyRefusal, match="5000 nM by pulses on L3: .*above the limit"):
        edited(pulsed, {**OWN, "L3": 5000.0}, own_schedules={"L3": "pulses"})
    again = {(tie.schedules[line]) for tie in found.ties for line in tie.doses_nm}
    assert again <= {"whole", "pulses"}


def test_every_forbidden_dose_is_named_at_once(usual: Campaign) -> None:
    with pytest.raises(SafetyRefusal) as refusal:
        edited(usual, {**OWN, "L2": 5000.0, "L4": 5000.0})
    assert "5000 nM on L2" in str(refusal.value) and "5000 nM on L4" in str(refusal.value)


def test_lines_that_are_not_there_or_got_no_dose_are_named(usual: Campaign) -> None:
    with pytest.raises(WrongUse, match=r"line L9 is not dosed .* line L4 was given no dose"):
        edited(usual, {"L1": 0.0, "L2": 0.0, "L3": 0.0, "L9": 0.0})
    with pytest.raises(WrongUse, match="line L2 is not dosed in this cycle"):
        edited(usual, OWN, without_lines=("L2",))


def test_a_batch_that_risks_too_much_is_refused_not_lowered() -> None:
    found = posterior()
    toxic = found.particles * np.where(np.array(found.names) == "TC50", 0.12, 1.0)
    study = with_limits(batch_risk_chips=0.01)
    harmful = learned(pilot(study), readings(study), replace(found, particles=toxic), PASSED)
    with pytest.raises(SafetyRefusal, match="chips below the viability limit.*Nothing was changed"):
        edited(harmful, OWN)


def test_where_the_model_is_in_doubt_a_persons_doses_stay_and_the_doubt_is_told(
    usual: Campaign,
) -> None:
    doubted = replace(usual, info=replace(PASSED, misfit=FIRES))
    proposal = edited(doubted, OWN).proposal
    assert asked(proposal) == OWN
    assert any("contradict the model" in note for note in proposal.notes)
    assert not any("contradict" in note for note in edited(usual, OWN).proposal.notes)


def test_ties_and_errors_of_a_proposal_survive_its_file(usual: Campaign) -> None:
    import json
    from dataclasses import asdict

    proposal = suggest(usual, exact, FULL, TOTALS, np.random.default_rng(0), begin_h=76.0).proposal
    assert proposal.begin_h == 76.0 and proposal.ties
    assert all(set(tie.doses_nm) == set(STUDY.line_ids) for tie in proposal.ties)
    assert proposal_from_dict(json.loads(json.dumps(asdict(proposal)))) == proposal

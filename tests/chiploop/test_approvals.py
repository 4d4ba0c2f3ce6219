"""Who must approve, until when, and what never reaches the pumps: rules on values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chiploop.approvals import (
    Moment,
    fault_of_approval,
    needed,
    reason_against,
    until,
    utc_of,
)
from chiploop.record.approvals import GivenApproval
from chiploop.record.rows import Decision
from chiploop.study import StudyNotValid, load_study
from chiploop.study_parts import Approval

BEGIN = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
TWO = Approval(by="person", two_above=0.10)
SMALL_STUDY = Path(__file__).parents[1] / "flows" / "small_study.yaml"


def doses(*risks: float | None, asked_nm: float = 60.0) -> dict[str, Any]:
    return {
        "doses": [
            {"line": f"L{i}", "risk": risk, "asked_nm": asked_nm}
            for i, risk in enumerate(risks, start=1)
        ]
    }


def given(*people: str, sha256: str = "s") -> tuple[GivenApproval, ...]:
    return tuple(GivenApproval("r/c02/p1", sha256, by, "", "") for by in people)


def decided(by: str, action: Any = "approve", sha256: str = "s") -> Decision:
    return Decision("r/c02/p1", "r", sha256, action, by, "", "2026-11-23T20:00:00+00:00")


@pytest.mark.parametrize(
    ("risks", "asked_nm", "people"),
    [
        ((0.02, 0.10), 60.0, 1),  # at the limit one is enough
        ((0.02, 0.11), 60.0, 2),
        ((0.02, None), 60.0, 2),  # a risk that nobody knows
        ((None, None), 0.0, 1),  # the vehicle
    ],
)
def test_a_second_person_is_needed_above_the_risk_or_where_nobody_knows_it(
    risks: tuple[float | None, ...], asked_nm: float, people: int
) -> None:
    assert needed(TWO, doses(*risks, asked_nm=asked_nm)) == people
    assert needed(Approval(by="person"), doses(*risks, asked_nm=asked_nm)) == 1


def test_a_real_proposal_expires_by_the_wall_clock_and_a_simulated_one_by_study_time() -> None:
    rule = Approval(by="person", expires_h=12.0)
    asked = Moment(BEGIN, 36.0)
    later = Moment(BEGIN + timedelta(hours=11), 90.0)
    real, simulated = until(rule, asked, later, False), until(rule, asked, later, True)
    assert real is not None and simulated is not None
    assert (real.left_h, real.over, real.near) == (1.0, False, True)
    assert real.told == "2026-11-24 06:00 UTC"
    assert simulated.over and "48 h of study time" in simulated.told
    at_end = until(rule, asked, Moment(BEGIN + timedelta(hours=12), 36.0), False)
    assert at_end is not None and at_end.over
    assert until(Approval(by="person"), asked, later, False) is None


def test_an_expired_proposal_is_refused_with_when_it_expired_and_what_comes() -> None:
    rule = Approval(by="person", expires_h=12.0)
    end = until(rule, Moment(BEGIN, 0.0), Moment(BEGIN + timedelta(hours=13), 0.0), False)
    said = reason_against(rule, "r/c02/p1", (), "alice", end)
    assert "expired" in said and "2026-11-24 06:00 UTC" in said and "fresh proposal" in said
    assert reason_against(rule, "r/c02/p1", (), "alice", None) == ""


def test_the_same_person_twice_and_a_stranger_are_refused_by_name() -> None:
    rule = Approval(by="person", two_above=0.1, approvers=("alice", "bob"))
    assert "alice has approved" in reason_against(rule, "p", given("alice"), "alice", None)
    assert "mallory may not" in reason_against(rule, "p", (), "mallory", None)
    assert reason_against(rule, "p", given("alice"), "bob", None) == ""


RISKY = doses(0.02, 0.2)


@pytest.mark.parametrize(
    ("decision", "approvals", "said"),
    [
        (None, given("alice", "bob"), "nobody has approved"),
        (decided("alice, bob", "reject"), given("alice", "bob"), "nobody has approved"),
        (decided("alice, bob", "expire"), given("alice", "bob"), "nobody has approved"),
        (decided("alice"), (), "needs 2 persons"),
        (decided("alice, bob"), given("alice"), "needs 2 persons"),  # the row lies
        (decided("alice, alice"), given("alice", "alice"), "needs 2 persons"),
        (decided("alice, bob"), given("alice", "bob", sha256="other"), "needs 2 persons"),
        (decided("alice, bob", sha256="other"), given("alice", "bob"), "not what was approved"),
        (decided("auto"), given("alice", "bob"), "asks for a person"),
        (decided("alice, bob"), given("alice", "bob"), ""),
    ],
)
def test_a_proposal_that_needs_two_and_has_one_never_doses(
    decision: Decision | None, approvals: tuple[GivenApproval, ...], said: str
) -> None:
    fault = fault_of_approval(TWO, RISKY, "s", decision, approvals)
    assert said in fault and bool(said) == bool(fault)


def test_one_person_is_enough_below_the_risk_and_must_be_an_approver() -> None:
    rule = replace_rule(approvers=("bob",))
    assert fault_of_approval(rule, doses(0.01), "s", decided("bob"), ()) == ""
    assert "mallory" in fault_of_approval(rule, doses(0.01), "s", decided("mallory"), ())
    auto = Approval(by="auto")
    assert fault_of_approval(auto, doses(None), "s", decided("auto"), ()) == ""


def replace_rule(**values: Any) -> Approval:
    return Approval(by="person", **values)


def test_time_stamps_of_the_record_are_moments() -> None:
    assert utc_of("2026-11-23T19:00:00+01:00") == BEGIN
    assert utc_of("2026-11-23T18:00:00.000000+00:00") == BEGIN
    assert replace(Moment(BEGIN, 0.0), time_h=1.0).utc == BEGIN


# --- as a study file states it


def study_with(folder: Path, approval: str) -> Path:
    text = SMALL_STUDY.read_text(encoding="utf-8")
    path = folder / "study.yaml"
    path.write_text(text.replace("{by: auto}", approval), encoding="utf-8")
    return path


def test_a_study_states_who_approves_until_when_and_above_which_risk_two(tmp_path: Path) -> None:
    text = "{by: person, expires: 12 h, two_above: 10 %, approvers: [alice, LAB\\bob]}"
    rule = load_study(study_with(tmp_path, text)).approval
    assert (rule.expires_h, rule.two_above) == (12.0, 0.10)
    assert rule.approvers == ("alice", "LAB\\bob")


def test_keys_that_a_study_leaves_out_leave_its_digest_as_it_was(tmp_path: Path) -> None:
    assert load_study(SMALL_STUDY).approval.model_dump(mode="json") == {"by": "auto"}
    rule = load_study(study_with(tmp_path, "{by: person, expires: 90 min}")).approval
    assert rule.model_dump(mode="json") == {"by": "person", "expires_h": 1.5}
    assert Approval.model_validate(rule.model_dump(mode="json")) == rule


@pytest.mark.parametrize(
    ("approval", "said"),
    [
        ("{by: auto, two_above: 10 %}", "can not stand beside by: auto"),
        ("{by: person, two_above: 10 %, approvers: [alice]}", "2 at least are needed"),
        ("{by: person, approvers: [alice, alice]}", "each stands once"),
        ("{by: person, approvers: []}", "1 at least are needed"),
        ("{by: person, expires: 12}", "expires"),
        ("{by: person, approvers: [Alice Smith]}", "approvers"),
    ],
)
def test_what_can_not_be_is_told(tmp_path: Path, approval: str, said: str) -> None:
    with pytest.raises(StudyNotValid) as refusal:
        load_study(study_with(tmp_path, approval))
    told = " ".join(f"{p.field} {p.message} {p.hint}" for p in refusal.value.problems)
    assert said in told

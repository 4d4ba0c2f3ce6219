"""Approvals of several persons on record: kept one by one, decided together, never twice by one person."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chiploop.record.chain import RecordConflict
from chiploop.record.record import Record
from chiploop.study import load_study

STUDY = load_study(Path(__file__).parents[2] / "flows" / "small_study.yaml")
DOSES = {"doses": [{"line": "L1", "asked_nm": 60.0, "risk": 0.2}]}


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    with Record(str(tmp_path / "record.sqlite")) as opened:
        opened.add_run("r1", STUDY, seed=1, simulated=True)
        yield opened


def test_the_first_of_two_is_on_record_and_decides_nothing(record: Record) -> None:
    proposal = record.add_proposal("r1", 2, DOSES)
    assert record.add_approval(proposal, "alice", "looks right", 2, 36.0) is False
    assert record.decision_for(proposal) is None
    (one,) = record.approvals("r1", proposal)
    assert (one.by, one.why) == ("alice", "looks right")
    with pytest.raises(RecordConflict, match="alice has approved"):
        record.add_approval(proposal, "alice", "", 2, 37.0)
    assert record.add_approval(proposal, "bob", "agreed", 2, 38.0) is True
    decision = record.decision_for(proposal)
    assert decision is not None and decision.action == "approve"
    assert (decision.by, decision.why) == ("alice, bob", "alice: looks right; bob: agreed")
    assert {a.proposal_sha256 for a in record.approvals("r1", proposal)} == {
        decision.proposal_sha256
    }
    assert record.verify().faults == ()


def test_a_rejection_by_one_ends_what_another_approved(record: Record) -> None:
    proposal = record.add_proposal("r1", 2, DOSES)
    record.add_approval(proposal, "alice", "", 2, 36.0)
    record.add_decision(proposal, "reject", "bob", "too bold")
    with pytest.raises(RecordConflict, match="decided before: reject"):
        record.add_approval(proposal, "carol", "", 2, 36.0)


def test_one_person_alone_leaves_the_record_as_it_always_was(record: Record) -> None:
    proposal = record.add_proposal("r1", 2, DOSES)
    assert record.add_approval(proposal, "alice", "", 1, 36.0) is True
    assert record.events("r1") == ()
    assert record.approvals("r1", proposal) == ()


def test_an_edit_is_the_first_approval_of_who_made_it(record: Record) -> None:
    first = record.add_proposal("r1", 2, DOSES)
    record.add_approval(first, "alice", "", 2, 36.0)
    other = {**DOSES, "edited_from": first}
    edit = record.replace_proposal(first, other, "bob", "less is enough", needs=2)
    assert record.decision_for(edit) is None
    assert [one.by for one in record.approvals("r1", edit)] == ["bob"]
    old = record.decision_for(first)
    assert old is not None and old.action == "reject"
    assert record.add_approval(edit, "alice", "", 2, 37.0) is True


def test_what_expired_may_be_proposed_again_with_the_same_doses(record: Record) -> None:
    first = record.add_proposal("r1", 2, DOSES)
    record.add_decision(first, "expire", "clock", "nobody decided")
    second = record.add_proposal("r1", 2, DOSES)
    assert (first, second) == ("r1/c02/p1", "r1/c02/p2")
    assert record.add_proposal("r1", 2, DOSES) == second  # again, after an interruption
    record.add_decision(second, "reject", "alice", "no")
    assert record.add_proposal("r1", 2, DOSES) == second  # rejected doses are not put again
    with pytest.raises(RecordConflict):
        record.add_decision(first, "approve", "alice")


def test_the_rule_of_a_run_is_that_of_its_study_on_record(record: Record) -> None:
    assert record.approval_rule("r1") == STUDY.approval
    with pytest.raises(KeyError):
        record.approval_rule("r9")

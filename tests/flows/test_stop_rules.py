"""Why a study ends is on record, and a person is asked where the study says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from chiploop.campaign import first_proposal, start
from chiploop.campaign_values import Campaign
from chiploop.inference.posterior import Misfit
from chiploop.record.record import Record
from chiploop.study import Stop
from flows import tasks
from flows.closed_loop import enough
from flows.proposing import Offer, reopened_doses
from tests.chiploop.campaigns import FULL, PASSED, STUDY, exact, fitted

FIRES = Misfit(True, 0.01, 0.07, ("TEER lags behind",), {"TEER lags": 0.01})


@dataclass
class Clock:
    """A clock that goes on at each look."""

    time_h: float = 70.0

    def now_h(self) -> float:
        self.time_h += 1.0
        return self.time_h


@dataclass
class Lab:
    """What these steps need of a laboratory."""

    record: Record
    study: Any = STUDY
    run_id: str = "run-1"
    clock: Clock = field(default_factory=Clock)
    said: list[str] = field(default_factory=list)

    def say(self, cycle: int, what: str) -> None:
        self.said.append(what)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Record(str(tmp_path / "record.sqlite")) as record:
        record.add_run("run-1", STUDY, 1, True)
        yield Lab(record)


def with_stop(campaign: Campaign, **keys: Any) -> Campaign:
    stop = Stop.model_validate(keys)
    return replace(campaign, study=campaign.study.model_copy(update={"stop": stop}))


def test_a_met_rule_ends_the_study_and_says_why_once(lab: Lab) -> None:
    done = with_stop(fitted(), fold=1e6)
    assert enough(lab, done)[0]  # type: ignore[arg-type]
    assert enough(lab, done)[0], "after an interruption as well"  # type: ignore[arg-type]
    (event,) = lab.record.events("run-1", "stop rule")
    assert event.content["cycle"] == 1
    assert "EC50_CCL26: 90 % interval" in event.content["why"]
    assert lab.said == [f"the study ends: {event.content['why']}"]


def test_a_rule_that_is_not_met_leaves_no_trace(lab: Lab) -> None:
    assert not enough(lab, with_stop(fitted(), fold=1.0001))[0]  # type: ignore[arg-type]
    assert not enough(lab, fitted())[0]  # type: ignore[arg-type]
    assert lab.record.events("run-1", "stop rule") == ()


def test_what_was_proposed_is_not_judged_again_after_an_interruption(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's edit teaches less than the rule asks for: the study goes on all the same, its dose may flow."""
    ends = with_stop(fitted(), fold=1e6)
    assert enough(lab, ends)[0]  # type: ignore[arg-type]
    made = replace(first_proposal(start(STUDY), exact, FULL), cycle=2, eig_nats=0.5)
    key = lab.record.add_proposal("run-1", 2, asdict(made))
    assert enough(lab, ends) == (False, None)  # type: ignore[arg-type]
    edit = asdict(replace(made, eig_nats=0.001, edited_from=key))
    lab.record.replace_proposal(key, edit, "nora", "why")
    assert enough(lab, ends) == (False, None)  # type: ignore[arg-type]


def test_what_stands_on_record_is_never_written_again(lab: Lab) -> None:
    """Proposals of before have fewer fields than today's, and a person's edit lacks the question that ours had."""
    old = asdict(first_proposal(start(STUDY), exact, FULL))
    for newer in ("begin_h", "eig_error_nats", "ties", "edited_from"):
        del old[newer]
    key = lab.record.add_proposal("run-1", 1, old)
    offered = tasks.propose.fn(lab, start(STUDY))  # type: ignore[arg-type]
    assert offered.proposal_id == key
    assert tasks.record_proposal.fn(lab, offered, "") == key
    doubted = replace(first_proposal(start(STUDY), exact, FULL), cycle=2)
    asked = tasks.record_proposal.fn(lab, Offer(doubted, None), "TEER lags behind")
    edit = lab.record.replace_proposal(asked, asdict(replace(doubted, policy="own")), "nora", "y")
    stands = tasks.propose.fn(lab, fitted())  # type: ignore[arg-type]
    assert stands.proposal_id == edit
    assert tasks.record_proposal.fn(lab, stands, "TEER lags behind") == edit
    assert len(lab.record.proposals("run-1")) == 3


def test_a_proposal_and_its_card_are_on_record_together_or_not_at_all(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Record._add

    def failing(self: Record, session: Any, row: Any) -> Any:
        if getattr(row, "kind", "") == "card":
            raise OSError("the disk is full")
        return real(self, session, row)

    monkeypatch.setattr(Record, "_add", failing)
    with pytest.raises(OSError, match="the disk is full"):
        lab.record.add_proposal("run-1", 2, {"doses": []}, {"cycle": 2}, 72.0)
    monkeypatch.undo()
    assert lab.record.proposed("run-1", 2) == ()
    key = lab.record.add_proposal("run-1", 2, {"doses": []}, {"cycle": 2}, 72.0)
    assert lab.record.card("run-1", key) == {"cycle": 2}
    edit = lab.record.replace_proposal(key, {"doses": [1]}, "nora", "why", {"cycle": 3}, 72.0)
    assert lab.record.card("run-1", edit) == {"cycle": 3}


def test_what_the_rules_looked_at_is_what_is_offered_then(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    made = Offer(replace(first_proposal(start(STUDY), exact, FULL), eig_nats=0.5), None)

    def proposed(_: Any, __: Any, begin_h: float | None = None) -> Offer:
        asked.append(begin_h)
        return made

    monkeypatch.setattr(tasks, "propose", proposed)
    ends, offered = enough(lab, with_stop(fitted(), information_nats=0.05), 76.5)  # type: ignore[arg-type]
    assert (ends, offered, asked) == (False, made, [76.5])
    ends, offered = enough(lab, with_stop(fitted(), fold=1.0001), 76.5)  # type: ignore[arg-type]
    assert (ends, offered, asked) == (False, None, [76.5]), (
        "rules that look at no dose ask for none"
    )


def test_a_question_to_a_person_keeps_the_study_file_from_deciding(lab: Lab) -> None:
    assert STUDY.approval.by == "auto"
    proposal = first_proposal(start(STUDY), exact, FULL)
    doubted = replace(fitted(), info=replace(PASSED, misfit=FIRES))
    assert tasks.question(doubted) == "", "only where the study says so"
    asked = tasks.question(with_stop(doubted, ask_on_misfit=True))
    assert "TEER lags behind" in asked
    key = tasks.record_proposal.fn(lab, Offer(proposal, None), asked)
    assert lab.record.decision_for(key) is None
    (recorded,) = lab.record.proposals("run-1")
    assert recorded.content["notes"] == [asked]
    again = tasks.record_proposal.fn(lab, Offer(replace(proposal, notes=(asked,)), None), asked)
    assert again == key, "what stands on record is not put there anew"


def test_without_a_question_the_study_file_decides_as_before(lab: Lab) -> None:
    offered = Offer(first_proposal(start(STUDY), exact, FULL), None)
    key = tasks.record_proposal.fn(lab, offered, "")
    decision = lab.record.decision_for(key)
    assert decision is not None
    assert decision.by == "auto"


def test_what_a_person_has_reopened_is_read_from_the_record(lab: Lab) -> None:
    lab.record.add_event("run-1", "reopened", 90.0, {"up_to_nm": 480.0, "by": "person"})
    (found,) = reopened_doses(lab.record, lab.run_id)  # type: ignore[arg-type]
    assert (found.up_to_nm, found.at_h) == (480.0, 90.0)
    assert found.seen is None, "one of before, when what was seen was not kept"
    seen = {"up_to_nm": 240.0, "by": "person", "seen": [["C07", 72.0]]}
    lab.record.add_event("run-1", "reopened", 91.0, seen)
    assert reopened_doses(lab.record, lab.run_id)[1].seen == frozenset({("C07", 72.0)})  # type: ignore[arg-type]

"""Doses that wait for people: what is asked, of how many, until when; and the last look before the pumps.

Belongs here: a run's open question read from its record, putting it there, ending it when nobody decided in time.
Not here: rules (chiploop.approvals), the commands that decide (cli.decide), messages (notify).

No Prefect, no port: the running flow and every command that decides ask the same functions.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from chiploop.approvals import (
    ASKED,
    Moment,
    Until,
    asked_at,
    fault_of_approval,
    needed,
    reason_against,
    risk_above,
    until,
    utc_of,
)
from chiploop.campaign_values import proposal_from_dict
from chiploop.dosing import PumpProgramme
from chiploop.errors import SafetyRefusal
from chiploop.record.approvals import GivenApproval
from chiploop.record.chain import RecordConflict, canonical, digest
from chiploop.record.record import Record
from chiploop.record.rows import RecordedContent
from chiploop.record.sessions import RecordAway
from chiploop.study_parts import Approval
from flows.clock import study_time_h
from flows.fault_points import reached

if TYPE_CHECKING:
    from flows.laboratory import Laboratory
    from flows.plain_medium import Perfused

_APPROVED_PARTS: WeakKeyDictionary[Record, dict[tuple[str, int], list[PumpProgramme]]] = (
    WeakKeyDictionary()
)
"""Record -> (run, cycle) -> parts of doses whose approval was seen before a pump moved."""
CLOCK = "clock"
"""Who ends a proposal that nobody decided in time."""


class NotApproved(SafetyRefusal):
    """Doses that reached the pumps without the approval that their study asks for; nothing was sent."""

    code = "CL-520"


@dataclass(frozen=True)
class Question:
    """A proposal as it stands before people."""

    proposal: RecordedContent
    rule: Approval
    given: tuple[GivenApproval, ...]
    """Who has approved it so far, where more than one must."""
    needs: int
    above: tuple[str, ...]
    """Lines whose risk asks for a second person, in words."""
    end: Until | None

    def against(self, by: str) -> str:
        """Return why a person can not approve it now; empty where nothing stands against it."""
        return reason_against(self.rule, self.proposal.key, self.given, by, self.end)

    def facts(self) -> dict[str, Any]:
        """Return what programs are told of it."""
        return {
            "needs": self.needs,
            "approved_by": [one.by for one in self.given],
            "risk_above": list(self.above),
            "until": None if self.end is None else self.end.told,
            "expired": self.end is not None and self.end.over,
            "approvers": None if self.rule.approvers is None else list(self.rule.approvers),
        }


def moment_of(folder: Path, simulated: bool) -> Moment:
    """Return now, by both clocks."""
    return Moment(datetime.now(UTC), study_time_h(folder, simulated))


def question_of(
    record: Record, run_id: str, proposal: RecordedContent, now: Moment, simulated: bool
) -> Question:
    """Return how a proposal stands before people now."""
    rule = record.approval_rule(run_id)
    end = None
    if rule.expires_h is not None:
        end = until(rule, asked_at(record, run_id, proposal), now, simulated)
    return Question(
        proposal,
        rule,
        record.approvals(run_id, proposal.key),
        needed(rule, proposal.content),
        risk_above(rule, proposal.content),
        end,
    )


def put_to_people(lab: Laboratory, proposal_id: str) -> None:
    """Put on record, once, that a proposal waits for people."""
    if lab.record.decision_for(proposal_id) is not None:
        return
    asked = {e.content["proposal"] for e in lab.record.events(lab.run_id, ASKED)}
    if proposal_id not in asked:
        name = "/".join(proposal_id.rsplit("/", 2)[1:])
        content = {"proposal": proposal_id}
        lab.record.add_event(lab.run_id, ASKED, lab.clock.now_h(), content, key=name)
        reached("proposal_asked")


def now_in(lab: Laboratory) -> Moment:
    """Return now, by both clocks of a laboratory that is open."""
    return Moment(datetime.now(UTC), lab.clock.now_h())


def is_simulated(lab: Perfused) -> bool:
    """Return whether a run is simulated, by its record."""
    run = lab.record.run(lab.run_id)
    return lab.simulated if run is None else run.simulated


def open_question(lab: Laboratory) -> Question | None:
    """Return the run's proposal that waits for people; None where none does."""
    proposal = lab.record.latest_proposal(lab.run_id)
    if proposal is None or lab.record.decision_for(proposal.key) is not None:
        return None
    return question_of(lab.record, lab.run_id, proposal, now_in(lab), is_simulated(lab))


def end_expired(lab: Laboratory, cycle: int) -> bool:
    """Put on record that the open proposal of a cycle has expired, where it has; return whether it did."""
    if lab.study.approval.expires_h is None:
        return False
    question = open_question(lab)
    if question is None or question.proposal.cycle != cycle:
        return False
    if question.end is None or not question.end.over:
        return False
    why = f"not approved by {question.needs} within {question.end.expires_h:g} h, until {question.end.told}"
    with suppress(RecordConflict):  # a person was quicker: that decision stands
        lab.record.add_decision(question.proposal.key, "expire", CLOCK, why)
        lab.say(max(1, cycle - 1), f"{question.proposal.key} EXPIRED: {why}")
        return True
    return False


def fault_of(lab: Perfused, proposal_id: str) -> str:
    """Return why a proposal on record must not be given; empty where all who must have approved it in time."""
    (proposal,) = (p for p in lab.record.proposals(lab.run_id) if p.key == proposal_id)
    decision = lab.record.decision_for(proposal_id)
    rule = lab.study.approval
    given = lab.record.approvals(lab.run_id, proposal_id)
    sha256 = digest(canonical(proposal.content))
    fault = fault_of_approval(rule, proposal.content, sha256, decision, given)
    if fault or decision is None or rule.expires_h is None or is_simulated(lab):
        return fault  # no row keeps the study time of a decision
    asked = asked_at(lab.record, lab.run_id, proposal)
    end = until(rule, asked, Moment(utc_of(decision.at_utc), asked.time_h), False)
    return f"it was approved after it had expired, at {end.told}" if end and end.over else ""


def refuse_unapproved(lab: Perfused, programme: PumpProgramme, cycle: int) -> None:
    """Raise NotApproved for a dose that is not part of what people have approved for a cycle.

    The last look before the wire: it asks the record anew, whatever the flow believes.
    """
    if programme.purpose != "dose" or lab.study.approval.by == "auto":
        return
    seen = _APPROVED_PARTS.setdefault(lab.record, {}).setdefault((lab.run_id, cycle), [])
    try:
        _refuse_unapproved(lab, programme, cycle, seen)
    except RecordAway:
        # a later part of a dose whose approval was seen does not wait for a network
        if programme not in seen:
            raise


def _refuse_unapproved(
    lab: Perfused, programme: PumpProgramme, cycle: int, seen: list[PumpProgramme]
) -> None:
    """Ask the record; ``seen`` takes every part of the proposal that is approved."""
    approved = [
        p
        for p, decision in lab.record.proposed(lab.run_id, cycle)
        if decision is not None and decision.action == "approve"
    ]
    why = "nothing is approved"
    for proposal in reversed(approved):
        why = fault_of(lab, proposal.key)
        doses = proposal_from_dict(proposal.content).doses
        if not why and any(programme in dose.programme.parts for dose in doses):
            seen[:] = [part for dose in doses for part in dose.programme.parts]
            return
        why = why or f"{proposal.key}, which is approved, has another dose there"
        break
    raise NotApproved(
        f"{programme.asked_nm:g} nM on line {programme.line} in cycle {cycle}: {why}. Nothing was sent"
    )

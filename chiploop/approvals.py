"""Who must approve proposed doses, until when, and what stands against an approval.

Belongs here: decisions as pure rules of values. Not here: keeping approvals (record.approvals), the login of who
types (flows.cli.decide), the limits of a dose (safety).

A risk that nobody knows, as that of the pilot, counts as above every limit. Rejecting is open to everybody: it is
the safe side, and one rejection ends a proposal however many have approved it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from chiploop.record.approvals import GivenApproval
from chiploop.record.exclusions import EXCLUSION
from chiploop.record.measurement_rows import REVISION
from chiploop.record.rows import Decision, RecordedContent
from chiploop.record.well_exclusions import WELL_EXCLUSION
from chiploop.study_parts import Approval

if TYPE_CHECKING:
    from chiploop.record.record import Record

ASKED = "asked"
"""Kind of the record's event that a proposal was put to people."""
NEAR_SHARE = 0.25
"""The last part of its time in which a proposal counts as near its end."""
NEAR_H = 2.0
"""And no earlier than this before it."""


@dataclass(frozen=True)
class Moment:
    """A moment of a run, by both clocks."""

    utc: datetime
    time_h: float
    """Study time."""


@dataclass(frozen=True)
class Until:
    """Until when a proposal may be approved."""

    expires_h: float
    """How long that is, from when it was put to people."""
    left_h: float
    """From now; zero or less where it has expired."""
    told: str
    """The end, as people read it."""
    at: datetime | None = None
    """The end by the wall clock; None in a simulation."""

    @property
    def over(self) -> bool:
        """True where it can not be approved any more."""
        return self.left_h <= 0.0

    @property
    def near(self) -> bool:
        """True where little time is left."""
        return 0.0 < self.left_h <= min(NEAR_H, NEAR_SHARE * self.expires_h)


def utc_of(at_utc: str) -> datetime:
    """Return a time stamp of the record as a moment."""
    return datetime.fromisoformat(at_utc.replace("Z", "+00:00")).astimezone(UTC)


def until(rule: Approval, asked: Moment, now: Moment, simulated: bool) -> Until | None:
    """Return until when a proposal may be approved; None where it does not expire.

    In a simulation study time counts: virtual hours pass in milliseconds, and not while a person thinks. In a real
    run the wall clock counts, also while no process works on the run.
    """
    if rule.expires_h is None:
        return None
    if simulated:
        end_h = asked.time_h + rule.expires_h
        return Until(rule.expires_h, end_h - now.time_h, f"{end_h:.4g} h of study time")
    end = asked.utc + timedelta(hours=rule.expires_h)
    left_h = (end - now.utc) / timedelta(hours=1)
    return Until(rule.expires_h, left_h, f"{end:%Y-%m-%d %H:%M} UTC", end)


def asked_at(record: Record, run_id: str, proposal: RecordedContent) -> Moment:
    """Return when a proposal was put to people: for a person's edit, when the one before it was.

    So an edit buys no time: it rests on the same fit as what it replaces.
    """
    known = {p.key: p for p in record.proposals(run_id)}
    first = proposal
    while (before := known.get(first.content.get("edited_from") or "")) is not None:
        first = before
    times = [e.time_h for e in record.events(run_id, ASKED) if e.content["proposal"] == first.key]
    return Moment(utc_of(first.at_utc), min(times, default=0.0))


def readings_changed(record: Record, run_id: str, cycle: int) -> bool:
    """Return whether readings were excluded, taken back or calculated again after the last fit of a cycle."""
    fitted = max((c.at_utc for c in record.calibrations(run_id) if c.cycle == cycle), default="")
    changes = (EXCLUSION, WELL_EXCLUSION, REVISION)
    events = record.events(run_id)
    return bool(fitted) and any(e.at_utc > fitted for e in events if e.kind in changes)


def risk_above(rule: Approval, content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the lines of a proposal whose risk is above the limit of one person, with the risk in words."""
    if rule.two_above is None:
        return ()
    found = []
    for dose in content["doses"]:
        risk, is_drug = dose.get("risk"), dose["asked_nm"] > 0.0
        if risk is None and is_drug:
            found.append(f"{dose['line']} (not known)")
        elif risk is not None and risk > rule.two_above:
            found.append(f"{dose['line']} ({100.0 * risk:.3g} %)")
    return tuple(found)


def needed(rule: Approval, content: Mapping[str, Any]) -> int:
    """Return how many persons must approve a proposal."""
    return 2 if risk_above(rule, content) else 1


def reason_against(
    rule: Approval,
    proposal_id: str,
    given: Sequence[GivenApproval],
    by: str,
    end: Until | None,
) -> str:
    """Return why a person can not approve a proposal now; empty where nothing stands against it."""
    if end is not None and end.over:
        return (
            f"{proposal_id} expired: it could be approved until {end.told}, {end.expires_h:g} h after it "
            "was put to people. Chips hold on stimulus without drug; a fresh proposal from the same fit is "
            "made at the next look of the run, at the latest when the hold ends that runs now"
        )
    if rule.approvers is not None and by not in rule.approvers:
        return (
            f"{by} may not approve doses of this study; approvers are {', '.join(rule.approvers)}. "
            "Anybody may reject"
        )
    if any(one.by == by for one in given):
        return (
            f"{by} has approved {proposal_id} before; the second approval must be another person's"
        )
    return ""


def fault_of_approval(
    rule: Approval,
    content: Mapping[str, Any],
    content_sha256: str,
    decision: Decision | None,
    given: Sequence[GivenApproval],
) -> str:
    """Return why doses must not go to the pumps though something on record may say so; empty where they may.

    Asked again between approval and wire: it trusts neither the command that approved nor the row of the decision.
    """
    if decision is None or decision.action != "approve":
        return "nobody has approved it"
    if decision.proposal_sha256 != content_sha256:
        return "it is not what was approved"
    if rule.by == "auto":
        return ""  # the study file decides, or one person whom a stop rule asks
    valid = tuple(dict.fromkeys(one.by for one in given if one.proposal_sha256 == content_sha256))
    if decision.by == "auto":
        return "the study file asks for a person, and none approved it"
    needs = needed(rule, content)
    who = valid if needs > 1 else (decision.by,)
    if len(who) < needs:
        return (
            f"it needs {needs} persons (risk of {', '.join(risk_above(rule, content))} above "
            f"{100.0 * (rule.two_above or 0.0):g} %), and {', '.join(who) or 'nobody'} approved"
        )
    strangers = [one for one in who if rule.approvers is not None and one not in rule.approvers]
    if strangers:
        return f"{', '.join(strangers)} approved it and is none of its approvers"
    return ""

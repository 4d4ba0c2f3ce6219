"""The open doses of a run as a person decides about them: card, who must, until when.

Belongs here: reading the record into plain values. Not here: the card itself (chiploop.proposal_card), deciding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chiploop.approvals import (
    Moment,
    Until,
    asked_at,
    needed,
    readings_changed,
    reason_against,
    risk_above,
    until,
)
from chiploop.record.approvals import GivenApproval
from chiploop.record.record import Record
from chiploop.record.rows import Decision, RecordedRun


@dataclass(frozen=True)
class ProposalView:
    """A proposal as it stands before people."""

    key: str
    cycle: int
    content: dict[str, Any]
    card: dict[str, Any] | None
    """None for the pilot, which no fit can say anything of."""
    decision: Decision | None
    needs: int
    above: tuple[str, ...]
    given: tuple[GivenApproval, ...]
    end: Until | None
    approvers: tuple[str, ...] | None
    against: str
    """Why this login can not approve it now; empty where nothing stands against it."""
    limit_nm: float
    """The study's highest concentration."""
    is_stale: bool
    """Whether readings were left out, taken in again or calculated again after the fit on which it rests."""

    @property
    def is_open(self) -> bool:
        """Whether nobody has decided."""
        return self.decision is None

    @property
    def is_pilot(self) -> bool:
        """Whether its doses are the study file's own."""
        return self.cycle == 1


def proposal_view(
    record: Record, run: RecordedRun, by: str, time_h: float, now: datetime | None = None
) -> ProposalView | None:
    """Return the last proposal of a run as it stands before a login; None before the first."""
    latest = record.latest_proposal(run.run_id)
    if latest is None:
        return None
    rule = record.approval_rule(run.run_id)
    given = record.approvals(run.run_id, latest.key)
    end = None
    if rule.expires_h is not None:
        at = Moment(now or datetime.now(UTC), time_h)
        end = until(rule, asked_at(record, run.run_id, latest), at, run.simulated)
    limits: Mapping[str, Any] = record.study_content(run.run_id)["limits"]
    return ProposalView(
        latest.key,
        latest.cycle,
        latest.content,
        record.card(run.run_id, latest.key),
        record.decision_for(latest.key),
        needed(rule, latest.content),
        risk_above(rule, latest.content),
        given,
        end,
        rule.approvers,
        reason_against(rule, latest.key, given, by, end),
        float(limits["concentration_nm"]),
        readings_changed(record, run.run_id, latest.cycle - 1),
    )

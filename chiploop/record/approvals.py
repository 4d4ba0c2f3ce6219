"""Approvals of a proposal that needs more than one person, as events of the record.

Belongs here: the value, its row, what a proposal has of them. Not here: how many are needed and who may
(chiploop.approvals), the transaction (record).

A proposal that one person may approve has its decision alone, as it always had. Where more are needed each has
an event of its own, with the digest of what was approved; the last of them comes with the decision, in one
transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chiploop.record.chain import canonical, digest
from chiploop.record.rows import RecordedContent
from chiploop.record.tables import EventRow, ProposalRow

APPROVAL = "approval"
"""Kind of the event."""


@dataclass(frozen=True)
class GivenApproval:
    """One person's approval of one proposal."""

    proposal_id: str
    proposal_sha256: str
    """Digest of what was approved."""
    by: str
    """From the operating system's login."""
    why: str
    at_utc: str


def approval_row(proposal: ProposalRow, by: str, why: str, time_h: float) -> EventRow:
    """Return the row of an approval; a login has one place per proposal."""
    own = "/".join(proposal.natural_key.rsplit("/", 2)[1:])
    content = {
        "proposal": proposal.natural_key,
        "sha256": digest(proposal.content),
        "by": by,
        "why": why,
    }
    return EventRow(
        natural_key=f"{proposal.run_id}/{APPROVAL}/{own}/{by}",
        run_id=proposal.run_id,
        kind=APPROVAL,
        time_h=time_h,
        content=canonical(content),
    )


def approval_of(event: RecordedContent) -> GivenApproval:
    """Return the approval that an event keeps."""
    said = event.content
    return GivenApproval(said["proposal"], said["sha256"], said["by"], said["why"], event.at_utc)


def approvals_among(
    events: Iterable[RecordedContent], proposal_id: str
) -> tuple[GivenApproval, ...]:
    """Return the approvals of one proposal among events of that kind."""
    return tuple(approval_of(e) for e in events if e.content["proposal"] == proposal_id)


def in_one_decision(given: Sequence[GivenApproval]) -> tuple[str, str]:
    """Return who and why of the decision that several approvals make."""
    reasons = "; ".join(f"{one.by}: {one.why}" for one in given if one.why)
    return ", ".join(one.by for one in given), reasons

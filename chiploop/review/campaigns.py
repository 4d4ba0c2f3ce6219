"""All runs of a record, newest first and paged.

Belongs here: one row a run. Not here: a single run (run_view).
"""

from __future__ import annotations

from dataclasses import dataclass

from chiploop.leaves import leaf_of
from chiploop.record.record import Record
from chiploop.review.contracts import Desk, Status
from chiploop.review.run_view import verdict_of, waits_of

A_PAGE = 25


@dataclass(frozen=True)
class CampaignRow:
    """One run."""

    run_id: str
    study: str
    simulated: bool
    begun_utc: str
    status: Status
    verdict: str
    verdict_state: str
    waits: tuple[str, ...]


@dataclass(frozen=True)
class Campaigns:
    """One page of runs."""

    rows: tuple[CampaignRow, ...]
    page: int
    pages: int
    count: int


def campaigns(desk: Desk, record: Record, page: int) -> Campaigns:
    """Return one page of the runs on record."""
    runs = tuple(reversed(record.runs()))
    leaf = leaf_of(len(runs), page, A_PAGE)
    rows = []
    for run in leaf.of(runs):
        status = desk.status_of(run.run_id) or Status(run.state or "not begun", 0, 0, 0.0, 0.0)
        fitted = record.calibrations(run.run_id)
        verdict, state = verdict_of(fitted[-1] if fitted else None)
        rows.append(
            CampaignRow(
                run.run_id,
                run.study_name,
                run.simulated,
                run.begun_utc,
                status,
                verdict,
                state,
                waits_of(record, run.run_id, status),
            )
        )
    return Campaigns(tuple(rows), leaf.page, leaf.pages, len(runs))

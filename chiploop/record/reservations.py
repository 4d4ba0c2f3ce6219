"""Reservations of instruments, as events of the record: made, moved, released; nothing is changed or removed.

Belongs here: their rows, and which of them stand. Not here: what conflicts with what (chiploop.reservations),
which processes live (flows.reserving).

A run's newest event is what it has reserved. Where it stands in line is told by the first one since it last
reserved nothing: moving a reservation loses no place.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chiploop.record.chain import canonical
from chiploop.record.database import rows_of
from chiploop.record.next_event import Before, add_next_event
from chiploop.record.record import Record
from chiploop.record.tables import EventRow
from chiploop.reservations import Stretch, stretch_from

RESERVATION = "reservation"
"""Kind of the event."""


@dataclass(frozen=True)
class RecordedReservation:
    """What a run has reserved, as it stands on record."""

    run_id: str
    stretches: tuple[Stretch, ...]
    since: int
    """Number of the row with which it reserved: lower is earlier."""
    at_utc: str
    """When it was last moved."""
    simulated: bool
    host: str
    """Computer whose cables these are."""
    pid: int
    process_started: float
    folder: str
    """Of the run, on that computer."""


def reserve(
    record: Record, run_id: str, time_h: float, stretches: Sequence[Stretch], who: dict[str, Any]
) -> bool:
    """Put what a run reserves on record; what it has reserved already adds nothing.

    ``who`` holds ``simulated``, ``host``, ``pid``, ``process_started`` and ``folder``.
    """
    content = {"stretches": [one.facts() for one in stretches], **who}
    return _add(record, run_id, time_h, content)


def release(record: Record, run_id: str, time_h: float, by: str, why: str) -> bool:
    """Put on record that a run has nothing reserved any more; False where it had nothing."""
    return _add(record, run_id, time_h, {"stretches": [], "by": by, "why": why})


def _add(record: Record, run_id: str, time_h: float, content: dict[str, Any]) -> bool:
    """Add the next event of a run, where it says anything new."""

    def is_news(before: Before) -> bool:
        newest = before[-1] if before else {"stretches": []}
        if not content["stretches"]:
            return bool(newest["stretches"])
        return canonical(newest) != canonical(content)

    return add_next_event(record, run_id, RESERVATION, time_h, content, is_news=is_news)


def reservations_on(record: Record) -> tuple[RecordedReservation, ...]:
    """Return what every run has reserved, in the order of reserving; runs that have released all are left out."""
    with record.sessions.reading() as session:
        rows = rows_of(session, EventRow, EventRow.kind == RESERVATION)
    first: dict[str, int] = {}
    newest: dict[str, EventRow] = {}
    for row in rows:
        content = json.loads(row.content)
        if not content["stretches"]:
            first.pop(row.run_id, None)
            newest.pop(row.run_id, None)
            continue
        first.setdefault(row.run_id, row.id)
        newest[row.run_id] = row
    found = []
    for run_id, row in newest.items():
        said = json.loads(row.content)
        found.append(
            RecordedReservation(
                run_id,
                tuple(stretch_from(one) for one in said["stretches"]),
                first[run_id],
                row.at_utc,
                said["simulated"],
                said["host"],
                said["pid"],
                said["process_started"],
                said["folder"],
            )
        )
    return tuple(sorted(found, key=lambda one: one.since))

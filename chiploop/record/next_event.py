"""The next event of a kind: numbered, and judged by those before it, in one transaction.

Belongs here: adding where two people may say something at the same moment. Not here: events that have a name of
their own (record).

Who reads first and adds afterwards meets the other's event under his own number. Here the lock of those who add is
held while the events before are looked at, so both are kept, or the second one hears that it is so already.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chiploop.record.chain import canonical
from chiploop.record.database import add_row, rows_of
from chiploop.record.record import Record
from chiploop.record.tables import EventRow

Before = Sequence[Mapping[str, Any]]
"""Contents of the events of a kind that are there, oldest first."""


def says_something(before: Before) -> bool:
    """Return True: every event of the kind is kept."""
    return True


def add_next_event(
    record: Record,
    run_id: str,
    kind: str,
    time_h: float,
    content: Mapping[str, Any],
    about: str = "",
    is_news: Callable[[Before], bool] = says_something,
) -> bool:
    """Add an event of a run as ``KIND/NUMBER``, or ``KIND/ABOUT/NUMBER``; False where it ``is_news`` no more.

    ``is_news`` and the number are of the events of the kind, with ``about`` of those with that name.
    """
    begin = f"{run_id}/{kind}/" + (f"{about}/" if about else "")
    with record.sessions.writing() as session:
        rows = [
            row
            for row in rows_of(session, EventRow, EventRow.run_id == run_id)
            if row.kind == kind and row.natural_key.rpartition("/")[0] + "/" == begin
        ]
        if not is_news([json.loads(row.content) for row in rows]):
            return False
        row = EventRow(
            natural_key=f"{begin}{len(rows) + 1}",
            run_id=run_id,
            kind=kind,
            time_h=time_h,
            content=canonical(content),
        )
        return add_row(session, row, record.now_utc())[1]

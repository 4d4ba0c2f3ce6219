"""The journal's mirror in the record while a run goes on: beside it, and never in its way.

Belongs here: when the journal is mirrored, and what is told where it can not be. Not here: copying
(chiploop.record.journal_mirror), the journal.

A thread of its own with a connection of its own: a dose waits for the journal's file alone, however long the
record's server is away. What is behind is caught up with at the next look, at the next run, or by
``chiploop mirror``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chiploop.errors import ChiploopError
from chiploop.record.journal_mirror import mirror_journal
from flows.record_place import RecordPlace

LOOK_EVERY_S = 5.0
LAST_PATIENCE_S = 2.0
"""How long the end of a run waits for a record that is away."""
LOG = logging.getLogger("chiploop.mirror")


@contextmanager
def mirrored(place: RecordPlace, journal: Path, every_s: float = LOOK_EVERY_S) -> Iterator[None]:
    """Mirror a journal while the context lasts, and once more at its end; raises nothing."""
    ended = threading.Event()

    def look_again() -> None:
        while not ended.wait(every_s):
            mirror_once(place, journal)

    thread = threading.Thread(target=look_again, name="journal mirror", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=LAST_PATIENCE_S)
        if not thread.is_alive():
            mirror_once(place, journal)


def mirror_once(place: RecordPlace, journal: Path) -> bool:
    """Mirror a journal now; return whether that went well. Trouble goes to the log of the run."""
    try:
        with place.open() as record:
            record.sessions.patience_s = LAST_PATIENCE_S
            mirror_journal(record, journal)
        return True
    except ChiploopError as trouble:
        LOG.warning("the journal is not mirrored now: %s", trouble)
    except Exception:  # a mirror that is behind must not end a run
        LOG.exception("the journal is not mirrored now")
    return False

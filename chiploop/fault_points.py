"""Named places in the middle of work at which a test may end this process, as ``kill -9`` would.

Belongs here: the kill, and the places of record, journal and fit. Not here: places between journal and pump
(instruments.fault_points), between the steps of a run (flows.fault_points), what must hold afterwards (tests).

Random kills are weak evidence: the window between two writes is a few milliseconds.
``CHIPLOOP_FAULT=name`` kills at the first passage of that name, ``name@2`` at the second. Unset, a
passage costs one look-up.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """What a process that dies at a place leaves, and what is done about it."""

    left: str
    """What is left behind."""
    then: str
    """What taking the run up again does."""


RECORD_FAULT_POINTS: dict[str, Place] = {
    "rows_added": Place(
        "rows in a transaction of the record that was not committed", "the step is done again"
    ),
    "rows_committed": Place(
        "rows on record; the head file beside it is one transaction behind",
        "the head is caught up; the rows are not added twice",
    ),
    "journal_rows_added": Place(
        "rows in a transaction of the journal that was not committed",
        "counters and what was on disk before decide",
    ),
    "journal_rows_committed": Place(
        "rows in the journal; the head file beside it is behind",
        "the head is caught up; what is in the journal is not done again",
    ),
    "mirror_read": Place(
        "journal rows that the record's mirror has not got yet", "the mirror catches up"
    ),
    "raw_file_drafted": Place(
        "a draft of a raw file; nothing of that digest is kept", "the signal is read again and kept"
    ),
    "modes_found": Place(
        "readouts on record, a fit in the middle of its work and nothing of it kept",
        "the fit is made again from the same random numbers",
    ),
    "posterior_drafted": Place(
        "a draft of the posterior beside its place", "the fit is made again and the draft replaced"
    ),
    "report_drafted": Place("a draft of the report beside its place", "the report is written"),
    "backup_drafted": Place(
        "a whole backup under the name of a draft",
        "nothing has its name yet; the backup is made again",
    ),
    "restore_drafted": Place(
        "what a backup brought back, in an unfinished folder beside the wanted one",
        "nothing has its name yet; it is brought back again",
    ),
}
"""Places within one write, or one long calculation."""

_passages: dict[str, int] = {}


def passed(point: str) -> None:
    """Die here where ``CHIPLOOP_FAULT`` names this place; KeyError for a name that is not listed."""
    if point not in RECORD_FAULT_POINTS:
        raise KeyError(f"{point} is no fault point; add it to RECORD_FAULT_POINTS")
    die_if_named(point)


def die_if_named(name: str) -> None:
    """End this process where ``CHIPLOOP_FAULT`` names this place and passage."""
    wanted, _, passage = os.environ.get("CHIPLOOP_FAULT", "").partition("@")
    if wanted != name:
        return
    _passages[name] = _passages.get(name, 0) + 1
    if _passages[name] == int(passage or 1):
        os.kill(os.getpid(), 9)  # SIGKILL; TerminateProcess where there are no signals

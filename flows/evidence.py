"""A run as its files and its record keep it, opened to be read: for reports and exports.

Belongs here: opening. Not here: what is read (chiploop.report.html_report).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from chiploop.errors import FileNotValid
from chiploop.record.journal import Journal
from flows.opening import known_run
from flows.patients_at_hand import patient_at_hand

if TYPE_CHECKING:
    from chiploop.record.record import Record
    from chiploop.report.html_report import RunEvidence


@contextmanager
def evidence_of_run(
    record: Record, run_id: str, runs: Path
) -> Iterator[tuple[Journal, RunEvidence]]:
    """Open the journal of a run and everything that is on record of it.

    Raises FileNotValid where the run's journal is not there.
    """
    from chiploop.report.html_report import RunEvidence

    files = known_run(run_id, runs)
    if not files.journal.is_file():
        raise FileNotValid(f"{run_id} can not be read: there is no {files.journal}")
    with Journal(files.journal) as journal:
        yield (
            journal,
            RunEvidence(record, journal, files.study, files.run_id, files.folder, patient_at_hand),
        )

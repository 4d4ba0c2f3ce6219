"""The action journal, mirrored into the record: a copy for others to read, that shows what became of the file.

Belongs here: which rows are missing there, whether both say the same. Not here: the journal itself (journal), when
it is mirrored (flows).

The journal's file is the truth; the mirror only follows. Rows are copied word for word with their links, so that
the chain of a journal can be checked in the record too. A journal is known by the link of its first row, which no
other one has: moved, or brought back from a backup, it goes on where its mirror ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select

from chiploop.fault_points import passed
from chiploop.record.chain import (
    ChainFault,
    ChainReport,
    Head,
    Link,
    RecordBroken,
    RecordUnreadable,
    check_links,
)
from chiploop.record.database import add_rows, rows_of
from chiploop.record.journal import COLUMNS, row_content
from chiploop.record.record import Record
from chiploop.record.tables import JournalEventRow

ROWS_AT_ONCE = 500
"""Rows in one transaction: others may add to the record in between."""


def mirror_journal(record: Record, path: Path) -> int:
    """Copy the rows of a journal that the record has not yet; return how many. Safe to repeat, and from several
    processes.

    Raises RecordBroken where the file does not say what it said when it was mirrored, RecordAway as the record.
    """
    first = _rows(path, 0, 1)
    if not first:
        return 0
    journal, copied = str(first[0].hash), 0
    kept = mirrored_head(record, journal)
    if kept is not None:
        there = _rows(path, kept.count - 1, 1)
        if not there or there[0].hash != kept.hash:
            raise RecordBroken(
                f"{path} is not what was mirrored into {record.url}: row {kept.count} is "
                f"{'gone' if not there else 'another one'}. `chiploop audit verify` names the place; nothing was "
                "mirrored"
            )
    after = 0 if kept is None else kept.count
    while rows := _rows(path, after, ROWS_AT_ONCE):
        passed("mirror_read")
        with record.sessions.writing() as session:
            copied += add_rows(session, rows, record.now_utc())
        after = rows[-1].seq
    return copied


def mirrored_head(record: Record, journal: str) -> Head | None:
    """Return the last row of a journal that the record has; None where it has none."""
    asked = (
        select(JournalEventRow.seq, JournalEventRow.hash)
        .where(JournalEventRow.journal == journal)
        .order_by(JournalEventRow.seq.desc())
        .limit(1)
    )
    with record.sessions.reading() as session:
        found = session.execute(asked).first()
        return None if found is None else Head(found.seq, found.hash)


def verify_mirrors(record: Record, files: Sequence[Path] = ()) -> list[ChainReport]:
    """Return what is wrong with the chain of every mirrored journal, compared with those whose files are here.

    A mirror that is behind its file is no fault: it catches up.
    """
    by_journal: dict[str, list[JournalEventRow]] = {}
    with record.sessions.reading() as session:
        for row in rows_of(session, JournalEventRow):
            by_journal.setdefault(row.journal, []).append(row)
    heads = {str(first[0].hash): path for path in files if (first := _rows(path, 0, 1))}
    reports = []
    for journal, rows in by_journal.items():
        rows.sort(key=lambda row: row.seq)
        # Its own end: what a cut of the mirror's tail would show is the record's chain.
        end = Head(rows[-1].seq, rows[-1].hash)
        name = f"mirror of journal {journal[:16]} in {record.url}"
        report = check_links(name, (_link(row) for row in rows), end)
        faults = [*report.faults]
        if journal in heads:
            faults += _differences(heads[journal], rows)
        reports.append(ChainReport(name, report.rows, report.head, tuple(faults)))
    return reports


def _differences(path: Path, rows: Sequence[JournalEventRow]) -> list[ChainFault]:
    """Return the first row of a journal's file that is not as its mirror has it, or is gone."""
    here = {row.seq: row.hash for row in _rows(path, 0, rows[-1].seq)}
    for row in rows:
        if here.get(row.seq) != row.hash:
            gone = row.seq not in here
            said = "is gone from the file" if gone else "is another one in the file"
            return [
                ChainFault(
                    "deleted" if gone else "edited",
                    str(path),
                    str(row.seq),
                    f"row {row.seq} ({row.kind} {row.key}) was mirrored and {said}",
                )
            ]
    return []


def _link(row: JournalEventRow) -> Link:
    content = row_content(row.seq, row.event_utc, row.run_id, row.key, row.kind, row.body)
    return Link(row.seq, "events", f"{row.kind} {row.key}", content, row.previous, row.hash)


def _rows(path: Path, after: int, most: int) -> list[JournalEventRow]:
    """Return rows of a journal's file that follow a number, as the record keeps them; none where there is no file.

    Reads only; whoever adds to the journal is not held up.
    """
    if not path.exists():
        return []
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30.0)
        try:
            asked = f"SELECT {COLUMNS} FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
            found = db.execute(asked, (after, most)).fetchall()
            first = db.execute("SELECT hash FROM events WHERE seq = 1").fetchone()
        finally:
            db.close()
    except sqlite3.Error as problem:
        raise RecordUnreadable(f"{path} can not be read as a journal: {problem}") from problem
    journal = str(first[0]) if first else ""
    return [
        JournalEventRow(
            natural_key=f"{journal}/{seq}",
            journal=journal,
            seq=seq,
            event_utc=at_utc,
            run_id=run_id,
            key=key,
            kind=kind,
            body=body,
            previous=previous,
            hash=link,
        )
        for seq, at_utc, run_id, key, kind, body, previous, link in found
    ]

"""The audit of a store of patients: a chain of who did what with which random id, and when.

Belongs here: rows, their chain, what they say of each patient. Not here: keys and values (store).

Nothing of a patient is in it: no code, no value, no digest that could be found again by trying values. So it stays
when the patient is deleted, and shows that it was. A local SQLite file, append-only by triggers, hash-chained by
``record.chain`` as record and journal are. No write-ahead log: it would keep nothing that the file has not.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from chiploop.record.chain import (
    GENESIS,
    ChainFault,
    ChainReport,
    Head,
    Link,
    RecordUnreadable,
    canonical,
    check_links,
    head_path,
    link_hash,
    read_head,
    refuse_cut_chain,
    utc_now,
    write_head,
)
from chiploop.record.disk import told_when_full

AUDIT_FILE = "patients.sqlite"
Action = Literal[
    "made", "protected", "adding", "added", "given up", "changed", "used", "exported", "deleting", "deleted"
]  # fmt: skip
ACTIONS: tuple[Action, ...] = get_args(Action)
State = Literal["adding", "kept", "given up", "deleting", "deleted"]
STATES: dict[str, State] = {
    "adding": "adding",
    "added": "kept",
    "changed": "kept",
    "given up": "given up",
    "deleting": "deleting",
    "deleted": "deleted",
}
"""Action -> how a patient stands after it; the others change nothing."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events(
    seq INTEGER PRIMARY KEY, at_utc TEXT NOT NULL, patient_id TEXT NOT NULL, action TEXT NOT NULL,
    login TEXT NOT NULL, body TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS events_no_update BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER IF NOT EXISTS events_no_delete BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
"""
_GUARDS = ("events_no_delete", "events_no_update")
_COLUMNS = "seq, at_utc, patient_id, action, login, body, previous, hash"


@dataclass(frozen=True)
class Entry:
    """One row of the audit."""

    seq: int
    at_utc: str
    patient_id: str
    """Random; empty for what concerns the whole store."""
    action: str
    login: str
    """Who, as the operating system tells it."""
    body: dict[str, Any]
    hash: str
    """Its link."""


@dataclass(frozen=True)
class Standing:
    """What the audit says of one patient."""

    patient_id: str
    state: State
    version: int = 0
    """Of the values that count; 0 where none do yet."""
    commitment: str = ""
    """Keyed digest of these values."""
    added_utc: str = ""
    ended_utc: str = ""
    """When it was deleted or given up."""
    exports: tuple[dict[str, Any], ...] = ()
    """To whom values were given, with code, purpose and time."""
    pages: int = 0
    """Pages that were written with this patient."""
    entries: tuple[Entry, ...] = field(default=(), repr=False)


class PatientAudit:
    """The audit in one file; opening creates it. RecordUnreadable where that fails.

    ``add`` is one transaction, on disk when it returns; RecordBroken where rows were cut.
    """

    def __init__(self, path: Path, now_utc: Callable[[], str] = utc_now) -> None:
        self.path = path
        self.now_utc = now_utc
        """Stamps the rows; tests set it."""
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=30.0)
            self._db.execute("PRAGMA journal_mode = DELETE")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as problem:
            raise RecordUnreadable(
                f"{path} can not be used as an audit of patients: {problem}"
            ) from problem

    def close(self) -> None:
        """Close the file; safe to repeat."""
        self._db.close()

    def add(self, patient_id: str, action: Action, login: str, **body: Any) -> Entry:
        """Add a row; return it. ``body`` has nothing of a patient: words, versions, keyed digests."""
        with self._writing() as db:
            last = db.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
            count, previous = (0, GENESIS) if last is None else last
            row = (count + 1, self.now_utc(), patient_id, action, login, canonical(body))
            link = link_hash(previous, canonical(row))
            db.execute(
                f"INSERT INTO events({_COLUMNS}) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, previous, link),
            )
        write_head(head_path(self.path), Head(count + 1, link))
        return Entry(row[0], row[1], patient_id, action, login, json.loads(row[5]), link)

    def entries(self) -> list[Entry]:
        """Return all rows, in order."""
        asked = "SELECT seq, at_utc, patient_id, action, login, body, hash FROM events ORDER BY seq"
        return [
            Entry(seq, at, patient, action, login, _body(body), link)
            for seq, at, patient, action, login, body, link in self._db.execute(asked)
        ]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with told_when_full(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                count = self._db.execute("SELECT count(*) FROM events").fetchone()[0]
                refuse_cut_chain(head_path(self.path), count, self._hash_at)
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _hash_at(self, seq: int) -> str | None:
        row = self._db.execute("SELECT hash FROM events WHERE seq = ?", (seq,)).fetchone()
        return None if row is None else str(row[0])


def _body(text: str) -> dict[str, Any]:
    """Return the body of a row; nothing of one that was altered, which the check of the chain names."""
    try:
        body = json.loads(text)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def standing_of(entries: list[Entry]) -> dict[str, Standing]:
    """Return what the audit says of each patient, in the order they were added."""
    found: dict[str, Standing] = {}
    for entry in entries:
        if not entry.patient_id:
            continue
        old = found.get(entry.patient_id, Standing(entry.patient_id, "adding"))
        body: Mapping[str, Any] = entry.body
        state = STATES.get(entry.action, old.state)
        new = replace(old, state=state, entries=(*old.entries, entry))
        if entry.action in ("added", "changed"):
            new = replace(
                new, version=body.get("version", 0), commitment=body.get("commitment", "")
            )
        if entry.action == "added":
            new = replace(new, added_utc=entry.at_utc)
        elif state in ("deleted", "given up") and entry.action in STATES:
            new = replace(new, ended_utc=entry.at_utc)
        elif entry.action == "exported":
            new = replace(new, exports=(*old.exports, {**body, "at_utc": entry.at_utc}))
        elif entry.action == "used" and body.get("page"):
            new = replace(new, pages=old.pages + 1)
        found[entry.patient_id] = new
    return found


def verify_chain(path: Path) -> tuple[ChainReport, list[Entry]]:
    """Return what is wrong with the chain, its head file and its guards, and the rows; opens it for reading only.

    RecordUnreadable where it is missing or none.
    """
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30.0)
        with closing(db):
            rows = db.execute(f"SELECT {_COLUMNS} FROM events ORDER BY seq").fetchall()
            present = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    except sqlite3.Error as problem:
        raise RecordUnreadable(
            f"{path} can not be read as an audit of patients: {problem}"
        ) from problem
    links = (
        Link(row[0], "patients", f"{row[3]} {row[2]}".strip(), canonical(row[:6]), row[6], row[7])
        for row in rows
    )
    report = check_links(str(path), links, read_head(head_path(path)))
    unprotected = tuple(
        ChainFault(
            "unprotected", "patients", guard, f"{guard} is gone: rows could be changed unseen"
        )
        for guard in _GUARDS
        if guard not in present
    )
    entries = [
        Entry(seq, at, patient, action, login, _body(body), link)
        for seq, at, patient, action, login, body, _, link in rows
    ]
    return replace(report, faults=report.faults + unprotected), entries

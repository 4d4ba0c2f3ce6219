"""The action journal: what the pumps were told to do, on disk before the first byte of it.

Belongs here: intents, what became of them, totals per pump. Not here: what a pump's counter proves
(reconcile), moving liquid (instruments.delivery), anything of the science (record).

Always a local SQLite file on the machine with the cables (WAL, synchronous FULL): a dose never
waits for a network; the record gets a copy of it later (journal_mirror). Append-only by triggers,
hash-chained, safe across processes. One intent per key and one end per key, held by unique indexes;
keys are deterministic, so a repeated flow meets its own intent and not a new one.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chiploop.fault_points import passed
from chiploop.record.actions import (
    ENDS,
    Action,
    Event,
    EventKind,
    Intent,
    JournalTotals,
    action_of,
    totals_of,
    with_connection,
)
from chiploop.record.chain import (
    GENESIS,
    ChainFault,
    ChainReport,
    Head,
    Link,
    RecordConflict,
    RecordUnreadable,
    canonical,
    check_links,
    head_path,
    link_hash,
    plain,
    read_head,
    refuse_cut_chain,
    utc_now,
    write_head,
)
from chiploop.record.disk import told_when_full
from chiploop.record.turns import (
    Turn,
    TurnAsked,
    connection_at,
    held_by_turns,
    turns_of,
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events(
    seq INTEGER PRIMARY KEY, at_utc TEXT NOT NULL, run_id TEXT NOT NULL, key TEXT NOT NULL, kind
    TEXT NOT NULL, body TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS one_intent ON events(key) WHERE kind = 'intent';
CREATE UNIQUE INDEX IF NOT EXISTS one_end ON events(key) WHERE kind IN ('outcome', 'abandoned');
CREATE INDEX IF NOT EXISTS by_key ON events(key);
CREATE INDEX IF NOT EXISTS by_run ON events(run_id);
CREATE INDEX IF NOT EXISTS of_valves ON events(run_id)
    WHERE kind IN ('turn', 'turned', 'turn_unknown', 'turn_settled');
CREATE TRIGGER IF NOT EXISTS events_no_update BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER IF NOT EXISTS events_no_delete BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
"""
_OF_VALVES = "kind IN ('turn', 'turned', 'turn_unknown', 'turn_settled')"
_GUARDS = {"one_intent", "one_end", "events_no_update", "events_no_delete"}
COLUMNS = "seq, at_utc, run_id, key, kind, body, previous, hash"
"""Of the one table of a journal."""


class Journal:
    """The action journal in one SQLite file; opening creates it. RecordUnreadable where that fails.

    Each method is one transaction, on disk when it returns. Methods that add raise RecordConflict
    where the key has another content already, RecordBroken where rows were cut. ``now_utc`` stamps
    the rows; tests set it.
    """

    def __init__(self, path: Path | str, now_utc: Callable[[], str] = utc_now) -> None:
        self.path = Path(path)
        self._now_utc = now_utc
        self._lock = threading.RLock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False, timeout=30.0
            )
            self._db.execute("PRAGMA busy_timeout = 30000")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA recursive_triggers = ON")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as problem:
            raise RecordUnreadable(
                f"{self.path} can not be used as a journal: {problem}"
            ) from problem

    def close(self) -> None:
        """Close the file; safe to repeat."""
        self._db.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- adding

    def intend(self, intents: Sequence[Intent]) -> None:
        """Record the intents of all pumps of a programme, all or none. RecordConflict where one is
        there.
        """
        with self._writing() as db:
            for intent in intents:
                if self._select(db, "key = ? AND kind = 'intent'", intent.key):
                    raise RecordConflict(f"{intent.key} was intended before; it is not sent again")
                self._append(db, intent.run_id, intent.key, "intent", asdict(intent))

    def sent(self, key: str, time_h: float) -> None:
        """Record that the start command is about to leave; called before its first byte."""
        self._add_to_open(key, "sent", {"time_h": time_h})

    def started(self, key: str, time_h: float, proof: str) -> None:
        """Record that the pump runs; ``proof`` is its answer or what its counter showed. Once per
        intent.
        """
        action = self.action(key)
        if action is None or action.started_h is None:
            self._add_to_open(key, "started", {"time_h": time_h, "proof": proof})

    def outcome(self, key: str, time_h: float, delivered_ul: float, counter_ul: float) -> None:
        """End an intent with the volume that the pump's counter shows. RecordConflict where it
        ended otherwise.
        """
        self._end(
            key,
            "outcome",
            {"time_h": time_h, "delivered_ul": delivered_ul, "counter_ul": counter_ul},
        )

    def ambiguous(self, key: str, time_h: float, reason: str, counter_ul: float | None) -> None:
        """Record that the pump can not tell what happened: the line is held until a person has
        looked.
        """
        self._add_to_open(
            key, "ambiguous", {"time_h": time_h, "reason": reason, "counter_ul": counter_ul}
        )

    def abandon(
        self, key: str, time_h: float, by: str, reason: str, delivered_ul: float | None = None
    ) -> None:
        """End an intent on a person's word; ``delivered_ul`` is what the person saw, None where
        nobody knows.
        """
        self._end(
            key,
            "abandoned",
            {"time_h": time_h, "by": by, "reason": reason, "delivered_ul": delivered_ul},
        )

    def refill(
        self, run_id: str, pump: str, time_h: float, by: str, while_running: bool = False
    ) -> None:
        """Record that a person has put a full syringe into a pump.

        ``while_running``: what the pump had still to give by then counts against the new syringe.
        """
        body: dict[str, Any] = {"time_h": time_h, "by": by}
        if while_running:
            body["while_running"] = True
        with self._writing() as db:
            self._append(db, run_id, f"{run_id}/refill/{pump}", "refill", body)

    def note(self, run_id: str, key: str, time_h: float, text: str, **values: Any) -> None:
        """Record something that happened to a pump or line and ends nothing."""
        with self._writing() as db:
            self._append(db, run_id, key, "note", {"time_h": time_h, "text": text, **values})

    # -- valves

    def turn(self, asked: TurnAsked) -> None:
        """Record that a valve is about to be turned, or was found elsewhere; called before the first byte."""
        with self._writing() as db:
            self._append(db, asked.run_id, asked.key, "turn", asked.body())

    def turned(self, key: str, time_h: float, stands: str, position: int, proof: str) -> None:
        """Record at whose port a valve has said that it stands; ``stands`` is that line."""
        body = {"time_h": time_h, "stands": stands, "position": position, "proof": proof}
        self._add_to_turn(key, "turned", body)

    def turn_unknown(self, key: str, time_h: float, reason: str) -> None:
        """Record that nobody knows where a valve stands: its lines are held until a person has looked."""
        self._add_to_turn(key, "turn_unknown", {"time_h": time_h, "reason": reason})

    def turn_settled(self, key: str, time_h: float, by: str, reason: str, stands: str) -> None:
        """Record a person's word on at which line's port a valve has stood since nobody could tell."""
        body = {"time_h": time_h, "by": by, "reason": reason, "stands": stands}
        self._add_to_turn(key, "turn_settled", body)

    def turns(self, run_id: str) -> list[Turn]:
        """Return the turns of a run's valves, in order."""
        with self._lock:
            return turns_of(self._select(self._db, f"run_id = ? AND {_OF_VALVES}", run_id))

    def connection(self, run_id: str) -> dict[str, str | None]:
        """Return chip -> line that feeds it now, for chips whose valve was ever turned; None where nobody
        knows.
        """
        return connection_at(self.turns(run_id), float("inf"))

    def _add_to_turn(self, key: str, kind: EventKind, body: dict[str, Any]) -> None:
        with self._writing() as db:
            events = self._select(db, f"key = ? AND {_OF_VALVES}", key)
            if not events:
                raise RecordConflict(f"{key}: {kind} without a turn")
            self._append(db, events[0].run_id, key, kind, body)

    # -- asking

    def events(self, key: str | None = None) -> list[Event]:
        """Return the rows of one key, or all of them, in order."""
        where, values = ("1", ()) if key is None else ("key = ?", (key,))
        with self._lock:
            return self._select(self._db, where, *values)

    def action(self, key: str) -> Action | None:
        """Return an intent and what became of it; None where there is none."""
        found = self._actions("key = ?", key)
        return found[0] if found else None

    def programme(self, programme_key: str) -> list[Action]:
        """Return the actions of all pumps of a programme, in the order intended; empty where
        not intended.
        """
        # "0" is the character after "/": all keys below the programme's, by the index.
        actions = self._actions("key > ? AND key < ?", f"{programme_key}/", f"{programme_key}0")
        return [a for a in actions if a.intent.programme_key == programme_key]

    def actions(self, run_id: str, lines: Collection[str] | None = None) -> list[Action]:
        """Return the actions of a run, in order; of all its lines or of some."""
        if lines is None:
            return self._actions("run_id = ?", run_id)
        return self._actions(
            "key IN (SELECT key FROM events WHERE run_id = ? AND kind = 'intent' "
            "AND json_extract(body, '$.programme.line') IN (SELECT value FROM json_each(?)))",
            run_id,
            json.dumps(sorted(lines)),
        )

    def open_actions(self, run_id: str | None = None) -> list[Action]:
        """Return the open actions of all pumps, of any run or of one."""
        of_run = "" if run_id is None else "run_id = ? AND "
        return self._actions(
            f"key IN (SELECT key FROM events WHERE {of_run}kind = 'intent' "
            "EXCEPT SELECT key FROM events WHERE kind IN ('outcome', 'abandoned'))",
            *(() if run_id is None else (run_id,)),
        )

    def open_on(self, pump: str) -> list[Action]:
        """Return the open actions of a pump, of any run."""
        return [a for a in self.open_actions() if a.intent.pump == pump]

    def last_on(self, pump: str) -> Action | None:
        """Return the newest action of a pump, of any run; None where it never had one."""
        actions = [a for a in self._actions("kind != 'refill'") if a.intent.pump == pump]
        return max(actions, key=lambda action: action.seq, default=None)

    def held(self, run_id: str) -> dict[str, str]:
        """Return line -> why it is held: it has an open intent, or a valve, that a person must look at."""
        held: dict[str, str] = {}
        for action in self.open_actions(run_id):
            if action.held is not None:
                held.setdefault(
                    action.intent.programme.line, f"{action.intent.pump}: {action.held}"
                )
        for line, why in held_by_turns(self.turns(run_id)).items():
            held.setdefault(line, why)
        return held

    def totals(self, run_id: str, without: str = "") -> JournalTotals:
        """Return what the pumps of a run have moved; ``without`` leaves out one programme by its
        key.
        """
        actions = [a for a in self.actions(run_id) if a.intent.programme_key != without]
        with self._lock:
            refills = self._select(self._db, "run_id = ? AND kind = 'refill'", run_id)
        primed = self._actions("key > ? AND key < ?", f"bench/{run_id}/", f"bench/{run_id}0")
        return totals_of(actions, refills, primed)

    def verify(self) -> ChainReport:
        """Return what is wrong with the file, as :func:`verify_journal`."""
        return verify_journal(self.path)

    # -- the file

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock of the file for one transaction; the head follows the commit."""
        with self._lock, told_when_full(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                refuse_cut_chain(head_path(self.path), self._last(self._db)[0], self._hash_at)
                yield self._db
                count, last = self._last(self._db)
                passed("journal_rows_added")
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            passed("journal_rows_committed")
            if count:
                write_head(head_path(self.path), Head(count, last))

    def _append(
        self, db: sqlite3.Connection, run_id: str, key: str, kind: EventKind, body: Any
    ) -> None:
        count, previous = self._last(db)
        row = (count + 1, self._now_utc(), run_id, key, kind, canonical(body))
        db.execute(
            f"INSERT INTO events({COLUMNS}) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
            (*row, previous, link_hash(previous, row_content(*row))),
        )

    def _add_to_open(self, key: str, kind: EventKind, body: dict[str, Any]) -> None:
        with self._writing() as db:
            events = self._select(db, "key = ?", key)
            intent = next((e for e in events if e.kind == "intent"), None)
            if intent is None:
                raise RecordConflict(f"{key}: {kind} without an intent")
            if any(e.kind in ENDS for e in events):
                raise RecordConflict(f"{key}: {kind} after its end")
            self._append(db, intent.run_id, key, kind, body)

    def _end(self, key: str, kind: EventKind, body: dict[str, Any]) -> None:
        with self._writing() as db:
            events = self._select(db, "key = ?", key)
            intent = next((e for e in events if e.kind == "intent"), None)
            end = next((e for e in events if e.kind in ENDS), None)
            if intent is None:
                raise RecordConflict(f"{key}: {kind} without an intent")
            if end is not None:
                if end.kind == kind and end.body == plain(body):
                    return
                raise RecordConflict(f"{key} ended before: {end.kind} {canonical(end.body)}")
            self._append(db, intent.run_id, key, kind, body)

    def _actions(self, where: str, *values: Any) -> list[Action]:
        with self._lock:
            events = self._select(self._db, where, *values)
        by_key: dict[str, list[Event]] = {}
        for event in events:
            by_key.setdefault(event.key, []).append(event)
        turns = {run: self.turns(run) for run in {event.run_id for event in events}}
        found = [
            with_connection(action_of(rows), turns[rows[0].run_id])
            for rows in by_key.values()
            if any(row.kind == "intent" for row in rows)
        ]
        # by its intent: a note on a pump, such as a cleared counter, may stand before all intents
        return sorted(found, key=lambda action: action.seq)

    def _select(self, db: sqlite3.Connection, where: str, *values: Any) -> list[Event]:
        rows = db.execute(
            f"SELECT seq, at_utc, run_id, key, kind, body FROM events WHERE {where} ORDER BY seq",
            values,
        )
        return [
            Event(seq, at, run, key, kind, json.loads(body))
            for seq, at, run, key, kind, body in rows
        ]

    def _last(self, db: sqlite3.Connection) -> tuple[int, str]:
        row = db.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
        return (0, GENESIS) if row is None else (int(row[0]), str(row[1]))

    def _hash_at(self, seq: int) -> str | None:
        row = self._db.execute("SELECT hash FROM events WHERE seq = ?", (seq,)).fetchone()
        return None if row is None else str(row[0])


def verify_journal(path: Path) -> ChainReport:
    """Return what is wrong with a journal's chain, its head file, or the guards that keep it
    append-only.

    Opens the file for reading only. RecordUnreadable where it is missing or no journal.
    """
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30.0)
        try:
            rows = db.execute(f"SELECT {COLUMNS} FROM events ORDER BY seq").fetchall()
            present = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        finally:
            db.close()
    except sqlite3.Error as problem:
        raise RecordUnreadable(f"{path} can not be read as a journal: {problem}") from problem
    links = (
        Link(
            seq,
            "events",
            f"{kind} {key}",
            row_content(seq, at, run, key, kind, body),
            previous,
            link,
        )
        for seq, at, run, key, kind, body, previous, link in rows
    )
    report = check_links(str(path), links, read_head(head_path(path)))
    unprotected = tuple(
        ChainFault("unprotected", "events", guard, f"{guard} is gone: rows could be changed unseen")
        for guard in sorted(_GUARDS - present)
    )
    return ChainReport(report.name, report.rows, report.head, report.faults + unprotected)


def row_content(seq: int, at_utc: str, run_id: str, key: str, kind: str, body: str) -> str:
    """Return the canonical text of a row that enters the chain."""
    return canonical([seq, at_utc, run_id, key, kind, body])

"""Transactions on a record: how it is opened, who waits for whom, what is told when its server is away.

Belongs here: opening, one transaction to read, one to add, the head that follows it. Not here: rows and links
(database), making and migrating tables (schema), what rows are for (record).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from chiploop.errors import InstrumentTrouble
from chiploop.fault_points import passed
from chiploop.record.chain import (
    RecordUnreadable,
    head_path,
    refuse_cut_chain,
    write_head,
)
from chiploop.record.database import (
    last_link,
    open_engine,
    reading_engine,
    writing_engine,
)
from chiploop.record.disk import told_when_full
from chiploop.record.record_url import file_of, record_url, shown
from chiploop.record.schema import bring_up_to_date, refuse_newer
from chiploop.record.tables import AuditRow

PATIENCE_S = 60.0
"""How long a record that was there before is waited for."""
TRY_AGAIN_S = 0.5


class RecordAway(InstrumentTrouble):
    """The record's server does not answer, or others hold its lock."""

    code = "CL-450"


class Sessions:
    """The transactions of one record; opening one to add makes or migrates its tables.

    Raises RecordUnreadable where it can not be opened or is not a record, RecordTooNew where a newer chiploop
    wrote it.
    """

    def __init__(self, url: str, head: Path | None, create: bool) -> None:
        parsed = record_url(url)
        self.shown = shown(parsed)
        """The URL without its password."""
        self._file = file = file_of(parsed)
        self.is_file = parsed.get_backend_name() == "sqlite"
        self.head = head or (head_path(file) if file else None)
        """File that keeps the length of the chain; None where none does."""
        self.patience_s = PATIENCE_S
        engine = open_engine(parsed)
        self._engine, self._writer = reading_engine(engine), writing_engine(engine)
        try:
            if file and create:
                file.parent.mkdir(parents=True, exist_ok=True)
            if create:
                bring_up_to_date(self._writer, self.shown)
            elif file is None or file.exists():
                with self._engine.connect() as connection:
                    refuse_newer(connection, self.shown)
        except (OSError, SQLAlchemyError) as problem:
            engine.dispose()
            raise RecordUnreadable(
                f"{self.shown} can not be used as a record: {told(problem)}"
            ) from problem
        except BaseException:
            engine.dispose()
            raise

    def close(self) -> None:
        """Close all connections; safe to repeat."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a session that sees the record as it stands at one moment."""
        with self._begun(self._engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Hold the write lock for one transaction; the head follows the commit.

        Raises RecordBroken where rows were cut, RecordAway where the record can not be reached: then nothing of
        the transaction is on record, or all of it where the server went away at its very end.
        """
        place = self._file or Path(self.shown)
        with told_when_full(place), self._begun(self._writer) as session:
            if self.head is not None:
                count = session.scalar(select(func.count()).select_from(AuditRow)) or 0
                refuse_cut_chain(
                    self.head,
                    count,
                    lambda seq: session.scalar(select(AuditRow.hash).where(AuditRow.seq == seq)),
                )
            yield session
            last = last_link(session)
            passed("rows_added")
            session.commit()
        passed("rows_committed")
        if self.head is not None and last.count:
            write_head(self.head, last)

    @contextmanager
    def _begun(self, engine: Engine) -> Iterator[Session]:
        """Yield a session whose transaction has begun; its lock, where it writes, is held."""
        with Session(engine, expire_on_commit=False) as session:
            self._begin(session)
            try:
                yield session
            except DBAPIError as problem:
                if not (problem.connection_invalidated or may_pass(problem)):
                    raise
                raise RecordAway(
                    f"{self.shown} was lost in the middle of a transaction: {told(problem)}. What was "
                    "being added is on record wholly or not at all; adding it again is safe"
                ) from problem

    def _begin(self, session: Session) -> None:
        """Begin a transaction; one that can not begin yet is begun again for a while."""
        until_s = time.monotonic() + self.patience_s
        while True:
            try:
                session.connection()
                return
            except OperationalError as problem:
                session.rollback()
                if not may_pass(problem) or time.monotonic() + TRY_AGAIN_S > until_s:
                    if not may_pass(problem):
                        raise
                    raise RecordAway(
                        f"{self.shown} could not be reached for {self.patience_s:g} s: {told(problem)}. "
                        "Nothing was added"
                    ) from problem
                time.sleep(TRY_AGAIN_S)


def may_pass(problem: DBAPIError) -> bool:
    """Return whether trouble with a database may be over in a while: a lock, a server that starts anew."""
    if "sqlite" in type(problem.orig).__module__:
        return any(word in str(problem.orig) for word in ("locked", "busy"))
    return isinstance(problem, OperationalError)


def told(problem: BaseException) -> str:
    """Return what a database said, without the statement and the link to a manual that are added to it."""
    said = str(problem.orig) if isinstance(problem, DBAPIError) else str(problem)
    return " ".join(said.split())

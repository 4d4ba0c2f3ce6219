"""The database behind the record: how it is opened, how a row and its link go in, what a check
finds.

Belongs here: engines, locks, links. Not here: which rows there are (tables), opening a record (sessions), what
rows are for (record).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, select
from sqlalchemy.orm import Session

from chiploop.record.chain import GENESIS, ChainFault, Head, RecordConflict, link_hash
from chiploop.record.tables import (
    LATER,
    LATER_TABLES,
    NOT_COMPARED,
    AuditRow,
    Row,
    audit_content,
    columns_of,
    row_sha256,
)

AnyRow = TypeVar("AnyRow", bound=Row)
AT_ONCE = 500
"""Keys in one question; SQLite of 2020 takes at most 999."""
LOCK_TIMEOUT_S = 30
"""How long a writer waits for another one at a time."""
WRITERS_LOCK = 0x636869706C6F6F70
"""Number of the advisory lock of those who add to a record: "chiploop"."""
LINE_TO_SERVER: dict[str, Any] = {
    "application_name": "chiploop",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""Settings of libpq: a server that is gone is noticed within a quarter of a minute, not of an hour."""


def open_engine(url: URL) -> Engine:
    """Return an engine: writers of it (``writing_engine``) come one after another, readers see one moment.

    SQLite: WAL, synchronous FULL, and the file's lock before anything is read. PostgreSQL: one advisory lock of
    the database, a commit that is on disk, and calls that end when the server is gone.
    """
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    settings = {name: value for name, value in LINE_TO_SERVER.items() if name not in url.query}
    engine = create_engine(url, connect_args=settings, pool_pre_ping=True, hide_parameters=True)
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def writing_engine(engine: Engine) -> Engine:
    """Return the engine for one who adds: each transaction begins with the lock."""
    return engine.execution_options(chiploop_writes=True)


def reading_engine(engine: Engine) -> Engine:
    """Return the engine for one who asks: a transaction sees the record as it stood at one moment."""
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _set_up_sqlite(connection: Any, _: object) -> None:
    # Transactions begin where _begin_sqlite says, not at the first write.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {1000 * LOCK_TIMEOUT_S}")
    until_s = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as problem:
            # Of two who make a file at once one is refused here without being let wait.
            if "locked" not in str(problem) or time.monotonic() > until_s:
                raise
            time.sleep(0.01)
    for pragma in (
        "synchronous = FULL",
        "foreign_keys = ON",
        "recursive_triggers = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock before it reads the last link: two could continue the same one.
    writes = connection.get_execution_options().get("chiploop_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    # As above. Each statement of a writer sees all that was committed before it, the last link too.
    if connection.get_execution_options().get("chiploop_writes", False):
        connection.exec_driver_sql(
            f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'; SET LOCAL synchronous_commit = on; "
            f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})"
        )


def rows_of(session: Session, kind: type[AnyRow], *where: Any) -> list[AnyRow]:
    """Return the rows of a table that meet the conditions, in the order added.

    A record of an older chiploop that is only read has not every column and table: what is missing is None
    in its rows, and a table that came later is empty.
    """
    name = kind.__tablename__
    lacking: list[str] = []
    if name in LATER_TABLES and not inspect(session.connection()).has_table(name):
        return []
    if name in LATER:
        there = {column["name"] for column in inspect(session.connection()).get_columns(name)}
        lacking = [column for column in LATER[name] if column not in there]
    if not lacking:
        return list(session.scalars(select(kind).where(*where).order_by(kind.id)))
    names = [column.name for column in kind.__table__.columns if column.name not in lacking]
    chosen = select(*(getattr(kind, one) for one in names)).where(*where).order_by(kind.id)
    return [kind(**row) for row in session.execute(chosen).mappings()]


def by_key(session: Session, kind: type[AnyRow], key: str) -> AnyRow | None:
    """Return the row of a natural key; None where there is none."""
    with session.no_autoflush:
        return session.scalars(select(kind).where(kind.natural_key == key)).one_or_none()


def last_link(session: Session) -> Head:
    """Return number and hash of the last link; ``Head(0, GENESIS)`` before the first."""
    row = session.execute(
        select(AuditRow.seq, AuditRow.hash).order_by(AuditRow.seq.desc()).limit(1)
    ).first()
    return Head(0, GENESIS) if row is None else Head(row.seq, row.hash)


def head_of(links: Iterable[AuditRow]) -> Head | None:
    """Return the end of a chain as its own head, for a record that keeps none: nothing to compare
    with.
    """
    last = max(links, key=lambda link: link.seq, default=None)
    return None if last is None else Head(last.seq, last.hash)


def row_faults(
    links: Iterable[AuditRow], rows: Mapping[tuple[str, int], Row]
) -> Iterator[ChainFault]:
    """Yield the rows that are not as their links say, that are gone, and that have no link."""
    linked = set()
    for link in links:
        where = (link.table_name, link.row_id)
        linked.add(where)
        row = rows.get(where)
        if row is None:
            yield ChainFault(
                "deleted",
                link.table_name,
                link.row_key,
                f"{link.table_name} {link.row_key} is gone",
            )
        elif row_sha256(row) != link.row_sha256:
            yield ChainFault(
                "edited",
                link.table_name,
                link.row_key,
                f"{link.table_name} {link.row_key} is not what was written",
            )
    for (table, number), row in rows.items():
        if (table, number) not in linked:
            yield ChainFault(
                "inserted",
                table,
                row.natural_key,
                f"{table} {row.natural_key} was not added by chiploop",
            )


def add_row(session: Session, row: AnyRow, at_utc: str) -> tuple[AnyRow, bool]:
    """Add a row and its link, or return the one that is there; RecordConflict where that one
    differs.
    """
    there = by_key(session, type(row), row.natural_key)
    if there is not None:
        old, new = columns_of(there), columns_of(row)
        differ = sorted(c for c in old if c not in NOT_COMPARED and old[c] != new[c])
        if differ:
            raise RecordConflict(
                f"{row.__tablename__} has {row.natural_key} on record with another "
                f"{', '.join(differ)}; a record is not overwritten"
            )
        return there, False
    row.at_utc = at_utc
    session.add(row)
    session.flush()
    session.add(link_after(last_link(session), row))
    session.flush()
    return row, True


def add_rows(session: Session, rows: Sequence[AnyRow], at_utc: str) -> int:
    """Add rows of one table and their links, as ``add_row`` does each; return how many are new."""
    if not rows:
        return 0
    kind, keys = type(rows[0]), [row.natural_key for row in rows]
    there: set[str] = set()
    for begin in range(0, len(keys), AT_ONCE):
        some = keys[begin : begin + AT_ONCE]
        there |= set(session.scalars(select(kind.natural_key).where(kind.natural_key.in_(some))))
    for row in rows:
        if row.natural_key in there:
            add_row(session, row, at_utc)
    new = [row for row in rows if row.natural_key not in there]
    for row in new:
        row.at_utc = at_utc
    session.add_all(new)
    session.flush()
    last = last_link(session)
    links = []
    for row in new:
        links.append(link_after(last, row))
        last = Head(links[-1].seq, links[-1].hash)
    session.add_all(links)
    session.flush()
    return len(new)


def link_after(last: Head, row: Row) -> AuditRow:
    """Return the link of a row that has its number, to follow the last one."""
    link = AuditRow(
        seq=last.count + 1,
        at_utc=row.at_utc,
        table_name=row.__tablename__,
        row_id=row.id,
        row_key=row.natural_key,
        row_sha256=row_sha256(row),
        previous=last.hash,
        hash="",
    )
    link.hash = link_hash(last.hash, audit_content(link))
    return link

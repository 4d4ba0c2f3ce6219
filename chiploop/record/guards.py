"""What keeps the tables of the record append-only: triggers, in SQLite and in PostgreSQL.

Belongs here: their statements, and whether they are still there. Not here: tables (tables), links (database).
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import DDL, Connection, event, inspect, text
from sqlalchemy.orm import Session

from chiploop.record.chain import ChainFault
from chiploop.record.tables import Base

FUNCTION = "chiploop_append_only"
REFUSE = "\nBEGIN RAISE EXCEPTION 'the record is append-only'; END\n"
_MAKE_FUNCTION = (
    f"CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $${REFUSE}$$"
)


def trigger_names(table: str, dialect: str) -> tuple[str, ...]:
    """Return the names of the triggers that keep a table append-only."""
    names = (f"{table}_no_update", f"{table}_no_delete")
    return names if dialect == "sqlite" else (*names, f"{table}_no_truncate")


def guard_statements(table: str, dialect: str) -> list[str]:
    """Return the statements that make a new table append-only."""
    names = trigger_names(table, dialect)
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {name} BEFORE {verb} ON {table} "
            "BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END"
            for name, verb in zip(names, ("UPDATE", "DELETE"), strict=True)
        ]
    return [_MAKE_FUNCTION] + [
        f"CREATE TRIGGER {name} BEFORE {verb} ON {table} EXECUTE FUNCTION {FUNCTION}()"
        for name, verb in zip(names, ("UPDATE", "DELETE", "TRUNCATE"), strict=True)
    ]


def missing_guards(session: Session) -> Iterator[ChainFault]:
    """Yield the triggers that should keep a table append-only and are gone, switched off or emptied."""
    connection = session.connection()
    dialect = connection.dialect.name
    present = _in_sqlite(connection) if dialect == "sqlite" else _in_postgresql(connection)
    there = set(inspect(connection).get_table_names())
    for table in Base.metadata.tables:
        for trigger in trigger_names(table, dialect) if table in there else ():
            if trigger not in present:
                yield ChainFault(
                    "unprotected",
                    table,
                    trigger,
                    f"{trigger} is gone: rows could be changed unseen",
                )


def _in_sqlite(connection: Connection) -> set[str]:
    asked = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    return set(connection.exec_driver_sql(asked).scalars())


def _in_postgresql(connection: Connection) -> set[str]:
    """Return the triggers that are on and whose function still refuses."""
    asked = text(
        "SELECT t.tgname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid "
        "WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND p.proname = :function "
        "AND p.prosrc = :refuse AND t.tgrelid IN "
        "(SELECT oid FROM pg_class WHERE relnamespace = current_schema()::regnamespace)"
    )
    return set(connection.execute(asked, {"function": FUNCTION, "refuse": REFUSE}).scalars())


for _table in Base.metadata.sorted_tables:
    for _dialect in ("sqlite", "postgresql"):
        for _statement in guard_statements(_table.name, _dialect):
            event.listen(
                _table,
                "after_create",
                DDL(_statement.replace("%", "%%")).execute_if(dialect=_dialect),
            )

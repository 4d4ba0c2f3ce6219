"""The schema of a record through the years: which version it has, making it, bringing it up to date.

Belongs here: when which step is taken. Not here: the steps (migrations), columns (tables).

A record is migrated when it is opened to add to it, in one transaction, never by a reader. Records of before
there were versions have no version table and are recognised by their chain. A new record gets the tables at once
and is stamped with the newest version; a test holds both ways to the same schema.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from chiploop import __version__
from chiploop.record import guards  # noqa: F401  # hangs the triggers on the tables
from chiploop.record.chain import RecordUnreadable
from chiploop.record.tables import Base

if TYPE_CHECKING:
    from alembic.config import Config

VERSIONS = ("0001", "0002", "0003", "0004")
"""Versions of the schema, oldest first; each is a file of migrations/versions."""
FIRST, NEWEST = VERSIONS[0], VERSIONS[-1]
VERSION_TABLE = "chiploop_version"
MIGRATIONS = Path(__file__).parent / "migrations"
TABLES_OF_THE_FIRST = frozenset({"audit", "runs", "readouts", "events", "decisions"})


class RecordTooNew(RecordUnreadable):
    """A newer chiploop wrote the record, in a way that this one does not know."""

    code = "CL-331"


def version_of(connection: Connection) -> str | None:
    """Return the version of a record's schema; None where there are no tables yet.

    Raises RecordUnreadable where the tables are others' than chiploop's.
    """
    there = set(inspect(connection).get_table_names())
    if VERSION_TABLE in there:
        found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
        return None if found is None else str(found)
    if there >= TABLES_OF_THE_FIRST:
        return FIRST
    others = sorted(there & set(Base.metadata.tables))
    if others:
        raise RecordUnreadable(
            f"the database holds tables of the same names that are not chiploop's ({', '.join(others)}); "
            "a record needs a database of its own"
        )
    return None


def refuse_newer(connection: Connection, name: str) -> None:
    """Raise RecordTooNew where a record has a version that this chiploop does not know."""
    version = version_of(connection)
    if version is not None and version not in VERSIONS:
        raise RecordTooNew(
            f"{name} has version {version} of the schema, and chiploop {__version__} knows {FIRST} to "
            f"{NEWEST}: a newer chiploop wrote it. Update chiploop here; nothing was read or changed"
        )


def bring_up_to_date(writer: Engine, name: str) -> None:
    """Make the tables of a new record, or migrate those of an older one, in one transaction.

    Raises RecordTooNew where the record is newer than this chiploop.
    """
    with writer.execution_options(chiploop_writes=False).connect() as connection:
        refuse_newer(connection, name)
        if version_of(connection) == NEWEST:
            return
    with writer.begin() as connection:
        # asked again: another process may have made the tables while this one waited for the lock
        refuse_newer(connection, name)
        version = version_of(connection)
        if version is None:
            refuse_other_encodings(connection)
            Base.metadata.create_all(connection)
            stamp(connection, NEWEST)
        elif version != NEWEST:
            migrate(connection, version)


def refuse_other_encodings(connection: Connection) -> None:
    """Raise RecordUnreadable where a server's database can not keep every text."""
    if connection.dialect.name != "postgresql":
        return
    encoding = str(connection.exec_driver_sql("SHOW server_encoding").scalar())
    if encoding != "UTF8":
        raise RecordUnreadable(
            f"the database has the encoding {encoding}; a record needs UTF8: createdb --encoding UTF8 "
            "--template template0"
        )


def stamp(connection: Connection, version: str) -> None:
    """Write down the version of a schema, as Alembic would."""
    kind = "VARCHAR(32) NOT NULL"
    key = f"CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num)"
    connection.exec_driver_sql(f"CREATE TABLE {VERSION_TABLE} (version_num {kind}, {key})")
    added = text(f"INSERT INTO {VERSION_TABLE} (version_num) VALUES (:version)")
    connection.execute(added, {"version": version})


def migrate(connection: Connection, version: str, to: str = NEWEST) -> None:
    """Take every step from a version of the schema to another one, on this connection's transaction."""
    from alembic import command  # slow to import, and most records need no step

    config = alembic_config()
    config.attributes["connection"] = connection
    if not inspect(connection).has_table(VERSION_TABLE):
        stamp(connection, version)
    command.upgrade(config, to)


def alembic_config() -> Config:
    """Return where Alembic finds the steps."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config

"""A record of any earlier version is brought up to date by who adds to it, and by nobody else."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect
from sqlalchemy.orm import Session

from chiploop.record import schema
from chiploop.record.chain import RecordUnreadable
from chiploop.record.database import open_engine, writing_engine
from chiploop.record.guards import missing_guards
from chiploop.record.record import Record
from chiploop.record.record_url import record_url as parsed
from chiploop.record.schema import NEWEST, VERSION_TABLE, VERSIONS, RecordTooNew
from chiploop.record.tables import Base
from tests.postgresql_server import PostgresqlServer

FIRST_RECORD = Path(__file__).with_name("first_record.sql")
FIRST_HEAD = {
    "count": 5,
    "hash": "c9653dec3f0cee66b25877223c0bed0470733c5c7a715bf19ea2debe934f680b",
}


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A record as the first chiploop wrote it."""
    path = tmp_path / "record.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(FIRST_RECORD.read_text(encoding="utf-8"))
    path.with_suffix(".head").write_text(json.dumps(FIRST_HEAD), encoding="utf-8")
    return path


def tables_of(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master")}


def test_a_record_of_the_first_chiploop_is_migrated_goes_on_and_its_chain_holds(
    first: Path,
) -> None:
    with Record(str(first)) as record:
        report = record.verify()
        assert (report.faults, report.rows, report.head) == ((), 5, FIRST_HEAD["hash"])
        assert [r.value for r in record.readouts("r1")][0] == 812.5
        decision = record.decision_for("r1/c02/p1")
        assert decision is not None and (decision.action, decision.by) == ("approve", "lab")
        record.add_event("r1", "note", 1.0, {})
        assert record.verify().rows == 6 and record.verify().whole
    assert {"measurements", "journal_events", VERSION_TABLE} <= tables_of(first)
    with Record(str(first), create=False) as again:
        assert again.verify().whole


def test_a_reader_reads_a_record_of_the_first_chiploop_and_changes_nothing(first: Path) -> None:
    before = tables_of(first)
    with Record(str(first), create=False) as record:
        assert record.verify().whole
        assert len(record.readouts("r1")) == 2 and record.measurements("r1") == ()
    assert tables_of(first) == before


def test_a_migration_that_breaks_in_the_middle_leaves_the_record_as_it_was(
    first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tables_of(first)

    def broken(connection: Connection, version: str) -> None:
        schema.stamp(connection, version)
        connection.exec_driver_sql("ALTER TABLE readouts ADD COLUMN curve TEXT")
        raise OSError("the disk is full")

    monkeypatch.setattr(schema, "migrate", broken)
    with pytest.raises(RecordUnreadable, match="the disk is full"):
        Record(str(first))
    monkeypatch.undo()
    assert tables_of(first) == before
    with closing(sqlite3.connect(first)) as database:
        assert "curve" not in {row[1] for row in database.execute("PRAGMA table_info(readouts)")}
    with Record(str(first)) as record:
        assert record.verify().whole


def test_a_record_of_a_newer_chiploop_is_refused_by_name_to_readers_too(record_url: str) -> None:
    Record(record_url).close()
    engine = create_engine(parsed(record_url))
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '0099'")
    engine.dispose()
    for create in (True, False):
        with pytest.raises(RecordTooNew, match="version 0099.*Update chiploop") as told:
            Record(record_url, create=create)
        assert ":***" not in str(told.value) and told.value.exit_code == 3


def test_tables_of_others_are_not_taken_for_a_record(record_url: str) -> None:
    engine = create_engine(parsed(record_url))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE events (id INTEGER)")
    engine.dispose()
    with pytest.raises(RecordUnreadable, match="not chiploop's .events."):
        Record(record_url)


def shape_of(connection: Connection) -> dict[str, Any]:
    """Return what a database says of its tables, in words that can be compared."""
    asked = inspect(connection)
    shape: dict[str, Any] = {}
    for table in asked.get_table_names():
        shape[table] = {
            "columns": {
                c["name"]: (str(c["type"]), c["nullable"]) for c in asked.get_columns(table)
            },
            "indexes": {str(i["name"]): i["column_names"] for i in asked.get_indexes(table)},
            "unique": sorted(u["column_names"] for u in asked.get_unique_constraints(table)),
            "key": asked.get_pk_constraint(table)["constrained_columns"],
            "references": [f["referred_table"] for f in asked.get_foreign_keys(table)],
        }
    return shape


def test_the_steps_lead_to_the_very_tables_that_a_new_record_gets(
    record_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    other = f"sqlite:///{tmp_path / 'other.sqlite'}"
    if record_url.startswith("postgresql"):
        server: PostgresqlServer = request.getfixturevalue("postgresql_server")
        other = server.new_database()
    Record(other).close()
    engine, made = open_engine(parsed(record_url)), open_engine(parsed(other))
    with writing_engine(engine).begin() as connection:
        schema.stamp(connection, "0001")
        connection.exec_driver_sql(f"DELETE FROM {VERSION_TABLE}")
        schema.migrate(connection, "")
        assert schema.version_of(connection) == NEWEST
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, Base.metadata) == []
        with made.connect() as of_new:
            assert shape_of(connection) == shape_of(of_new)
    with Session(engine) as session:
        assert list(missing_guards(session)) == []
    engine.dispose()
    made.dispose()


def test_the_versions_are_those_of_the_steps_in_their_order() -> None:
    script = ScriptDirectory.from_config(schema.alembic_config())
    steps = [step.revision for step in script.walk_revisions()][::-1]
    assert tuple(steps) == VERSIONS
    assert script.get_current_head() == NEWEST

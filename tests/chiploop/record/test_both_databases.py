"""What holds for a record in a file holds for one on a server: added once, never changed, one chain."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from chiploop.measurement import Readout
from chiploop.record.chain import RecordBroken, RecordConflict
from chiploop.record.guards import trigger_names
from chiploop.record.record import Record
from chiploop.record.rows import RawFile
from chiploop.study import load_study
from tests.chiploop.record.tampering import behind, unguarded
from tests.postgresql_server import PostgresqlServer

STUDY = load_study(Path(__file__).parents[3] / "protocols" / "studies" / "ad_jak_dose_finding.yaml")
VALUE = Readout(
    "C01", "CCL26", 0.1 + 0.2, "pg/mL", 0.08, "log", 72.0, 48.0, wells=("A1",), plate="p1", cycle=1
)
CENSORED = Readout(
    "C02", "CCL26", math.nan, "µg/mL", 5e-324, "log", 72.0, 48.0, "left", upper=7.8, plate="p1", cycle=1
)  # fmt: skip
LONG = "x" * 900
PROCESSES, TURNS = ("an", "bo", "cy"), 6


def test_what_is_added_comes_back_to_the_last_bit_and_the_chain_is_whole(record_url: str) -> None:
    raw = RawFile("r1", "ab" * 32, LONG, "reader export", 3_000_000_000, 72.0)
    with Record(record_url) as record:
        assert record.add_run("r1", STUDY, seed=2**40, simulated=True)
        assert not record.add_run("r1", STUDY, seed=2**40, simulated=True)
        assert record.add_readouts("r1", [VALUE, CENSORED]) == 2
        assert record.add_readouts("r1", [VALUE, CENSORED]) == 0
        assert record.add_raw_file(raw)
        record.add_event("r1", "note", 1.5, {"why": "µ, ”, \\ and %s"}, key=LONG)
        with pytest.raises(RecordConflict, match="another value"):
            record.add_readouts("r1", [replace(VALUE, value=0.3)])
    with Record(record_url, create=False) as again:
        run = again.run("r1")
        assert run is not None and run.seed == 2**40
        assert list(again.chips("r1")) == list(STUDY.chip_ids)
        assert repr(again.readouts("r1")) == repr((VALUE, CENSORED))
        assert again.raw_files("r1") == (raw,)
        assert again.events("r1", "note")[0].content == {"why": "µ, ”, \\ and %s"}
        report = again.verify()
    assert report.faults == ()
    assert report.rows == 2 + len(STUDY.chip_ids) + 2 + 1 + 1


def test_no_statement_changes_or_removes_a_row_that_is_there(record_url: str) -> None:
    with Record(record_url) as record:
        record.add_readouts("r1", [VALUE])
    verbs = ["UPDATE readouts SET value = 1", "DELETE FROM audit"]
    if record_url.startswith("postgresql"):
        verbs += ["TRUNCATE readouts", "TRUNCATE studies CASCADE"]
    for verb in verbs:
        with pytest.raises(DBAPIError, match="append-only"), behind(record_url) as connection:
            connection.exec_driver_sql(verb)


@pytest.mark.parametrize(
    ("statement", "kind", "row"),
    [
        ("UPDATE readouts SET value = 1.0", "edited", "r1/c01/C01/CCL26/72.0/p1"),
        ("DELETE FROM readouts", "deleted", "r1/c01/C01/CCL26/72.0/p1"),
        (
            "INSERT INTO chips(id, natural_key, at_utc, run_id, chip_id, line, donor) "
            "VALUES(99, 'r1/C99', 'x', 'r1', 'C99', 'L1', 'D1')",
            "inserted",
            "r1/C99",
        ),
        ("DELETE FROM audit WHERE seq = 1", "deleted", "1"),
    ],
)
def test_a_change_behind_the_triggers_is_found_and_named(
    record_url: str, statement: str, kind: str, row: str
) -> None:
    with Record(record_url) as record:
        record.add_readouts("r1", [VALUE])
        record.add_event("r1", "note", 1.0, {})
        with unguarded(record_url) as connection:
            connection.exec_driver_sql(statement)
        assert (kind, row) in [(fault.kind, fault.row) for fault in record.verify().faults]


def test_a_cut_tail_is_found_by_the_head_beside_the_runs_and_nothing_grows_over_it(
    record_url: str, tmp_path: Path
) -> None:
    with Record(record_url, head=tmp_path / "record.head") as record:
        record.add_event("r1", "note", 1.0, {})
        record.add_readouts("r1", [VALUE])
        with unguarded(record_url) as connection:
            connection.exec_driver_sql("DELETE FROM readouts")
            connection.exec_driver_sql("DELETE FROM audit WHERE table_name = 'readouts'")
        assert [fault.kind for fault in record.verify().faults] == ["tail cut"]
        with pytest.raises(RecordBroken, match="audit verify"):
            record.add_event("r1", "note", 2.0, {})


def test_guards_that_are_gone_off_or_emptied_are_told(record_url: str) -> None:
    server = record_url.startswith("postgresql")
    attacks = {"DROP TRIGGER readouts_no_update": {"readouts_no_update"}}
    if server:
        attacks = {
            "DROP TRIGGER readouts_no_update ON readouts": {"readouts_no_update"},
            "ALTER TABLE readouts DISABLE TRIGGER readouts_no_delete": {
                "readouts_no_update",
                "readouts_no_delete",
            },
        }
    with Record(record_url) as record:
        for statement, missing in attacks.items():
            with behind(record_url) as connection:
                connection.exec_driver_sql(statement)
            assert {fault.row for fault in record.verify().faults} == missing
        if server:
            with behind(record_url) as connection:
                connection.exec_driver_sql(
                    "CREATE OR REPLACE FUNCTION chiploop_append_only() RETURNS trigger "
                    "LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"
                )
            told = {fault.row for fault in record.verify().faults}
            assert set(trigger_names("audit", "postgresql")) <= told


def test_a_reader_sees_proposal_and_decision_as_they_stood_at_one_moment(record_url: str) -> None:
    with Record(record_url) as record, Record(record_url) as other:
        key = record.add_proposal("r1", 2, {"doses": [1]})
        with record.sessions.reading() as session:
            before = session.execute(text("SELECT count(*) FROM proposals")).scalar()
            other.replace_proposal(key, {"doses": [2]}, "an", "bolder")
            decided = session.execute(text("SELECT count(*) FROM decisions")).scalar()
        assert (before, decided) == (1, 0)
        assert [d.action for _, d in record.proposed("r1", 2) if d] == ["reject", "approve"]


@pytest.mark.postgres
def test_a_role_that_may_only_read_and_add_is_enough_and_its_password_may_stand_in_pgpass(
    postgresql_server: PostgresqlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = postgresql_server.new_database()
    Record(owner).close()
    with behind(owner) as connection:
        connection.exec_driver_sql("CREATE ROLE nora LOGIN PASSWORD 'w0rd'")
        for grant in (
            "GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO nora",
            "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO nora",
        ):
            connection.exec_driver_sql(grant)
    words = tmp_path / "pgpass"
    words.write_text(f"127.0.0.1:{postgresql_server.port}:*:nora:w0rd\n")
    words.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(words))
    database = owner.rsplit("/", 1)[1]
    own = f"postgresql://nora@127.0.0.1:{postgresql_server.port}/{database}"
    with Record(own) as record:
        assert record.url == own
        record.add_readouts("r1", [VALUE])
        assert record.verify().whole
    with (
        pytest.raises(DBAPIError, match="permission denied|must be owner"),
        behind(own) as connection,
    ):
        connection.exec_driver_sql("ALTER TABLE readouts DISABLE TRIGGER readouts_no_update")


@pytest.fixture(scope="module")
def writers() -> Iterator[subprocess.Popen[str]]:
    """A process that forks others, each of which adds to a record."""
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("writing_processes.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        yield process
        process.stdin.close()


def test_three_processes_add_at_once_nothing_is_lost_and_one_decision_stands(
    record_url: str, tmp_path: Path, writers: subprocess.Popen[str]
) -> None:
    assert writers.stdin is not None and writers.stdout is not None
    asked = {"url": record_url, "folder": str(tmp_path), "who": PROCESSES, "turns": TURNS}
    # the record is not there yet: they make its tables at once too
    writers.stdin.write(json.dumps(asked) + "\n")
    writers.stdin.flush()
    with Record(record_url) as record:
        for cycle in range(1, TURNS + 1):
            record.add_proposal("r1", cycle, {"doses": [cycle]})
        while not all((tmp_path / f"ready-{who}").exists() for who in PROCESSES):
            time.sleep(0.01)
        (tmp_path / "begin").touch()
        answer = writers.stdout.readline()
        assert (
            json.loads(answer if "loaded" not in answer else writers.stdout.readline()) == [0] * 3
        )
        decisions = record.decisions("r1")
        assert len(record.readouts("r1")) == len(PROCESSES) * TURNS
        assert len(record.events("r1", "seen")) == len(PROCESSES) * TURNS
        assert len(record.events("r1", "state")) == len(PROCESSES) * TURNS
        assert len(record.exclusions("r1")) == len(PROCESSES) * TURNS
        assert {r.qc for r in record.readouts("r1")} == {"fail"}
        assert [len(record.proposals(f"of {who}")) for who in PROCESSES] == [TURNS] * 3
        assert len({d.proposal_id for d in decisions}) == len(decisions) == TURNS
        refused = [
            said for who in PROCESSES for said in json.loads((tmp_path / f"{who}.json").read_text())
        ]
        assert len(refused) == (len(PROCESSES) - 1) * TURNS
        assert all("on record with another by" in said for said in refused)
        assert record.verify().faults == ()

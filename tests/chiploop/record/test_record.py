"""What is added comes back, once; what is changed from outside is found and named."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chiploop.measurement import Readout
from chiploop.record.chain import RecordBroken, RecordConflict, RecordUnreadable
from chiploop.record.record import Record
from chiploop.record.rows import RawFile
from chiploop.study import Study, load_study

STUDY_FILE = Path(__file__).parents[3] / "protocols" / "studies" / "ad_jak_dose_finding.yaml"
VALUE = Readout(
    "C01",
    "CCL26",
    812.5,
    "pg/mL",
    0.08,
    "log",
    72.0,
    48.0,
    n=2,
    wells=("A1", "B1"),
    plate="p1",
    cycle=1,
)
CENSORED = Readout(
    "C02",
    "CCL26",
    math.nan,
    "pg/mL",
    0.08,
    "log",
    72.0,
    48.0,
    censoring="left",
    upper=7.8,
    qc="warn",
    reasons=("below LLOQ",),
    plate="p1",
    raw_sha256="ab" * 32,
    cycle=1,
)
TEER = Readout("C01", "TEER", 1504, "ohm cm2", 0.1, "log", 24, cycle=2)


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(STUDY_FILE)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "record.sqlite"


@pytest.fixture
def record(file: Path, study: Study) -> Iterator[Record]:
    with Record(f"sqlite:///{file.as_posix()}") as opened:
        opened.add_run("r1", study, seed=1, simulated=True, settings={"matched": False})
        yield opened


def test_a_run_comes_back_with_its_study_and_chips(record: Record, study: Study) -> None:
    run = record.run("r1")
    assert run is not None
    assert (run.study_name, run.seed, run.simulated, run.state) == (study.name, 1, True, "")
    assert run.settings == {"matched": False}
    assert list(record.chips("r1")) == list(study.chip_ids)
    assert record.chips("r1")["C04"] == ("L2", "D1")
    assert record.run("r2") is None
    assert [run.run_id for run in record.runs()] == ["r1"]


def test_adding_the_same_run_again_adds_nothing_and_another_seed_is_refused(
    record: Record, study: Study
) -> None:
    rows = record.verify().rows
    assert not record.add_run("r1", study, seed=1, simulated=True, settings={"matched": False})
    assert record.verify().rows == rows
    with pytest.raises(RecordConflict, match="another seed"):
        record.add_run("r1", study, seed=2, simulated=True, settings={"matched": False})


def test_two_runs_share_their_study(record: Record, study: Study) -> None:
    record.add_run("r2", study, seed=2, simulated=True)
    assert len({run.study_sha256 for run in record.runs()}) == 1


def test_readouts_come_back_as_they_were_with_censoring_and_open_bounds(record: Record) -> None:
    assert record.add_readouts("r1", [VALUE, CENSORED, TEER]) == 3
    back = record.readouts("r1", cycle=1)
    assert back[0] == VALUE
    assert math.isnan(back[1].value)
    assert replace(back[1], value=0.0) == replace(CENSORED, value=0.0)
    assert record.readouts("r1")[2] == TEER
    assert record.verify().whole


def test_the_same_readouts_again_add_nothing_and_another_value_is_refused_wholly(
    record: Record,
) -> None:
    record.add_readouts("r1", [VALUE, CENSORED])
    assert record.add_readouts("r1", [VALUE, CENSORED]) == 0
    with pytest.raises(RecordConflict, match="another value"):
        record.add_readouts("r1", [TEER, replace(VALUE, value=1.0)])
    assert len(record.readouts("r1")) == 2


def test_the_state_of_a_run_is_its_last_event(record: Record) -> None:
    changes = [("running", 0.0), ("running", 1.0), ("held", 72.0), ("running", 72.0)]
    added = [record.add_state("r1", state, time_h) for state, time_h in changes]
    assert added == [True, False, True, True]
    run = record.run("r1")
    assert run is not None
    assert run.state == "running"
    assert [e.content["state"] for e in record.events("r1", "state")] == [
        "running",
        "held",
        "running",
    ]


def test_an_event_is_added_once_by_its_content_or_its_key(record: Record) -> None:
    assert record.add_event("r1", "hold", 72.0, {"line": "L1"})
    assert not record.add_event("r1", "hold", 72.0, {"line": "L1"})
    assert record.add_event("r1", "hold", 72.0, {"line": "L2"})
    assert record.add_event("r1", "plate", 72.0, {"n": 1}, key="c01")
    with pytest.raises(RecordConflict):
        record.add_event("r1", "plate", 72.0, {"n": 2}, key="c01")
    assert [event.kind for event in record.events("r1")] == ["hold", "hold", "plate"]


def test_calibrations_and_raw_files_come_back(record: Record) -> None:
    assert record.add_calibration("r1", 1, {"ess": 812.0, "rhat": math.nan})
    assert not record.add_calibration("r1", 1, {"ess": 812.0, "rhat": math.nan})
    with pytest.raises(RecordConflict):
        record.add_calibration("r1", 1, {"ess": 1.0})
    assert record.add_calibration("r1", 1, {"ess": 1.0}, attempt=2)
    assert record.calibrations("r1")[0].content == {"ess": 812.0, "rhat": "NaN"}
    raw = RawFile("r1", "ab" * 32, "plate.txt", "reader export", 123, 72.0)
    assert record.add_raw_file(raw)
    assert record.raw_files("r1") == (raw,)


def test_a_proposal_is_decided_once_and_the_decision_names_its_digest(record: Record) -> None:
    proposal = record.add_proposal("r1", 2, {"L1": 60.0})
    assert proposal == "r1/c02/p1"
    assert record.add_proposal("r1", 2, {"L1": 60.0}) == proposal
    assert record.decision_for(proposal) is None
    with pytest.raises(RecordConflict, match="another content"):
        record.add_proposal("r1", 2, {"L1": 70.0})
    assert record.add_decision(proposal, "approve", "lab", "fine")
    assert not record.add_decision(proposal, "approve", "lab", "fine")
    with pytest.raises(RecordConflict):
        record.add_decision(proposal, "reject", "lab", "no")
    decision = record.decision_for(proposal)
    assert decision is not None
    assert (decision.action, decision.by, len(decision.proposal_sha256)) == ("approve", "lab", 64)


def test_after_a_rejection_the_next_proposal_of_the_cycle_is_a_new_attempt(record: Record) -> None:
    first = record.add_proposal("r1", 2, {"L1": 60.0})
    record.add_decision(first, "reject", "lab", "too bold")
    second = record.add_proposal("r1", 2, {"L1": 40.0})
    assert second == "r1/c02/p2"
    latest = record.latest_proposal("r1")
    assert latest is not None
    assert latest.content == {"L1": 40.0}
    assert record.decision_for(second) is None


def test_an_edit_takes_the_place_of_an_open_proposal_and_is_approved_at_once(
    record: Record,
) -> None:
    key = record.add_proposal("r1", 2, {"doses": [1]})
    edit = record.replace_proposal(key, {"doses": [2]}, "nora", "the first is too bold")
    assert (key, edit) == ("r1/c02/p1", "r1/c02/p2")
    old, new = record.decision_for(key), record.decision_for(edit)
    assert old is not None and new is not None
    assert (old.action, old.by) == ("reject", "nora")
    assert "edited into r1/c02/p2: the first is too bold" in old.why
    assert (new.action, new.by, new.why) == ("approve", "nora", "the first is too bold")
    assert [p.content for p in record.proposals("r1")] == [{"doses": [1]}, {"doses": [2]}]
    assert record.verify().faults == ()


def test_an_edit_that_can_not_be_written_whole_changes_nothing(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = record.add_proposal("r1", 2, {"doses": [1]})
    real, calls = Record._add, []

    def failing(self: Record, session: Any, row: Any) -> Any:
        calls.append(row)
        if len(calls) == 3:
            raise RecordConflict("the disk is full")
        return real(self, session, row)

    monkeypatch.setattr(Record, "_add", failing)
    with pytest.raises(RecordConflict):
        record.replace_proposal(key, {"doses": [2]}, "nora", "why")
    monkeypatch.undo()
    assert record.decision_for(key) is None
    assert len(record.proposals("r1")) == 1
    assert record.verify().faults == ()


def test_only_an_open_proposal_can_be_edited(record: Record) -> None:
    with pytest.raises(RecordConflict, match="there is no proposal r1/c02/p1"):
        record.replace_proposal("r1/c02/p1", {}, "nora", "why")
    key = record.add_proposal("r1", 2, {"doses": [1]})
    record.add_decision(key, "approve", "nora")
    with pytest.raises(RecordConflict, match="was decided before"):
        record.replace_proposal(key, {"doses": [2]}, "nora", "why")


def test_a_decision_about_nothing_is_refused(record: Record) -> None:
    with pytest.raises(RecordConflict, match="no proposal"):
        record.add_decision("r1/c09/p1", "approve", "lab")


def test_rows_can_not_be_changed(record: Record, file: Path) -> None:
    record.add_readouts("r1", [VALUE])
    for verb in ("UPDATE readouts SET value = 1", "DELETE FROM audit"):
        with (
            sqlite3.connect(file) as db,
            pytest.raises(sqlite3.IntegrityError, match="append-only"),
        ):
            db.execute(verb)


def tamper(file: Path, *statements: str) -> None:
    """Change a record as someone with the file at hand would."""
    with sqlite3.connect(file) as db:
        triggers = db.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            db.execute(statement)
        for _, sql in triggers:
            db.execute(sql)


@pytest.mark.parametrize(
    ("statement", "kind", "table", "row"),
    [
        ("UPDATE readouts SET value = 1.0", "edited", "readouts", "r1/c01/C01/CCL26/72.0/p1"),
        ("UPDATE readouts SET at_utc = 'x'", "edited", "readouts", "r1/c01/C01/CCL26/72.0/p1"),
        ("DELETE FROM readouts", "deleted", "readouts", "r1/c01/C01/CCL26/72.0/p1"),
        (
            "INSERT INTO chips(natural_key, at_utc, run_id, chip_id, line, donor) "
            "VALUES('r1/C99', 'x', 'r1', 'C99', 'L1', 'D1')",
            "inserted",
            "chips",
            "r1/C99",
        ),
        ("UPDATE audit SET row_sha256 = 'x' WHERE seq = 2", "edited", "audit", "r1"),
        ("DELETE FROM audit WHERE seq = 2", "deleted", "audit", "2"),
    ],
)
def test_tampering_is_found_and_the_row_named(
    record: Record, file: Path, statement: str, kind: str, table: str, row: str
) -> None:
    record.add_readouts("r1", [VALUE])
    tamper(file, statement)
    faults = [(fault.kind, fault.table, fault.row) for fault in record.verify().faults]
    assert (kind, table, row) in faults


def test_a_row_cut_from_the_end_with_its_link_is_found_by_the_head_and_nothing_grows_over_it(
    record: Record, file: Path
) -> None:
    record.add_readouts("r1", [VALUE])
    tamper(file, "DELETE FROM readouts", "DELETE FROM audit WHERE table_name = 'readouts'")
    assert [fault.kind for fault in record.verify().faults] == ["tail cut"]
    with pytest.raises(RecordBroken, match="audit verify"):
        record.add_readouts("r1", [TEER])


def test_missing_triggers_are_told(record: Record, file: Path) -> None:
    with sqlite3.connect(file) as db:
        db.execute("DROP TRIGGER readouts_no_update")
    assert [fault.row for fault in record.verify().faults] == ["readouts_no_update"]


def test_threads_add_to_one_chain(record: Record, file: Path, study: Study) -> None:
    trouble: list[BaseException] = []

    def write(name: str) -> None:
        try:
            with Record(str(file)) as own:
                for n in range(10):
                    own.add_event("r1", name, float(n), {"n": n})
        except BaseException as problem:
            trouble.append(problem)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trouble == []
    assert len(record.events("r1")) == 30
    assert record.verify().whole


def test_a_record_in_memory_keeps_no_head_and_verifies(study: Study) -> None:
    with Record("sqlite://") as record:
        record.add_run("r1", study, seed=1, simulated=True)
        assert record.verify().whole


def test_a_file_that_is_no_record_is_told(tmp_path: Path) -> None:
    path = tmp_path / "record.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(RecordUnreadable):
        Record(str(path))


def test_a_check_makes_no_tables(tmp_path: Path) -> None:
    path = tmp_path / "record.sqlite"
    sqlite3.connect(path).close()
    with (
        Record(str(path), create=False) as record,
        pytest.raises(RecordUnreadable, match="no such"),
    ):
        record.verify()


def test_numbers_are_digested_as_their_column_keeps_them(record: Record) -> None:
    # An int in a float column must not break the chain when it comes back as 1504.0.
    values: dict[str, Any] = {"value": 1504, "sd": 0, "time_h": 24}
    record.add_readouts("r1", [replace(TEER, **values)])
    assert record.verify().whole

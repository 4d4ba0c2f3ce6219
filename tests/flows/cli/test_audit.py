"""``chiploop audit verify`` says what was altered, by table, by JSON and by exit code."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from chiploop.errors import WrongUse
from chiploop.record.journal import Journal
from chiploop.record.raw_files import RawFileStore
from chiploop.record.record import Record
from chiploop.record.rows import RawFile
from chiploop.study import load_study
from flows.cli.audit import BROKEN_EXIT_CODE, audit_app
from flows.cli.main import command_line

STUDY_FILE = Path(__file__).parents[3] / "protocols" / "studies" / "ad_jak_dose_finding.yaml"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    with Journal(folder / "journal.sqlite") as journal:
        for n in range(3):
            journal.note("r1", f"r1/{n}", float(n), "looked")
    with Record(str(folder / "record.sqlite")) as record:
        record.add_run("r1", load_study(STUDY_FILE), seed=1, simulated=True)
        sha256 = RawFileStore(folder / "r1" / "raw").put(b"plate")
        record.add_raw_file(RawFile("r1", sha256, "plate.txt", "export", 5, 72.0))
    return folder


def verify(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    code = command_line(["audit", "verify", str(folder), *options])
    return code, capsys.readouterr().out


def test_whole_files_give_exit_code_0_and_their_heads(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = verify(runs, capsys)
    assert code == 0
    assert out.count("rows  whole") == 3
    assert "head" in out


def test_an_edited_journal_gives_exit_code_5_and_names_the_row(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(runs / "journal.sqlite") as db:
        db.execute("DROP TRIGGER events_no_update")
        db.execute("UPDATE events SET body = '{}' WHERE seq = 2")
    code, out = verify(runs, capsys)
    assert code == BROKEN_EXIT_CODE == 5
    assert "BROKEN" in out
    assert "row 2 (note r1/1) is not what was written" in out


def test_json_tells_the_same(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = verify(runs, capsys, "--json")
    told = json.loads(out)
    assert (code, told["ok"]) == (0, True)
    assert [checked["rows"] for checked in told["checked"]][0] == 3
    raw = next((runs / "r1" / "raw").rglob("*/*"))
    raw.unlink()
    code, out = verify(runs, capsys, "--json")
    told = json.loads(out)
    assert (code, told["ok"]) == (5, False)
    assert told["checked"][2]["faults"][0]["kind"] == "deleted"


def test_a_journal_that_is_gone_while_its_head_is_left_is_told(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in runs.glob("journal.sqlite*"):
        file.unlink()
    assert verify(runs, capsys)[0] == 3


def test_a_folder_without_records_is_wrong_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(tmp_path, capsys)[0] == WrongUse.exit_code
    assert list(tmp_path.iterdir()) == []


def test_checking_is_a_verb_of_its_own() -> None:
    assert [command.callback.__name__ for command in audit_app.registered_commands] == ["verify"]

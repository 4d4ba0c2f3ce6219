"""Backup, restore and mirror as a person types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chiploop.record.record import Record
from flows.cli.main import command_line
from tests.flows.cli.run_folder import run_by_hand


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    run_by_hand(tmp_path / "runs")
    return tmp_path / "runs"


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_folder_of_runs_is_mirrored_backed_up_and_brought_back(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, back = tmp_path / "b.zip", tmp_path / "back"
    assert command_line(["mirror", "--runs", str(runs), "--json"]) == 0
    ((journal, rows),) = told(capsys)["mirrored"].items()
    assert journal.endswith("journal.sqlite") and rows > 0
    assert command_line(["backup", str(out), "--runs", str(runs), "--json"]) == 0
    made = told(capsys)
    assert made["bytes"] == out.stat().st_size and len(made["journals"]) == 1
    assert command_line(["restore", str(out), "--into", str(back), "--json"]) == 0
    restored = told(capsys)
    assert restored["ok"] and restored["runs"] == made["runs"]
    assert str(back) in restored["record"] and ".unfinished" not in json.dumps(restored)
    assert command_line(["audit", "verify", str(back), "--json"]) == 0
    names = [one["name"] for one in told(capsys)["checked"]]
    assert any(name.startswith("mirror of journal") for name in names)
    with Record(str(back / "record.sqlite")) as record:
        assert [run.run_id for run in record.runs()] == made["runs"]


def test_what_would_be_written_over_or_hold_itself_is_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "b.zip"
    assert command_line(["backup", str(runs / "b.zip"), "--runs", str(runs)]) == 2
    assert command_line(["backup", str(out), "--runs", str(tmp_path / "none")]) == 2
    assert command_line(["backup", str(out), "--runs", str(runs)]) == 0
    assert command_line(["backup", str(out), "--runs", str(runs)]) == 2
    assert command_line(["restore", str(out), "--into", str(runs)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert command_line(["restore", str(tmp_path / "no.zip"), "--into", str(tmp_path / "x")]) == 2
    (tmp_path / "no.zip").write_text("no backup")
    assert command_line(["restore", str(tmp_path / "no.zip"), "--into", str(tmp_path / "x")]) == 3
    assert not (tmp_path / "x").exists()


def test_a_url_that_can_not_be_read_is_wrong_use_without_a_bug(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["audit", "verify", str(runs)], ["mirror", "--runs", str(runs)]):
        assert command_line([*words, "--record", "postgresql://an:a@s3cr3t:x/lab"]) == 2
    said = capsys.readouterr().err
    assert "s3cr3t" not in said and "percent-encoded" in said

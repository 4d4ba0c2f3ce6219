"""``chiploop check`` as a person and as a program see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chiploop.protocols_path import protocols_folder
from flows.cli.main import command_line

DEMO = protocols_folder() / "studies" / "ad_jak_dose_finding.yaml"


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """Write a study with a wrong unit and a misspelt key."""
    text = DEMO.read_text(encoding="utf-8")
    path = tmp_path / "wrong.yaml"
    edited = text.replace("600 nM", "600 nm").replace("turnaround:", "turnarond:")
    path.write_text(edited, encoding="utf-8")
    return path


def test_a_valid_study_is_summed_up_and_the_next_step_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command_line(["check", str(DEMO)]) == 0
    shown = capsys.readouterr().out
    assert "12 chips of 3 donors on 4 lines" in shown
    assert "pressure in the chips is not watched" in shown
    assert f"Next: chiploop plan {DEMO}" in shown


def test_every_problem_is_shown_with_its_line_and_the_text_there(
    wrong: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["check", str(wrong)]) == 3
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"3 problems in {wrong}. Nothing was sent to any instrument."
    assert "line 20, stocks.low.concentration" in shown[1]
    assert shown[1].endswith('did you mean "600 nM"?')
    assert shown[2].strip() == "low:  {concentration: 600 nm, vehicle: 0.006 %}"


def test_json_holds_the_same_problems(wrong: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["check", str(wrong), "--json"]) == 3
    value = json.loads(capsys.readouterr().out)
    assert set(value) == {"ok", "problems", "notes"}
    assert value["ok"] is False
    assert set(value["problems"][0]) == {"line", "field", "message", "hint"}
    assert [problem["field"] for problem in value["problems"]] == [
        "stocks.low.concentration",
        "timeline.turnaround",
        "timeline.turnarond",
    ]


def test_json_of_a_valid_study_says_ok(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["check", str(DEMO), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["ok"], value["problems"]) == (True, [])


@pytest.mark.parametrize("content", [None, b"", b"\x00\x01\x02", b"a: \xff"])
def test_a_file_that_is_no_study_is_told_in_two_lines(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file.yaml"
    if content is not None:
        path.write_bytes(content)
    assert command_line(["check", str(path)]) == 3
    assert len(capsys.readouterr().out.splitlines()) == 2

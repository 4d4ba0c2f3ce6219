"""``chiploop plan`` as a person and as a program see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chiploop.protocols_path import protocols_folder
from flows.cli.main import command_line

DEMO = protocols_folder() / "studies" / "ad_jak_dose_finding.yaml"


def test_the_text_holds_timetable_volumes_and_plates(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["plan", str(DEMO)]) == 0
    shown = capsys.readouterr().out
    assert "upadacitinib 480 nM with stimulus (L4)" in shown
    assert "L1-stimulus" in shown
    assert "H   S   S" in shown
    assert f"Next: chiploop simulate {DEMO}" in shown


def test_json_is_one_object_with_the_same_content(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["plan", str(DEMO), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["ok"] is True
    assert len(value["syringes"]) == 16
    assert {plate["assay"] for plate in value["plates"]} == {"CCL26", "viability"}
    assert value["timetable"][0]["what"] == "plain medium"


def test_a_study_that_would_pass_a_limit_leaves_with_5_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "thirsty.yaml"
    text = DEMO.read_text(encoding="utf-8")
    path.write_text(text.replace("stimulus: {volume: 60 mL", "stimulus: {volume: 20 mL"))
    assert command_line(["plan", str(path)]) == 5
    shown = capsys.readouterr().out
    assert "it can not start" in shown
    assert "L1-stimulus:" in shown
    assert "Next:" not in shown
    assert command_line(["plan", str(path), "--json"]) == 5
    value = json.loads(capsys.readouterr().out)
    assert value["ok"] is False
    assert value["refusals"]


def test_an_invalid_study_leaves_with_3_and_one_json_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "none.yaml"
    assert command_line(["plan", str(path), "--json"]) == 3
    shown = capsys.readouterr()
    assert json.loads(shown.out)["error"]["problems"][0]["message"] == "there is no such file"
    assert "there is no such file" in shown.err


def test_the_plates_of_another_cycle_are_shown_and_a_cycle_too_many_is_wrong_use(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command_line(["plan", str(DEMO), "--cycle", "2"]) == 0
    assert "CCL26-cycle2" in capsys.readouterr().out
    assert command_line(["plan", str(DEMO), "--cycle", "99"]) == 2
    assert "cycle 99 was asked" in capsys.readouterr().err

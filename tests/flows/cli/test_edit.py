"""``--dose`` as a person writes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chiploop.errors import WrongUse
from chiploop.protocols_path import protocols_folder
from chiploop.study import load_study
from flows.cli.edit import doses_of, refuse_unknown, schedules_of
from flows.cli.main import command_line


def test_doses_have_a_line_and_a_unit() -> None:
    assert doses_of(["L1=100nM", "L2 = 0.25 uM", "L3=vehicle"]) == {
        "L1": 100.0,
        "L2": 250.0,
        "L3": 0.0,
    }


def test_a_dose_may_name_its_schedule() -> None:
    written = ["L1=100nM@pulses", "L2 = 0.25 uM @ late", "L3=vehicle"]
    assert doses_of(written) == {"L1": 100.0, "L2": 250.0, "L3": 0.0}
    assert schedules_of(written) == {"L1": "pulses", "L2": "late"}
    with pytest.raises(WrongUse, match='names no schedule after "@"; nothing was decided'):
        schedules_of(["L1=100nM@"])


def test_a_schedule_that_the_study_has_not_is_told_with_those_that_it_has() -> None:
    study = load_study(protocols_folder() / "studies" / "ad_jak_pulses.yaml")
    refuse_unknown(study, {"L1": 100.0, "L2": 0.0}, {"L1": "late"})
    with pytest.raises(WrongUse, match="there is no schedule never.*first_day, late, pulses"):
        refuse_unknown(study, {"L1": 100.0}, {"L1": "never"})
    with pytest.raises(
        WrongUse, match="no schedule is named; write for example L1=100nM@first_day"
    ):
        refuse_unknown(study, {"L1": 100.0}, {})


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (["L1"], "is not LINE=DOSE"),
        (["=3nM"], "is not LINE=DOSE"),
        (["L1="], "is not LINE=DOSE"),
        (["L1=100"], 'dose of line L1: "100" has no unit'),
        (["L1=1,5uM"], "decimal comma"),
        (["L1=3 mL"], "dose of line L1"),
        (["L1=-3nM"], "below zero"),
        (["L1=3nM", "L1=4nM"], "line L1 was given two doses"),
    ],
)
def test_what_is_no_dose_is_told_with_what_is(written: list[str], said: str) -> None:
    with pytest.raises(WrongUse, match=said) as refusal:
        doses_of(written)
    assert "othing was decided" in str(refusal.value)


def test_another_dose_needs_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = command_line(["approve", "r1", "--dose", "L1=3nM", "--runs", str(tmp_path), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert code == 2 and "--why TEXT" in told["error"]["message"]


@pytest.mark.parametrize(
    "verb", [["propose", "r1"], ["approve", "r1", "--dose", "L1=3nM", "--why", "x"]]
)
def test_a_run_that_is_not_there_is_told(
    verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line([*verb, "--runs", str(tmp_path)]) == 2
    assert "there is no run r1" in capsys.readouterr().err

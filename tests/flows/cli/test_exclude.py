"""A person takes readouts out of the fits by name and with the reason, and can take them in again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chiploop.measurement import Readout
from chiploop.record.record import Record
from chiploop.study import load_study
from flows.cli.decide import os_login
from flows.cli.main import command_line

STUDY_FILE = Path(__file__).parents[3] / "protocols" / "studies" / "ad_jak_dose_finding.yaml"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    with Record(str(folder / "record.sqlite")) as record:
        record.add_run("r1", load_study(STUDY_FILE), seed=1, simulated=True)
        record.add_readouts(
            "r1",
            [
                Readout(chip, "TEER", 900.0, "ohm*cm2", 0.02, "log", time)
                for chip in ("C01", "C02")
                for time in (24.0, 48.0)
            ],
        )
    return folder


def exclude(runs: Path, *words: str) -> int:
    return command_line(["exclude", *words, "--runs", str(runs)])


def test_an_exclusion_goes_on_record_in_the_name_of_the_login(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exclude(runs, "r1", "C01", "--time", "24", "--why", "bubble") == 0
    out = capsys.readouterr().out
    assert "1 readouts excluded from every later fit" in out and "SIMULATED" in out
    with Record(str(runs / "record.sqlite")) as record:
        failed = [r for r in record.readouts("r1") if r.qc == "fail"]
    assert [(r.chip_id, r.time_h) for r in failed] == [("C01", 24.0)]
    assert failed[0].reasons == (f"excluded by {os_login()}: bubble",)


def test_an_exclusion_is_taken_back(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exclude(runs, "r1", "C02", "--why", "leak") == 0
    assert exclude(runs, "r1", "C02", "--why", "no leak", "--take-back", "--json") == 0
    out = capsys.readouterr().out
    told = json.loads(out[out.rindex('{\n  "ok"') :])
    assert told == {"ok": True, "run": "r1", "excluded": False, "readouts": 2, "by": os_login()}
    with Record(str(runs / "record.sqlite")) as record:
        assert {r.qc for r in record.readouts("r1")} == {"ok"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("r9", "C01", "--why", "x"), "there is no run r9"),
        (("r1", "C09", "--why", "x"), "has no readout any readout of C09"),
        (("r1", "C01", "--readout", "CCL26", "--why", "x"), "CCL26 of C01"),
        (("r1", "C01", "--why", " "), "needs its reason"),
        (("r1", "C01", "--why", "x", "--take-back"), "is not excluded"),
    ],
)
def test_what_would_change_nothing_is_refused_and_said(
    runs: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert exclude(runs, *words) == 2
    assert said in capsys.readouterr().err

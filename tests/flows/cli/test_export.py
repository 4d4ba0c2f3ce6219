"""``chiploop export`` writes a run's table and never writes over a file by accident."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import pytest

from chiploop.measurement import Readout
from chiploop.record.long_table_files import read_csv, read_parquet
from chiploop.record.next_event import add_next_event
from chiploop.record.prism_files import MARKS_FILE
from chiploop.record.record import Record
from chiploop.record.unexplained import LEFT_OUT
from chiploop.study import load_study
from flows.cli.main import command_line
from tests.flows.cli.run_folder import run_by_hand

STUDY_FILE = Path(__file__).parents[1] / "small_study.yaml"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    with Record(str(tmp_path / "record.sqlite")) as record:
        record.add_run("r1", load_study(STUDY_FILE), seed=1, simulated=True)
        record.add_readouts("r1", [Readout("C01", "TEER", 1504.0, "ohm cm2", 0.1, "log", 24.0)])
    return tmp_path


def test_csv_and_parquet_are_written_and_marked_as_simulated(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for to, read in (("csv", read_csv), ("parquet", read_parquet)):
        out = runs / f"table.{to}"
        assert (
            command_line(["export", "r1", "--runs", str(runs), "--to", to, "--out", str(out)]) == 0
        )
        assert capsys.readouterr().out == f"SIMULATED  r1: 1 rows written to {out}\n"
        assert [(row.chip, row.value, row.simulated) for row in read(out)] == [
            ("C01", 1504.0, True)
        ]


def test_the_file_is_named_by_the_run_and_not_written_over(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    command = ["export", "r1", "--runs", ".", "--to", "csv", "--json"]
    assert command_line(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "ok": True, "run": "r1", "to": "csv", "file": "r1.csv", "simulated": True, "rows": 1,
    }  # fmt: skip
    first = (runs / "r1.csv").read_bytes()
    assert command_line(command) == 2
    assert command_line([*command, "--force"]) == 0
    assert (runs / "r1.csv").read_bytes() == first


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["r2", "--to", "csv"], "there is no run r2"),
        (["r1", "--to", "xml"], "allowed are csv, parquet, prism, netcdf, petab, eln"),
        (["r1", "--to", "csv", "--out", "nowhere/x.csv"], "there is no folder"),
        (["r1", "--to", "eln", "--cycle", "1"], "--cycle goes with netcdf and petab"),
    ],
)
def test_what_can_not_be_written_is_told(
    changed: list[str], said: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["export", *changed, "--runs", str(runs)]) == 2
    assert said in capsys.readouterr().err


def leave_out_last(runs: Path, run: str) -> None:
    """Put on record that a fit has left a chip's last reading of the first cycle out."""
    with Record(str(runs / "record.sqlite"), create=False) as record:
        one = [r for r in record.readouts(run, 1) if r.readout == "TEER" and r.qc != "fail"][-1]
        named = {"chip": one.chip_id, "readout": "TEER", "time_h": one.time_h, "why": "so"}
        content = {"cycle": 1, "readouts": [named]}
        assert add_next_event(record, run, LEFT_OUT, 80.0, content, "", lambda before: True)


def test_a_whole_run_leaves_to_prism_eln_and_petab_and_says_what_netcdf_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_by_hand(tmp_path / "runs").run_id
    monkeypatch.chdir(tmp_path)
    command = ["export", run, "--runs", "runs", "--json", "--to"]
    assert command_line([*command, "prism"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == f"{run}_prism.zip" and told["simulated"] is True
    assert (told["tables"], told["marks"]) == (3, 0)
    leave_out_last(tmp_path / "runs", run)  # by a fit: no table shows it as one that was used
    assert command_line([*command, "prism", "--force"]) == 0
    assert json.loads(capsys.readouterr().out)["marks"] == 1
    assert command_line([*command, "eln"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] > 10
    with zipfile.ZipFile(f"{run}.eln") as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {run}
        table, marks = (
            archive.read(one).decode()
            for end in ("/readouts.csv", MARKS_FILE)
            for one in archive.namelist()
            if one.endswith(end)
        )
    (row,) = (row for row in csv.DictReader(io.StringIO(table)) if row["excluded"] == "true")
    assert (row["excluded_by"], row["excluded_why"]) == ("fit of cycle 1", "so")
    assert ",left out," in marks
    assert command_line([*command, "petab", "--cycle", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["cycle"] == 1 and (tmp_path / f"{run}_petab" / "README.md").is_file()
    assert command_line([*command, "petab"]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert command_line([*command, "netcdf"]) == 3
    assert "has no calibration of cycle 2" in capsys.readouterr().err

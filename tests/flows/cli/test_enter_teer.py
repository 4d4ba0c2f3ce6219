"""A resistance typed by a person is checked, kept with who entered it, and never changed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import typer

from chiploop.errors import ChiploopError, FileNotValid, WrongUse
from chiploop.study import load_study
from flows.cli.decide import os_login
from flows.cli.enter_teer import enter_teer
from flows.opening import RunFiles, new_run
from instruments.drivers import DRIVERS, load_lab_settings
from instruments.impedance_meters.manual_entry import in_run_folder
from instruments.impedance_meters.teer_entries import read_entries
from tests.flows.conftest import SMALL_STUDY

LAB = """
[impedance_meters.evom]
make = "manual_teer"
instrument = "evom"
highest_ohm = 20000.0
[impedance_meters.evom.channels]
C01 = 0
C02 = 1
"""
NOW_H = 36.0


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    """A run that began 36 h ago on a bench with a meter that a person reads."""
    made = new_run(load_study(SMALL_STUDY), tmp_path, 1, False, False)
    (made.folder / "lab.toml").write_text(LAB)
    begun = {"begun_unix_s": time.time() - NOW_H * 3600.0}
    (made.folder / "clock.json").write_text(json.dumps(begun))
    return made


def enter(files: RunFiles, *words: str) -> None:
    """Carry out the command as the command line does."""
    app = typer.Typer(add_completion=False)
    app.command()(enter_teer)
    arguments = [files.run_id, "--runs", str(files.runs), *words]
    typer.main.get_command(app).main(arguments, prog_name="enter-teer", standalone_mode=False)


def entries(files: RunFiles):
    return read_entries(files.folder / "teer_entries.csv")


def test_a_typed_resistance_is_kept_with_time_and_login(
    files: RunFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    enter(files, "--chip", "C01", "--resistance", "1.23 kohm")
    (one,) = entries(files)
    assert (one.entry, one.chip, one.resistance_ohm, one.blank) == (1, "C01", 1230.0, False)
    assert (one.as_written, one.by) == ("1.23 kohm", os_login())
    assert one.time_h == pytest.approx(NOW_H, abs=0.01)
    assert "entry 1: C01 1230 ohm at 36.0" in capsys.readouterr().out


def test_what_was_entered_is_what_the_meter_of_the_run_gives(files: RunFiles) -> None:
    enter(files, "--chip", "C01", "--resistance", "1230 ohm", "--at", "35.5 h")
    enter(files, "--chip", "F1", "--resistance", "120 ohm", "--blank")
    settings = in_run_folder(load_lab_settings(files.folder / "lab.toml"), files.folder)
    entry = settings.impedance_meters["evom"]
    meter = DRIVERS[entry.make].build("evom", None, entry, time.sleep)  # type: ignore[arg-type]
    meter.open()
    assert meter.measure_spectrum("C01", NOW_H).impedance_ohm.tolist() == [1230.0]
    assert meter.measure_spectrum("C01", NOW_H).time_h == 35.5
    assert [s.chip_id for s in meter.cell_free_spectra()] == ["F1"]


def test_a_correction_names_the_old_entry_and_keeps_its_time(
    files: RunFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    enter(files, "--chip", "C01", "--resistance", "12.3 kohm", "--at", "30 h")
    enter(files, "--chip", "C01", "--resistance", "1.23 kohm", "--replaces", "1", "--json")
    old, new = entries(files)
    assert (old.resistance_ohm, new.resistance_ohm) == (12_300.0, 1230.0)
    assert (new.time_h, new.replaces) == (30.0, 1)
    told = capsys.readouterr().out
    told = json.loads(told[told.index("{") :])
    assert told["ok"] is True and told["by"] == os_login()
    assert told["entered"] == [
        {
            "entry": 2,
            "chip": "C01",
            "time_h": 30.0,
            "resistance_ohm": 1230.0,
            "blank": False,
            "replaces": 1,
        }
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--chip", "C01"], "--resistance"),
        (["--resistance", "1 kohm"], "--chip"),
        (["--chip", "C09", "--resistance", "1 kohm"], "no chip"),
        (["--chip", "C01", "--resistance", "1230"], "no unit"),
        (["--chip", "C01", "--resistance", "1,23 kohm"], "decimal comma"),
        (["--chip", "C01", "--resistance", "1 kohm*cm2"], "not a unit of resistance"),
        (["--chip", "C01", "--resistance", "0.5 ohm"], "outside 1..20000"),
        (["--chip", "C01", "--resistance", "1 Mohm"], "outside 1..20000"),
        (["--chip", "C01", "--resistance", "1 kohm", "--at", "37 h"], "in the future"),
        (["--chip", "C01", "--resistance", "1 kohm", "--at", "14:30"], "14:30"),
        (["--chip", "C01", "--resistance", "1 kohm", "--replaces", "3"], "no entry 3"),
        (["--csv", "t.csv", "--chip", "C01"], "alone"),
        (["--csv", "nowhere.csv"], "can not be read"),
    ],
)
def test_what_can_not_be_taken_is_refused_and_nothing_is_entered(
    files: RunFiles, words: list[str], told: str
) -> None:
    with pytest.raises(WrongUse, match=".") as refusal:
        enter(files, *words)
    assert told in str(refusal.value)
    assert entries(files) == ()


def test_a_table_is_entered_whole_or_not_at_all(files: RunFiles, tmp_path: Path) -> None:
    table = tmp_path / "evom.csv"
    table.write_text("chip,time [h],resistance\nC01,35,1.2 kohm\nC02,35,1.3 kohm\n")
    enter(files, "--csv", str(table))
    assert [(e.chip, e.time_h, e.resistance_ohm) for e in entries(files)] == [
        ("C01", 35.0, 1200.0),
        ("C02", 35.0, 1300.0),
    ]
    with pytest.raises(FileNotValid, match="entered before, as entry 1"):
        enter(files, "--csv", str(table))
    for wrong, line in (("C01,40,1 kohm", 2), ("C01,36,90 kohm", 2), ("C09,36,1 kohm", 2)):
        table.write_text(f"chip,time [h],resistance\n{wrong}\nC02,36,1.3 kohm\n")
        with pytest.raises(FileNotValid, match=f"line {line}"):
            enter(files, "--csv", str(table))
    assert len(entries(files)) == 2


@pytest.mark.parametrize("damage", ["lab.toml", "clock.json"])
def test_a_run_that_has_not_begun_is_wrong_use(files: RunFiles, damage: str) -> None:
    (files.folder / damage).unlink()
    with pytest.raises(WrongUse, match=damage):
        enter(files, "--chip", "C01", "--resistance", "1 kohm")


def test_a_run_whose_meter_has_a_cable_is_wrong_use(files: RunFiles) -> None:
    (files.folder / "lab.toml").write_text(
        '[impedance_meters.teer]\nmake = "emstat_pico"\nurl = "COM3"\n'
        "[impedance_meters.teer.channels]\nC01 = 0\n"
    )
    with pytest.raises(WrongUse, match="teer is emstat_pico"):
        enter(files, "--chip", "C01", "--resistance", "1 kohm")


def test_damaged_files_are_named(files: RunFiles) -> None:
    (files.folder / "clock.json").write_text("{}")
    with pytest.raises(FileNotValid, match="clock.json"):
        enter(files, "--chip", "C01", "--resistance", "1 kohm")


def test_kinds_of_trouble_have_the_exit_codes_of_the_command_line() -> None:
    assert (WrongUse.exit_code, FileNotValid.exit_code) == (2, 3)
    assert issubclass(WrongUse, ChiploopError)

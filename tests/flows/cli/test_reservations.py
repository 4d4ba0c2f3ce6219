"""``plan --lab``, ``run`` and ``reservations`` where another run has an instrument."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from chiploop.dosing import PumpProgramme, PumpStep
from chiploop.errors import WrongUse
from chiploop.record.actions import Intent, action_key, programme_key
from chiploop.record.journal import Journal
from chiploop.record.record import Record
from chiploop.record.reservations import reserve
from chiploop.reservations import Stretch
from chiploop.study import load_study
from flows import supervisor
from flows.cli.main import command_line
from flows.cli.reservations import start_time_s
from flows.opening import RunFiles, new_run, virtual_settings
from flows.reserving import device_of
from flows.stop_mark import is_stopped, mark_stopped
from instruments.bench import bench_ports
from instruments.drivers import load_lab_settings
from instruments.port_lock import process_started
from tests.flows.conftest import SMALL_STUDY
from tests.flows.test_reserving import Ports

HOUR_S = 3600.0


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """lab.toml of the small study, with a reader and a meter that are shared."""
    ports = {name: {"pty": f"/dev/test-{name}", "tcp": ""} for name in ("pumps", "reader", "teer")}
    text = virtual_settings(load_study(SMALL_STUDY), Ports(ports), tmp_path)  # type: ignore[arg-type]
    for make in ('make = "spectramax"', 'make = "emstat_pico"'):
        text = text.replace(make, f"{make}\nshared = true")
    path = tmp_path / "lab.toml"
    path.write_text(text, encoding="utf-8")
    return path


def other_run(
    tmp_path: Path,
    lab: Path,
    *which: tuple[str, float, float],
    alive: bool,
    run_id: str = "r9",
    folder: str = "/runs/r9",
) -> None:
    """Put on record that a run has ports of the bench: name, from and to in hours from now."""
    device = {port.name: device_of(port) for port in bench_ports(load_lab_settings(lab))}
    now_s = time.time()
    stretches = [
        Stretch(
            device[name],
            name,
            now_s + HOUR_S * from_h,
            now_s + HOUR_S * to_h,
            name == "pumps",
            "TEER" if name == "teer" else "the whole run",
        )
        for name, from_h, to_h in which
    ]
    pid = os.getpid()
    who = {"simulated": False, "host": platform.node(), "pid": pid, "folder": folder}
    started = process_started(pid) if alive else -1e6
    with Record(f"sqlite:///{tmp_path / 'runs' / 'record.sqlite'}") as record:
        reserve(record, run_id, 0.0, stretches, {**who, "process_started": started})


def asked(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, Any]:
    """Return exit code and JSON of a command."""
    capsys.readouterr()
    code = command_line([*map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_plan_without_others_has_its_instruments(
    tmp_path: Path, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    code, told = asked(capsys, "plan", SMALL_STUDY, "--lab", lab, "--runs", runs)
    assert code == 0 and told["ok"] and told["instruments"]["conflicts"] == []
    assert told["instruments"]["earliest_start"] == told["instruments"]["start"]
    assert not runs.exists()  # touches nothing


def test_a_plan_names_the_instrument_the_run_the_overlap_and_the_earliest_start(
    tmp_path: Path, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other_run(tmp_path, lab, ("pumps", -5.0, 10.0), alive=True)
    words = ("plan", SMALL_STUDY, "--lab", lab, "--runs", tmp_path / "runs")
    code, told = asked(capsys, *words)
    assert code == 4 and told["ok"] is False
    (one,) = told["instruments"]["conflicts"]
    assert (one["other"], one["alone"], one["bars"]) == ("r9", True, True)
    assert one["name"].startswith("bus pumps (L1-medium")
    assert one["overlap_h"] == pytest.approx(10.0, abs=0.01)
    earliest = datetime.fromisoformat(told["instruments"]["earliest_start"]).timestamp()
    assert earliest - time.time() == pytest.approx(10.0 * HOUR_S, abs=90.0)
    assert command_line(list(map(str, words))) == 4
    shown = capsys.readouterr().out
    assert "CONFLICT" in shown and "run r9 has it" in shown and "Earliest start" in shown
    later = f"{datetime.fromtimestamp(time.time() + 10.1 * HOUR_S):%Y-%m-%d %H:%M}"
    code, told = asked(capsys, *words, "--start", later)
    assert code == 0 and told["ok"], told


def test_a_reading_that_waits_in_time_is_told_and_does_not_bar(
    tmp_path: Path, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other_run(tmp_path, lab, ("teer", 11.9, 12.1), alive=True)  # TEER is due at 12 h
    code, told = asked(capsys, "plan", SMALL_STUDY, "--lab", lab, "--runs", tmp_path / "runs")
    (one,) = told["instruments"]["conflicts"]
    assert code == 0 and told["ok"] and not one["bars"]
    assert one["late_s"] == pytest.approx(360.0, abs=10.0)


def test_a_run_is_refused_before_anything_is_made_and_a_person_releases_what_was_left(
    tmp_path: Path, lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    other_run(tmp_path, lab, ("pumps", -5.0, 10.0), ("teer", 0.0, 1.0), alive=False)
    code, told = asked(capsys, "run", SMALL_STUDY, "--lab", lab, "--runs", runs, "--yes")
    assert code == 4 and told["error"]["code"] == "CL-405"
    assert "r9, WHICH NOBODY WORKS ON" in told["error"]["message"]
    assert list(runs.glob("*/run.json")) == []
    code, told = asked(capsys, "reservations", "--runs", runs)
    (one,) = told["reservations"]
    assert one["left"] and [s["to"] for s in one["stretches"]] == [None]
    assert command_line(["reservations", "--runs", str(runs)]) == 0
    assert "NOBODY WORKS ON IT" in capsys.readouterr().out
    assert asked(capsys, "reservations", "--runs", runs, "--release", "r9")[0] == 2
    monkeypatch.setattr("flows.cli.decide.os_login", lambda: "maria")
    code, told = asked(
        capsys, "reservations", "--runs", runs, "--release", "r9", "--why", "chips are off"
    )
    assert (code, told["released_by"]) == (0, "maria")
    assert asked(capsys, "reservations", "--runs", runs)[1]["reservations"] == []


def test_what_a_living_run_has_is_not_released_by_others(
    tmp_path: Path, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other_run(tmp_path, lab, ("pumps", -5.0, 10.0), alive=True)
    words = ("reservations", "--runs", tmp_path / "runs", "--release", "r9", "--why", "mine")
    code, told = asked(capsys, *words)
    assert code == 2 and "releases its instruments itself" in told["error"]["message"]
    assert len(asked(capsys, *words[:3])[1]["reservations"]) == 1


def left_on_pumps(tmp_path: Path, lab: Path) -> RunFiles:
    """A run that nobody works on, whose medium flows in L1."""
    files = new_run(load_study(SMALL_STUDY), tmp_path / "runs", 1, False, False)
    shutil.copyfile(lab, files.folder / "lab.toml")
    key = programme_key(files.run_id, 1, "L1", "supervised-1-plain")
    step = PumpStep("L1-medium", "medium", 60.0, 120.0)
    intent = Intent(
        key=action_key(key, step.pump),
        run_id=files.run_id,
        programme_key=key,
        pump=step.pump,
        programme=PumpProgramme("L1", "medium", 0.0, 0.0, 2.0, (step,), 0.0, 1.0),
        flow_rate_ul_h=60.0,
        volume_ul=120.0,
        counter_ul=0.0,
        resolution_ul=1.0,
        restarts=0,
        session="one",
        time_h=1.0,
    )
    with Journal(files.journal) as journal:
        journal.intend([intent])
        journal.sent(intent.key, 1.0)
        journal.started(intent.key, 1.0, "its answer")
    where = {"run_id": files.run_id, "folder": str(files.folder)}
    other_run(tmp_path, lab, ("pumps", -5.0, 10.0), alive=False, **where)
    return files


def test_a_run_is_given_up_once_its_pumps_were_stopped_and_neither_they_nor_its_supervisor_go_on_then(
    tmp_path: Path, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = left_on_pumps(tmp_path, lab)
    words = ("reservations", "--runs", files.runs, "--release", files.run_id, "--why", "chips off")
    code, told = asked(capsys, *words)
    assert (
        code == 2
        and f"L1-medium. Stop them first: chiploop stop {files.run_id}" in told["error"]["message"]
    )
    assert len(asked(capsys, *words[:3])[1]["reservations"]) == 1
    mark_stopped(files.folder, "as chiploop stop does")
    code, told = asked(capsys, *words)
    assert (code, told["pumps"]) == (0, ["L1-medium"])
    with Journal(files.journal) as journal:
        assert journal.open_actions() == []
        (action,) = journal.actions(files.run_id)
    assert action.end is not None and action.end.kind == "abandoned"
    assert (
        action.end.body["delivered_ul"] is None
        and action.end.body["reason"] == "given up: chips off"
    )
    assert is_stopped(files.folder)
    supervisor.supervise(files.folder)  # it has nothing to look after any more
    code, told = asked(capsys, "status", "--runs", files.runs)
    assert (code, told["runs"]) == (0, [])
    code, told = asked(capsys, "status", files.run_id, "--runs", files.runs)
    assert code == 0 and told["runs"][0]["given_up"].endswith("chips off")


def test_a_run_whose_pumps_stand_is_given_up_at_once_and_its_supervisor_starts_nothing_more(
    tmp_path: Path, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = left_on_pumps(tmp_path, lab)
    with Journal(files.journal) as journal:
        (action,) = journal.open_actions()
        journal.outcome(action.intent.key, 3.0, 120.0, 120.0)
    words = ("reservations", "--runs", files.runs, "--release", files.run_id, "--why", "chips off")
    assert asked(capsys, *words)[0] == 0
    assert is_stopped(files.folder)


def test_pumps_of_the_same_names_as_those_of_a_run_of_the_same_folder_are_refused_by_name(
    tmp_path: Path, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = left_on_pumps(tmp_path, lab)
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(lab.read_text().replace("/dev/test-pumps", "/dev/test-more"))
    code, told = asked(capsys, "plan", SMALL_STUDY, "--lab", elsewhere, "--runs", files.runs)
    assert code == 4 and told["instruments"]["conflicts"] == []
    assert "(L1-medium, L1-stimulus, L1-low and 5 more)" in told["instruments"]["named_alike"][0]
    code, told = asked(
        capsys, "run", SMALL_STUDY, "--lab", elsewhere, "--runs", files.runs, "--yes"
    )
    assert code == 4 and told["error"]["code"] == "CL-405"
    where = {"run_id": files.run_id, "folder": str(files.folder)}
    other_run(tmp_path, lab, ("pumps", -5.0, 10.0), alive=True, **where)
    later = f"{datetime.fromtimestamp(time.time() + 10.1 * HOUR_S):%Y-%m-%d %H:%M}"
    words = ("plan", SMALL_STUDY, "--lab", elsewhere, "--runs", files.runs, "--start", later)
    assert asked(capsys, *words)[0] == 0, "it has ended by then"
    other = asked(capsys, "plan", SMALL_STUDY, "--lab", elsewhere, "--runs", tmp_path / "others")
    assert other[0] == 0, "another folder has a journal of its own"


def test_a_start_is_a_time_of_day_or_a_date_and_not_in_the_past() -> None:
    now_s = datetime(2026, 11, 24, 18, 0).timestamp()
    assert start_time_s("", now_s) == now_s
    assert start_time_s("18:30", now_s) == datetime(2026, 11, 24, 18, 30).timestamp()
    assert start_time_s("07:00", now_s) == datetime(2026, 11, 25, 7, 0).timestamp()
    assert start_time_s("2026-12-01 08:00", now_s) == datetime(2026, 12, 1, 8).timestamp()
    for wrong in ("2026-11-24 17:00", "soon"):
        with pytest.raises(WrongUse):
            start_time_s(wrong, now_s)

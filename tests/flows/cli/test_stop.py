"""Pumps stand still when somebody says stop: whoever holds them, and also where nobody does any more."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from serial.urlhandler import protocol_socket

from flows.cli import instruments_lab
from flows.cli.main import command_line
from instruments.bench import Bench, open_bench
from instruments.drivers import load_lab_settings
from instruments.errors import InstrumentError
from instruments.port_lock import PortLock
from tests.flows.cli.bench_world import World, open_dose, world

PUMPS = {"P1": "new_era_ne1000", "P2": "chemyx_fusion"}
SLOW = 10.0
RUN = "study_1"


@pytest.fixture(autouse=True)
def own_locks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Locks of this test alone: a stop must not reach what else runs on this computer."""
    monkeypatch.setattr(instruments_lab, "LOCKS", tmp_path / "locks")
    quick = SimpleNamespace(time=time.time, sleep=lambda s: None)
    monkeypatch.setattr(protocol_socket, "time", quick)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("CHIPLOOP_LOG", str(tmp_path / "bug.log"))
    return tmp_path / "locks"


@pytest.fixture
def two_pumps(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, PUMPS, speed=SLOW) as made:
        yield made


@contextmanager
def owned(made: World, locks: Path, run: str = RUN) -> Iterator[Bench]:
    """A bench of a run, open for the length of a block."""
    with open_bench(
        load_lab_settings(made.lab),
        made.runs / run / "wire",
        confirm_syringes=True,
        run=made.runs / run,
        lock_dir=locks,
    ) as bench:
        yield bench


def start(bench: Bench) -> None:
    for pump in bench.pumps.values():
        pump.prepare(6000.0, 3000.0)
        pump.start()


def leave_running(made: World, locks: Path) -> None:
    """Have both pumps run, and nobody hold them."""
    with owned(made, locks) as bench:
        start(bench)
    assert moving(made) == {"P1": True, "P2": True}


def moving(made: World) -> dict[str, bool]:
    return {name: pump.moving for name, pump in made.devices.items()}


def known_run(made: World, run: str = RUN) -> None:
    """Make the folder of a run, as far as a stop looks at it."""
    folder = made.runs / run
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text("{}", encoding="utf-8")
    (folder / "lab.toml").write_text(made.lab.read_text(encoding="utf-8"), encoding="utf-8")


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


STILL = {"P1": False, "P2": False}


def test_pumps_of_a_lab_stand_still_although_nobody_holds_them(
    two_pumps: World, own_locks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave_running(two_pumps, own_locks)
    assert two_pumps.instruments("stop") == 0
    assert moving(two_pumps) == STILL
    shown = capsys.readouterr().out
    assert shown.count("stands still") == 2
    assert "Confirmed to stand still: 2 of 2 pumps" in shown
    assert "starve" in shown and "chiploop resume" in shown


def test_only_the_named_pump_is_stopped_where_nobody_holds_the_others(
    two_pumps: World, own_locks: Path
) -> None:
    leave_running(two_pumps, own_locks)
    assert two_pumps.instruments("stop", "--pump", "P2") == 0
    assert moving(two_pumps) == {"P1": True, "P2": False}
    assert two_pumps.instruments("stop", "--pump", "P9") == 2


def test_a_pump_that_can_not_confirm_may_still_run_and_leaves_with_4(
    two_pumps: World, own_locks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave_running(two_pumps, own_locks)
    two_pumps.wires["P2"].unplug()
    assert two_pumps.instruments("stop") == 4
    assert moving(two_pumps) == {"P1": False, "P2": True}
    shown = capsys.readouterr().out
    assert "MAY STILL RUN  P2" in shown
    assert "press its STOP key, or pull its plug" in shown
    assert "Confirmed to stand still: 1 of 2 pumps" in shown
    assert two_pumps.instruments("stop", "--json") == 4
    told = printed(capsys)
    assert told["ok"] is False
    assert [list(one["may_still_run"]) for one in told["stopped"]].count(["P2"]) == 1


@pytest.mark.parametrize("words", [(), (RUN,)])
def test_an_owner_is_asked_and_its_bench_sends_nothing_more(
    two_pumps: World, own_locks: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    known_run(two_pumps)
    with owned(two_pumps, own_locks) as bench:
        start(bench)
        assert two_pumps.do("stop", *words, "--why", "leak", "--json") == 0
        assert moving(two_pumps) == STILL
        assert "leak" in bench.halted
        with pytest.raises(InstrumentError):
            bench.pumps["P1"].prepare(6000.0, 10.0)
    (report,) = printed(capsys)["stopped"]
    assert (report["run"], sorted(report["confirmed"])) == (RUN, ["P1", "P2"])


def test_the_way_on_names_the_run(
    two_pumps: World, own_locks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known_run(two_pumps)
    with owned(two_pumps, own_locks) as bench:
        start(bench)
        assert two_pumps.do("stop", RUN) == 0
    assert f"chiploop resume {RUN} --runs {two_pumps.runs}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [(), (RUN,)])
def test_pumps_of_a_run_whose_program_has_died_are_stopped_by_its_own_lab_toml(
    two_pumps: World, own_locks: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    known_run(two_pumps)
    leave_running(two_pumps, own_locks)
    open_dose(two_pumps, "P1", RUN)
    assert two_pumps.do("stop", *words) == 0
    assert moving(two_pumps) == STILL
    assert f"run {RUN}, stopped from here" in capsys.readouterr().out


def test_the_pumps_of_another_run_are_left_alone(
    two_pumps: World, own_locks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known_run(two_pumps)
    known_run(two_pumps, "old_1")
    with owned(two_pumps, own_locks) as bench:
        start(bench)
        assert two_pumps.do("stop", "old_1") == 0
        assert moving(two_pumps) == {"P1": True, "P2": True}
        assert "not touched" in capsys.readouterr().out


def test_the_ports_of_a_virtual_lab_that_has_ended_are_not_opened(
    two_pumps: World, own_locks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known_run(two_pumps)
    (two_pumps.runs / RUN / "run.json").write_text('{"simulated": true}', encoding="utf-8")
    leave_running(two_pumps, own_locks)
    assert two_pumps.do("stop", RUN) == 0
    assert moving(two_pumps) == {"P1": True, "P2": True}
    assert "Nothing to stop" in capsys.readouterr().out


def test_a_priming_left_behind_is_stopped(two_pumps: World, own_locks: Path) -> None:
    leave_running(two_pumps, own_locks)
    bench = two_pumps.runs / "bench"
    bench.mkdir()
    (bench / "lab.toml").write_text(two_pumps.lab.read_text(encoding="utf-8"), encoding="utf-8")
    assert two_pumps.do("stop", "bench") == 0
    assert moving(two_pumps) == STILL


def test_nothing_to_stop_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["stop", "--runs", str(tmp_path / "runs")]
    assert command_line(words) == 0
    assert "Nothing to stop" in capsys.readouterr().out
    assert command_line([*words, "--json"]) == 0
    assert printed(capsys) == {"ok": True, "stopped": []}
    assert not (tmp_path / "runs").exists()


def test_a_run_that_is_not_there_is_told_and_nothing_is_stopped(
    two_pumps: World, own_locks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known_run(two_pumps)
    leave_running(two_pumps, own_locks)
    assert two_pumps.do("stop", "study_2") == 2
    told = capsys.readouterr().err
    assert "NOTHING WAS STOPPED" in told and RUN in told
    assert moving(two_pumps) == {"P1": True, "P2": True}


def test_a_journal_that_can_not_be_read_keeps_no_pump_from_being_stopped(
    two_pumps: World, own_locks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (two_pumps.runs).mkdir()
    (two_pumps.runs / "journal.sqlite").write_bytes(b"no database at all, and long enough" * 40)
    with owned(two_pumps, own_locks) as bench:
        start(bench)
        assert two_pumps.do("stop") == 0
        assert moving(two_pumps) == STILL
    assert "is not known" in capsys.readouterr().err


def test_a_lab_toml_of_a_run_that_can_not_be_used_is_no_good_end(
    two_pumps: World, own_locks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known_run(two_pumps)
    (two_pumps.runs / RUN / "lab.toml").write_text("= nonsense", encoding="utf-8")
    assert two_pumps.do("stop", RUN) == 4
    assert "MAY STILL RUN" in capsys.readouterr().out


def test_a_port_held_by_a_program_that_does_not_say_who_it_is_is_no_good_end(
    two_pumps: World, own_locks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from instruments import stop_request

    leave_running(two_pumps, own_locks)
    lock = PortLock(two_pumps.urls["P2"], own_locks)
    lock._say({})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stop_request, "LOCK_FREE_S", 0.1)
        assert two_pumps.instruments("stop") == 4
    lock.release()
    assert moving(two_pumps) == {"P1": False, "P2": True}

"""When nobody works on a run any more: drug stops, plain medium flows, counters say what was given, once."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chiploop.record.disk import DiskFull
from chiploop.record.journal import Journal
from chiploop.record.replay import schedules_of
from flows import perfusion, supervisor
from flows.disk_room import RESERVE_FILE
from flows.heartbeat import Beat
from flows.perfusion import Wanted
from flows.supervisor import Keeper, is_gone, make_safe
from instruments.lab_settings import SupervisorSettings
from instruments.notify_settings import NotifySettings
from tests.flows.test_perfusion import HOURS, START_H, STUDY, Rig

SETTINGS = SupervisorSettings(plain_medium_h=6.0)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rig]]:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield lambda **options: Rig(tmp_path, journal, **options)


def keeper(on: Rig) -> Keeper:
    lab: Any = on.lab
    return Keeper(STUDY, "r", lab.record, lab.journal, lab.bench, lab.clock, on.said.append)


def test_drug_stops_plain_medium_flows_and_the_counters_tell_what_was_given(
    rig: Callable[..., Rig],
) -> None:
    on = rig()
    on.start("L1", "L2")
    on.world.advance_to(START_H + 5.0)  # the flow has died; pumps go on
    steps = make_safe(keeper(on), SETTINGS)
    assert {step.line for step in steps} == {"L1", "L2"}
    for line in ("L1", "L2"):
        assert not on.runs(f"{line}-low") and not on.runs(f"{line}-stimulus")
        assert on.runs(f"{line}-medium")
        assert on.flow_ul_h(line) == pytest.approx(60.0)
    assert not on.journal.held("r"), "every counter told; nobody has to look before the next dose"
    drug = on.journal.action("r/c01/L1/dose/L1-low")
    assert drug is not None and drug.end is not None and drug.end.kind == "outcome"
    assert drug.end.body["delivered_ul"] == pytest.approx(5.0 * 24.0, abs=1.0)
    first, *rest = schedules_of(on.journal, STUDY, "r")["C01"].segments
    assert first.drug_nm == pytest.approx(240.0, rel=0.03)
    assert (first.start_h, first.end_h) == pytest.approx((START_H, START_H + 5.0))
    assert not rest, "plain medium still flows"
    assert make_safe(keeper(on), SETTINGS) == []


def test_plain_medium_is_given_again_as_long_as_nobody_comes(rig: Callable[..., Rig]) -> None:
    on = rig()
    on.start("L1")
    on.world.advance_to(START_H + 1.0)
    make_safe(keeper(on), SETTINGS)
    for turn in range(1, 4):
        on.world.advance_to(START_H + 1.0 + 6.0 * turn)
        assert [step.why for step in make_safe(keeper(on), SETTINGS) if step.line == "L1"] == [
            "nothing flows"
        ]
        assert on.runs("L1-medium")
    moved = on.world.load()["pumps"]["L1-medium"]
    assert moved["starts"] == 4 and moved["moved"] == pytest.approx(3 * 6 * 60.0, rel=0.01)


def test_the_run_goes_on_where_it_was_on_plain_medium_to_the_end_of_the_phase(
    rig: Callable[..., Rig],
) -> None:
    on = rig()
    running = on.start("L1")
    on.world.advance_to(START_H + 5.0)
    make_safe(keeper(on), SupervisorSettings(plain_medium_h=2.0))
    on.world.advance_to(START_H + 6.0)
    # taken up again: the dose is not begun again, the line is not held and does not stand dry after 2 h
    again = on.start("L1")
    assert again[0].programme_key == running[0].programme_key
    assert on.world.load()["pumps"]["L1-low"]["starts"] == 1
    again = on.watch(again, 10.0)
    assert on.runs("L1-medium") and on.flow_ul_h("L1") == pytest.approx(60.0)
    on.finish(on.watch(again, HOURS - 16.0 + 0.2))
    assert not on.journal.held("r")
    hold = on.programme("L1", 0.0, "stimulus", 2.0)
    held = perfusion.start_pumps(on.lab, [Wanted("L1", 2.0, hold)], 1, "hold")
    assert on.runs("L1-stimulus") and not on.runs("L1-medium")
    on.finish(on.watch(held, 2.5))
    dose, *plain, stimulus = schedules_of(on.journal, STUDY, "r")["C01"].segments
    assert all(one.drug_nm == 0.0 and not any(one.stimulus_ng_ml.values()) for one in plain)
    assert plain[0].start_h == pytest.approx(dose.end_h) == pytest.approx(START_H + 5.0)
    assert plain[-1].end_h == pytest.approx(START_H + HOURS, abs=0.3)
    assert stimulus.stimulus_ng_ml["IL-4"] == pytest.approx(0.5)


def test_a_line_that_is_held_since_gets_plain_medium_of_the_phase_and_not_of_the_supervisor_alone(
    rig: Callable[..., Rig],
) -> None:
    on = rig()
    on.start("L1")
    on.world.advance_to(START_H + 5.0)
    make_safe(keeper(on), SupervisorSettings(plain_medium_h=2.0))
    wanted = [Wanted("L1", HOURS, None, "nobody knows what it got")]
    on.world.advance_to(START_H + 5.5)
    again = perfusion.start_pumps(on.lab, wanted, 1, "hold")
    on.watch(again, 10.0)
    assert on.runs("L1-medium"), "the supervisor's own ended after 2 h"


def test_the_next_phase_ends_the_plain_medium(rig: Callable[..., Rig]) -> None:
    on = rig()
    on.start("L1")
    on.world.advance_to(START_H + HOURS + 0.5)
    make_safe(keeper(on), SETTINGS)
    assert on.runs("L1-medium")
    hold = on.programme("L1", 0.0, "stimulus", 2.0)
    perfusion.start_pumps(on.lab, [Wanted("L1", 2.0, hold)], 1, "hold")
    assert on.runs("L1-stimulus") and not on.runs("L1-medium")
    assert on.flow_ul_h("L1") == pytest.approx(60.0)


def test_a_run_of_which_no_pump_moved_is_left_alone_and_a_record_that_is_away_stops_nothing(
    rig: Callable[..., Rig],
) -> None:
    on = rig()
    assert make_safe(keeper(on), SETTINGS) == []
    on.start("L1")
    on.world.advance_to(START_H + 1.0)
    alone = replace(keeper(on), record=None)
    make_safe(alone, SETTINGS)
    assert on.runs("L1-medium") and not on.runs("L1-low")


def test_a_pump_that_does_not_stop_is_told_and_plain_medium_does_not_come_on_top(
    rig: Callable[..., Rig],
) -> None:
    on = rig()
    on.start("L1")
    on.world.advance_to(START_H + 1.0)
    on.pumps["L1-stimulus"].cut = True
    make_safe(keeper(on), SETTINGS)
    assert not on.runs("L1-low"), "drug stops first"
    assert on.times("L1-stimulus MAY STILL RUN") >= 1
    assert "L1" in on.journal.held("r")


def test_each_line_can_be_left_its_dose_or_left_to_stand(rig: Callable[..., Rig]) -> None:
    on = rig()
    on.start("L1", "L2")
    on.world.advance_to(START_H + 1.0)
    wanted = SupervisorSettings(lines={"L1": "finish_dose", "L2": "stop"})
    make_safe(keeper(on), wanted)
    assert on.runs("L1-low") and on.runs("L1-stimulus")
    assert on.flow_ul_h("L2") == 0.0
    on.world.advance_to(START_H + HOURS + 0.1)
    make_safe(keeper(on), wanted)
    assert on.runs("L1-medium") and on.flow_ul_h("L2") == 0.0


def test_a_run_is_left_alone_once_its_process_is_gone_or_does_nothing_for_long() -> None:
    # process 2**22 + 1 is above what Linux gives, so nobody has it
    dead = Beat(2**22 + 1, 1.0, 1000.0, 1000.0, 0.0, 1.0, 1, "dosing")
    after = 60.0 * SETTINGS.after_min
    assert is_gone(dead, SETTINGS, 1000.0 + after - 1.0) == ""
    assert "has ended" in is_gone(dead, SETTINGS, 1000.0 + after + 1.0)
    assert "has ended" in is_gone(dead, SETTINGS, 5.0), "the computer was started anew since"
    assert is_gone(None, SETTINGS, 1e9) == ""
    import os

    from instruments.port_lock import process_started

    alive = replace(dead, pid=os.getpid(), process_started=process_started(os.getpid()) or 0.0)
    hung = 60.0 * SETTINGS.hung_after_min
    assert is_gone(alive, SETTINGS, 1000.0 + hung - 1.0) == ""
    assert "done nothing for 60 min" in is_gone(alive, SETTINGS, 1000.0 + hung + 1.0)
    # a fit that was silent for ten minutes, and slept along with the computer for a night
    fits = replace(alive, flow_awake_s=900.0)
    assert is_gone(fits, SETTINGS, 1000.0 + 10 * hung, 900.0 + 600.0) == ""
    assert "has done nothing" in is_gone(fits, SETTINGS, 1000.0 + 10 * hung, 901.0 + hung)


def test_on_a_full_disk_the_supervisor_gives_the_reserve_free_and_lives_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = tmp_path / RESERVE_FILE
    reserve.write_bytes(b"room")
    files = SimpleNamespace(run_id="r", folder=tmp_path, runs=tmp_path)
    slept_s, tries = list[float](), list[bool]()
    monkeypatch.setattr(supervisor, "known_run", lambda *_: files)
    monkeypatch.setattr(
        supervisor,
        "load_lab_settings",
        lambda _: SimpleNamespace(supervisor=SETTINGS, notify=NotifySettings()),
    )
    monkeypatch.setattr(supervisor, "has_ended", lambda _: len(tries) == 3)
    monkeypatch.setattr(supervisor, "is_gone", lambda *_: "process 7 has ended")
    monkeypatch.setattr(supervisor, "alarm", lambda *_: None)
    monkeypatch.setattr(supervisor.time, "sleep", slept_s.append)
    monkeypatch.setattr("builtins.print", full_log)

    def safe_once(*_: object) -> None:
        tries.append(reserve.exists())
        if len(tries) == 1:
            raise DiskFull("the journal can not be written") from OSError(errno.ENOSPC, "full")
        if len(tries) == 2:  # others have taken that room, too
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(supervisor, "safe_once", safe_once)
    supervisor.supervise(tmp_path)
    assert tries == [True, False, False]
    # with the room of the reserve at once; afterwards as always
    assert slept_s == [supervisor.EVERY_S, supervisor.AGAIN_S, supervisor.AGAIN_S]


def full_log(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_supervisor_knows_no_flow_engine() -> None:
    code = "import sys, flows.supervisor; print('prefect' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"

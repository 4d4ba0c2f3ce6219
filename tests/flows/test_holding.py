"""A person holds a run: nothing more is dosed until somebody lets it go on, and then it ends as it would have."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chiploop.record.record import Record
from flows import closed_loop
from flows.heartbeat import Heart, last_beat
from flows.holding import held_by, put_hold
from flows.run_status import state_of
from tests.flows.conftest import Warm
from tests.flows.run_checks import check_volumes
from tests.flows.test_closed_loop import approve, wait_for_proposals, waiting_run
from tests.flows.test_proposals import doses_given, told


def status(warm: Warm, runs: Path, run_id: str, code: int) -> dict[str, Any]:
    (one,) = told(warm, runs, "status", run_id, code=code)["runs"]
    return dict(one)


def test_a_held_run_gives_no_further_dose_until_it_is_let_go_on(warm: Warm, tmp_path: Path) -> None:
    running, runs, run_id = waiting_run(warm, tmp_path)
    assert status(warm, runs, run_id, 7)["state"] == "waiting for a person"
    approve(warm, runs, run_id)
    wait_for_proposals(runs, 2, running)
    held = told(warm, runs, "hold", run_id, "--why", "looking at L1")
    assert held["new"] and held["held_by"].endswith(": looking at L1")
    assert not told(warm, runs, "hold", run_id)["new"]
    approve(warm, runs, run_id)
    until_s = time.monotonic() + 60.0
    with Record(str(runs / "record.sqlite")) as record:
        while record.run(run_id).state != "on hold":  # type: ignore[union-attr]
            assert not running.ended and time.monotonic() < until_s
            time.sleep(0.02)
    now = status(warm, runs, run_id, 7)
    assert (now["state"], now["process"], now["proposal"]) == ("on hold", running.pid, None)
    assert not doses_given(runs, run_id, 2) and not running.ended
    assert told(warm, runs, "resume", run_id, "--why", "all is well")["held_by"] == ""
    ended = running.wait()
    assert ended.code == 0, ended.err
    assert len(doses_given(runs, run_id, 2)) == 2
    check_volumes(runs, run_id)
    done = status(warm, runs, run_id, 0)
    assert (done["state"], done["process"]) == ("finished", None)
    with Record(str(runs / "record.sqlite")) as record:
        assert not record.verify().faults
        holds = [e.content for e in record.events(run_id, "hold")]
    assert [(h["on"], h["why"]) for h in holds] == [(True, "looking at L1"), (False, "all is well")]
    assert warm.run("hold", run_id, "--runs", runs).code == 2, "it has ended"


def test_a_run_whose_process_was_killed_is_told_as_interrupted(warm: Warm, tmp_path: Path) -> None:
    running, runs, run_id = waiting_run(warm, tmp_path)
    running.kill()
    running.wait()
    now = status(warm, runs, run_id, 4)
    assert now["state"] == "interrupted" and now["process"] is None
    assert "killed or the computer went down" in now["ended"]
    shown = warm.run("status", "--runs", runs)
    assert shown.code == 4 and f"chiploop resume {run_id}" in shown.out
    table = warm.run("watch", run_id, "--once", "--runs", runs)
    assert table.code == 4 and "C01" in table.out and "SIMULATED" in table.out


def test_a_hold_stands_on_record_until_it_is_ended(tmp_path: Path) -> None:
    with Record(str(tmp_path / "record.sqlite")) as record:
        assert held_by(record, "r") == ""
        assert put_hold(record, "r", True, "eva", "bubble", 3.0)
        assert not put_hold(record, "r", True, "eva", "again", 3.0)
        assert held_by(record, "r") == "eva: bubble" and held_by(record, "other") == ""
        assert put_hold(record, "r", False, "tom", "", 4.0)
        assert held_by(record, "r") == ""
        assert put_hold(record, "r", True, "tom", "", 4.0)
        assert held_by(record, "r") == "tom"


def test_the_heart_tells_the_process_from_the_flow(tmp_path: Path) -> None:
    now = [100.0]
    with Heart(tmp_path, every_s=60.0, steady_s=lambda: now[0]) as heart:
        heart.tell(2.5, 1, "starting")
        heart.write()
        assert last_beat(tmp_path) is None, (
            "the run is not this process's before its flow has begun"
        )
        heart.beat()
        heart.tell(2.5, 1, "measuring TEER")
        now[0] = 160.0
        heart.write()
        beat = last_beat(tmp_path)
        assert beat is not None and beat.is_alive
        assert (beat.process_s, beat.flow_s) == (160.0, 100.0)
        assert (beat.time_h, beat.cycle, beat.doing) == (2.5, 1, "measuring TEER")
        heart.beat()
        heart.write()
        beat = last_beat(tmp_path)
        assert beat is not None and beat.flow_s == 160.0
    (tmp_path / "heartbeat.json").write_text("{")
    assert last_beat(tmp_path) is None
    assert last_beat(tmp_path / "nowhere") is None


@pytest.mark.parametrize("begun", [True, False])
def test_a_hold_put_on_later_begins_nothing_in_a_phase_that_is_over(
    begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab: Any = SimpleNamespace(record=None, run_id="r", simulated=False, said=[])
    lab.study = SimpleNamespace(timeline=SimpleNamespace(turnaround_h=2.0), valves={})
    lab.say = lambda cycle, what: lab.said.append(what)
    asked: list[str] = []

    def is_begun(lab: Any, cycle: int, phase: str) -> bool:
        return begun and (cycle, phase) == (1, "dose")

    def perfuse(lab: Any, campaign: Any, purpose: str, hours: float, phase: str) -> Any:
        asked.append(phase)
        return campaign

    answers = iter(["eva", "eva", ""])
    monkeypatch.setattr(closed_loop.perfusion, "begun", is_begun)
    monkeypatch.setattr(closed_loop, "kept_back_by", lambda lab: next(answers))
    monkeypatch.setattr(closed_loop, "perfuse", perfuse)
    assert closed_loop.wait_before_dosing(lab, "campaign") == "campaign"  # type: ignore[comparison-overlap, arg-type]
    assert asked == ([] if begun else ["hold-1", "hold-2"])


def test_a_state_follows_from_the_record_and_from_who_works_on_it() -> None:
    assert state_of("finished", False, "", True) == "finished"
    assert state_of("running", False, "eva", True) == "interrupted"
    assert state_of("running", True, "eva", True) == "on hold"
    assert state_of("waiting for a person", True, "", True) == "waiting for a person"
    assert state_of("waiting for a person", True, "", False) == "running"


@pytest.mark.parametrize("cycle", [1, 2])
def test_a_hold_that_comes_while_valves_turn_keeps_the_exposure_back(
    cycle: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab: Any = SimpleNamespace(journal=None, run_id="r", said=[])
    lab.say = lambda cycle, what: lab.said.append(what)
    done: list[str] = []
    held = [""]

    def connect(lab: Any, proposal: str, cycle: int) -> None:
        done.append(f"turn for {proposal}")
        held[0] = "eva" if len(done) == 1 else ""

    def start_hold(lab: Any, cycle: int, phase: str) -> str:
        done.append(f"c{cycle} {phase}")
        return phase

    def wait_before_dosing(lab: Any, campaign: str) -> str:
        done.append("medium")
        return "after"

    monkeypatch.setattr(closed_loop.valve_turns, "connect", connect)
    monkeypatch.setattr(closed_loop, "part_kept_back_by", lambda lab: held[0])
    monkeypatch.setattr(closed_loop.perfusion, "look_again_at_left_out", lambda *_: None)
    monkeypatch.setattr(closed_loop.perfusion, "is_under_way", lambda *_: False)
    monkeypatch.setattr(closed_loop, "wait_before_dosing", wait_before_dosing)
    monkeypatch.setattr(closed_loop, "newest_hold", lambda *_: "hold-2")
    monkeypatch.setattr(closed_loop, "start_hold", start_hold)
    monkeypatch.setattr(closed_loop, "next_doses", lambda lab, campaign, hold: ("after", "newer"))
    campaign: Any = SimpleNamespace(cycle=cycle - 1)
    got = closed_loop.connect_and_look(lab, campaign, "doses", cycle)  # type: ignore[arg-type]
    if cycle == 1:
        assert done == ["turn for doses", "medium", "turn for doses"]
        assert got == ("after", "doses")  # type: ignore[comparison-overlap]
    else:
        assert done == ["turn for doses", "c1 hold-3", "turn for newer"]
        assert got == ("after", "newer")  # type: ignore[comparison-overlap]
        assert lab.said == ["on hold by eva: stimulus without drug on every line"]


def test_a_hold_that_comes_once_doses_have_begun_or_were_left_out_holds_no_exposure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab: Any = SimpleNamespace()
    monkeypatch.setattr(closed_loop.valve_turns, "connect", lambda *_: None)
    monkeypatch.setattr(closed_loop, "part_kept_back_by", lambda lab: "eva")
    monkeypatch.setattr(closed_loop.perfusion, "look_again_at_left_out", lambda *_: None)
    monkeypatch.setattr(
        closed_loop.perfusion, "is_under_way", lambda lab, c, phase: (c, phase) == (2, "dose")
    )
    got = closed_loop.connect_and_look(lab, "campaign", "doses", 2)  # type: ignore[arg-type]
    assert got == ("campaign", "doses")  # type: ignore[comparison-overlap]

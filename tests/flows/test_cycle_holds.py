"""Holds of a cycle: the number after each, and the newest one is gone on with after an interruption."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chiploop.record.journal import Journal
from chiploop.record.record import Record
from flows import closed_loop as loop
from flows import hands, perfusion, turns
from flows.cycle_holds import ends_h, newest_hold, next_number
from tests.flows.test_perfusion import START_H, STUDY, Rig

TURNAROUND_H = STUDY.timeline.turnaround_h


@pytest.mark.parametrize(
    ("phase", "number"),
    [
        ("", 2),
        ("hold", 2),
        ("hold-plain", 2),
        ("hold-2", 3),
        ("hold-2-plain", 3),
        ("files-2", 3),
        ("files-11-plain", 12),
    ],
)
def test_the_next_hold_has_the_next_number_though_plain_medium_stands_in(
    phase: str, number: int
) -> None:
    hold: list[Any] = [SimpleNamespace(programme_key=f"r/c01/L1/{phase}")] if phase else []
    assert next_number(hold) == number


def test_a_reading_that_waits_goes_on_under_the_next_hold_where_every_line_is_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab: Any = SimpleNamespace(say=lambda cycle, what: None)
    monkeypatch.setattr(turns.perfusion, "finish_pumps", lambda *_: None)
    hold: list[Any] = [SimpleNamespace(programme_key="r/c01/L1/hold-2-plain")]
    begun: list[str] = []
    turns.next_of(lab, 1, hold, lambda lab, cycle, phase: begun.append(phase) or [])  # type: ignore[func-returns-value]
    assert begun == ["hold-3"]


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """Two lines of fake pumps in the last cycle of a study, of which only its holds and its files are left."""
    with (
        Journal(tmp_path / "journal.sqlite") as journal,
        Record(f"sqlite:///{tmp_path / 'record.sqlite'}") as record,
    ):
        on = Rig(tmp_path, journal)
        timeline = STUDY.timeline.model_copy(update={"cycles": 1})
        on.lab.study = STUDY.model_copy(update={"timeline": timeline})
        on.lab.record, on.lab.simulated, on.lab.reserve = record, False, lambda: None
        record.add_run("r", on.lab.study, 1, True, {})
        on.world.advance_to(START_H)
        campaign: Any = SimpleNamespace(cycle=1)
        parts: dict[tuple[Any, str], Any] = {
            (loop, "first_doses"): None,
            (loop, "perfuse"): campaign,
            (loop, "wait_before_dosing"): campaign,
            (loop, "expose"): (campaign, [], (0.0, 1.0)),
            (loop.valve_turns, "connect"): None,
            (loop.turns, "read_before_stimulus"): (campaign, []),
            (loop.turns, "late_teer"): [],
            (loop.awaited_files, "send_plates"): None,
            (loop.awaited_files, "readouts_of_files"): [],
            (loop.tasks, "recalibrate"): campaign,
            (loop.tasks, "outlook"): None,
            (loop.perfusion, "delivered"): campaign,
        }
        for (module, name), given in parts.items():
            monkeypatch.setattr(module, name, lambda *_, given=given, **__: given)
        monkeypatch.setattr(loop, "read_plates", lambda lab, cycle, window_h, hold: ([], hold))
        yield on


def lasts(phase: str, begin_h: float, duration_h: float) -> Any:
    programme = SimpleNamespace(duration_h=duration_h)
    return SimpleNamespace(programme_key=phase, begins_h=begin_h, programme=programme)


def test_a_hold_ends_with_its_last_line_and_what_stands_in_from_its_middle_on_makes_it_no_longer() -> (
    None
):
    hold = [lasts("L1/hold", 10.0, 2.0), lasts("L2/hold", 10.1, 2.0)]
    assert ends_h(hold) == pytest.approx(12.1)
    assert ends_h([*hold, lasts("L1/hold-plain", 11.0, 1.0)]) == pytest.approx(12.1)
    assert ends_h([]) == math.inf


@pytest.mark.slow
def test_a_line_that_stops_in_the_middle_of_a_hold_does_not_keep_the_others_waiting_without_flow(
    rig: Rig,
) -> None:
    hold = loop.start_hold(rig.lab, 1, "hold")
    hold = perfusion.watch_until(rig.lab, hold, rig.now_h() + 0.2, 1)
    rig.pumps["L1-stimulus"].cut = True
    hold = perfusion.watch_until(rig.lab, hold, rig.now_h() + 1.0, 1)
    assert [p.programme_key.rsplit("/", 1)[1] for p in hold] == ["hold", "hold", "hold-plain"]
    assert ends_h(hold) == pytest.approx(START_H + TURNAROUND_H, abs=0.01)
    loop.finish_hold(rig.lab, SimpleNamespace(cycle=1), hold)  # type: ignore[arg-type]
    assert rig.now_h() == pytest.approx(START_H + TURNAROUND_H, abs=0.1)


def files_come(on: Rig, monkeypatch: pytest.MonkeyPatch, at_h: float) -> None:
    """Let the files of the cycle be there at a study time."""

    def wait(lab: Any, hold: Any, cycle: int, window_h: Any, until_h: float) -> tuple[Any, bool]:
        if on.now_h() < at_h:
            hold = perfusion.watch_until(lab, hold, min(until_h, at_h), cycle)
        return hold, on.now_h() >= at_h

    monkeypatch.setattr(loop.awaited_files, "wait_for_files", wait)


def killed_in_the_last_of(on: Rig, phases: Sequence[str]) -> None:
    """Let hold follow hold, and the run die half an hour after the last has begun."""
    for phase in phases:
        hold = loop.start_hold(on.lab, 1, phase)
        if phase != phases[-1]:
            hold = perfusion.watch_until(on.lab, hold, on.now_h() + TURNAROUND_H, 1)
            perfusion.finish_pumps(on.lab, hold)
    on.world.advance_to(on.now_h() + 0.5)


def begun(on: Rig) -> list[str]:
    """Return every phase, in the order in which line L1 began them."""
    keys = (a.intent.programme_key for a in on.journal.actions("r"))
    return list(dict.fromkeys(key.rsplit("/", 1)[1] for key in keys if "/L1/" in key))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["hold"], ["files-2"]),
        (["hold", "hold-2"], ["files-3"]),
        (["hold", "files-2", "hold-3"], ["files-4"]),
    ],
)
def test_a_run_killed_while_files_are_awaited_goes_on_with_the_newest_hold_and_keeps_the_stimulus(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, before: list[str], after: list[str]
) -> None:
    killed_in_the_last_of(rig, before)
    files_come(rig, monkeypatch, rig.now_h() + TURNAROUND_H)
    loop.closed_loop.fn(rig.lab)
    assert begun(rig) == [*before, *after]
    assert not any("open action" in said or "plain medium" in said for said in rig.said)
    assert rig.journal.held("r") == {}
    hours = (len(before) + len(after)) * TURNAROUND_H
    assert rig.now_h() == pytest.approx(START_H + hours, abs=0.1)  # no hour without flow


@pytest.mark.parametrize("before", [["hold"], ["hold", "hold-2"], ["hold", "hold-2", "hold-3"]])
def test_a_run_killed_in_a_hold_of_its_last_cycle_ends_when_that_hold_has_ended(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, before: list[str]
) -> None:
    killed_in_the_last_of(rig, before)
    files_come(rig, monkeypatch, 0.0)
    loop.closed_loop.fn(rig.lab)
    assert rig.lab.record.run("r").state == "finished"
    assert begun(rig) == before and rig.journal.open_actions() == []
    assert not any(rig.runs(pump) for pump in rig.pumps)
    assert rig.now_h() == pytest.approx(START_H + len(before) * TURNAROUND_H, abs=0.1)


def test_hands_that_are_waited_for_again_are_waited_for_under_the_next_hold(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_in_the_last_of(rig, ["hold", "hold-2"])
    done_h = rig.now_h() + TURNAROUND_H
    task: Any = SimpleNamespace(task_id="c01/plate/CCL26")

    def pending(*_: Any) -> list[tuple[Any, str]]:
        return [(task, "due")] if rig.now_h() < done_h else []

    monkeypatch.setattr(hands, "pending", pending)
    asked: list[str] = []

    def hold_again(lab: Any, cycle: int, phase: str) -> list[Any]:
        asked.append(phase)
        return loop.start_hold(lab, cycle, phase)

    hold = loop.start_hold(rig.lab, 1, newest_hold(rig.journal, "r", 1))
    hold = hands.wait(rig.lab, 1, "CCL26", hold, hold_again)
    assert asked == ["hold-3"] and newest_hold(rig.journal, "r", 1) == "hold-3"
    assert {p.programme_key.rsplit("/", 1)[1] for p in hold} == {"hold-3"}
    assert newest_hold(rig.journal, "r", 2) == ""
    assert not any("plain medium" in said for said in rig.said)

"""What hands must do and when, where it stands, and what follows from what they really did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chiploop.dosing import PumpProgramme, PumpStep, usable_ul
from chiploop.measurement import Readout
from chiploop.plan import plate_map
from chiploop.record.actions import Action, Event, Intent, totals_of
from chiploop.study import load_study
from chiploop.worklist import (
    Collected,
    HandDone,
    collected,
    exposure_begins_h,
    hand_tasks,
    matching,
    recovery,
    refill_tasks,
    state_of,
    wells_as_collected,
    with_recovery,
)

STUDY = load_study(Path(__file__).parents[1] / "flows" / "small_study.yaml")
TASKS = {task.task_id: task for task in hand_tasks(STUDY, {1: 13.0})}
COLLECT = TASKS["c01/collect/L1"]


def said(task: str, state: Any = "done", **more: Any) -> HandDone:
    return HandDone(task, state, "carol", **more)


def test_tasks_follow_from_when_the_exposure_really_began() -> None:
    assert (COLLECT.from_h, COLLECT.due_h) == (13.0 + 12.0, 13.0 + 24.0)
    assert TASKS["c01/plate/CCL26"].due_h == 37.0
    assert exposure_begins_h(STUDY, {1: 13.0}) == {1: 13.0, 2: 39.0}  # an hour later than planned
    assert exposure_begins_h(STUDY, {1: 13.0, 2: 48.0})[2] == 48.0
    assert not any("teer" in name for name in TASKS)
    by_hand = {task.task_id: task.due_h for task in hand_tasks(STUDY, {1: 13.0}, True)}
    assert by_hand["c00/teer/1"] == 12.0 and by_hand["c01/teer/1"] == 37.0


@pytest.mark.parametrize(
    ("now_h", "state"), [(24.9, "open"), (25.0, "due"), (37.5, "due"), (37.6, "late")]
)
def test_a_task_is_open_then_due_then_late(now_h: float, state: str) -> None:
    assert state_of(COLLECT, [], now_h) == state
    assert state_of(COLLECT, [said("c01/collect/L2")], now_h) == state  # another line's
    assert state_of(COLLECT, [said(COLLECT.task_id)], now_h) == "done"
    assert state_of(COLLECT, [], now_h, {COLLECT.task_id}) == "done"


def test_the_newest_word_counts_and_late_is_none_of_them() -> None:
    late, gone = said(COLLECT.task_id, "late"), said(COLLECT.task_id, "skipped")
    assert state_of(COLLECT, [late], 99.0) == "late"
    assert state_of(COLLECT, [late, said(COLLECT.task_id), gone], 99.0) == "skipped"
    plate = TASKS["c01/plate/CCL26"]
    own = said(plate.task_id, "skipped", chips=("C01",))
    assert state_of(plate, [own], 37.0) == "due"  # the other chip's wells are still to come


def test_a_name_before_a_slash_means_all_below_it() -> None:
    tasks = tuple(TASKS.values())
    assert [t.task_id for t in matching(tasks, "c01/collect")] == [
        "c01/collect/L1",
        "c01/collect/L2",
    ]
    assert [t.task_id for t in matching(tasks, "c01/collect/L1")] == ["c01/collect/L1"]
    assert matching(tasks, "c01/coll") == () == matching(tasks, "c09")


HOW = {"C01": Collected(25.5, 37.0, 950.0), "C02": None}


def test_what_was_really_done_takes_the_place_of_the_plan() -> None:
    words = [
        said("c01/collect/L1", from_h=25.5, volumes_ul={"C01": 950.0}),
        said("c01/collect/L2", "skipped", why="it fell"),
        said("c02/collect/L1"),
    ]
    assert collected(STUDY, TASKS.values(), words, 1) == HOW
    assert collected(STUDY, TASKS.values(), [], 1) == {}


def test_a_skipped_sample_is_not_on_the_plate_and_the_others_have_their_own_window() -> None:
    planned = plate_map(STUDY, "CCL26", 1, (24.0, 36.0)).wells
    wells = wells_as_collected(planned, HOW)
    samples = [well for well in wells if well.kind == "sample"]
    assert {(well.chip, well.window_h) for well in samples} == {("C01", (25.5, 37.0))}
    assert [w for w in wells if w.kind != "sample"] == [w for w in planned if w.kind != "sample"]
    assert wells_as_collected(planned, {}) == planned


@pytest.mark.parametrize(
    ("volume_ul", "qc"),
    [(551.0, "warn"), (552.0, "ok"), (690.0, "ok"), (828.0, "ok"), (829.0, "warn"), (None, "ok")],
)
def test_a_recovery_out_of_80_to_120_percent_is_flagged(volume_ul: float | None, qc: str) -> None:
    # 60 uL/h for 11.5 h are 690 uL
    readout = Readout("C01", "CCL26", 50.0, "pg/mL", 0.1, "log", 37.0, 25.5)
    (one,) = with_recovery([readout], {"C01": Collected(25.5, 37.0, volume_ul)}, 60.0)
    assert one.qc == qc and (one == readout) == (qc == "ok")
    assert one.value == 50.0  # flagged, never changed


def test_a_recovery_leaves_failed_readouts_failed_and_moments_alone() -> None:
    bad = Readout("C01", "CCL26", 50.0, "pg/mL", 0.1, "log", 37.0, 25.5, qc="fail")
    teer = Readout("C01", "TEER", 900.0, "ohm*cm2", 0.1, "log", 37.0)
    how = {"C01": Collected(25.5, 37.0, 1.0)}
    flagged, same = with_recovery([bad, teer], how, 60.0)
    assert flagged.qc == "fail" and "recovery 0 %" in flagged.reasons[0]
    assert same == teer
    assert recovery(690.0, 60.0, 11.5) == 1.0


def test_a_syringe_that_would_be_at_its_reserve_before_the_end_is_to_be_refilled() -> None:
    assert refill_tasks(STUDY, {}, {"L1-stimulus": 40.0}, 20.0, 62.0) == ()
    drawn, usable = {"L1-stimulus": 60000.0 - 5000.0}, usable_ul(STUDY, "stimulus", 5000.0)
    (task,) = refill_tasks(STUDY, drawn, {"L1-stimulus": 40.0}, 20.0, 100.0)
    assert task.task_id == "refill/L1-stimulus" and task.due_h == task.late_h - 2.0
    assert task.late_h == pytest.approx(40.0 + usable / 60.0) and 0.0 < usable < 5000.0
    assert refill_tasks(STUDY, {"L1-low": 20000.0}, {"L1-low": 40.0}, 20.0, 100.0) == ()


def test_what_a_running_pump_had_still_to_give_counts_against_the_new_syringe() -> None:
    pump, key = "L1-stimulus", "r/c01/L1/hold"
    step = PumpStep(pump, "stimulus", 60.0, 1200.0)
    hold = PumpProgramme("L1", "stimulus", 0.0, 0.0, 20.0, (step,), 0.0, 1.0)
    intent = Intent(f"{key}/{pump}", "r", key, pump, hold, 60.0, 1200.0, 0.0, 1.0, 0, "s", 10.0)
    action = Action(1, intent, (10.0,), 10.0, None, None, None, False, ())  # to 30 h

    def refill(**body: Any) -> Event:
        return Event(99, "", "r", f"r/refill/{pump}", "refill", {"by": "carol", **body})

    def drawn_ul(refill: Event) -> float:
        return float(totals_of([action], [refill]).drawn_ul.get("L1-stimulus", 0.0))

    assert drawn_ul(refill(time_h=25.0, while_running=True)) == pytest.approx(300.0)
    assert drawn_ul(refill(time_h=31.0, while_running=True)) == 0.0
    assert drawn_ul(refill(time_h=5.0, while_running=True)) == pytest.approx(1200.0)
    assert drawn_ul(refill(time_h=25.0)) == 0.0  # between two programmes, as priming does it

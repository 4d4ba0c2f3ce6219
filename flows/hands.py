"""What people do by hand in a real run: read from the record, waited for, and taken into the readouts.

Belongs here: a run's worklist from its record and journal, waiting while chips are perfused, what was really
collected. Not here: rules (chiploop.worklist), the commands by which people say so (cli.worklist).

In a simulation the virtual technician does everything at once and as planned, so nothing here says a word. In a
real run nothing is waited for without flow: while something is missing, one hold follows the other.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from chiploop.connections import connected
from chiploop.errors import FileNotValid
from chiploop.measurement import Readout
from chiploop.plan import PlannedPlate, exposure_read, plate_id_of
from chiploop.record.actions import Action
from chiploop.record.journal import Journal
from chiploop.record.next_event import add_next_event
from chiploop.record.progress import ProgrammeProgress
from chiploop.record.record import Record
from chiploop.record.reservations import reservations_on
from chiploop.study import Study
from chiploop.worklist import (
    HandDone,
    HandTask,
    State,
    collected,
    hand_done,
    hand_tasks,
    refill_tasks,
    state_of,
    wells_as_collected,
    with_recovery,
)
from flows import perfusion
from flows.clock import refuse_when_stopped
from flows.cycle_holds import ends_h, next_number
from flows.fault_points import reached
from instruments.drivers import load_lab_settings
from instruments.port_identity import device_at

if TYPE_CHECKING:
    from flows.laboratory import Laboratory

HAND = "hand"
"""Kind of the event that something was done, skipped or is late."""
LOOKS_PER_WATCH = 36
"""Looks at the record between two at the pumps: every ten seconds in a real run."""
SAME_TIME_H = 1e-6
SETTINGS_FILE = "lab.toml"
"""In a run's folder."""


def begun_exposures_h(actions: Sequence[Action]) -> dict[int, float]:
    """Return cycle -> study time at which its first dose began, by the journal."""
    found: dict[int, float] = {}
    for action in actions:
        _, own, _, phase = action.intent.programme_key.rsplit("/", 3)
        if phase == "dose" and action.sent_h:
            cycle = int(own.removeprefix("c"))
            found[cycle] = min(found.get(cycle, action.begun_h), action.begun_h)
    return found


def said_of(record: Record, run_id: str) -> tuple[HandDone, ...]:
    """Return what people, and the run itself, have said of its tasks, in the order added."""
    return tuple(hand_done(event.content) for event in record.events(run_id, HAND))


def say_of(record: Record, run_id: str, said: HandDone, time_h: float) -> None:
    """Put one word about a task on record."""
    add_next_event(record, run_id, HAND, time_h, asdict(said), about=said.task)
    reached("hand_said")


def tasks_of(
    study: Study, run_id: str, journal: Journal, now_h: float, teer_by_hand: bool
) -> tuple[HandTask, ...]:
    """Return all tasks of a run, refills among them, by due time."""
    actions = journal.actions(run_id)
    begun_h = begun_exposures_h(actions)
    tasks = hand_tasks(study, begun_h, teer_by_hand)
    runs_until_h = {
        a.intent.pump: a.begun_h + a.intent.volume_ul / a.intent.flow_rate_ul_h
        for a in actions
        if a.open and a.sent_h
    }
    end_h = max((t.due_h for t in tasks if t.kind in ("plate", "export")), default=study.end_h)
    drawn_ul = journal.totals(run_id).drawn_ul
    if study.valves:  # a line draws for the chips that it feeds now
        now = {chip: line for chip, line in journal.connection(run_id).items() if line is not None}
        study = connected(study, now)
    tasks += refill_tasks(study, drawn_ul, runs_until_h, now_h, end_h)
    return tuple(sorted(tasks, key=lambda task: (task.due_h, task.task_id)))


def tasks_on_record(
    study: Study, tasks: Sequence[HandTask], readouts: Sequence[Readout]
) -> frozenset[str]:
    """Return the tasks whose readouts are on record, whoever did them."""
    plates = {r.plate for r in readouts if r.plate}
    entered = [(r.cycle, r.time_h) for r in readouts if r.readout == "TEER"]
    found = set()
    for task in tasks:
        is_plate = task.kind in ("plate", "export")
        if is_plate and plate_id_of(study, task.assay, task.cycle) in plates:
            found.add(task.task_id)
        if task.kind == "collect" and any(
            r.plate and exposure_read(r) == task.cycle for r in readouts
        ):
            found.add(task.task_id)
        if task.kind == "teer" and any(
            task.due_h - 1.0 <= time_h <= task.late_h + 6.0 for _, time_h in entered
        ):
            found.add(task.task_id)
    return frozenset(found)


def states(
    study: Study,
    run_id: str,
    record: Record,
    journal: Journal,
    now_h: float,
    teer_by_hand: bool = False,
) -> list[tuple[HandTask, State]]:
    """Return the worklist of a run: every task with where it stands."""
    tasks = tasks_of(study, run_id, journal, now_h, teer_by_hand)
    there = tasks_on_record(study, tasks, record.readouts(run_id))
    said = [one for one in said_of(record, run_id) if not one.task.startswith("refill/")]
    return [(task, state_of(task, said, now_h, there)) for task in tasks]


def teer_by_hand(folder: Path) -> bool:
    """Return whether a person reads the meter of a run and enters the number, by its lab.toml."""
    with suppress(OSError, ValueError):
        content = tomllib.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        meters = content.get("impedance_meters", {}).values()
        return any(meter.get("make") == "manual_teer" for meter in meters)
    return False


def pending(lab: Laboratory, cycle: int, assay: str) -> list[tuple[HandTask, State]]:
    """Return what must be done by hand before the plate of an assay can be read; nothing in a simulation."""
    if lab.simulated:
        return []
    now = states(lab.study, lab.run_id, lab.record, lab.journal, lab.clock.now_h())
    of_plate = {task.task_id: state for task, state in now if task.kind in ("plate", "export")}
    if of_plate.get(f"c{cycle:02d}/plate/{assay}") == "skipped":
        return []
    return [
        (task, state)
        for task, state in now
        if task.cycle == cycle
        and (task.kind == "collect" or (task.kind == "plate" and task.assay == assay))
        and state not in ("done", "skipped")
    ]


def plate_in_reader(record: Record, run_id: str) -> str:
    """Return whose plate a person has put into the reader that a run shares, and that is not read yet; empty for
    none. A run's own plates are its own business.
    """
    readers = {one.run_id: shared_readers(Path(one.folder)) for one in reservations_on(record)}
    mine = readers.pop(run_id, frozenset())
    for other in (run for run, devices in readers.items() if devices & mine):
        read = {r.plate for r in record.readouts(other) if r.plate}
        newest: dict[str, str] = {}
        for said in said_of(record, other):
            if "/plate/" in said.task and said.state != "late":
                newest[said.task] = said.state
        for task, state in newest.items():
            own, _, assay = task.partition("/plate/")
            ends = f"-{assay}-cycle{int(own.removeprefix('c'))}"
            if state == "done" and not any(plate.endswith(ends) for plate in read):
                return f"{task} of run {other}"
    return ""


def shared_readers(folder: Path) -> frozenset[str]:
    """Return which shared readers a run has, by its lab.toml; none where its folder is not on this computer."""
    with suppress(FileNotValid):
        settings = load_lab_settings(folder / SETTINGS_FILE)
        return frozenset(device_at(r.url) for r in settings.plate_readers.values() if r.shared)
    return frozenset()


def wait(
    lab: Laboratory,
    cycle: int,
    assay: str,
    hold: list[ProgrammeProgress],
    hold_again: Callable[[Laboratory, int, str], list[ProgrammeProgress]],
) -> list[ProgrammeProgress]:
    """Return once the plate of an assay can be read, with the hold that runs then.

    ``hold_again`` starts the hold of a phase, so that chips are perfused meanwhile.
    """
    told = False
    while True:
        end_h = ends_h(hold)
        while left := pending(lab, cycle, assay):
            if not told:
                names = ", ".join(task.task_id for task, _ in left)
                lab.say(cycle, f"WAITING FOR HANDS: {names}; chiploop worklist {lab.run_id}")
                told = True
                reached("hands_waited_for")
            put_late_on_record(lab, left)
            refuse_when_stopped(lab.clock.stopped_by())
            now_h = lab.clock.now_h()
            if now_h >= end_h - SAME_TIME_H:
                break
            look_h = min(perfusion.next_look_h(lab), end_h)
            next_h = min(look_h, now_h + lab.watch_every_h / LOOKS_PER_WATCH)
            if hold and next_h >= look_h - SAME_TIME_H:
                hold = perfusion.watch_until(lab, hold, look_h, cycle)
            else:
                lab.clock.wait_until_h(next_h)
        if not left:
            return hold
        perfusion.finish_pumps(lab, hold)
        lab.say(cycle, "not all is done by hand: stimulus without drug on every line")
        hold = hold_again(lab, cycle, f"hold-{next_number(hold)}")


def put_late_on_record(lab: Laboratory, left: Sequence[tuple[HandTask, State]]) -> None:
    """Put on record, once each, that tasks are late."""
    late = [task for task, state in left if state == "late"]
    if not late:
        return
    known = {one.task for one in said_of(lab.record, lab.run_id) if one.state == "late"}
    for task in late:
        if task.task_id not in known:
            why = f"due at {task.due_h:.4g} h"
            now_h = lab.clock.now_h()
            say_of(lab.record, lab.run_id, HandDone(task.task_id, "late", "chiploop", why), now_h)
            lab.say(task.cycle, f"LATE, by hand: {task.what} ({task.task_id})")


def as_collected(lab: Laboratory, planned: PlannedPlate) -> PlannedPlate | None:
    """Return a plate with windows as they were, without what was skipped; None where nothing is left to read."""
    if lab.simulated:
        return planned
    tasks = hand_tasks(lab.study, begun_exposures_h(lab.journal.actions(lab.run_id)))
    said = said_of(lab.record, lab.run_id)
    name = f"c{planned.cycle:02d}/plate/{planned.assay}"
    (own,) = (task for task in tasks if task.task_id == name)
    how = collected(lab.study, tasks, said, planned.cycle)
    wells = wells_as_collected(planned.wells, how)
    gone = [chip for chip, one in how.items() if one is None]
    if state_of(own, said, 0.0) == "skipped":
        lab.say(planned.cycle, f"the {planned.assay} plate was skipped: no readouts of it")
        return None
    if not any(well.kind == "sample" for well in wells):
        lab.say(planned.cycle, f"no effluent for the {planned.assay} plate: no readouts of it")
        return None
    if gone:
        said_gone = f"{', '.join(gone)}: effluent skipped, no {planned.assay} of these chips"
        lab.say(planned.cycle, said_gone)
    return replace(planned, wells=wells)


def flagged(lab: Laboratory, cycle: int, readouts: Sequence[Readout]) -> list[Readout]:
    """Return readouts of effluent with their recovery judged, where people said how much they collected."""
    if lab.simulated:
        return list(readouts)
    tasks = hand_tasks(lab.study, begun_exposures_h(lab.journal.actions(lab.run_id)))
    how = collected(lab.study, tasks, said_of(lab.record, lab.run_id), cycle)
    return with_recovery(readouts, how, lab.study.perfusion.flow_rate_ul_h)


def teer_skipped(lab: Laboratory, cycle: int, planned_h: float) -> bool:
    """Return whether a person has skipped a reading of TEER that hands take."""
    if lab.simulated:
        return False
    begun_h = begun_exposures_h(lab.journal.actions(lab.run_id))
    tasks = hand_tasks(lab.study, begun_h, teer_by_hand=True)
    said = said_of(lab.record, lab.run_id)
    return any(
        task.kind == "teer"
        and abs(task.due_h - planned_h) < SAME_TIME_H
        and state_of(task, said, 0.0) == "skipped"
        for task in tasks
    )

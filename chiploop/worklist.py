"""What a person must do by hand in a study, when it is due, and what became of it.

Belongs here: tasks from the timetable, their states, collection windows and recoveries, as pure functions. Not
here: keeping what was done (flows.hands), the commands (flows.cli.worklist), messages (chiploop.messages).

Times follow from when an exposure really began; before that from the plan. What was really done, when and how
much, takes the place of the plan in the readouts that hang on it; what was skipped gives no readout, never a zero.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from chiploop.assays.plate_map import PlateMap
from chiploop.dosing import is_drug_free, pump_name, remaining_ul, usable_ul
from chiploop.measurement import Readout
from chiploop.study import Study

Kind = Literal["collect", "plate", "export", "teer", "refill"]
State = Literal["open", "due", "late", "done", "skipped"]

COLLECT_GRACE_H = 0.5
"""How long after its end a collection is due before it is late: effluent goes on to drip into the tube."""
TEER_GRACE_H = 2.0
"""How old an entered reading may be (``instruments.impedance_meters.manual_entry``)."""
REFILL_BEFORE_H = 2.0
"""How long before a syringe is at its reserve its refill is due."""
RECOVERY = "recovery "
"""Beginning of the reason that a reading of effluent shows where more or less was collected than flowed."""
RECOVERY_LOW, RECOVERY_HIGH = 0.80, 1.20
"""Collected volume over flow rate times time; outside these a sample is flagged."""


@dataclass(frozen=True)
class HandTask:
    """One thing that must be done by hand."""

    task_id: str
    """``c01/collect/L1``; what stands before a slash names all below it."""
    kind: Kind
    what: str
    due_h: float
    """Study time at which it must be done; for a collection, when it ends."""
    late_h: float
    """From when on it is late."""
    from_h: float | None = None
    """When a collection begins."""
    cycle: int = 0
    line: str = ""
    chips: tuple[str, ...] = ()
    assay: str = ""
    pump: str = ""


@dataclass(frozen=True)
class HandDone:
    """What a person says about a task, as it is on record."""

    task: str
    state: Literal["done", "skipped", "late"]
    by: str
    """From the operating system's login; the run itself for ``late``."""
    why: str = ""
    at_h: float | None = None
    """When it was really done; for a collection, when it ended."""
    from_h: float | None = None
    """When a collection really began; None for as planned."""
    volumes_ul: Mapping[str, float] = field(default_factory=dict)
    """Chip -> volume collected."""
    chips: tuple[str, ...] = ()
    """Which chips it is about; empty for all."""

    def about(self, chip: str) -> bool:
        """Return whether it speaks of a chip."""
        return not self.chips or chip in self.chips


def hand_done(content: Mapping[str, Any]) -> HandDone:
    """Return what ``dataclasses.asdict`` wrote."""
    return HandDone(**{**content, "chips": tuple(content["chips"])})


def exposure_begins_h(study: Study, begun_h: Mapping[int, float]) -> dict[int, float]:
    """Return when every exposure began, or will as far as is known: cycle -> study time."""
    found: dict[int, float] = {}
    later_h = 0.0
    for cycle in range(1, study.timeline.cycles + 1):
        planned_h = study.exposure_start_h(cycle) + later_h
        found[cycle] = begun_h.get(cycle, planned_h)
        later_h += found[cycle] - planned_h
    return found


def hand_tasks(
    study: Study, begun_h: Mapping[int, float], teer_by_hand: bool = False
) -> tuple[HandTask, ...]:
    """Return everything that hands must do in a study, by due time; ``begun_h`` is cycle -> real begin."""
    tasks: list[HandTask] = []
    if teer_by_hand:
        begin_h = study.timeline.stimulus_from_h
        tasks.append(_teer(study, "c00/teer/1", begin_h, 0))
    for cycle, begin_h in exposure_begins_h(study, begun_h).items():
        tasks += _of_cycle(study, cycle, begin_h, teer_by_hand)
    return tuple(sorted(tasks, key=lambda task: (task.due_h, task.task_id)))


def _of_cycle(study: Study, cycle: int, begin_h: float, teer_by_hand: bool) -> list[HandTask]:
    own = f"c{cycle:02d}"
    first_h, last_h = (begin_h + after for after in study.sampling.effluent_h)
    end_h = begin_h + study.timeline.exposure_h
    tasks = [
        HandTask(
            f"{own}/collect/{line.id}",
            "collect",
            f"collect effluent of {', '.join(line.chips)}, one tube each",
            last_h,
            last_h + COLLECT_GRACE_H,
            first_h,
            cycle,
            line.id,
            tuple(line.chips),
        )
        for line in study.lines
    ]
    for assay, asked in study.assays.items():
        file = asked.plate_path(assay, cycle)
        what = (
            f"lay out the {assay} plate and put it into the reader"
            if file is None
            else f"lay out the {assay} plate, read it and export it to {file}"
        )
        kind: Kind = "plate" if file is None else "export"
        late_h = end_h + study.timeline.turnaround_h
        tasks.append(
            HandTask(
                f"{own}/plate/{assay}",
                kind,
                what,
                end_h,
                late_h,
                cycle=cycle,
                chips=study.chip_ids,
                assay=assay,
            )
        )
    if teer_by_hand:
        tasks += [
            _teer(study, f"{own}/teer/{number}", begin_h + after, cycle)
            for number, after in enumerate(study.sampling.teer_h, start=1)
        ]
    return tasks


def _teer(study: Study, task_id: str, due_h: float, cycle: int) -> HandTask:
    what = "read the resistance of every chip and enter it"
    return HandTask(
        task_id, "teer", what, due_h, due_h + TEER_GRACE_H, cycle=cycle, chips=study.chip_ids
    )


def refill_tasks(
    study: Study,
    drawn_ul: Mapping[str, float],
    runs_until_h: Mapping[str, float],
    now_h: float,
    end_h: float,
) -> tuple[HandTask, ...]:
    """Return the syringes without drug that will be at their reserve before a study time.

    ``drawn_ul`` counts what runs as drawn to its end, which is at ``runs_until_h`` (pump -> study time). From then
    on a line may take all its flow from one of them, so that is reckoned with. How long a stock lasts hangs
    on doses that nobody knows yet; a dose that its syringe can not give is refused.
    """
    left = remaining_ul(study, drawn_ul)
    tasks = []
    for line in study.lines:
        for role in study.pump_roles(line.id):
            pump = pump_name(line.id, role)
            if pump not in runs_until_h or not is_drug_free(study, role):
                continue
            usable = usable_ul(study, role, left[pump])
            hours = max(0.0, usable) / study.line_flow_rate_ul_h(line.id)
            empty_h = max(now_h, runs_until_h[pump]) + hours
            if empty_h < end_h - 1e-6:
                what = f"refill the syringe of {pump}: it is at its reserve at {empty_h:.4g} h"
                tasks.append(
                    HandTask(
                        f"refill/{pump}",
                        "refill",
                        what,
                        empty_h - REFILL_BEFORE_H,
                        empty_h,
                        line=line.id,
                        pump=pump,
                    )
                )
    return tuple(tasks)


def of_task(task: HandTask, said: Iterable[HandDone]) -> tuple[HandDone, ...]:
    """Return what was said of one task, oldest first."""
    return tuple(one for one in said if one.task == task.task_id)


def state_of(
    task: HandTask, said: Iterable[HandDone], now_h: float, on_record: Collection[str] = ()
) -> State:
    """Return where a task stands; ``on_record`` holds tasks whose readouts are there, whoever did them.

    A collection is done or skipped once every chip of it is; the newest word on a chip counts.
    """
    own = [one for one in of_task(task, said) if one.state != "late"]
    newest = [
        next((one.state for one in reversed(own) if one.about(chip)), None)
        for chip in task.chips or ("",)
    ]
    if all(state is not None for state in newest):
        return "done" if "done" in newest else "skipped"
    if task.task_id in on_record:
        return "done"
    begin_h = task.due_h if task.from_h is None else task.from_h
    if now_h > task.late_h:
        return "late"
    return "due" if now_h >= begin_h else "open"


def matching(tasks: Sequence[HandTask], wanted: str) -> tuple[HandTask, ...]:
    """Return the tasks that a person names: one, or all below a slash."""
    name = wanted.strip().rstrip("/")
    return tuple(t for t in tasks if t.task_id == name or t.task_id.startswith(f"{name}/"))


@dataclass(frozen=True)
class Collected:
    """How the effluent of a chip was really collected."""

    from_h: float
    to_h: float
    volume_ul: float | None = None


def collected(
    study: Study, tasks: Iterable[HandTask], said: Sequence[HandDone], cycle: int
) -> dict[str, Collected | None]:
    """Return chip -> how its effluent of a cycle was collected; None where it was skipped.

    A chip that nobody has said anything about is not in it.
    """
    found: dict[str, Collected | None] = {}
    for task in tasks:
        if task.kind != "collect" or task.cycle != cycle:
            continue
        for chip in task.chips:
            own = [o for o in of_task(task, said) if o.about(chip) and o.state != "late"]
            if own and own[-1].state == "skipped":
                found[chip] = None
            elif own:
                first_h = task.from_h if own[-1].from_h is None else own[-1].from_h
                last_h = task.due_h if own[-1].at_h is None else own[-1].at_h
                assert first_h is not None
                found[chip] = Collected(first_h, last_h, own[-1].volumes_ul.get(chip))
    return found


def wells_as_collected(wells: PlateMap, how: Mapping[str, Collected | None]) -> PlateMap:
    """Return a plate's wells with the windows as they were, without the samples that were skipped."""
    found = []
    for well in wells:
        if well.kind != "sample" or well.chip is None or well.chip not in how:
            found.append(well)
        elif (one := how[well.chip]) is not None:
            found.append(replace(well, window_h=(one.from_h, one.to_h)))
    return tuple(found)


def recovery(volume_ul: float, flow_rate_ul_h: float, hours: float) -> float:
    """Return collected volume over what flowed."""
    return volume_ul / (flow_rate_ul_h * hours) if hours > 0.0 else math.inf


def with_recovery(
    readouts: Iterable[Readout], how: Mapping[str, Collected | None], flow_rate_ul_h: float
) -> list[Readout]:
    """Return readouts of effluent, flagged where more or less was collected than flowed: the sample may be
    thinned, spilt, or another chip's.
    """
    found = []
    for readout in readouts:
        one = how.get(readout.chip_id)
        if one is None or one.volume_ul is None or readout.window_start_h is None:
            found.append(readout)
            continue
        hours = one.to_h - one.from_h
        part = recovery(one.volume_ul, flow_rate_ul_h, hours)
        if RECOVERY_LOW <= part <= RECOVERY_HIGH:
            found.append(readout)
            continue
        reason = (
            f"{RECOVERY}{100.0 * part:.0f} %: {one.volume_ul:g} uL collected, "
            f"{flow_rate_ul_h * hours:.4g} uL flowed"
        )
        reasons = (*readout.reasons, reason)
        found.append(
            replace(readout, qc="fail" if readout.qc == "fail" else "warn", reasons=reasons)
        )
    return found

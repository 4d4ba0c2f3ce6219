"""When a study needs which instrument, and which hands: stretches of study time, before anything moves.

Belongs here: arithmetic on a study. Not here: what a run says it needs (reservations), which device that is
(flows.reserving), what is done by hand (worklist).

Pumps are needed from the first minute to the last, since chips stand on them. A meter and a reader are needed as
long as a reading takes; a reading may wait for a while, and is then recorded with the time at which it was taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from chiploop.dosing import pump_name
from chiploop.study import Study
from chiploop.worklist import exposure_begins_h, hand_tasks

NeedKind = Literal["pump", "impedance_meter", "plate_reader", "person"]


@dataclass(frozen=True)
class ReadingTimes:
    """How long readings take, and how long they may wait."""

    spectrum_s: float = 60.0
    """Impedance of one chip. Assumed until readings with the meter are on record."""
    plate_s: float = 300.0
    """One plate. Assumed: the longest that a reader may take where lab.toml does not say it."""
    teer_waits_h: float = 0.5
    """How late TEER may be read; tissue under drug changes within hours."""


@dataclass(frozen=True)
class Need:
    """A stretch of study time in which a study needs an instrument or a person."""

    kind: NeedKind
    name: str
    """Of a pump, as in lab.toml; otherwise what for, e.g. ``CCL26``."""
    from_h: float
    to_h: float
    """For hands: from when on it is late."""
    what: str
    may_wait_h: float = 0.0
    """How much later it may begin where others are before it."""


def needs_of(
    study: Study,
    times: ReadingTimes | None = None,
    begun_h: Mapping[int, float] | None = None,
    now_h: float = 0.0,
    teer_by_hand: bool = False,
) -> tuple[Need, ...]:
    """Return what a study still needs from a study time on, by the time at which it is needed.

    ``begun_h`` is cycle -> when its exposure really began: what comes after moves with it. An exposure that has
    not begun when it should have begins at ``now_h`` at the earliest.
    """
    times = times or ReadingTimes()
    known_h = dict(begun_h or {})
    begins_h = _begins_h(study, known_h, now_h)
    end_h = begins_h[study.timeline.cycles] + study.timeline.exposure_h
    found = [
        Need("pump", pump_name(line, role), 0.0, end_h, "perfusion, from the first minute to the last")
        for line in study.line_ids
        for role in study.pump_roles(line)
    ]  # fmt: skip
    if not teer_by_hand:
        found += _teer(study, times, begins_h)
    found += _plates(study, times, begins_h)
    found += [
        Need("person", task.task_id, task.due_h, task.late_h, task.what)
        for task in hand_tasks(study, begins_h, teer_by_hand)
    ]
    left = (need for need in found if need.to_h >= now_h)
    return tuple(sorted(left, key=lambda need: (need.from_h, need.kind, need.name)))


def _begins_h(study: Study, begun_h: Mapping[int, float], now_h: float) -> dict[int, float]:
    """Return cycle -> when its exposure began or will begin, none of those that have not begun in the past."""
    fixed = dict(begun_h)
    for cycle in range(1, study.timeline.cycles + 1):
        begin_h = exposure_begins_h(study, fixed)[cycle]
        fixed[cycle] = begin_h if cycle in begun_h else max(begin_h, now_h)
    return fixed


def _teer(study: Study, times: ReadingTimes, begins_h: Mapping[int, float]) -> Iterator[Need]:
    hours = times.spectrum_s * len(study.chip_ids) / 3600.0
    before_h = study.timeline.stimulus_from_h
    due_h = [("before the stimulus", before_h)]
    due_h += [
        (f"cycle {cycle}", begin_h + after)
        for cycle, begin_h in begins_h.items()
        for after in sorted(study.sampling.teer_h)
    ]
    for which, time_h in due_h:
        what = f"TEER of {len(study.chip_ids)} chips, {which}"
        yield Need("impedance_meter", "TEER", time_h, time_h + hours, what, times.teer_waits_h)


def _plates(study: Study, times: ReadingTimes, begins_h: Mapping[int, float]) -> Iterator[Need]:
    hours = times.plate_s / 3600.0
    for cycle, begin_h in begins_h.items():
        ready_h = begin_h + study.timeline.exposure_h
        number = 0
        for readout, assay in study.assays.items():
            if assay.comes_as_file:
                continue  # a program elsewhere has that reader
            time_h = ready_h + number * hours
            may_wait_h = max(0.0, study.timeline.turnaround_h - (number + 1) * hours)
            what = f"{readout} plate of cycle {cycle}"
            yield Need("plate_reader", readout, time_h, time_h + hours, what, may_wait_h)
            number += 1

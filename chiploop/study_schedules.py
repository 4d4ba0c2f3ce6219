"""When drug flows within an exposure: the schedules of a study, and the parts that they cut an exposure into.

Belongs here: the keys of a schedule, its parts in hours, its words. Not here: whether it fits the study
(study_schedule_checks), which pumps do it (exposure).

An exposure has one stimulus from its beginning to its end; a schedule says in which of its hours there is drug
too, and which stimulus it is where the study has several.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field

from chiploop.study_fields import Count, Duration, Identifier, Part, Time, is_nothing

if TYPE_CHECKING:
    from chiploop.study import Study

WHOLE = "whole"
"""The schedule of drug from the beginning to the end: what a dose is where nothing else is said."""
STIMULUS = "stimulus"
"""The usual stimulus of a study, and its pump: what chips get where no schedule names another one."""
LATEST_START_H = 0.5
"""How much later than planned, or than other lines, a dose or a part of it may begin; a later one is another
dose.
"""
LEAST_PART_H = 2.0 * LATEST_START_H
"""A shorter part could be half over before it begins."""
WASHED_OUT = math.log(100.0)
"""Channel volumes that must flow until 1 % of what stood in a stirred channel is left."""
_SLACK_H = 1e-9


class Schedule(Part):
    """When there is drug, in hours from the beginning of the exposure."""

    from_h: Time = Field(default=0.0, alias="from")
    """When the first drug begins."""
    for_h: Duration | None = Field(default=None, alias="for")
    """How long drug flows each time; where it is not stated, to the end of the exposure."""
    every_h: Duration | None = Field(default=None, alias="every")
    """From the beginning of one pulse to that of the next."""
    times: Count = 1
    """Pulses."""
    stimulus: Identifier | None = Field(default=None, exclude_if=is_nothing)
    """Which of the study's ``arms`` flows in all its hours; absent: the usual stimulus."""

    @property
    def arm(self) -> str:
        """The stimulus of all its hours."""
        return self.stimulus or STIMULUS


def is_whole_alone(schedules: Mapping[str, Schedule]) -> bool:
    """Return whether a study names no schedule: resolved studies leave the key out, as before there was one."""
    return dict(schedules) == {WHOLE: Schedule()}


class SchedulePart(NamedTuple):
    """A stretch of an exposure, with drug or without."""

    start_h: float
    """Hours from the beginning of the exposure."""
    end_h: float
    has_drug: bool


def schedule_parts(schedule: Schedule, exposure_h: float) -> tuple[SchedulePart, ...]:
    """Return the parts of an exposure, which follow each other from its beginning to its end."""
    lasts_h = exposure_h - schedule.from_h if schedule.for_h is None else schedule.for_h
    parts: list[SchedulePart] = []
    clock_h = 0.0
    for turn in range(schedule.times):
        start_h = schedule.from_h + turn * (schedule.every_h or 0.0)
        if start_h > clock_h + _SLACK_H:
            parts.append(SchedulePart(clock_h, start_h, False))
        clock_h = start_h + lasts_h
        if abs(clock_h - exposure_h) <= _SLACK_H:
            clock_h = exposure_h
        parts.append(SchedulePart(start_h, clock_h, True))
    if exposure_h > clock_h:
        parts.append(SchedulePart(clock_h, exposure_h, False))
    return tuple(parts)


def study_parts(study: Study, name: str) -> tuple[SchedulePart, ...]:
    """Return the parts of a schedule of a study; ``whole`` is known everywhere. KeyError for another one."""
    schedule = Schedule() if name == WHOLE else study.schedules[name]
    return schedule_parts(schedule, study.timeline.exposure_h)


def arm_of(study: Study, name: str) -> str:
    """Return the stimulus of a schedule of a study. KeyError for a schedule that it does not have."""
    return STIMULUS if name == WHOLE and name not in study.schedules else study.schedules[name].arm


def vehicle_by(study: Study, name: str) -> str:
    """Return by which schedule the vehicle is given in the stimulus of a schedule: ``whole`` in the usual one,
    else the first of that stimulus.
    """
    arm = arm_of(study, name)
    if arm == STIMULUS:
        return WHOLE
    return next(one for one, schedule in study.schedules.items() if schedule.arm == arm)


def vehicle_schedules(study: Study, line_id: str) -> tuple[str, ...]:
    """Return by which schedules a line can get the vehicle: ``whole``, then one for each further stimulus."""
    found = {STIMULUS: WHOLE}
    for name, schedule in study.schedules.items():
        if schedule.arm in study.arms_of(line_id):
            found.setdefault(schedule.arm, name)
    return tuple(found.values())


def least_part_h(flow_ul_h: float, channel_ul: float, tubing_ul: float, chips: int) -> float:
    """Return how long a part must last at least on a line with so many chips, ``flow_ul_h`` each.

    Until its end it has come through the line's tubing (plug flow of all its chips together) and has filled
    the channel to 99 %: a shorter one is never at the tissue as asked.
    """
    arrives_h = tubing_ul / (chips * flow_ul_h)
    return max(LEAST_PART_H, arrives_h + WASHED_OUT * channel_ul / flow_ul_h)


def schedule_words(schedule: Schedule) -> str:
    """Return a schedule for people, e.g. ``3 x 8 h every 16 h, in th22``; empty for the whole exposure."""
    hours = _hours_words(schedule)
    if schedule.stimulus is None:
        return hours
    return f"{hours}, in {schedule.stimulus}" if hours else f"in {schedule.stimulus}"


def _hours_words(schedule: Schedule) -> str:
    """Return in which hours there is drug; empty for all of them."""
    after = f" from {schedule.from_h:g} h" if schedule.from_h > 0.0 else ""
    if schedule.for_h is None:
        return f"{after} to the end".strip() if after else ""
    if schedule.times == 1:
        return f"{schedule.for_h:g} h{after}" if after else f"the first {schedule.for_h:g} h"
    return f"{schedule.times} x {schedule.for_h:g} h every {schedule.every_h:g} h{after}"


def study_words(study: Study, name: str) -> str:
    """Return a schedule of a study for people; empty for the whole exposure."""
    return "" if name == WHOLE else schedule_words(study.schedules[name])


def dose_words(dose_nm: float, name: str, schedules: Mapping[str, Schedule]) -> str:
    """Return a dose for people, with its schedule where that is not the whole exposure:
    ``120 nM, pulses: 3 x 8 h every 16 h``.
    """
    if name == WHOLE:
        return f"{dose_nm:g} nM"
    words = schedule_words(schedules[name]) if name in schedules else ""
    return f"{dose_nm:g} nM, {name}" + (f": {words}" if words else "")

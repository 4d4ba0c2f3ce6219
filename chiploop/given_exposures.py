"""What chips have got so far as doses for so many hours: a dose is a step up from what was given as long.

Belongs here: hours of drug in what chips really got. Not here: rules (safety_rules, toxicity_closures), pumps.

A short dose says nothing of a long one: what was read of 8 h at 500 nM does not let 500 nM be given for 48 h.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chiploop.dosing import MAX_DOSE_DEVIATION, MAX_END_DEVIATION, ChipSchedule

HOURS_SLACK = 2.0 * MAX_END_DEVIATION
"""Share by which rounding may shorten what was to be given as long."""


@dataclass(frozen=True)
class GivenExposure:
    """A dose that a chip got."""

    dose_nm: float
    hours: float
    """With at least this dose, but for rounding, within one exposure's length."""


def given_exposures(
    schedules: Iterable[ChipSchedule], exposure_h: float
) -> frozenset[GivenExposure]:
    """Return every dose above zero of these chips, each with the most hours of it within one exposure's length."""
    found = set()
    for schedule in schedules:
        for nm in {one.drug_nm for one in schedule.segments if one.drug_nm > 0.0}:
            own = [
                one for one in schedule.segments if one.drug_nm >= nm * (1.0 - MAX_DOSE_DEVIATION)
            ]
            most_h = max(
                sum(
                    max(0.0, min(one.end_h, begin.start_h + exposure_h) - one.start_h)
                    for one in own
                    if one.start_h >= begin.start_h
                )
                for begin in own
            )
            found.add(GivenExposure(nm, most_h))
    return frozenset(found)


def highest_as_long(given: Iterable[GivenExposure], drug_h: float) -> float | None:
    """Return the highest dose that was given for at least so many hours; None where none was."""
    return max(
        (one.dose_nm for one in given if one.hours >= drug_h * (1.0 - HOURS_SLACK)), default=None
    )

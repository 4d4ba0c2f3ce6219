"""Candidates by their dose: the nearest allowed one, and the span of what is allowed.

Belongs here: what policies without a measure share. Not here: any of them.

A dose that is asked for without a schedule is one for as long as can be: the whole exposure, where the study has
that, and in the usual stimulus.
"""

from __future__ import annotations

import numpy as np

from chiploop.policies.prediction_table import PredictionTable
from chiploop.study_schedules import STIMULUS

_SLACK_H = 1e-9


def longest(table: PredictionTable, line: int) -> np.ndarray:
    """Return the indices of a line's allowed candidates in the usual stimulus without drug, or with drug for as
    long as any candidate of the line; all allowed ones where that leaves none.
    """
    options = table.options()[line]
    hours = np.array([programme.drug_h for programme in table.programmes[line]])
    is_usual = np.array([programme.arm == STIMULUS for programme in table.programmes[line]])
    longest_h = hours[is_usual].max(initial=0.0)
    is_long = (hours >= longest_h - _SLACK_H) | (table.dose_nm(line) == 0.0)
    own = options[(is_usual & is_long)[options]]
    return own if own.size else options


def nearest(table: PredictionTable, line: int, dose_nm: float) -> int:
    """Return the ``longest`` candidate of a line whose dose is nearest, the first of equals.

    Doses are compared by their logarithm; 0 is the vehicle, or the lowest dose where it is not allowed, and the
    vehicle is near to nothing else as long as a dose is allowed.
    """
    options = longest(table, line)
    return int(options[nearest_of(table.dose_nm(line)[options], dose_nm)])


def nearest_of(doses_nm: np.ndarray, dose_nm: float) -> int:
    """Return the place in doses (k,) of the one that is nearest, as ``nearest`` compares them."""
    if dose_nm <= 0.0 or not (doses_nm > 0.0).any():
        return int(np.argmin(doses_nm))
    with np.errstate(divide="ignore"):
        return int(np.argmin(np.abs(np.log(doses_nm) - np.log(dose_nm))))


def span_nm(table: PredictionTable, line: int) -> tuple[float, float] | None:
    """Return the lowest and highest dose above 0 of a line's ``longest`` candidates; None where there is only the
    vehicle.
    """
    doses = table.dose_nm(line)[longest(table, line)]
    above = doses[doses > 0.0]
    return (float(above.min()), float(above.max())) if above.size else None

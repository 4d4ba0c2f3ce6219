"""Candidates by their dose: the nearest allowed one, and the span of what is allowed.

Belongs here: what policies without a measure share. Not here: any of them.
"""

from __future__ import annotations

import numpy as np

from chiploop.policies.prediction_table import PredictionTable


def nearest(table: PredictionTable, line: int, dose_nm: float) -> int:
    """Return the allowed candidate of a line whose dose is nearest, the first of equals.

    Doses are compared by their logarithm; 0 is the vehicle, or the lowest dose where it is not allowed, and the
    vehicle is near to nothing else as long as a dose is allowed.
    """
    options = table.options()[line]
    return int(options[nearest_of(table.dose_nm(line)[options], dose_nm)])


def nearest_of(doses_nm: np.ndarray, dose_nm: float) -> int:
    """Return the place in doses (k,) of the one that is nearest, as ``nearest`` compares them."""
    if dose_nm <= 0.0 or not (doses_nm > 0.0).any():
        return int(np.argmin(doses_nm))
    with np.errstate(divide="ignore"):
        return int(np.argmin(np.abs(np.log(doses_nm) - np.log(dose_nm))))


def span_nm(table: PredictionTable, line: int) -> tuple[float, float] | None:
    """Return a line's lowest and highest allowed dose above 0; None where only the vehicle is allowed."""
    doses = table.dose_nm(line)[table.options()[line]]
    above = doses[doses > 0.0]
    return (float(above.min()), float(above.max())) if above.size else None

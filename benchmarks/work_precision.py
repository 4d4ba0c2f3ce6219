"""What can be said of solvers at equal error: pure functions of (tolerance, error, rate).

Belongs here: the loosest tolerance that meets an error, the rate at exactly an error, slopes. Not here: solvers,
clocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Point:
    """One solver at one tolerance."""

    rtol: float
    largest_error: float
    error_99: float
    """The error that 99 % of the readouts stay below."""
    per_s: float
    """Trajectories per second of processor time of one core."""
    per_s_of_wall: float = 0.0
    """The same by the clock on the wall; less where the machine is busy with something else."""


def errors(found: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Return the largest and the 99th percentile of a readout's error (..., readouts).

    An error is relative to the value's size and a thousandth of its readout's range, so that a readout that
    happens to be near zero does not decide; a readout that the reference has and ``found`` has not is infinite.
    """
    span = np.nanmax(reference, axis=(0, 1, 2)) - np.nanmin(reference, axis=(0, 1, 2))
    relative = np.abs(found - reference) / (np.abs(reference) + 1e-3 * span)
    wanted = np.isfinite(reference)
    here = np.where(np.isfinite(relative), relative, math.inf)[wanted]
    return float(here.max()), float(np.sort(here)[min(len(here) - 1, int(0.99 * len(here)))])


def loosest_within(points: Sequence[Point], error: float) -> Point | None:
    """Return the loosest tolerance from which on, tighter and tighter, the largest error is met."""
    found = None
    for point in sorted(points, key=lambda p: p.rtol):
        if not point.largest_error <= error:
            break
        found = point
    return found


def rate_at(points: Sequence[Point], error: float) -> float | None:
    """Return the rate at exactly an error, on a line between neighbours in log error and log rate.

    The neighbours are the loosest tolerance within the error and the next looser one. None where one of the two
    was not run: what lies outside is not guessed.
    """
    inside = loosest_within(points, error)
    if inside is None:
        return None
    looser = [p for p in sorted(points, key=lambda p: p.rtol) if p.rtol > inside.rtol]
    if inside.largest_error == error:
        return inside.per_s
    if not looser or not math.isfinite(looser[0].largest_error):
        return None
    outside = looser[0]
    share = math.log(error / inside.largest_error) / math.log(
        outside.largest_error / inside.largest_error
    )
    return math.exp(
        math.log(inside.per_s) + share * (math.log(outside.per_s) - math.log(inside.per_s))
    )


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the slope of log y over log x by least squares."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])

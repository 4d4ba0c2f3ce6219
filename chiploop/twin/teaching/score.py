"""What a played case was worth.

Belongs here: points from values. Not here: simulating (paths), reading answers (play).

    outcome     = 100 (1 - (best - yours)/max(best - worst, 20)), each the worth of a whole plan in this patient
    calibration = 100 mean of 1 - (stated probability - what happened)^2          (Brier; best by honesty alone)
    tests       = 100 - cost of what was ordered
    score       = 0.60 outcome + 0.25 calibration + 0.15 tests
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chiploop.twin.teaching.rules import SMALLEST_RANGE, WEIGHTS


@dataclass(frozen=True)
class Score:
    """Points, each from 0 to 100."""

    outcome: float
    calibration: float
    tests: float

    @property
    def total(self) -> float:
        """The weighed mean."""
        return sum(weight * float(getattr(self, part)) for part, weight in WEIGHTS.items())


def outcome_points(yours: float, best: float, worst: float) -> float:
    """Return the points of a plan between the worst and the best that there is."""
    return max(0.0, 100.0 * (1.0 - (best - yours) / max(best - worst, SMALLEST_RANGE)))


def calibration_points(stated: Sequence[float], happened: Sequence[bool]) -> float:
    """Return the points of probabilities that were stated."""
    missed = [(p - float(h)) ** 2 for p, h in zip(stated, happened, strict=True)]
    return 100.0 * (1.0 - sum(missed) / len(missed))


def score_of(
    yours: float,
    best: float,
    worst: float,
    stated: Sequence[float],
    happened: Sequence[bool],
    cost: float,
) -> Score:
    """Return the points of a case."""
    return Score(
        outcome_points(yours, best, worst),
        calibration_points(stated, happened),
        max(0.0, 100.0 - cost),
    )

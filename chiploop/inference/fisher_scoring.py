"""Many climbs to maxima of a log-likelihood at once, by damped Fisher scoring within bounds.

Belongs here: the points of all climbs, and their turns. Not here: one climb's damping and end (climber), what a
log-likelihood is made of; the target does that, for all climbs in one call. For noise of known size this is the
Levenberg-Marquardt method.

Parameters come in units in which one is a large step (a power of ten, a tenth of the allowed range).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from chiploop.inference.climber import CONVERGED, NO_SLOPE, Climber, Rules, View


class Slopes(Protocol):
    """What a climb needs to know of n points."""

    @property
    def gradient(self) -> np.ndarray:
        """(n, p)"""

    @property
    def curvature(self) -> np.ndarray:
        """(n, p, p) how far the log-likelihood bends down, positive; mostly the Fisher information."""


class Target(Protocol):
    """A log-likelihood, or a log posterior, of many parameter sets."""

    def log_density(self, parameters: np.ndarray) -> np.ndarray:
        """Return (n,) for parameters (n, p): log-likelihood or log posterior, up to a constant; minus infinity
        where there is none."""

    def slopes(self, parameters: np.ndarray) -> Slopes:
        """Return derivatives at parameters (n, p); NaN where there are none."""


@dataclass(frozen=True)
class Climbs:
    """Where n climbs ended."""

    parameters: np.ndarray
    """(n, p)"""
    log_density: np.ndarray
    """(n,)"""
    gradient: np.ndarray
    """(n, p); NaN where a climb could not begin."""
    iterations: np.ndarray
    """(n,) steps tried."""
    reasons: tuple[str, ...]
    """Why each ended."""

    @property
    def converged(self) -> np.ndarray:
        """(n,) whether nothing was left to gain."""
        return np.array([reason == CONVERGED for reason in self.reasons], dtype=bool)


def climb(
    target: Target,
    parameters: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    rules: Rules,
) -> Climbs:
    """Return the maxima that climbs from parameters (n, p) within bounds, (p,) or (n, p), come to.

    A parameter with equal bounds stays. A step to where there is no log-likelihood, or no derivatives, is one
    that gains nothing. No climb hears of the others.
    """
    here = parameters.copy()
    n, p = here.shape
    lower, upper = np.broadcast_to(lower, (n, p)), np.broadcast_to(upper, (n, p))
    height = target.log_density(here)
    climbers = [Climber(rules, p) for _ in range(n)]
    views: dict[int, View] = {}

    def look(rows: np.ndarray, at: np.ndarray) -> dict[int, View]:
        """Return what is seen at these rows' points, where there is anything to see."""
        slopes = target.slopes(at)
        return {
            int(row): View(slopes.gradient[i], slopes.curvature[i])
            for i, row in enumerate(rows)
            if np.isfinite(slopes.gradient[i]).all() and np.isfinite(slopes.curvature[i]).all()
        }

    going = np.flatnonzero(np.isfinite(height))
    if going.size:
        views = look(going, here[going])
    for row in set(range(n)) - views.keys():
        climbers[row].reason = NO_SLOPE
    while True:
        for row in [row for row in range(n) if not climbers[row].reason]:
            climbers[row].choose(views[row], lower[row] - here[row], upper[row] - here[row])
        going = np.array([row for row in range(n) if not climbers[row].reason], dtype=int)
        if not going.size:
            break
        steps = np.array([climbers[row].step for row in going])
        there = np.clip(here[going] + steps, lower[going], upper[going])
        found = target.log_density(there)
        is_higher = found > height[going]
        seen = look(going[is_higher], there[is_higher]) if is_higher.any() else {}
        for row, point, new in zip(going.tolist(), there, found, strict=True):
            if row not in seen:
                climbers[row].refuse()
                continue
            climbers[row].take(new - height[row], point - here[row], views[row], seen[row])
            here[row], height[row], views[row] = point, new, seen[row]
    gradient = np.full((n, p), np.nan)
    for row, view in views.items():
        gradient[row] = view.gradient
    iterations = np.array([each.iterations for each in climbers], dtype=int)
    return Climbs(here, height, gradient, iterations, tuple(each.reason for each in climbers))

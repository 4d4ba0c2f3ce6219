"""The best step of a quadratic model within a box.

Belongs here: one small convex problem with bounds, solved exactly. Not here: where the model comes from and
whether the step is taken (fisher_scoring).
"""

from __future__ import annotations

import numpy as np

TOLERANCE = 1e-12
"""A multiplier this much smaller than the largest slope counts as zero."""


def box_step(
    gradient: np.ndarray, curvature: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> np.ndarray:
    """Return the step s (p,) that makes ``gradient s - s curvature s / 2`` largest with lower <= s <= upper.

    A primal active-set method: from the step of nothing towards the best step of the free parameters, up to the
    first bound, which then holds; where no bound is in the way, the one that pulls back most is let go. The gain
    grows with every round, so no set of bounds comes twice.

    Parameters
    ----------
    curvature : (p, p)
        Positive definite.
    lower, upper : (p,)
        lower <= 0 <= upper; a parameter with both 0 stays.
    """
    step = np.zeros_like(gradient)
    slope = gradient.copy()
    held = ((lower == 0.0) & (slope <= 0.0)) | ((upper == 0.0) & (slope >= 0.0))
    is_fixed = upper <= lower
    slack = TOLERANCE * max(float(np.abs(gradient).max(initial=0.0)), 1e-300)
    for _ in range(20 * len(step) + 20):
        free = np.flatnonzero(~held)
        if free.size:
            move = np.linalg.solve(curvature[free[:, None], free], slope[free])
            with np.errstate(divide="ignore", invalid="ignore"):
                room = np.where(move > 0, upper[free] - step[free], lower[free] - step[free]) / move
            room = np.where(move == 0.0, np.inf, room)
            first = int(np.argmin(room))
            step[free] += min(1.0, max(0.0, room[first])) * move
            if room[first] < 1.0:
                at = free[first]
                step[at] = upper[at] if move[first] > 0 else lower[at]
                held[at] = True
            slope = gradient - curvature @ step
            if room[first] < 1.0:
                continue
        # slope points inwards: the bound does not hold by itself
        pull = np.where(step >= upper, -slope, np.where(step <= lower, slope, -np.inf))
        pull[~held | is_fixed] = -np.inf
        at = int(np.argmax(pull))
        if not pull[at] > slack:
            return step
        held[at] = False
    return step

"""Nonlinear least squares from several starts, carried on until the digits stand still.

Belongs here: the search for the minimum of a sum of squares, whatever the curve. Not here: curves,
weights, what a standard error means.

Each start is searched by a trust region (scipy, ``trf``) in coordinates scaled by the columns of the
Jacobian; ``lm`` can end in another minimum (NIST BoxBOD). The best end is then carried on by
Gauss-Newton steps on the QR factors of the scaled Jacobian, which forms no J'J and so keeps the
digits of ill-conditioned problems.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

Vector = Callable[[np.ndarray], np.ndarray]

POLISHING_STEPS = 30
SETTLED = 1e-13
"""Of the length of a Gauss-Newton step over that of the parameters, both in scaled coordinates."""
TOLERANCE = 1e-10
"""Of the trust region; what is left is taken by the polishing."""


@dataclass(frozen=True)
class LeastSquaresEnd:
    """Where the search for the least sum of squares ended."""

    parameters: np.ndarray
    """(n_parameters,)"""
    sum_of_squares: float
    jacobian: np.ndarray
    """(n_points, n_parameters) of the residuals, at the end."""
    starts_at_best: int
    """How many starts ended at this sum of squares, to 1e-6 of it."""


def minimise(
    residuals: Vector,
    jacobian: Vector,
    starts: Sequence[np.ndarray],
    bounds: tuple[np.ndarray, np.ndarray] | None = None,
    max_evaluations: int = 400,
) -> LeastSquaresEnd | None:
    """Return the lowest end of all starts, None where none is finite.

    Parameters
    ----------
    residuals : parameters (n_parameters,) to weighted residuals (n_points,).
    jacobian : parameters to the residuals' derivatives (n_points, n_parameters).
    bounds : lower and upper; a polishing step that would leave them is not made.
    """
    ends = []
    for start in starts:
        end = _search(residuals, jacobian, np.asarray(start, float), bounds, max_evaluations)
        if end is not None:
            ends.append(end)
    if not ends:
        return None
    parameters, cost = min(ends, key=lambda end: end[1])
    at_best = sum(other <= cost * (1.0 + 1e-6) + 1e-300 for _, other in ends)
    parameters = refine(residuals, jacobian, parameters, bounds)
    left = residuals(parameters)
    return LeastSquaresEnd(parameters, float(left @ left), jacobian(parameters), at_best)


def _search(
    residuals: Vector,
    jacobian: Vector,
    start: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray] | None,
    max_evaluations: int,
) -> tuple[np.ndarray, float] | None:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            result = least_squares(
                residuals,
                start,
                jac=jacobian,
                method="trf",
                x_scale="jac",
                bounds=bounds if bounds is not None else (-np.inf, np.inf),
                xtol=TOLERANCE,
                ftol=TOLERANCE,
                gtol=TOLERANCE,
                max_nfev=max_evaluations,
            )
        except (ValueError, np.linalg.LinAlgError):
            return None  # not finite at the start, or on the way
    finite = bool(np.all(np.isfinite(result.x))) and np.isfinite(result.cost)
    return (result.x, 2.0 * float(result.cost)) if finite else None


def refine(
    residuals: Vector,
    jacobian: Vector,
    parameters: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray] | None = None,
    steps: int = POLISHING_STEPS,
) -> np.ndarray:
    """Return parameters carried on by Gauss-Newton steps from close to a minimum."""
    with np.errstate(all="ignore"):
        left = residuals(parameters)
        cost = float(left @ left)
        for _ in range(steps):
            slope = jacobian(parameters)
            lengths = np.linalg.norm(slope, axis=0)
            if not np.all(lengths > 0.0) or not np.all(np.isfinite(slope)):
                break
            scaled, *_ = np.linalg.lstsq(slope / lengths, -left, rcond=None)
            step = scaled / lengths
            # A curved problem overshoots: half a step may still fall.
            for _ in range(8):
                trial = parameters + step
                if _is_inside(trial, bounds):
                    left_there = residuals(trial)
                    there = float(left_there @ left_there)
                    # The sum of squares is flat at its minimum and known to rounding only.
                    if there <= cost * (1.0 + 1e-13):
                        break
                step = step / 2.0
            else:
                break
            parameters, left, cost = trial, left_there, min(there, cost)
            if np.linalg.norm(step * lengths) <= SETTLED * np.linalg.norm(parameters * lengths):
                break
    return parameters


def _is_inside(point: np.ndarray, bounds: tuple[np.ndarray, np.ndarray] | None) -> bool:
    if bounds is None:
        return bool(np.all(np.isfinite(point)))
    return bool(np.all(point > bounds[0]) and np.all(point < bounds[1]))

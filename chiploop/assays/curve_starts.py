"""Where the search for a logistic curve begins: the plate's own quantiles.

Belongs here: starting points. Not here: the search.

Location, hill and asymmetry come from a small grid over the plate's own concentrations; the
asymptotes of each are then linear and are solved for. The best few of the grid are searched from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from chiploop.assays.logistic_curve import ASYMMETRY, HILL, LOCATION, LOWER, UPPER, full_vector

QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Of the ln concentrations; one location farther out on each side besides."""
HILLS = (0.6, 1.0, 1.8, 4.0)
ASYMMETRIES = (0.35, 1.0, 3.0)
BEST_STARTS = 3


def direction_of(x: np.ndarray, y: np.ndarray) -> int:
    """Return 1 for signals that rise with concentration, -1 for falling ones."""
    levels = np.unique(x)
    means = np.array([float(np.mean(y[x == level])) for level in levels])
    # Ranks: neither one wild level nor a long flat end decides.
    ranks = np.argsort(np.argsort(means))
    return 1 if float(np.dot(ranks - ranks.mean(), np.arange(len(levels)))) >= 0.0 else -1


def starting_points(
    x: np.ndarray,
    y: np.ndarray,
    sd: np.ndarray,
    free: tuple[int, ...],
    held: Mapping[int, float],
    direction: int,
) -> list[np.ndarray]:
    """Return up to three starting points of the free parameters, far from each other."""
    grid = _grid(x, free, held)
    rise = _rises(x, grid, direction)
    asymptotes, costs = _asymptotes(y, sd, rise, free, held)
    full = np.column_stack([asymptotes, grid])
    chosen: list[np.ndarray] = []
    for place in np.argsort(costs):
        if not np.isfinite(costs[place]):
            break
        if all(np.max(np.abs(full[place, 2:] - other[2:])) > 0.5 for other in chosen):
            chosen.append(full[place])
        if len(chosen) == BEST_STARTS:
            break
    return [point[list(free)] for point in chosen]


def _grid(x: np.ndarray, free: tuple[int, ...], held: Mapping[int, float]) -> np.ndarray:
    """Return (k, 3) of ln location, ln hill, ln asymmetry."""
    finite = np.unique(x[np.isfinite(x)])
    inner = [float(one) for one in np.quantile(finite, QUANTILES)]
    ends = [float(finite[0]) - 1.0, float(finite[-1]) + 1.0]
    rest = full_vector(np.empty(0), (), held)
    axes = [
        inner + ends if LOCATION in free else [float(rest[LOCATION])],
        [math.log(one) for one in HILLS] if HILL in free else [float(rest[HILL])],
        [math.log(one) for one in ASYMMETRIES] if ASYMMETRY in free else [float(rest[ASYMMETRY])],
    ]
    return np.array(np.meshgrid(*axes, indexing="ij")).reshape(3, -1).T


def _rises(x: np.ndarray, grid: np.ndarray, direction: int) -> np.ndarray:
    """Return (k, n) of the curves between 0 and 1."""
    finite = np.isfinite(x)
    steps = np.where(finite, x, 0.0)[None, :] - grid[:, :1]
    u = np.where(finite, direction * np.exp(grid[:, 1:2]) * steps, direction * x)
    return np.exp(-np.exp(grid[:, 2:]) * np.logaddexp(0.0, -u))


def _asymptotes(
    y: np.ndarray,
    sd: np.ndarray,
    rise: np.ndarray,
    free: tuple[int, ...],
    held: Mapping[int, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Return (k, 2) best lower and upper of each curve and (k,) sums of squares, inf where upside down."""
    weight = 1.0 / sd**2
    rest = full_vector(np.empty(0), (), held)
    low, high = 1.0 - rise, rise  # what lower and upper are multiplied with
    a = np.sum(weight * low * low, axis=1)
    b = np.sum(weight * low * high, axis=1)
    c = np.sum(weight * high * high, axis=1)
    p = np.sum(weight * low * y, axis=1)
    q = np.sum(weight * high * y, axis=1)
    with np.errstate(all="ignore"):
        if LOWER in free and UPPER in free:
            determinant = a * c - b * b
            lower, upper = (c * p - b * q) / determinant, (a * q - b * p) / determinant
        elif UPPER in free:
            lower = np.full(len(rise), rest[LOWER])
            upper = (q - b * lower) / c
        elif LOWER in free:
            upper = np.full(len(rise), rest[UPPER])
            lower = (p - b * upper) / a
        else:
            lower, upper = np.full(len(rise), rest[LOWER]), np.full(len(rise), rest[UPPER])
        cost = np.sum(weight * (lower[:, None] * low + upper[:, None] * high - y) ** 2, axis=1)
    good = np.isfinite(cost) & (upper > lower)
    return np.column_stack([lower, upper]), np.where(good, cost, np.inf)

"""Concentration of a sample from its mean signal, with its interval: inversion, profile or delta.

Belongs here: reading a fitted curve backwards. Not here: fitting, limits of quantification, dilution.

With y the mean of m wells, f the curve, s g(f) the sd of one well and C the curve's covariance, the
inversion interval holds every concentration c that the signal does not speak against:

    (y - f(c))^2  <=  t^2 [ s^2 g(f(c))^2 / m  +  J(c)' C J(c) ]

It has no root where the curve is too flat to tell: there it is open, down to 0 or up to infinity.
The profile interval lets the curve move with c instead of taking it straight around its best fit:

    min over curves of  S + m (y - f(c))^2 / g(f(c))^2   <=   S_min + t^2 s^2

The delta interval, ln c -+ t sd, is what other programs print. It takes the inverse curve straight and
holds too little at the lowest standards.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.stats import t as student

from chiploop.assays.curve_fit import CurveFit
from chiploop.assays.logistic_curve import full_vector, value_and_jacobian
from chiploop.assays.nonlinear_fit import refine

IntervalKind = Literal["inversion", "profile", "delta"]

BEYOND = math.log(1e4)
"""How far beyond the standards a root is looked for; farther out the interval counts as open."""
GRID = 241


@dataclass(frozen=True)
class InverseEstimate:
    """A concentration in the well with its interval; not corrected for dilution."""

    ln_concentration: float
    """-inf or inf where the signal lies at or beyond an asymptote."""
    sd_ln: float
    """By the delta method; inf beyond an asymptote."""
    lower: float
    """0 where the interval is open downwards."""
    upper: float
    """inf where it is open upwards."""
    kind: IntervalKind
    level: float

    @property
    def concentration(self) -> float:
        """The estimate; 0 or inf beyond an asymptote."""
        return _exp(self.ln_concentration)


def _exp(x: float) -> float:
    return math.exp(x) if x < 700.0 else math.inf


def inverse_estimate(
    fit: CurveFit,
    mean_signal: float,
    n_wells: int = 1,
    level: float = 0.95,
    kind: IntervalKind = "inversion",
    well_sd: float | None = None,
) -> InverseEstimate:
    """Return the concentration at a mean signal with its interval.

    Parameters
    ----------
    fit : a good fit, with at least one degree of freedom.
    n_wells : replicates behind the mean.
    well_sd : of one well, where the replicates' own scatter takes the place of the curve's noise.

    Raises
    ------
    ValueError : a failed fit, or a level that is none.
    """
    if fit.failure:
        raise ValueError(f"a fit that failed gives no concentrations: {fit.failure}")
    if not (0.0 < level < 1.0 and n_wells >= 1 and math.isfinite(mean_signal)):
        raise ValueError(
            f"level {level}, {n_wells} wells, signal {mean_signal}: a level between 0 and 1, at "
            "least one well and a finite signal are needed"
        )
    reach = float(student.ppf(0.5 + level / 2.0, fit.degrees_of_freedom))
    x = fit.curve.ln_concentration(mean_signal)
    sd = sd_ln_at(fit, mean_signal, n_wells, well_sd)
    if kind == "delta":
        ends = (x - reach * sd, x + reach * sd) if math.isfinite(sd) else (-math.inf, math.inf)
    else:
        against = _against(fit, mean_signal, n_wells, reach, well_sd)
        ends = _region(fit, against, x)
        if kind == "profile":
            ends = _profile_ends(fit, mean_signal, n_wells, reach, well_sd, x, ends)
    return InverseEstimate(x, sd, _exp(ends[0]), _exp(ends[1]), kind, level)


def sd_ln_at(fit: CurveFit, signal: float, n_wells: int, well_sd: float | None = None) -> float:
    """Return the sd of ln concentration by the delta method, noise of wells and of the curve."""
    if not fit.curve.lower < signal < fit.curve.upper:
        return math.inf
    by_signal, by_parameters = fit.curve.ln_concentration_gradient(signal)
    well = fit.signal_sd(signal) if well_sd is None else well_sd
    shared = float(by_parameters @ fit.covariance @ by_parameters)
    return math.sqrt((by_signal * well) ** 2 / n_wells + shared)


def _against(
    fit: CurveFit, y: float, n_wells: int, reach: float, well_sd: float | None
) -> Callable[[np.ndarray], np.ndarray]:
    """Return x -> how far the signal lies outside of what x would give; negative inside."""

    def against(x: np.ndarray) -> np.ndarray:
        value, jacobian = value_and_jacobian(
            fit.curve.parameters, np.asarray(x, float), fit.curve.direction
        )
        well = (
            fit.residual_scale * fit.weighting.sd(value, fit.highest)
            if well_sd is None
            else np.full(np.shape(value), well_sd)
        )
        curve = np.einsum("...i,ij,...j->...", jacobian, fit.covariance, jacobian)
        return (y - value) ** 2 - reach**2 * (well**2 / n_wells + curve)

    return against


def _region(
    fit: CurveFit, against: Callable[[np.ndarray], np.ndarray], x: float
) -> tuple[float, float]:
    """Return the ends of the region around x where ``against`` is negative."""
    finite = fit.x[np.isfinite(fit.x)]
    low, high = float(finite.min()) - BEYOND, float(finite.max()) + BEYOND
    grid = np.linspace(low, high, GRID)
    if math.isfinite(x):
        grid = np.sort(np.append(np.clip(grid, min(low, x), max(high, x)), x))
    inside = against(grid) < 0.0
    at = int(np.searchsorted(grid, x)) if math.isfinite(x) else (0 if x < 0 else len(grid) - 1)
    if not inside[at]:
        # Beyond an asymptote by more than noise: no concentration is in keeping with the signal.
        return (-math.inf, float(grid[0])) if x < 0 else (float(grid[-1]), math.inf)
    left = at
    while left > 0 and inside[left - 1]:
        left -= 1
    right = at
    while right < len(grid) - 1 and inside[right + 1]:
        right += 1

    def root(a: float, b: float) -> float:
        return float(brentq(lambda one: float(against(np.asarray(one))), a, b, xtol=1e-9))

    lower = -math.inf if left == 0 else root(grid[left - 1], grid[left])
    upper = math.inf if right == len(grid) - 1 else root(grid[right], grid[right + 1])
    return lower, upper


def _profile_ends(
    fit: CurveFit,
    y: float,
    n_wells: int,
    reach: float,
    well_sd: float | None,
    x: float,
    near: tuple[float, float],
) -> tuple[float, float]:
    """Return the ends of the profile region, looked for outwards from x past the inversion's ends."""
    places = list(fit.free)
    held = {i: float(fit.curve.parameters[i]) for i in range(5) if i not in fit.free}
    best = fit.curve.parameters[places]
    allowed = fit.rss + reach**2 * fit.residual_scale**2

    def excess(at: float) -> float:
        mean = float(fit.curve.signal_at(at))
        well = (
            fit.weighting.sd(mean, fit.highest) if well_sd is None else well_sd / fit.residual_scale
        )
        points = np.append(fit.x, at)
        signals = np.append(fit.y, y)
        sd = np.append(fit.sd, float(well) / math.sqrt(n_wells))

        def both(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            value, jacobian = value_and_jacobian(
                full_vector(p, fit.free, held), points, fit.curve.direction
            )
            return (value - signals) / sd, jacobian[:, places] / sd[:, None]

        there = refine(lambda p: both(p)[0], lambda p: both(p)[1], best)
        return float(np.sum(both(there)[0] ** 2)) - allowed

    finite = fit.x[np.isfinite(fit.x)]
    limits = float(finite.min()) - BEYOND, float(finite.max()) + BEYOND
    inner = min(max(x, limits[0]), limits[1])
    if not excess(inner) < 0.0:
        return near
    ends = []
    for limit, guess in zip(limits, near, strict=True):
        step = max(abs(guess - inner), 0.05) if math.isfinite(guess) else abs(limit - inner) / 8.0
        inside, outside = inner, inner
        while True:
            sign = 1.0 if limit > inner else -1.0
            outside = inside + sign * step * 1.1
            if sign * (outside - limit) >= 0.0:
                outside = limit
            if excess(outside) >= 0.0:
                ends.append(float(brentq(excess, inside, outside, xtol=1e-7)))
                break
            if outside == limit:
                ends.append(math.copysign(math.inf, sign))
                break
            inside = outside
    return ends[0], ends[1]


def inversion_intervals(
    fit: CurveFit, mean_signals: np.ndarray, n_wells: int = 1, level: float = 0.95
) -> np.ndarray:
    """Return (n, 3) estimate, lower and upper of many samples on one curve, as by ``inverse_estimate``.

    The curve is laid out once and the ends are found by bisection side by side: of a plate's samples
    this takes a hundredth of the time.
    """
    if fit.failure:
        raise ValueError(f"a fit that failed gives no concentrations: {fit.failure}")
    y = np.asarray(mean_signals, dtype=float)
    reach = float(student.ppf(0.5 + level / 2.0, fit.degrees_of_freedom))
    finite = fit.x[np.isfinite(fit.x)]
    grid = np.linspace(float(finite.min()) - BEYOND, float(finite.max()) + BEYOND, GRID)

    def against(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, jacobian = value_and_jacobian(fit.curve.parameters, x, fit.curve.direction)
        well = fit.residual_scale * fit.weighting.sd(value, fit.highest)
        curve = np.einsum("...i,ij,...j->...", jacobian, fit.covariance, jacobian)
        return value, reach**2 * (well**2 / n_wells + curve)

    value, allowed = against(grid)
    inside = (y[:, None] - value) ** 2 < allowed
    x = np.array([fit.curve.ln_concentration(float(one)) for one in y])
    ends = np.empty((y.size, 2))
    for side, sign in enumerate((-1, 1)):
        # From x outwards: the last point of the grid on this side that is still inside.
        begun = np.searchsorted(grid, x, side="left" if sign > 0 else "right") - (sign < 0)
        begun = np.clip(begun, 0, GRID - 1)
        near, far = x.copy(), np.full(y.size, sign * math.inf)
        for i in range(y.size):
            run = inside[i, begun[i] :] if sign > 0 else inside[i, : begun[i] + 1][::-1]
            out = int(np.argmin(run)) if not run.all() else -1
            if out >= 0:
                far[i] = grid[begun[i] + sign * out]
                if out > 0:
                    near[i] = grid[begun[i] + sign * (out - 1)]
        found = np.isfinite(far) & np.isfinite(near)
        a, b = near[found], far[found]
        for _ in range(45):
            middle = 0.5 * (a + b)
            there, room = against(middle)
            is_in = (y[found] - there) ** 2 < room
            a, b = np.where(is_in, middle, a), np.where(is_in, b, middle)
        ends[:, side] = np.where(np.isfinite(far), near, far)
        ends[found, side] = a
    # At or beyond an asymptote there is no inside to go outwards from: one by one.
    for i in np.flatnonzero(~np.isfinite(x)).tolist():
        one = inverse_estimate(fit, float(y[i]), n_wells, level)
        ends[i] = [
            math.log(one.lower) if one.lower > 0.0 else -math.inf,
            math.log(one.upper) if one.upper < math.inf else math.inf,
        ]
    with np.errstate(over="ignore"):
        return np.exp(np.column_stack([x, ends]))

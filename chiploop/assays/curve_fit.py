"""Fits a logistic curve to calibrators: weights, standard errors, and which model the data bear.

Belongs here: one curve from concentrations and signals, theirs and their uncertainty. Not here: the
curve itself (logistic_curve), the search (nonlinear_fit), weights (curve_weights), pooling over
plates (pooled_curves), concentrations of samples (inverse_estimate).

Standard errors are s^2 (J'J)^-1, s^2 the weighted residual sum of squares over n - p; beside them
stand those of the observed Hessian, which R's drc prints and which differ by up to some 10 %. Both
hold the weights as they stand at the end; only where the weights are part of the objective J is that
of the objective's own residuals, as in R's nls.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from chiploop.assays.curve_starts import direction_of, starting_points
from chiploop.assays.curve_weights import PlateResiduals, Weighting
from chiploop.assays.logistic_curve import (
    ASYMMETRY,
    FREE,
    HILL,
    LOCATION,
    LOWER,
    UPPER,
    LogisticCurve,
    Model,
    full_vector,
    value_and_jacobian,
)
from chiploop.assays.nonlinear_fit import Vector, minimise, refine

EVEN = Weighting("none")
LARGEST_CONDITION = 1e10
"""Of the scaled J; beyond it the data do not tell the parameters apart."""
LARGEST_LN_HILL = 5.0
LEAST_RISE = 1e-9
"""Of the highest signal: less is a flat line."""
FARTHEST_LOCATION = math.log(1e4)
"""From the ends of the standards; what ends farther out ran away."""
LARGEST_SIGNAL = 1e30
"""No reader counts so far; beyond it squares leave what a computer can write."""
PASSES = 40
SAME_WEIGHTS = 1e-10


@dataclass(frozen=True)
class CurveFit:
    """A fitted curve with its uncertainty. A fit that failed has NaN parameters and says why."""

    model: Model
    curve: LogisticCurve
    free: tuple[int, ...]
    """Places of the fitted parameters in the curve's vector; the others are held."""
    covariance: np.ndarray
    """(5, 5) of the curve's vector by J'J; zero for what is held."""
    weighting: Weighting
    highest: float
    """Highest signal of the plate, which bounds weights from below."""
    x: np.ndarray
    """(n,) ln concentration of the points, -inf for blanks."""
    y: np.ndarray
    """(n,) signals."""
    sd: np.ndarray
    """(n,) relative sd of the points at the end."""
    rss: float
    """Weighted residual sum of squares."""
    degrees_of_freedom: int
    starts_at_best: int = 0
    """Starting points that ended in this minimum."""
    failure: str = ""
    """Empty where the fit is good."""

    @property
    def residual_scale(self) -> float:
        """s, what the weights' sd is multiplied with to match the residuals; sigma where they are 1."""
        return (
            math.sqrt(self.rss / self.degrees_of_freedom) if self.degrees_of_freedom else math.nan
        )

    @property
    def standard_errors(self) -> np.ndarray:
        """Return (5,) standard errors by J'J of the curve's vector."""
        return np.sqrt(np.diag(self.covariance))

    def signal_sd(self, signal: float) -> float:
        """Return the sd of one well at a signal."""
        return self.residual_scale * float(self.weighting.sd(signal, self.highest))

    @property
    def residuals(self) -> PlateResiduals:
        """Return what the fit leaves, for pooling the noise over plates."""
        fitted, jacobian = value_and_jacobian(self.curve.parameters, self.x, self.curve.direction)
        basis, _ = np.linalg.qr(jacobian[:, list(self.free)] / self.sd[:, None])
        # A point at the end of the standards pulls the curve to itself and leaves less than its noise.
        kept = np.maximum(1.0 - np.sum(basis**2, axis=1), 1e-3)
        return PlateResiduals(fitted, (self.y - fitted) / np.sqrt(kept), self.degrees_of_freedom)

    @property
    def aicc(self) -> float:
        """Return Akaike's criterion for small samples; inf where n leaves no room for it."""
        n, k = self.y.size, len(self.free) + 1
        if self.failure or n - k - 1 <= 0:
            return math.inf
        left = n * math.log(max(self.rss, 1e-300) / n) + 2.0 * float(np.sum(np.log(self.sd)))
        return left + 2.0 * k + 2.0 * k * (k + 1) / (n - k - 1)

    @cached_property
    def observed_covariance(self) -> np.ndarray:
        """(5, 5) by the observed Hessian; NaN where that is no minimum."""
        places = list(self.free)
        start = self.curve.parameters[places]
        held = {i: float(self.curve.parameters[i]) for i in range(5) if i not in self.free}

        def gradient(free: np.ndarray) -> np.ndarray:
            full = full_vector(free, self.free, held)
            value, jacobian = value_and_jacobian(full, self.x, self.curve.direction)
            return jacobian[:, places].T @ ((value - self.y) / self.sd**2)

        hessian = np.empty((len(places), len(places)))
        for i in range(len(places)):
            step = 1e-5 * max(abs(start[i]), 0.1 if places[i] > UPPER else 0.1 * self.highest)
            move = np.zeros(len(places))
            move[i] = step
            hessian[i] = (gradient(start + move) - gradient(start - move)) / (2.0 * step)
        covariance = np.zeros((5, 5))
        try:
            # Positive definite, or this point is no minimum.
            inverse = np.linalg.inv(np.linalg.cholesky(0.5 * (hessian + hessian.T)))
            covariance[np.ix_(places, places)] = self.residual_scale**2 * (inverse.T @ inverse)
        except np.linalg.LinAlgError:
            covariance[np.ix_(places, places)] = math.nan
        return covariance


def fit_curve(
    concentration: np.ndarray,
    signal: np.ndarray,
    model: Model = "4pl",
    weighting: Weighting = EVEN,
    held: Mapping[int, float] | None = None,
    start: CurveFit | None = None,
    passes: int = PASSES,
) -> CurveFit:
    """Return the weighted least-squares fit of a rising or falling curve.

    Parameters
    ----------
    concentration : (n,), zero for blanks, which inform an asymptote only.
    signal : (n,), finite.
    weighting : with its number known; relative, the scale of the noise is estimated.
    held : values of the full vector (by place) that are not fitted, on top of the model's own.
    start : a fit of the same points to go on from, in place of the plate's own quantiles.
    passes : most renewals of the weights; fewer than they need are no failure where fewer are asked for.

    Raises
    ------
    ValueError : shapes that differ, negative or non-finite values, weights with y <= 0 as observed.
    """
    x, y = _points(concentration, signal)
    held = dict(held or {})
    free = tuple(place for place in FREE[model] if place not in held)
    highest = float(np.max(y)) if y.size else math.nan
    failed = _failed(model, free, weighting, highest, x, y)
    if (
        np.unique(x).size < len(free)
        or np.unique(x[np.isfinite(x)]).size < 3
        or y.size <= len(free)
    ):
        return replace(
            failed,
            failure=f"{np.unique(x).size} levels and {y.size} points; a {model} of {len(free)} "
            f"parameters needs {max(len(free), 3)} levels and {len(free) + 1} points",
        )
    if float(np.max(np.abs(y))) > LARGEST_SIGNAL:
        told = f"a signal of {np.max(np.abs(y)):g}; up to {LARGEST_SIGNAL:g} are fitted"
        return replace(failed, failure=told)
    if weighting.taken_at == "observed" and weighting.shape != "none" and float(np.min(y)) <= 0.0:
        raise ValueError(
            f"weights by the observed signal need signals above 0; the lowest is {np.min(y):g}"
        )
    if highest <= 0.0 and weighting.shape in ("1/y2", "power"):
        return replace(
            failed,
            failure=f"weights {weighting.shape} need signals above 0; the highest is {highest:g}",
        )
    direction = direction_of(x, y)
    sd = weighting.sd(y, highest)
    problem = _Problem(x, y, free, held, direction)
    inside = None
    if start is not None and not start.failure and start.free == free:
        best, agreed = start.curve.parameters[list(free)], start.starts_at_best
        sd = weighting.sd(problem.value(best), highest) if weighting.taken_at == "fitted" else sd
        best = refine(problem.residuals(sd), problem.jacobian(sd), best)
    else:
        starts = starting_points(x, y, sd, free, held, direction)
        end = minimise(problem.residuals(sd), problem.jacobian(sd), starts) if starts else None
        if end is None:
            return replace(failed, failure="no starting point of the curve fit converged")
        best, agreed = end.parameters, end.starts_at_best
    if weighting.taken_at == "objective" and weighting.exponent:
        left, slope = problem.with_weights_inside(weighting, highest)
        end = minimise(left, slope, [best])
        if end is None:
            return replace(failed, failure="the fit with weights in the objective did not converge")
        best, inside = end.parameters, end.jacobian
        sd = weighting.sd(problem.value(best), highest)
    elif weighting.taken_at == "fitted" and weighting.shape != "none":
        for _ in range(passes):
            renewed = weighting.sd(problem.value(best), highest)
            change = float(np.max(np.abs(renewed / sd - 1.0)))
            sd = renewed
            best = refine(problem.residuals(sd), problem.jacobian(sd), best, steps=2)
            if change < SAME_WEIGHTS:
                break
        else:
            if change > 1e-5 and passes == PASSES:
                return replace(failed, failure="the reweighted curve fit did not converge")
    return _finished(failed, problem, best, sd, agreed, inside)


@dataclass(frozen=True)
class _Problem:
    """Residuals and derivatives of one model on one set of points."""

    x: np.ndarray
    y: np.ndarray
    free: tuple[int, ...]
    held: Mapping[int, float]
    direction: int

    def both(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        full = full_vector(parameters, self.free, self.held)
        value, jacobian = value_and_jacobian(full, self.x, self.direction)
        return value, jacobian[:, list(self.free)]

    def value(self, parameters: np.ndarray) -> np.ndarray:
        return self.both(parameters)[0]

    def residuals(self, sd: np.ndarray) -> Vector:
        return lambda p: (self.both(p)[0] - self.y) / sd

    def jacobian(self, sd: np.ndarray) -> Vector:
        return lambda p: self.both(p)[1] / sd[:, None]

    def with_weights_inside(self, weighting: Weighting, highest: float) -> tuple[Vector, Vector]:
        exponent = weighting.exponent

        def residuals(p: np.ndarray) -> np.ndarray:
            value = self.value(p)
            return (value - self.y) / weighting.sd(value, highest)

        def jacobian(p: np.ndarray) -> np.ndarray:
            value, slope = self.both(p)
            sd = weighting.sd(value, highest)
            return slope * (1.0 / sd - exponent * (value - self.y) / (sd * value))[:, None]

        return residuals, jacobian


def _points(concentration: np.ndarray, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    concentration = np.asarray(concentration, dtype=float)
    y = np.asarray(signal, dtype=float)
    if concentration.shape != y.shape or y.ndim != 1:
        raise ValueError(
            f"concentration {concentration.shape} and signal {y.shape} are not (n,) both"
        )
    if not (
        np.all(np.isfinite(y)) and np.all(np.isfinite(concentration)) and np.all(concentration >= 0)
    ):
        raise ValueError("concentrations must be finite and not negative, signals finite")
    with np.errstate(divide="ignore"):
        return np.log(concentration), y


def _finished(
    failed: CurveFit,
    problem: _Problem,
    best: np.ndarray,
    sd: np.ndarray,
    agreed: int,
    inside: np.ndarray | None,
) -> CurveFit:
    full = full_vector(best, problem.free, problem.held)
    finite = problem.x[np.isfinite(problem.x)]
    if (
        not np.all(np.isfinite(full))
        or full[UPPER] - full[LOWER] <= LEAST_RISE * abs(failed.highest)
        or max(abs(full[HILL]), abs(full[ASYMMETRY])) > LARGEST_LN_HILL
        or not finite.min() - FARTHEST_LOCATION < full[LOCATION] < finite.max() + FARTHEST_LOCATION
    ):
        return replace(failed, failure="the best curve runs away: the points show no such curve")
    value, jacobian = problem.both(best)
    weighted = jacobian / sd[:, None] if inside is None else inside
    lengths = np.linalg.norm(weighted, axis=0)
    if not np.all(lengths > 0) or np.linalg.cond(weighted / lengths) > LARGEST_CONDITION:
        count = {3: "three", 4: "four", 5: "five"}.get(len(best), str(len(best)))
        return replace(
            failed, failure=f"the standards do not determine all {count} parameters of the curve"
        )
    rss = float(np.sum(((value - problem.y) / sd) ** 2))
    degrees = problem.y.size - best.size
    inverse = np.linalg.inv(np.linalg.qr(weighted / lengths, mode="r"))
    covariance = np.zeros((5, 5))
    covariance[np.ix_(problem.free, problem.free)] = (
        rss / degrees * (inverse @ inverse.T) / np.outer(lengths, lengths)
    )
    return replace(
        failed,
        curve=LogisticCurve(full, problem.direction),
        covariance=covariance,
        sd=sd,
        rss=rss,
        degrees_of_freedom=degrees,
        starts_at_best=agreed,
    )


def _failed(
    model: Model,
    free: tuple[int, ...],
    weighting: Weighting,
    highest: float,
    x: np.ndarray,
    y: np.ndarray,
) -> CurveFit:
    nan = np.full((5, 5), math.nan)
    nothing = LogisticCurve(nan[0], 1)
    return CurveFit(
        model, nothing, free, nan, weighting, highest, x, y, np.ones_like(y), math.nan, 0
    )

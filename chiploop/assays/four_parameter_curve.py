"""The four-parameter logistic curve: fit, standard errors, inversion.

Belongs here: the curve as mathematics. Not here: calibrators, limits of quantification, plates
(immunoassay).

    signal = lower + (upper - lower) / (1 + exp(-hill * (ln concentration - ln ec50)))

Free parameters are (lower, upper, ln ec50, ln hill): what must be positive is fitted as its
logarithm. R's ``SSfpl`` is the same curve with A = lower, B = upper, xmid = ln ec50, scal = 1/hill.

Weights are 1/sd^2 with sd of the noise model taken at the FITTED signal of the pass before
(iterated reweighting); weights inside the objective, or at the observed signal, give other answers.
Standard errors are s^2 (J'J)^-1 with s^2 the weighted residual sum of squares over n - 4 (not the
observed Hessian).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.special import expit

from chiploop.assays.plate_signal import NoiseModel

UNIFORM_NOISE = NoiseModel(1.0, 0.0)
"""Equal weights: an ordinary least-squares fit."""
N_PARAMETERS = 4
LARGEST_CONDITION = 1e10
"""Of the scaled J; beyond it the data do not tell the parameters apart."""


@dataclass(frozen=True)
class FourParameterFit:
    """A fitted curve with its uncertainty. A fit that failed has NaN parameters and says why."""

    lower: float
    upper: float
    ec50: float
    hill: float
    covariance: np.ndarray
    """(4, 4) of (lower, upper, ln ec50, ln hill)."""
    noise: NoiseModel
    residual_scale: float
    """s: what the noise model is multiplied with to match the residuals of this fit."""
    degrees_of_freedom: int
    failure: str = ""
    """Empty where the fit is good."""

    @property
    def standard_errors(self) -> np.ndarray:
        """Return (4,) standard errors of (lower, upper, ln ec50, ln hill)."""
        return np.sqrt(np.diag(self.covariance))

    def signal(self, concentration: np.ndarray | float) -> np.ndarray:
        """Return the curve at concentrations of any shape; 0 gives the lower asymptote."""
        with np.errstate(divide="ignore"):
            x = np.log(np.asarray(concentration, dtype=float))
        return self.lower + (self.upper - self.lower) * expit(self.hill * (x - math.log(self.ec50)))

    def signal_sd(self, signal: float) -> float:
        """Return the sd of one well at a signal: the noise model, scaled to this fit."""
        return self.residual_scale * self.noise.sd(signal)

    def ln_concentration(self, signal: float) -> float:
        """Return ln concentration at a signal; -inf or inf at and beyond the asymptotes."""
        if signal <= self.lower:
            return -math.inf
        if signal >= self.upper:
            return math.inf
        z = (signal - self.lower) / (self.upper - signal)
        return math.log(self.ec50) + math.log(z) / self.hill

    def ln_concentration_gradient(self, signal: float) -> tuple[float, np.ndarray]:
        """Return d ln concentration / d signal and (4,) / d parameters, between the asymptotes."""
        above, below = signal - self.lower, self.upper - signal
        by_signal = (self.upper - self.lower) / (self.hill * above * below)
        by_parameters = np.array(
            [
                -1.0 / (self.hill * above),
                -1.0 / (self.hill * below),
                1.0,
                -math.log(above / below) / self.hill,
            ]
        )
        return by_signal, by_parameters


def _curve(parameters: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the signal (n,) and its Jacobian (n, 4); x is ln concentration, -inf for a blank."""
    lower, upper, ln_ec50, ln_hill = parameters
    hill = math.exp(ln_hill)
    finite = np.isfinite(x)
    step = np.where(finite, np.where(finite, x, 0.0) - ln_ec50, 0.0)
    rise = np.where(finite, expit(hill * step), 0.0)
    slope = (upper - lower) * rise * (1.0 - rise)
    jacobian = np.column_stack([1.0 - rise, rise, -hill * slope, hill * step * slope])
    return lower + (upper - lower) * rise, jacobian


def _starts(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Return starting points from the plate's own quantiles."""
    inner = x[np.isfinite(x)]
    low, high = float(np.min(y)), float(np.max(y))
    return [
        np.array(
            [low, low + stretch * (high - low), float(np.quantile(inner, quantile)), math.log(hill)]
        )
        for stretch, quantile, hill in (
            (1.05, 0.5, 1.0),
            (1.05, 0.75, 1.5),
            (1.5, 0.8, 0.8),
            (2.5, 0.95, 1.0),
        )
    ]


def fit_four_parameters(
    concentration: np.ndarray, signal: np.ndarray, noise: NoiseModel = UNIFORM_NOISE
) -> FourParameterFit:
    """Return the weighted least-squares fit of a rising curve.

    Parameters
    ----------
    concentration : (n,), zero for blanks, which inform the lower asymptote only.
    signal : (n,), finite.
    noise : relative weights; its overall scale is estimated.

    Raises
    ------
    ValueError : shapes that differ, negative or non-finite values.
    """
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
    if (
        np.unique(concentration[concentration > 0]).size < N_PARAMETERS
        or y.size <= N_PARAMETERS + 2
    ):
        return _failed(noise, "fewer than 4 levels or 7 wells of standards")
    with np.errstate(divide="ignore"):
        x = np.log(concentration)
    sd = np.array([noise.sd(value) for value in y])
    fits = [fit for fit in (_solve(x, y, sd, start) for start in _starts(x, y)) if fit is not None]
    if not fits:
        return _failed(noise, "no starting point of the curve fit converged")
    best = min(fits, key=lambda fit: fit[1])[0]
    for _ in range(8):
        fitted = _curve(best, x)[0]
        renewed = np.array([noise.sd(value) for value in fitted])
        settled = float(np.max(np.abs(renewed / sd - 1.0))) < 1e-5
        sd = renewed
        again = _solve(x, y, sd, best)
        if again is None:
            return _failed(noise, "the reweighted curve fit did not converge")
        best = again[0]
        if settled:
            break
    return _finished(best, x, y, sd, noise)


def _solve(
    x: np.ndarray, y: np.ndarray, sd: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, float] | None:
    result = least_squares(
        lambda p: (_curve(p, x)[0] - y) / sd,
        start,
        jac=lambda p: _curve(p, x)[1] / sd[:, None],
        method="trf",
        x_scale="jac",
        xtol=1e-12,
        ftol=1e-12,
        gtol=1e-12,
        max_nfev=200,
    )
    finite = np.all(np.isfinite(result.x)) and abs(result.x[3]) < 5.0 and result.x[1] > result.x[0]
    return (result.x, float(result.cost)) if finite and result.status >= 0 else None


def _finished(
    best: np.ndarray, x: np.ndarray, y: np.ndarray, sd: np.ndarray, noise: NoiseModel
) -> FourParameterFit:
    fitted, jacobian = _curve(best, x)
    weighted = jacobian / sd[:, None]
    lengths = np.linalg.norm(weighted, axis=0)
    degrees = y.size - N_PARAMETERS
    if not np.all(lengths > 0) or np.linalg.cond(weighted / lengths) > LARGEST_CONDITION:
        return _failed(noise, "the standards do not determine all four parameters of the curve")
    scale = math.sqrt(float(np.sum(((fitted - y) / sd) ** 2)) / degrees)
    inverse = np.linalg.inv((weighted / lengths).T @ (weighted / lengths)) / np.outer(
        lengths, lengths
    )
    return FourParameterFit(
        float(best[0]),
        float(best[1]),
        math.exp(best[2]),
        math.exp(best[3]),
        scale**2 * inverse,
        noise,
        scale,
        degrees,
    )


def _failed(noise: NoiseModel, why: str) -> FourParameterFit:
    nan = math.nan
    return FourParameterFit(nan, nan, nan, nan, np.full((4, 4), nan), noise, nan, 0, why)

"""The density that every other sampler draws from: the one of our calibration, written down a second time.

Belongs here: log posterior in the prior's standard normals, batched, its gradient by the engine's sensitivities,
its mode. Not here: the study (recalibration_study), samplers.

    log density(z) = -|r(z)|^2 / 2 - |z|^2 / 2,    gradient = -J^T r - z
with standardised residuals r and their Jacobian J by z, up to a constant. It shares the engine and the prior's map
with the calibration, not its likelihood; the benchmark checks that the two differ by a constant.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.optimize import minimize
from scipy.stats import norm

from benchmarks.recalibration_study import MODEL, READOUTS, Kind, Study, chips, kinds
from chiploop.inference.prior import Prior
from chiploop.models.inlet import ChipInlet
from chiploop.models.tissue_model import TissueModel, load_model


@dataclass(frozen=True)
class Target:
    """The posterior as samplers see it. Where a simulation failed the density is -inf, the gradient 0."""

    study: Study
    model: TissueModel = field(default_factory=lambda: load_model(MODEL, READOUTS))

    @cached_property
    def prior(self) -> Prior:
        """Return the model's prior."""
        return Prior.of(self.model.estimated)

    @cached_property
    def inlets(self) -> list[ChipInlet]:
        """Return what the chips got."""
        return chips()

    @cached_property
    def kinds(self) -> list[Kind]:
        """Return the readouts."""
        return kinds(self.model)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the parameters."""
        return self.prior.names

    @property
    def dims(self) -> int:
        """Return the number of parameters."""
        return len(self.names)

    @cached_property
    def inverse_factors(self) -> list[np.ndarray]:
        """Return per kind the inverse Cholesky factor of its covariance: a product is quicker than a solve."""
        samplings = len(self.study.times_h)
        return [
            np.linalg.inv(np.linalg.cholesky(kind.covariance(samplings))) for kind in self.kinds
        ]

    @cached_property
    def scaled_values(self) -> list[np.ndarray]:
        """Return per kind what was measured (chips x samplings,) on the residual's scale."""
        return [kind.scaled(self.study.values[..., k]).ravel() for k, kind in enumerate(self.kinds)]

    def parameters(self, z: np.ndarray) -> np.ndarray:
        """Return parameters (n, p) in their own units."""
        return self.prior.parameters(z)

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Return the log posterior (n,) at z (n, p)."""
        times = self.study.times_h
        readouts = self.model.simulate(
            self.parameters(z), self.inlets, times, times - 24.0
        ).readouts
        return self.height(z, self.residuals(readouts))

    def gradient(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the log posterior (n,) and its gradient (n, p) at z (n, p)."""
        times, x, n = self.study.times_h, self.parameters(z), len(z)
        readouts, slopes = self.model.sensitivities(x, self.inlets, times, times - 24.0)
        residuals, gradient = self.residuals(readouts), -z
        for k, kind in enumerate(self.kinds):
            # the slope of a logarithm is the slope over the value
            pull = (residuals[k] @ self.inverse_factors[k]).reshape(readouts.shape[:3])
            pull = pull / readouts[..., k] if kind.is_log else pull
            slope = slopes[:, :, :, k].reshape(n, -1, self.dims)
            gradient += np.einsum("nm,nmp->np", pull.reshape(n, -1), slope) * map_slope(self, z, x)
        height = self.height(z, residuals)
        good = np.isfinite(height) & np.isfinite(gradient).all(axis=1)
        return np.where(good, height, -np.inf), np.where(good[:, None], gradient, 0.0)

    def residuals(self, readouts: np.ndarray) -> list[np.ndarray]:
        """Return per kind the standardised residuals (n, chips x samplings)."""
        found = []
        with np.errstate(invalid="ignore", divide="ignore"):  # an extreme proposal ends as -inf
            for k, kind in enumerate(self.kinds):
                predicted = kind.scaled(readouts[..., k]).reshape(len(readouts), -1)
                found.append((self.scaled_values[k] - predicted) @ self.inverse_factors[k].T)
        return found

    @staticmethod
    def height(z: np.ndarray, residuals: list[np.ndarray]) -> np.ndarray:
        """Return the log posterior (n,)."""
        squares = (z**2).sum(axis=1) + sum((r**2).sum(axis=1) for r in residuals)
        return np.where(np.isfinite(squares), -0.5 * squares, -np.inf)


def map_slope(target: Target, z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return dx/dz (n, p) of the prior's map."""
    slope = np.empty_like(z)
    for j, spec in enumerate(target.prior.specs):
        if spec.kind == "lognormal":
            slope[:, j] = spec.spread * x[:, j]
        else:
            low, high = norm.cdf(target.prior.bounds(spec))
            at = (x[:, j] - spec.center) / spec.spread
            # a ratio of two normal densities
            slope[:, j] = spec.spread * (high - low) * np.exp(0.5 * (at**2 - z[:, j] ** 2))
    return slope


@dataclass(frozen=True)
class Mode:
    """The highest point and the curvature there."""

    z: np.ndarray
    """(p,)."""
    factor: np.ndarray
    """(p, p) Cholesky factor of the inverse of the negative Hessian."""


def mode_of(target: Target, rng: np.random.Generator, starts: int = 4) -> Mode:
    """Return the best mode that quasi-Newton searches from draws of the prior end at."""

    def downhill(z: np.ndarray) -> tuple[float, np.ndarray]:
        height, slope = target.gradient(z[None])
        return -float(height[0]), -slope[0]

    begins = rng.standard_normal((starts, target.dims))
    begins = begins[np.isfinite(target.log_density(begins))]
    found = [minimize(downhill, begin, jac=True, method="L-BFGS-B") for begin in begins]
    best = min(found, key=lambda one: float(one.fun)).x
    step = 1e-3 * np.eye(target.dims)
    slopes = target.gradient(np.concatenate([best + step, best - step]))[1]
    hessian = (slopes[: target.dims] - slopes[target.dims :]) / 2e-3
    covariance = np.linalg.inv(-0.5 * (hessian + hessian.T))
    return Mode(best, np.linalg.cholesky(covariance))

"""Many calibrations against posteriors that are known: is the claimed number of effective particles true?

Belongs here: means, variances and evidences of many runs beside exact ones, and when they agree; posteriors on
a grid. Not here: tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from chiploop.inference.posterior import CalibrationInfo, Limits, Posterior
from chiploop.inference.recalibrate import Effort
from chiploop.inference.target import Target
from tests.chiploop.inference.linear_study import Exact

QUICK = Effort(particles=200)
LOOSE = Limits(ess=150, population_gap_sd=0.5)
"""Of so few particles."""


@dataclass(frozen=True)
class Outcome:
    """What one run says."""

    standard: np.ndarray
    """(n, dims) particles."""
    log_evidence: tuple[float, ...]
    ess: float


def outcome(found: tuple[Posterior, CalibrationInfo]) -> Outcome:
    """Return what a calibration that must have passed says."""
    posterior, info = found
    assert info.passed, info.failures
    return Outcome(posterior.standard, info.log_evidence, info.ess)


@dataclass(frozen=True)
class Comparison:
    """Many runs against their exact posteriors, in exact sd."""

    mean_errors: np.ndarray
    """(runs, d)."""
    variance_ratios: np.ndarray
    """(runs, d)."""
    evidence_errors: np.ndarray
    """(runs * populations,)."""
    ess: np.ndarray
    """(runs,) as claimed."""

    @classmethod
    def of(cls, runs: Sequence[tuple[Outcome, Exact]]) -> Comparison:
        """Return how far these runs are from their exact posteriors."""
        errors, ratios, evidence = [], [], []
        for run, exact in runs:
            errors.append((run.standard.mean(axis=0) - exact.mean) / exact.sd)
            ratios.append(((run.standard - exact.mean) ** 2).mean(axis=0) / exact.sd**2)
            evidence += [found - exact.log_evidence for found in run.log_evidence]
        ess = np.array([run.ess for run, _ in runs])
        return cls(np.array(errors), np.array(ratios), np.array(evidence), ess)

    @property
    def mean_chi2(self) -> float:
        """Return the summed squared errors of the means over what the claimed ESS allows."""
        return float((self.mean_errors**2 * self.ess[:, None]).sum())

    @property
    def means_agree(self) -> bool:
        """True where the errors of all means are of the size that the claimed ESS says."""
        low, high = chi2.interval(0.999, self.mean_errors.size)
        return bool(low < self.mean_chi2 < high)

    @property
    def means_are_near(self) -> bool:
        """True where the errors of all means are no larger than the claimed ESS allows."""
        return bool(self.mean_chi2 < chi2.isf(0.0005, self.mean_errors.size))

    @property
    def variances_agree(self) -> bool:
        """True where the mean variance ratio is 1 within four of its own standard errors."""
        ratio = self.variance_ratios.mean()
        # the sd of one run's mean square is sqrt(2 / ESS); parameters of a run are not independent
        slack = 4 * np.sqrt(2.0 / self.ess.mean() / len(self.ess))
        return bool(abs(ratio - 1.0) < slack)


def on_grid(target: Target, sides: Sequence[np.ndarray]) -> Exact:
    """Return the posterior by brute force on a grid of evenly spaced points."""
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, len(sides))
    assert grid.shape[1] == target.dims
    return weighed(grid, chunked(target.log_density, grid), sides)


def weighed(grid: np.ndarray, log_density: np.ndarray, sides: Sequence[np.ndarray]) -> Exact:
    """Return the posterior of points (n, d) of a grid with these log densities (n,)."""
    weight = np.exp(log_density - log_density.max())
    cell = float(np.prod([side[1] - side[0] for side in sides]))
    log_evidence = float(np.log(weight.sum() * cell) + log_density.max())
    weight /= weight.sum()
    mean = weight @ grid
    centred = grid - mean
    return Exact(mean, (centred * weight[:, None]).T @ centred, log_evidence)


def chunked(function: Callable[[np.ndarray], np.ndarray], z: np.ndarray) -> np.ndarray:
    """Return function values (n,) at z (n, d), in parts that fit the memory."""
    return np.concatenate([function(part) for part in np.array_split(z, 1 + len(z) // 20_000)])

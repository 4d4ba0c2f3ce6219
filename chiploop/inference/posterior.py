"""What a calibration returns: particles, and what a person needs to judge them.

Belongs here: values and their summaries. Not here: how they are found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Posterior:
    """Equally weighted particles of the posterior."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    particles: np.ndarray
    """(n_particles, n_parameters) in the parameters' own units."""
    standard: np.ndarray
    """(n_particles, n_parameters) the same as standard normals of the prior."""
    mode: np.ndarray
    """(n_parameters,) best point found, in the parameters' own units."""

    def interval(self, level: float) -> np.ndarray:
        """Return central (equal-tailed) intervals (n_parameters, 2)."""
        tails = [(1 - level) / 2, (1 + level) / 2]
        return np.quantile(self.particles, tails, axis=0).T


@dataclass(frozen=True)
class Limits:
    """Where a calibration counts as failed."""

    ess: float = 200.0
    """Fewest effective particles of the worst parameter."""
    population_gap_sd: float = 0.5
    """Largest gap between the means of two independent populations, in posterior sd."""
    evidence_gap: float = 1.0
    """Largest gap between their log evidences."""
    starts_at_mode: int = 2
    """Fewest searches that ended at the best point."""
    predictive_p: float = 0.005
    """Below this (or above one minus it) a readout is said to misfit: a warning, not a failure."""


@dataclass(frozen=True)
class CalibrationInfo:
    """Diagnostics of one calibration; ``passed`` is false where any limit is broken."""

    passed: bool
    failures: tuple[str, ...]
    """Each broken limit with its number."""
    warnings: tuple[str, ...]
    ess: float
    population_gap_sd: float
    log_evidence: tuple[float, ...]
    """One per population."""
    starts: int
    starts_at_mode: int
    acceptance: float
    """Of the last moves."""
    temperatures: int
    """Steps of the bridge."""
    predictive_p: dict[str, float]
    """Readout -> posterior predictive p of its summed squared residuals."""
    n_readouts: int
    n_censored: int
    simulations: int
    """Trajectories computed."""

"""The posterior of a calibration as a function of one vector of standard normals.

Belongs here: likelihood and prior put together, and the count of what was simulated. Not here: searching (search)
and sampling (tempering).

With the likelihood's standardised residuals r the log posterior is -|r|^2/2 - |z|^2/2 and a constant.
"""

from __future__ import annotations

from threading import Lock

import numpy as np

from chiploop.inference.likelihood import LOG_TWO_PI, Likelihood
from chiploop.inference.prior import Prior
from chiploop.inference.unknowns import Unknowns


class Target:
    """Likelihood times prior in z."""

    def __init__(self, likelihood: Likelihood, prior: Prior) -> None:
        self.likelihood = likelihood
        self.prior = prior
        self.unknowns = Unknowns.of(
            prior,
            likelihood.chips,
            likelihood.donors,
            likelihood.lines,
            [effect.name for effect in likelihood.effects],
            likelihood.drugs,
        )
        self.dims = self.unknowns.dims
        self.names = self.unknowns.names
        self.simulations = 0
        """Trajectories computed."""
        self.counting = Lock()

    def residuals(self, z: np.ndarray) -> np.ndarray:
        """Return residuals (n, m) at z (n, dims); NaN where a simulation failed."""
        return self.likelihood.residuals(self.predicted(z), z[:, self.unknowns.at_effects])

    def predicted(self, z: np.ndarray) -> np.ndarray:
        """Return predictions (n, m) at z (n, dims), in the readouts' units; NaN where a simulation failed."""
        self.count(z)
        return self.likelihood.simulated(
            self.unknowns.chip_parameters(z), self.unknowns.drug_factors(z)
        )

    def count(self, z: np.ndarray) -> None:
        """Count the trajectories of points z (n, dims)."""
        with self.counting:
            self.simulations += len(z) * len(self.likelihood.inlets)

    def linearised(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return residuals (n, m) and their Jacobian (n, m, dims) at z (n, dims)."""
        self.count(z)
        unknowns = self.unknowns
        predicted, slopes = self.likelihood.sloped(
            unknowns.chip_parameters(z), unknowns.drug_factors(z)
        )
        by_z = unknowns.chained(z, slopes, self.likelihood.rows.chip)
        return self.likelihood.linearised(
            predicted, by_z, z[:, unknowns.at_effects], unknowns.at_effects
        )

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Return log likelihood + log prior (n,) at z (n, dims); -inf where a simulation failed."""
        return self.log_posterior(self.residuals(z), z)

    def log_likelihood(self, r: np.ndarray) -> np.ndarray:
        """Return the log likelihood (n,) of residuals (n, m), with its constant."""
        total = self.likelihood.log_constant - 0.5 * (r**2).sum(axis=1)
        return np.where(np.isfinite(total), total, -np.inf)

    def log_posterior(self, r: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return log likelihood + log prior (n,) of residuals (n, m) found at z (n, dims)."""
        log_prior = -0.5 * (z**2).sum(axis=1) - 0.5 * self.dims * LOG_TWO_PI
        return self.log_likelihood(r) + log_prior

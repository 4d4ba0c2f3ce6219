"""Where sequential Monte Carlo begins.

Belongs here: densities that can be drawn from. Not here: tempering them to the posterior (tempering).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from scipy.special import gammaln, logsumexp

from chiploop.inference.likelihood import LOG_TWO_PI
from chiploop.inference.search import Mode
from chiploop.inference.surrogate import Surrogate

DEGREES_OF_FREEDOM = 20.0
"""Of the t distribution around a mode: heavier tails than the posterior's, which is bent rather than heavy."""
INFLATION = 1.1
"""Of its scale over the Gauss-Newton covariance."""
LEAST_SHARE = 0.1
"""Of the particles for each mode: none is given up before it was looked at."""


class Start(Protocol):
    """A density to begin from."""

    log_evidence: float
    """Log of its integral."""
    inflation: float
    """Draws over effective draws: 1 where they are independent."""
    covariance: np.ndarray
    """(dims, dims)."""

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n draws (n, dims)."""

    def log_density(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the log density (n,) and its gradient (n, dims)."""

    def nearest(self, z: np.ndarray) -> np.ndarray:
        """Return which part (n,) of the start each point belongs to; a function of the point alone."""

    def jacobians(self) -> tuple[np.ndarray, ...]:
        """Return a Jacobian (m, dims) for each part; none where only a regression can tell."""


class PriorStart:
    """The prior: N(0, I)."""

    log_evidence = 0.0
    inflation = 1.0

    def __init__(self, dims: int) -> None:
        self.covariance = np.eye(dims)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n draws (n, dims)."""
        return rng.standard_normal((n, len(self.covariance)))

    def log_density(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the log density (n,) and its gradient (n, dims)."""
        return -0.5 * (z**2).sum(axis=1) - 0.5 * z.shape[1] * LOG_TWO_PI, -z

    def nearest(self, z: np.ndarray) -> np.ndarray:
        """Return part 0 (n,) of each point."""
        return np.zeros(len(z), dtype=int)

    def jacobians(self) -> tuple[np.ndarray, ...]:
        """Return nothing."""
        return ()


class ModeStart:
    """A mixture of inflated multivariate t around the modes, by their Laplace masses."""

    log_evidence = 0.0
    inflation = 1.0

    def __init__(self, modes: Sequence[Mode]) -> None:
        self.modes = tuple(modes)
        share = np.maximum([mode.share for mode in modes], LEAST_SHARE)
        self.share = share / share.sum()
        self.factors = [np.linalg.cholesky(mode.covariance) * INFLATION for mode in modes]
        self.inverses = [np.linalg.inv(factor) for factor in self.factors]
        self.covariance = modes[0].covariance

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n draws (n, dims)."""
        d = self.modes[0].z.size
        part = rng.choice(len(self.modes), size=n, p=self.share)
        scale = np.sqrt(rng.chisquare(DEGREES_OF_FREEDOM, n) / DEGREES_OF_FREEDOM)
        normal = rng.standard_normal((n, d)) / scale[:, None]
        drawn = np.empty((n, d))
        for k, (mode, factor) in enumerate(zip(self.modes, self.factors, strict=True)):
            drawn[part == k] = mode.z + normal[part == k] @ factor.T
        return drawn

    def around(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n draws (n, dims) of the first mode's Gauss-Newton Gaussian."""
        normal = rng.standard_normal((n, self.modes[0].z.size))
        return np.asarray(self.modes[0].z + normal @ self.factors[0].T / INFLATION)

    def parts(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each part's weighted log density (n, parts) and gradient (n, parts, dims)."""
        d = z.shape[1]
        tail = (DEGREES_OF_FREEDOM + d) / 2
        constant = gammaln(tail) - gammaln(DEGREES_OF_FREEDOM / 2)
        constant -= d / 2 * np.log(DEGREES_OF_FREEDOM * np.pi)
        densities, gradients = [], []
        for mode, inverse, share in zip(self.modes, self.inverses, self.share, strict=True):
            white = (z - mode.z) @ inverse.T
            squared = (white**2).sum(axis=1)
            log_det = float(np.log(np.abs(np.diag(inverse))).sum())
            densities.append(
                np.log(share) + constant + log_det - tail * np.log1p(squared / DEGREES_OF_FREEDOM)
            )
            gradients.append(
                -(2 * tail / (DEGREES_OF_FREEDOM + squared))[:, None] * (white @ inverse)
            )
        return np.stack(densities, axis=1), np.stack(gradients, axis=1)

    def log_density(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the log density (n,) and its gradient (n, dims)."""
        densities, gradients = self.parts(z)
        total = logsumexp(densities, axis=1)
        weights = np.exp(densities - total[:, None])
        return total, np.einsum("nk,nkd->nd", weights, gradients)

    def nearest(self, z: np.ndarray) -> np.ndarray:
        """Return the part (n,) with the highest density at each point."""
        return np.asarray(np.argmax(self.parts(z)[0], axis=1))

    def jacobians(self) -> tuple[np.ndarray, ...]:
        """Return each mode's Jacobian."""
        return tuple(mode.jacobian for mode in self.modes)


class SurrogateStart:
    """The surrogate's posterior, drawn from by a population that was tempered to it."""

    def __init__(
        self, surrogate: Surrogate, z: np.ndarray, log_evidence: float, inflation: float = 1.0
    ) -> None:
        self.surrogate = surrogate
        self.z = z
        self.log_evidence = log_evidence
        self.inflation = inflation
        self.covariance = np.cov(z.T).reshape(z.shape[1], z.shape[1])

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n of the population's particles (n, dims), each at most once."""
        return self.z[rng.permutation(len(self.z))[:n]]

    def log_density(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the surrogate's log posterior (n,), not normalised, and its gradient (n, dims)."""
        return self.surrogate.log_posterior(z)

    def nearest(self, z: np.ndarray) -> np.ndarray:
        """Return part 0 (n,) of each point."""
        return np.zeros(len(z), dtype=int)

    def jacobians(self) -> tuple[np.ndarray, ...]:
        """Return nothing."""
        return ()

"""Linear studies with draws of their exact posterior, so that a check is tested without a calibration.

Belongs here: what several tests of checks share. Not here: the stub model (linear_study), tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chiploop.inference.conditionals import Conditionals, conditionals
from chiploop.inference.prior import Prior
from chiploop.inference.scatter import Scatter
from chiploop.inference.search import Mode
from chiploop.inference.target import Target
from chiploop.inference.unknowns import Unknowns
from tests.chiploop.inference.linear_study import (
    CHIPS,
    DONORS,
    LINES,
    SCATTER,
    LinearModel,
    LinearStudy,
    covariance,
    design_of,
    rows,
    study,
)


@dataclass(frozen=True)
class Drawn:
    """A study, draws of its exact posterior, and what all readings' covariance is, parameters integrated out."""

    study: LinearStudy
    target: Target
    z: np.ndarray
    """(n, dims)."""
    means: np.ndarray
    """(n, m) on the residual's scale."""
    predicted: np.ndarray
    """(n, m) in the readouts' units."""
    whole: np.ndarray
    """(m, m)."""

    @property
    def mode(self) -> Mode:
        """Return the exact mode."""
        z = self.study.exact.mean
        r, jacobian = self.target.linearised(z[None])
        height = float(self.target.log_posterior(r, z[None])[0])
        return Mode(z, self.study.exact.covariance, jacobian[0], r[0], height)

    @property
    def conditionals(self) -> Conditionals:
        """Return every reading given the others at the draws."""
        none = np.zeros((len(self.z), 0))
        return conditionals(self.study.likelihood, self.means, none)

    @property
    def left_out_residuals(self) -> np.ndarray:
        """Return each reading's residual (m,) from all others, as an exact standard normal."""
        inverse = np.linalg.inv(self.whole)
        return np.asarray(inverse @ self.study.values / np.sqrt(np.diag(inverse)))

    @property
    def left_out_sd(self) -> np.ndarray:
        """Return the exact sd (m,) of each reading given the others."""
        return np.asarray(1.0 / np.sqrt(np.diag(np.linalg.inv(self.whole))))


def drawn(
    model: LinearModel,
    seed: int,
    n: int = 400,
    scatter: Scatter = SCATTER,
    prior: Prior | None = None,
) -> Drawn:
    """Return a study of a seed with draws of its exact posterior."""
    rng = np.random.default_rng([23, seed])
    return with_draws(model, study(model, rng, scatter, prior), rng, n, scatter)


def with_draws(
    model: LinearModel, one: LinearStudy, rng: np.random.Generator, n: int, scatter: Scatter
) -> Drawn:
    """Return a study with draws of its exact posterior."""
    target = one.target
    lower = np.linalg.cholesky(one.exact.covariance)
    z = one.exact.mean + rng.standard_normal((n, target.dims)) @ lower.T
    predicted = target.predicted(z)
    unknowns = Unknowns.of(one.prior, CHIPS, DONORS, LINES)
    design = design_of(model, one.prior, unknowns, rows())
    whole = covariance(scatter) + design @ design.T
    return Drawn(one, target, z, one.likelihood.plain_means(predicted), predicted, whole)

"""How well is each reading predicted by all the others?

Belongs here: leave-one-out predictive density. Not here: one reading given the parameters and the others
(conditionals), importance weights (pareto), places in predictions (predictive_checks).

The unit that is left out is one reading, predicted from all other readings of its chip, donor and plate. To leave
out whole chips would ask how a new chip is predicted; but a chip is a twelfth of a study and often alone at its
dose, so that the posterior without it is far from the one with it: weights of a few hundred particles fail for a
quarter of the chips, but for few readings; and a residual of each single reading would be lost.

The posterior without a reading is the particles under Pareto smoothed weights 1 / p(reading | others, z) (Vehtari,
Gelman, Gabry 2017, Stat. Comput. 27:1413; Bürkner, Gabry, Vehtari 2021, Comput. Stat. 36:1243).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from chiploop.inference.conditionals import Conditionals
from chiploop.inference.pareto import Smoothed, smoothed, trusted_k


@dataclass(frozen=True)
class LeftOut:
    """How well each reading is predicted by all others."""

    elpd: float
    """Sum of ln p(reading | all other readings), on the residual's scale: higher is better."""
    standard_error: float
    """Of it, as if the readings were a sample of those to come."""
    of_readings: np.ndarray
    """(m,) each one's part."""
    k: np.ndarray
    """(m,) shape of its weights' tail."""
    k_limit: float
    """Above it a part can not be trusted."""
    parameters_used: float
    """Log density of the readings with themselves known less ``elpd``: how many parameters they seem to teach."""

    @property
    def doubtful(self) -> np.ndarray:
        """Return the places of readings whose part can not be trusted."""
        return np.flatnonzero(~(self.k <= self.k_limit))

    @property
    def sentence(self) -> str:
        """What a person should know of it."""
        found = (
            f"elpd of readings left out one by one {self.elpd:.1f} (se {self.standard_error:.1f})"
        )
        n = len(self.doubtful)
        if not n:
            return f"{found}; weights can be trusted (largest k {self.k.max(initial=0.0):.2f})"
        return (
            f"{found}; NOT to be trusted for {n} of {len(self.k)} readings, which sway the fit too much to be "
            f"left out by weights (k up to {self.k.max():.2f}, at most {self.k_limit:.2f} allowed)"
        )


def left_out(one: Conditionals, efficiency: float = 1.0) -> tuple[LeftOut, Smoothed]:
    """Return how each reading is predicted by the others, and the weights of the posterior without it.

    Parameters
    ----------
    one
        At equally weighted particles.
    efficiency
        Effective over actual number of particles.
    """
    weights = smoothed(-one.log_density, efficiency)
    own = logsumexp(weights.log_weights + one.log_density, axis=0)
    with_itself = logsumexp(one.log_density, axis=0) - np.log(len(one.log_density))
    found = LeftOut(
        float(own.sum()),
        float(np.sqrt(len(own) * own.var(ddof=1))) if len(own) > 1 else float("inf"),
        own,
        weights.k,
        trusted_k(int(len(one.log_density) * min(1.0, efficiency))),
        float((with_itself - own).sum()),
    )
    return found, weights

"""One reading given the parameters and all other readings.

Belongs here: the density of each reading given the others, and where in it the reading lies. Not here: averaging
over a posterior (leave_one_out), judging (predictive_checks).

Readings of a chip, a donor or a plate err together, so what the model says of one reading leans on what the others
have shown. For Gaussian readings with covariance S and gaps g = reading - mean, the one given the others is normal
with mean y_i - (S^-1 g)_i / (S^-1)_ii and variance 1 / (S^-1)_ii (Bürkner, Gabry, Vehtari 2021, Comput. Stat.
36:1243). Given the sampled effects (scatter) a censored reading is independent of the others; an effect that
belongs to its chip alone is integrated out (narrow_effects).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from chiploop.inference.heavy_tails import heavy_tailed
from chiploop.inference.likelihood import LOG_TWO_PI, Block, Likelihood, log_probability
from chiploop.inference.narrow_effects import narrow_effect

LEAST_PLACE = 1e-12
"""Places nearer to 0 or 1 can not be told from it."""


@dataclass(frozen=True)
class Conditionals:
    """Every reading given the others, at n points; readings in the order of ``Likelihood.used``."""

    log_density: np.ndarray
    """(n, m) on the residual's scale; of a censored reading the log probability of its bounds."""
    below: np.ndarray
    """(n, m) P(a reading here < the one that was made); of a censored one, < its lower bound."""
    up_to: np.ndarray
    """(n, m) the same; of a censored one, < its upper bound."""


def conditionals(likelihood: Likelihood, means: np.ndarray, effects: np.ndarray) -> Conditionals:
    """Return every reading given the others at rows' means (n, m), on the residual's scale with effects (n, k)."""
    gaps = likelihood.rows.value - means
    log_density, below = np.empty_like(means), np.empty_like(means)
    white = whitened(likelihood, means)
    at = 0
    for block in likelihood.blocks:
        own = slice(at, at + len(block.rows))
        at = own.stop
        if likelihood.scatter.chip_tails is None:
            found = gaussian(block, gaps[:, block.rows])
        else:
            found = heavy_tailed(likelihood, block, white, own)
        log_density[:, block.rows], below[:, block.rows] = found
    up_to = below.copy()
    bounds = likelihood.bounds
    log_density[:, bounds.rows] = log_probability(bounds, means[:, bounds.rows])
    for edge, places in ((bounds.lower, below), (bounds.upper, up_to)):
        places[:, bounds.rows] = ndtr((edge - means[:, bounds.rows]) / bounds.sd)
    for k, effect in enumerate(likelihood.effects):
        narrow = narrow_effect(likelihood, effect, means, effects[:, k])
        if narrow is not None:
            for i, row in enumerate(effect.rows):
                log_density[:, row], below[:, row], up_to[:, row] = narrow.given_others(i)
    return Conditionals(log_density, below, up_to)


def whitened(likelihood: Likelihood, means: np.ndarray) -> np.ndarray:
    """Return the uncensored gaps (n, exact) as independent ones, without heavy tails, in the residuals' order."""
    gaps = likelihood.rows.value - means
    parts = [likelihood.standard(block, gaps[:, block.rows]) for block in likelihood.blocks]
    return np.concatenate([np.zeros((len(means), 0)), *parts], axis=1)


def gaussian(block: Block, gaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log density and place (n, k) of each reading of a block given the others."""
    inverse = precision(block)
    own = np.diag(inverse)
    score = gaps @ inverse / np.sqrt(own)
    return 0.5 * (np.log(own) - LOG_TWO_PI - score**2), ndtr(score)


def precision(block: Block) -> np.ndarray:
    """Return the inverse (k, k) of a block's covariance."""
    lower = np.linalg.inv(block.factor)
    return np.asarray(lower.T @ lower)


def scores(place: np.ndarray) -> np.ndarray:
    """Return places between 0 and 1 as standard normals."""
    return np.asarray(ndtri(np.clip(place, LEAST_PLACE, 1.0 - LEAST_PLACE)))

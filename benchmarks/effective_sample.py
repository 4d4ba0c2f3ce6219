"""How much independent draws a sample is worth, and whether two samples are of one distribution: pure functions.

Belongs here: the effective size that repeated runs show, agreement of marginals within their Monte Carlo errors.
Not here: effective sizes of chains (chiploop.inference.chains), samplers, clocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from chiploop.inference.chains import ess, split

FAMILY_ERROR = 0.01
"""Chance that a comparison of two samples of one distribution calls any of its numbers apart."""


def excess_error(means: np.ndarray, sds: np.ndarray, claimed: np.ndarray) -> np.ndarray:
    """Return per parameter (p,) how far means of repeated runs scatter beyond what they claim.

    1 where the variance of the means (runs, p) is that of ``claimed`` (runs,) independent draws of a
    distribution with these sds (runs, p); 2 where half as many would explain it.
    """
    variance = means.var(axis=0, ddof=1)
    return np.asarray(variance / (sds**2 / claimed[:, None]).mean(axis=0))


@dataclass(frozen=True)
class Marginals:
    """What is known of every parameter from one sample."""

    mean: np.ndarray
    sd: np.ndarray
    mean_error: np.ndarray
    """Monte Carlo standard error of the mean."""
    ln_sd_error: np.ndarray
    """Monte Carlo standard error of ln sd."""


def marginals_of_chains(draws: np.ndarray) -> Marginals:
    """Return the marginals of draws (chains, steps, p)."""
    flat = draws.reshape(-1, draws.shape[2])
    centred = draws - flat.mean(axis=0)
    size = np.array([ess(split(draws[..., j])) for j in range(draws.shape[2])])
    size_of_squares = np.array([ess(split(centred[..., j] ** 2)) for j in range(draws.shape[2])])
    return marginals(flat, size, size_of_squares)


def marginals(flat: np.ndarray, size: np.ndarray, size_of_squares: np.ndarray) -> Marginals:
    """Return the marginals of draws (n, p) that are worth so many independent ones (p,)."""
    mean, sd = flat.mean(axis=0), flat.std(axis=0)
    kurtosis = (((flat - mean) / sd) ** 4).mean(axis=0)
    return Marginals(
        mean, sd, sd / np.sqrt(size), 0.5 * np.sqrt(np.maximum(kurtosis - 1.0, 0.0) / size_of_squares)
    )  # fmt: skip


@dataclass(frozen=True)
class Agreement:
    """Two samples beside each other, per parameter."""

    mean_gap: np.ndarray
    """(p,) difference of the means in the pooled sd."""
    mean_score: np.ndarray
    """(p,) the same in combined Monte Carlo errors."""
    sd_ratio: np.ndarray
    """(p,) first over second."""
    sd_score: np.ndarray
    """(p,) its logarithm in combined Monte Carlo errors."""
    limit: float
    """A score beyond it, either way, is a disagreement."""

    @property
    def scores(self) -> np.ndarray:
        """Return (p,) the larger of a parameter's two scores; NaN where one is missing."""
        return np.maximum(np.abs(self.mean_score), np.abs(self.sd_score))

    @property
    def agrees(self) -> bool:
        """Return whether every mean and every sd agrees."""
        return bool((self.scores <= self.limit).all())

    def apart(self, names: Sequence[str]) -> list[str]:
        """Return the parameters whose mean or sd disagrees."""
        return [
            name for name, score in zip(names, self.scores, strict=True) if not score <= self.limit
        ]


def agreement(first: Marginals, second: Marginals) -> Agreement:
    """Return how well two samples agree."""
    gap = first.mean - second.mean
    error = np.hypot(first.mean_error, second.mean_error)
    ln_ratio = np.log(first.sd / second.sd)
    ln_error = np.hypot(first.ln_sd_error, second.ln_sd_error)
    pooled = np.sqrt(0.5 * (first.sd**2 + second.sd**2))
    # all means and all sds at once
    limit = float(norm.isf(FAMILY_ERROR / (4 * gap.size)))
    return Agreement(gap / pooled, gap / error, np.exp(ln_ratio), ln_ratio / ln_error, limit)

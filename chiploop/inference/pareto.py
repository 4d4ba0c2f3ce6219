"""How far importance weights can be trusted, and weights that can be trusted further: Pareto smoothing.

Belongs here: the tail of a set of importance ratios. Not here: where ratios come from (leave_one_out).

The largest ratios are taken for draws of a generalised Pareto distribution; its shape k tells how many of the
ratios' moments exist, and its quantiles stand in for the largest ratios, which are mostly noise (Vehtari, Simpson,
Gelman, Yao, Gabry 2024, J. Mach. Learn. Res. 25:72). The fit is Zhang and Stephens 2009, Technometrics 51:316,
with the weak prior on k of the former. Above ``trusted_k`` a mean under these weights may be off by more than it
says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

HIGHEST_K = 0.7
"""Above it means converge too slowly for any number of draws that one would make."""
PRIOR_DRAWS, PRIOR_K = 10.0, 0.5
"""The weak prior on k: worth so many tail draws of this shape."""
ALIKE = 1.1
"""Largest over mean ratio up to which weights are all alike: there is nothing to mend, and no tail to fear."""
LEAST_TAIL = 5
"""Ratios in the tail below which nothing can be said of it."""


@dataclass(frozen=True)
class Smoothed:
    """Importance weights of n draws for m purposes."""

    log_weights: np.ndarray
    """(n, m), each column sums to one as weights."""
    k: np.ndarray
    """(m,) shape of the tail: below 0.5 the variance exists, above 1 not the mean; 0 for weights all alike."""

    @property
    def effective(self) -> np.ndarray:
        """Return how many equally weighted draws (m,) the weights are worth."""
        return np.asarray(np.exp(-logsumexp(2.0 * self.log_weights, axis=0)))


def smoothed(log_ratios: np.ndarray, efficiency: float = 1.0) -> Smoothed:
    """Return smoothed weights of log importance ratios (n, m), known up to a constant per column.

    ``efficiency``: effective over actual number of draws, below 1 where draws hang together.

    Raises ValueError for ratios that are not finite, or too few of them for a tail.
    """
    if not np.isfinite(log_ratios).all():
        raise ValueError("importance ratios are not all finite; leave out draws that failed")
    n, m = log_ratios.shape
    tail = tail_length(n, efficiency)
    if tail < LEAST_TAIL:
        raise ValueError(f"{n} draws have a tail of {tail}; at least {LEAST_TAIL} are needed")
    log_weights = log_ratios - log_ratios.max(axis=0)
    k = np.zeros(m)
    order = np.argsort(log_weights, axis=0, kind="stable")
    for j in range(m):
        last = order[-tail:, j]
        cut = np.exp(log_weights[order[-tail - 1, j], j])
        excess = np.exp(log_weights[last, j]) - cut
        if excess[-1] <= 0.0 or np.exp(log_weights[:, j]).mean() >= 1.0 / ALIKE:
            continue
        k[j], scale = pareto_fit(np.maximum(excess, 1e-12 * excess[-1]))
        places = (np.arange(tail) + 0.5) / tail
        # no smoothed ratio above the largest raw one
        log_weights[last, j] = np.log(np.minimum(cut + quantiles(places, k[j], scale), 1.0))
    return Smoothed(log_weights - logsumexp(log_weights, axis=0), k)


def tail_length(n: int, efficiency: float = 1.0) -> int:
    """Return how many of n ratios count as the tail."""
    return int(np.ceil(min(0.2 * n, 3.0 * np.sqrt(n / min(1.0, efficiency)))))


def trusted_k(n: int) -> float:
    """Return the largest k at which n draws are enough: few draws need a lighter tail, below two none is."""
    return float(min(HIGHEST_K, 1.0 - 1.0 / np.log10(max(n, 2))))


def pareto_fit(excess: np.ndarray) -> tuple[float, float]:
    """Return shape k and scale of the generalised Pareto distribution of positive excesses (n,), ascending.

    A posterior mean over a grid of theta = -k / scale, under the prior that the data themselves scale.
    """
    n = len(excess)
    count = 30 + int(np.sqrt(n))
    quartile = excess[int(n / 4 + 0.5) - 1]
    steps = 1.0 - np.sqrt(count / (np.arange(1, count + 1) - 0.5))
    theta = 1.0 / excess[-1] + steps / (3.0 * quartile)
    shape = np.log1p(-theta[:, None] * excess).mean(axis=1)
    profile = n * (np.log(-theta / shape) - shape - 1.0)
    best = float(theta @ np.exp(profile - logsumexp(profile)))
    k = float(np.log1p(-best * excess).mean())
    scale = -k / best
    return (n * k + PRIOR_DRAWS * PRIOR_K) / (n + PRIOR_DRAWS), scale


def quantiles(places: np.ndarray, k: float, scale: float) -> np.ndarray:
    """Return quantiles of the generalised Pareto distribution."""
    log_above = np.log1p(-places)
    return np.asarray(
        -scale * log_above if abs(k) < 1e-12 else scale * np.expm1(-k * log_above) / k
    )

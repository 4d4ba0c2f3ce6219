"""How much independent draws a sample is worth, and whether two samples are of one distribution: pure functions.

Belongs here: rank-normalised effective sample size and R-hat of chains, the effective size that repeated runs
show, agreement of marginals within their Monte Carlo errors. Not here: samplers, clocks.

Effective sample size and R-hat as Vehtari, Gelman, Simpson, Carpenter, Bürkner (2021, Bayesian Analysis 16:667):
chains split in halves, values replaced by normal scores of their ranks, autocorrelations of all chains
combined and cut off by Geyer's initial monotone sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.stats import norm, rankdata

FAMILY_ERROR = 0.01
"""Chance that a comparison of two samples of one distribution calls any of its numbers apart."""


def bulk_ess(draws: np.ndarray) -> np.ndarray:
    """Return the bulk effective sample size (p,) of draws (chains, steps, p)."""
    return np.array([ess(normal_scores(split(draws[..., j]))) for j in range(draws.shape[2])])


def rhat(draws: np.ndarray) -> np.ndarray:
    """Return R-hat (p,) of draws (chains, steps, p): the larger of bulk and tail."""
    found = []
    for j in range(draws.shape[2]):
        halves = split(draws[..., j])
        folded = np.abs(halves - np.median(halves))
        found.append(max(ratio(normal_scores(halves)), ratio(normal_scores(folded))))
    return np.array(found)


def split(chains: np.ndarray) -> np.ndarray:
    """Return chains (m, n) as halves (2m, n // 2); of an odd number the middle one is left out."""
    half = chains.shape[1] // 2
    return np.concatenate([chains[:, :half], chains[:, chains.shape[1] - half :]])


def normal_scores(chains: np.ndarray) -> np.ndarray:
    """Return the normal scores of the ranks among all values."""
    ranks = rankdata(chains, axis=None).reshape(chains.shape)
    return np.asarray(norm.ppf((ranks - 0.375) / (chains.size + 0.25)))


def ratio(chains: np.ndarray) -> float:
    """Return R-hat of chains (m, n) as they are."""
    n = chains.shape[1]
    within = chains.var(axis=1, ddof=1).mean()
    between = chains.mean(axis=1).var(ddof=1)
    return float(np.sqrt((n - 1) / n + between / within))


def ess(chains: np.ndarray) -> float:
    """Return the effective sample size of chains (m, n) as they are."""
    m, n = chains.shape
    covariances = autocovariances(chains)
    within = covariances[:, 0].mean() * n / (n - 1)
    whole = within * (n - 1) / n
    if m > 1:
        whole += chains.mean(axis=1).var(ddof=1)
    if whole == 0.0:  # a chain that never moved
        return 1.0
    correlation = 1.0 - (within - covariances.mean(axis=0) * n / (n - 1)) / whole
    correlation[0] = 1.0
    # sums of neighbours are positive and fall in any reversible chain; what does not is noise
    pairs = correlation[: n - n % 2].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs < 0.0)
    kept = np.minimum.accumulate(pairs[: negative[0] if negative.size else len(pairs)])
    time = -1.0 + 2.0 * kept.sum()
    # an antithetic chain can be worth more than its length, but not without bound
    return float(m * n / max(time, 1.0 / np.log10(m * n)))


def autocovariances(chains: np.ndarray) -> np.ndarray:
    """Return the autocovariances (m, n) of chains (m, n), each divided by n."""
    m, n = chains.shape
    length = next_fast_len(2 * n)
    spectrum = rfft(chains - chains.mean(axis=1, keepdims=True), length, axis=1)
    return np.asarray(irfft(np.abs(spectrum) ** 2, length, axis=1)[:, :n] / n)


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

"""Do several chains tell of one distribution, and how much are their draws worth?

Belongs here: rank-normalised split R-hat and effective sample sizes. Not here: samplers.

Vehtari, Gelman, Simpson, Carpenter, Bürkner 2021, Bayesian Analysis 16:667: chains are split in halves, values
replaced by normal scores of their ranks, autocorrelations of all chains combined and cut off by Geyer's initial
monotone sequence.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.stats import norm, rankdata


def rhat(draws: np.ndarray) -> np.ndarray:
    """Return R-hat (d,) of draws (chains, steps, d): the larger of bulk and tail; infinite if they stand."""
    found = []
    for j in range(draws.shape[2]):
        halves = split(draws[..., j])
        folded = np.abs(halves - np.median(halves))
        found.append(max(ratio(normal_scores(halves)), ratio(normal_scores(folded))))
    return np.array(found)


def bulk_ess(draws: np.ndarray) -> np.ndarray:
    """Return the effective number (d,) of draws (chains, steps, d) for the middle of each entry."""
    return np.array([ess(normal_scores(split(draws[..., j]))) for j in range(draws.shape[2])])


def tail_ess(draws: np.ndarray) -> np.ndarray:
    """Return the effective number (d,) of draws (chains, steps, d) for the 5 and 95 % quantiles, the smaller."""
    found = []
    for j in range(draws.shape[2]):
        halves = split(draws[..., j])
        found.append(min(ess(1.0 * (halves <= np.quantile(halves, q))) for q in (0.05, 0.95)))
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
    return float(np.sqrt((n - 1) / n + between / within)) if within > 0.0 else float("inf")


def ess(chains: np.ndarray) -> float:
    """Return the effective sample size of chains (m, n) as they are."""
    m, n = chains.shape
    covariances = autocovariances(chains)
    within = covariances[:, 0].mean() * n / (n - 1)
    whole = within * (n - 1) / n
    if m > 1:
        whole += chains.mean(axis=1).var(ddof=1)
    if whole == 0.0:  # nothing ever moved
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

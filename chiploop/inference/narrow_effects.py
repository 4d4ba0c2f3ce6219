"""One reading given all others where its chip's own effect was sampled, since a reading of the chip is censored.

Belongs here: integrals over such an effect. Not here: which effects are sampled (scatter).

A handful of readings inform a chip's effect, so that a value of it that was sampled with one of them says little
of what it would be without. Other uncensored readings make it normal, the probabilities of other bounds are
averaged over that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, ndtr

from chiploop.inference.likelihood import LOG_TWO_PI, Bound, Likelihood, log_probability
from chiploop.inference.scatter import Shared

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
LOG_WEIGHTS = np.log(WEIGHTS / WEIGHTS.sum())


@dataclass(frozen=True)
class Narrow:
    """A sampled effect of one chip, and its k readings without it."""

    rows: np.ndarray
    loadings: np.ndarray
    exact: np.ndarray
    """(k,) bool."""
    sd: np.ndarray
    plain: np.ndarray
    """(n, k) means without the effect."""
    lower: np.ndarray
    upper: np.ndarray
    """(k,) the bounds, or twice the reading."""

    def known_by(self, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return nodes (n, nodes) of the effect, their weights, and the log probability (n,) of bounds.

        Uncensored readings among ``others`` (k,) make it normal; bounds are averaged over that.
        """
        weight = np.where(others & self.exact, self.loadings / self.sd**2, 0.0)
        variance = 1.0 / (1.0 + weight @ self.loadings)
        gaps = np.where(self.exact, self.lower, 0.0) - self.plain
        nodes = (gaps @ weight * variance)[:, None] + np.sqrt(variance) * NODES
        log_weight = np.broadcast_to(LOG_WEIGHTS, nodes.shape)
        for j in np.flatnonzero(others & ~self.exact):
            one = slice(j, j + 1)
            bound = Bound(self.rows[one], self.sd[one], self.lower[one], self.upper[one])
            moved = self.plain[:, one] + self.loadings[j] * nodes
            log_weight = log_weight + log_probability(bound, moved)
        total = logsumexp(log_weight, axis=1)
        return nodes, np.exp(log_weight - total[:, None]), total

    def given_others(self, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return log density, place and place of the upper bound (n,) of reading i, the effect integrated out."""
        everything = np.ones(len(self.rows), dtype=bool)
        others = everything.copy()
        others[i] = False
        nodes, share, without = self.known_by(others)
        log_density = self.known_by(everything)[2] - without
        if self.exact[i]:
            weight = np.where(others & self.exact, (self.loadings / self.sd) ** 2, 0.0).sum()
            center = self.plain[:, i] + self.loadings[i] * nodes.mean(axis=1)  # nodes are symmetric
            wide = np.hypot(self.sd[i], self.loadings[i] / np.sqrt(1.0 + weight))
            score = (self.lower[i] - center) / wide
            log_density = log_density - 0.5 * (score**2 + LOG_TWO_PI) - np.log(wide)
        moved = self.plain[:, i, None] + self.loadings[i] * nodes
        below, up_to = (
            (share * ndtr((edge[i] - moved) / self.sd[i])).sum(axis=1)
            for edge in (self.lower, self.upper)
        )
        return log_density, below, up_to


def narrow_effect(
    likelihood: Likelihood, effect: Shared, means: np.ndarray, value: np.ndarray
) -> Narrow | None:
    """Return a sampled effect of one chip at values (n,); None for another one.

    Nor with heavy tails, nor where the readings share something else that is integrated.
    """
    rows, bounds = effect.rows, likelihood.bounds
    single = {int(b.rows[0]): float(b.factor[0, 0]) for b in likelihood.blocks if len(b.rows) == 1}
    place = {int(row): i for i, row in enumerate(bounds.rows)}
    if len(np.unique(likelihood.rows.chip[rows])) > 1 or likelihood.scatter.chip_tails is not None:
        return None
    if not all(row in single or row in place for row in rows.tolist()):
        return None
    exact = np.array([row in single for row in rows.tolist()], dtype=bool)
    sd = np.array(
        [single[row] if row in single else bounds.sd[place[row]] for row in rows.tolist()]
    )
    reading = likelihood.rows.value[rows]
    lower, upper = reading.copy(), reading.copy()
    at = [place[row] for row in rows[~exact].tolist()]
    lower[~exact], upper[~exact] = bounds.lower[at], bounds.upper[at]
    plain = means[:, rows] - value[:, None] * effect.loadings
    return Narrow(rows, effect.loadings, exact, sd, plain, lower, upper)

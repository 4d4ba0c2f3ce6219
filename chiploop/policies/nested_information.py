"""Nested Monte Carlo estimate of the expected information about the goal, on the draws of the table alone.

Belongs here: the estimate and its error. Not here: the closed form for Gaussians (linear_gaussian), the search.

Each draw m in turn is the truth: y_m = mu_m + noise, and over the other draws l

    log p(y_m)       = log mean_l N(y_m; mu_l)
    log p(y_m | q_m) = log sum_l w_ml N(y_m; mu_l + b (s_m - s_l)) / sum_l w_ml
    w_ml             = exp(-(q_l - q_m)^2 / 2 h^2),  h = 1/4 sd(q)
    I                = mean_m [log p(y_m | q_m) - log p(y_m)]

with h widened, where a draw is alone, to the distance of its tenth neighbour, s the goal's normal scores and b the
slope of mu over them: a neighbour is moved to where it would be if its goal were the truth's. Features are
whitened by the Cholesky factor of the batch's noise and seen along the two directions in which, were all Gaussian,
they would say most of the goal.

Biases
------
- The directions throw away what they do not show: downward, and for any choice of them (no statistic of the
  readings holds more than the readings). Without them a batch of 48 readings has few draws near any y, which
  costs a quarter of the estimate at 256 draws.
- The directions are found on the same draws: upward, by at most about features / (2 draws), less where noise is
  large beside what nuisance parameters move.
- The logarithm of a mean of few draws: downward in both terms, more in the second, so downward. Its first
  order is taken off (half the relative variance of the mean).
- The kernel blurs what is not straight in s by h: downward. Not moved, neighbours cost 7 % at 0.7 nats and 16 % at
  1.7; moved along a cubic, a few far draws make the estimate twice as uncertain where the goal is known badly.
- Leaving the truth out of the inner mean makes the first term alone an upper bound; it does so in both terms here.
- The best of many estimates is too high by up to about one of its errors.

The error is the standard deviation of each draw's whole influence, as a truth and as one of the others' means,
with kernel, slope and directions held. Over repeats with fresh draws it was 0.8 to 1.0 of the spread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import ndtri
from scipy.stats import rankdata

from chiploop.policies.linear_gaussian import DEGREE, goal_basis
from chiploop.policies.prediction_table import PredictionTable

WIDTH = 0.25
"""Of the kernel, in sd of the goal."""
NEIGHBOURS = 10
"""That a kernel reaches at least."""
DIRECTIONS = 2
PAIRS = 2
"""Draws of noise per draw, each with its mirror image."""


@dataclass(frozen=True)
class NestedEstimate:
    """Expected information with its Monte Carlo error."""

    nats: float
    influence: np.ndarray
    """(draws,) by how much each draw moves the estimate, times their number; its mean is 0."""

    @property
    def error_nats(self) -> float:
        """Return the Monte Carlo standard error."""
        return float(self.influence.std(ddof=1) / np.sqrt(len(self.influence)))

    def __sub__(self, other: NestedEstimate) -> NestedEstimate:
        """Return the difference of two estimates on the same draws."""
        return NestedEstimate(self.nats - other.nats, self.influence - other.influence)

    def scaled(self, factor: float) -> NestedEstimate:
        """Return the estimate in another unit."""
        return NestedEstimate(factor * self.nats, factor * self.influence)


@dataclass(frozen=True)
class GoalKernel:
    """Which draws stand for a truth's goal, and how they are moved to it."""

    log_weight: np.ndarray
    """(draws, draws) of draws l beside a truth m; -inf for the truth itself."""
    scores: np.ndarray
    """(draws,) normal scores of the goal, with unit sum of squares."""


def goal_kernel(goal: np.ndarray) -> GoalKernel:
    """Return the kernel of goals (draws,); equal goals share a score."""
    ranks = rankdata(goal)
    scores = ndtri((ranks - 0.5) / len(goal))
    scores = scores - scores.mean()
    gap = np.abs(goal[:, None] - goal[None, :])
    nth = min(NEIGHBOURS, len(goal) - 1)
    alone = np.partition(gap, nth, axis=1)[:, nth]
    width = np.maximum(np.maximum(WIDTH * goal.std(), alone), 1e-12)
    log_weight = -0.5 * (gap / width[:, None]) ** 2
    np.fill_diagonal(log_weight, -np.inf)
    return GoalKernel(log_weight, scores / max(float(np.linalg.norm(scores)), 1e-12))


def log_densities(truths: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return (truths, means) log densities in unit noise up to a constant; -inf where both are one draw."""
    squares = (truths**2).sum(axis=1)[:, None] + (means**2).sum(axis=1)[None, :]
    log_density = truths @ means.T - 0.5 * squares
    np.fill_diagonal(log_density, -np.inf)
    return np.asarray(log_density)


def shares(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's weights with sum one, and the log of their sum."""
    top = log_weights.max(axis=1, keepdims=True)
    weights = np.exp(log_weights - top)
    total = weights.sum(axis=1, keepdims=True)
    return weights / total, (np.log(total) + top)[:, 0]


def compressed(
    features: np.ndarray, noise: np.ndarray, goal: np.ndarray, directions: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return whitened features (draws, d) and the matrix (k, d) that takes whitened noise to the same place.

    ``directions`` None keeps all: d = k.
    """
    root = np.linalg.cholesky(noise)
    white = solve_triangular(root, (features - features.mean(axis=0)).T, lower=True).T
    size = white.shape[1]
    if directions is None or directions >= size:
        return white, np.eye(size)
    draws = len(goal)
    basis = goal_basis(goal)[:, 1:]
    loading = basis.T @ white
    left = white - basis @ loading
    rest = np.linalg.cholesky(np.eye(size) + left.T @ left / max(draws - 1 - DEGREE, 1))
    # directions of largest (total - rest) / rest, made orthonormal: the noise along them stays white
    most = np.linalg.svd(solve_triangular(rest, loading.T, lower=True), full_matrices=False)[0]
    along = np.linalg.qr(solve_triangular(rest.T, most[:, :directions], lower=False))[0]
    return white @ along, along


def nested_estimate(means: np.ndarray, noises: np.ndarray, kernel: GoalKernel) -> NestedEstimate:
    """Return the information in whitened means (draws, d) read with noises (repeats, draws, d)."""
    draws = len(means)
    weight, log_weights = shares(kernel.log_weight)
    left = means - np.outer(kernel.scores, kernel.scores @ means)
    # the slope and the mean use up two degrees of freedom
    left = left * np.sqrt((draws - 1) / (draws - 2))
    terms, influence = np.zeros(draws), np.zeros(draws)
    for noise in noises:
        near, log_all = shares(log_densities(means + noise, means))
        alike, log_alike = shares(log_densities(left + noise, left) + kernel.log_weight)
        # d log of the two means / d ln of a draw's share; its square sum is their relative variance
        pull_alike, pull_all = alike - weight, near - 1.0 / (draws - 1)
        np.fill_diagonal(pull_all, 0.0)
        first_order = 0.5 * ((pull_alike**2).sum(axis=1) - (pull_all**2).sum(axis=1))
        terms += log_alike - log_weights - log_all + np.log(draws - 1) + first_order
        influence += (pull_alike - pull_all).sum(axis=0)
    terms /= len(noises)
    influence = terms - terms.mean() + influence / len(noises)
    return NestedEstimate(float(terms.mean()), influence - influence.mean())


def noise_draws(rng: np.random.Generator, pairs: int, draws: int, size: int) -> np.ndarray:
    """Return standard normals (2 pairs, draws, size): each with its mirror image."""
    one = rng.standard_normal((pairs, draws, size))
    return np.concatenate([one, -one])


def nested_information(
    features: np.ndarray,
    noise: np.ndarray,
    goal: np.ndarray,
    rng: np.random.Generator,
    *,
    directions: int | None = DIRECTIONS,
    pairs: int = PAIRS,
) -> NestedEstimate:
    """Return the information about the goal (draws,) in features (draws, k) read with noise (k, k)."""
    means, along = compressed(features, noise, goal, directions)
    noises = noise_draws(rng, pairs, *features.shape) @ along
    return nested_estimate(means, noises, goal_kernel(goal))


class NestedMonteCarlo:
    """Information of batches of one table; all share draws and noise, so that differences are sharper."""

    def __init__(
        self, table: PredictionTable, rng: np.random.Generator, pairs: int = PAIRS
    ) -> None:
        self.table = table
        self.noises = noise_draws(rng, pairs, len(table.goal), len(table.all_noise()))
        self.kernel = goal_kernel(table.goal)
        self._of: dict[tuple[tuple[int, int], ...], NestedEstimate] = {}

    def seen(self, chosen: Mapping[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return means (draws, d) and noise draws (repeats, draws, d) of a batch along its directions."""
        features, noise, columns = self.table.joint(chosen)
        means, along = compressed(features, noise, self.table.goal, DIRECTIONS)
        return means, self.noises[:, :, columns] @ along

    def _with_pending(self, chosen: Mapping[int, int]) -> NestedEstimate:
        key = tuple(sorted(chosen.items()))
        if key not in self._of:
            if not chosen and self.table.pending is None:
                self._of[key] = NestedEstimate(0.0, np.zeros(len(self.table.goal)))
            else:
                self._of[key] = nested_estimate(*self.seen(chosen), self.kernel)
        return self._of[key]

    def information(self, chosen: Mapping[int, int]) -> NestedEstimate:
        """Return the information in line -> candidate, beyond that of the pending readings."""
        return self._with_pending(chosen) - self._with_pending({})

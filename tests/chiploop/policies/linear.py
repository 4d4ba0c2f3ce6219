"""Linear models with Gaussian draws, and their information in closed form and by brute force.

Belongs here: references that share no code with the policies. Not here: tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from chiploop.policies.prediction_table import PredictionTable
from tests.chiploop.policies.tables import table_of


def closed_form(design: np.ndarray, noise: np.ndarray, goal: np.ndarray) -> float:
    """Return I(y; goal @ z) for y = design @ z + noise, z ~ N(0, I): from the definition of entropy."""
    spread = design @ design.T + noise
    shared = design @ goal
    given_goal = spread - np.outer(shared, shared) / (goal @ goal)
    return float(0.5 * (np.linalg.slogdet(spread)[1] - np.linalg.slogdet(given_goal)[1]))


def about_everything(design: np.ndarray, noise: np.ndarray) -> float:
    """Return I(y; z) for the same model."""
    spread = design @ design.T + noise
    return float(0.5 * (np.linalg.slogdet(spread)[1] - np.linalg.slogdet(noise)[1]))


def by_brute_force(
    predict: Callable[[np.ndarray], np.ndarray],
    parameters: int,
    noise: np.ndarray,
    rng: np.random.Generator,
    truths: int = 600,
    others: int = 20_000,
) -> tuple[float, float]:
    """Return I(y; z_0) and its error, z ~ N(0, I), from fresh draws for every integral.

    ``predict`` (n, parameters) -> (n, k). p(y | z_0) comes from draws that share z_0 exactly: no kernel.
    """
    precision = np.linalg.inv(noise)
    root = np.linalg.cholesky(noise)

    def log_mean(y: np.ndarray, z: np.ndarray) -> float:
        gap = y - predict(z)
        log_density = -0.5 * np.einsum("nk,kl,nl->n", gap, precision, gap)
        return float(np.logaddexp.reduce(log_density) - np.log(len(z)))

    anyone = rng.standard_normal((others, parameters))
    terms = []
    for _ in range(truths):
        z = rng.standard_normal((1, parameters))
        y = predict(z)[0] + root @ rng.standard_normal(len(noise))
        alike = rng.standard_normal((others // 10, parameters))
        alike[:, 0] = z[0, 0]
        terms.append(log_mean(y, alike) - log_mean(y, anyone))
    return float(np.mean(terms)), float(np.std(terms) / np.sqrt(truths))


def correlated(size: int, seed: int, alone: float = 0.3) -> np.ndarray:
    """Return a covariance of noise that readings share."""
    root = np.random.default_rng([seed, 7]).standard_normal((size, size))
    return np.asarray(0.2 * root @ root.T + alone * np.eye(size))


def linear_table(
    designs: list[np.ndarray], noise: np.ndarray, draws: int, seed: int = 0
) -> PredictionTable:
    """Return a table of lines whose candidates (c, f, p) are linear in z; the goal is z_0."""
    z = np.random.default_rng(seed).standard_normal((draws, designs[0].shape[-1]))
    features = [np.einsum("np,cfp->ncf", z, design) for design in designs]
    return replace(table_of(features, z[:, 0], noise), standard=z)

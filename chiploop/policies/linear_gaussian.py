"""Expected information about the goal where all is Gaussian: the screen that every batch goes through.

Belongs here: the closed form on covariances of draws. Not here: the search over batches, the Monte Carlo
estimate (nested_information).

I(readouts; goal) = 1/2 [logdet(N + C) - logdet(N + R)] with C the covariance over posterior draws of the
predicted readouts, R that of what a polynomial in the goal leaves of them, N the noise. Information about
parameters that the goal does not depend on does not count. With pending readings P it is what the batch adds to
them: I(P and batch; goal) - I(P; goal).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from chiploop.policies.log_determinant import GaussianInformation, LogDeterminant
from chiploop.policies.prediction_table import PredictionTable

DEGREE = 3
"""Of the polynomial in the goal."""


class Measure(Protocol):
    """What a search maximises."""

    def information(self, candidates: Mapping[int, int]) -> float:
        """Return nats of giving each line its candidate: line -> candidate."""

    def alternatives(self, line: int, others: Mapping[int, int]) -> np.ndarray:
        """Return (candidates,) the nats of the other lines with each candidate of this one."""


def goal_basis(goal: np.ndarray) -> np.ndarray:
    """Return orthonormal polynomials (draws, DEGREE + 1) in the goal; the first is constant."""
    z = (goal - goal.mean()) / max(float(goal.std()), 1e-12)
    return np.asarray(np.linalg.qr(np.stack([z**k for k in range(DEGREE + 1)], axis=1))[0])


class LinearGaussian(GaussianInformation):
    """Information of any batch about the goal from covariances."""

    def __init__(self, table: PredictionTable) -> None:
        draws = len(table.goal)
        basis = goal_basis(table.goal)

        def total(features: np.ndarray) -> np.ndarray:
            return (features - features.mean(axis=0)) / np.sqrt(draws - 1)

        def rest(features: np.ndarray) -> np.ndarray:
            flat = features.reshape(draws, -1)
            left = (flat - basis @ (basis.T @ flat)).reshape(features.shape)
            # the polynomial uses up degrees of freedom: without them chance agreement counts as information
            return np.asarray(left / np.sqrt(draws - 1 - DEGREE))

        pending = None if table.pending is None else table.pending.features
        before, after = (
            LogDeterminant(
                table,
                [part(features) for features in table.features],
                None if pending is None else part(pending),
            )
            for part in (total, rest)
        )
        super().__init__(before, after)

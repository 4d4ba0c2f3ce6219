"""Locally D-optimal doses: the most information about all parameters at the posterior's middle. A baseline.

Belongs here: its measure. It learns toxicity as gladly as potency, which is why it is no default.

The Jacobian J of the features is the linear regression of the features on the draws' standard normals, these made
uncorrelated with unit variance over the draws, so that the present posterior has information I:

    1/2 logdet(I + J N^-1 J') = 1/2 [logdet(N + J'J) - logdet N].
"""

from __future__ import annotations

import numpy as np

from chiploop.policies.batch_search import Worth, search
from chiploop.policies.log_determinant import GaussianInformation, LogDeterminant
from chiploop.policies.nested_information import NestedMonteCarlo
from chiploop.policies.prediction_table import Batch, PredictionTable
from chiploop.policies.scored_batch import scored_batch

LEAST_SPREAD = 1e-8
"""Of a direction of the draws, beside the widest one; less is no direction."""


class LocalInformation(GaussianInformation):
    """Information about all parameters from the Jacobian at the posterior's middle."""

    def __init__(self, table: PredictionTable) -> None:
        if table.standard is None:
            raise ValueError(
                "d_optimal needs the table's draws as standard normals, and they are not there"
            )
        draws = len(table.goal)
        left, spread, _ = np.linalg.svd(
            table.standard - table.standard.mean(axis=0), full_matrices=False
        )
        directions = left[:, spread > LEAST_SPREAD * max(float(spread[0]), 1e-300)]

        def jacobian(features: np.ndarray) -> np.ndarray:
            flat = directions.T @ features.reshape(draws, -1) / np.sqrt(draws - 1)
            return np.asarray(flat.reshape(-1, *features.shape[1:]))

        pending = None if table.pending is None else table.pending.features
        parts = [jacobian(features) for features in table.features]
        ahead = None if pending is None else jacobian(pending)
        super().__init__(
            LogDeterminant(table, parts, ahead),
            LogDeterminant(
                table, [part[:0] for part in parts], None if ahead is None else ahead[:0]
            ),
        )


def d_optimal(table: PredictionTable, rng: np.random.Generator) -> Batch:
    """Return the locally D-optimal batch, for its cost.

    Raises ValueError where a line has no allowed candidate, or the table has no standard normals.
    """
    table = table.predictable()
    found = search(table, LocalInformation(table), Worth(table), 1)
    return scored_batch(table, found.best, NestedMonteCarlo(table, rng))

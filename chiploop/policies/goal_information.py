"""The default: the batch with the most expected information about the leading goal, for its cost.

Belongs here: screen, search and second look in their order. Not here: the estimators; simulations, which the
table has all made.

Every batch goes through the linear-Gaussian screen; the best that the search met are measured again by nested
Monte Carlo, which knows of curvature and skew. What can not be told from the winner is handed on as ties.
"""

from __future__ import annotations

import numpy as np

from chiploop.policies.batch_search import Worth, search
from chiploop.policies.linear_gaussian import LinearGaussian
from chiploop.policies.nested_information import NestedMonteCarlo
from chiploop.policies.prediction_table import Batch, PredictionTable, Tie
from chiploop.policies.scored_batch import scored_batch

__all__ = ["SECOND_LOOKS", "TIE_ERRORS", "LinearGaussian", "best_of", "goal_information"]

SECOND_LOOKS = 20
"""Batches that are measured again."""
TIE_ERRORS = 2.0
"""Standard errors of a difference below which two batches count as the same."""


def goal_information(table: PredictionTable, rng: np.random.Generator) -> Batch:
    """Return the batch with the most expected information about the leading goal, for its cost.

    Raises ValueError where a line has no allowed candidate.
    """
    table = table.predictable()
    worth = Worth(table)
    found = search(table, LinearGaussian(table), worth, SECOND_LOOKS)
    return best_of(table, found.met, worth, NestedMonteCarlo(table, rng))


def best_of(
    table: PredictionTable,
    batches: tuple[tuple[int, ...], ...],
    worth: Worth,
    measure: NestedMonteCarlo,
    note: str = "",
) -> Batch:
    """Return the batch (one candidate per line) of most worth by nested Monte Carlo, and its ties."""
    estimates = [measure.information(dict(enumerate(batch))) for batch in batches]
    worths = [
        worth.of(estimate.nats, dict(enumerate(batch)))
        for estimate, batch in zip(estimates, batches, strict=True)
    ]
    order = sorted(range(len(batches)), key=lambda i: -worths[i])
    first = order[0]
    winner = estimates[first].scaled(worth.slope(dict(enumerate(batches[first]))))
    ties = []
    for i in order[1:]:
        other = estimates[i].scaled(worth.slope(dict(enumerate(batches[i]))))
        if worths[first] - worths[i] <= TIE_ERRORS * (winner - other).error_nats:
            behind = estimates[first] - estimates[i]
            ties.append(Tie(batches[i], estimates[i].nats, behind.nats, behind.error_nats))
    return scored_batch(table, batches[first], measure, tuple(ties), note)

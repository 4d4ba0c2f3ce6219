"""For a decision that is due: the batch after which the best guess of the goal will be least wrong.

Belongs here: the value of a batch. Not here: which batches are looked at; the screen of goal information names
them, since a batch that says little of the goal can not better the guess.

Loss of going on with a where q is right: |ln a - ln q|; the best guess is a (weighted) median. Each draw m in turn
is the truth: after y_m = mu_m + noise the guess is the median of the other draws, weighted by N(y_m; mu_l), and

    value = mean_m [|median of the others - ln q_m| - |weighted median - ln q_m|].

The guess never sees its truth, so no draw is right by having been asked about itself: the value is that of a guess
which can really be made, a lower bound of the best. It is 0 or a little less where nothing is learned.
"""

from __future__ import annotations

import numpy as np

from chiploop.policies.batch_search import Worth, search
from chiploop.policies.goal_information import SECOND_LOOKS, best_of
from chiploop.policies.linear_gaussian import LinearGaussian
from chiploop.policies.nested_information import NestedMonteCarlo, log_densities, shares
from chiploop.policies.prediction_table import Batch, PredictionTable
from chiploop.policies.scored_batch import scored_batch

FLAT_ERRORS = 3.0
"""Monte Carlo errors below which a value says nothing."""


def value_of(means: np.ndarray, noises: np.ndarray, goal: np.ndarray) -> tuple[float, float]:
    """Return by how much the loss (nats of ln goal) falls, and its Monte Carlo error.

    ``means`` (draws, d) whitened, ``noises`` (repeats, draws, d), ``goal`` (draws,).
    """
    order = np.argsort(goal, kind="stable")
    goal, means, noises = goal[order], means[order], noises[:, order]
    draws = len(goal)
    equal = np.full((draws, draws), 1.0 / (draws - 1))
    np.fill_diagonal(equal, 0.0)
    before = np.abs(weighted_medians(equal, goal) - goal)
    after = np.zeros(draws)
    for noise in noises:
        weights = shares(log_densities(means + noise, means))[0]
        after += np.abs(weighted_medians(weights, goal) - goal)
    gained = before - after / len(noises)
    return float(gained.mean()), float(gained.std(ddof=1) / np.sqrt(draws))


def weighted_medians(weights: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """Return (rows,) medians of ascending values under each row's weights, which sum to one."""
    return np.asarray(ascending[np.argmax(np.cumsum(weights, axis=1) >= 0.5 - 1e-12, axis=1)])


def value_of_information(table: PredictionTable, rng: np.random.Generator) -> Batch:
    """Return the batch that betters the guess of the goal most, for its cost; goal information where that is flat.

    Raises ValueError where a line has no allowed candidate.
    """
    table = table.predictable()
    worth = Worth(table)
    found = search(table, LinearGaussian(table), worth, SECOND_LOOKS)
    measure = NestedMonteCarlo(table, rng)
    start = (0.0, 0.0)
    if table.pending is not None:
        start = value_of(*measure.seen({}), table.goal)
    values = []
    for batch in found.met:
        value, error = value_of(*measure.seen(dict(enumerate(batch))), table.goal)
        values.append((value - start[0], float(np.hypot(error, start[1]))))
    worths = [
        worth.of(value, dict(enumerate(batch)))
        for (value, _), batch in zip(values, found.met, strict=True)
    ]
    first = int(np.argmax(worths))
    value, error = values[first]
    if not value > FLAT_ERRORS * error:
        note = (
            f"value of information {value:.3g} is below {FLAT_ERRORS:g} of its Monte Carlo errors "
            f"({error:.2g}): chosen by information about the goal"
        )
        return best_of(table, found.met, worth, measure, note)
    note = f"the guess of ln goal is expected to err by {value:.3g} (+- {error:.2g}) less"
    return scored_batch(table, found.met[first], measure, note=note)

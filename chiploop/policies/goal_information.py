"""Goal-oriented expected information gain, linear-Gaussian, greedy over the lines with swaps.

Belongs here: the estimator and the search over batches. Not here: simulations; the table has them all.

I(readouts; goal) = 1/2 [logdet(N + C) - logdet(N + R)] with C the covariance over posterior draws of the
predicted readouts, R that of what a polynomial in the goal leaves of them, N the noise. Information about
parameters that the goal does not depend on does not count.
"""

from __future__ import annotations

import numpy as np

from chiploop.policies.prediction_table import Batch, LineChoice, PredictionTable

DEGREE = 3
"""Of the polynomial in the goal."""


class LinearGaussian:
    """Information of any batch from covariances computed once."""

    def __init__(self, table: PredictionTable) -> None:
        self.table = table
        draws = len(table.goal)
        z = (table.goal - table.goal.mean()) / max(float(table.goal.std()), 1e-12)
        basis = np.linalg.qr(np.stack([z**k for k in range(DEGREE + 1)], axis=1))[0]
        self.offsets: list[int] = []
        flat, size = [], 0
        for features in table.features:
            self.offsets.append(size)
            flat.append(features.reshape(draws, -1))
            size += flat[-1].shape[1]
        f = np.concatenate(flat, axis=1)
        f = f - f.mean(axis=0)
        explained = basis.T @ f
        total = f.T @ f
        self.total = total / (draws - 1)
        # the polynomial uses up degrees of freedom: without them chance agreement counts as information
        self.rest = (total - explained.T @ explained) / (draws - 1 - DEGREE)

    def information(self, candidates: dict[int, int]) -> float:
        """Return the information in nats of giving each line its candidate: line -> candidate."""
        if not candidates:
            return 0.0
        columns, noise = [], []
        for line, candidate in sorted(candidates.items()):
            size = self.table.features[line].shape[2]
            columns.append(self.offsets[line] + candidate * size + np.arange(size))
            place = self.table.place(line)
            noise.append(np.arange(place.start, place.stop))
        at, n = np.concatenate(columns), np.concatenate(noise)
        own = self.table.noise[np.ix_(n, n)]
        before = np.linalg.slogdet(own + self.total[np.ix_(at, at)])[1]
        after = np.linalg.slogdet(own + self.rest[np.ix_(at, at)])[1]
        return float(0.5 * (before - after))


def goal_information(table: PredictionTable) -> Batch:
    """Return the batch with the most expected information about the leading goal.

    Raises ValueError where a line has no allowed candidate.
    """
    measure = LinearGaussian(table)
    open_to = {
        line: [int(k) for k in np.flatnonzero(allowed)]
        for line, allowed in enumerate(table.allowed)
    }
    empty = [table.lines[line] for line, options in open_to.items() if not options]
    if empty:
        raise ValueError(f"no dose is allowed on {', '.join(empty)}")
    chosen: dict[int, int] = {}
    for line, options in open_to.items():
        chosen[line] = max(options, key=lambda k: measure.information({**chosen, line: k}))
    best = measure.information(chosen)
    improved = True
    while improved:
        improved = False
        for line, options in open_to.items():
            for k in options:
                value = measure.information({**chosen, line: k})
                if value > best + 1e-9:
                    chosen[line], best, improved = k, value, True
    return Batch(
        choices=tuple(
            LineChoice(
                table.lines[line],
                k,
                best - measure.information({i: c for i, c in chosen.items() if i != line}),
            )
            for line, k in sorted(chosen.items())
        ),
        information_nats=best,
    )

"""Log-determinants of what is read: of one batch, and of all candidates of a line beside the lines already chosen.

Belongs here: what Gaussian measures of information share: the linear algebra, and the difference of two. Not here:
what the scores are (linear_gaussian, d_optimal), the search.

With scores S (rows, features) the covariance of readings is N + S'S, N the table's noise. For a line beside chosen
ones only the Schur complement is new,
    logdet A = logdet A_chosen + logdet(A_line - A_line,chosen A_chosen^-1 A_chosen,line),
so that a whole line of candidates costs one triangular solve. Pending readings count as chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.linalg import solve_triangular

from chiploop.policies.prediction_table import PredictionTable


class LogDeterminant:
    """logdet(N + S'S) of batches of one table."""

    def __init__(
        self,
        table: PredictionTable,
        scores: Sequence[np.ndarray],
        pending: np.ndarray | None,
    ) -> None:
        """Keep scores per line (rows, candidates, features) and of the pending readings (rows, p)."""
        self.noise = table.all_noise()
        self.scores = scores
        rows = scores[0].shape[0]
        self.pending = np.zeros((rows, 0)) if pending is None else pending
        start = self.pending.shape[1]
        self.places = [
            slice(start + table.place(line).start, start + table.place(line).stop)
            for line in range(len(table.lines))
        ]
        self.own = []
        for score, place in zip(scores, self.places, strict=True):
            by_candidate = score.transpose(1, 2, 0)
            spread = by_candidate @ by_candidate.transpose(0, 2, 1)
            self.own.append(spread + self.noise[place, place])

    def _chosen(self, chosen: Mapping[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (rows, k) and columns (k,) of the pending readings and the chosen lines."""
        scores, columns = [self.pending], [np.arange(self.pending.shape[1])]
        for line, candidate in sorted(chosen.items()):
            scores.append(self.scores[line][:, candidate])
            columns.append(np.arange(self.places[line].start, self.places[line].stop))
        return np.concatenate(scores, axis=1), np.concatenate(columns)

    def of(self, chosen: Mapping[int, int]) -> float:
        """Return the log-determinant for line -> candidate; 0 where nothing is read."""
        scores, columns = self._chosen(chosen)
        spread = self.noise[np.ix_(columns, columns)] + scores.T @ scores
        return float(np.linalg.slogdet(spread)[1])

    def of_line(self, line: int, others: Mapping[int, int]) -> np.ndarray:
        """Return (candidates,) log-determinants of the other lines and this one with each of its candidates."""
        rest = {other: k for other, k in others.items() if other != line}
        scores, columns = self._chosen(rest)
        own, score, place = self.own[line], self.scores[line], self.places[line]
        if not columns.size:
            return np.asarray(np.linalg.slogdet(own)[1])
        root = np.linalg.cholesky(self.noise[np.ix_(columns, columns)] + scores.T @ scores)
        count, size = own.shape[:2]
        cross = (scores.T @ score.reshape(len(score), count * size)).reshape(-1, count, size)
        cross = cross + self.noise[columns, place][:, None, :]
        explained = solve_triangular(root, cross.reshape(len(root), -1), lower=True)
        by_candidate = explained.reshape(-1, count, size).transpose(1, 2, 0)
        left = own - by_candidate @ by_candidate.transpose(0, 2, 1)
        return np.asarray(2.0 * np.log(np.diag(root)).sum() + np.linalg.slogdet(left)[1])


class GaussianInformation:
    """Half of what one log-determinant is above another, less what pending readings give alone."""

    def __init__(self, before: LogDeterminant, after: LogDeterminant) -> None:
        self.before, self.after = before, after
        self.of_pending = 0.5 * (before.of({}) - after.of({}))

    def information(self, candidates: Mapping[int, int]) -> float:
        """Return the nats of giving each line its candidate: line -> candidate."""
        gained = 0.5 * (self.before.of(candidates) - self.after.of(candidates))
        return gained - self.of_pending

    def alternatives(self, line: int, others: Mapping[int, int]) -> np.ndarray:
        """Return (candidates,) the nats of the other lines with each candidate of this one."""
        gained = 0.5 * (self.before.of_line(line, others) - self.after.of_line(line, others))
        return np.asarray(gained - self.of_pending)

"""Search over batches: line by line, then single swaps until none is better. Keeps the best that it met.

Belongs here: what a batch is worth with its cost, and the search. Not here: what is measured.

Building line by line comes within 1 - 1/e of the best for information about all parameters; nuisance
parameters break that promise, so swaps follow. The end is a local optimum, not always the best batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from chiploop.policies.linear_gaussian import Measure
from chiploop.policies.prediction_table import PredictionTable

LEAST_GAIN = 1e-9
"""By which a swap must be better."""


class Worth:
    """What information is worth at its cost."""

    def __init__(self, table: PredictionTable) -> None:
        self.cost = table.cost
        self.nats_per_cost = table.nats_per_cost
        if table.cost is not None and any((np.asarray(one) <= 0.0).any() for one in table.cost):
            raise ValueError(
                "every dose must cost more than 0 for information to be set against cost"
            )

    def slope(self, candidates: Mapping[int, int]) -> float:
        """Return by how much worth grows with information."""
        if self.cost is None or self.nats_per_cost is not None:
            return 1.0
        return 1.0 / sum(float(self.cost[line][k]) for line, k in candidates.items())

    def of(self, information_nats: float, candidates: Mapping[int, int]) -> float:
        """Return the worth of a batch."""
        if self.cost is None:
            return information_nats
        spent = sum(float(self.cost[line][k]) for line, k in candidates.items())
        return float(self._at(np.array([information_nats]), np.array([spent]))[0])

    def of_line(
        self, information_nats: np.ndarray, line: int, others: Mapping[int, int]
    ) -> np.ndarray:
        """Return (candidates,) the worth of the other lines with each candidate of this one."""
        if self.cost is None:
            return information_nats
        rest = sum(float(self.cost[other][k]) for other, k in others.items() if other != line)
        return self._at(information_nats, rest + np.asarray(self.cost[line], dtype=float))

    def _at(self, information_nats: np.ndarray, cost: np.ndarray) -> np.ndarray:
        if self.nats_per_cost is not None:
            return information_nats - self.nats_per_cost * cost
        # an estimate may fall below zero, and dividing would then praise the dearest
        per_cost = information_nats / cost
        return np.where(information_nats > 0.0, per_cost, information_nats * cost)


@dataclass(frozen=True)
class Searched:
    """What a search met."""

    best: tuple[int, ...]
    """Candidate per line."""
    worth: float
    met: tuple[tuple[int, ...], ...]
    """Distinct whole batches, best first; the first is ``best``."""


def search(table: PredictionTable, measure: Measure, worth: Worth, keep: int) -> Searched:
    """Return the best batch of allowed candidates and the ``keep`` best that were met on the way.

    Raises ValueError where a line has no allowed candidate.
    """
    options = table.options()
    lines = range(len(options))
    chosen: dict[int, int] = {}
    met: dict[tuple[int, ...], float] = {}

    def values_of(line: int) -> np.ndarray:
        values = worth.of_line(measure.alternatives(line, chosen), line, chosen)[options[line]]
        if len({*chosen, line}) == len(options):
            order = np.argsort(-values, kind="stable")[:keep]
            for value, k in zip(values[order], options[line][order], strict=True):
                batch = tuple(int(k) if other == line else chosen[other] for other in lines)
                met.setdefault(batch, float(value))
        return values

    best = -np.inf
    for line in lines:
        values = values_of(line)
        at = int(np.argmax(values))
        chosen[line], best = int(options[line][at]), float(values[at])
    settled = 0
    line = 0
    while settled < len(options):
        values = values_of(line)
        at = int(np.argmax(values))
        if values[at] > best + LEAST_GAIN and options[line][at] != chosen[line]:
            chosen[line], best, settled = int(options[line][at]), float(values[at]), 0
        settled += 1
        line = (line + 1) % len(options)
    end = tuple(chosen[other] for other in lines)
    others = sorted((batch for batch in met if batch != end), key=lambda batch: -met[batch])
    return Searched(end, best, (end, *others[: keep - 1]))

"""The dose policies that are compared: ours, and those that people use.

Belongs here: one function per policy, from a table and what was run to four doses. Not here: chips and fits
(proposal_scenario).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.proposal_scenario import BATCH, CANDIDATES_NM, Bench
from chiploop.inference.posterior import Posterior
from chiploop.policies.goal_information import goal_information

GRID_DOSES_NM = (0.0, 3.0, 17.0, 98.0, 550.0, 3_100.0, 17_700.0, 100_000.0)
"""The 8-dose log grid with the vehicle."""


Doses = Callable[[Bench, Posterior, np.random.Generator], list[float]]


def by_information(bench: Bench, posterior: Posterior, rng: np.random.Generator) -> list[float]:
    """Return the default policy's batch under the bound on harm."""
    batch = goal_information(bench.table(posterior, bounded=True), rng)
    return [CANDIDATES_NM[choice.candidate] for choice in batch.choices]


def without_bound(bench: Bench, posterior: Posterior, rng: np.random.Generator) -> list[float]:
    """Return the default policy's batch without any bound."""
    batch = goal_information(bench.table(posterior, bounded=False), rng)
    return [CANDIDATES_NM[choice.candidate] for choice in batch.choices]


def at_random(bench: Bench, posterior: Posterior, rng: np.random.Generator) -> list[float]:
    """Return log-uniform doses of the candidates, one in eight the vehicle."""
    return [
        0.0 if rng.random() < 1 / 8 else float(rng.choice(CANDIDATES_NM[1:])) for _ in range(BATCH)
    ]


def on_grid(bench: Bench, posterior: Posterior, rng: np.random.Generator) -> list[float]:
    """Return the next four doses of the log grid, each round in an order of its own."""
    batches = len(bench.doses_nm) // BATCH - 1
    order = np.random.default_rng([55, bench.seed, batches // 2]).permutation(len(GRID_DOSES_NM))
    half = order[(batches % 2) * BATCH :][:BATCH]
    return [GRID_DOSES_NM[k] for k in half]


POLICIES: dict[str, Doses] = {
    "eig": by_information,
    "eig_unbounded": without_bound,
    "random": at_random,
    "grid": on_grid,
}
"""Name -> policy."""

"""The dose policies that are compared: ours, and those that people use.

Belongs here: one function per policy, from a table and what was run to four doses. Not here: chips and fits
(proposal_scenario), the policies of BoTorch (proposal_botorch).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.proposal_botorch import toward_the_target, where_unsure
from benchmarks.proposal_scenario import BATCH, CANDIDATES_NM, OVERDOSE, Bench
from chiploop.batch_safety import safe_batch
from chiploop.inference.posterior import Posterior
from chiploop.policies import Policy
from chiploop.policies.d_optimal import d_optimal
from chiploop.policies.goal_information import goal_information
from chiploop.policies.thompson import thompson
from chiploop.policies.value_of_information import value_of_information
from chiploop.spread_out import spread_out

GRID_DOSES_NM = (0.0, 3.0, 17.0, 98.0, 550.0, 3_100.0, 17_700.0, 100_000.0)
"""The 8-dose log grid with the vehicle."""


Doses = Callable[[Any, Posterior, np.random.Generator], list[Any]]


def ours(policy: Policy, bounded: bool) -> Doses:
    """Return a policy of chiploop on the benchmark's table, with or without the bound on harm."""

    def doses(bench: Bench, posterior: Posterior, rng: np.random.Generator) -> list[Any]:
        batch = policy(bench.table(posterior, bounded), rng)
        return [bench.candidates[choice.candidate] for choice in batch.choices]

    return doses


def with_batch_limit(bench: Bench, posterior: Posterior, rng: np.random.Generator) -> list[Any]:
    """Return the default policy's batch as a proposal hands it on.

    A batch may be expected to harm no more than one chip at the limit of one dose, as a study whose lines have one
    chip each has it where it does not say otherwise.
    """
    table = bench.table(posterior, bounded=True)
    batch = goal_information(table, rng)
    safe = safe_batch(
        table,
        {line: choice.candidate for line, choice in enumerate(batch.choices)},
        chips=[1] * BATCH,
        risk_chips=OVERDOSE,
        worth={line: choice.information_nats for line, choice in enumerate(batch.choices)},
    )
    return [bench.candidates[safe.chosen[line]] for line in range(BATCH)]


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


def in_doubt(bench: Bench, posterior: Posterior, rng: np.random.Generator) -> list[float]:
    """Return what is given while the data contradict the model: spread-out doses, none above what was read."""
    table = bench.table(posterior, bounded=True)
    first = len(bench.doses_nm)
    donors = {line: (bench.chip(first + i)[1],) for i, line in enumerate(table.lines)}
    spread = spread_out(table, donors, int(rng.integers(2**31)), max(bench.doses_nm))
    return [CANDIDATES_NM[spread.chosen[i]] for i in range(BATCH)]


POLICIES: dict[str, Doses] = {
    "eig": ours(goal_information, True),
    "eig_batch_limit": with_batch_limit,
    "random": at_random,
    "grid": on_grid,
    "d_optimal": ours(d_optimal, False),
    "d_optimal_bounded": ours(d_optimal, True),
    "botorch_qlognei": toward_the_target,
    "botorch_variance": where_unsure,
    "voi": ours(value_of_information, True),
    "eig_unbounded": ours(goal_information, False),
    "thompson": ours(thompson, True),
}
"""Name -> policy, in the order in which they are run."""
OF_BOTORCH = ("botorch_qlognei", "botorch_variance")

"""How long one proposal takes: 12 chips over concentration x schedule, ours and BoTorch's, in one process.

Belongs here: the clock. Not here: what is proposed.

The state is that after the pilot and two batches of the grid. BoTorch gets the same chips, candidates and batch;
its inputs are dose and the share of either half of the exposure in which the drug flows, since it knows no time
course.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.proposal_botorch import BatchOfBoTorch, is_installed
from benchmarks.proposal_scenario import PILOT_NM, Tissue
from benchmarks.proposal_schedules import CANDIDATES, ScheduleBench
from chiploop.policies.goal_information import goal_information

CHIPS = 12
REPEATS = 5
READ_NM = (0.0, 3.0, 17.0, 98.0, 550.0, 3_100.0, 17_700.0, 98.0)
AFTER_TABLE_S, WITH_TABLE_S = 5.0, 20.0
"""The bars."""


def median_s(work: Callable[[], Any]) -> float:
    """Return the median wall time of some calls; the first of all, which compiles and loads, is not counted."""
    work()
    spent = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        work()
        spent.append(time.perf_counter() - begun)
    return float(np.median(spent))


def measured(tissue: Tissue, seed: int = 0) -> dict[str, Any]:
    """Return seconds of each part, and the ratios to BoTorch's where it is there."""
    bench = ScheduleBench(tissue, seed)
    bench.run(PILOT_NM)
    bench.run(READ_NM[:4])
    bench.run(READ_NM[4:])
    posterior, _ = bench.fit(None)
    table = bench.table(posterior, True, CHIPS)
    rng = np.random.default_rng(58)
    found: dict[str, Any] = {
        "chips": CHIPS,
        "candidates": len(CANDIDATES),
        "draws": len(table.goal),
        "table_s": median_s(lambda: bench.table(posterior, True, CHIPS)),
        "after_table_s": median_s(lambda: goal_information(table, rng)),
    }
    found["with_table_s"] = found["table_s"] + found["after_table_s"]
    found["reached"] = (
        found["after_table_s"] < AFTER_TABLE_S and found["with_table_s"] < WITH_TABLE_S
    )
    if not is_installed():
        found["botorch"] = None
        return found
    peer = BatchOfBoTorch(bench, CANDIDATES, CHIPS)
    found["botorch"] = {
        "qlognei_s": median_s(peer.toward_the_target),
        "variance_s": median_s(peer.where_unsure),
    }
    for name, seconds in list(found["botorch"].items()):
        other = name.removesuffix("_s")
        found["botorch"][f"ours_after_table_over_{other}"] = found["after_table_s"] / seconds
        found["botorch"][f"ours_with_table_over_{other}"] = found["with_table_s"] / seconds
    return found


def sentences(found: dict[str, Any]) -> list[str]:
    """Return the times as text."""
    verdict = "reached" if found["reached"] else "NOT REACHED"
    said = [
        f"a proposal for {found['chips']} chips over {found['candidates']} candidates (47 concentrations x 4 "
        f"schedules, the vehicle once): {found['after_table_s']:.2f} s after the table, "
        f"{found['with_table_s']:.2f} s with it (bars {AFTER_TABLE_S:g} and {WITH_TABLE_S:g} s: {verdict})"
    ]
    peer = found["botorch"]
    if peer is None:
        return [*said, "BoTorch is not installed: no ratio"]
    for name, title in (("qlognei", "qLogNEI"), ("variance", "integrated variance")):
        said.append(
            f"BoTorch, {title}, the same batch: {peer[name + '_s']:.2f} s; ours is "
            f"{peer['ours_with_table_over_' + name]:.2f} x that with the table, "
            f"{peer['ours_after_table_over_' + name]:.2f} x after it"
        )
    return said

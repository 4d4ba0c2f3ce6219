"""One run of a dose policy on one hidden truth, and the file that keeps it.

Belongs here: batches until the EC50 is known or the chips are used up, and which runs are still missing. Not here:
counting (proposal_report).
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.proposal_policies import POLICIES, Doses, in_doubt
from benchmarks.proposal_scenario import HORIZON, PILOT_NM, Bench, Tissue
from benchmarks.proposal_schedules import SCHEDULED, ScheduleBench
from chiploop.goals import estimate, goal_values
from chiploop.inference.posterior import Posterior

FOLD = 2.0
EVERY: dict[str, Doses] = {**POLICIES, **SCHEDULED}
"""Name -> policy, of both scenarios."""
FIXED = "fixed"
FIXED_NM = (0.0, 0.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0) * 2 + (0.0, 0.0, 30.0, 100.0)
"""Not a policy: the same 20 chips on every truth and one fit of them, so that nothing ends by what was read."""
GATED_HORIZON = 48
"""A run in doubt never ends by its interval; it ends here."""


@dataclass(frozen=True)
class Case:
    """What is run."""

    seed: int
    policy: str
    wrong: bool = False
    """Whether the truth is of the virtual laboratory's other model, or has a flaw."""
    gate: bool = False
    """Whether the misfit gate is heard: spread-out doses while it fires, and no end by an interval in doubt."""
    flaw: str = ""
    """Which one is planted in a wrong truth; empty: the laboratory's other model."""

    @classmethod
    def of(cls, row: dict[str, Any]) -> Case:
        """Return which case a stored row is."""
        return cls(row["seed"], row["policy"], row["wrong"], row["gate"], row.get("flaw", ""))


def row_of(tissue: Tissue, case: Case) -> dict[str, Any]:
    """Run one policy on one hidden truth."""
    begun = time.process_time()
    is_scheduled = case.policy in SCHEDULED
    bench = (ScheduleBench if is_scheduled else Bench)(tissue, case.seed, case.wrong, case.flaw)
    # of the policy's name alone: another policy in the table changes no run of this one
    rng = np.random.default_rng([56, case.seed, zlib.crc32(case.policy.encode())])
    first = FIXED_NM if case.policy == FIXED else PILOT_NM
    horizon = GATED_HORIZON if case.gate else HORIZON
    if case.policy == FIXED:
        horizon = len(first)
    bench.run(first)
    goal = tissue.study.goals[0]
    truth = bench.goal_nm()
    posterior: Posterior | None = None
    steps: list[dict[str, Any]] = []
    while True:
        posterior, info = bench.fit(posterior)
        found = estimate(
            goal.name, goal_values(tissue.model, tissue.study, posterior.particles)[goal.name]
        )
        doubt = info.misfit is not None and info.misfit.fires
        steps.append(
            {
                "chips": len(bench.doses_nm),
                "lower": float(f"{found.lower:.5g}"),
                "median": float(f"{found.median:.5g}"),
                "upper": float(f"{found.upper:.5g}"),
                "passed": info.passed,
                "doubt": doubt,
                "ess": round(info.ess),
            }
        )
        heard = case.gate and doubt
        done = not heard and found.unreached == 0.0 and found.upper / found.lower <= FOLD
        if done or len(bench.doses_nm) >= horizon:
            break
        bench.run((in_doubt if heard else EVERY[case.policy])(bench, posterior, rng))
    return {
        **asdict(case),
        "truth": float(f"{truth:.5g}"),
        "chips": len(bench.doses_nm),
        "met": done,
        "unsafe": bench.unsafe,
        "doses": bench.doses_nm,
        **({"schedules": bench.schedules} if isinstance(bench, ScheduleBench) else {}),
        "steps": steps,
        "cpu_s": round(time.process_time() - begun, 1),
    }


def run_missing(
    cases: Iterable[Case], path: Path, run: Callable[[Case], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Run the cases that have no row in the file, append one row each, and return all rows of the file."""
    for case in cases:
        # read anew: another process may have run it meanwhile
        if case in {Case.of(row) for row in read(path)}:
            continue
        row = run(case)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    return read(path)


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows that are there, the first of each case: two processes may have run the same."""
    if not path.exists():
        return []
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line]
    rows: dict[Case, dict[str, Any]] = {}
    for row in map(json.loads, lines):
        rows.setdefault(Case.of(row), row)
    return list(rows.values())

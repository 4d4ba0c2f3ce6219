"""How many chips a policy needs: ``python -m benchmarks.proposal --seeds 40 [--policy NAME ...] [--json]``.

Every policy begins with the same pilot of four chips on the same hidden truths, then runs batches of four fresh
chips until the 90 % interval of the EC50 is within a factor of 2, or 80 chips are used. One row per seed and
policy is appended to --out, so that an interrupted run goes on. The report gives medians, paired ratios to the
default with their bootstrap, coverage, and how many chips were harmed. Scenario and policies are told in
proposal_scenario and proposal_policies.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from benchmarks.proposal_policies import POLICIES
from benchmarks.proposal_scenario import HORIZON, PILOT_NM, Bench, Tissue
from chiploop.goals import estimate, goal_values
from chiploop.inference.posterior import Posterior

FOLD = 2.0
LEVEL = 0.9
BOOTSTRAPS = 4000
ROWS = Path(__file__).parents[1] / "docs" / "proposal_rows.jsonl"


def row_of(tissue: Tissue, seed: int, policy: str, wrong: bool) -> dict[str, Any]:
    """Run one policy on one hidden truth."""
    begun = time.perf_counter()
    bench = Bench(tissue, seed, wrong)
    rng = np.random.default_rng([56, seed, sorted(POLICIES).index(policy)])
    bench.run(PILOT_NM)
    goal = tissue.study.goals[0]
    truth = bench.goal_nm()
    posterior: Posterior | None = None
    steps: list[dict[str, Any]] = []
    while True:
        posterior, info = bench.fit(posterior)
        found = estimate(
            goal.name, goal_values(tissue.model, tissue.study, posterior.particles)[goal.name]
        )
        steps.append(
            {
                "chips": len(bench.doses_nm),
                "lower": float(f"{found.lower:.5g}"),
                "median": float(f"{found.median:.5g}"),
                "upper": float(f"{found.upper:.5g}"),
                "passed": info.passed,
                "ess": round(info.ess),
            }
        )
        done = found.unreached == 0.0 and found.upper / found.lower <= FOLD
        if done or len(bench.doses_nm) >= HORIZON:
            break
        bench.run(POLICIES[policy](bench, posterior, rng))
    return {
        "seed": seed,
        "policy": policy,
        "wrong": wrong,
        "truth": float(f"{truth:.5g}"),
        "chips": len(bench.doses_nm),
        "met": done,
        "unsafe": bench.unsafe,
        "doses": bench.doses_nm,
        "steps": steps,
        "seconds": round(time.perf_counter() - begun, 1),
    }


def report(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what each policy needed, beside the default on the same seeds."""
    found: dict[str, Any] = {}
    by = {(row["policy"], row["seed"]): row for row in rows}
    names = list(dict.fromkeys(row["policy"] for row in rows))
    for name in names:
        own = [row for row in rows if row["policy"] == name]
        chips = np.array([row["chips"] for row in own])
        last = [row["steps"][-1] for row in own]
        held = [s["lower"] <= row["truth"] <= s["upper"] for s, row in zip(last, own, strict=True)]
        one: dict[str, Any] = {
            "seeds": len(own),
            "chips_median": float(np.median(chips)),
            "chips_quartiles": [float(q) for q in np.quantile(chips, [0.25, 0.75])],
            "met": sum(row["met"] for row in own),
            "held": sum(held),
            "unsafe_percent": 100.0 * sum(row["unsafe"] for row in own) / float(chips.sum()),
            "vehicle_percent": 100.0
            * sum(row["doses"].count(0.0) for row in own)
            / float(chips.sum()),
        }
        if name != "eig":
            pairs = [
                (by["eig", row["seed"]]["chips"], row["chips"])
                for row in own
                if ("eig", row["seed"]) in by
            ]
            if pairs:
                one["eig_over_this"] = ratio(np.array(pairs, dtype=float))
        found[name] = one
    return found


def ratio(pairs: np.ndarray) -> dict[str, float]:
    """Return the ratio of the medians of (n, 2) paired counts, with its 90 % bootstrap over seeds."""
    rng = np.random.default_rng(57)
    drawn = pairs[rng.integers(len(pairs), size=(BOOTSTRAPS, len(pairs)))]
    ratios = np.median(drawn[..., 0], axis=1) / np.median(drawn[..., 1], axis=1)
    low, high = np.quantile(ratios, [0.05, 0.95])
    medians = np.median(pairs, axis=0)
    return {"ratio": float(medians[0] / medians[1]), "lower": float(low), "upper": float(high)}


def main() -> None:
    """Run what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--policy", action="append", choices=tuple(POLICIES))
    parser.add_argument("--wrong", action="store_true", help="Truths of another model.")
    parser.add_argument("--out", type=Path, default=ROWS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--report", action="store_true", help="Run nothing.")
    asked = parser.parse_args()
    rows = read(asked.out)
    known = {(row["policy"], row["seed"], row["wrong"]) for row in rows}
    tissue = Tissue.usual()
    for seed in range(asked.first, asked.first + asked.seeds) if not asked.report else ():
        for policy in asked.policy or POLICIES:
            if (policy, seed, asked.wrong) in known:
                continue
            row = row_of(tissue, seed, policy, asked.wrong)
            rows.append(row)
            with asked.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    told = report([row for row in rows if row["wrong"] == asked.wrong])
    if asked.json:
        print(json.dumps(told, indent=1))
        return
    for name, one in told.items():
        low, high = one["chips_quartiles"]
        line = (
            f"{name:16} {one['chips_median']:3.0f} chips [{low:.0f}, {high:.0f}], met {one['met']} of "
            f"{one['seeds']}, held {one['held']}, unsafe {one['unsafe_percent']:.1f} %, vehicle "
            f"{one['vehicle_percent']:.0f} %"
        )
        if "eig_over_this" in one:
            r = one["eig_over_this"]
            line += f", eig / this {r['ratio']:.2f} ({r['lower']:.2f} to {r['upper']:.2f})"
        print(line)


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows that are there."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


if __name__ == "__main__":
    main()

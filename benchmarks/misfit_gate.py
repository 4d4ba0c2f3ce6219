"""How often the misfit gate fires: ``python -m benchmarks.misfit_gate --runs 100``.

Runs whole virtual studies with a hidden truth of another structure (``truth``) and of the fitted model
(``matched``), and counts in how many the gate fires, and in how many of those whose 90 % interval of the leading
goal misses the truth. One line per seed and mode is kept in the output file, so an interrupted benchmark goes on
where it was.
``--effort laplace`` takes intervals from the normal approximation at the mode, ``full`` from the sampler.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta

from benchmarks.misfit_runs import one_run
from chiploop.inference.misfit import THRESHOLD
from chiploop.study import load_study

STUDY = Path(__file__).parents[1] / "protocols" / "studies" / "ad_jak_dose_finding.yaml"
TOP_NM = 1e6
"""An interval that ends at the grid's end holds a truth beyond it."""


def is_wrong(row: dict[str, Any], cycle: int, goal: str) -> bool:
    """Return whether a cycle's interval of a goal misses the truth."""
    truth = row["truth"][goal]
    truth = math.inf if truth is None else truth
    lower, _, upper = row["cycles"][cycle]["goals"][goal]
    return not (lower <= truth <= upper or (truth > TOP_NM and upper >= TOP_NM))


def share(hits: int, of: int) -> dict[str, Any]:
    """Return a share with its exact 95 % interval."""
    if not of:
        return {"hits": 0, "of": 0}
    low = float(beta.ppf(0.025, hits, of - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, of - hits)) if hits < of else 1.0
    return {
        "hits": hits,
        "of": of,
        "share": round(hits / of, 3),
        "interval_95": [round(low, 3), round(high, 3)],
    }


def counted(rows: list[dict[str, Any]], goal: str, threshold: float) -> dict[str, Any]:
    """Return what the gate did in the rows of one mode and effort that ran to their last cycle."""
    last = max(len(row["cycles"]) for row in rows)
    rows = [row for row in rows if len(row["cycles"]) == last]
    p = np.array([[cycle["p_value"] for cycle in row["cycles"]] for row in rows])
    fires = p <= threshold
    wrong = np.array([[is_wrong(row, c, goal) for c in range(last)] for row in rows])
    families = rows[0]["cycles"][-1]["family_p"]
    return {
        "runs": len(rows),
        "interval_wrong": share(int(wrong[:, -1].sum()), len(rows)),
        "fires": share(int(fires[:, -1].sum()), len(rows)),
        "fires_where_wrong": share(int(fires[wrong[:, -1], -1].sum()), int(wrong[:, -1].sum())),
        "fires_in_any_cycle": share(int(fires.any(axis=1).sum()), len(rows)),
        "by_cycle": {
            f"cycle {c + 1}": {
                "wrong": int(wrong[:, c].sum()),
                "fires": int(fires[:, c].sum()),
                "fires_where_wrong": int(fires[wrong[:, c], c].sum()),
            }
            for c in range(last)
        },
        "family_below_0.05": {
            name: round(
                float(np.mean([r["cycles"][-1]["family_p"][name] <= 0.05 for r in rows])), 3
            )
            for name in families
        },
        "first_finding": most_common([row["cycles"][-1]["findings"][0]["name"] for row in rows]),
    }


def most_common(names: list[str]) -> dict[str, int]:
    """Return the five commonest names with their counts."""
    counts = sorted(((names.count(name), name) for name in set(names)), reverse=True)
    return {name: count for count, name in counts[:5]}


def main() -> None:
    """Run the seeds that are not in the file yet, then print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=20)
    options.add_argument("--first", type=int, default=1)
    options.add_argument(
        "--modes", nargs="+", choices=["truth", "matched"], default=["truth", "matched"]
    )
    options.add_argument("--effort", choices=["laplace", "full"], default="laplace")
    options.add_argument("--threshold", type=float, default=THRESHOLD)
    options.add_argument("--study", type=Path, default=STUDY)
    options.add_argument("--out", type=Path, default=Path("misfit_gate.jsonl"))
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    study = load_study(asked.study)
    lines = asked.out.read_text("utf-8").splitlines() if asked.out.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {(row["seed"], row["mode"], row["effort"]) for row in rows}
    for seed in range(asked.first, asked.first + asked.runs):
        for mode in asked.modes:
            if (seed, mode, asked.effort) in done:
                continue
            since = time.perf_counter()
            row = one_run(study, seed, mode, asked.effort)
            row["wall_s"] = round(time.perf_counter() - since, 1)
            rows.append(row)
            with asked.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            p = [round(cycle["p_value"], 3) for cycle in row["cycles"]]
            print(f"seed {seed} {mode}: p {p}, {row['wall_s']} s", file=sys.stderr, flush=True)
    goal = study.goals[0].name
    result = {
        mode: counted(chosen, goal, asked.threshold)
        for mode in asked.modes
        if (chosen := [r for r in rows if (r["mode"], r["effort"]) == (mode, asked.effort)])
    }
    print(json.dumps(result) if asked.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

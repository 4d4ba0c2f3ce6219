"""Coverage of the demo's goal over many seeds in matched mode: ``python -m benchmarks.goal_coverage --seeds 20``.

Each seed is one whole ``chiploop simulate --matched``, through bytes and flows. One row per seed is kept in
the output file, so an interrupted benchmark goes on where it was. Prints in how many runs the 90 % interval
of each goal held the hidden truth at the last cycle, in how many its width fell from the first cycle to the
last, and the binomial range that an honest 90 % interval would show.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from scipy.stats import binom

STUDY = Path(__file__).parents[1] / "protocols" / "studies" / "ad_jak_dose_finding.yaml"


def one_run(seed: int, study: Path) -> dict[str, Any]:
    """Return what one seed gave: per goal the truth and the interval after every cycle."""
    with tempfile.TemporaryDirectory() as runs:
        command = [
            sys.executable,
            "-c",
            "from flows.cli.main import main; main()",
            "simulate",
            str(study),
        ]
        done = subprocess.run(
            [*command, "--matched", "--seed", str(seed), "--json", "--runs", runs],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            return {
                "seed": seed,
                "exit_code": done.returncode,
                "message": done.stderr.strip()[-500:],
            }
        summary = json.loads(done.stdout)
    goals: dict[str, Any] = {}
    for cycle in summary["cycles"]:
        for goal, truth in zip(cycle["goals"], cycle["truths"], strict=True):
            entry = goals.setdefault(goal["name"], {"truth": truth["value"], "intervals": []})
            entry["intervals"].append([goal["lower"], goal["median"], goal["upper"]])
    return {
        "seed": seed,
        "exit_code": 0,
        "wall_s": summary["wall_s"],
        "passed": [cycle["diagnostics"]["passed"] for cycle in summary["cycles"]],
        "ess": [round(cycle["diagnostics"]["ess"]) for cycle in summary["cycles"]],
        "goals": goals,
    }


def judged(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return per goal: runs, how many intervals held the truth, how many fell in width."""
    done = [row for row in rows if row["exit_code"] == 0]
    result: dict[str, Any] = {"runs": len(rows), "finished": len(done)}
    names = list(done[0]["goals"]) if done else []
    low, high = binom.interval(0.98, len(done), 0.9) if done else (0, 0)
    result["honest_range"] = [int(low), int(high)]
    for name in names:
        held = fell = 0
        folds = []
        for row in done:
            goal = row["goals"][name]
            truth = math.inf if goal["truth"] is None else goal["truth"]
            first, last = goal["intervals"][0], goal["intervals"][-1]
            top = 1e6  # an interval that ends at the grid's end holds a truth beyond it
            held += last[0] <= truth <= last[2] or (truth > top and last[2] >= top)
            widths = [math.log(one[2] / one[0]) for one in (first, last)]
            fell += widths[1] < widths[0]
            folds.append(last[2] / last[0])
        result[name] = {
            "held": held,
            "width_fell": fell,
            "median_fold": round(sorted(folds)[len(folds) // 2], 3),
        }
    return result


def main() -> None:
    """Run the seeds that are not in the file yet, then print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=20)
    options.add_argument("--first", type=int, default=1)
    options.add_argument("--study", type=Path, default=STUDY)
    options.add_argument("--out", type=Path, default=Path("coverage.json"))
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    rows = json.loads(asked.out.read_text("utf-8")) if asked.out.exists() else []
    for seed in range(asked.first, asked.first + asked.seeds):
        if any(row["seed"] == seed for row in rows):
            continue
        rows.append(one_run(seed, asked.study))
        asked.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        print(f"seed {seed}: {json.dumps(rows[-1])[:300]}", file=sys.stderr, flush=True)
    result = judged(rows)
    print(json.dumps(result) if asked.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

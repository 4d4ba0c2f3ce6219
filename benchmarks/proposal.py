"""How many chips a policy needs: ``python -m benchmarks.proposal --seeds 40 [--part PART ...] [--json]``.

Every policy begins with the same pilot of four chips on the same hidden truths, then runs batches of four fresh
chips until the 90 % interval of the EC50 is within a factor of 2, or 80 chips are used. One row per seed and
policy is appended to --out, so that an interrupted run goes on; the report is of all rows of these seeds. Parts:
``plain`` (the comparison), ``wrong`` (truths of another model, the gate off and on, 20 seeds), ``flaws`` (the same
with truths whose flaw misleads the EC50), ``schedules`` (concentration and schedule), ``fresh`` (the default and
its rivals on seeds that were never looked at), ``fixed`` (how often an interval holds the truth where no run is
ended by it), ``time`` (how long one proposal takes). Scenario and policies are
told in proposal_scenario, proposal_flaws, proposal_schedules and proposal_policies.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks.proposal_botorch import is_installed
from benchmarks.proposal_figures import LABELS, write_figures
from benchmarks.proposal_flaws import FLAWS
from benchmarks.proposal_policies import OF_BOTORCH, POLICIES
from benchmarks.proposal_report import OURS, RIVALS, bars, report
from benchmarks.proposal_run import FIXED, Case, read, row_of, run_missing
from benchmarks.proposal_scenario import Tissue
from benchmarks.proposal_schedules import SCHEDULED
from benchmarks.proposal_tables import tables
from benchmarks.proposal_timing import measured, sentences

DOCS = Path(__file__).parents[1] / "docs"
ROWS = DOCS / "proposal_rows.jsonl"
PARTS = ("plain", "wrong", "flaws", "schedules", "fresh", "fixed", "time")
WRONG_SEEDS = 20
WRONG = (("eig", False), ("eig", True), ("random", False), ("grid", False))
"""Policy and whether it hears the gate, on truths of another model."""
FLAWED = (*WRONG, ("eig_batch_limit", True))
"""The same on truths with a planted flaw. The last still lacks what the loop has besides: doses closed after harm
that was read, and the bound of a batch while doses are spread out."""
FRESH = range(100, 140)
"""Seeds on which ``eig_batch_limit`` is confirmed: it was added after the rows of eig on the first seeds had been
seen. Written down before any policy was run on them."""
CONFIRMED = ("eig_batch_limit", "eig", "random", "grid")
"""What is run on the fresh seeds."""
FIXED_SEEDS = range(300, 400)
ABSENT = "BoTorch is not installed (pip install 'chiploop[bench-peers]'): its policies are left out"


def cases(parts: Sequence[str], policies: Sequence[str], seeds: range) -> Iterator[Case]:
    """Yield what is to be run; policies whose package is missing are not."""
    for seed in seeds if "plain" in parts else ():
        for policy in POLICIES:
            if policy in policies and (policy not in OF_BOTORCH or is_installed()):
                yield Case(seed, policy)
    for seed in seeds if "schedules" in parts else ():
        for policy in SCHEDULED:
            if policy in policies:
                yield Case(seed, policy)
    for seed in seeds[:WRONG_SEEDS] if "wrong" in parts else ():
        for policy, gate in WRONG:
            if policy in policies:
                yield Case(seed, policy, True, gate)
    for flaw in FLAWS if "flaws" in parts else ():
        for seed in seeds[:WRONG_SEEDS]:
            for policy, gate in FLAWED:
                if policy in policies:
                    yield Case(seed, policy, True, gate, flaw)
    for seed in FRESH if "fresh" in parts else ():
        for policy in CONFIRMED:
            if policy in policies:
                yield Case(seed, policy)
    for seed in FIXED_SEEDS if "fixed" in parts else ():
        yield Case(seed, FIXED)


def main() -> None:
    """Run what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    every = (*POLICIES, *SCHEDULED)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--part", action="append", choices=PARTS, help="Usual: plain and time.")
    parser.add_argument("--policy", action="append", choices=every)
    parser.add_argument("--out", type=Path, default=ROWS)
    parser.add_argument("--figures", action="store_true", help="Write docs/figures/proposal_*.svg.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--report", action="store_true", help="Run nothing.")
    asked = parser.parse_args()
    parts = asked.part or ["plain", "time"]
    if not is_installed():
        print(ABSENT, file=sys.stderr)
    tissue = Tissue.usual()
    seeds = range(asked.first, asked.first + asked.seeds)
    missing = cases(parts, asked.policy or every, seeds)
    rows = read(asked.out)
    if not asked.report:
        rows = run_missing(missing, asked.out, lambda case: row_of(tissue, case))
    told = told_of(rows, seeds)
    if "time" in parts and not asked.report:
        told["time"] = measured(tissue)
    if asked.figures:
        write_figures(told, DOCS / "figures")
    print(json.dumps(told, indent=1) if asked.json else text_of(told))


def told_of(rows: Sequence[dict[str, Any]], seeds: range) -> dict[str, Any]:
    """Return the report: right and wrong truths apart, the fresh seeds and every seed that was run beside them."""
    right = [row for row in rows if not row["wrong"]]
    wrong = [row for row in rows if row["wrong"] and row["seed"] in seeds]
    return {
        **of_seeds(right, seeds),
        "wrong": report([row for row in wrong if not row.get("flaw")]),
        "flaws": {
            flaw: report([row for row in wrong if row.get("flaw") == flaw]) for flaw in FLAWS
        },
        "fresh": of_seeds(right, FRESH),
        "every_seed": report([row for row in right if row["policy"] in (*OURS, *RIVALS, FIXED)]),
    }


def of_seeds(rows: Sequence[dict[str, Any]], seeds: range) -> dict[str, Any]:
    """Return what each policy needed on right truths of these seeds, and the bars of both of ours."""
    found = report([row for row in rows if row["seed"] in seeds])
    return {
        "seeds": f"{seeds.start} to {seeds.stop - 1}",
        "policies": found,
        "bars": [bar for ours in OURS for bar in bars(found, ours)],
    }


def text_of(told: dict[str, Any]) -> str:
    """Return the report as text: the tables of docs/benchmarks_proposal.md."""
    every = told["every_seed"]
    lines = [
        f"{name}, all {one['seeds']} seeds: unsafe {one['unsafe_percent']:.1f} % "
        "[{:.1f}, {:.1f}]".format(*one["unsafe_percent_interval"])
        + ", holds {hits} of {of} [{lower:.0%}, {upper:.0%}]".format(**one["coverage"])
        for name, one in every.items()
    ]
    parts = [*tables(told, tuple(LABELS)), "\n".join(lines)]
    return "\n\n".join([*parts, *(sentences(told["time"]) if "time" in told else [])])


if __name__ == "__main__":
    main()

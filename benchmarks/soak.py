"""Thirty virtual days of 24 chips with seeded faults: does it end, is memory flat, does every fault show.

``python -m benchmarks.soak [--study FILE] [--seed N] [--json]``

Faults come by a Poisson process for each kind, at the rates below, on virtual time; what each must leave behind is
a row of ``FAULTS``. A fault on a wire waits for its exchange.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

STUDY = Path(__file__).with_name("soak_study.yaml")
WARM_UP_DAYS = 5
FLAT = 0.10
"""How much memory may grow after the warm-up."""
BUDGET_S = 600.0


@dataclass(frozen=True)
class FaultKind:
    """One kind of trouble: how often, what is asked of the emulators, where it shows."""

    per_30_days: float
    request: dict[str, Any]
    shows: str
    """``journal``: a line is held; ``wire``: a command without an answer, or asked again after a flipped bit."""


FAULTS: dict[str, FaultKind] = {
    "pump stalls": FaultKind(2.0, {"pump": "", "kind": "block"}, "journal"),
    "pump answer lost": FaultKind(
        10.0, {"port": "pumps", "kind": "drop_reply", "matching": "DIS"}, "wire"
    ),
    "pump answer garbled": FaultKind(
        6.0, {"port": "pumps", "kind": "flip_bit", "matching": "DIS", "at_byte": 4}, "wire"
    ),
    "reader answer lost": FaultKind(3.0, {"port": "reader", "kind": "drop_reply"}, "wire"),
}
"""Rates as a bench with good cables has them, roundly; nobody has measured them."""


def schedule(names: list[str], end_h: float, seed: int) -> list[dict[str, Any]]:
    """Return every fault of a run: its kind and the request, in time order; a pump stalls at most once a line."""
    rng = np.random.default_rng([seed, 20])
    found: list[dict[str, Any]] = []
    stalled: set[str] = set()
    for kind, what in FAULTS.items():
        for _ in range(rng.poisson(what.per_30_days * end_h / 720.0)):
            request = {**what.request, "at_h": float(rng.uniform(30.0, 0.95 * end_h))}
            if "pump" in request:
                free = [name for name in names if name.split("-")[0] not in stalled]
                request["pump"] = str(rng.choice(free))
                stalled.add(request["pump"].split("-")[0])
            found.append({"fault": kind, "request": request})
    return sorted(found, key=lambda one: float(one["request"]["at_h"]))


def rss_mb() -> float:
    """Return the resident memory of this process."""
    told = Path("/proc/self/status").read_text(encoding="ascii")
    return float(re.findall(r"VmRSS:\s+(\d+) kB", told)[0]) / 1024.0


def measure(study: Path, seed: int, folder: Path) -> dict[str, Any]:
    """Run the study with its faults and return what came of it."""
    from flows.prefect_server import start_in_background

    server = start_in_background(folder / "prefect")
    try:
        from chiploop.models.study_model import model_of
        from chiploop.study import load_study
        from flows.closed_loop import closed_loop
        from flows.laboratory import tell_nobody
        from flows.opening import new_run, open_laboratory

        server.wait_ready()
        files = new_run(load_study(study), folder / "runs", seed, True, False)
        model_of(files.study)
        begun_s, daily = time.monotonic(), dict[int, float]()
        with open_laboratory(files, None, tell_nobody) as lab:
            names = [f"{one}-stimulus" for one in lab.study.line_ids]
            faults = schedule(names, lab.study.end_h, seed)
            for one in faults:
                lab.clock.control.call("fault", **one["request"])  # type: ignore[attr-defined]
            wait = lab.clock.wait_until_h

            def wait_and_sample(time_h: float) -> None:
                wait(time_h)
                daily.setdefault(int(lab.clock.now_h() // 24), rss_mb())

            lab.clock.wait_until_h = wait_and_sample  # type: ignore[method-assign]
            closed_loop(lab)
            run = lab.record.run(files.run_id)
            found = {
                "state": run.state if run else "",
                "held": lab.journal.held(files.run_id),
                "chain_faults": len(lab.journal.verify().faults) + len(lab.record.verify().faults),
                "chips": len(lab.study.chip_ids),
                "cycles": len(lab.record.calibrations(files.run_id)),
                "events": dict(Counter(e.kind for e in lab.record.events(files.run_id))),
            }
    finally:
        server.stop()
    return {
        **found,
        "seed": seed,
        "days": files.study.end_h / 24.0,
        "wall_s": time.monotonic() - begun_s,
        "rss_mb": daily,
        "faults": accounted(faults, found["held"], files.folder / "wire"),
    }


def exchanges(wire: Path) -> list[tuple[bytes, bytes]]:
    """Return (sent, received until the next was sent) of a port's wire record, in order."""
    found: list[list[bytes]] = []
    for line in wire.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["direction"] == "sent":
            found.append([bytes.fromhex(entry["hex"]), b""])
        elif entry["direction"] != "note" and found:
            found[-1][1] += bytes.fromhex(entry["hex"])
    return [(sent, received) for sent, received in found]


def lost(wire: Path) -> int:
    """Return how many commands were never answered."""
    return sum(not received for _, received in exchanges(wire)[:-1])


def garbled(wire: Path) -> int:
    """Return how often a question was asked again and the two answers differ by a single bit."""
    pairs = pairwise(exchanges(wire))
    return sum(
        asked == again
        and len(one) == len(other)
        and sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True)) == 1
        for (asked, one), (again, other) in pairs
    )


def accounted(
    faults: list[dict[str, Any]], held: dict[str, str], wires: Path
) -> list[dict[str, Any]]:
    """Return kind -> how many were injected, and how many traces of it there are."""
    rows = []
    for kind, what in FAULTS.items():
        own = [one["request"] for one in faults if one["fault"] == kind]
        if what.shows == "journal":
            shown = sum(request["pump"].split("-")[0] in held for request in own)
        else:
            count = lost if what.request["kind"] == "drop_reply" else garbled
            shown = count(wires / f"{what.request['port']}.jsonl")
        rows.append({"fault": kind, "injected": len(own), "shown": shown, "where": what.shows})
    return rows


def growth(rss_mb: dict[int, float]) -> float:
    """Return how much memory grew from the end of the warm-up to its highest, as a part."""
    after = [size for day, size in sorted(rss_mb.items()) if day >= WARM_UP_DAYS]
    return max(after) / after[0] - 1.0 if after else 0.0


def main() -> int:
    """Print the table; exit code 1 where the run did not end, memory grew, or a fault left no trace."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--study", type=Path, default=STUDY)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    logging.getLogger("instruments").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as place:
        found = measure(asked.study, asked.seed, Path(place))
    grown = growth(found["rss_mb"])
    if asked.json:
        print(json.dumps(found, indent=2))
    else:
        print(
            f"{found['chips']} chips, {found['days']:.0f} days, {found['cycles']} fits: {found['state']} in "
            f"{found['wall_s']:.0f} s (budget {BUDGET_S:.0f} s); faults of the chains: {found['chain_faults']}"
        )
        sizes = ", ".join(f"day {day} {size:.0f}" for day, size in sorted(found["rss_mb"].items()))
        print(f"memory MB: {sizes}; {100 * grown:+.1f} % after day {WARM_UP_DAYS}")
        for row in found["faults"]:
            print(
                f"{row['fault']:<22} injected {row['injected']:3d}  shown {row['shown']:3d}  in the {row['where']}"
            )
    whole = all(row["shown"] == row["injected"] for row in found["faults"])
    good = found["state"] == "finished" and grown <= FLAT and whole and not found["chain_faults"]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

"""Thirty virtual days of 24 chips with seeded faults: does it end, is memory flat, is every fault on record.

``python -m benchmarks.soak [--study FILE] [--seed N] [--json]``

Faults come by a Poisson process for each kind, at the rates below, on virtual time, and each kind at least once. A
fault on a wire waits for its exchange. The emulators count what happened to them, the record is read, and the two
must agree: nothing that happened may be missing there, and no trouble be told that was none. A person is played
who gives up a plate whose file has not come, and plugs in what they were asked to look at.

The truth is the fitted model itself: the loop is under test here, the fit elsewhere.
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
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

STUDY = Path(__file__).with_name("soak_study.yaml")
WARM_UP_DAYS = 12
"""Two fits: the first loads what a fit needs, the second is the first with a posterior to begin from."""
FLAT = 0.10
"""How much memory may grow after the warm-up."""
BUDGET_S = 600.0
GIVEN_UP_AFTER_H = 6.0
"""A plate's file that has not come by then is said to be lost."""
COMES_AFTER_H = 4.0
"""So long after being asked a person plugs in a reader or meter."""
FILE_IS_LATE_H = 2.0
"""One that hangs half written is whole after 2.25 h; a good one comes after 1.25 h."""


@dataclass(frozen=True)
class FaultKind:
    """One kind of trouble: how often, and what is asked of the emulators."""

    per_30_days: float
    request: dict[str, Any]


FAULTS: dict[str, FaultKind] = {
    "pump stalls": FaultKind(2.0, {"pump": "", "kind": "block"}),
    "pump answer lost": FaultKind(10.0, {"port": "pumps", "kind": "drop_reply", "matching": "DIS"}),
    "pump answer garbled": FaultKind(
        6.0, {"port": "pumps", "kind": "flip_bit", "matching": "DIS", "at_byte": 4}
    ),
    "pump port lost": FaultKind(
        2.0, {"port": "pumps", "kind": "unplug", "matching": "DIS", "seconds": 0.7}
    ),
    "reader answer lost": FaultKind(3.0, {"port": "reader", "kind": "drop_reply"}),
    "reader away": FaultKind(1.0, {"port": "reader", "kind": "unplug"}),
    "meter away": FaultKind(1.0, {"port": "teer", "kind": "unplug"}),
    "meter noise": FaultKind(4.0, {"noise": 0.3, "sweeps": 2}),
    "plate file late": FaultKind(1.5, {"file": True, "kind": "cut"}),
    "plate file lost": FaultKind(0.7, {"file": True, "kind": "lost"}),
}
"""Rates of a bench with good cables, roundly; nobody has measured them. The pumps' plug is out for real seconds,
as its driver waits in them; reader and meter until a person comes."""


@dataclass(frozen=True)
class Account:
    """What the emulators say of a kind of trouble, and what the record does."""

    of: str
    met: int
    told: int

    @property
    def agrees(self) -> bool:
        """Whether the record has all that happened, and no more."""
        return self.met == self.told


def schedule(names: list[str], end_h: float, seed: int) -> list[dict[str, Any]]:
    """Return every fault of a run: its kind and the request, in time order; a pump stalls at most once a line."""
    rng = np.random.default_rng([seed, 20])
    found: list[dict[str, Any]] = []
    stalled: set[str] = set()
    for kind, what in FAULTS.items():
        for _ in range(max(1, rng.poisson(what.per_30_days * end_h / 720.0))):
            request = {**what.request, "at_h": float(rng.uniform(30.0, 0.8 * end_h))}
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


def give_up_lost_plates(lab: Any) -> None:
    """Say of every plate whose file is overdue that it is lost, as a person does with ``chiploop lost``."""
    from flows.late_plates import LOST, NOTED

    done = {readout.plate for readout in lab.record.readouts(lab.run_id)}
    done |= {event.content["plate"] for event in lab.record.events(lab.run_id, LOST)}
    for event in lab.record.events(lab.run_id, NOTED):
        plate, now_h = event.content["plate"], lab.clock.now_h()
        if plate not in done and now_h - event.time_h > GIVEN_UP_AFTER_H:
            content = {"plate": plate, "by": "soak", "why": "its file has not come"}
            lab.record.add_event(lab.run_id, LOST, now_h, content, key=event.content["label"])


def plug_in(lab: Any, control: Any, done: set[tuple[str, int]]) -> None:
    """Plug in every reader and meter about which a person was asked some hours ago, once; ``done`` grows."""
    from flows.away import AWAY

    for event in lab.record.events(lab.run_id, AWAY):
        what = (event.content["what"], event.content["number"])
        if what not in done and lab.clock.now_h() - event.time_h >= COMES_AFTER_H:
            port = {"reader": "reader", "meter": "teer"}[event.content["what"].split()[0]]
            control.call("fault", port=port, kind="plug_in")
            done.add(what)


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
        files = new_run(load_study(study), folder / "runs", seed, True, True)
        model_of(files.study)
        begun_s, daily = time.monotonic(), dict[int, float]()
        with open_laboratory(files, None, tell_nobody) as lab:
            names = [f"{one}-stimulus" for one in lab.study.line_ids]
            faults = schedule(names, lab.study.end_h, seed)
            control = lab.clock.control  # type: ignore[attr-defined]
            for one in faults:
                control.call("fault", **one["request"])
            plugged_in = set[tuple[str, int]]()
            wait = lab.clock.wait_until_h

            def wait_and_look(time_h: float) -> None:
                wait(time_h)
                daily.setdefault(int(lab.clock.now_h() // 24), rss_mb())
                give_up_lost_plates(lab)
                plug_in(lab, control, plugged_in)

            lab.clock.wait_until_h = wait_and_look  # type: ignore[method-assign]
            closed_loop(lab)
            run = lab.record.run(files.run_id)
            events = lab.record.events(files.run_id)
            accounts = accounted(
                faults,
                control.call("truth"),
                [(event.kind, event.content) for event in events],
                set(lab.journal.held(files.run_id)),
                flagged_sweeps(lab.record.readouts(files.run_id)),
                late_files(lab),
            )
            found = {
                "state": run.state if run else "",
                "chain_faults": len(lab.journal.verify().faults) + len(lab.record.verify().faults),
                "chips": len(lab.study.chip_ids),
                "cycles": len(lab.record.calibrations(files.run_id)),
                "events": dict(Counter(event.kind for event in events)),
            }
    finally:
        server.stop()
    return {
        **found,
        "seed": seed,
        "days": files.study.end_h / 24.0,
        "wall_s": time.monotonic() - begun_s,
        "rss_mb": daily,
        "injected": dict(Counter(one["fault"] for one in faults)),
        "accounts": [asdict(one) | {"agrees": one.agrees} for one in accounts],
    }


def flagged_sweeps(readouts: Iterable[Any]) -> set[tuple[float, str]]:
    """Return study time and chip of every TEER that the record does not take as sound."""
    return {(r.time_h, r.chip_id) for r in readouts if r.readout == "TEER" and r.qc != "ok"}


def late_files(lab: Any) -> int:
    """Return how many plates' files were taken late."""
    from flows.late_plates import NOTED

    kept = {file.kind: file.time_h for file in lab.record.raw_files(lab.run_id)}
    sent = {e.content["plate"]: e.time_h for e in lab.record.events(lab.run_id, NOTED)}
    return sum(
        kept.get(f"reader export of {plate}", time_h) - time_h > FILE_IS_LATE_H
        for plate, time_h in sent.items()
    )


def accounted(
    faults: Sequence[dict[str, Any]],
    truth: dict[str, Any],
    events: Sequence[tuple[str, dict[str, Any]]],
    held: set[str],
    flagged: set[tuple[float, str]],
    n_late_files: int,
) -> list[Account]:
    """Return what happened by the emulators' word beside what is on record, kind by kind.

    ``truth`` is the virtual room's, ``events`` are (kind, content), ``held`` lines by the journal.
    """
    met = {port: outcomes(counts) for port, counts in truth["met"].items()}
    wire = Counter[tuple[str, str]]()
    away = Counter[str]()
    for kind, content in events:
        if kind == "wire trouble":
            wire[content["port"], content["kind"]] += content["times"]
        elif kind in ("instrument away", "instrument back"):
            away[f"{kind} {content['what'].split()[0]}"] += 1
        elif kind == "reading missed":  # nobody waits for it any more
            away["instrument back meter"] += 1
    stalled = {one["request"]["pump"].split("-")[0] for one in faults if "pump" in one["request"]}
    files = Counter(one["request"]["kind"] for one in faults if "file" in one["request"])
    n_lost = sum(kind == "plate lost" for kind, _ in events)
    noisy = {(time_h, chip) for time_h, chip in truth["noisy_sweeps"]}
    rows = [
        Account("pump stalls: line held", len(stalled), len(stalled & held)),
        Account("lines held for no stall", 0, len(held - stalled)),
    ]
    for port in met:
        for outcome in ("no answer", "garbled", "port lost"):
            rows.append(Account(f"{port}: {outcome}", met[port][outcome], wire[port, outcome]))
    for port, name in (("reader", "reader"), ("teer", "meter")):
        rows.append(
            Account(
                f"{port}: asked a person", met[port]["port lost"], away[f"instrument away {name}"]
            )
        )
        rows.append(
            Account(
                f"{port}: back, or missed", met[port]["port lost"], away[f"instrument back {name}"]
            )
        )
    rows.append(Account("noisy sweeps flagged", len(noisy), len(noisy & flagged)))
    rows.append(Account("plate files late", files["cut"], n_late_files))
    rows.append(Account("plate files lost", files["lost"], n_lost))
    return rows


def outcomes(counts: dict[str, int]) -> Counter[str]:
    """Return what a driver sees of exchanges that went wrong: where two faults meet, the graver one."""
    found = Counter[str]()
    for kinds, times in counts.items():
        for kind, outcome in (
            ("unplug", "port lost"),
            ("unplugged", "no answer"),
            ("drop_reply", "no answer"),
            ("flip_bit", "garbled"),
        ):
            if kind in kinds.split("+"):
                found[outcome] += times
                break
    return found


def growth(rss_mb: dict[int, float]) -> float:
    """Return how much memory grew from the end of the warm-up to its highest, as a part."""
    after = [size for day, size in sorted(rss_mb.items()) if day >= WARM_UP_DAYS]
    return max(after) / after[0] - 1.0 if after else 0.0


def main() -> int:
    """Print the table; exit code 1 where the run did not end, memory grew, or record and emulators disagree."""
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
        print("injected: " + ", ".join(f"{kind} {n}" for kind, n in found["injected"].items()))
        for row in found["accounts"]:
            mark = "" if row["agrees"] else "  DIFFERS"
            print(f"{row['of']:<26} happened {row['met']:3d}  on record {row['told']:3d}{mark}")
    good = is_good(found)
    return 0 if good else 1


def is_good(found: dict[str, Any]) -> bool:
    """Return whether a soak is what it must be; its time is told, not judged, since machines differ."""
    return (
        found["state"] == "finished"
        and not found["chain_faults"]
        and growth(found["rss_mb"]) <= FLAT
        and all(row["agrees"] for row in found["accounts"])
    )


if __name__ == "__main__":
    sys.exit(main())

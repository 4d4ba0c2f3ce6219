"""What must hold of every finished simulated run, however often it was interrupted.

Belongs here: comparisons of journal, record and emulators. Not here: interrupting (the tests).
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chiploop.record.journal import Journal
from chiploop.record.record import Record
from instruments.emulators.ne1000 import Ne1000, Ne1000Settings
from tests.flows.warm_chiploop import LAB_PIDS


@dataclass(frozen=True)
class PumpTruth:
    """What an emulated pump did by its own count."""

    starts: int
    """RUN commands that moved it."""
    delivered_ul: float


def only_run(runs: Path) -> str:
    """Return the id of the only run of a folder."""
    (found,) = runs.glob("*/run.json")
    return found.parent.name


def pump_truth(folder: Path) -> dict[str, PumpTruth]:
    """Return what the emulated pumps of a run did, from the durable state of its virtual lab."""
    parts = json.loads((folder / "virtual_lab" / "state.json").read_text())["parts"]
    truth = {}
    for name, state in parts.items():
        kind, _, pump = name.partition(" ")
        if kind == "pump":
            emulated = Ne1000(Ne1000Settings(), lambda: 0.0, time.monotonic)
            emulated.restore(state)
            truth[pump] = PumpTruth(emulated.starts, emulated.plunger.delivered_ul)
    return truth


def journal_of(runs: Path, run_id: str) -> Journal:
    """Open the journal of a simulated run: each virtual lab has its own."""
    path = runs / run_id / "journal.sqlite"
    assert path.is_file()
    return Journal(path)


def check_volumes(runs: Path, run_id: str) -> int:
    """Hold the journal against the emulators' own counts; return the number of intents.

    Every intent has its outcome, every pump was started once per intent, and what the journal says
    was delivered is what the pump counted, to the resolution of its counter.
    """
    truth = pump_truth(runs / run_id)
    with journal_of(runs, run_id) as journal:
        actions = journal.actions(run_id)
        assert journal.held(run_id) == {}
        assert journal.verify().faults == ()
    assert {action.intent.pump for action in actions} <= set(truth)
    for pump, counted in truth.items():
        own = [action for action in actions if action.intent.pump == pump]
        assert all(a.end is not None and a.end.kind == "outcome" for a in own), pump
        assert counted.starts == len(own), f"{pump}: {counted.starts} starts, {len(own)} intents"
        told = sum(float(a.end.body["delivered_ul"]) for a in own if a.end is not None)
        resolution_ul = sum(a.intent.resolution_ul for a in own)
        assert abs(told - counted.delivered_ul) <= resolution_ul + 1e-9, (pump, told, counted)
        for a in own:
            assert a.end is not None
            asked, given = a.intent.volume_ul, float(a.end.body["delivered_ul"])
            assert abs(asked - given) <= 2 * a.intent.resolution_ul + 1e-9, a.intent.key
    return len(actions)


def science(runs: Path, run_id: str) -> dict[str, Any]:
    """Return everything of a run that a repetition with the same seed must show again, bit by bit."""
    with Record(str(runs / "record.sqlite")) as record:
        assert record.verify().faults == ()
        run = record.run(run_id)
        assert run is not None
        return {
            "state": run.state,
            "proposals": [(p.cycle, p.content) for p in record.proposals(run_id)],
            "decisions": [(d.action, d.by) for d in record.decisions(run_id)],
            "cards": [event.content["cycle"] for event in record.events(run_id, "card")],
            "goals": [c.content["goals"] for c in record.calibrations(run_id)],
            "readouts": [repr(asdict(readout)) for readout in record.readouts(run_id)],
            "outlook": [event.content for event in record.events(run_id, "outlook")],
        }


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that only waits to be buried does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return Path("/proc").is_dir() is False and _answers(pid)
    return state != "Z"


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def alive_of(folder: Path) -> list[str]:
    """Return the processes that belong to a run folder: by command line, and forked labs by id."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(folder) in command and is_alive(int(place.name)):
            found.append(f"{place.name}: {command}")
    pids = folder / "virtual_lab" / LAB_PIDS
    if pids.exists():
        found += [f"{pid}: lab" for pid in pids.read_text().split() if is_alive(int(pid))]
    return found


def wait_until_nobody_is_left(folder: Path, timeout_s: float = 15.0) -> None:
    """Return once no process of a run is left; AssertionError where one stays."""
    until_s = time.monotonic() + timeout_s
    while left := alive_of(folder):
        assert time.monotonic() < until_s, left
        time.sleep(0.01)

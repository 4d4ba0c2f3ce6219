"""What must hold of every finished simulated run, however often it was interrupted.

Belongs here: comparisons of journal, record and emulators. Not here: interrupting (the tests).
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chiploop.approvals import fault_of_approval
from chiploop.record.actions import Action, cycle_in
from chiploop.record.chain import canonical, digest
from chiploop.record.journal import Journal, verify_journal
from chiploop.record.journal_mirror import verify_mirrors
from chiploop.record.raw_files import RawFileStore
from chiploop.record.record import Record
from instruments.emulators.ne1000 import Ne1000, Ne1000Settings
from tests.flows.warm_chiploop import LAB_PIDS


@dataclass(frozen=True)
class PumpTruth:
    """What an emulated pump did by its own count."""

    starts: int
    """RUN commands that moved it."""
    delivered_ul: float
    moving: bool = False


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
            truth[pump] = PumpTruth(emulated.starts, emulated.plunger.delivered_ul, emulated.moving)
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


def check_every_pump(runs: Path, run_id: str, is_held: bool = False) -> int:
    """Hold the journal against the emulators' own counts, also where a line is held or was stopped.

    No pump was started more often than an intent says, none gave more than its intents and the journal say, every
    chain and mirror is whole, every guard in place. An intent without an outcome is held, with a person asked,
    and its pump stands; without ``is_held`` there is none. Returns the number of intents.
    """
    folder = runs / run_id
    report = verify_journal(
        folder / "journal.sqlite"
    )  # before it is opened, which mends its guards
    assert report.faults == (), report.faults
    truth = pump_truth(folder)
    with journal_of(runs, run_id) as journal:
        actions, held = journal.actions(run_id), journal.held(run_id)
        keys = Counter(action.intent.key for action in actions)
        assert max(keys.values()) == 1
        rows = len(journal.events())
    assert is_held == bool(held), held
    for pump, counted in truth.items():
        own = [action for action in actions if action.intent.pump == pump]
        doubtful = [action for action in own if action.end is None]
        assert all(a.held for a in doubtful), f"{pump} is neither at its end nor held"
        assert len(own) - len(doubtful) <= counted.starts <= len(own), (pump, counted, len(own))
        assert not (doubtful and counted.moving), f"{pump} is held and runs"
        told = sum(float(a.end.body["delivered_ul"]) for a in own if a.end is not None)
        resolution_ul = sum(a.intent.resolution_ul for a in own) + 1e-9
        most_ul = told + sum(a.intent.volume_ul for a in doubtful)
        assert told - resolution_ul <= counted.delivered_ul <= most_ul + resolution_ul, pump
        for a in own:
            if a.end is not None and a.stood_h is None:
                asked, given = a.intent.volume_ul, float(a.end.body["delivered_ul"])
                assert abs(asked - given) <= 2 * a.intent.resolution_ul + 1e-9, a.intent.key
    with Record(str(runs / "record.sqlite")) as record:
        assert record.verify().faults == ()
        (mirror,) = verify_mirrors(record, [folder / "journal.sqlite"])
        assert mirror.faults == () and mirror.rows == rows, "the mirror of the journal is behind"
        check_approved(record, run_id, actions)
        store = RawFileStore(folder / "raw")
        spoiled = [f.name for f in record.raw_files(run_id) if store.check(f.sha256, f.name)]
        assert not spoiled
    assert (folder / "report.html").is_file()
    return len(actions)


def check_approved(record: Record, run_id: str, actions: Sequence[Action]) -> None:
    """AssertionError where a dose was given without the approval of all who must approve it."""
    rule = record.approval_rule(run_id)
    for action in actions:
        if action.intent.programme.purpose != "dose" or not action.sent_h:
            continue
        cycle = cycle_in(action.intent.programme_key)
        assert cycle is not None
        faults = []
        for proposal, decision in record.proposed(run_id, cycle):
            given = record.approvals(run_id, proposal.key)
            sha256 = digest(canonical(proposal.content))
            faults.append(fault_of_approval(rule, proposal.content, sha256, decision, given))
        assert "" in faults, f"{action.intent.key} was given: {'; '.join(faults)}"


def whole_record(runs: Path, run_id: str) -> dict[str, Any]:
    """Return everything on record of a run but time stamps: what a repetition must show again, bit by bit.

    Left out: how often a run changed its state, what steps took, when persons acted by the wall clock.
    """
    with Record(str(runs / "record.sqlite")) as record, journal_of(runs, run_id) as journal:
        run = record.run(run_id)
        assert run is not None
        events = [
            (e.kind, 0.0 if e.kind == "approval" else e.time_h, e.content)
            for e in record.events(run_id)
            if e.kind not in ("state", "timing", "hold")
        ]
        found: dict[str, list[Any]] = {
            "state": [run.state],
            "chips": sorted(record.chips(run_id).items()),
            "proposals": [(p.key, p.content) for p in record.proposals(run_id)],
            "decisions": [(d.action, d.by, d.why) for d in record.decisions(run_id)],
            "calibrations": [(c.cycle, c.content) for c in record.calibrations(run_id)],
            "readouts": [asdict(readout) for readout in record.readouts(run_id)],
            "measurements": [asdict(one) for one in record.measurements(run_id)],
            "raw files": [asdict(one) for one in record.raw_files(run_id)],
            "events": sorted(events, key=repr),
            "intents": sorted(
                (a.intent.key, a.intent.volume_ul, a.intent.flow_rate_ul_h, a.begun_h, end_of(a))
                for a in journal.actions(run_id)
            ),
            "held": sorted(journal.held(run_id)),
        }
    return {
        name: [repr(row).replace(run_id, "RUN") for row in rows] for name, rows in found.items()
    }


def end_of(action: Action) -> tuple[str, float]:
    """Return how an intent ended and what was given."""
    if action.end is None:
        return "held" if action.held else "open", 0.0
    given = action.end.body["delivered_ul"]
    return action.end.kind, -1.0 if given is None else float(given)


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

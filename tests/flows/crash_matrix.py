"""The crash matrix: whole simulated studies, killed at every named place, resumed, held against undisturbed ones.

Belongs here: the studies, what people do in them, the cases, carrying one out. Not here: what must hold
(run_checks), the page (crash_matrix_page), planted bugs (mutants).

A case is one place in one study. The first process that passes it is killed as ``kill -9`` does; where the place
is passed more often, the process that takes the run up is killed at a later passage in the middle of what is
left; the next one goes on to the end. Pumps, reader and meter are emulated in a process of their own, which ends
with the run's and keeps its state on disk, so that no virtual hour passes while nobody works on the run.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chiploop.fault_points import RECORD_FAULT_POINTS, Place
from chiploop.record.record import Record
from flows.fault_points import FLOW_FAULT_POINTS, OPENING_FAULT_POINTS
from flows.holding import HOLD, held_by
from instruments.emulators.ne1000 import Ne1000, Ne1000Settings
from instruments.fault_points import FAULT_POINTS, HOLD_FAULT_POINTS
from tests.flows.conftest import LONGEST_S, SMALL_STUDY, Ended, Running, Warm, edited
from tests.flows.run_checks import (
    check_every_pump,
    journal_of,
    only_run,
    wait_until_nobody_is_left,
    whole_record,
)
from tests.flows.warm_chiploop import HANDS, LOGIN, MUTANT, PASSAGES, SUPERVISE

POINTS: dict[str, Place] = {
    **OPENING_FAULT_POINTS,
    **FLOW_FAULT_POINTS,
    **FAULT_POINTS,
    **HOLD_FAULT_POINTS,
    **RECORD_FAULT_POINTS,
}
"""Every place that the code names."""
KILLED = -9
LOOK_S = 0.05
HELD_LINE, OTHER_CHIP = "L1", "C02"
"""The line that is held where one is, and the chip of the other one."""
BEFORE_THE_RUN = ("folder_made", "study_frozen")
"""Places before there is a run: it is started anew, in the next folder."""

PEOPLE = (
    ("CCL26: {kit: ccl26_elisa, replicates: 2", "CCL26: {kit: ccl26_elisa, replicates: 2, export: softmax_pro"),
    ("turnaround: 2 h", "turnaround: 1 h"),
    ("cycles: 2", "cycles: 3"),
    (
        "first_doses: [60 nM, 240 nM]",
        "first_doses: [0 nM, 240 nM]\nschedules: {pulses: {for: 4 h, every: 8 h, times: 3}}",
    ),
    ("approval: {by: auto}", "approval: {by: person, two_above: 10 %}\nstop: {chips: 5}"),
)  # fmt: skip


@dataclass
class World:
    """One study on its way, in a folder of its own."""

    warm: Warm
    runs: Path
    study: Path
    mutant: str = ""
    killed: list[str] = field(default_factory=list)
    """Command and place, in order."""
    tries: list[tuple[str, str]] = field(default_factory=list)
    """(command, place) that are still to be killed; the run itself is the command ``run``."""
    passages: Path | None = None
    has_hands: bool = False

    @property
    def run_id(self) -> str:
        """The run, once there is one."""
        return only_run(self.runs)

    def has_run(self) -> bool:
        """Return whether a run can be taken up."""
        return bool(list(self.runs.glob("*/run.json")))

    def environment(self, command: str, login: str = "") -> dict[str, str]:
        """Return what a command's process is told: where to die, whose it is, which bug it has."""
        told = {LOGIN: login, MUTANT: self.mutant, HANDS: "yes" if self.has_hands else ""}
        if self.passages is not None:
            told[PASSAGES] = str(self.passages)
        if self.tries and self.tries[0][0] == command:
            told["CHIPLOOP_FAULT"] = self.tries[0][1]
        return told

    def note(self, command: str, ended: Ended) -> bool:
        """Take note of how a command ended; return whether it was killed where it should be."""
        if ended.code != KILLED:
            return False
        assert self.tries and self.tries[0][0] == command, f"{command} was killed by itself"
        self.killed.append(" at ".join(self.tries.pop(0)))
        return True

    def types(self, command: str, *words: str | Path, login: str = "") -> Ended:
        """Carry out a person's command; one that was killed is typed again."""
        while True:
            arguments = (command, *words)
            ended = self.warm.run(*arguments, **self.environment(command, login))
            if not self.note(command, ended):
                return ended

    def run_once(self, people: Callable[[World, Running], None]) -> Ended:
        """Begin the run, or take it up, and let people act until its process ends."""
        begin = ("resume", self.run_id) if self.has_run() else ("simulate", self.study)
        running = self.warm.start(*begin, "--runs", self.runs, **self.environment("run"))
        until_s = time.monotonic() + LONGEST_S
        while not running.ended and time.monotonic() < until_s:
            people(self, running)
            time.sleep(LOOK_S)
        ended = running.wait()
        for folder in self.runs.iterdir():
            if folder.is_dir():
                wait_until_nobody_is_left(folder)
        return ended

    def run_to_the_end(self, people: Callable[[World, Running], None]) -> Ended:
        """Take the run up as often as it is killed."""
        while self.note("run", ended := self.run_once(people)):
            pass
        return ended


def nobody(world: World, running: Running) -> None:
    """Do nothing: the study decides by itself."""


def two_people(world: World, running: Running) -> None:
    """Hold the run once, let it go on, and approve what is asked, as two persons."""
    said = running.text("err")
    if "WAITING FOR A PERSON" not in said and "ON HOLD" not in said:
        return
    run_id = world.run_id
    with Record(str(world.runs / "record.sqlite")) as record:
        run = record.run(run_id)
        proposal = record.latest_proposal(run_id)
        is_open = proposal is not None and record.decision_for(proposal.key) is None
        holds, by = record.events(run_id, HOLD), held_by(record, run_id)
        given = () if proposal is None else record.approvals(run_id, proposal.key)
    where = (run_id, "--runs", world.runs)
    state = "" if run is None else run.state
    if state == "waiting for a person" and is_open and "WAITING FOR A PERSON" in said:
        if not holds:
            assert world.types("hold", *where, login="alice").code == 0
        login = "bob" if [one.by for one in given] == ["alice"] else "alice"
        world.types("approve", *where, "--why", "looked", login=login)
    elif state == "on hold" and by and "ON HOLD" in said and not running.ended:
        time.sleep(4 * LOOK_S)  # one that is being killed there is not alive after that
        if not running.ended:
            assert world.types("resume", *where, login="alice").code == 0


# --- what comes before


def nothing_before(world: World, passages: dict[str, int]) -> None:
    """Begin at the beginning."""


def lost_start(world: World, passages: dict[str, int]) -> None:
    """Kill the run right before the start of a dose's first pump: nothing can prove that it never left."""
    kill_run(world, f"after_sent@{passages['drug'] - 1}")


def supervised(world: World, passages: dict[str, int]) -> None:
    """Kill the run in the middle of a dose, and have a supervisor make its chips safe."""
    kill_run(world, "line_started@4")
    world.tries, tries = [t for t in world.tries if t[0] == SUPERVISE], world.tries
    ended = world.types(SUPERVISE, world.run_id, "--runs", world.runs)
    assert ended.code == 0, ended.err
    wait_until_nobody_is_left(world.runs / world.run_id)
    world.tries = [t for t in tries if t[0] != SUPERVISE]


def power_cut(world: World, passages: dict[str, int]) -> None:
    """Kill the run at the place of the case, at the first pump of a dose; cut all pumps' power meanwhile."""
    (_, place), world.tries = world.tries[0], world.tries[1:]
    kill_run(world, place)
    path = world.runs / world.run_id / "virtual_lab" / "state.json"
    content = json.loads(path.read_text())
    for name, state in content["parts"].items():
        if name.startswith("pump "):
            pump = Ne1000(
                Ne1000Settings(), lambda: content["parts"]["room"]["time_h"], time.monotonic
            )
            pump.restore(state)
            pump.power_cycle()
            content["parts"][name] = pump.state()
    path.write_text(json.dumps(content))


def kill_run(world: World, place: str) -> None:
    """Have the run die at a place that belongs to the study and not to the case."""
    kept, world.tries = world.tries, [("run", place)]
    ended = world.run_once(nobody)
    assert world.note("run", ended), f"{place} was not reached: {ended.code}\n{ended.err}"
    world.tries = kept


# --- what comes after


def nothing_after(world: World) -> None:
    """End there."""


def a_word_on_what_is_held(world: World) -> None:
    """Say what every held pump gave, and take the run up again."""
    with journal_of(world.runs, world.run_id) as journal:
        held = [a.intent.pump for a in journal.actions(world.run_id) if a.open and a.held]
    assert held
    for pump in held:
        said = (
            "--pump",
            pump,
            "--delivered",
            "unknown",
            "--why",
            "nobody saw it",
            "--stands-still",
        )
        ended = world.types("settle", world.run_id, "--runs", world.runs, *said, login="alice")
        assert ended.code in (0, 2), ended.err


def backed_up(world: World) -> None:
    """Write a backup and bring it back elsewhere."""
    file, back = world.runs.parent / "backup.zip", world.runs.parent / "back"
    assert world.types("backup", file, "--runs", world.runs).code == 0
    ended = world.types("restore", file, "--into", back)
    assert ended.code == 0, ended.err
    assert whole_record(back, only_run(back)) == whole_record(world.runs, world.run_id)


@dataclass(frozen=True)
class Scenario:
    """A study and what happens to it whatever the case."""

    title: str
    changes: tuple[tuple[str, str], ...] = ()
    """Of the small study's text."""
    people: Callable[[World, Running], None] = nobody
    before: Callable[[World, dict[str, int]], None] = nothing_before
    after: Callable[[World], None] = nothing_after
    code: int = 0
    """With which the run ends: 7 where a line is held."""
    has_hands: bool = False
    """The run waits for people at the bench, who come late."""
    is_held: bool = False
    """A line is held and a person asked; its chips have another record than in the small study."""


SCENARIOS: dict[str, Scenario] = {
    "small": Scenario("two cycles that decide by themselves"),
    "people": Scenario(
        "doses in pulses, two approvers, a hold, a plate that is read elsewhere, a stop rule",
        PEOPLE,
        two_people,
    ),
    "hands": Scenario(
        "a run that waits for people who collect and lay out plates, one of them too late",
        has_hands=True,
    ),
    "lost start": Scenario(
        "a pump of a dose of which nobody can know whether it was started: held, plain medium instead",
        before=lost_start,
        after=a_word_on_what_is_held,
        code=7,
        is_held=True,
    ),
    "supervised": Scenario(
        "a run that died in mid-dose and whose chips the supervisor kept alive", before=supervised
    ),
    "backup": Scenario("a finished run, written into a backup and brought back", after=backed_up),
    "power cut": Scenario(
        "the power of all pumps is cut while nobody works on the run",
        before=power_cut,
        code=7,
        is_held=True,
    ),
}


@dataclass(frozen=True)
class Case:
    """One place in one study."""

    point: str
    scenario: str = "small"
    command: str = "run"
    """Which process is killed: the run's, or a person's command."""

    @property
    def name(self) -> str:
        """What it is called in tests and on the page."""
        by = "" if self.command == "run" else f", {self.command}"
        return f"{self.point} ({self.scenario}{by})"


_OF_PEOPLE = (
    "person_waited_for", "decision_seen", "on_hold", "hold_lifted", "part_due", "plate_noted", "plate_sent",
    "file_kept", "stop_rule_told", "proposal_asked",
)  # fmt: skip
_OF_A_LOST_START = (
    "plain_wanted", "stimulus_stopped", "plain_started", "line_left_out", *HOLD_FAULT_POINTS,
)  # fmt: skip
_ELSEWHERE = {
    **dict.fromkeys(_OF_PEOPLE, Case("", "people")),
    **dict.fromkeys(_OF_A_LOST_START, Case("", "lost start")),
    "hands_waited_for": Case("", "hands"),
    "hand_said": Case("", "hands"),
    "pump_settled": Case("", "lost start", "settle"),
    "supervisor_stopped": Case("", "supervised", SUPERVISE),
    "backup_drafted": Case("", "backup", "backup"),
    "restore_drafted": Case("", "backup", "restore"),
}
CASES: tuple[Case, ...] = (
    *(Case(p, _ELSEWHERE.get(p, Case("")).scenario, _ELSEWHERE.get(p, Case("")).command) for p in POINTS),
    Case("rows_added", "people", "approve"),
    Case("rows_committed", "people", "approve"),
    Case("rows_committed", "people", "hold"),
    Case("readouts_recorded", "people"),
    Case("journal_rows_committed", "lost start"),
    Case("journal_rows_added", "lost start", "settle"),
    Case("plain_started", "supervised", SUPERVISE),
    Case("after_stop", "supervised", SUPERVISE),
    Case("after_sent", "power cut"),
    Case("after_start", "power cut"),
    Case("after_started", "power cut"),
)  # fmt: skip
"""Every place once, in the study that passes it, and some again where something else is at stake."""


@dataclass(frozen=True)
class Undisturbed:
    """A study that nobody killed but for what belongs to it."""

    record: dict[str, Any]
    intents: int
    passages: Counter[str]
    """Place -> how often it is passed, by all its processes together."""
    proven: tuple[int, ...]
    """Passages of ``after_sent`` at which the pump's counter stood above zero."""
    drug: int
    """The passage of ``after_sent`` of the first dose's drug pump."""


class Matrix:
    """Carries out cases, with one undisturbed run of each study."""

    def __init__(self, warm: Warm, folder: Path, mutant: str = "") -> None:
        self.warm, self.folder, self.mutant = warm, folder, mutant
        self.known: dict[str, Undisturbed] = {}

    def world(self, name: str, scenario: Scenario, mutant: str = "") -> World:
        """Return a new world for a study."""
        folder = self.folder / name.replace(" ", "-").replace("(", "").replace(")", "")
        (folder / "runs").mkdir(parents=True)
        study = edited(SMALL_STUDY, folder, scenario.changes)
        hands = scenario.has_hands
        return World(self.warm, folder / "runs", study, mutant, has_hands=hands)

    def undisturbed(self, name: str) -> Undisturbed:
        """Return how a study ends where nobody is killed."""
        if name not in self.known:
            self.known[name] = self._undisturbed(name)
        return self.known[name]

    def _undisturbed(self, name: str) -> Undisturbed:
        scenario = SCENARIOS[name]
        world = self.world(f"undisturbed {name}", scenario)
        drug = 1 if name == "small" else self.undisturbed("small").drug
        if name == "power cut":
            world.tries = [("run", f"after_start@{drug - 1}")]
        scenario.before(world, {"drug": drug})
        world.passages = world.runs.parent / "passages"
        ended = world.run_to_the_end(scenario.people)
        assert ended.code == scenario.code, f"{name}: {ended.code}\n{ended.err}"
        intents = check_every_pump(world.runs, world.run_id, scenario.is_held)
        record = whole_record(world.runs, world.run_id)
        scenario.after(world)
        with journal_of(world.runs, world.run_id) as journal:
            sent = [journal.action(e.key) for e in journal.events() if e.kind == "sent"]
        proven = tuple(
            passage
            for passage, action in enumerate(sent, 1)
            if action is not None and action.intent.counter_ul >= action.intent.resolution_ul
        )
        drugs = [
            i for i, a in enumerate(sent, 1) if a and a.intent.key.endswith("/c01/L1/dose/L1-low")
        ]
        passages = Counter(world.passages.read_text().split())
        return Undisturbed(record, intents, passages, proven, drugs[0] if drugs else 1)

    def places(self, case: Case) -> list[tuple[str, str]]:
        """Return where processes are killed, one after the other."""
        known = self.undisturbed(case.scenario)
        passed, drug = known.passages[case.point], self.undisturbed("small").drug
        if case.scenario == "power cut":
            return [(case.command, f"{case.point}@{drug - 1}")]  # plain liquid starts first
        if case.command != "run":
            return [(case.command, case.point)]
        assert passed, f"the study {case.scenario} never passes {case.point}"
        if case.point == "after_sent":
            return [(case.command, f"after_sent@{known.proven[-1]}")]
        first = [(case.command, case.point)]
        if passed == 1 or case.point in BEFORE_THE_RUN:
            return first
        later = max(1, min(passed // 2 + 1, passed - 1))
        return [*first, (case.command, f"{case.point}@{later}")]

    def carry_out(self, case: Case) -> str:
        """Carry out a case; return what came out, in words. AssertionError where it is not what it must be."""
        scenario, known = SCENARIOS[case.scenario], self.undisturbed(case.scenario)
        world = self.world(case.name, scenario, self.mutant)
        world.tries = self.places(case)
        wanted = len(world.tries)
        scenario.before(world, {"drug": self.undisturbed("small").drug})
        ended = world.run_to_the_end(scenario.people)
        assert ended.code == scenario.code, f"it ended with {ended.code}\n{ended.err}"
        intents = check_every_pump(world.runs, world.run_id, scenario.is_held)
        record = whole_record(world.runs, world.run_id)
        scenario.after(world)
        assert not world.tries, f"never killed at {world.tries}"
        assert [k for k in world.killed if case.point in k][-wanted:], world.killed
        same = differences(record, known.record)
        if case.scenario != "power cut":
            assert not same, f"another record: {same}"
            assert intents == known.intents
        held = sorted(line.strip("'") for line in record["held"])
        if scenario.is_held:
            assert held == [HELD_LINE]
            small = self.undisturbed("small").record
            assert others(record) == others(small), "chips of the other line have another record"
        times = "killed once" if wanted == 1 else "killed twice"
        if case.scenario == "power cut":
            return f"{times}; {', '.join(held)} held and asked, nothing given twice"
        return f"{times}; same record" + (f"; {', '.join(held)} held and asked" if held else "")

    def kill_at(self, place: str, is_lost: bool) -> None:
        """Kill the small study at one place and take it up; ``is_lost``: nobody can know whether a pump began."""
        known = self.undisturbed("small")
        world = self.world(f"small at {place}", SCENARIOS["small"])
        world.tries = [("run", place)]
        ended = world.run_to_the_end(nobody)
        assert not world.tries and ended.code == (7 if is_lost else 0), ended.err
        intents = check_every_pump(world.runs, world.run_id, is_lost)
        if not is_lost:
            assert intents == known.intents
            assert not differences(whole_record(world.runs, world.run_id), known.record)


def others(record: dict[str, Any]) -> list[str]:
    """Return what is on record of the line that is not held, up to the first fit: what that fit learns differs,
    and with it the doses that follow. Raw files of a plate hold the wells of both lines.
    """
    readouts = [r for r in record["readouts"] if f"'{OTHER_CHIP}'" in r and "'cycle': 1" in r]
    intents = [i for i in record["intents"] if "/L2/" in i and "/c02/" not in i]
    assert len(readouts) == 4 and len(intents) == 4
    return [re.sub(r"'raw_sha256': '\w+'", "", row) for row in (*readouts, *intents)]


def differences(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Return what differs between two records, in words; empty where nothing does."""
    told = []
    for name in other:
        if one[name] != other[name]:
            rows = list(zip(map(repr, one[name]), map(repr, other[name]), strict=False))
            first = next((f"{a[:300]} | {b[:300]}" for a, b in rows if a != b), "")
            told.append(f"{name} ({len(one[name])} and {len(other[name])}): {first}")
    return "; ".join(told)


FOUND_BY: dict[str, Case] = {
    "send before intent": Case("after_start"),
    "boot check removed": Case("after_start", "power cut"),
    "unique key removed": Case("line_finished"),
    "key protects nothing": Case("line_finished"),
    "approval limit dropped": Case("decision_seen", "people"),
}
"""Planted bug (mutants) -> a case that must fail with it."""

"""The supervisor: when the process of a run dies or hangs, drug stops and plain medium keeps the chips alive.

Belongs here: watching the heartbeat, taking over the pumps. Not here: what is done about a line
(chiploop.safe_state), how (plain_medium, instruments.delivery), telling people (alarming). No Prefect: it must
work where that has died.

A process of its own beside the run's (``python -m flows.supervisor FOLDER``), on the machine with the cables. It
touches no pump while the run's process lives; then it takes the run's lock, so that nobody takes the run up in
between, and gives it back as soon as the chips are safe. Everything it does stands in the journal like any other
programme: the run can be taken up at any time, and what chips got is what counters say. It ends with the run.

A computer that goes down takes it along: pumps then end by their own targets. Start chiploop at boot for that.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from chiploop.errors import ChiploopError
from chiploop.record.disk import is_full
from chiploop.record.journal import Journal
from chiploop.record.progress import pump_progress
from chiploop.safe_state import LineFlow, SafeStep, safe_steps
from chiploop.study import Study
from flows.alarming import Bell, alarm, say
from flows.clock import Clock, WallClock, since_boot_s
from flows.disk_room import give_reserve
from flows.fault_points import reached
from flows.heartbeat import Beat, last_beat
from flows.opening import SETTINGS_FILE, RunFiles, known_run
from flows.plain_medium import SUPERVISED, keep_alive
from flows.readouts_at_hand import ReadoutsAtHand
from flows.record_place import place_of
from flows.run_owner import RunInUse, only_owner
from flows.service import how_it_ended
from flows.stop_mark import given_up, is_stopped
from instruments.bench import Bench, open_bench
from instruments.delivery import look_at_programme, stop_programme
from instruments.drivers import load_lab_settings
from instruments.lab_settings import LabSettings, SupervisorSettings

EVERY_S = 5.0
"""Between two looks at the heartbeat."""
LOOKS = 2
"""Looks in a row at which a run must seem left alone."""
AGAIN_S = 60.0
"""Between two looks at the pumps of a run that nobody works on."""
FAILED_LOOKS = 2
"""Looks in a row that did not get at the pumps, before people are told: a port may still be on its way to us."""
LOG_NAME, LOCK_NAME = "supervisor.log", "supervisor.lock"


class Nothing:
    """Readouts of a record that is away."""

    def now(self) -> tuple[()]:
        """Return none."""
        return ()


@dataclass
class Keeper:
    """What is needed to keep the lines of a run alive; as ``plain_medium.Perfused`` wants it."""

    study: Study
    run_id: str
    record: Any
    """The run's record, or None where it is away."""
    journal: Journal
    bench: Bench
    clock: Clock
    tell: Callable[[str], None] = field(default=print)
    simulated: bool = False
    """A virtual lab ends with its process; there is nothing to keep alive."""

    @cached_property
    def at_hand(self) -> Any:
        """Readouts for the last look at the limits; none where the record is away: plain medium needs none."""
        return Nothing() if self.record is None else ReadoutsAtHand(self.record, self.run_id)

    def say(self, cycle: int, what: str) -> None:
        """Tell what happens now."""
        self.tell(what)


def flows_of(keeper: Keeper) -> list[LineFlow]:
    """Return what flows in every line, once its pumps were looked at: what has ended is on record then."""
    now_h = keeper.clock.now_h()
    if not keeper.journal.actions(keeper.run_id):
        return []  # no pump of it ever moved: first doses that were turned down
    mine = [a for a in keeper.journal.actions(keeper.run_id) if a.open]
    for key in dict.fromkeys(a.intent.programme_key for a in mine):
        look_at_programme(keeper.journal, keeper.bench.pumps, key, now_h)
    left = [a for a in keeper.journal.actions(keeper.run_id) if a.open]
    found = []
    for line in keeper.study.line_ids:
        own = [a for a in left if a.intent.programme.line == line]
        running = [a for a in own if pump_progress(a).state == "running" and a.stood_h is None]
        ends = (a.begun_h + a.intent.volume_ul / a.intent.flow_rate_ul_h for a in running)
        found.append(
            LineFlow(
                line,
                tuple(dict.fromkeys(a.intent.programme_key for a in running)),
                any(a.intent.programme.purpose != "medium" for a in running),
                max(ends, default=-math.inf),
            )
        )
    return found


def make_safe(keeper: Keeper, settings: SupervisorSettings) -> list[SafeStep]:
    """Do what every line needs now, and return that; safe to repeat."""
    steps = list(safe_steps(flows_of(keeper), keeper.clock.now_h(), settings.lines))
    for step in steps:
        keeper.tell(f"line {step.line}: {step.why}")
        for key in step.stop:
            progress = stop_programme(
                keeper.journal,
                keeper.bench.pumps,
                key,
                keeper.clock.now_h(),
                "stopped by the supervisor: nobody works on the run",
            )
            for pump in progress.may_run:
                keeper.tell(f"{pump} MAY STILL RUN: stop it by hand")
        if step.stop:
            reached("supervisor_stopped")
        if step.plain_medium:
            cycle, phase = next_phase(keeper, step.line)
            keep_alive(keeper, step.line, settings.plain_medium_h, cycle, phase, step.why)
    return steps


def next_phase(keeper: Keeper, line: str) -> tuple[int, str]:
    """Return cycle and name of a phase of a line that is not on record yet: ``keep_alive`` adds ``-plain``."""
    keys = [
        a.intent.programme_key
        for a in keeper.journal.actions(keeper.run_id)
        if a.intent.programme.line == line
    ]
    cycle = max((int(key.rsplit("/", 3)[1].removeprefix("c")) for key in keys), default=0)
    number = 1 + sum(f"/{SUPERVISED}-" in key for key in keys)
    return cycle, f"{SUPERVISED}-{number}"


def is_gone(
    beat: Beat | None, settings: SupervisorSettings, now_s: float, awake_s: float | None = None
) -> str:
    """Return why a run counts as left alone; empty where somebody works on it, or may be back in time.

    ``awake_s`` is now by a clock that stands while the computer sleeps: a fit that slept along does not hang.
    """
    if beat is None:
        return ""
    if not beat.is_alive:
        gone_s = now_s - beat.process_s
        if gone_s < 0.0 or gone_s > 60.0 * settings.after_min:
            return f"process {beat.pid} has ended"
        return ""
    quiet_s = now_s - beat.flow_s
    if awake_s is not None and beat.flow_awake_s is not None:
        quiet_s = min(quiet_s, awake_s - beat.flow_awake_s)
    if quiet_s > 60.0 * settings.hung_after_min:
        return f"process {beat.pid} lives and has done nothing for {quiet_s / 60.0:.0f} min"
    return ""


def end_hung(beat: Beat) -> None:
    """End a process that hangs; one of that id which is another by now is left alone."""
    if beat.is_alive:
        os.kill(beat.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    until_s = time.monotonic() + 10.0
    while beat.is_alive and time.monotonic() < until_s:
        time.sleep(0.05)


def start_supervisor(folder: Path) -> int:
    """Start the supervisor of a run, which outlives this process; return its id. A second one ends by itself."""
    with (folder / LOG_NAME).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "flows.supervisor", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    return process.pid


def supervise(folder: Path, steady_s: Callable[[], float] = since_boot_s) -> None:
    """Watch a run until it has ended; at once where another supervisor does.

    Raises FileNotValid where its lab.toml can not be used.
    """
    lock = FileLock(folder / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return
    with lock:
        _supervise(folder, steady_s)


def _supervise(folder: Path, steady_s: Callable[[], float]) -> None:
    files = known_run(str(folder), folder.parent)
    settings = load_lab_settings(folder / SETTINGS_FILE)
    bell = Bell(files, settings.notify)
    try:
        _watch(files, settings, bell, steady_s)
    finally:
        bell.close()


def _watch(
    files: RunFiles, settings: LabSettings, bell: Bell, steady_s: Callable[[], float]
) -> None:
    folder, told, looks, failed = files.folder, False, 0, 0
    while not (has_ended(files) or given_up(folder)):
        beat = last_beat(folder)
        why = is_gone(beat, settings.supervisor, steady_s(), time.monotonic())
        if why and is_stopped(folder):
            why = ""  # a person stopped it: nobody starts a pump until a person takes it up
        looks = looks + 1 if why else 0
        if looks < LOOKS:  # a computer that wakes up has old beats for a moment
            told = told and bool(why)
            time.sleep(EVERY_S)
            continue
        if beat is not None:
            end_hung(beat)
        try:
            with only_owner(folder):
                if not told:
                    bell.alone(beat, why)
                    alarm(files, why)
                    told = True
                safe_once(files, settings)
            failed = 0
        except RunInUse:
            told = False  # somebody has taken it up, or the one that was ended is not quite gone
            time.sleep(EVERY_S)
            continue
        except Exception as trouble:  # whatever it is: nobody else looks after these chips
            if not isinstance(trouble, ChiploopError | OSError):
                say(files, "".join(traceback.format_exception(trouble)))
            say(files, f"chips can not be made safe: {trouble}; it is tried again")
            if is_full(trouble) and give_reserve(folder):
                say(files, "the reserve of the disk is free now")
                continue
            failed += 1
            if failed == FAILED_LOOKS:
                bell.not_safe(beat)
        time.sleep(AGAIN_S)


def safe_once(files: RunFiles, settings: LabSettings) -> None:
    """Open the pumps of a run, make its chips safe, and close them: they run to their targets by themselves."""
    pumps = settings.model_copy(update={"plate_readers": {}, "impedance_meters": {}, "valves": {}})
    with ExitStack() as stack:
        record = None
        try:  # chips are made safe by journal and pumps; the record is for the last look at the limits alone
            record = stack.enter_context(place_of(files.runs).open(create=False))
        except ChiploopError as trouble:
            say(files, f"the record is away: {trouble}")
        journal = stack.enter_context(Journal(files.journal))
        bench = stack.enter_context(open_bench(pumps, files.folder / "wire", run=files.folder))
        clock = WallClock(files.folder)
        clock.stopped_by = lambda: bench.halted
        keeper = Keeper(
            files.study,
            files.run_id,
            record,
            journal,
            bench,
            clock,
            lambda what: say(files, what),
        )
        make_safe(keeper, settings.supervisor)


def has_ended(files: RunFiles) -> bool:
    """Return whether a run came to its end: on record, or its process ended well."""
    ended = how_it_ended(files.folder)
    if ended is not None and ended.exit_code == 0:
        return True
    try:
        place = place_of(files.runs)
        if not place.is_there():
            return False
        with place.open(create=False) as record:
            run = record.run(files.run_id)
            return run is not None and run.state == "finished"
    except Exception:
        return False  # a record that is away, or that nobody can read, says nothing: chips are looked after


if __name__ == "__main__":
    supervise(Path(sys.argv[1]).resolve())

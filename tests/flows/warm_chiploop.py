"""The ``chiploop`` command from a warm start: one process that has loaded everything forks commands.

Belongs here: what makes a crash test of many commands quick. Not here: what the tests ask for.

A command that is started here differs from a real one in six things: its libraries are loaded
already, it uses the Prefect server of the test session, its virtual lab is a fork too, its fits
hardly look and always pass (``QUICK``), its report is one line, and valves turn wherever they can,
whatever it teaches. Everything else is real: ports,
bytes, emulators in a process of their own, journal, record, the command line, and ``kill -9``.

One JSON object per line, request and answer: {"do": "start", "arguments": [..], "environment": {..},
"folder": path} -> {"pid"}; stdout and stderr of the command go to files of the folder that are named
by its pid. {"do": "wait", "pid", "timeout_s"} -> {"code"}, null while it runs, negative for a signal.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import chiploop.campaign
import chiploop.connected_doses
import chiploop.fault_points
import chiploop.report.html_report
import flows.cli.decide
import flows.engine
import flows.fault_points
import flows.hands
import flows.opening
import flows.prefect_server
import flows.timeline
import instruments.delivery
import instruments.fault_points
from chiploop.inference.posterior import CalibrationInfo, Limits, Posterior
from chiploop.inference.recalibrate import Effort, attempt
from chiploop.inference.target import Target
from chiploop.models.study_model import model_of
from chiploop.study import load_study
from chiploop.virtual_lab import truth_model
from chiploop.worklist import HandDone
from flows.cli.main import command_line
from flows.opening import known_run, open_laboratory
from flows.supervisor import Keeper, make_safe
from instruments.emulators import control, lab_process
from instruments.lab_settings import SupervisorSettings
from tests.flows import shared_lab, users_at_once
from tests.flows.mutants import MUTANTS

QUICK = Effort(starts=2, particles=32, moves=1, final_moves=2, most_final=2)
USED_LATER = (
    "dask.array",
    "fastapi",
    "flows.cli.backup",
    "flows.cli.hold",
    "flows.cli.progress",
    "flows.cli.simulate",
    "flows.cli.status",
    "flows.closed_loop",
    "flows.ending",
    "flows.heartbeat",
    "flows.notify",
    "flows.opening",
    "flows.service",
    "flows.telling",
    "graphviz",
    "h5netcdf",
    "pint",
    "prefect.engine",
    "prefect.flow_engine",
    "prefect.task_engine",
    "rich.progress",
    "skimage.measure",
    "skimage.morphology",
    "sqlalchemy.dialects.sqlite",
    "xarray",
)
"""What commands, or libraries as late as they can, import when they come to it: here once, before the forks."""
LAB_PIDS = "lab_pids.txt"
PASSAGES = "CHIPLOOP_TEST_PASSAGES"
"""Variable that names a file into which every passage of a fault point is written."""
TIMELINE = "CHIPLOOP_TEST_TIMELINE"
"""Variable with which a run is shown on the timeline."""
LOGIN, MUTANT = "CHIPLOOP_TEST_LOGIN", "CHIPLOOP_TEST_MUTANT"
"""Variables that say who types a command, and which bug is planted into its process (tests.flows.mutants)."""
HANDS = "CHIPLOOP_TEST_HANDS"
"""Variable that has a virtual run wait for people at the bench."""
LATE_TASK, LATE_H, SLOW_H = "c01/plate/CCL26", 3.0, 0.5
"""What they do late, how late, and how late all else."""
SUPERVISE, SUPERVISED_H = "supervise", 5.0
"""A command of the tests alone, and how long after the first dose the supervisor looks at the pumps."""


def quick_recalibrate(
    likelihood: Any, prior: Any, rng: Any, previous: Any = None, effort: Any = None
) -> tuple[Posterior, CalibrationInfo]:
    """Return a posterior that is only good for having one."""
    target = Target(likelihood, prior)
    posterior, info = attempt(target, rng, previous, QUICK, Limits(), from_prior=False)
    return posterior, replace(info, passed=True, failures=())


def quick_report(record: Any, journal: Any, study: Any, run_id: str, folder: Path | str) -> Path:
    """Write a report that nobody reads; return its path."""
    path = Path(folder) / "report.html"
    draft = path.with_suffix(".html.unfinished")
    draft.write_text("SIMULATED", encoding="utf-8")
    chiploop.fault_points.passed("report_drafted")
    draft.replace(path)
    return path


class SessionServer:
    """The Prefect server of the test session, which no command ends."""

    is_gone = False

    def wait_ready(self, budget_s: float = 0.0) -> None:
        """Return: it is ready."""

    def start_again(self) -> bool:
        """Return True: it runs."""
        return True

    def stop(self) -> None:
        """Leave it."""


def timeline_where_wanted(files: Any) -> Any:
    """Return the run's timeline where the test looks at it; most crash tests have no use for it."""
    wanted = TIMELINE in os.environ
    return flows.timeline.timeline(files) if wanted else contextlib.nullcontext()


class ForkedLab:
    """A lab process as ``subprocess.Popen`` would give it, without its slow start."""

    def __init__(self, command: Sequence[str], *, stderr: IO[bytes], **_: Any) -> None:
        folder = command[-1]
        owner, own_end = os.pipe()
        their_end, said = os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            for given, standard in ((owner, 0), (said, 1), (stderr.fileno(), 2)):
                os.dup2(given, standard)
            os.closerange(3, 256)
            sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
            os._exit(lab_process.main(["--state", folder]))
        os.close(owner)
        os.close(said)
        self.stdin: IO[bytes] = os.fdopen(own_end, "wb")
        self.stdout: IO[bytes] = os.fdopen(their_end, "rb")
        with (Path(folder) / LAB_PIDS).open("a") as pids:
            pids.write(f"{self.pid}\n")

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended."""
        until_s = time.monotonic() + (timeout or 60.0)
        while self.poll() is None:
            if time.monotonic() > until_s:
                raise subprocess.TimeoutExpired("the virtual lab", timeout or 60.0)
            time.sleep(0.005)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """End it at once."""
        os.kill(self.pid, 9)


class ForkedLabs:
    """What ``control`` needs of the module ``subprocess``."""

    Popen, PIPE, TimeoutExpired = ForkedLab, subprocess.PIPE, subprocess.TimeoutExpired


def become_command(arguments: list[str], environment: dict[str, str], folder: Path) -> None:
    """Carry out one command line and end this process."""
    os.setsid()
    # As a terminal starts it: a suite that runs in the background hands on an ignored Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    out, err = (
        os.open(folder / f"{os.getpid()}.{name}", os.O_WRONLY | os.O_CREAT)
        for name in ("out", "err")
    )
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.environ.update(environment)
    random.seed()
    if shared_lab.VARIABLE in environment:
        shared_lab.use_shared_lab(environment[shared_lab.VARIABLE])
    if PASSAGES in environment:
        write_passages(Path(environment[PASSAGES]))
    code = 1
    try:
        if environment.get(LOGIN):
            flows.cli.decide.os_login = lambda: environment[LOGIN]
        if environment.get(HANDS):
            wait_for_hands()
        if environment.get(MUTANT):
            MUTANTS[environment[MUTANT]].plant()
        carry_out = (
            users_at_once.carry_out if users_at_once.VARIABLE in environment else command_line
        )
        code = supervise(arguments) if arguments[0] == SUPERVISE else carry_out(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def wait_for_hands() -> None:
    """Have a virtual run wait for people at the bench as a real one does; they come late."""
    from tests.flows import people_at_work  # which has its quick fits from here

    virtual = flows.opening.open_laboratory

    def act(lab: Any, time_h: float) -> None:
        for cycle in range(1, lab.study.timeline.cycles + 1):
            for assay in lab.study.assays:
                for task, state in flows.hands.pending(lab, cycle, assay):
                    after_h = LATE_H if task.task_id == LATE_TASK else SLOW_H
                    if state != "open" and time_h >= task.due_h + after_h:
                        said = HandDone(task.task_id, "done", "carol", at_h=time_h)
                        flows.hands.say_of(lab.record, lab.run_id, said, time_h)

    @contextmanager
    def with_people(*arguments: Any, **options: Any) -> Iterator[Any]:
        with virtual(*arguments, **options) as lab:
            real: list[Any] = []
            clock = people_at_work.ActingClock(lab.clock, lambda time_h: act(real[0], time_h))
            looks = {"watch_every_h": people_at_work.LOOK_H}
            real.append(replace(lab, simulated=False, clock=clock, **looks))
            act(real[0], lab.clock.now_h())  # what they were about to say when the run died
            yield real[0]

    flows.opening.open_laboratory = with_people
    flows.hands.LOOKS_PER_WATCH = 1


def supervise(arguments: list[str]) -> int:
    """Make the chips of a virtual run safe, as the supervisor does once nobody works on a real one."""
    files = known_run(arguments[1], Path(arguments[arguments.index("--runs") + 1]))
    with open_laboratory(files, None, lambda *_: None) as lab:
        doses = [a for a in lab.journal.actions(lab.run_id) if a.intent.programme.purpose == "dose"]
        lab.clock.wait_until_h(min(a.begun_h for a in doses) + SUPERVISED_H)
        keeper = Keeper(lab.study, lab.run_id, lab.record, lab.journal, lab.bench, lab.clock)
        make_safe(keeper, SupervisorSettings(plain_medium_h=30.0))
    return 0


def write_passages(path: Path) -> None:
    """Write every passage of a fault point into a file."""
    die = chiploop.fault_points.die_if_named

    def noted(name: str) -> None:
        with path.open("a") as file:
            file.write(f"{name}\n")
        die(name)

    for room in (chiploop.fault_points, instruments.fault_points, flows.fault_points):
        room.die_if_named = noted


def wait_for(pid: int, timeout_s: float) -> int | None:
    """Return the exit code of a command; None where it runs on after the time."""
    until_s = time.monotonic() + timeout_s
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until_s:
            return None
        time.sleep(0.005)


def main() -> None:
    """Answer requests until standard input ends."""
    for name in USED_LATER:
        importlib.import_module(name)
    chiploop.campaign.recalibrate = quick_recalibrate  # type: ignore[assignment]
    chiploop.report.html_report.write_report = quick_report
    flows.prefect_server.start_in_background = lambda *a, **k: SessionServer()  # type: ignore[assignment, return-value]
    chiploop.connected_doses.WORTH_ERRORS = -1e9  # a valve turns wherever one can
    logging.getLogger().handlers.clear()  # as where a command imports Prefect after its own log
    flows.engine.timeline = timeline_where_wanted
    control.subprocess = ForkedLabs  # type: ignore[assignment]
    study = load_study(Path(__file__).with_name("small_study.yaml"))
    model_of(study)
    truth_model(study)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "start":
            pid = os.fork()
            if pid == 0:
                become_command(
                    request["arguments"], request["environment"], Path(request["folder"])
                )
            print(json.dumps({"pid": pid}), flush=True)
        else:
            print(json.dumps({"code": wait_for(request["pid"], request["timeout_s"])}), flush=True)


if __name__ == "__main__":
    main()

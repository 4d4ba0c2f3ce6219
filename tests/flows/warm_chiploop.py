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

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import h5netcdf  # noqa: F401
import rich.progress  # noqa: F401
import xarray  # noqa: F401

import chiploop.campaign
import chiploop.connected_doses
import chiploop.report.html_report
import flows.cli.progress  # noqa: F401
import flows.cli.simulate  # noqa: F401
import flows.closed_loop  # noqa: F401
import flows.ending  # noqa: F401
import flows.opening  # noqa: F401
import flows.prefect_server
import instruments.delivery
import instruments.fault_points
from chiploop.inference.posterior import CalibrationInfo, Limits, Posterior
from chiploop.inference.recalibrate import Effort, attempt
from chiploop.inference.target import Target
from chiploop.models.study_model import model_of
from chiploop.study import load_study
from chiploop.virtual_lab import truth_model
from flows.cli.main import command_line
from instruments.emulators import control, lab_process

QUICK = Effort(starts=2, particles=32, moves=1, final_moves=2, most_final=2)
LAB_PIDS = "lab_pids.txt"
PASSAGES = "CHIPLOOP_TEST_PASSAGES"
"""Variable that names a file into which every passage of a fault point is written."""


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
    path.write_text("SIMULATED", encoding="utf-8")
    return path


class SessionServer:
    """The Prefect server of the test session, which no command ends."""

    def wait_ready(self) -> None:
        """Return: it is ready."""

    def stop(self) -> None:
        """Leave it."""


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
    if PASSAGES in environment:
        write_passages(Path(environment[PASSAGES]))
    code = 1
    try:
        code = command_line(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def write_passages(path: Path) -> None:
    """Write every passage of a fault point into a file."""
    die = instruments.fault_points.die_if_named

    def noted(name: str) -> None:
        with path.open("a") as file:
            file.write(f"{name}\n")
        die(name)

    instruments.fault_points.die_if_named = noted
    flows.fault_points.die_if_named = noted


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
    chiploop.campaign.recalibrate = quick_recalibrate  # type: ignore[assignment]
    chiploop.report.html_report.write_report = quick_report
    chiploop.connected_doses.WORTH_ERRORS = -1e9  # a valve turns wherever one can
    flows.prefect_server.start_in_background = lambda home: SessionServer()  # type: ignore[assignment, return-value]
    logging.getLogger().handlers.clear()  # as where a command imports Prefect after its own log
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

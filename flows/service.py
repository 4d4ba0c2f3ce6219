"""A run in a process of its own, which goes on when the terminal that started it is closed.

Belongs here: starting that process, what it leaves behind when it ends. Not here: the run itself (cli.simulate),
showing it (cli.watch), keeping chips alive when it dies (supervisor).

The process carries out ``chiploop resume RUN --here``: a run that was only just made begins at its beginning.
``runs/<run>/service.log`` takes what it would have said on a terminal, ``ended.json`` how it ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from chiploop.errors import ChiploopError, InstrumentTrouble
from flows.heartbeat import last_beat
from flows.record_place import VARIABLE

LOG_NAME, ENDED_NAME = "service.log", "ended.json"
STARTING = "starting"
"""How the first step is told; a later one means that ports, record and journal are open."""
START_BUDGET_S = 180.0
"""Until then the new process must have opened everything."""
MOST_TOLD = 1500
"""Letters of a log that are quoted."""


@dataclass(frozen=True)
class Ended:
    """How a service ended."""

    exit_code: int
    """Of the command line: 0 ok, 7 waiting for a person ..."""
    said: str
    """The end of its log."""


class ServiceEnded(ChiploopError):
    """The process of a run ended before it began to work; its exit code is that of its trouble."""

    code = "CL-404"
    exit_code = InstrumentTrouble.exit_code


def start_service(folder: Path, record_url: str = "") -> int:
    """Start the process that carries out a run; return its id once everything is open and the flow is at work.

    ``record_url`` is what the command line named; it is handed on as a variable, since others see a command line.

    Raises ServiceEnded with what it said where it ends before, or is not at work in time.
    """
    (folder / ENDED_NAME).unlink(missing_ok=True)
    begin = _log_size(folder)
    with (folder / LOG_NAME).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "flows.service", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | ({VARIABLE: record_url} if record_url else {}),
            # neither Ctrl-C nor the end of this terminal is for it
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    until_s = time.monotonic() + START_BUDGET_S
    while time.monotonic() < until_s:
        beat = last_beat(folder)
        if beat is not None and beat.pid == process.pid and not beat.doing.startswith(STARTING):
            return process.pid
        if process.poll() is not None:
            ended = how_it_ended(folder)
            if ended is not None and ended.exit_code == 0:
                return process.pid  # a short run is over already
            trouble = ServiceEnded(log_end(folder, begin) or "it ended and said nothing")
            trouble.exit_code = process.returncode if process.returncode > 0 else 1
            raise trouble
        time.sleep(0.05)
    raise ServiceEnded(
        f"process {process.pid} of {folder.name} has not opened everything within {START_BUDGET_S:.0f} s; it "
        f"goes on. Look at {folder / LOG_NAME}, or end it with chiploop stop {folder.name}"
    )


def _log_size(folder: Path) -> int:
    try:
        return (folder / LOG_NAME).stat().st_size
    except OSError:
        return 0


def log_end(folder: Path, begin: int = 0) -> str:
    """Return the end of a service's log from a place on; empty where there is none."""
    try:
        text = (folder / LOG_NAME).read_bytes()[begin:].decode("utf-8", errors="replace")
    except OSError:
        return ""
    return text[-MOST_TOLD:].strip()


def how_it_ended(folder: Path) -> Ended | None:
    """Return how the last service of a run ended; None where it runs, was killed, or never was."""
    try:
        return Ended(**json.loads((folder / ENDED_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def serve(folder: Path) -> int:
    """Carry out a run to its end; return the exit code that the command has."""
    from flows.cli.main import command_line
    from flows.opening import known_run
    from flows.supervisor import start_supervisor

    if not known_run(str(folder), folder.parent).simulated:  # a virtual lab ends with its process
        start_supervisor(folder)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begin = _log_size(folder)
    code = command_line(["resume", folder.name, "--runs", str(folder.parent), "--here"])
    sys.stdout.flush()
    sys.stderr.flush()
    ended = Ended(code, log_end(folder, begin))
    draft = folder / f"{ENDED_NAME}.new"
    draft.write_text(json.dumps(asdict(ended)), encoding="utf-8")
    draft.replace(folder / ENDED_NAME)
    return code


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(serve(Path(sys.argv[1])))

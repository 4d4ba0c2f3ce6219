"""Jobs for the tests of ``flows.fit_many``, where other processes find them by name.

Belongs here: functions. Not here: tests.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from chiploop.errors import FileNotValid


def drawn(seed: int, count: int) -> np.ndarray:
    """Return numbers that hang on the arguments alone."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((count, count)))[1]


def damaged() -> None:
    """Raise an error of ours."""
    raise FileNotValid("study.json is damaged")


def divides(by: int) -> float:
    """Raise where a bug would."""
    return 1 / by


def gives_what_can_not_travel() -> object:
    """Return what can not be pickled."""
    return (number for number in range(3))


def dies() -> None:
    """End the process as the system does where memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


def surroundings() -> tuple[dict[str, str], bool, set[str]]:
    """Return the thread variables, whether Ctrl-C is heard, and the addresses that are listened at."""
    variables = {name: value for name, value in os.environ.items() if name.endswith("_THREADS")}
    hears = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    return variables, hears, listened_at(psutil.Process())


def listened_at(process: psutil.Process) -> set[str]:
    """Return the addresses at which a process waits for connections."""
    return {c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN}


def temporary_folder() -> str:
    """Return a folder that nobody removes."""
    return tempfile.mkdtemp()


def busy(begun: str, seconds: float) -> None:
    """Say that it began, and calculate for so long."""
    Path(begun).touch()
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        sum(range(1000))

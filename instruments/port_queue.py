"""Who waits for a port that several processes use in turn: first asked, first served.

Belongs here: a place in the line, who stands before it. Not here: the lock that decides in the end (port_lock),
how long anybody waits (shared).

A place is a small file in ``queues/<lock name>`` beside the port locks, named by when it was taken; the clock is
that of the computer since it started, which nobody can set. Whoever has the port keeps the place meanwhile. A
place whose process has ended is passed over: nothing is cleaned up by hand after a ``kill -9``.
"""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from instruments.port_lock import lock_directory, make_shared, process_started, same_process
from instruments.stop_desk import delete, read_file, write_whole

FOLDER: Final = "queues"
_END: Final = ".place.json"


@dataclass(frozen=True)
class Waiting:
    """Somebody in a line."""

    pid: int
    process_started: float
    run: str
    """Name of the run; empty for a command."""
    since_s: float
    """When it took its place, by ``now_s``."""

    def told(self, at_s: float) -> str:
        """Return who it is, for people."""
        whose = f"run {self.run}, process {self.pid}" if self.run else f"process {self.pid}"
        return f"{whose}, for {max(0.0, at_s - self.since_s) / 60.0:.1f} min"


def now_s() -> float:
    """Return seconds since the computer started; the same for all its processes."""
    return time.monotonic_ns() / 1e9


def queue_folder(lock_name: str, directory: Path | None = None) -> Path:
    """Return the folder of the line for a port, made where it was missing."""
    folder = directory or lock_directory()
    for one in (folder, folder / FOLDER, folder / FOLDER / lock_name):
        make_shared(one)
    return folder / FOLDER / lock_name


class Place:
    """A place in the line for a port, from construction to `leave`."""

    def __init__(self, lock_name: str, run: str = "", directory: Path | None = None) -> None:
        self._folder = queue_folder(lock_name, directory)
        name = f"{time.monotonic_ns():020d}-{os.getpid()}-{uuid.uuid4().hex[:8]}{_END}"
        self._path = self._folder / name
        about = {
            "pid": os.getpid(),
            "process_started": process_started(os.getpid()) or 0.0,
            "run": run,
        }
        write_whole(self._path, about)

    def before(self) -> tuple[Waiting, ...]:
        """Return who stands before this place, the first one first."""
        found = []
        for path in sorted(self._folder.glob(f"*{_END}")):
            if path.name >= self._path.name:
                break
            waiting = _waiting(path)
            if waiting is None or not same_process(waiting.pid, waiting.process_started):
                delete(path)  # where it is another user's, it is passed over again next time
                continue
            found.append(waiting)
        return tuple(found)

    def leave(self) -> None:
        """Leave the line; safe to repeat."""
        delete(self._path)


def _waiting(path: Path) -> Waiting | None:
    about: dict[str, Any] | None = read_file(path)
    try:
        assert about is not None
        since_s = int(path.name.partition("-")[0]) / 1e9
        pid, started = int(about["pid"]), float(about["process_started"])
        return Waiting(pid, started, str(about["run"]), since_s)
    except (AssertionError, KeyError, TypeError, ValueError):
        return None

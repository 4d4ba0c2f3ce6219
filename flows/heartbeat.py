"""The heartbeat of a run: a small file that says who works on it, and when it last did anything.

Belongs here: writing and reading that file. Not here: what follows from a heart that stands (supervisor), what
people are shown (run_status). Imports little: whoever only looks must not wait for libraries.

Two pulses: that of the process, by a thread of its own, and that of the flow, which beats whenever it says, waits
or looks at something. A long fit is silent for minutes; a flow that hangs is silent for good.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from flows.clock import since_boot_s
from instruments.port_lock import process_started, same_process

FILE_NAME = "heartbeat.json"
EVERY_S = 2.0
"""Between two writes."""


@dataclass(frozen=True)
class Beat:
    """What the file says."""

    pid: int
    process_started: float
    """As ``port_lock.process_started`` gives it, so that another process of the same id is told apart."""
    process_s: float
    """When the process last wrote: seconds since the computer started."""
    flow_s: float
    """When the flow last did anything, by the same clock."""
    unix_s: float
    """When the process last wrote, by the wall clock: for people."""
    time_h: float
    """Study time of the last step that was told."""
    cycle: int
    doing: str
    """The last step that was told."""
    flow_awake_s: float | None = None
    """As ``flow_s``, by a clock that stands while the computer sleeps; None in files of older runs."""

    @property
    def is_alive(self) -> bool:
        """Whether the process that wrote it still runs."""
        return same_process(self.pid, self.process_started)


class Heart:
    """Writes the file of a run's folder for the length of a ``with`` block; the file stays behind."""

    def __init__(
        self, folder: Path, every_s: float = EVERY_S, steady_s: Callable[[], float] = since_boot_s
    ) -> None:
        self.path = folder / FILE_NAME
        self.every_s, self._steady_s = every_s, steady_s
        self._started = process_started(os.getpid()) or 0.0
        self._flow_s, self._flow_awake_s = steady_s(), time.monotonic()
        self._owns = False
        self._told: tuple[float, int, str] = (0.0, 0, "starting")
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="heartbeat", daemon=True)

    def __enter__(self) -> Heart:
        self.write()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ends.set()
        self._thread.join()
        self.write()

    def beat(self) -> None:
        """Say that the flow is at work; costs nothing. From then on the file is this process's."""
        self._touch()
        if not self._owns:
            self._owns = True
            self.write()

    def _touch(self) -> None:
        self._flow_s, self._flow_awake_s = self._steady_s(), time.monotonic()

    def tell(self, time_h: float, cycle: int, what: str) -> None:
        """Say what the flow does now."""
        self._told = (time_h, cycle, what)
        self._touch()

    def write(self) -> None:
        """Write the file whole or not at all; on a full disk in the room that it has, as a run waits there.

        Nothing before the flow has begun: another process may own the run, and its heart must be seen.
        """
        if not self._owns:
            return
        time_h, cycle, doing = self._told
        now = Beat(
            os.getpid(),
            self._started,
            self._steady_s(),
            self._flow_s,
            time.time(),
            time_h,
            cycle,
            doing,
            self._flow_awake_s,
        )
        draft = self.path.with_name(f"{FILE_NAME}.{os.getpid()}")
        try:
            draft.write_text(json.dumps(asdict(now)), encoding="utf-8")
            draft.replace(self.path)
        except OSError:
            draft.unlink(missing_ok=True)
            self._write_over(json.dumps(asdict(now)))

    def _write_over(self, text: str) -> None:
        """Write in place of what stands there, which needs no room; whoever reads in between reads nothing."""
        with suppress(OSError), self.path.open("r+b") as file:
            file.write(text.encode())
            file.truncate()

    def _write_on(self) -> None:
        while not self._ends.wait(self.every_s):
            self.write()


def last_beat(folder: Path) -> Beat | None:
    """Return the last heartbeat of a run; None where there is none that can be read."""
    try:
        return Beat(**json.loads((folder / FILE_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None

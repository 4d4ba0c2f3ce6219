"""The clock that is passed in: study time in hours since the start of a run.

Belongs here: what study time is now, and waiting. Not here: what happens meanwhile.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from chiploop.errors import WaitingForPerson
from flows.whole_files import write_whole
from instruments.emulators.control import ControlChannel

BEGUN_FILE = "clock.json"
"""In a run's folder: when a real run began."""
SLICE_S = 1.0
"""Longest sleep at once, so that a stop is noticed."""
WALL_APART_S = 60.0
"""Difference between wall clock and study time that is told, and each time it grows by as much."""

ASLEEP_S = 60.0
"""A shorter sleep of the computer is not told: counters and study time go on through it."""

_log = logging.getLogger(__name__)


class Clock(Protocol):
    """Study time."""

    def now_h(self) -> float:
        """Return hours since the start of the run."""

    stopped_by: Callable[[], str]
    """Who stopped the bench from outside; empty while nobody has."""

    def wait_until_h(self, time_h: float) -> None:
        """Return once study time has reached time_h; at once where it has passed. RunStopped where
        somebody stops the bench meanwhile."""


class RunStopped(WaitingForPerson):
    """Somebody stopped the bench from outside while this run was under way."""

    code = "CL-710"


def study_time_h(folder: Path, simulated: bool) -> float:
    """Return the study time of a run as any process sees it; 0 where the run has not begun."""
    with suppress(OSError, ValueError, KeyError):
        if simulated:
            state = json.loads((folder / "virtual_lab" / "state.json").read_text(encoding="utf-8"))
            return float(state["parts"]["room"]["time_h"])
        begun = json.loads((folder / BEGUN_FILE).read_text(encoding="utf-8"))
        return (time.time() - float(begun["begun_unix_s"])) / 3600.0
    return 0.0


def nobody_stops() -> str:
    """Return that nobody has stopped the bench."""
    return ""


class VirtualClock:
    """Study time of a virtual lab: waiting moves its world."""

    def __init__(self, control: ControlChannel) -> None:
        self.control = control
        self.stopped_by: Callable[[], str] = nobody_stops
        """Who stopped the bench from outside; a wait then ends with RunStopped."""
        self.time_h = float(control.call("hello")["time_h"])

    def now_h(self) -> float:
        """Return hours since the start of the run."""
        return self.time_h

    def wait_until_h(self, time_h: float) -> None:
        """Move the virtual world on to time_h."""
        refuse_when_stopped(self.stopped_by())
        if time_h > self.time_h:
            self.time_h = float(self.control.call("advance", to_h=time_h)["time_h"])


def since_boot_s() -> float:
    """Return seconds that nobody can set; where the system has such a clock, its sleep counts too."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


@dataclass(frozen=True)
class ClockNews:
    """What has happened to the computer's time."""

    kind: Literal["clock set", "computer slept"]
    seconds: float
    """By how much it is set apart from study time; how long it slept."""
    told: str


class WallClock:
    """Real time; the start is kept in the run's folder, so that a restart goes on counting.

    The wall clock is asked at the opening only: set it meanwhile, and study time does not jump.
    """

    def __init__(
        self,
        folder: Path,
        wall_s: Callable[[], float] = time.time,
        steady_s: Callable[[], float] = since_boot_s,
        awake_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stopped_by: Callable[[], str] = nobody_stops
        """Who stopped the bench from outside; a wait then ends with RunStopped."""
        path = folder / BEGUN_FILE
        if not path.exists():
            write_whole(path, json.dumps({"begun_unix_s": wall_s()}))
        self.begun_s = float(json.loads(path.read_text(encoding="utf-8"))["begun_unix_s"])
        self._wall_s, self._steady_s, self._awake_s = wall_s, steady_s, awake_s
        self._apart_at_opening_s = steady_s() - awake_s()
        self._opened_s = wall_s() - self.begun_s
        self._steady_at_opening_s = steady_s()
        self._told_s = self._slept_s = 0.0

    def now_h(self) -> float:
        """Return hours since the start of the run."""
        return (self._opened_s + self._steady_s() - self._steady_at_opening_s) / 3600.0

    def news(self) -> str:
        """Return that somebody set the wall clock, once for each further minute; empty otherwise."""
        apart_s = self._wall_s() - self.begun_s - 3600.0 * self.now_h()
        if abs(apart_s - self._told_s) < WALL_APART_S:
            return ""
        self._told_s = apart_s
        said = (
            f"the computer's clock was set: it is {apart_s:+.0f} s apart from study time, which goes "
            "on as it did. Set it right before the run is taken up again"
        )
        _log.warning(said)
        return said

    def happened(self) -> list[ClockNews]:
        """Return what has happened to the computer's time since this was asked before, each thing once."""
        found = []
        slept_s = self._steady_s() - self._awake_s() - self._apart_at_opening_s
        if slept_s - self._slept_s > ASLEEP_S:
            said = (
                f"the computer slept for {(slept_s - self._slept_s) / 60.0:.1f} min: nobody watched the "
                "pumps, which went on by themselves; their counters say what was given. Switch its sleep off"
            )
            found.append(ClockNews("computer slept", slept_s - self._slept_s, said))
            _log.warning(said)
            self._slept_s = slept_s
        if said := self.news():
            found.append(ClockNews("clock set", self._told_s, said))
        return found

    def wait_until_h(self, time_h: float) -> None:
        """Sleep until time_h."""
        refuse_when_stopped(self.stopped_by())
        while (left_s := (time_h - self.now_h()) * 3600.0) > 0.0:
            time.sleep(min(left_s, SLICE_S))
            refuse_when_stopped(self.stopped_by())


def refuse_when_stopped(by: str) -> None:
    """Raise RunStopped where somebody has stopped the bench from outside."""
    if by:
        raise RunStopped(
            f"{by}. Every pump was told to stop; chips stand without flow. Look at the bench, then "
            "take the run up again with chiploop resume: counters decide what was delivered"
        )

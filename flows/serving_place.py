"""Where a folder of runs keeps who recalibrates it by night, and what came out last.

Belongs here: these files. Not here: the schedule (serving), the fits (recalibration). Imports no Prefect:
``chiploop status`` reads them.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from instruments.port_lock import process_started, same_process

FLOW_NAME = "recalibrate open runs"
DEPLOYMENT_NAME = "by night"
SERVER_FOLDER = "prefect"
"""Below the folder of the runs: files of the server that keeps the schedule."""
SERVING_FILE, LAST_FILE, LOCK_FILE = "serving.json", "recalibrated.json", "serving.lock"


@dataclass(frozen=True)
class Serving:
    """Who keeps a folder's schedule."""

    pid: int
    process_started: float
    cron: str
    said: str
    """When, in words."""
    pages: str
    """Where its pages are."""

    @property
    def is_alive(self) -> bool:
        """Whether the process that wrote it still runs."""
        return same_process(self.pid, self.process_started)


def tell_serving(runs: Path, cron: str, said: str, pages: str) -> None:
    """Say that this process keeps the schedule."""
    own = Serving(os.getpid(), process_started(os.getpid()) or 0.0, cron, said, pages)
    (runs / SERVING_FILE).write_text(json.dumps(asdict(own)), encoding="utf-8")


def serving_of(runs: Path) -> Serving | None:
    """Return who keeps the schedule, or kept it when it was killed; None where nobody was asked to."""
    try:
        return Serving(**json.loads((runs / SERVING_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def last_of(runs: Path) -> dict[str, Any] | None:
    """Return what the last recalibration told; None where there was none."""
    try:
        told: dict[str, Any] = json.loads((runs / LAST_FILE).read_text(encoding="utf-8"))
        return told
    except (OSError, ValueError):
        return None


def facts(runs: Path) -> dict[str, Any] | None:
    """Return the recalibration of a folder's runs as plain values; None where nobody was ever asked for it."""
    now, last = serving_of(runs), last_of(runs)
    if now is None and last is None:
        return None
    return {
        "scheduled": None if now is None else now.said,
        "process": now.pid if now is not None and now.is_alive else None,
        "pages": now.pages if now is not None and now.is_alive else None,
        "last": last,
    }


def lines(told: dict[str, Any]) -> list[str]:
    """Return the same for people."""
    found = []
    if told["process"] is not None:
        found.append(
            f"Recalibration {told['scheduled']} by process {told['process']}; {told['pages']}"
        )
    elif told["scheduled"] is not None:
        found.append(
            f"Recalibration {told['scheduled']}: NOBODY DOES IT, its process was killed; chiploop serve again"
        )
    if told["last"] is not None:
        states = [one["state"] for one in told["last"]["runs"]]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        at = datetime.fromisoformat(told["last"]["at_utc"]).astimezone()
        found.append(f"  last recalibration {at:%Y-%m-%d %H:%M}: {counts or 'no open run'}")
    return found

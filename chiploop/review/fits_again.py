"""A run fitted again, as its files say, beside the loop's own fit.

Belongs here: reading the files of ``chiploop fit``. Not here: fitting.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FIT_FILE, PAGE_FILE = "fit.json", "review.html"


@dataclass(frozen=True)
class GoalBeside:
    """A goal by both fits."""

    name: str
    unit: str
    before: str
    """By the loop's fit; empty where it is not known."""
    after: str


@dataclass(frozen=True)
class FitAgain:
    """The newest fit of a run that was made again."""

    cycle: int
    when: str
    passed: bool
    failures: tuple[str, ...]
    used: int
    left_out: int
    same_as_loop: bool | None
    goals: tuple[GoalBeside, ...]
    look_at: tuple[str, ...]
    page: Path | None


def latest_fit(folder: Path, loop: Mapping[str, Any] | None) -> FitAgain | None:
    """Return the newest fit in a run's folder; None where none was made. ``loop``: the loop's last calibration."""
    files = sorted((folder / "fit").glob(f"*/{FIT_FILE}"), key=lambda path: path.stat().st_mtime)
    if not files:
        return None
    path = files[-1]
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    before = {goal["name"]: goal for goal in (loop or {}).get("goals", ())}
    goals = tuple(
        GoalBeside(
            name,
            goal["unit"],
            interval(before[name]) if name in before else "",
            interval(goal),
        )
        for name, goal in told["goals"].items()
    )
    page = path.with_name(PAGE_FILE)
    when = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return FitAgain(
        told["cycle"],
        f"{when:%Y-%m-%d %H:%M} UTC",
        told["passed"],
        tuple(told["failures"]),
        told["readouts"]["used"],
        told["readouts"]["left_out"],
        told["same_as_loop"],
        goals,
        tuple((told["review"] or {}).get("look_at", ())),
        page if page.is_file() else None,
    )


def interval(goal: Mapping[str, Any]) -> str:
    """Return a goal's median with its interval."""
    if goal["median"] is None:
        return "not known"
    return f"{goal['median']:.3g} ({goal['lower']:.3g} to {goal['upper']:.3g})"

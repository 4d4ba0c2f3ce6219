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

from chiploop.review.run_view import digits

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


@dataclass(frozen=True)
class FitsAgain:
    """What a run's folder has of fits that were made again."""

    newest: FitAgain | None
    """None where none was made that can be read."""
    passed_over: tuple[str, ...]
    """Newer files of another form, such as those of another version: ``<fit>/fit.json``."""


def latest_fit(folder: Path, loop: Mapping[str, Any] | None) -> FitsAgain:
    """Return the newest fit in a run's folder that can be read. ``loop``: the loop's last calibration."""
    files = sorted((folder / "fit").glob(f"*/{FIT_FILE}"), key=written_s, reverse=True)
    passed_over: list[str] = []
    for path in files:
        try:
            return FitsAgain(fit_in(path, loop), tuple(passed_over))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            passed_over.append(f"{path.parent.name}/{path.name}")
    return FitsAgain(None, tuple(passed_over))


def written_s(path: Path) -> float:
    """Return when a file was written; 0 where it is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def fit_in(path: Path, loop: Mapping[str, Any] | None) -> FitAgain:
    """Return the fit of a file. OSError, ValueError, KeyError, TypeError or AttributeError where it is none."""
    told = json.loads(path.read_text(encoding="utf-8"))
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
        int(told["cycle"]),
        f"{when:%Y-%m-%d %H:%M} UTC",
        bool(told["passed"]),
        tuple(str(one) for one in told["failures"]),
        int(told["readouts"]["used"]),
        int(told["readouts"]["left_out"]),
        told["same_as_loop"],
        goals,
        tuple(str(one) for one in (told["review"] or {}).get("look_at", ())),
        page if page.is_file() else None,
    )


def interval(goal: Mapping[str, Any]) -> str:
    """Return a goal's median with its interval."""
    if goal["median"] is None:
        return "not known"
    return f"{digits(goal['median'])} ({digits(goal['lower'])} to {digits(goal['upper'])})"

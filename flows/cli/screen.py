"""What people and programs see of a command: text, JSON, errors, colour.

Belongs here: form. Not here: what a command does, exit codes of kinds of trouble (chiploop.errors).
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from chiploop.errors import ChiploopError, Problem

JSON_OPTION = typer.Option(False, "--json", help="Print one JSON object instead of text.")
"""The same option for every reading command: ``as_json: bool = JSON_OPTION``."""


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on standard output; ValueError for NaN and infinity."""
    print(json.dumps(value, ensure_ascii=True, allow_nan=False, indent=2))


def problem_as_json(problem: Problem) -> dict[str, Any]:
    """Return a problem as the plain values that ``--json`` shows."""
    return {
        "line": problem.line,
        "field": problem.field,
        "message": problem.message,
        "hint": problem.hint,
    }


def error_as_json(error: Exception) -> dict[str, Any]:
    """Return what ``--json`` prints where a command fails.

    ``problems`` is there where a file is not valid.
    """
    code, exit_code = "CL-100", 1
    if isinstance(error, ChiploopError):
        code, exit_code = error.code, error.exit_code
    told: dict[str, Any] = {"code": code, "exit_code": exit_code, "message": str(error)}
    problems = getattr(error, "problems", None)
    if problems is not None:
        told["problems"] = [problem_as_json(problem) for problem in problems]
    return {"ok": False, "error": told}


def paint(text: str, colour: str, stream: Any = None) -> str:
    """Return the text in a colour where a person looks on; NO_COLOR and pipes get it plain."""
    target = sys.stdout if stream is None else stream
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    if plain or not target.isatty():
        return text
    return typer.style(text, fg=colour)


def problem_lines(problems: list[Problem], path: Path) -> list[str]:
    """Return a numbered list of problems, each with its line of the file below it."""
    try:
        source = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError):
        source = []
    lines = []
    for number, problem in enumerate(problems, start=1):
        place = ", ".join(
            part for part in (f"line {problem.line}" if problem.line else "", problem.field) if part
        )
        told = f"{place}: {problem.message}" if place else problem.message
        lines.append(f"  {number}. {told}" + (f"; {problem.hint}" if problem.hint else ""))
        if problem.line and problem.line <= len(source) and source[problem.line - 1].strip():
            lines.append(f"       {source[problem.line - 1].strip()[:90]}")
    return lines


def show_error(error: ChiploopError) -> None:
    """Print trouble on standard error as one short block with its code."""
    head = paint(f"{error.code}:", "red", sys.stderr)
    print(f"{head} {error}", file=sys.stderr)
    for note in getattr(
        error, "__notes__", ()
    ):  # what happened on the way out: pumps that may still run
        print(note, file=sys.stderr)
    problems = getattr(error, "problems", None)
    if problems and problems[0].message not in str(error):  # some messages list them already
        path = Path(getattr(error, "path", ""))
        print("\n".join(problem_lines(problems, path)), file=sys.stderr)


def log_path() -> Path:
    """Return the file that takes tracebacks: CHIPLOOP_LOG, or the user's log folder."""
    named = os.environ.get("CHIPLOOP_LOG")
    if named:
        return Path(named)
    from platformdirs import user_log_path

    return user_log_path("chiploop", appauthor=False) / "chiploop.log"


def show_bug(error: BaseException, debug: bool) -> None:
    """Print one line about an unexpected error; its traceback goes to the log file.

    With ``debug`` the traceback is also shown.
    """
    told = "".join(traceback.format_exception(error))
    kind = type(error).__name__
    print(
        f"{paint('CL-100:', 'red', sys.stderr)} this should not have happened ({kind}). "
        f"{_keep(told)}",
        file=sys.stderr,
    )
    if debug:
        print(told, file=sys.stderr)


def _keep(told: str) -> str:
    path = log_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as log:
            log.write(f"{datetime.now().astimezone().isoformat(timespec='seconds')}\n{told}\n")
    except OSError as trouble:
        return f"Details could not be written to {path} ({trouble.strerror}); --debug shows them."
    return f"Details are in {path}; --debug shows them."

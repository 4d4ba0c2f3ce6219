"""``chiploop model check``: everything that is wrong with a model's two files.

Belongs here: how it is shown. Not here: what is checked (chiploop.models.model_check).
"""

from __future__ import annotations

from collections.abc import Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import FileNotValid
from flows.cli.screen import JSON_OPTION, paint, print_json, problem_as_json

if TYPE_CHECKING:
    from chiploop.models.model_check import Checked


def check(
    file: str = typer.Argument(
        metavar="FILE",
        help="Model text (.ant, or SBML .xml) with its .yaml beside it, or the name of a model.",
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Read a model's text and the .yaml beside it, compile it, simulate one day.

    Exit code 0 for a model that can be used, 3 otherwise. With --json: {"ok", "model", "problems":
    [{"file", "line", "field", "message", "hint"}], "notes", "states", "constants", "day": {"steps",
    "fastest_h", "slowest_h"}}; what was not reached is null.
    """
    from chiploop.models.facts import model_path
    from chiploop.models.model_check import check_model

    if Path(file).suffix in (".yaml", ".yml"):
        raise FileNotValid(f"{file} stands beside a model; name the text, an .ant or .xml file")
    checked = check_model(model_path(file))
    if as_json:
        print_json(checked_as_json(checked))
    else:
        print("\n".join(_text(checked, file)))
    if checked.problems:
        raise typer.Exit(FileNotValid.exit_code)


def checked_as_json(checked: Checked) -> dict[str, Any]:
    """Return the plain values that ``--json`` shows."""
    symbolic, day = checked.symbolic, checked.day
    return {
        "ok": not checked.problems,
        "model": checked.name,
        "problems": [
            {"file": found.file, **problem_as_json(found.problem)} for found in checked.problems
        ],
        "notes": list(checked.notes),
        "states": None if symbolic is None else list(symbolic.rates),
        "constants": None if symbolic is None else list(symbolic.constants),
        "day": None
        if day is None
        else {"steps": day.steps, "fastest_h": day.fastest_h, "slowest_h": day.slowest_h},
    }


def _text(checked: Checked, file: str) -> list[str]:
    from chiploop.models.model_check import WANTED_BESIDE, missing_beside

    lines = []
    if checked.problems:
        lines.append(
            paint(f"{_counted(checked.problems, 'problem')} in model {checked.name}", "red")
        )
    for found in checked.problems:
        problem = found.problem
        line = f"line {problem.line}" if problem.line else ""
        place = ", ".join(part for part in (found.file, line, problem.field) if part)
        hint = f"; {problem.hint}" if problem.hint else ""
        lines.append(f"  {place}: {' '.join(problem.message.split())}{hint}")
    if checked.symbolic is not None and missing_beside(checked.path) in checked.problems:
        lines += ["What must stand in it:", *(f"  {wanted}" for wanted in WANTED_BESIDE)]
    symbolic, facts, day = checked.symbolic, checked.facts, checked.day
    if symbolic is not None:
        counts = [_counted(symbolic.rates, "state"), _counted(symbolic.constants, "constant")]
        if facts is not None:
            counts += [f"{len(facts.estimated)} estimated", _counted(facts.readouts, "readout")]
        ok = paint("ok", "green") if not checked.problems else "the text is read:"
        lines.append(f"{ok}  {checked.name}: {', '.join(counts)}")
    if day is not None:
        lines.append(f"    a day with the text's own values simulates, in {day.steps} steps")
        if day.stiffness is not None:
            lines.append(
                f"    time scales at its end: {day.fastest_h:.2g} h to {day.slowest_h:.2g} h "
                f"(stiffness {day.stiffness:.2g})"
            )
    lines += [f"note: {note}" for note in checked.notes]
    if not checked.problems:
        lines.append(f"Next: chiploop model simulate {file}")
    return lines


def _counted(things: Sized, word: str) -> str:
    return f"1 {word}" if len(things) == 1 else f"{len(things)} {word}s"

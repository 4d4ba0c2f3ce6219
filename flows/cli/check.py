"""``chiploop check``: everything that is wrong with a study, with line numbers. Touches nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from chiploop.units import counted
from flows.cli.screen import JSON_OPTION, paint, print_json, problem_as_json, problem_lines

if TYPE_CHECKING:
    from chiploop.study import Study


def check(
    file: Path = typer.Argument(help="Study file (YAML)."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Read a study and say everything that is wrong with it.

    Nothing is sent to any instrument. Exit code 0 for a valid study, 3 otherwise. With --json:
    {"ok", "problems": [{"line", "field", "message", "hint"}], "notes"}.
    """
    from chiploop.plan import notes
    from chiploop.study import StudyNotValid, load_study

    try:
        study = load_study(file)
    except StudyNotValid as refusal:
        if as_json:
            problems = [problem_as_json(problem) for problem in refusal.problems]
            print_json({"ok": False, "problems": problems, "notes": []})
        else:
            print(paint(str(refusal), "red"))
            print("\n".join(problem_lines(refusal.problems, file)))
        raise typer.Exit(refusal.exit_code) from None
    noted = (*notes(study), *files_awaited(study))
    if as_json:
        print_json({"ok": True, "problems": [], "notes": list(noted)})
        return
    print(
        f"{paint('ok', 'green')}  {study.name}: {counted(len(study.chip_ids), 'chip')} of "
        f"{counted(len(study.donors), 'donor')} on {counted(len(study.lines), 'line')}, "
        f"{counted(study.timeline.cycles, 'cycle')}, {study.end_h:g} h"
    )
    for note in noted:
        print(f"note: {note}")
    print(f"Next: chiploop plan {file}")


def files_awaited(study: Study) -> tuple[str, ...]:
    """Return where files are expected; what that takes is loaded where there are any."""
    if not any(assay.export for assay in study.assays.values()):
        return ()
    from flows.file_places import expected_files

    return expected_files(study)

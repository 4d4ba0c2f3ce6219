"""``chiploop petab import``: a PEtab problem as the two files of a chiploop model.

Belongs here: what is written and shown. Not here: what a problem tells of a model (chiploop.models.petab_import).
"""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from flows.cli.output_files import FORCE, refuse_existing, write_to
from flows.cli.screen import JSON_OPTION, paint, print_json


def import_problem(
    problem: Path = typer.Argument(help="YAML file of a PEtab problem (version 1)."),
    out: Path = typer.Option(..., "--out", help="Folder for the model's two files."),
    name: str | None = typer.Option(
        None, "--name", help="Name of the model; default: the one that its SBML bears."
    ),
    force: bool = FORCE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Make a model of chiploop from a PEtab problem: its SBML, and the file beside it.

    PEtab does not say which parameters are inputs, what a chip or donor sets, how a readout is taken. What
    is not known is never guessed: it stands in the file as a comment marked FILL IN, and is listed here. A
    folder that ``chiploop petab export`` wrote gives the whole model back. Measurements are not imported.
    Exit code 0, or 3 for a model that chiploop can not simulate. With --json: {"ok", "file", "model",
    "files", "complete", "fill_in": [...], "notes": [...]}.
    """
    from chiploop.models.petab_import import petab_import

    found = petab_import(problem, name)
    files = [out / f"{found.name}.xml", out / f"{found.name}.yaml"]
    write_to(out, lambda folder: folder.mkdir(parents=True, exist_ok=True))
    refuse_existing(files, force)
    for path, text in zip(files, (found.text, found.facts_text), strict=True):
        write_to(path, lambda file, text=text: file.write_text(text, encoding="utf-8"))  # type: ignore[misc]
    if as_json:
        print_json(
            {
                "ok": True,
                "file": problem.name,
                "model": found.name,
                "files": [str(path) for path in files],
                "complete": not found.fill_in,
                "fill_in": list(found.fill_in),
                "notes": list(found.notes),
            }
        )
        return
    for path in files:
        print(f"written: {path}")
    for note in found.notes:
        print(f"{paint('note:', 'yellow', sys.stdout)} {note}")
    if not found.fill_in:
        print(f"The model is complete: chiploop model show {files[0]}")
        return
    print(f"What a person must fill in, in {files[1].name} (marked FILL IN there):")
    for number, one in enumerate(found.fill_in, start=1):
        print(f"  {number}. {one}")

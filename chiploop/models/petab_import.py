"""A PEtab problem (version 1) as the two files of a chiploop model.

Belongs here: which way a problem goes, and what comes out. Not here: the file beside a foreign model
(petab_import_facts), its SBML (petab_import_sbml), a model that chiploop exported itself (petab_import_own).

What PEtab does not say is never guessed: it becomes a commented placeholder and an entry of a list. Measurements
stay where they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from chiploop.errors import FileNotValid, WrongUse
from chiploop.models.model_files import formulas_of
from chiploop.models.petab_export_files import FACTS, NOTES
from chiploop.models.petab_tables import check_files, library_problem, quiet

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class ImportedModel:
    """A model as far as a problem tells of it."""

    name: str
    text: str
    """SBML."""
    facts_text: str
    """The file beside it."""
    fill_in: tuple[str, ...]
    """What a person must fill in before chiploop takes the model; empty where it is complete."""
    notes: tuple[str, ...]
    """What a person should know."""


def petab_import(path: Path, name: str | None = None) -> ImportedModel:
    """Return the model of a problem.

    Raises FileNotValid for a problem that is not valid or whose model chiploop does not express, WrongUse for a
    name that no model can have.
    """
    if name is not None and not NAME.fullmatch(name):
        raise WrongUse(f'"{name}" is no name of a model; allowed are letters, digits, . _ and -')
    problem = library_problem(path)
    content = check_files(path)
    (sbml_file,) = content["problems"][0]["sbml_files"]
    text = (path.parent / sbml_file).read_text(encoding="utf-8")
    notes, facts = path.parent / NOTES, path.parent / FACTS
    with quiet():
        if notes.is_file() and facts.is_file():
            from chiploop.models.petab_import_own import restored

            found = restored(problem, text, notes, facts, name)
        else:
            from chiploop.models.petab_import_facts import foreign

            found = foreign(problem, text, path, name)
    try:
        formulas_of(found.text, found.name)
    except FileNotValid as refusal:
        raise FileNotValid(f"{path}: chiploop does not simulate its model: {refusal}") from None
    return found

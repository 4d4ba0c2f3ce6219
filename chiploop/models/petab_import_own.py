"""The model of a folder that chiploop exported: its own text and file again, priors as in the tables.

Belongs here: taking out what the export put in. Not here: problems of others (petab_import_facts).
"""

from __future__ import annotations

import json
import math
from io import StringIO
from pathlib import Path
from typing import Any

from chiploop.errors import FileNotValid
from chiploop.models.facts_parts import MODELS
from chiploop.models.petab_import import ImportedModel
from chiploop.models.petab_import_priors import known_prior, said, written
from chiploop.models.sbml_text import check_consistency, refuse_errors, sbml_document

SAME = 1e-9
"""Relative difference below which a prior is the one of the file."""
SPREAD_KEYS = {"median": "sd", "ln_sd": "ln_sd"}


def restored(
    problem: Any, text: str, notes_path: Path, facts_path: Path, name: str | None
) -> ImportedModel:
    """Return the model; FileNotValid where the notes or the file do not go with the problem."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        notes = json.loads(notes_path.read_text(encoding="utf-8"))
        own_name = name or str(notes["model"])
        sbml = own_text(text, own_name, notes["added"], notes["values"])
        roles = [(key, one["role"], one["of"]) for key, one in notes["estimated"].items()]
        if notes["format"] != 1:
            raise FileNotValid(f"{notes_path}: its format is {notes['format']}; allowed is 1")
    except (ValueError, KeyError, TypeError, AttributeError) as trouble:
        raise FileNotValid(
            f"{notes_path}: it is not what chiploop wrote ({trouble}); without it and {facts_path.name} the "
            "problem is imported as one of others"
        ) from None
    editor = YAML()
    editor.width, editor.preserve_quotes = 1000, True
    try:
        facts_text = facts_path.read_text(encoding="utf-8")
        facts, before = editor.load(facts_text), editor.load(facts_text)
        told = [told_prior(problem.parameter_df, *role, facts) for role in roles]
    except (YAMLError, KeyError, TypeError) as trouble:
        raise FileNotValid(f"{facts_path}: it is not what chiploop wrote ({trouble})") from None
    facts["model"] = own_name
    truth = facts.get("virtual_truth")
    if truth and truth not in MODELS:
        del facts["virtual_truth"]
        told.append(
            f"virtual_truth {truth} is no model of chiploop and left out; put its files here"
        )
    if facts != before:  # a file in which nothing changed keeps its form
        stream = StringIO()
        editor.dump(facts, stream)
        facts_text = stream.getvalue()
    return ImportedModel(own_name, sbml, facts_text, (), tuple(one for one in told if one))


def own_text(text: str, name: str, added: dict[str, list[str]], values: dict[str, float]) -> str:
    """Return the SBML without what the export put in, constants at the values that they had.

    Raises FileNotValid where something else was made to hang on that meanwhile.
    """
    import libsbml

    document = sbml_document(text, name)
    model = document.getModel()
    for event in added["events"]:
        model.removeEvent(event)
    for symbol in [*added["starts"], *added["parameters"]]:
        model.removeInitialAssignment(symbol)
    for parameter in added["parameters"]:
        model.removeRuleByVariable(parameter)
        model.removeParameter(parameter)
    for symbol, value in values.items():
        element = model.getElementBySId(symbol)
        if element is None:
            raise FileNotValid(f"model {name}: {symbol} is not in it any more")
        set_number(element, float(value))
    document.getErrorLog().clearLog()
    check_consistency(document)
    refuse_errors(document, name)
    written_text: str = libsbml.writeSBMLToString(document)
    return written_text


def set_number(element: Any, value: float) -> None:
    """Give a constant its value."""
    kind = element.getElementName()
    if kind == "parameter":
        element.setConstant(True)
        element.setValue(value)
    elif kind == "compartment":
        element.setSize(value)
    elif kind == "speciesReference":
        element.setStoichiometry(value)
    elif element.isSetInitialAmount():
        element.setInitialAmount(value)
    else:
        element.setInitialConcentration(value)


def told_prior(table: Any, key: str, role: str, subject: str, facts: Any) -> str:
    """Put the prior that the table has into the file; return what a person should know of it."""
    if key not in table.index or int(table.loc[key]["estimate"]) != 1:
        return f"{key} is not estimated in the problem; the prior of {subject} is the file's own"
    row = table.loc[key]
    try:
        prior = known_prior(row)
    except ValueError:
        return f"{key}: {said(row)} is no prior of chiploop; the one of {subject} is the file's own"
    if role == "spread":
        if prior["kind"] != "lognormal":
            return (
                f"{key}: {said(row)} is no spread of chiploop; that of {subject} is the file's own"
            )
        prior = {SPREAD_KEYS[k]: v for k, v in prior.items() if k in SPREAD_KEYS}
        entry = facts["between_donors"][subject]
    else:
        entry = facts["estimated"][subject]
    changed = []
    if entry.get("kind") != prior.get("kind"):
        for old in ("median", "ln_sd", "mean", "sd", "low", "high"):
            entry.pop(old, None)
    for name, value in prior.items():
        if name not in entry or not is_same(entry[name], value):
            entry[name] = value if isinstance(value, str) else float(written(value))
            changed.append(name)
    return f"{key}: {', '.join(changed)} of {subject} as the problem has it" if changed else ""


def is_same(one: Any, other: Any) -> bool:
    """Return whether two entries mean the same."""
    if isinstance(other, str) or isinstance(one, str):
        return bool(one == other)
    return math.isclose(float(one), float(other), rel_tol=SAME, abs_tol=1e-300)

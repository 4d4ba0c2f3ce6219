"""The SBML of a PEtab problem with all in it that the tables know for certain.

Belongs here: values of parameters, a condition that holds for all, observables as formulas. Not here: the file
beside it (petab_import_facts).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from chiploop.models.petab_likelihood import PLACEHOLDER
from chiploop.models.petab_model import kind_of, named, open_model
from chiploop.models.sbml_export import number, unused
from chiploop.models.sbml_text import check_consistency, refuse_errors, sbml_document


@dataclass
class ReadSbml:
    """A text and what of the tables went into it."""

    text: str = ""
    symbols: dict[str, str] = field(default_factory=dict)
    """Observable -> the symbol that it reads."""
    unread: dict[str, str] = field(default_factory=dict)
    """Observable that is no symbol -> its formula."""
    apart: list[str] = field(default_factory=list)
    """Parameters of the table that are not in the text."""


def read_sbml(problem: Any, text: str, name: str) -> ReadSbml:
    """Return the text with nominal values, the only condition where there is one, and observables."""
    import libsbml

    table = problem.parameter_df
    opened = open_model(text, name, (), table.index)
    document = sbml_document(opened.text, name)
    if document.getLevel() < 3:
        document.setLevelAndVersion(3, 2, False)
    model = document.getModel()
    for key, row in table.iterrows():
        parameter, value = model.getParameter(str(key)), float(row.get("nominalValue", math.nan))
        if parameter is not None and math.isfinite(value):
            parameter.setValue(value)
    if len(problem.condition_df) == 1:
        put_condition(model, problem)
    found = ReadSbml()
    for key, row in problem.observable_df.iterrows():
        put_observable(model, problem, str(key), str(row["observableFormula"]), found)
    known = {str(key) for key in table.index}
    found.apart = [
        key for key in table.index if model.getElementBySId(key) is None and key in known
    ]
    document.getErrorLog().clearLog()
    check_consistency(document)
    refuse_errors(document, name)
    found.text = libsbml.writeSBMLToString(document)
    return found


def put_condition(model: Any, problem: Any) -> None:
    """Let what the only condition sets be part of the model."""
    (row,) = [row for _, row in problem.condition_df.iterrows()]
    for column, cell in row.items():
        element = model.getElementBySId(str(column))
        if element is None or cell != cell:
            continue
        value = number_of(cell)
        model.removeInitialAssignment(str(column))
        if value is not None and kind_of(element) == "parameter":
            element.setValue(value)
            continue
        if value is None:
            put_parameter(model, problem, str(cell))
        assignment = model.createInitialAssignment()
        assignment.setSymbol(str(column))
        assignment.setMath(named(str(cell)) if value is None else number(value))


def number_of(cell: Any) -> float | None:
    """Return a cell as a number; None for the id of a parameter."""
    try:
        return float(cell)
    except ValueError:
        return None


def put_parameter(model: Any, problem: Any, name: str) -> None:
    """Add a parameter of the table that the text does not have."""
    if model.getElementBySId(name) is None:
        parameter = model.createParameter()
        parameter.setId(name)
        parameter.setConstant(True)
        parameter.setValue(float(problem.parameter_df.loc[name].get("nominalValue", math.nan)))


def put_observable(model: Any, problem: Any, name: str, formula: str, found: ReadSbml) -> None:
    """Let an observable be a symbol of the text, by a rule where it is a formula."""
    import libsbml

    element = model.getElementBySId(formula.strip())
    if element is not None:
        found.symbols[name] = formula.strip()
        return
    settings = libsbml.L3ParserSettings()
    settings.setParseLog(libsbml.L3P_PARSE_LOG_AS_LN)  # as PEtab means it
    settings.setModel(model)
    node = libsbml.parseL3FormulaWithSettings(formula, settings)
    names = set() if node is None else names_in(node)
    missing = {n for n in names if model.getElementBySId(n) is None}
    are_known = missing <= set(problem.parameter_df.index)
    if node is None or any(PLACEHOLDER.fullmatch(n) for n in names) or not are_known:
        found.unread[name] = formula
        return
    for one in sorted(missing):
        put_parameter(model, problem, one)
    symbol = unused(model, name)
    parameter = model.createParameter()
    parameter.setId(symbol)
    parameter.setConstant(False)
    rule = model.createAssignmentRule()
    rule.setVariable(symbol)
    rule.setMath(node)
    found.symbols[name] = symbol


def names_in(node: Any) -> set[str]:
    """Return the ids in a formula, time apart."""
    import libsbml

    is_id = node.getType() == libsbml.AST_NAME
    found = {node.getName()} if is_id else set()
    for i in range(node.getNumChildren()):
        found |= names_in(node.getChild(i))
    return found

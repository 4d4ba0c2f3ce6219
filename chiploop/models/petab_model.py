"""A PEtab problem's SBML with every value that the problem sets as a plain parameter.

Belongs here: species, compartments and initial assignments that a table overrides, what hangs on them. Not
here: tables (petab_tables), simulating (petab_simulation).

A table may set where a species begins, the size of a compartment, or a parameter that an initial assignment
defines. Each such X gets a parameter ``start_of_X`` and begins at it, by an initial assignment of its own;
whatever else is computed from X at the start follows. A condition may leave X as it is (NaN): then a second
parameter, ``is_set_X``, chooses between both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chiploop.errors import FileNotValid
from chiploop.models.sbml_export import number, unused
from chiploop.models.sbml_text import sbml_document


@dataclass(frozen=True)
class Start:
    """The parameters that say where a quantity begins."""

    value: str
    switch: str
    """1 where the condition sets it, 0 where the model's own start holds."""
    is_state: bool
    """A species or what a rate rule or event changes; else constant during a simulation."""
    kind: str
    """compartment, species or parameter."""


@dataclass(frozen=True)
class OpenedModel:
    """An SBML text whose overridden quantities are parameters."""

    name: str
    text: str
    is_rewritten: bool
    """Whether the text is not the file's own, so that its lines are others."""
    starts: Mapping[str, Start]
    """Quantity that the conditions set -> its parameters; plain parameters need none."""
    derived: Mapping[str, frozenset[str]]
    """Quantity that a formula defines at the start, but that is no state -> all that this formula hangs on."""
    compartments: frozenset[str]
    has_events: bool


def open_model(
    text: str, name: str, in_conditions: Iterable[str], in_parameters: Iterable[str]
) -> OpenedModel:
    """Return a model text whose named quantities can be set as parameters.

    Parameters
    ----------
    in_conditions
        Columns of the condition table.
    in_parameters
        Ids of the parameter table; those that are not in the model are left alone.

    Raises
    ------
    FileNotValid
        For a text that is no valid SBML, and for a quantity that can not be set.
    """
    import libsbml

    document = sbml_document(text.lstrip("\ufeff"), name)
    model = document.getModel()
    rules = {r.getVariable(): r for r in model.getListOfRules() if r.getVariable()}
    targets = {
        assignment.getVariable()
        for event in model.getListOfEvents()
        for assignment in event.getListOfEventAssignments()
    }
    is_rewritten = False
    for parameter in in_parameters:
        element = model.getElementBySId(parameter)
        if element is None:
            continue
        if model.getParameter(parameter) is None or parameter in rules or parameter in targets:
            raise FileNotValid(
                f"model {name}: the parameter table sets {parameter}, which is a {kind_of(element)} or changes "
                "during a simulation; allowed are constant parameters, and others in the condition table"
            )
        if model.getInitialAssignmentBySymbol(parameter) is not None:
            model.removeInitialAssignment(parameter)
            is_rewritten = True
    starts: dict[str, Start] = {}
    for column in in_conditions:
        element = model.getElementBySId(column)
        if element is None:
            continue
        kind = kind_of(element)
        if kind not in ("parameter", "species", "compartment"):
            raise FileNotValid(
                f"model {name}: the condition table sets {column}, a {kind}; allowed are parameters, species "
                "and compartments"
            )
        if column in rules and rules[column].isAssignment():
            raise FileNotValid(
                f"model {name}: the condition table sets {column}, which an assignment rule defines; allowed "
                "is what the rule is made of"
            )
        assigned = model.getInitialAssignmentBySymbol(column)
        changes = column in rules or column in targets
        if kind == "parameter" and assigned is None and not changes:
            continue
        start = Start(
            unused(model, f"start_of_{column}"),
            unused(model, f"is_set_{column}"),
            changes or (kind == "species" and not element.getConstant()),
            kind,
        )
        put_start(model, element, start)
        starts[column] = start
    return OpenedModel(
        name,
        libsbml.writeSBMLToString(document) if is_rewritten or starts else text,
        is_rewritten or bool(starts),
        starts,
        derived_at_start(model, rules, targets),
        frozenset(c.getId() for c in model.getListOfCompartments()),
        model.getNumEvents() > 0,
    )


def kind_of(element: Any) -> str:
    """Return what SBML calls an element, as a person would."""
    kind: str = element.getElementName()
    return kind


def put_start(model: Any, element: Any, start: Start) -> None:
    """Let an element begin at its new parameter where the switch is on, else where it began before."""
    import libsbml

    name = element.getId()
    assigned = model.getInitialAssignmentBySymbol(name)
    own = assigned.getMath().deepCopy() if assigned is not None else own_start(model, element)
    for new in (start.value, start.switch):
        parameter = model.createParameter()
        parameter.setId(new)
        parameter.setConstant(True)
        parameter.setValue(0.0)
    formula = named(start.value)
    if own is not None:
        is_set = tree(libsbml.AST_RELATIONAL_GT, named(start.switch), number(0.5))
        formula = tree(libsbml.AST_FUNCTION_PIECEWISE, formula, is_set, own)
    if assigned is None:
        assigned = model.createInitialAssignment()
        assigned.setSymbol(name)
    assigned.setMath(formula)


def own_start(model: Any, element: Any) -> Any:
    """Return the formula of the value that an element has in the text, in the quantity that its id means."""
    import libsbml

    kind = kind_of(element)
    if kind != "species":
        is_known = element.isSetValue() if kind == "parameter" else element.isSetSize()
        value = element.getValue() if kind == "parameter" else element.getSize()
        return number(value) if is_known and math.isfinite(value) else None
    size = named(element.getCompartment())
    amount, concentration = element.getInitialAmount(), element.getInitialConcentration()
    if element.isSetInitialAmount() and math.isfinite(amount):
        value = number(amount)
        return value if is_amount(model, element) else tree(libsbml.AST_DIVIDE, value, size)
    if element.isSetInitialConcentration() and math.isfinite(concentration):
        value = number(concentration)
        return tree(libsbml.AST_TIMES, value, size) if is_amount(model, element) else value
    return None


def is_amount(model: Any, species: Any) -> bool:
    """Return whether the id of a species means its amount, not its concentration."""
    compartment = model.getCompartment(species.getCompartment())
    is_flat = compartment.isSetSpatialDimensions() and compartment.getSpatialDimensions() == 0
    return bool(species.getHasOnlySubstanceUnits() or is_flat)


def named(name: str) -> Any:
    """Return libsbml's formula of one name."""
    import libsbml

    node = libsbml.ASTNode(libsbml.AST_NAME)
    node.setName(name)
    return node


def tree(kind: int, *parts: Any) -> Any:
    """Return libsbml's formula of an operator and its operands."""
    import libsbml

    node = libsbml.ASTNode(kind)
    for part in parts:
        node.addChild(part)
    return node


def derived_at_start(
    model: Any, rules: Mapping[str, Any], targets: set[str]
) -> dict[str, frozenset[str]]:
    """Return what is computed once, at the start, and then stays -> all names that it is computed from."""
    formulas = {a.getSymbol(): a.getMath() for a in model.getListOfInitialAssignments()}
    formulas |= {name: rule.getMath() for name, rule in rules.items() if rule.isAssignment()}
    used = {name: names_in(node) for name, node in formulas.items()}
    derived = {}
    for assignment in model.getListOfInitialAssignments():
        name = assignment.getSymbol()
        species = model.getSpecies(name)
        is_state = name in rules or name in targets
        is_state = is_state or (species is not None and not species.getConstant())
        if not is_state:
            found: set[str] = set()
            waiting = list(used[name])
            while waiting:
                each = waiting.pop()
                if each not in found:
                    found.add(each)
                    waiting += used.get(each, ())
            derived[name] = frozenset(found)
    return derived


def names_in(node: Any) -> set[str]:
    """Return the ids that a formula of libsbml refers to."""
    if node is None:
        return set()
    found = {node.getName()} if node.isName() and node.getName() else set()
    for i in range(node.getNumChildren()):
        found |= names_in(node.getChild(i))
    return found

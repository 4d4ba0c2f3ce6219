"""A model text as SBML level 3, alone or with the schedule of one chip, for other simulators.

Belongs here: what has to be added so that another program calculates what this one does. Not here: reading
(sbml), plug flow and units of the inputs (inlet).

The time axis is that of the schedule: a simulation of the exported model begins at the schedule's first edge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.models.sbml import read_model
from chiploop.models.sbml_text import check_consistency, read_source, refuse_errors
from chiploop.models.symbolic import SymbolicModel


@dataclass(frozen=True)
class InputSchedule:
    """What one chip receives, in the names of its model text."""

    edges_h: np.ndarray
    """(k+1,) boundaries of the segments, ascending; the last input is held beyond the last one."""
    input_names: Sequence[str]
    inputs: np.ndarray
    """(k, n_inputs) value of each input within each segment."""
    constants: Mapping[str, float] = field(default_factory=dict)
    """Constants with another value than in the text."""
    integrals: Sequence[str] = ()
    """Quantities X whose running integral from the first edge is added as ``integral_X``."""

    def __post_init__(self) -> None:
        edges, inputs = np.asarray(self.edges_h, float), np.asarray(self.inputs, float)
        shape = (len(edges) - 1, len(self.input_names))
        if edges.ndim != 1 or len(edges) < 2 or inputs.shape != shape:
            raise ValueError(
                f"edges of shape {edges.shape} and inputs of shape {inputs.shape} were given; "
                f"{len(edges)} edges and {len(self.input_names)} names go with inputs of shape {shape}"
            )
        if not np.all(np.isfinite(edges)) or not np.all(np.diff(edges) > 0):
            raise ValueError(f"edges {edges.tolist()} are not finite and ascending")
        values = [*inputs.ravel().tolist(), *self.constants.values()]
        if not all(math.isfinite(value) for value in values):
            raise ValueError("inputs and constants are finite numbers; one of them is not")


def to_sbml(text: str, name: str, schedule: InputSchedule | None = None) -> str:
    """Return a model text as SBML level 3; with a schedule, one that is ready to be simulated.

    SBML of level 3 without a schedule comes back as it is. Raises FileNotValid for a text that can not be read
    and for names of the schedule that the text does not define.
    """
    import libsbml

    symbolic = read_model(text, name)
    source = read_source(text, name)
    document = source.document
    if source.antimony is None and document.getLevel() == 3 and schedule is None:
        return text
    if document.getLevel() < 3 and not document.setLevelAndVersion(3, 2, False):
        refuse_errors(document, name)
        raise FileNotValid(
            f"model {name}: SBML level {document.getLevel()} can not be written as level 3"
        )
    if schedule is not None:
        set_constants(document.getModel(), symbolic, schedule.constants)
        add_inputs(document.getModel(), symbolic, schedule)
        add_integrals(document.getModel(), symbolic, schedule.integrals)
    document.getErrorLog().clearLog()
    check_consistency(document)
    refuse_errors(document, name)
    written: str = libsbml.writeSBMLToString(document)
    return written


def set_constants(model: Any, symbolic: SymbolicModel, constants: Mapping[str, float]) -> None:
    """Give constants of the model other values."""
    import libsbml

    local = {
        f"{reaction.getId()}_{parameter.getId()}": parameter
        for reaction in (model.getReaction(i) for i in range(model.getNumReactions()))
        for parameter in (
            reaction.getKineticLaw().getLocalParameter(k)
            for k in range(reaction.getKineticLaw().getNumLocalParameters())
        )
    }
    for name, value in constants.items():
        found = model.getElementBySId(name) or local.get(name)
        if name not in symbolic.constants or found is None:
            raise FileNotValid(
                f"model {symbolic.name}: {name} is set beside it but is no constant of it; allowed are "
                f"{', '.join(sorted(symbolic.constants))}"
            )
        if isinstance(found, libsbml.Compartment):
            found.setSize(value)
        elif isinstance(found, libsbml.SpeciesReference):
            found.setStoichiometry(value)
        elif isinstance(found, libsbml.Species) and found.isSetInitialAmount():
            found.setInitialAmount(value)
        elif isinstance(found, libsbml.Species):
            found.setInitialConcentration(value)
        else:
            found.setValue(value)


def add_inputs(model: Any, symbolic: SymbolicModel, schedule: InputSchedule) -> None:
    """Set the inputs of the first segment, and add an event at every edge where one changes."""
    import libsbml

    inputs = np.asarray(schedule.inputs, float)
    for name, first in zip(schedule.input_names, inputs[0].tolist(), strict=True):
        parameter = model.getParameter(name)
        if name not in symbolic.constants or parameter is None:
            raise FileNotValid(
                f"model {symbolic.name}: {name} is an input beside it but no parameter of it that "
                "is constant; allowed are parameters with a number"
            )
        parameter.setConstant(False)
        parameter.setValue(first)
    edges = np.asarray(schedule.edges_h, float)[1:-1].tolist()
    for k, (edge, before, after) in enumerate(zip(edges, inputs[:-1], inputs[1:], strict=True)):
        changed = np.flatnonzero(before != after)
        if not len(changed):
            continue
        event = model.createEvent()
        event.setId(unused(model, f"inputs_of_segment_{k + 1}"))
        event.setUseValuesFromTriggerTime(True)
        trigger = event.createTrigger()
        trigger.setInitialValue(True)
        trigger.setPersistent(True)
        comparison = libsbml.ASTNode(libsbml.AST_RELATIONAL_GEQ)
        comparison.addChild(libsbml.ASTNode(libsbml.AST_NAME_TIME))
        comparison.getChild(0).setName("time")
        comparison.addChild(number(edge))
        trigger.setMath(comparison)
        for i in changed.tolist():
            assignment = event.createEventAssignment()
            assignment.setVariable(schedule.input_names[i])
            assignment.setMath(number(float(after[i])))


def add_integrals(model: Any, symbolic: SymbolicModel, quantities: Sequence[str]) -> None:
    """Add a parameter per quantity that starts at 0 and grows with it."""
    import libsbml

    known = {*symbolic.rates, *symbolic.assignments, *symbolic.constants}
    for quantity in quantities:
        name = f"integral_{quantity}"
        if quantity not in known or model.getElementBySId(quantity) is None:
            raise FileNotValid(
                f"model {symbolic.name}: {quantity} is integrated beside it but not in it; allowed are "
                "its species, parameters, compartments and reactions"
            )
        if model.getElementBySId(name) is not None:
            raise FileNotValid(
                f"model {symbolic.name}: it has an {name} of its own; the integral of {quantity} needs "
                "that name"
            )
        parameter = model.createParameter()
        parameter.setId(name)
        parameter.setConstant(False)
        parameter.setValue(0.0)
        rule = model.createRateRule()
        rule.setVariable(name)
        math_of_rule = libsbml.ASTNode(libsbml.AST_NAME)
        math_of_rule.setName(quantity)
        rule.setMath(math_of_rule)


def number(value: float) -> Any:
    """Return a number as libsbml's formula."""
    import libsbml

    node = libsbml.ASTNode(libsbml.AST_REAL)
    node.setValue(value)
    return node


def unused(model: Any, wish: str) -> str:
    """Return an id that the model does not have yet."""
    name, count = wish, 1
    while model.getElementBySId(name) is not None:
        count += 1
        name = f"{wish}_{count}"
    return name

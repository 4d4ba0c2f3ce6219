"""The SBML of a model while things are added to it that a PEtab problem needs.

Belongs here: libsbml, and a list of all that was added, so that it can be taken out again. Not here: what is added
(petab_export_sbml).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chiploop.inference.likelihood import Likelihood
from chiploop.models.sbml_export import to_sbml
from chiploop.models.sbml_text import check_consistency, refuse_errors


@dataclass
class Added:
    """Ids that the SBML has beyond the model's own text."""

    parameters: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    starts: list[str] = field(default_factory=list)
    """Names of the text that were given an initial assignment."""
    values: dict[str, float] = field(default_factory=dict)
    """Names of the text with another value now -> the one that they have there."""


class SbmlText:
    """libsbml's document of a model while things are added to it."""

    def __init__(self, likelihood: Likelihood) -> None:
        import libsbml

        from chiploop.models.sbml import read_model

        model = likelihood.model
        self.name = model.name
        self.symbolic = read_model(model.text, model.name)
        self.document = libsbml.readSBMLFromString(to_sbml(model.text, model.name))
        wanted = {*model.estimated_names, *model.constant_names.values()}
        if any(self.model.getElementBySId(name) is None for name in wanted):
            # constants of one reaction; the converter names them as chiploop does
            properties = libsbml.ConversionProperties()
            properties.addOption("promoteLocalParameters", True)
            self.document.convert(properties)
        self.added = Added()

    @property
    def model(self) -> Any:
        """libsbml's Model."""
        return self.document.getModel()

    def ids(self) -> list[str]:
        """Return every id of the text."""
        elements = self.document.getListOfAllElements()
        found = [elements.get(i).getIdAttribute() for i in range(elements.getSize())]
        return [name for name in found if name]

    def add(self, name: str, value: float, constant: bool = True) -> str:
        """Add a parameter; return its id."""
        parameter = self.model.createParameter()
        parameter.setId(name)
        parameter.setConstant(constant)
        parameter.setValue(value)
        self.added.parameters.append(name)
        return name

    def keep(self, name: str) -> None:
        """Note the value that a constant has in the text, before it gets another."""
        if name in self.symbolic.constants:
            self.added.values.setdefault(name, self.symbolic.constants[name])

    def set_value(self, name: str, value: float) -> None:
        """Give a parameter a value."""
        self.keep(name)
        self.model.getParameter(name).setValue(value)

    def begin(self, name: str, formula: str) -> None:
        """Let something begin at a formula."""
        assignment = self.model.createInitialAssignment()
        assignment.setSymbol(name)
        assignment.setMath(self.formula(formula))
        self.added.starts.append(name)

    def grow(self, name: str, formula: str) -> None:
        """Let a parameter grow at a rate."""
        rule = self.model.createRateRule()
        rule.setVariable(name)
        rule.setMath(self.formula(formula))

    def happen(self, name: str, moment: str, values: Mapping[str, str]) -> None:
        """Add an event at a moment that sets values."""
        event = self.model.createEvent()
        event.setId(name)
        event.setUseValuesFromTriggerTime(True)
        trigger = event.createTrigger()
        trigger.setInitialValue(True)
        trigger.setPersistent(True)
        trigger.setMath(self.formula(f"time >= {moment}"))
        for target, formula in values.items():
            assignment = event.createEventAssignment()
            assignment.setVariable(target)
            assignment.setMath(self.formula(formula))
        self.added.events.append(name)

    def formula(self, text: str) -> Any:
        """Return libsbml's formula of a text in which ids of the model mean themselves."""
        import libsbml

        parsed = libsbml.parseL3FormulaWithModel(text, self.model)
        if parsed is None:
            raise ValueError(f"{text!r} is no formula: {libsbml.getLastParseL3Error()}")
        return parsed

    def written(self) -> str:
        """Return the text; FileNotValid where it breaks a rule of SBML."""
        import libsbml

        self.document.getErrorLog().clearLog()
        check_consistency(self.document)
        refuse_errors(self.document, self.name)
        text: str = libsbml.writeSBMLToString(self.document)
        return text

"""What has been gathered from a model text, on the way to its formulas.

Belongs here: the half-made model and the small steps that every kind of element takes. Not here: one kind of
element (sbml, sbml_species, sbml_events), putting formulas into each other (sbml_closing).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from chiploop.errors import FileNotValid
from chiploop.models.sbml_math import Formulas, symbol
from chiploop.models.sbml_text import ModelSource
from chiploop.models.symbolic import TIME


@dataclass
class Parts:
    """The formulas, each still in the names of the text."""

    rates: dict[str, Any] = field(default_factory=dict)
    definitions: dict[str, Any] = field(default_factory=dict)
    """Names that a formula defines at all times."""
    start: dict[str, Any] = field(default_factory=dict)
    """States and derived constants -> value at the start."""
    derived: list[str] = field(default_factory=list)
    """Constants that an initial assignment, or an amount in a compartment, defines."""
    constants: dict[str, float] = field(default_factory=dict)
    unset: dict[str, str] = field(default_factory=dict)
    """Names without a value -> their place."""
    places: dict[str, str] = field(default_factory=dict)
    """Names with a formula -> the place of that formula."""
    amounts: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Species whose state is its amount -> that state, its compartment."""


@dataclass(frozen=True)
class Changes:
    """Which elements make a name change, or say where it begins."""

    rates: dict[str, Any]
    assignments: dict[str, Any]
    initials: dict[str, Any]
    events: frozenset[str]

    def varies(self, name: str) -> bool:
        """Return whether a rule or an event changes this name."""
        return name in self.rates or name in self.assignments or name in self.events


@dataclass(frozen=True)
class Reading:
    """A model text while it is read."""

    source: ModelSource
    formulas: Formulas
    changes: Changes
    parts: Parts

    def take_assignment(self, name: str) -> bool:
        """Put an assignment rule's formula among the definitions; return whether there is one."""
        rule = self.changes.assignments.get(name)
        if rule is None:
            return False
        place = self.source.place("assignment rule", name, rule)
        self.parts.places[name] = place
        self.parts.definitions[name] = self.formulas.number(rule.getMath(), place)
        return True

    def take_rate(self, name: str) -> None:
        """Put a rate rule's formula among the rates."""
        rule = self.changes.rates[name]
        place = self.source.place("rate rule", name, rule)
        self.parts.places[name] = place
        self.parts.rates[name] = self.formulas.number(rule.getMath(), place)

    def initial_formula(self, name: str) -> Any:
        """Return the formula of an initial assignment."""
        return self.formulas.number(self.changes.initials[name].getMath(), self.initial_place(name))

    def initial_place(self, name: str) -> str:
        """Return the place of an initial assignment."""
        return self.source.place("initial assignment", name, self.changes.initials[name])

    def free_name(self, wish: str) -> str:
        """Return a name that no element of the text and nothing gathered so far has."""
        parts = self.parts
        taken = {*self.formulas.names, *parts.constants, *parts.unset, *parts.rates, TIME}
        name, count = wish, 1
        while name in taken:
            count += 1
            name = f"{wish}_{count}"
        return name


def begin(source: ModelSource) -> Reading:
    """Return the reading of a text before its first element."""
    return Reading(source, gather_names(source), gather_changes(source), Parts())


def gather_changes(source: ModelSource) -> Changes:
    """Return the rules, initial assignments and event targets by the name that they concern."""
    model = source.model
    rules = [model.getRule(i) for i in range(model.getNumRules())]
    initials = [model.getInitialAssignment(i) for i in range(model.getNumInitialAssignments())]
    events = [model.getEvent(i) for i in range(model.getNumEvents())]
    return Changes(
        rates={r.getVariable(): r for r in rules if r.isRate()},
        assignments={r.getVariable(): r for r in rules if r.isAssignment()},
        initials={a.getSymbol(): a for a in initials},
        events=frozenset(
            event.getEventAssignment(i).getVariable()
            for event in events
            for i in range(event.getNumEventAssignments())
        ),
    )


def gather_names(source: ModelSource) -> Formulas:
    """Return what formulas of this model may refer to."""
    model = source.model
    kinds = {
        "compartment": [model.getCompartment(i) for i in range(model.getNumCompartments())],
        "species": [model.getSpecies(i) for i in range(model.getNumSpecies())],
        "parameter": [model.getParameter(i) for i in range(model.getNumParameters())],
        "reaction": [model.getReaction(i) for i in range(model.getNumReactions())],
        "stoichiometry": [s for s in stoichiometries(source) if s.getId()],
    }
    functions = [model.getFunctionDefinition(i) for i in range(model.getNumFunctionDefinitions())]
    for kind, elements in (kinds | {"function": functions}).items():
        for element in elements:
            if element.getId() == TIME:
                raise FileNotValid(
                    f"{source.place(kind, TIME, element)}: the name {TIME} stands for the time here; "
                    "allowed is any other name"
                )
    return Formulas(
        {e.getId(): symbol(e.getId()) for elements in kinds.values() for e in elements},
        {f.getId(): f.getMath() for f in functions if f.isSetMath()},
    )


def stoichiometries(source: ModelSource) -> Iterator[Any]:
    """Yield the species references that have a value of their own (level 3)."""
    model = source.model
    if model.getLevel() < 3:
        return
    for i in range(model.getNumReactions()):
        reaction = model.getReaction(i)
        for k in range(reaction.getNumReactants()):
            yield reaction.getReactant(k)
        for k in range(reaction.getNumProducts()):
            yield reaction.getProduct(k)

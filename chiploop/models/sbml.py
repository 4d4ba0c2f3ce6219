"""From a model text, Antimony or SBML (levels 2 and 3), to formulas.

Belongs here: compartments, parameters, their rules and initial assignments; the whole.
Not here: reading the text (sbml_text), one formula (sbml_math), putting formulas together (sbml_closing).

A species is a state in the quantity that its id means: an amount where ``hasOnlySubstanceUnits`` is set or the
compartment has no dimensions, else a concentration. In a compartment whose size varies the state is the
amount, named ``amount_of_X``, and the concentration X is an assignment. A species that may change is a state
even where nothing changes it. Constants of one reaction are named ``R_k``. Time is 0 at the start.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from chiploop.errors import FileNotValid
from chiploop.models.sbml_closing import (
    check,
    drop_unused,
    refuse_jumping_sizes,
    refuse_unset,
    resolve,
    switching_moments,
    without_choices,
)
from chiploop.models.sbml_events import EventScope, joined, put_into_start, read_events
from chiploop.models.sbml_math import exact, symbol
from chiploop.models.sbml_parts import Reading, begin, stoichiometries
from chiploop.models.sbml_species import read_reactions, read_species
from chiploop.models.sbml_text import ModelSource, read_source
from chiploop.models.symbolic import TIME, SymbolicModel


def read_model(text: str, name: str) -> SymbolicModel:
    """Return the formulas of a model text.

    Raises FileNotValid, naming element and line, for everything that is not valid or not supported.
    """
    try:
        return formulas(begin(read_source(text, name)))
    except RecursionError:
        raise FileNotValid(
            f"model {name}: one of its formulas is too long or too deeply nested to be read; "
            "split it with := into parts"
        ) from None


def formulas(reading: Reading) -> SymbolicModel:
    """Return the formulas of a text that is read."""
    for kind, element, value in plain_quantities(reading.source):
        read_quantity(reading, kind, element, value)
    fluxes = read_reactions(reading)
    model = reading.source.model
    for i in range(model.getNumSpecies()):
        read_species(reading, model.getSpecies(i), fluxes)
    return assembled(reading)


def plain_quantities(source: ModelSource) -> Iterator[tuple[str, Any, float | None]]:
    """Yield kind, element and value of compartments, parameters and named stoichiometries."""
    model = source.model
    for i in range(model.getNumCompartments()):
        compartment = model.getCompartment(i)
        yield "compartment", compartment, compartment.getSize() if compartment.isSetSize() else None
    for i in range(model.getNumParameters()):
        parameter = model.getParameter(i)
        yield "parameter", parameter, parameter.getValue() if parameter.isSetValue() else None
    for reference in stoichiometries(source):
        if reference.getId():
            known = reference.isSetStoichiometry()
            yield "stoichiometry", reference, reference.getStoichiometry() if known else None


def read_quantity(reading: Reading, kind: str, element: Any, value: float | None) -> None:
    """Put a quantity that no reaction changes where it belongs."""
    import sympy

    changes, parts, name = reading.changes, reading.parts, element.getId()
    if reading.take_assignment(name):
        return
    if name in changes.rates:
        reading.take_rate(name)
    elif name in changes.events:
        parts.rates[name] = sympy.Integer(0)
    is_state = name in parts.rates
    if name in changes.initials:
        parts.start[name] = reading.initial_formula(name)
        if not is_state:
            parts.derived.append(name)
            parts.places[name] = reading.initial_place(name)
    elif value is None or not math.isfinite(value):
        parts.unset[name] = reading.source.place(kind, name, element)
    elif is_state:
        parts.start[name] = exact(value)
    else:
        parts.constants[name] = float(value)


def assembled(reading: Reading) -> SymbolicModel:
    """Return the model with every definition put in; FileNotValid where it does not close."""
    import sympy

    source, parts = reading.source, reading.parts
    drop_unused(reading)
    # the order in which a person wrote the rates is the order of the states
    order = dict.fromkeys([*reading.changes.rates, *parts.rates])
    parts.rates = {s: parts.rates[s] for s in order if s in parts.rates}
    clock = {symbol(TIME): sympy.Integer(0)}
    began = {k: v.xreplace(clock) for k, v in {**parts.definitions, **parts.start}.items()}
    at_start = resolve(began, source.name)
    definitions = {**parts.definitions, **{name: at_start[name] for name in parts.derived}}
    assignments = resolve(definitions, source.name)
    assigned = {symbol(k): v for k, v in assignments.items()}

    def resolved(formula: Any) -> Any:
        return without_choices(formula.xreplace(assigned))

    happenings = read_events(
        EventScope(source, reading.formulas, parts.constants, resolved, parts.amounts)
    )
    refuse_jumping_sizes(reading, assignments)
    rates = {state: resolved(rate) for state, rate in parts.rates.items()}
    initials = {s: at_start[s] for s in rates if s in at_start}
    initials = put_into_start(initials, happenings)
    known = {*parts.constants, *rates, TIME}
    for name, formula in (*assignments.items(), *rates.items()):
        check(formula, parts.places.get(name, f"model {source.name}, {name}"), known, parts)
    for name, formula in initials.items():
        check(formula, f"model {source.name}, start of {name}", set(parts.constants), parts)
    for each in happenings:
        for name, formula in each.event.assignments.items():
            check(formula, f"{each.place}, {name} =", known - {TIME}, parts)
    for state in rates:
        if state not in initials:
            refuse_unset(state, parts)
    breakpoints: dict[Any, None] = {}
    for name, formula in (*assignments.items(), *rates.items()):
        place = parts.places.get(name, f"model {source.name}, {name}")
        breakpoints |= dict.fromkeys(switching_moments(formula, place, parts.constants))
    return SymbolicModel(
        name=source.name,
        rates=rates,
        assignments=assignments,
        initials=initials,
        constants=parts.constants,
        events=joined(each.event for each in happenings),
        breakpoints=tuple(breakpoints),
    )

"""Species and the reactions that change them.

Belongs here: amounts and concentrations, stoichiometry, conversion factors, constants of one reaction.
Not here: rules and initial assignments of other elements (sbml), events (sbml_events).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from chiploop.errors import FileNotValid
from chiploop.models.sbml_math import Formulas, exact, symbol
from chiploop.models.sbml_parts import Reading


def read_reactions(reading: Reading) -> dict[str, list[Any]]:
    """Define every reaction's rate; return what each species gains, in units of the reactions' extents."""
    source, formulas, parts = reading.source, reading.formulas, reading.parts
    model = source.model
    fluxes: dict[str, list[Any]] = {}
    for i in range(model.getNumReactions()):
        reaction = model.getReaction(i)
        name = reaction.getId()
        place = source.place("reaction", name, reaction)
        law = reaction.getKineticLaw()
        if law is None or law.getMath() is None:
            raise FileNotValid(f"{place}: it has no rate; allowed are reactions with a kinetic law")
        level3 = model.getLevel() >= 3
        count = law.getNumLocalParameters() if level3 else law.getNumParameters()
        local: dict[str, Any] = {}
        for k in range(count):
            parameter = law.getLocalParameter(k) if level3 else law.getParameter(k)
            own = reading.free_name(f"{name}_{parameter.getId()}")
            local[parameter.getId()] = symbol(own)
            if parameter.isSetValue() and math.isfinite(parameter.getValue()):
                parts.constants[own] = float(parameter.getValue())
            else:
                where = source.place("parameter", parameter.getId(), parameter)
                parts.unset[own] = f"{where} of reaction {name}"
        parts.places[name] = place
        parts.definitions[name] = formulas.number(law.getMath(), place, local)
        sides = [(-1, reaction.getReactant(k)) for k in range(reaction.getNumReactants())]
        sides += [(1, reaction.getProduct(k)) for k in range(reaction.getNumProducts())]
        for sign, reference in sides:
            gain = sign * stoichiometry(reference, place, formulas)
            fluxes.setdefault(reference.getSpecies(), []).append(gain * symbol(name))
    return fluxes


def stoichiometry(reference: Any, place: str, formulas: Formulas) -> Any:
    """Return how many of its species one turn of a reaction takes or gives."""
    if reference.getLevel() >= 3 and reference.getId():
        return symbol(reference.getId())
    if reference.getLevel() < 3 and reference.isSetStoichiometryMath():
        where = f"{place}, stoichiometry of {reference.getSpecies()}"
        return formulas.number(reference.getStoichiometryMath().getMath(), where)
    value = reference.getStoichiometry()
    if not math.isfinite(value):
        raise FileNotValid(
            f"{place}: the stoichiometry of {reference.getSpecies()} has no value; allowed is a number"
        )
    return exact(float(value))


def read_species(reading: Reading, species: Any, fluxes: Mapping[str, list[Any]]) -> None:
    """Put a species, in the quantity that its id means, where it belongs."""
    import sympy

    source, changes, parts = reading.source, reading.changes, reading.parts
    name = species.getId()
    place = source.place("species", name, species)
    compartment = source.model.getCompartment(species.getCompartment())
    if compartment is None:
        raise FileNotValid(
            f"{place}: its compartment {species.getCompartment()!r} is not in the model; allowed is "
            "one of the model's compartments"
        )
    size = symbol(compartment.getId())
    is_flat = compartment.isSetSpatialDimensions() and compartment.getSpatialDimensions() == 0
    is_amount = species.getHasOnlySubstanceUnits() or is_flat
    is_fixed = species.getConstant() or species.getBoundaryCondition()
    if name in fluxes and not is_fixed and (name in changes.rates or name in changes.assignments):
        raise FileNotValid(
            f"{place}: both a rule and a reaction change it; allowed is one of them, or "
            "boundaryCondition='true'"
        )
    if reading.take_assignment(name):
        return
    start = species_start(reading, species, size, is_amount)
    if name in changes.rates:
        reading.take_rate(name)
        state = name
        if not is_amount and compartment.getId() in changes.events:
            raise FileNotValid(
                f"{place}: it has a rate rule for its concentration, and an event changes the size of "
                f"{compartment.getId()}; allowed is one of them, or hasOnlySubstanceUnits='true'"
            )
    elif species.getConstant() and (is_amount or not changes.varies(compartment.getId())):
        state = ""
    else:
        gain = [] if is_fixed else fluxes.get(name, [])
        factor = species.getConversionFactor() or source.model.getConversionFactor()
        unit = symbol(factor) if factor else sympy.Integer(1)
        by_amount = not is_amount and changes.varies(compartment.getId())
        state = reading.free_name(f"amount_of_{name}") if by_amount else name
        # term by term: a rate that is written as concentration times size loses the size again
        unit = unit if is_amount or by_amount else unit / size
        parts.rates[state] = sympy.Add(*[each * unit for each in gain])
        parts.places[state] = place
        if by_amount:
            parts.amounts[name] = (state, compartment.getId())
            parts.definitions[name] = symbol(state) / size
            parts.places[name] = place
    if start is None:
        parts.unset[name] = place
        if state and state != name:
            parts.unset[state] = place
    elif state:
        parts.start[name] = start
        if state != name:
            parts.start[state] = symbol(name) * size
    elif start.is_number and name not in changes.initials:
        parts.constants[name] = float(start)
    else:
        parts.start[name] = start
        parts.derived.append(name)
        parts.places[name] = place


def species_start(reading: Reading, species: Any, size: Any, is_amount: bool) -> Any:
    """Return where a species begins, in the quantity that its id means; None where nothing says so."""
    name = species.getId()
    if name in reading.changes.initials:
        return reading.initial_formula(name)
    amount, concentration = species.getInitialAmount(), species.getInitialConcentration()
    if species.isSetInitialAmount() and math.isfinite(amount):
        return exact(amount) if is_amount else exact(amount) / size
    if species.isSetInitialConcentration() and math.isfinite(concentration):
        return exact(concentration) * size if is_amount else exact(concentration)
    return None

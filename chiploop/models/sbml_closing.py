"""Formulas of a model text put into each other, and what only shows then.

Belongs here: circles, values that are missing where they are needed, moments at which a rate may jump.
Not here: what single elements mean (sbml, sbml_species, sbml_events).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chiploop.errors import FileNotValid
from chiploop.models.sbml_math import symbol, trouble_with
from chiploop.models.sbml_parts import Parts, Reading
from chiploop.models.symbolic import TIME


def drop_unused(reading: Reading) -> None:
    """Leave out species that have no start, do not change and are used nowhere."""
    parts = reading.parts
    for name in [s for s in parts.rates if s in parts.unset and parts.rates[s] == 0]:
        own = species_of(name, parts)
        if {name, own} & reading.changes.events:
            continue
        others = {
            **{k: v for k, v in parts.definitions.items() if k != own},
            **{f"{k}'": v for k, v in parts.rates.items()},
            **{f"{k} at the start": v for k, v in parts.start.items()},
        }
        used = {str(s) for formula in others.values() for s in formula.free_symbols}
        if not used & {name, own}:
            del parts.rates[name]
            parts.definitions.pop(own, None)


def species_of(state: str, parts: Parts) -> str:
    """Return the species whose amount a state is; the state itself where it is none."""
    return next((x for x, (amount, _) in parts.amounts.items() if amount == state), state)


def resolve(definitions: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return formulas with each other put in; FileNotValid where they go in a circle."""
    resolved: dict[str, Any] = {}
    open_names: list[str] = []

    def visit(key: str) -> Any:
        if key in resolved:
            return resolved[key]
        if key in open_names:
            circle = " -> ".join([*open_names[open_names.index(key) :], key])
            raise FileNotValid(
                f"model {name}: its assignments refer to each other in a circle: {circle}; allowed "
                "are formulas that lead to constants, states and time"
            )
        open_names.append(key)
        formula = definitions[key]
        used = sorted(str(s) for s in formula.free_symbols)
        formula = formula.xreplace({symbol(u): visit(u) for u in used if u in definitions})
        open_names.pop()
        resolved[key] = without_choices(formula)
        return resolved[key]

    return {key: visit(key) for key in definitions}


def without_choices(formula: Any) -> Any:
    """Return a formula whose conditions hold only comparisons, and, or, not.

    Sympy makes if-then-else conditions of comparisons with a piecewise quantity.
    """
    import sympy

    return formula.replace(
        lambda part: isinstance(part, sympy.ITE),
        lambda part: sympy.Or(
            sympy.And(part.args[0], part.args[1]),
            sympy.And(sympy.Not(part.args[0]), part.args[2]),
        ),
    )


def refuse_jumping_sizes(reading: Reading, assignments: Mapping[str, Any]) -> None:
    """Raise FileNotValid where an event moves a size by a rule under a concentration with a rate rule."""
    for name in reading.changes.rates:
        species = reading.source.model.getSpecies(name)
        if species is None or species.getHasOnlySubstanceUnits():
            continue
        size = assignments.get(species.getCompartment())
        moved = (
            {str(s) for s in size.free_symbols} & reading.changes.events
            if size is not None
            else set()
        )
        if moved:
            raise FileNotValid(
                f"{reading.parts.places[name]}: it is the rate of a concentration, and an event changes the "
                f"size of {species.getCompartment()} through {', '.join(sorted(moved))}; allowed is "
                "one of them, or hasOnlySubstanceUnits='true'"
            )


def check(formula: Any, place: str, known: set[str], parts: Parts) -> None:
    """Raise FileNotValid where a formula holds names without a value, or no real number."""
    for name in sorted(str(s) for s in formula.free_symbols):
        if name in parts.unset:
            refuse_unset(name, parts)
        if name not in known:
            raise FileNotValid(f"{place}: {name} has no value there; allowed are constants")
    trouble = trouble_with(formula)
    if trouble:
        raise FileNotValid(f"{place}: {trouble}; allowed are formulas of real numbers")


def refuse_unset(name: str, parts: Parts) -> None:
    """Raise FileNotValid for a name whose value is needed and missing."""
    raise FileNotValid(
        f"{parts.unset[name]}: {species_of(name, parts)} has no value; "
        "allowed is a number, an initial assignment or a rule"
    )


def switching_moments(formula: Any, place: str, constants: Mapping[str, float]) -> Iterator[Any]:
    """Yield the moments, in constants, at which conditions on time switch.

    A condition on states has no such moment; step-size control meets it. FileNotValid for a condition that
    mixes both, or that is not linear in time.
    """
    import sympy

    time = symbol(TIME)
    allowed = "allowed in a condition on time are time < T and the like, T in constants"
    if not formula.has(time):
        return
    for piecewise in sorted(formula.atoms(sympy.Piecewise), key=sympy.default_sort_key):
        for condition in (c for _, c in piecewise.args):
            for relation in sorted(
                condition.atoms(sympy.core.relational.Relational), key=sympy.default_sort_key
            ):
                difference = relation.lhs - relation.rhs
                if not moves(difference, time):
                    continue
                changing = sorted(
                    str(s) for s in difference.free_symbols - {time} if str(s) not in constants
                )
                if changing:
                    raise FileNotValid(
                        f"{place}: its condition {relation} compares time with "
                        f"{', '.join(changing)}, which changes; {allowed}".replace(TIME, "time")
                    )
                slope = sympy.diff(difference, time)
                if isinstance(relation, sympy.Eq | sympy.Ne) or slope.has(time) or slope == 0:
                    raise FileNotValid(
                        f"{place}: its condition {relation} is not a moment from which or until which "
                        f"something holds; {allowed}".replace(TIME, "time")
                    )
                yield sympy.expand(-difference.xreplace({time: sympy.Integer(0)}) / slope)


def moves(expression: Any, time: Any) -> bool:
    """Return whether an expression changes with time other than by switching at a condition."""
    import sympy

    if isinstance(expression, sympy.Piecewise):
        return any(moves(value, time) for value, _ in expression.args)
    return expression == time or any(moves(part, time) for part in expression.args)

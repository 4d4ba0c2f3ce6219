"""What is to be computed of one model, before it is printed for one kind of machine.

Belongs here: which states are needed, Jacobian, integrals, the programs of a model. Not here: printing (lanes,
scalar), the method's numbers (rosenbrock), files (compiler).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chiploop.errors import FileNotValid
from chiploop.models.rosenbrock import METHODS, Step, step_program
from chiploop.models.straight_line import Formulas, Program, with_joined_powers
from chiploop.models.symbolic import TIME, SymbolicModel

SEGMENT_TIME = "segment_time_"
"""Input behind those of the text: the middle of the segment, where the schedule is cut at breakpoints."""

TOLERANCES = ("absolute", "relative")
"""Arrays of a step that are neither parameters nor inputs."""


@dataclass(frozen=True)
class RowProgram:
    """A function that reads arrays and writes results, once per call and lane."""

    name: str
    program: Program
    arrays: tuple[str, ...]
    """Pointers that it takes, in their order; the results' own comes after them."""
    results: tuple[int, ...]


@dataclass(frozen=True)
class ModelPlan:
    """All programs of a model, and the facts that running it needs."""

    step: Step
    functions: tuple[RowProgram, ...]
    facts: dict[str, Any]


def model_plan(
    model: SymbolicModel,
    inputs: Sequence[str],
    observed: Sequence[str],
    integrals: Sequence[str],
    method: str,
) -> ModelPlan:
    """Return the programs of a model.

    ``integrals`` are quantities whose running integral becomes a state of its own, so that the exact mean over
    a collection window is a difference of two values; ``observed`` may name ``integral_<quantity>``. Time
    becomes the last state where a formula holds it.

    Raises FileNotValid for a formula that has no machine code, or an observed one that holds an input.
    """
    import sympy

    def symbol(name: str) -> Any:
        return sympy.Symbol(name, real=True)

    quantities = [name.removeprefix("integral_") for name in (*observed, *integrals)]
    names = [*model.needed_states(quantities)]
    known = {**model.assignments, **{name: symbol(name) for name in model.rates}}
    rates = [model.rates[name] for name in names] + [known[name] for name in integrals]
    initials = [model.initials[name] for name in names] + [sympy.Float(0.0)] * len(integrals)
    names += [f"integral_{name}" for name in integrals]
    known |= {name: symbol(name) for name in names}
    readings = [sympy.sympify(known[name]) for name in observed]
    for name, formula in zip(observed, readings, strict=True):
        if any(str(s) in inputs for s in formula.free_symbols):
            raise FileNotValid(
                f"model {model.name}: observed {name} depends on an input directly; read out a state"
            )
    breakpoints = list(model.breakpoints)
    if breakpoints:
        rates = [with_settled_conditions(rate, model.rates) for rate in rates]
    has_clock = any(symbol(TIME) in e.free_symbols for e in (*rates, *readings))
    if has_clock:
        names.append(TIME)
        rates.append(sympy.Float(1.0))
        initials.append(sympy.Float(0.0))
    variables = [symbol(name) for name in names]
    used = {str(s) for formula in readings for s in formula.free_symbols}
    watched = [i for i, name in enumerate(names) if name in used]
    parameters = [name for name in model.constants if name not in inputs]
    places = {name: ("p", i) for i, name in enumerate(parameters)}
    places |= {name: ("u", i) for i, name in enumerate((*inputs, SEGMENT_TIME))}
    events = [event for event in model.events if set(event.assignments) & set(names)]
    jumps = [e.assignments.get(name, variables[i]) for e in events for i, name in enumerate(names)]
    moments = [*(event.time for event in events), *breakpoints]
    try:
        step = step_program(
            METHODS[method],
            rates,
            jacobian_of(rates, variables),
            names,
            places,
            watched,
            frozenset({len(names) - 1}) if has_clock else frozenset(),
        )
        steady = steady_boundary(step)
        functions = (
            RowProgram("prepare", step.program, ("p", "u"), tuple(steady)),
            row_program("initial", initials, ("p",), places, names),
            row_program("observe", readings, ("y", "p", "u"), places, names),
            row_program("jump", jumps, ("y", "p", "u"), places, names),
            row_program("moments", moments, ("p",), places, names),
        )
    except ValueError as problem:
        raise FileNotValid(f"model {model.name}: {problem}") from None
    facts = {
        "states": names,
        "parameters": parameters,
        "defaults": [model.constants[name] for name in parameters],
        "watched": watched,
        "n_steady": len(steady),
        "n_dense": len(step.dense),
        "events": [event.name for event in events],
        "n_breakpoints": len(breakpoints),
        "clock": len(names) - 1 if has_clock else -1,
        "flops_per_step": step.program.flops(step.results),
    }
    return ModelPlan(step, functions, facts)


def with_settled_conditions(rate: Any, states: Collection[str]) -> Any:
    """Return a rate whose conditions on time alone are asked in the middle of the segment.

    Schedules are cut where such a condition switches. Asked at the time of a step's stages, the last of which
    stand at the segment's very end, it would switch there already.
    """
    import sympy

    time, middle = (sympy.Symbol(name, real=True) for name in (TIME, SEGMENT_TIME))
    settled = {
        condition: condition.subs(time, middle)
        for condition in rate.atoms(sympy.core.relational.Relational)
        if time in condition.free_symbols
        and not any(str(s) in states for s in condition.free_symbols)
    }
    return rate.xreplace(settled)


def jacobian_of(rates: Sequence[Any], variables: Sequence[Any]) -> dict[tuple[int, int], Any]:
    """Return (i, j) -> d rate_i / d variable_j where it is not zero."""
    import sympy

    entries = {}
    for i, rate in enumerate(rates):
        for j, variable in enumerate(variables):
            if variable in rate.free_symbols:
                entry = sympy.diff(rate, variable)
                if entry != 0:
                    entries[i, j] = with_joined_powers(entry)
    return entries


def row_program(
    name: str,
    formulas: Sequence[Any],
    arrays: tuple[str, ...],
    places: Mapping[str, tuple[str, int]],
    states: Sequence[str],
) -> RowProgram:
    """Return the program of formulas of parameters, inputs and states."""
    program = Program()
    loads = {n: program.load(a, i, varies=False) for n, (a, i) in places.items() if a in arrays}
    if "y" in arrays:
        loads |= {n: program.load("y", i, varies=True) for i, n in enumerate(states)}
    numbers = Formulas(program, loads)
    return RowProgram(name, program, arrays, tuple(numbers.number(formula) for formula in formulas))


def tolerance_loads(step: Step) -> list[int]:
    """Return the operations that load the tolerances: the same for a whole run."""
    operations = step.program.operations
    return [n for n in step.program.needed(step.results) if operations[n][1] in TOLERANCES]


def steady_boundary(step: Step) -> list[int]:
    """Return the steady operations that varying ones of a step use: computed once a segment."""
    program = step.program
    wanted = set()
    for number in program.needed([*step.results, *(v for row in step.dense for v in row)]):
        operation = program.operations[number]
        if not program.varies[number] or operation[0] == "load":
            continue
        for operand in operation[1:]:
            is_tolerance = program.operations[operand][1] in TOLERANCES
            if not program.varies[operand] and program.value(operand) is None and not is_tolerance:
                wanted.add(operand)
    return sorted(wanted)

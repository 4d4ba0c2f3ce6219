"""Trajectories and steady states of a PEtab problem's model: our engine, and libRoadRunner where it can not.

Belongs here: parameter sets -> values of the model's quantities. Not here: which conditions there are
(petab_problem), observables and noise (petab_likelihood).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.models.petab_model import OpenedModel, is_amount

Values = Mapping[str, np.ndarray]
"""Parameter -> (n,) on the linear scale."""

SMALL = 1e-6
"""The absolute tolerance is the relative one times this part of the model's typical size."""
MAX_STEPS = 200_000
FIRST_HORIZON = 1e3
"""A search for the steady state first runs this many times longer than the measurements."""
LONGER = 10.0
"""Each further run ends at this many times the time that the one before has reached."""
RUNS = 12
STEADY = 1e-8
"""Largest relative change of a state during one run at which it counts as steady."""


class Simulator(Protocol):
    """What a problem needs of an engine."""

    engine: str
    quantities: tuple[str, ...]
    """What is read out."""
    constants: Mapping[str, float]
    """Further names of the model -> their value in the text."""
    states: tuple[str, ...]
    floor: float
    """Size below which a change of a state does not count."""
    inputs: frozenset[str]
    """Parameters of the model that a course may hang on."""
    timing: frozenset[str]
    """Those of them that may set when something happens."""
    together: int
    """Rows of a batch that come to rest together; 1 where each goes alone."""
    rtol: float
    max_steps: int
    is_patient: bool
    """Whether a row that the engine refuses fails alone, not with all others."""

    def course(
        self, values: Values, begin: np.ndarray | None, since: float, times: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (n, times, quantities), and (n, states) at the last time.

        The course begins at the model's own start, or at ``begin`` (n, states). NaN where it failed.
        """


class LaneSimulator:
    """Our engine: every row of a batch at once."""

    engine = "chiploop"
    together = 1
    is_patient = False

    def __init__(
        self,
        opened: OpenedModel,
        names: Sequence[str],
        resets: Sequence[str],
        typical: Mapping[str, float],
        rtol: float,
    ) -> None:
        """Compile the model; FileNotValid where the engine does not support it.

        ``names`` may be read out, ``resets`` are states that may be set after a pre-equilibration, ``typical``
        are parameter values at which the model's sizes are looked at.
        """
        from chiploop.models.compiler import compile_model
        from chiploop.models.sbml import read_model
        from chiploop.models.symbolic import TIME

        model = read_model(opened.text, opened.name)
        for name in resets:
            if name not in model.rates:
                raise FileNotValid(
                    f"model {opened.name}: {name} is set after the pre-equilibration, and the size of its "
                    "compartment changes; allowed is a compartment of constant size"
                )
        if not model.rates:
            raise FileNotValid(
                f"model {opened.name}: nothing in it changes; allowed is a model with states"
            )
        varying = (*model.rates, *model.assignments)
        observed = [name for name in names if name in varying]
        if not model.needed_states(observed):  # a simulation of nothing is none
            observed.append(next(iter(model.rates)))
        self.compiled = compile_model(opened.text, opened.name, (), observed, (), model=model)
        self.quantities = tuple(observed)
        self.constants: Mapping[str, float] = model.constants
        self.has_clock = TIME in self.compiled.states
        self.states = tuple(s for s in self.compiled.states if s != TIME)
        self.rtol, self.max_steps = rtol, MAX_STEPS
        self.floor = SMALL * typical_size(model.initials, {**model.constants, **typical})
        moments = [*(event.time for event in model.events), *model.breakpoints]
        jumps = [each for event in model.events for each in event.assignments.values()]
        formulas = [*model.rates.values(), *model.initials.values(), *jumps, *moments]
        formulas += [model.assignments[name] for name in observed if name in model.assignments]
        self.inputs = names_in(formulas) & frozenset(self.compiled.defaults)
        self.timing = names_in(moments) & self.inputs

    def course(
        self,
        values: Values,
        begin: np.ndarray | None,
        since: float,
        times: np.ndarray,
        *,
        is_steered: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (n, times, quantities) and the states at the last time.

        ``is_steered`` as of ``CompiledModel.run``: rows are groups that share the steps of their first.
        Raises FileNotValid for two events at one moment; patience lets that row fail.
        """
        try:
            return self.run(values, begin, since, times, is_steered)
        except ValueError as trouble:
            if not self.compiled.events:
                raise
            if not self.is_patient:
                raise FileNotValid(f"model {self.compiled.name}: {trouble}") from None
        n, group = count(values), self.compiled.width if is_steered else 1
        if n <= group:
            shape = (n, len(times), len(self.quantities))
            return np.full(shape, np.nan), np.full((n, len(self.states)), np.nan)
        half = n // group // 2 * group
        parts = []
        for rows in (np.arange(half), np.arange(half, n)):
            at = None if begin is None else begin[rows]
            parts.append(
                self.course(of_rows(values, rows), at, since, times, is_steered=is_steered)
            )
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def run(
        self,
        values: Values,
        begin: np.ndarray | None,
        since: float,
        times: np.ndarray,
        is_steered: bool,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what ``course`` does, or raise ValueError for what the engine refuses."""
        from chiploop.models.batch import Schedule

        known = {k: v for k, v in values.items() if k in self.compiled.defaults}
        until = times[-1] if times[-1] > since else since + 1e-9 * max(1.0, since)
        schedule = Schedule(np.array([since, until]), np.zeros((1, 0)))
        states = None
        if begin is not None:  # time is the last state
            states = np.pad(begin, ((0, 0), (0, int(self.has_clock))))[:, None]
        result = self.compiled.run(
            self.compiled.parameter_rows(count(values), known),
            [schedule],
            times,
            rtol=self.rtol,
            absolute=self.rtol * self.floor,
            states=states,
            max_steps=self.max_steps,
            is_steered=is_steered,
        )
        return result.observed[:, 0], result.states[:, 0, : len(self.states)]

    def moments(self, values: Values) -> np.ndarray:
        """Return (n, moments): when each row's events and switches happen."""
        known = {k: v for k, v in values.items() if k in self.compiled.defaults}
        return self.compiled.moments(self.compiled.parameter_rows(count(values), known))


class RoadRunnerSimulator:
    """libRoadRunner, one row after the other: for what our engine refuses."""

    engine = "libroadrunner"
    together = 1
    is_patient = False

    def __init__(self, opened: OpenedModel, names: Sequence[str], rtol: float) -> None:
        """Load the model; FileNotValid where libRoadRunner can not."""
        import libsbml

        self.document = libsbml.readSBMLFromString(opened.text)
        self.name, self.rtol, self.floor, self.max_steps = opened.name, rtol, SMALL, MAX_STEPS
        model = self.document.getModel()
        selections = {p.getId(): p.getId() for p in model.getListOfParameters()}
        selections |= {c.getId(): c.getId() for c in model.getListOfCompartments()}
        selections |= {r.getId(): r.getId() for r in model.getListOfReactions()}
        for species in model.getListOfSpecies():
            name = species.getId()
            selections[name] = name if is_amount(model, species) else f"[{name}]"
        self.quantities = tuple(name for name in names if name in selections)
        self.selections = selections
        rated = [r.getVariable() for r in model.getListOfRules() if r.isRate()]
        assigned = {r.getVariable() for r in model.getListOfRules() if r.isAssignment()}
        species_ids = [s.getId() for s in model.getListOfSpecies() if not s.getConstant()]
        self.states = tuple(s for s in dict.fromkeys([*species_ids, *rated]) if s not in assigned)
        self.constants: Mapping[str, float] = {}
        self.inputs = self.timing = frozenset(p.getId() for p in model.getListOfParameters())
        self.loaded({})

    def loaded(self, values: Mapping[str, float]) -> Any:
        """Return libRoadRunner with the model at these parameter values, before its start is computed."""
        import libsbml
        import roadrunner

        model = self.document.getModel()
        for name, value in values.items():
            parameter = model.getParameter(name)
            if parameter is not None and model.getInitialAssignmentBySymbol(name) is None:
                parameter.setValue(float(value))
        roadrunner.Logger.setLevel(roadrunner.Logger.LOG_FATAL)
        try:
            runner = roadrunner.RoadRunner(libsbml.writeSBMLToString(self.document))
        except RuntimeError as problem:
            reason = " ".join(str(problem).split())
            raise FileNotValid(
                f"model {self.name}: libRoadRunner can not load it either: {reason}"
            ) from None
        settings = runner.getIntegrator()
        settings.setValue("relative_tolerance", self.rtol)
        settings.setValue("absolute_tolerance", self.rtol * self.floor)
        settings.setValue("maximum_num_steps", self.max_steps)
        return runner

    def course(
        self, values: Values, begin: np.ndarray | None, since: float, times: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (n, times, quantities) and the states at the last time."""
        n = count(values)
        read = (*self.quantities, *self.states)
        found = np.full((n, len(times), len(read)), np.nan)
        for i in range(n):
            runner = self.loaded({name: value[i] for name, value in values.items()})
            runner.timeCourseSelections = ["time", *(self.selections[name] for name in read)]
            if begin is not None:
                for name, value in zip(self.states, begin[i], strict=True):
                    runner.setValue(self.selections[name], float(value))
            grid = times if times[0] == since else np.concatenate([[since], times])
            if len(grid) == 1:
                grid = np.array([since, since + 1e-9 * max(1.0, since)])
            try:
                course = np.asarray(runner.simulate(times=grid.tolist()))
            except RuntimeError:
                continue
            found[i] = course[np.searchsorted(grid, times), 1:]
        width = len(self.quantities)
        return found[..., :width], found[:, -1, width:]


def names_in(formulas: Sequence[Any]) -> frozenset[str]:
    """Return the names that formulas of sympy hold."""
    return frozenset(str(symbol) for each in formulas for symbol in each.free_symbols)


def typical_size(initials: Mapping[str, Any], values: Mapping[str, float]) -> float:
    """Return the median of the starting values that are not zero; 1 where all are."""
    import sympy

    numbers = {sympy.Symbol(name, real=True): value for name, value in values.items()}
    sizes = [abs(float(formula.xreplace(numbers))) for formula in initials.values()]
    sizes = [size for size in sizes if size > 0 and math.isfinite(size)]
    return float(np.median(sizes)) if sizes else 1.0


def steady_state(
    simulator: Simulator, values: Values, begin: np.ndarray | None, longest: float
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return states (n, states), quantities (n, quantities), and what never came to rest.

    ``longest`` is the time scale of the measurements. Rows without a steady state are NaN.
    """
    n = count(values)
    states = np.full((n, len(simulator.states)), np.nan)
    quantities = np.full((n, len(simulator.quantities)), np.nan)
    moving: list[str] = []
    _, before = simulator.course(values, begin, 0.0, np.array([longest]))
    rows = np.flatnonzero(of_groups(np.isfinite(before).all(axis=1), simulator.together))
    before = before[rows]
    since, until = longest, longest * FIRST_HORIZON
    for _ in range(RUNS):
        if not len(rows):
            break
        read, after = simulator.course(of_rows(values, rows), before, since, np.array([until]))
        is_resting = np.abs(after - before) <= STEADY * (np.abs(after) + simulator.floor)
        is_done = of_groups(is_resting.all(axis=1), simulator.together)
        states[rows[is_done]], quantities[rows[is_done]] = after[is_done], read[is_done, -1]
        is_open = ~is_done & of_groups(np.isfinite(after).all(axis=1), simulator.together)
        moving = [
            s for s, rest in zip(simulator.states, is_resting.T, strict=True) if not rest.all()
        ]
        rows, before = rows[is_open], after[is_open]
        since, until = until, until * LONGER
    return states, quantities, moving


def of_groups(is_so: np.ndarray, together: int) -> np.ndarray:
    """Return (n,) whether it is so for every row of a row's group."""
    return np.repeat(is_so.reshape(-1, together).all(axis=1), together)


def count(values: Values) -> int:
    """Return how many parameter sets there are."""
    return len(next(iter(values.values())))


def of_rows(values: Values, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return some of the parameter sets."""
    return {name: value[rows] for name, value in values.items()}


def simulator_for(
    opened: OpenedModel,
    names: Sequence[str],
    resets: Sequence[str],
    typical: Mapping[str, float],
    rtol: float,
) -> tuple[Simulator, str]:
    """Return the engine that simulates a model, and why it is not ours where it is not.

    Raises FileNotValid where neither can.
    """
    try:
        return LaneSimulator(opened, names, resets, typical, rtol), ""
    except FileNotValid as refusal:
        reason = str(refusal)
        if opened.is_rewritten:
            reason = re.sub(r" \(line \d+\)", "", reason)
    try:
        return RoadRunnerSimulator(opened, names, rtol), reason
    except ImportError:
        raise FileNotValid(
            f'{reason} (libRoadRunner might simulate it: pip install "chiploop[petab]")'
        ) from None

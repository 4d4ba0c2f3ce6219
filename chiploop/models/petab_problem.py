"""A PEtab problem (version 1): simulations, log-likelihood and chi2 at given parameters.

Belongs here: the problem as a whole, for one parameter set or many at once. Not here: tables (petab_tables),
engines (petab_simulation), noise (petab_likelihood). Priors are no part of the likelihood.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.models.petab_likelihood import PLACEHOLDER, SCALES, Observable, read_observable
from chiploop.models.petab_simulation import (
    Simulator,
    Values,
    count,
    of_rows,
    simulator_for,
    steady_state,
)
from chiploop.models.petab_tables import Condition, Mapped, Parameter, Tables, read_tables

RTOL = 1e-9


@dataclass(frozen=True)
class Evaluation:
    """A problem at one parameter set."""

    llh: float
    chi2: float
    simulations: tuple[dict[str, Any], ...]
    """Rows of a PEtab simulation table, in the order of the measurement table."""
    llh_of_rows: np.ndarray
    """(measurements,)"""
    chi2_of_rows: np.ndarray
    """(measurements,)"""


@dataclass(frozen=True)
class Batch:
    """A problem at n parameter sets; NaN where a set could not be simulated."""

    simulated: np.ndarray
    """(n, measurements)"""
    on_scale: np.ndarray
    """(n, measurements) simulated, on the scale of the observable."""
    sd: np.ndarray
    """(n, measurements) noise, on the same scale."""
    llh: np.ndarray
    """(n, measurements)"""
    chi2: np.ndarray
    """(n, measurements)"""
    troubles: list[str]
    """What could not be simulated, and why."""


@dataclass(frozen=True)
class Courses:
    """What the model does at n parameter sets, before observables are read from it."""

    reads: tuple[np.ndarray, ...]
    """One per pair of conditions: (n, times + 1, quantities), the steady state last; NaN where it failed."""
    troubles: tuple[str, ...]

    def repeated(self, times: int) -> Courses:
        """Return every parameter set so often, one after the other."""
        return Courses(tuple(np.repeat(r, times, axis=0) for r in self.reads), self.troubles)

    def of_rows(self, rows: np.ndarray) -> Courses:
        """Return some of the parameter sets."""
        return Courses(tuple(read[rows] for read in self.reads), self.troubles)


@dataclass(frozen=True)
class ReadOut:
    """How the measurements of one observable under one pair of conditions are read from a course."""

    observable: Observable
    rows: np.ndarray
    """Rows of the measurement table."""
    column: np.ndarray
    """Of each row, its time in the course."""
    measured: np.ndarray


@dataclass(frozen=True)
class PetabProblem:
    """A problem ready to be evaluated."""

    path: Path
    tables: Tables
    observables: dict[str, Observable]
    simulator: Simulator
    fallback_reason: str
    """Why the engine is not ours; empty where it is."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Rows of the parameter table by id."""
        return self.tables.parameters

    @property
    def estimated(self) -> tuple[Parameter, ...]:
        """The parameters of ``objective``, in the order of the table."""
        return tuple(p for p in self.parameters.values() if p.is_estimated)

    def nominal(self) -> np.ndarray:
        """Return (n_estimated,) nominal values, each on its scale."""
        return np.array([SCALES[p.scale][0](p.nominal) for p in self.estimated])

    def evaluate(self, values: Mapping[str, float] | None = None) -> Evaluation:
        """Return simulations and likelihood at nominal values, those in ``values`` (linear) put in their place.

        Raises FileNotValid for unknown parameters and where the likelihood is not defined, with the reason.
        """
        chosen = {name: p.nominal for name, p in self.parameters.items()}
        for name, value in (values or {}).items():
            if name not in chosen:
                raise FileNotValid(
                    f"{self.path.name}: it has no parameter {name}; allowed are {', '.join(chosen)}"
                )
            chosen[name] = float(value)
        for name, value in chosen.items():
            if not math.isfinite(value):
                raise FileNotValid(
                    f"{self.path.name}: parameter {name} has no value; allowed is a number"
                )
        batch = self.batch({name: np.array([value]) for name, value in chosen.items()})
        if batch.troubles:
            raise FileNotValid(f"{self.path.name}: {batch.troubles[0]}")
        self.refuse_undefined(batch)
        rows = []
        for measurement, simulated in zip(
            self.tables.measurements, batch.simulated[0], strict=True
        ):
            row = {k: v for k, v in measurement.items() if k != "measurement"}
            rows.append({**row, "simulation": float(simulated)})
        llh, chi2 = batch.llh[0], batch.chi2[0]
        return Evaluation(float(llh.sum()), float(chi2.sum()), tuple(rows), llh, chi2)

    def objective(self, parameters: np.ndarray) -> np.ndarray:
        """Return (n,) log-likelihoods of parameters (n, n_estimated), each on its scale.

        Minus infinity where a set can not be simulated or its likelihood is not defined.
        """
        llh = self.batch(self.values_at(parameters)).llh.sum(axis=1)
        return np.where(np.isfinite(llh), llh, -np.inf)

    def values_at(self, parameters: np.ndarray) -> dict[str, np.ndarray]:
        """Return parameter -> (n,) on the linear scale, for estimated ones (n, n_estimated) on theirs."""
        parameters = np.asarray(parameters, dtype=float).reshape(-1, len(self.estimated))
        n = len(parameters)
        values = {name: np.full(n, p.nominal) for name, p in self.parameters.items()}
        with np.errstate(over="ignore"):
            for parameter, column in zip(self.estimated, parameters.T, strict=True):
                values[parameter.name] = SCALES[parameter.scale][1](column)
        return values

    def batch(self, values: Values) -> Batch:
        """Return what n parameter sets give; every condition is one run of all of them."""
        return self.weighed(values, self.courses(values))

    def courses(self, values: Values) -> Courses:
        """Return how the model goes under every pair of conditions."""
        reads: list[np.ndarray] = []
        troubles: list[str] = []
        rested: dict[str, np.ndarray] = {}
        for condition in self.tables.conditions:
            begin = None
            if condition.preequilibration:
                name = condition.preequilibration
                if name not in rested:
                    before = self.put_in(condition.before, values, name)
                    place = f"pre-equilibration {name}"
                    rested[name], _ = self.at_rest(before, None, place, troubles)
                begin = rested[name].copy()
            reads.append(self.course(condition, values, begin, troubles))
        return Courses(tuple(reads), tuple(troubles))

    def course(
        self,
        condition: Condition,
        values: Values,
        begin: np.ndarray | None,
        troubles: list[str],
    ) -> np.ndarray:
        """Return (n, times + 1, quantities) under one pair of conditions; the last is the steady state."""
        own = self.put_in(condition.during, values, condition.simulation)
        rows = np.arange(count(values))
        if begin is not None:
            for state, parameter in condition.resets.items():
                if state in self.simulator.states:
                    begin[:, self.simulator.states.index(state)] = own[parameter]
            rows = np.flatnonzero(np.isfinite(begin).all(axis=1))
            begin = begin[rows]
        times, has_rest = self.times_of(condition)
        read = np.full((count(values), len(times) + 1, len(self.simulator.quantities)), np.nan)
        place = f"condition {condition.simulation}"
        if times.size and rows.size:
            read[rows, :-1], _ = self.simulator.course(of_rows(own, rows), begin, 0.0, times)
            if np.isnan(read[rows, :-1]).any():
                troubles.append(f"{place}: the simulation did not get to time {times[-1]:g}")
        if rows.size and has_rest:
            _, read[rows, -1] = self.at_rest(of_rows(own, rows), begin, place, troubles)
        return read

    def times_of(self, condition: Condition) -> tuple[np.ndarray, bool]:
        """Return the moments that are measured, and whether the steady state is."""
        measured_at = np.array([self.tables.measurements[row]["time"] for row in condition.rows])
        is_finite = np.isfinite(measured_at)
        return np.unique(measured_at[is_finite]), not is_finite.all()

    @cached_property
    def read_outs(self) -> tuple[tuple[ReadOut, ...], ...]:
        """What is read from the course of each pair of conditions."""
        table = self.tables.measurements
        found = []
        for condition in self.tables.conditions:
            times, _ = self.times_of(condition)
            names = np.array([table[row]["observableId"] for row in condition.rows])
            of_condition = []
            for name in dict.fromkeys(names.tolist()):
                rows = condition.rows[names == name]
                at = np.array([table[row]["time"] for row in rows])
                measured = np.array([table[row]["measurement"] for row in rows])
                column = np.searchsorted(times, at)  # infinity comes last
                of_condition.append(ReadOut(self.observables[name], rows, column, measured))
            found.append(tuple(of_condition))
        return tuple(found)

    def weighed(self, values: Values, courses: Courses) -> Batch:
        """Return what courses say of the measurements, at the same n parameter sets."""
        shape = (count(values), len(self.tables.measurements))
        simulated, on_scale, sd, llh, chi2 = (np.full(shape, np.nan) for _ in range(5))
        for condition, read, read_outs in zip(
            self.tables.conditions, courses.reads, self.read_outs, strict=True
        ):
            own = self.put_in(condition.during, values, condition.simulation)
            place = f"condition {condition.simulation}"
            for each in read_outs:
                rows, seen = each.rows, each.observable
                lookup = self.lookup(own, read, each.column, rows, place)
                simulated[:, rows], on_scale[:, rows], sd[:, rows] = seen.predicted(
                    lookup, each.measured
                )
                llh[:, rows], chi2[:, rows] = seen.likelihood(
                    on_scale[:, rows], sd[:, rows], each.measured
                )
        return Batch(simulated, on_scale, sd, llh, chi2, list(courses.troubles))

    def lookup(
        self,
        own: Values,
        read: np.ndarray,
        column: np.ndarray,
        rows: np.ndarray,
        place: str,
    ) -> Any:
        """Return what a name in a formula is, for these measurements of one condition."""
        quantities, constants = self.simulator.quantities, self.simulator.constants

        def of_cell(cell: str | float) -> Any:
            if isinstance(cell, str) and cell not in own:
                raise FileNotValid(f"{place}: a measurement names {cell}, which is in no table")
            return own[cell] if isinstance(cell, str) else cell

        def of(name: str) -> Any:
            placeholder = PLACEHOLDER.fullmatch(name)
            if placeholder:
                kind, number = placeholder.group(1), int(placeholder.group(2)) - 1
                given = [self.tables.overrides[kind][row] for row in rows]
                if min(len(cells) for cells in given) <= number:
                    raise FileNotValid(f"{place}: a measurement gives {name} no value")
                cells = [of_cell(cells[number]) for cells in given]
                return np.stack([np.broadcast_to(c, read.shape[:1]) for c in cells], axis=1)
            if name == "time":
                return np.array([self.tables.measurements[row]["time"] for row in rows])
            if name in quantities:
                return read[:, column, quantities.index(name)]
            if name in own:
                return own[name][:, None]
            if name in constants:
                return constants[name]
            raise FileNotValid(f"{place}: {name} has no value in the model or a table")

        return of

    def at_rest(
        self, own: Values, begin: np.ndarray | None, place: str, troubles: list[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return states and quantities at the steady state of one condition."""
        finite = [m["time"] for m in self.tables.measurements if math.isfinite(m["time"])]
        longest = max(finite, default=0.0) or 1.0
        states, quantities, moving = steady_state(self.simulator, own, begin, longest)
        if np.isnan(states).any():
            still = f"; still moving: {', '.join(moving)}" if moving else ""
            troubles.append(f"{place}: no steady state was reached{still}")
        return states, quantities

    def put_in(self, mapped: Mapped, values: Values, condition: str) -> dict[str, np.ndarray]:
        """Return parameter of the model or of the problem -> (n,), as this condition has it."""
        own = dict(values)
        for name, value in mapped.items():
            if isinstance(value, str):
                if value not in values:
                    raise FileNotValid(
                        f"condition {condition} sets {name} to {value!r}, which is in no table"
                    )
                own[name] = values[value]
            elif value == value:
                own[name] = np.full(count(values), value)
        return own

    def refuse_undefined(self, batch: Batch) -> None:
        """Raise FileNotValid for the first measurement whose likelihood is not defined."""
        for row, density in enumerate(batch.llh[0]):
            if math.isfinite(density):
                continue
            measurement = self.tables.measurements[row]
            name = measurement["observableId"]
            scale = self.observables[name].scale
            positive = (
                ""
                if scale == "lin"
                else f", a measurement and a simulation above 0 ({scale} scale)"
            )
            raise FileNotValid(
                f"{self.path.name}: {name} at time {measurement['time']:g} has no likelihood: it is measured as "
                f"{measurement['measurement']:g} and simulated as {batch.simulated[0, row]:g}; allowed are a "
                f"noise above 0{positive}"
            )


def read_problem(path: Path, rtol: float = RTOL) -> PetabProblem:
    """Return the problem of a PEtab YAML file.

    Raises FileNotValid for a problem that is not valid, and for one that no engine here supports.
    """
    tables = read_tables(path)
    if not tables.parameters:
        raise FileNotValid(
            f"{path}: its parameter table is empty; allowed is one parameter or more"
        )
    for number, row in enumerate(tables.measurements, start=1):
        if not math.isfinite(row.get("measurement", math.nan)) or not row["time"] >= 0:
            raise FileNotValid(
                f"{path}: measurement {number} ({row['observableId']}) is {row.get('measurement')} at time "
                f"{row['time']}; allowed are a number, and a time from 0 on"
            )
    observables = {name: read_observable(name, row) for name, row in tables.observables.items()}
    names = sorted(set().union(*(each.names() for each in observables.values())))
    resets = sorted({state for condition in tables.conditions for state in condition.resets})
    typical: dict[str, float] = {}
    for condition in reversed(tables.conditions):
        mapped = {**condition.during, **condition.before}
        typical = {k: nominal_of(v, tables.parameters) for k, v in mapped.items()}
    simulator, reason = simulator_for(tables.model, names, resets, typical, rtol)
    if (
        reason
        and tables.model.has_events
        and any(m["time"] == math.inf for m in tables.measurements)
    ):
        raise FileNotValid(
            f"{reason}; nor can libRoadRunner be asked for the steady state after events"
        )
    return PetabProblem(path, tables, observables, simulator, reason)


def nominal_of(value: str | float, parameters: Mapping[str, Parameter]) -> float:
    """Return a mapped value with nominal parameters; 1 where there is none."""
    number = parameters[value].nominal if isinstance(value, str) else value
    return number if math.isfinite(number) else 1.0

"""Derivatives of a PEtab problem's log-likelihood by its estimated parameters, many parameter sets at once.

Belongs here: neighbouring parameter sets, the steps between them, gradient and Fisher information. Not here:
simulations (petab_simulation), what is done with a gradient (chiploop.inference.fisher_scoring).

Each parameter set is simulated together with neighbours, each with one parameter moved a little, in lanes that
share the steps of the first. The differences are derivatives of the numerical solution itself, see
``TissueModel.sensitivities``. A parameter that enters observables and noise alone costs no simulation.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from chiploop.models.petab_likelihood import LN10, SCALES
from chiploop.models.petab_problem import Courses, PetabProblem
from chiploop.models.petab_simulation import LaneSimulator, Simulator, Values, count, of_rows

NUDGE = 3e-7
"""Relative step between neighbours whose lanes share their steps."""
OWN_STEPS_NUDGE = 1e-4
"""The same where each is simulated on its own, and differs by the tolerance too."""
SLOPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "lin": np.ones_like,
    "log": lambda v: v,
    "log10": lambda v: v * LN10,
}
"""Scale -> derivative of the linear value by the value on the scale."""
SMALLEST_RESIDUAL = 1e-6
"""Of Laplace noise, in its unit: where its kink begins to be rounded in the curvature."""


@dataclass(frozen=True)
class PetabSlopes:
    """Log-likelihood of n parameter sets, and how it changes with the chosen parameters."""

    log_likelihood: np.ndarray
    """(n,)"""
    gradient: np.ndarray
    """(n, p)"""
    information: np.ndarray
    """(n, p, p) Fisher information."""
    curvature: np.ndarray
    """(n, p, p) positive model of the curvature: the information, but for Laplace noise, which has none where
    it is smooth; there a parabola that touches the density at the present residual and lies below it."""


class Neighbours:
    """Simulates groups of parameter sets, the first of each followed by its neighbours."""

    def __init__(self, simulator: Simulator, together: int) -> None:
        self.simulator, self.together = simulator, together
        self.engine, self.quantities = simulator.engine, simulator.quantities
        self.constants, self.states = simulator.constants, simulator.states
        self.floor, self.inputs, self.timing = simulator.floor, simulator.inputs, simulator.timing
        self.rtol, self.max_steps = simulator.rtol, simulator.max_steps
        self.is_patient = simulator.is_patient

    def course(
        self, values: Values, begin: np.ndarray | None, since: float, times: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (n, times, quantities) and the states at the last time; equal neighbours run once."""
        n = count(values) // self.together
        slots = np.zeros(self.together, dtype=bool)
        for name in self.inputs & values.keys():
            slots |= self.differ(values[name][:, None])
        if begin is not None:
            slots |= self.differ(begin)
        moved = np.flatnonzero(slots)
        steered = []
        if isinstance(self.simulator, LaneSimulator) and self.simulator.compiled.width > 1:
            steered = moved.tolist()
            if self.timing:
                is_timed = self.differ(self.simulator.moments(values))
                steered = [slot for slot in steered if not is_timed[slot]]
        alone = [slot for slot in moved.tolist() if slot not in steered]
        read = np.full((n, self.together, len(times), len(self.quantities)), np.nan)
        ends = np.full((n, self.together, len(self.states)), np.nan)

        def run(order: list[int], is_steered: bool) -> None:
            rows = (np.arange(n)[:, None] * self.together + np.array(order)).ravel()
            chosen = of_rows(values, rows)
            at = None if begin is None else begin[rows]
            if is_steered:
                assert isinstance(self.simulator, LaneSimulator)
                got = self.simulator.course(chosen, at, since, times, is_steered=True)
            else:
                got = self.simulator.course(chosen, at, since, times)
            read[:, order] = got[0].reshape(n, len(order), *got[0].shape[1:])
            ends[:, order] = got[1].reshape(n, len(order), -1)

        if steered:
            assert isinstance(self.simulator, LaneSimulator)
            run(in_lanes(steered, self.simulator.compiled.width), True)
        if alone or not steered:
            run([*([] if steered else [0]), *alone], False)
        still = np.flatnonzero(~slots)
        read[:, still], ends[:, still] = read[:, :1], ends[:, :1]
        return read.reshape(-1, *read.shape[2:]), ends.reshape(-1, ends.shape[2])

    def differ(self, rows: np.ndarray) -> np.ndarray:
        """Return (together,) which neighbours differ from their first in any group."""
        groups = rows.reshape(-1, self.together, rows.shape[1])
        is_same = (groups == groups[:, :1]) | (np.isnan(groups) & np.isnan(groups[:, :1]))
        return ~is_same.all(axis=(0, 2))


def in_lanes(slots: list[int], width: int) -> list[int]:
    """Return which neighbour runs in each lane, in groups of ``width``; the set itself is the first of each."""
    order = []
    for first in range(0, len(slots), width - 1):
        order += [0, *slots[first : first + width - 1]]
    return order + [0] * (-len(order) % width)


@dataclass(frozen=True)
class Derivatives:
    """A problem's derivatives by some of its estimated parameters."""

    problem: PetabProblem
    columns: tuple[int, ...]
    """Which of the estimated parameters."""

    def slopes(self, parameters: np.ndarray, courses: Courses | None = None) -> PetabSlopes:
        """Return log-likelihood and derivatives at parameters (n, n_estimated), each on its scale.

        ``courses`` are those of the same parameter sets, where no chosen parameter changes a course: then nothing
        is simulated. NaN in all of a set's numbers where one of them is not defined.
        """
        n, together = len(parameters), 1 + len(self.columns)
        values, per_unit = self.neighbours(parameters)
        if courses is None:
            neighbours = Neighbours(self.problem.simulator, together)
            problem = dataclasses.replace(self.problem, simulator=neighbours)
            found = problem.batch(values)
        else:
            found = self.problem.weighed(values, courses.repeated(together))
        on_scale = found.on_scale.reshape(n, together, -1)
        sd = found.sd.reshape(n, together, -1)
        llh = found.llh.reshape(n, together, -1)[:, 0].sum(axis=1)
        with np.errstate(all="ignore"):
            unit = 1.0 / sd[:, :1]
            shift = (on_scale[:, 1:] - on_scale[:, :1]) * per_unit[:, :, None] * unit
            widening = (sd[:, 1:] - sd[:, :1]) * per_unit[:, :, None] * unit
            residual = (on_scale[:, 0] - self.measured_on_scale) * unit[:, 0]
            return self.summed(llh, residual, shift, widening)

    def summed(
        self, llh: np.ndarray, residual: np.ndarray, shift: np.ndarray, widening: np.ndarray
    ) -> PetabSlopes:
        """Return derivatives from residuals (n, m), and how means and noise move, (n, p, m); in units of noise."""
        is_laplace, size = self.is_laplace, np.abs(residual)
        by_mean = np.where(is_laplace, -np.sign(residual), -residual)
        by_noise = np.where(is_laplace, size, residual**2) - 1.0
        gradient = (shift @ by_mean[:, :, None] + widening @ by_noise[:, :, None])[:, :, 0]
        of_noise = (widening * np.where(is_laplace, 1.0, 2.0)) @ widening.swapaxes(1, 2)
        information = shift @ shift.swapaxes(1, 2) + of_noise
        curvature = information
        if is_laplace.any():
            weight = np.where(is_laplace, 1.0 / np.maximum(size, SMALLEST_RESIDUAL), 1.0)
            curvature = (shift * weight[:, None]) @ shift.swapaxes(1, 2) + of_noise
        is_known = np.isfinite(gradient).all(axis=1) & np.isfinite(curvature).all(axis=(1, 2))
        for array in (llh, gradient, information, curvature):
            array[~is_known | ~np.isfinite(llh)] = np.nan
        return PetabSlopes(llh, gradient, information, curvature)

    def neighbours(self, parameters: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return values of n groups of 1 + p rows, and (n, p) how to turn a difference into a derivative."""
        together = 1 + len(self.columns)
        values = {
            name: np.repeat(each, together)
            for name, each in self.problem.values_at(parameters).items()
        }
        per_unit = np.empty((len(parameters), len(self.columns)))
        for slot, column in enumerate(self.columns):
            parameter = self.problem.estimated[column]
            nudge = OWN_STEPS_NUDGE if self.has_own_steps[column] else NUDGE
            mine = values[parameter.name].reshape(-1, together)
            base = mine[:, 0]
            width = parameter.upper - parameter.lower
            whole = width if math.isfinite(width) and width > 0 else 1.0
            step = nudge * np.where(base == 0.0, whole, np.abs(base))
            step = np.where(base + step > parameter.upper, -step, step)
            mine[:, 1 + slot] = base + step
            moved = mine[:, 1 + slot] - base  # as it is stored
            per_unit[:, slot] = SLOPES[parameter.scale](base) / moved
        return values, per_unit

    @cached_property
    def has_own_steps(self) -> np.ndarray:
        """(n_estimated,) whether a neighbour in this parameter is simulated with steps of its own."""
        simulator = self.problem.simulator
        if isinstance(simulator, LaneSimulator) and simulator.compiled.width > 1:
            return reaching(self.problem, simulator.timing)
        return reaching(self.problem, simulator.inputs)

    @cached_property
    def measured_on_scale(self) -> np.ndarray:
        """(measurements,) on the scale of their observables."""
        found = np.full(len(self.problem.tables.measurements), np.nan)
        for of_condition in self.problem.read_outs:
            for each in of_condition:
                with np.errstate(all="ignore"):
                    found[each.rows] = SCALES[each.observable.scale][0](each.measured)
        return found

    @cached_property
    def is_laplace(self) -> np.ndarray:
        """(measurements,)"""
        table = self.problem.tables.measurements
        names = [row["observableId"] for row in table]
        return np.array([self.problem.observables[n].distribution == "laplace" for n in names])


def reaching(problem: PetabProblem, names: frozenset[str]) -> np.ndarray:
    """Return (n_estimated,) which estimated parameters give one of these names of the model its value."""
    found = []
    for parameter in problem.estimated:
        reaches = False
        for condition in problem.tables.conditions:
            for mapped in (condition.before, condition.during):
                told = {k for k, v in mapped.items() if v == parameter.name}
                told |= {parameter.name} - mapped.keys()
                reaches = reaches or bool(told & names)
        found.append(reaches)
    return np.array(found, dtype=bool)

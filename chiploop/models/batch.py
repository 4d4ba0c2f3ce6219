"""Batches of trajectories through a compiled model.

Belongs here: parameter sets x schedules -> arrays of the driver, threads, results. Not here: machine code
(compiler), readouts and chips (tissue_model).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from chiploop.models import driver, lanes

MAX_STEPS = 20_000
"""A trajectory that needs as many is given up."""
FIRST_STEP = 0.02
"""Size of the first step of a segment, in the model's unit of time; what is too large is tried again, smaller."""
CHUNK = 1024
"""Trajectories that a thread takes at a time."""
CACHE_LINE = 64
NOT_FINITE = 3
"""Trouble of a trajectory that ran to its end with a state or a reading that is not finite."""


@dataclass(frozen=True)
class Schedule:
    """What one chip is given, constant within each segment."""

    edges: np.ndarray
    """(k+1,) boundaries of the segments, ascending."""
    inputs: np.ndarray
    """(k, inputs) in the order of the model's inputs."""
    constants: Mapping[str, float] = field(default_factory=dict)
    """Parameter of the model -> its value on this chip, in place of the batch's."""
    factors: Mapping[str, float] = field(default_factory=dict)
    """Parameter of the model -> factor on it."""


@dataclass(frozen=True)
class BatchResult:
    """Every trajectory of a batch."""

    observed: np.ndarray
    """(n, chips, times, observed); NaN for a trajectory that failed."""
    states: np.ndarray
    """(n, chips, states) at the end; NaN for a trajectory that failed."""
    steps: np.ndarray
    """(n, chips) steps tried."""
    trouble: np.ndarray
    """(n, chips) 0, or STEP_LIMIT or STEP_TOO_SMALL of ``lanes``, or NOT_FINITE."""


@dataclass(frozen=True)
class CompiledModel:
    """A model ready to run; arrays are in the order of these names."""

    name: str
    states: tuple[str, ...]
    """Model states, one integral per quantity that is averaged over windows, time where a formula holds it."""
    parameters: tuple[str, ...]
    """Every constant of the text that is no input."""
    defaults: dict[str, float]
    inputs: tuple[str, ...]
    observed: tuple[str, ...]
    watched: tuple[int, ...]
    """States that are read between steps."""
    n_steady: int
    n_dense: int
    events: tuple[str, ...]
    n_breakpoints: int
    clock: int
    """Index of the state that is time; -1 where no formula holds it."""
    flops_per_step: int
    text_sha256: str
    engine: str
    width: int
    """Trajectories side by side."""
    code: dict[str, int]
    """Function -> address."""
    drive: Callable[..., None]

    def parameter_rows(self, n: int, values: Mapping[str, np.ndarray | float]) -> np.ndarray:
        """Return (n, parameters): defaults, with these names at these values, each (n,) or one number."""
        rows = np.empty((n, len(self.parameters)))
        rows[:] = [self.defaults[name] for name in self.parameters]
        for name, value in values.items():
            rows[:, self.parameters.index(name)] = value
        return rows

    def run(
        self,
        parameters: np.ndarray,
        schedules: Sequence[Schedule],
        grid: np.ndarray,
        *,
        rtol: float,
        absolute: float | np.ndarray | None = None,
        states: np.ndarray | None = None,
        input_factors: np.ndarray | None = None,
        max_steps: int = MAX_STEPS,
        threads: int | None = None,
        is_steered: bool = False,
    ) -> BatchResult:
        """Run every parameter set on every schedule.

        Parameters
        ----------
        parameters : (n, parameters), or (n, chips, parameters) where each chip has its own
            In the order of ``parameters``.
        grid : (g,)
            Sampling times, ascending, within every schedule.
        absolute
            Absolute tolerance, one or (states,); by default a thousandth of the relative one.
        states : (n, chips, states)
            Where to begin; None for the model's own start.
        input_factors : (n, chips, inputs)
            Factor of each parameter set on each chip's inputs; None for 1.
        is_steered
            Rows of ``parameters`` are groups of ``width`` that share the step sizes of their first one.

        Raises
        ------
        ValueError
            Where shapes do not fit, edges or sampling times do not ascend, or two events come at one moment.
        """
        n, c = len(parameters), len(schedules)
        grid = np.ascontiguousarray(grid, dtype=float)
        for i, schedule in enumerate(schedules):
            expected = (len(schedule.edges) - 1, len(self.inputs))
            if len(schedule.edges) < 2 or schedule.inputs.shape != expected:
                raise ValueError(
                    f"model {self.name}, schedule {i}: inputs {schedule.inputs.shape} do not fit "
                    f"{len(schedule.edges)} edges and {len(self.inputs)} inputs"
                )
            # not (a < b): an edge that is not a number would never be reached
            if not (np.diff(schedule.edges) > 0).all() or not np.isfinite(schedule.edges).all():
                raise ValueError(
                    f"model {self.name}, schedule {i}: its edges do not ascend: {schedule.edges}"
                )
        if not (np.diff(grid) >= 0).all() or not np.isfinite(grid).all():
            raise ValueError(f"model {self.name}: sampling times do not ascend: {grid}")
        sets = np.asarray(parameters, dtype=float)
        if sets.shape not in ((n, len(self.parameters)), (n, c, len(self.parameters))):
            raise ValueError(
                f"model {self.name}: parameters {sets.shape} do not fit {c} schedules and "
                f"{len(self.parameters)} parameters"
            )
        if sets.ndim == 2 and input_factors is not None:
            sets = np.repeat(sets[:, None], c, axis=1)
        if input_factors is not None and input_factors.shape != (n, c, len(self.inputs)):
            raise ValueError(
                f"model {self.name}: input factors {input_factors.shape} do not fit {n} parameter sets, "
                f"{c} schedules and {len(self.inputs)} inputs"
            )
        begin = None
        if states is not None:
            begin = np.swapaxes(states, 0, 1).reshape(n * c, len(self.states))
        # trajectories of one chip stand together: a group of steered lanes is one chip
        chips = np.repeat(np.arange(c, dtype=np.int64), n)
        rows = np.tile(np.arange(n, dtype=np.int64), c)
        if sets.ndim == 3:  # every chip has its rows
            rows = rows * c + chips
        count = n if sets.ndim == 2 else n * c
        parameters = np.ascontiguousarray(sets).reshape(count, len(self.parameters))
        factors = np.ones((max(1, len(parameters)), len(self.inputs) + 1))
        if input_factors is not None:
            factors[: len(parameters), :-1] = input_factors.reshape(-1, len(self.inputs))
        jumps = [np.full(len(s.inputs), -1, dtype=np.int64) for s in schedules]
        if self.events or self.n_breakpoints:
            schedules, jumps, chips = self.with_moments(sets, schedules, chips)
            groups = chips.reshape(-1, self.width) if is_steered else chips[:, None]
            if (groups != groups[:, :1]).any():
                raise ValueError(
                    f"model {self.name}: the moment of an event or a switch hangs on one of the parameters; "
                    "derivatives by it are not those of neighbouring lanes"
                )
        work = Batch(self, parameters, factors, schedules, jumps, grid, rows, chips, begin)
        work.run(rtol, absolute, max_steps, threads or thread_count(), is_steered)
        is_finite = np.isfinite(work.end).all(axis=1) & np.isfinite(work.observed).all(axis=(1, 2))
        work.trouble[~is_finite & (work.trouble == 0)] = NOT_FINITE
        work.observed[work.trouble > 0] = np.nan
        work.end[work.trouble > 0] = np.nan

        def shaped(array: np.ndarray) -> np.ndarray:
            return np.swapaxes(array.reshape(c, n, *array.shape[1:]), 0, 1)

        return BatchResult(
            shaped(work.observed), shaped(work.end), shaped(work.steps), shaped(work.trouble)
        )

    def with_moments(
        self, parameters: np.ndarray, schedules: Sequence[Schedule], chips: np.ndarray
    ) -> tuple[list[Schedule], list[np.ndarray], np.ndarray]:
        """Return schedules cut at events and breakpoints, the events at their segments, chip of each item.

        The moments may hang on parameters: where they differ between parameter sets, each trajectory gets a
        schedule of its own.
        """
        cut: list[Schedule] = []
        jumps: list[np.ndarray] = []
        known: dict[tuple[int, bytes], int] = {}
        found = np.empty_like(chips)
        n = len(parameters)
        for c, schedule in enumerate(schedules):
            own = (parameters if parameters.ndim == 2 else parameters[:, c]).copy()
            for name, value in schedule.constants.items():
                own[:, self.parameters.index(name)] = value
            for name, factor in schedule.factors.items():
                own[:, self.parameters.index(name)] *= factor
            moments = self.moments(own)
            for i in range(n):
                key = (c, moments[i].tobytes())
                if key not in known:
                    known[key] = len(cut)
                    one, events = cut_at(schedule, moments[i], self.events)
                    cut.append(one)
                    jumps.append(events)
                found[c * n + i] = known[key]
        return cut, jumps, found

    def moments(self, parameters: np.ndarray) -> np.ndarray:
        """Return (n, events + breakpoints) moments for parameters (n, parameters)."""
        n, width = len(parameters), self.width
        count = len(self.events) + self.n_breakpoints
        function = ctypes.CFUNCTYPE(
            ctypes.c_int64, *[ctypes.c_void_p] * lanes.POINTERS, ctypes.c_int64, ctypes.c_int64
        )(self.code["moments"])
        found = np.empty((n, count))
        p, out = aligned(parameters.shape[1], width), aligned(count, width)
        pointers = (p.ctypes.data, *[out.ctypes.data] * (lanes.POINTERS - 1))
        for first in range(0, n, width):
            part = parameters[first : first + width]
            p[: part.shape[1]] = part[-1][:, None]
            p[: part.shape[1], : len(part)] = part.T
            function(*pointers, 0, 0)
            found[first : first + width] = out.T[: len(part)]
        return found


def cut_at(
    schedule: Schedule, moments: np.ndarray, events: Sequence[str]
) -> tuple[Schedule, np.ndarray]:
    """Return a schedule with an edge at every moment inside it, and the event at each segment's beginning."""
    edges = schedule.edges
    inside = (moments > edges[0]) & (moments <= edges[-1])
    times = np.unique(np.concatenate([edges, moments[inside]]))
    if edges[-1] in moments[: len(events)]:  # an event at the very end needs a segment to begin
        times = np.append(times, edges[-1] + 1e-12 * max(1.0, abs(edges[-1])))
    source = np.clip(np.searchsorted(edges, times[:-1], side="right") - 1, 0, len(edges) - 2)
    jumps = np.full(len(times) - 1, -1, dtype=np.int64)
    for k, name in enumerate(events):
        if not inside[k]:
            continue
        segment = int(np.searchsorted(times, moments[k]))
        if jumps[segment] >= 0:
            raise ValueError(
                f"events {events[jumps[segment]]} and {name} both come at {moments[k]:g}; "
                "which is first is not known"
            )
        jumps[segment] = k
    return Schedule(times, schedule.inputs[source], schedule.constants, schedule.factors), jumps


class Batch:
    """The arrays of one batch, and its run."""

    def __init__(
        self,
        model: CompiledModel,
        parameters: np.ndarray,
        input_factors: np.ndarray,
        schedules: Sequence[Schedule],
        jumps: Sequence[np.ndarray],
        grid: np.ndarray,
        rows: np.ndarray,
        chips: np.ndarray,
        begin: np.ndarray | None,
    ) -> None:
        self.model = model
        c, items = len(schedules), len(rows)
        longest = max((len(s.inputs) for s in schedules), default=1)
        edges = np.zeros((c, longest + 1))
        # behind the text's own inputs: the middle of the segment, see model_plan.SEGMENT_TIME
        inputs = np.zeros((c, longest, len(model.inputs) + 1))
        events = np.full((c, longest), -1, dtype=np.int64)
        segments = np.array([len(s.inputs) for s in schedules], dtype=np.int64)
        index = {name: i for i, name in enumerate(model.parameters)}
        changed = sorted({index[k] for s in schedules for k in (*s.constants, *s.factors)})
        column = {i: j for j, i in enumerate(changed)}
        values = np.full((c, max(1, len(changed))), np.nan)
        factors = np.ones_like(values)
        for i, schedule in enumerate(schedules):
            edges[i, : segments[i] + 1] = schedule.edges
            inputs[i, : segments[i], :-1] = schedule.inputs
            inputs[i, : segments[i], -1] = 0.5 * (schedule.edges[:-1] + schedule.edges[1:])
            events[i, : segments[i]] = jumps[i]
            for name, value in schedule.constants.items():
                values[i, column[index[name]]] = value
            for name, value in schedule.factors.items():
                factors[i, column[index[name]]] = value
        self.observed = np.full((items, grid.size, len(model.observed)), np.nan)
        self.end = np.full((items, len(model.states)), np.nan)
        self.steps = np.zeros(items, dtype=np.int64)
        self.trouble = np.zeros(items, dtype=np.int64)
        self.arrays = {
            "code": np.array([model.code[name] for name in driver.FUNCTIONS], dtype=np.int64),
            "rows": rows,
            "chips": chips,
            "parameters": parameters,
            "change_index": np.array(changed or [0], dtype=np.int64),
            "change_value": values,
            "change_factor": factors,
            "edges": edges,
            "inputs": inputs,
            "input_factor": input_factors,
            "segments": segments,
            "jumps": events,
            "grid": grid if grid.size else np.zeros(1),
            "watched": np.array(model.watched or (0,), dtype=np.int64),
            "settings": np.array([FIRST_STEP]),
            "begin": np.zeros(1) if begin is None else np.ascontiguousarray(begin, dtype=float),
            "observed": self.observed,
            "end": self.end,
            "steps": self.steps,
            "trouble": self.trouble,
        }
        self.sizes = {
            "width": model.width,
            "n_states": len(model.states),
            "n_parameters": len(model.parameters),
            "n_inputs": inputs.shape[2],
            "n_watched": len(model.watched),
            "n_dense": model.n_dense,
            "n_observed": len(model.observed),
            "n_grid": grid.size,
            "n_changes": len(changed),
            "n_segments": longest,
            "restarts": int(begin is not None),
            "clock": model.clock,
        }

    def run(
        self,
        rtol: float,
        absolute: float | np.ndarray | None,
        max_steps: int,
        threads: int,
        is_steered: bool,
    ) -> None:
        """Run all trajectories, part by part in threads."""
        model, items = self.model, len(self.steps)
        width = model.width
        if absolute is None:
            absolute = rtol * 1e-3

        def part(first: int, last: int) -> None:
            work = work_space(model)
            n = len(model.states)
            work["absolute"][:n] = np.broadcast_to(absolute, (n,))[:, None]
            work["relative"][:] = rtol
            sizes = {**self.sizes, "first": first, "last": last}
            sizes |= {"max_steps": max_steps, "steered": int(is_steered)}
            work["sizes"] = np.array([sizes[name] for name in driver.SIZES], dtype=np.int64)
            arrays: dict[str, Any] = {**self.arrays, **work}
            model.drive(*(arrays[name].ctypes.data for name in driver.ARRAYS))

        # whole rows of lanes, and enough parts for every thread to end at the same time
        size = max(1, min(CHUNK // width, -(-items // (threads * width)))) * width
        bounds = [*range(0, items, size if threads > 1 else max(1, items)), items]
        if len(bounds) > 2:
            list(pool(threads).map(part, bounds[:-1], bounds[1:]))
        elif items:
            part(0, items)


def aligned(*shape: int) -> np.ndarray:
    """Return a zero array of at least one element that begins with a cache line."""
    shape = tuple(max(1, s) for s in shape)
    size = int(np.prod(shape))
    raw = np.zeros(size + CACHE_LINE // 8)
    begin = -raw.ctypes.data % CACHE_LINE // 8
    return raw[begin : begin + size].reshape(shape)


def work_space(model: CompiledModel) -> dict[str, np.ndarray]:
    """Return the arrays that one thread works in.

    Those that every step touches stand in one block: scattered, they would fall by chance on the same sets of
    the first-level cache as the step's own stack, which nearly fills it.
    """
    width, n = model.width, len(model.states)
    rows = {
        "y": n,
        "absolute": n,
        "relative": 1,
        "table": lanes.TABLE_ROWS,
        "dense": (2 + model.n_dense) * len(model.watched),
        "q": model.n_steady,
        "p": len(model.parameters),
        "u": len(model.inputs) + 1,
        "spare": n * max(1, len(model.events)),
        "out": len(model.observed),
    }
    block = aligned(sum(max(1, count) for count in rows.values()), width)
    space = {"place": np.zeros((3, width), dtype=np.int64)}
    begin = 0
    for name, count in rows.items():
        space[name] = block[begin : begin + max(1, count)]
        begin += max(1, count)
    return space


def thread_count() -> int:
    """Return how many threads simulate: CHIPLOOP_THREADS, or every core."""
    return int(os.environ.get("CHIPLOOP_THREADS") or os.cpu_count() or 1)


@lru_cache(maxsize=4)
def pool(workers: int) -> ThreadPoolExecutor:
    """Return the threads that simulate; the compiled code holds no interpreter lock."""
    return ThreadPoolExecutor(workers, thread_name_prefix="simulate")


if hasattr(os, "register_at_fork"):
    # a forked child has none of its parent's threads, and would wait for them for ever
    os.register_at_fork(after_in_child=pool.cache_clear)

"""The study that every simulator is given: twelve different chips, many parameter sets.

Belongs here: schedule, parameter sets, the model's formulas as text for other languages, readouts from states,
clocks. Not here: the simulators (simulation_peers, simulation_engine).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from chiploop.models.compiler import compile_model
from chiploop.models.inlet import ChipInlet
from chiploop.models.symbolic import SymbolicModel
from chiploop.models.tissue_model import MODELS, TissueModel

MODEL = "skin_chip"
READOUTS = ("TEER", "CCL26", "ldh_release")
DOSES_NM = np.geomspace(3.0, 4000.0, 12)
STIMULUS_NM = (0.5 / 15.0, 1.0 / 12.6)
N_SEGMENTS = int(os.environ.get("CHIPLOOP_BENCH_SEGMENTS", "5"))
"""Medium, a dose under the stimulus, a pause, another dose, wash-out; 4 leaves out the last one."""
EDGES_H = np.array([0.0, 24.0, 72.0, 76.0, 124.0, 148.0])[: N_SEGMENTS + 1]
TIMES_H = np.array([48.0, 72.0, 100.0, 124.0, 148.0])[:N_SEGMENTS]
WINDOWS_H = np.array([np.nan, 48.0, np.nan, 100.0, 124.0])[:N_SEGMENTS]
"""Start of the collection window that ends at each sampling time."""
GRID_H = np.unique(np.concatenate([EDGES_H, TIMES_H]))
"""Where a solver stops that can not be read between its steps."""
STOPS_H = [
    np.array([a, *TIMES_H[(TIMES_H > a) & (TIMES_H < b)], b])
    for a, b in zip(EDGES_H[:-1], EDGES_H[1:], strict=True)
]
"""Per segment: its begin, samples within it, its end."""
LN_SD = 0.4
"""Spread of the parameter sets."""


def chips(count: int = 12) -> list[ChipInlet]:
    """Return chips, each with its own doses and one of three donors; more than twelve get more doses."""
    doses = np.geomspace(DOSES_NM[0], DOSES_NM[-1], count) if count != 12 else DOSES_NM
    found = []
    for i, dose in enumerate(doses):
        drug = (0.0, dose, 0.0, doses[(i + 5) % count], 0.0)[:N_SEGMENTS]
        inputs = [[60.0, nm, *(STIMULUS_NM if k else (0.0, 0.0))] for k, nm in enumerate(drug)]
        constants = {"flg_dose": (1.0, 0.5, 1.0)[i % 3]}
        found.append(ChipInlet(f"C{i + 1:02d}", EDGES_H, np.array(inputs), constants))
    return found


def model_at(rtol: float) -> TissueModel:
    """Return the fitted model with the study's readouts."""
    return TissueModel(MODEL, MODELS[MODEL], rtol, READOUTS)


def with_engine(
    model: TissueModel, *, method: str = "rodas5p", engine: str = "lanes"
) -> TissueModel:
    """Return the same model compiled in another way."""
    integrals = [
        name.removeprefix("integral_")
        for name in model.compiled.observed
        if name.startswith("integral_")
    ]
    other = model_at(model.rtol)
    other.compiled = compile_model(
        model.text,
        model.name,
        model.compiled.inputs,
        model.compiled.observed,
        integrals,
        method=method,
        engine=engine,
    )
    return other


def parameter_sets(model: TissueModel, count: int) -> np.ndarray:
    """Return (count, p) sets around the priors' centers; bounded parameters are clipped to their bounds."""
    center = np.array([spec.center for spec in model.estimated])
    low = np.array([spec.low for spec in model.estimated])
    high = np.array([spec.high for spec in model.estimated])
    spread = np.exp(LN_SD * np.random.default_rng(0).standard_normal((count, center.size)))
    return np.clip(center * spread, low, high)


def simulated(
    model: TissueModel, sets: np.ndarray, inlets: Sequence[ChipInlet], rtol: float
) -> np.ndarray:
    """Return our readouts (n, chips, times, readouts)."""
    model.rtol = rtol
    return model.simulate(sets, inlets, TIMES_H, WINDOWS_H).readouts


def readouts_on_grid(observed: np.ndarray) -> np.ndarray:
    """Return readouts (..., times, 3) of TEER, integral of CCL26 and viability on the grid (..., grid, 3)."""
    windowed = np.isfinite(WINDOWS_H)
    now = observed[..., np.searchsorted(GRID_H, TIMES_H), :]
    since = observed[..., np.searchsorted(GRID_H, np.where(windowed, WINDOWS_H, 0.0)), :]
    found = np.full(now.shape, np.nan)
    found[..., 0] = now[..., 0]
    found[..., 1] = (now[..., 1] - since[..., 1]) / (TIMES_H - WINDOWS_H)
    found[..., 2] = np.where(windowed, since[..., 2] - now[..., 2], np.nan)
    return found


@lru_cache(maxsize=1)
def symbolic() -> SymbolicModel:
    """Return the model text as formulas."""
    from chiploop.models.sbml import read_model

    return read_model(MODELS[MODEL].read_text("utf-8"), MODEL)


def slim_text() -> str:
    """Return the model text without the three proteins that the study does not read."""
    text = MODELS[MODEL].read_text("utf-8")
    text = "\n".join(x for x in text.splitlines() if not re.match(r"\s*(C17|TSLP|IL8)'", x))
    start = "C26 = 0; C17 = 0; TSLP = 0; IL8 = 0;"
    if start not in text:
        raise SystemExit(f"{MODEL}.ant has changed: the states to leave out are not found in it")
    return text.replace(start, "C26 = 0;")


@dataclass(frozen=True)
class Equations:
    """The same formulas for other solvers: those states that the readouts need, and the integral of CCL26."""

    states: tuple[str, ...]
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    """Estimated ones and the donor's; every other constant is put in as a number."""
    rates: tuple[Any, ...]
    jacobian: Mapping[tuple[int, int], Any]
    initials: tuple[Any, ...]
    teer: Any

    def source(
        self, name: str, arguments: str, formulas: Sequence[Any], ending: Sequence[str]
    ) -> str:
        """Return a Python function that calculates formulas into r0, r1, ..., shared parts once."""
        import sympy
        from sympy.printing.pycode import PythonCodePrinter

        printer = PythonCodePrinter({"fully_qualified_modules": False})
        shared, reduced = sympy.cse(list(formulas), symbols=sympy.numbered_symbols("shared_"))
        lines = [f"def {name}({arguments}):"]
        named = {"y": self.states, "u": self.inputs, "k": self.parameters}
        for array, names in named.items():
            if array in arguments.split(", "):
                lines += [f"    {n} = {array}[{i}]" for i, n in enumerate(names)]
        lines += [f"    {s} = {printer.doprint(e)}" for s, e in shared]
        lines += [f"    r{i} = {printer.doprint(e)}" for i, e in enumerate(reduced)]
        return "\n".join([*lines, *(f"    {line}" for line in ending), ""])


@lru_cache(maxsize=1)
def equations() -> Equations:
    """Return the formulas of the study."""
    import sympy

    model, facts = symbolic(), model_at(1e-4)
    parameters = (*facts.estimated_names, facts.constant_names["flg_dose"])
    inputs = facts.compiled.inputs

    def symbol(name: str) -> Any:
        return sympy.Symbol(name, real=True)

    values = {
        symbol(name): value
        for name, value in model.constants.items()
        if name not in parameters and name not in inputs
    }
    needed = model.needed_states(["TEER", "C26", "V"])
    states = (*needed, "integral_C26")
    rates = [model.rates[name].subs(values) for name in needed] + [symbol("C26")]
    jacobian = {}
    for i, rate in enumerate(rates):
        for j, name in enumerate(states):
            entry = sympy.diff(rate, symbol(name))
            if entry != 0:
                jacobian[i, j] = entry
    initials = [sympy.sympify(model.initials[name]).subs(values) for name in needed]
    return Equations(
        states,
        inputs,
        parameters,
        tuple(rates),
        jacobian,
        (*initials, sympy.Float(0.0)),
        model.assignments["TEER"].subs(values),
    )


@dataclass(frozen=True)
class Timing:
    """How long a call took, at its quickest."""

    cpu_s: float
    """Of all threads of this process."""
    wall_s: float


def timed(call: Callable[[], Any], budget_s: float, at_most: int = 50) -> Timing:
    """Return the quickest of as many calls as fit into a budget, at least one."""
    cpu, wall, spent = [], [], 0.0
    while len(cpu) < at_most and (not cpu or spent + wall[-1] <= budget_s):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - begin_cpu)
        spent += wall[-1]
    return Timing(min(cpu), min(wall))

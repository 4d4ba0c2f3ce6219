"""Other simulators on the same study: libRoadRunner, SciPy's LSODA with numba, diffrax.

Belongs here: each one's quickest way through the study that we know, as ``run(rtol, sets) -> readouts``. Not
here: what is measured of them (simulation). Compilation, loading and the first call are never counted; all solve
the 14 states and one integral that the readouts need, in double precision, with an absolute tolerance of a
thousandth of the relative one, as ours does. Peers that are not installed are named as absent.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.simulation_study import (
    EDGES_H,
    GRID_H,
    MODEL,
    STOPS_H,
    equations,
    readouts_on_grid,
    slim_text,
)
from chiploop.models.inlet import ChipInlet
from chiploop.models.sbml_export import InputSchedule, to_sbml

Run = Callable[[float, np.ndarray], np.ndarray]
"""(rtol, parameter sets (n, p)) -> readouts (n, chips, times, readouts)."""
LANES_OF_DIFFRAX = 64


@dataclass(frozen=True)
class Peer:
    """A simulator, ready to run."""

    name: str
    run: Run
    rtols: tuple[float, ...]
    family: str
    """Whose bar it is held to."""


def missing() -> list[str]:
    """Return the peers that are not installed."""
    return [name for name in ("roadrunner", "diffrax") if importlib.util.find_spec(name) is None]


def peers(inlets: Sequence[ChipInlet], only_quick: bool) -> list[Peer]:
    """Return every peer that is installed."""
    fine = (1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7, 1e-7, 1e-8)
    found = []
    if "roadrunner" not in missing():
        doors = {"restarts": roadrunner_restarted(inlets), "events": roadrunner_events(inlets)}
        found += [
            Peer(f"libRoadRunner, {door}", run, fine, "libRoadRunner")
            for door, run in doors.items()
        ]
    lsoda = Lsoda(inlets)
    rtols = (1e-5, 3e-6, 1e-6, 3e-7) if only_quick else fine[1:]
    found.append(Peer("SciPy LSODA, odeint", lsoda.by_odeint, rtols, "SciPy"))
    found.append(Peer("SciPy LSODA, solve_ivp", lsoda.by_solve_ivp, rtols, "SciPy"))
    if "diffrax" not in missing():
        found.append(Peer("diffrax Kvaerno5", diffrax(inlets), (1e-4, 1e-5, 1e-6, 1e-7), "diffrax"))
    return found


# ---- libRoadRunner ---------------------------------------------------------------------------------------


def roadrunner_of(sbml: str) -> Any:
    """Return libRoadRunner with a model; its readings are TEER, the integral of CCL26 and viability."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import roadrunner

        roadrunner.Logger.setLevel(roadrunner.Logger.LOG_ERROR)
        program = roadrunner.RoadRunner(sbml)
    program.timeCourseSelections = ["TEER", "integral_C26", "V"]
    program.integrator.maximum_num_steps = 100_000
    return program


def set_tolerances(program: Any, rtol: float) -> None:
    """Set both tolerances.

    The absolute one as a vector: a single number is multiplied with each small state at every restart, which
    makes CVODE begin with steps that are lost in the rounding of the time.
    """
    program.integrator.relative_tolerance = rtol
    program.integrator.absolute_tolerance = [1e-3 * rtol] * program.model.getNumRateRules()


def roadrunner_restarted(inlets: Sequence[ChipInlet]) -> Run:
    """Return a run in which inputs are set and the solver restarted through the Python API at every switch.

    ``integrate`` instead of ``simulate``: it is the quicker of its doors.
    """
    names = equations().inputs
    forever, nothing = np.array([0.0, 1e6]), np.zeros((1, len(names)))
    schedule = InputSchedule(forever, names, nothing, {}, ("C26",))
    program = roadrunner_of(to_sbml(slim_text(), MODEL, schedule))
    ids = list(program.model.getGlobalParameterIds())
    places = [ids.index(name) for name in equations().parameters]
    inputs = [ids.index(name) for name in names]
    model, integrator = program.model, program.integrator

    def run(rtol: float, sets: np.ndarray) -> np.ndarray:
        set_tolerances(program, rtol)
        rows = np.empty((len(sets), len(inlets), len(GRID_H), 3))
        for i, parameters in enumerate(sets):
            for c, inlet in enumerate(inlets):
                model.setGlobalParameterValues(places, [*parameters, inlet.constants["flg_dose"]])
                program.reset()
                row = rows[i, c]
                row[0] = program.getSelectedValues()
                at = 1
                for values, stops in zip(inlet.inputs, STOPS_H, strict=True):
                    model.setGlobalParameterValues(inputs, values)
                    integrator.restart(stops[0])
                    for begin, end in zip(stops[:-1], stops[1:], strict=True):
                        integrator.integrate(begin, end - begin)
                        row[at] = program.getSelectedValues()
                        at += 1
        return readouts_on_grid(rows)

    return run


def roadrunner_events(inlets: Sequence[ChipInlet]) -> Run:
    """Return a run in which each chip is an SBML of its own with its schedule as events."""
    names = equations().inputs
    programs = []
    for inlet in inlets:
        constants = {equations().parameters[-1]: inlet.constants["flg_dose"]}
        schedule = InputSchedule(EDGES_H, names, inlet.inputs, constants, ("C26",))
        programs.append(roadrunner_of(to_sbml(slim_text(), MODEL, schedule)))
    ids = list(programs[0].model.getGlobalParameterIds())
    # events leave the last segment's inputs behind
    places = [ids.index(name) for name in (*equations().parameters[:-1], *names)]
    times = GRID_H.tolist()

    def run(rtol: float, sets: np.ndarray) -> np.ndarray:
        rows = np.empty((len(sets), len(inlets), len(GRID_H), 3))
        for c, (program, inlet) in enumerate(zip(programs, inlets, strict=True)):
            set_tolerances(program, rtol)
            for i, parameters in enumerate(sets):
                program.model.setGlobalParameterValues(places, [*parameters, *inlet.inputs[0]])
                program.reset()
                rows[i, c] = program.simulate(times=times)
        return readouts_on_grid(rows)

    return run


# ---- SciPy -------------------------------------------------------------------------------------------------


class Lsoda:
    """LSODA with right-hand side and Jacobian compiled by numba; the solver is called once per segment."""

    def __init__(self, inlets: Sequence[ChipInlet]) -> None:
        import numba

        self.inlets, known = inlets, equations()
        n, entries = len(known.states), list(known.jacobian)
        scope: dict[str, Any] = {"empty": np.empty, "zeros": np.zeros, "sqrt": math.sqrt}
        ending = [f"out = empty({n})", *(f"out[{i}] = r{i}" for i in range(n)), "return out"]
        exec(known.source("rates", "t, y, u, k", known.rates, ending), scope)
        filled = [f"out[{i}, {j}] = r{place}" for place, (i, j) in enumerate(entries)]
        ending = [f"out = zeros(({n}, {n}))", *filled, "return out"]
        exec(known.source("slopes", "t, y, u, k", list(known.jacobian.values()), ending), scope)
        ending = [f"out = empty({n})", *(f"out[{i}] = r{i}" for i in range(n)), "return out"]
        exec(known.source("start", "k", known.initials, ending), scope)
        exec(known.source("teer", "y, k", [known.teer], ["return r0"]), scope)
        self.rates, self.slopes = numba.njit(scope["rates"]), numba.njit(scope["slopes"])
        self.start, self.teer = numba.njit(scope["start"]), numba.njit(scope["teer"])

    def run(self, solve: Callable[..., np.ndarray], rtol: float, sets: np.ndarray) -> np.ndarray:
        """Return readouts; ``solve`` returns states (stops, n) of one segment."""
        known = equations()
        integral, viable = known.states.index("integral_C26"), known.states.index("V")
        rows = np.empty((len(sets), len(self.inlets), len(GRID_H), 3))
        for i, parameters in enumerate(sets):
            for c, inlet in enumerate(self.inlets):
                k = np.array([*parameters, inlet.constants["flg_dose"]])
                states = [self.start(k)[None]]
                for u, stops in zip(inlet.inputs, STOPS_H, strict=True):
                    states.append(solve(states[-1][-1], stops, u, k, rtol))
                y = np.concatenate(states)
                rows[i, c, :, 0] = [self.teer(row, k) for row in y]
                rows[i, c, :, 1], rows[i, c, :, 2] = y[:, integral], y[:, viable]
        return readouts_on_grid(rows)

    def by_odeint(self, rtol: float, sets: np.ndarray) -> np.ndarray:
        """Return readouts through SciPy's quickest door to LSODA."""
        from scipy.integrate import odeint

        def solve(y: Any, stops: Any, u: Any, k: Any, rtol: float) -> np.ndarray:
            return odeint(
                self.rates, y, stops, args=(u, k), Dfun=self.slopes, tfirst=True, rtol=rtol,
                atol=1e-3 * rtol, mxstep=100_000,
            )[1:]  # fmt: skip

        return self.run(solve, rtol, sets)

    def by_solve_ivp(self, rtol: float, sets: np.ndarray, method: str = "LSODA") -> np.ndarray:
        """Return readouts through SciPy's usual door."""
        from scipy.integrate import solve_ivp

        def solve(y: Any, stops: Any, u: Any, k: Any, rtol: float) -> np.ndarray:
            found = solve_ivp(
                self.rates, (stops[0], stops[-1]), y, method, stops[1:], args=(u, k),
                jac=self.slopes, rtol=rtol, atol=1e-3 * rtol,
            )  # fmt: skip
            return np.asarray(found.y.T)

        return self.run(solve, rtol, sets)


# ---- diffrax ------------------------------------------------------------------------------------------------


def diffrax(inlets: Sequence[ChipInlet]) -> Run:
    """Return a run of 64 trajectories side by side in Kvaerno5, segment after segment in one scan."""
    import diffrax as dfx
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    known = equations()
    n = len(known.states)
    scope: dict[str, Any] = {"stack": jnp.stack, "asarray": jnp.asarray, "sqrt": jnp.sqrt}
    listed = ", ".join(f"asarray(r{i})" for i in range(n))
    exec(known.source("rates", "t, y, u, k", known.rates, [f"return stack([{listed}])"]), scope)
    numbers = ", ".join(f"asarray(r{i}, dtype=float)" for i in range(n))
    exec(known.source("start", "k", known.initials, [f"return stack([{numbers}])"]), scope)
    exec(known.source("teer", "y, k", [known.teer], ["return r0"]), scope)
    integral, viable = known.states.index("integral_C26"), known.states.index("V")
    term = dfx.ODETerm(lambda t, y, arguments: scope["rates"](t, y, *arguments))
    longest = max(len(stops) for stops in STOPS_H)
    # every segment saves equally often; what is short repeats its end
    padded = np.array([[*stops, *[stops[-1]] * (longest - len(stops))] for stops in STOPS_H])
    kept = np.array([[j < len(stops) for j in range(longest)] for stops in STOPS_H])
    kept[1:, 0] = False

    def trajectory(k: Any, inputs: Any, rtol: Any) -> Any:
        controller = dfx.PIDController(rtol=rtol, atol=1e-3 * rtol)

        def segment(y: Any, given: Any) -> Any:
            u, stops = given
            found = dfx.diffeqsolve(
                term, dfx.Kvaerno5(), stops[0], stops[-1], None, y, (u, k),
                saveat=dfx.SaveAt(ts=stops), stepsize_controller=controller, max_steps=100_000,
            )  # fmt: skip
            return found.ys[-1], found.ys

        _, states = jax.lax.scan(segment, scope["start"](k), (inputs, jnp.asarray(padded)))
        teer = jax.vmap(jax.vmap(lambda y: scope["teer"](y, k)))(states)
        return jnp.stack([teer, states[..., integral], states[..., viable]], axis=-1)

    lanes = jax.jit(jax.vmap(trajectory, in_axes=(0, 0, None)))

    def run(rtol: float, sets: np.ndarray) -> np.ndarray:
        k = np.array([[*p, inlet.constants["flg_dose"]] for p in sets for inlet in inlets])
        inputs = np.array([inlet.inputs for _ in sets for inlet in inlets])
        whole = np.arange(len(k) + -len(k) % LANES_OF_DIFFRAX) % len(k)  # groups are always full
        k, inputs = k[whole], inputs[whole]
        found = [
            np.asarray(lanes(k[i : i + LANES_OF_DIFFRAX], inputs[i : i + LANES_OF_DIFFRAX], rtol))
            for i in range(0, len(k), LANES_OF_DIFFRAX)
        ]
        rows = np.concatenate(found)[: len(sets) * len(inlets)][:, kept]
        return readouts_on_grid(rows.reshape(len(sets), len(inlets), len(GRID_H), 3))

    return run

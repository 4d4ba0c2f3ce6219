"""A tissue model ready to use: parameter sets x chips in, readouts out.

Belongs here: the one door to simulation, and what stands beside the model text. Not here: symbolic work
(compiler), the numerical method (rosenbrock), priors as distributions (inference).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ruamel.yaml import YAML

from chiploop.errors import FileNotValid
from chiploop.models.compiler import CompiledModel, compile_model
from chiploop.models.inlet import INPUTS, ChipInlet

FOLDER = Path(__file__).parent
MODELS: dict[str, Path] = {
    "skin_chip": FOLDER / "skin_chip.ant",
    "virtual_skin_chip": FOLDER / "virtual_skin_chip.ant",
}
MAX_STEPS = 20_000


@dataclass(frozen=True)
class ReadoutSpec:
    """How one readout is taken from the model."""

    name: str
    kind: Literal["moment", "window_mean", "window_loss"]
    """Value at a moment; mean over a collection window; fall over a window."""
    unit: str
    scale: Literal["log", "linear"]


@dataclass(frozen=True)
class PriorSpec:
    """Prior of one estimated parameter, as the file beside the model gives it."""

    name: str
    kind: Literal["lognormal", "truncated_normal"]
    unit: str
    center: float
    """Median of a lognormal, mean of the untruncated normal."""
    spread: float
    """sd of ln(value), or sd of the untruncated normal."""
    low: float = 0.0
    high: float = np.inf


@dataclass(frozen=True)
class Simulation:
    """Readouts of every parameter set and chip."""

    readouts: np.ndarray
    """(n, chips, times, readouts) in the model's readout order; NaN for a window readout at a moment
    without a window, and for a trajectory that failed."""
    states: np.ndarray
    """(n, chips, states) at the last segment's end; NaN for a trajectory that failed."""
    viability: np.ndarray
    """(n, chips, times) viable fraction."""
    failed: int
    """Trajectories that met the step limit or a value that is not a number."""
    steps: int


class TissueModel:
    """A compiled model text with its readouts and estimated parameters."""

    def __init__(self, name: str, path: Path, rtol: float = 1e-4) -> None:
        facts_path = path.with_suffix(".yaml")
        for needed in (path, facts_path):
            if not needed.is_file():
                raise FileNotValid(
                    f"model {name}: there is no file {needed.name} beside {path.parent.name}/"
                )
        facts: dict[str, Any] = YAML(typ="safe").load(facts_path.read_text(encoding="utf-8"))
        self.name = name
        self.rtol = rtol
        self.text = path.read_text(encoding="utf-8")
        self.readouts = tuple(
            ReadoutSpec(key, spec["kind"], spec["unit"], spec["scale"])
            for key, spec in facts["readouts"].items()
        )
        self.estimated = tuple(prior_spec(key, spec) for key, spec in facts["estimated"].items())
        quantities = [
            f"integral_{spec['symbol']}" if spec["kind"] == "window_mean" else spec["symbol"]
            for spec in facts["readouts"].values()
        ]
        integrals = [q.removeprefix("integral_") for q in quantities if q.startswith("integral_")]
        self.compiled: CompiledModel = compile_model(
            self.text,
            name,
            [facts["inputs"][key] for key in INPUTS],
            [*quantities, facts["viability"]],
            integrals,
        )
        self.constant_names: dict[str, str] = {**facts["donor"], **facts["chip"]}
        known = set(self.compiled.parameters)
        unknown = [p.name for p in self.estimated if p.name not in known]
        unknown += [s for s in self.constant_names.values() if s not in known]
        if unknown:
            raise FileNotValid(
                f"model {name}: {facts_path.name} names {', '.join(unknown)}, "
                f"which {path.name} does not define"
            )
        self.index = {p: i for i, p in enumerate(self.compiled.parameters)}
        self.estimated_names = tuple(p.name for p in self.estimated)
        self.n_states = len(self.compiled.states)
        self.sha256 = hashlib.sha256(
            (self.text + facts_path.read_text("utf-8")).encode()
        ).hexdigest()

    def simulate(
        self,
        parameters: np.ndarray,
        inlets: Sequence[ChipInlet],
        times_h: np.ndarray,
        window_starts_h: np.ndarray | None = None,
        *,
        states: np.ndarray | None = None,
        chip_factors: dict[str, np.ndarray] | None = None,
    ) -> Simulation:
        """Simulate every parameter set on every chip.

        Parameters
        ----------
        parameters : (n, p)
            Estimated parameters in the order of ``estimated_names``; every other one keeps its default.
        inlets
            One per chip, all from the same start to the same end.
        times_h : (t,)
            Sampling times, ascending, within the inlets' span.
        window_starts_h : (t,)
            Start of the collection window that ends at each time; NaN where there is none.
        states : (n, chips, states)
            Where to begin; None for the model's own start.
        chip_factors
            Parameter name -> (chips,) factor on that parameter, for virtual chips.

        Raises
        ------
        ValueError
            Where shapes do not fit or a time lies outside the inlets.
        """
        parameters = np.atleast_2d(np.asarray(parameters, dtype=float))
        times_h = np.asarray(times_h, dtype=float)
        starts = np.full(times_h.shape, np.nan) if window_starts_h is None else window_starts_h
        if parameters.shape[1] != len(self.estimated):
            raise ValueError(
                f"{parameters.shape[1]} parameters given, {len(self.estimated)} expected"
            )
        # + 0.0: one zero, so that -0.0 and 0.0 are one grid point
        grid = np.unique(np.concatenate([times_h, starts[np.isfinite(starts)]]) + 0.0)
        for inlet in inlets:
            if grid.size and (
                grid[0] < inlet.edges_h[0] - 1e-9 or grid[-1] > inlet.edges_h[-1] + 1e-9
            ):
                raise ValueError(
                    f"sampling from {grid[0]} to {grid[-1]} h lies outside {inlet.chip_id}'s perfusion, "
                    f"{inlet.edges_h[0]} to {inlet.edges_h[-1]} h"
                )
        # the tolerance above is for rounded times; the solver takes only those within every inlet
        within = np.clip(
            grid,
            max(inlet.edges_h[0] for inlet in inlets),
            min(inlet.edges_h[-1] for inlet in inlets),
        )
        distinct, member = self.distinct_chips(inlets, states, chip_factors)
        observed, end_states, steps = self.run(
            parameters,
            [inlets[c] for c in distinct],
            within,
            None if states is None else states[:, distinct],
            {k: v[distinct] for k, v in (chip_factors or {}).items()},
        )
        observed, end_states, steps = observed[:, member], end_states[:, member], steps[:, member]
        end_states[steps <= 0] = np.nan
        at = np.searchsorted(grid, times_h)
        windowed = np.isfinite(starts)
        since = np.where(windowed, np.searchsorted(grid, np.where(windowed, starts, grid[:1])), at)
        n, c = observed.shape[:2]
        readouts = np.full((n, c, times_h.size, len(self.readouts)), np.nan)
        for r, spec in enumerate(self.readouts):
            if spec.kind == "moment":
                readouts[..., r] = observed[:, :, at, r]
                continue
            change = observed[:, :, at, r] - observed[:, :, since, r]
            span = np.where(windowed, times_h - np.where(windowed, starts, 0.0), np.nan)
            readouts[..., r] = change / span if spec.kind == "window_mean" else -change
            readouts[:, :, ~windowed, r] = np.nan
        return Simulation(
            readouts=readouts,
            states=end_states,
            viability=observed[:, :, at, len(self.readouts)],
            failed=int((steps <= 0).sum()),
            steps=int(np.abs(steps).sum()),
        )

    def distinct_chips(
        self,
        inlets: Sequence[ChipInlet],
        states: np.ndarray | None,
        chip_factors: dict[str, np.ndarray] | None,
    ) -> tuple[list[int], np.ndarray]:
        """Return one chip of each kind, and for every chip which kind it is: equal chips run once."""
        kinds: dict[bytes, int] = {}
        distinct: list[int] = []
        member = np.empty(len(inlets), dtype=int)
        for c, inlet in enumerate(inlets):
            key = inlet.edges_h.tobytes() + inlet.inputs.tobytes()
            key += repr(sorted(inlet.constants.items())).encode()
            key += b"" if states is None else np.ascontiguousarray(states[:, c]).tobytes()
            key += b"".join(np.float64(f[c]).tobytes() for f in (chip_factors or {}).values())
            if key not in kinds:
                kinds[key] = len(distinct)
                distinct.append(c)
            member[c] = kinds[key]
        return distinct, member

    def run(
        self,
        parameters: np.ndarray,
        inlets: Sequence[ChipInlet],
        grid: np.ndarray,
        states: np.ndarray | None,
        chip_factors: dict[str, np.ndarray],
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Run the compiled batch: observed (n, c, g, q), end states (n, c, s), steps (n, c)."""
        n, c = len(parameters), len(inlets)
        full = np.empty((n, c, len(self.index)))
        full[:] = [self.compiled.defaults[p] for p in self.compiled.parameters]
        for j, name in enumerate(self.estimated_names):
            full[:, :, self.index[name]] = parameters[:, j, None]
        for i, inlet in enumerate(inlets):
            for key, value in inlet.constants.items():
                full[:, i, self.index[self.constant_names[key]]] = value
        for name, factors in chip_factors.items():
            full[:, :, self.index[name]] *= factors
        y = np.empty((n, c, self.n_states))
        if states is None:
            for i in range(n):
                for k in range(c):
                    self.compiled.initial(full[i, k], y[i, k])
        else:
            y[:] = states
        longest = max(len(inlet.inputs) for inlet in inlets)
        edges = np.zeros((c, longest + 1))
        inputs = np.zeros((c, longest, len(INPUTS)))
        segments = np.array([len(inlet.inputs) for inlet in inlets], dtype=np.int64)
        for k, inlet in enumerate(inlets):
            edges[k, : segments[k] + 1] = inlet.edges_h
            inputs[k, : segments[k]] = inlet.inputs
        observed = np.empty((n, c, grid.size, len(self.compiled.observed)))
        steps = np.zeros((n, c), dtype=np.int64)
        absolute = np.full(self.n_states, self.rtol * 1e-3)

        def part(a: int, b: int) -> None:
            scratch = np.empty((grid.size, self.n_states))
            self.compiled.batch(
                full[a:b],
                y[a:b],
                edges,
                inputs,
                segments,
                grid,
                self.rtol,
                absolute,
                MAX_STEPS,
                scratch,
                observed[a:b],
                steps[a:b],
            )

        workers = min(thread_count(), max(1, n // 4))
        bounds = np.linspace(0, n, workers + 1).astype(int)
        list(pool().map(part, bounds[:-1], bounds[1:])) if workers > 1 else part(0, n)
        return observed, y, steps


def thread_count() -> int:
    """Return how many threads simulate: CHIPLOOP_THREADS, or every core."""
    return int(os.environ.get("CHIPLOOP_THREADS") or os.cpu_count() or 1)


@lru_cache(maxsize=1)
def pool() -> ThreadPoolExecutor:
    """Return the threads that simulate; the compiled code holds no interpreter lock."""
    return ThreadPoolExecutor(thread_count(), thread_name_prefix="simulate")


def prior_spec(name: str, spec: dict[str, Any]) -> PriorSpec:
    """Return the prior of one parameter from its entry beside the model."""
    if spec["kind"] == "lognormal":
        return PriorSpec(
            name, "lognormal", spec["unit"], float(spec["median"]), float(spec["ln_sd"])
        )
    if spec["kind"] == "truncated_normal":
        return PriorSpec(
            name,
            "truncated_normal",
            spec["unit"],
            float(spec["mean"]),
            float(spec["sd"]),
            float(spec["low"]),
            float(spec["high"]),
        )
    raise FileNotValid(f"prior of {name}: {spec['kind']} is not one of lognormal, truncated_normal")


@lru_cache(maxsize=8)
def load_model(name: str) -> TissueModel:
    """Return a model by name (``MODELS``) or by the path of its Antimony file; FileNotValid otherwise."""
    path = MODELS.get(name, Path(name))
    if path.suffix != ".ant":
        raise FileNotValid(f"model {name!r} is not one of {', '.join(MODELS)} and not an .ant file")
    return TissueModel(path.stem, path)

"""A tissue model ready to use: parameter sets x chips in, readouts out.

Belongs here: the one door to simulation, and what stands beside the model text. Not here: symbolic work
(compiler), the numerical method (rosenbrock), priors as distributions (inference).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.models.batch import MAX_STEPS, CompiledModel, Schedule
from chiploop.models.compiler import compile_model
from chiploop.models.facts import (
    MODELS,
    PriorSpec,
    ReadoutSpec,
    facts_path,
    model_facts,
    model_path,
)
from chiploop.models.inlet import ChipInlet

__all__ = [
    "MODELS",
    "PriorSpec",
    "ReadoutSpec",
    "Simulation",
    "TissueModel",
    "load_model",
]


NUDGE = 3e-7
"""Relative step of a sensitivity: a longer one errs by curvature, a shorter one by rounding."""


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
    trouble: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    """(n, chips) 0, or what stopped the trajectory: ``lanes.STEP_LIMIT``, ``lanes.STEP_TOO_SMALL``,
    ``batch.NOT_FINITE``."""


class TissueModel:
    """A compiled model text with its readouts and estimated parameters."""

    def __init__(
        self,
        name: str,
        path: Path,
        rtol: float = 1e-4,
        readouts: Collection[str] | None = None,
    ) -> None:
        """``readouts`` are the ones that are asked for; None for all that stand beside the text."""
        self.facts = model_facts(path)
        self.name = name
        self.rtol = rtol
        self.text = path.read_text(encoding="utf-8")
        self.sha256 = self.facts.sha256
        strange = sorted(set(readouts or ()) - set(self.facts.readouts))
        if strange:
            raise FileNotValid(
                f"model {name} has no readout {', '.join(strange)}; it has: "
                + ", ".join(self.facts.readouts)
            )
        used = {
            key: spec
            for key, spec in self.facts.readouts.items()
            if readouts is None or key in readouts
        }
        self.readouts = tuple(
            ReadoutSpec(key, spec.kind, spec.unit, spec.scale) for key, spec in used.items()
        )
        self.estimated = self.facts.estimated_for(used)
        self.donor_spreads = self.facts.donor_spreads_for(used)
        quantities = [
            f"integral_{spec.symbol}" if spec.kind == "window_mean" else spec.symbol
            for spec in used.values()
        ]
        integrals = [q.removeprefix("integral_") for q in quantities if q.startswith("integral_")]
        self.compiled: CompiledModel = compile_model(
            self.text,
            name,
            self.facts.input_symbols,
            [*quantities, self.facts.viability],
            integrals,
        )
        self.constant_names = self.facts.constants
        known = set(self.compiled.parameters)
        unknown = [p.name for p in self.estimated if p.name not in known]
        unknown += [s for s in self.constant_names.values() if s not in known]
        if unknown:
            raise FileNotValid(
                f"model {name}: {facts_path(path).name} names {', '.join(unknown)}, "
                f"which {path.name} does not define as a constant"
            )
        self.estimated_names = tuple(p.name for p in self.estimated)
        self.n_states = len(self.compiled.states)

    def simulate(
        self,
        parameters: np.ndarray,
        inlets: Sequence[ChipInlet],
        times_h: np.ndarray,
        window_starts_h: np.ndarray | None = None,
        *,
        states: np.ndarray | None = None,
        chip_factors: dict[str, np.ndarray] | None = None,
        drug_factors: np.ndarray | None = None,
    ) -> Simulation:
        """Simulate every parameter set on every chip.

        Parameters
        ----------
        parameters : (n, p), or (n, chips, p) where each chip has its own
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
        drug_factors : (n, chips)
            Factor of each parameter set on the drug that each chip is given; None for 1.

        Raises
        ------
        ValueError
            Where shapes do not fit or a time lies outside the inlets.
        """
        parameters, times_h, starts, grid, within = self.checked(
            parameters, inlets, times_h, window_starts_h
        )
        distinct, member = self.distinct_chips(
            inlets, states, chip_factors, parameters, drug_factors
        )
        factors = chip_factors or {}
        schedules = [
            self.schedule(inlets[c], {name: float(f[c]) for name, f in factors.items()})
            for c in distinct
        ]
        result = self.compiled.run(
            self.rows(parameters if parameters.ndim == 2 else parameters[:, distinct]),
            schedules,
            within,
            rtol=self.rtol,
            states=None if states is None else states[:, distinct],
            input_factors=None if drug_factors is None else self.factors(drug_factors[:, distinct]),
            max_steps=MAX_STEPS,
        )
        observed, trouble = result.observed[:, member], result.trouble[:, member]
        readouts, at = self.readings(observed, grid, times_h, starts)
        return Simulation(
            readouts=readouts,
            states=result.states[:, member],
            viability=observed[:, :, at, len(self.readouts)],
            failed=int((trouble > 0).sum()),
            steps=int(result.steps[:, member].sum()),
            trouble=trouble,
        )

    def sensitivities(
        self,
        parameters: np.ndarray,
        inlets: Sequence[ChipInlet],
        times_h: np.ndarray,
        window_starts_h: np.ndarray | None = None,
        *,
        drug_factors: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return readouts (n, chips, times, readouts) and their derivatives (..., p) by the parameters.

        With ``drug_factors`` (n, chips) the derivatives are (..., p + 1), the last by the chip's factor.
        Each parameter set runs in groups of lanes that share one sequence of steps: the set itself, and it
        with one parameter moved by ``NUDGE`` of its size. As the steps do not move, the differences are
        derivatives of the numerical solution itself (internal differentiation, Bock 1981). Their error is that of
        the simulation, and some 1e-6 of a readout's range from the finite step. Arguments and errors as of
        ``simulate``; NaN for a trajectory that failed.
        """
        parameters, times_h, starts, grid, within = self.checked(
            parameters, inlets, times_h, window_starts_h
        )
        n, p = parameters.shape[0], parameters.shape[-1]
        width = self.compiled.width
        if width == 1:
            raise ValueError("sensitivities need lanes side by side; the scalar engine has one")
        distinct, member = self.distinct_chips(inlets, None, None, parameters, drug_factors)
        own = parameters[:, None] if parameters.ndim == 2 else parameters[:, distinct]
        if drug_factors is not None:
            own = np.broadcast_to(own, (n, len(distinct), p))
            own = np.concatenate([own, drug_factors[:, distinct, None]], axis=2)
        q = own.shape[2]
        groups = -(-q // (width - 1))
        nudges = np.where(own == 0.0, 1.0, np.abs(own)) * NUDGE
        with np.errstate(invalid="ignore"):  # an infinite parameter fails as a trajectory
            nudges = (own + nudges) - own  # differences as they are stored
        moved = np.repeat(own[:, None], groups * width, axis=1)  # (n, lanes, chips or 1, q)
        lanes_of = [j // (width - 1) * width + 1 + j % (width - 1) for j in range(q)]
        for j, lane in enumerate(lanes_of):
            moved[:, lane, :, j] += nudges[..., j]
        moved = moved.reshape(n * groups * width, -1, q)
        result = self.compiled.run(
            self.rows(moved[:, 0] if moved.shape[1] == 1 and q == p else moved[..., :p]),
            [self.schedule(inlets[c], {}) for c in distinct],
            within,
            rtol=self.rtol,
            input_factors=None if drug_factors is None else self.factors(moved[..., p]),
            max_steps=MAX_STEPS,
            is_steered=True,
        )
        all_readouts, _ = self.readings(result.observed[:, member], grid, times_h, starts)
        all_readouts = all_readouts.reshape(n, groups * width, *all_readouts.shape[1:])
        readouts = all_readouts[:, 0]
        by_chip = nudges[:, np.minimum(member, nudges.shape[1] - 1)]  # (n, chips, q)
        slopes = all_readouts[:, lanes_of] - readouts[:, None]
        slopes /= np.moveaxis(by_chip, 2, 1)[..., None, None]
        return readouts, np.moveaxis(slopes, 1, -1)

    def checked(
        self,
        parameters: np.ndarray,
        inlets: Sequence[ChipInlet],
        times_h: np.ndarray,
        window_starts_h: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return parameters, times, window starts, the sampling grid, and it within every inlet."""
        parameters = np.atleast_2d(np.asarray(parameters, dtype=float))
        times_h = np.asarray(times_h, dtype=float)
        starts = np.full(times_h.shape, np.nan) if window_starts_h is None else window_starts_h
        if parameters.shape[-1] != len(self.estimated):
            raise ValueError(
                f"{parameters.shape[-1]} parameters given, {len(self.estimated)} expected"
            )
        if parameters.ndim == 3 and parameters.shape[1] != len(inlets):
            raise ValueError(
                f"parameters of {parameters.shape[1]} chips given, {len(inlets)} expected"
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
        # the tolerance above is for rounded times
        return parameters, times_h, starts, grid, within_inlets(grid, inlets)

    def rows(self, parameters: np.ndarray) -> np.ndarray:
        """Return (..., all parameters) for estimated ones (..., p)."""
        flat = parameters.reshape(-1, parameters.shape[-1])
        values = {name: flat[:, j] for j, name in enumerate(self.estimated_names)}
        rows = self.compiled.parameter_rows(len(flat), values)
        return rows.reshape(*parameters.shape[:-1], rows.shape[1])

    def factors(self, drug_factors: np.ndarray) -> np.ndarray:
        """Return factors (n, chips, inputs) of all inputs for the drug's (n, chips).

        Raises ValueError for a model without a drug.
        """
        if self.facts.inputs.drug_nm is None:
            raise ValueError(f"model {self.name} knows no drug, so its amount has no error")
        result = np.ones((*drug_factors.shape, len(self.compiled.inputs)))
        result[..., self.compiled.inputs.index(self.facts.inputs.drug_nm)] = drug_factors
        return result

    def schedule(self, inlet: ChipInlet, factors: Mapping[str, float]) -> Schedule:
        """Return what the compiled model takes for one chip."""
        constants = {self.constant_names[key]: v for key, v in inlet.constants.items()}
        return Schedule(inlet.edges_h, inlet.inputs, constants, factors)

    def readings(
        self, observed: np.ndarray, grid: np.ndarray, times_h: np.ndarray, starts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return readouts (n, c, t, readouts) from what was observed on the grid, and each time's place on it."""
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
        return readouts, at

    def distinct_chips(
        self,
        inlets: Sequence[ChipInlet],
        states: np.ndarray | None,
        chip_factors: dict[str, np.ndarray] | None,
        parameters: np.ndarray | None = None,
        drug_factors: np.ndarray | None = None,
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
            if parameters is not None and parameters.ndim == 3:
                key += parameters[:, c].tobytes()
            key += b"" if drug_factors is None else drug_factors[:, c].tobytes()
            if key not in kinds:
                kinds[key] = len(distinct)
                distinct.append(c)
            member[c] = kinds[key]
        return distinct, member


def within_inlets(grid_h: np.ndarray, inlets: Sequence[ChipInlet]) -> np.ndarray:
    """Return sampling times (g,) moved into the span of every inlet: the solver takes no others.

    Ends of inlets are sums of what pumps delivered, so they may lie a rounding before a sampling time.
    """
    begin = max(inlet.edges_h[0] for inlet in inlets)
    end = min(inlet.edges_h[-1] for inlet in inlets)
    return np.clip(grid_h, begin, end)


def load_model(name: str, readouts: tuple[str, ...] | None = None) -> TissueModel:
    """Return a model by name (``MODELS``) or by the path of its text, with these readouts (None: all).

    Raises FileNotValid where there is none or its files can not be used.
    """
    path = model_path(name)
    stamps = tuple(
        (file.stat().st_mtime_ns, file.stat().st_size) if file.is_file() else None
        for file in (path, facts_path(path))
    )
    return loaded(path, stamps, readouts)


@lru_cache(maxsize=8)
def loaded(
    path: Path, stamps: tuple[tuple[int, int] | None, ...], readouts: tuple[str, ...] | None
) -> TissueModel:
    """Return a model; ``stamps`` tell a file that was edited meanwhile from the one that is loaded."""
    return TissueModel(path.stem, path, readouts=readouts)

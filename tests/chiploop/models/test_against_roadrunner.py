"""The compiled chip models against libRoadRunner (CVODE) on random parameters and schedules, through SBML.

Belongs here: whole trajectories of both chip models in two programs that share nothing but the SBML that we
export. Not here: what a feature of SBML means (test_sbml), formulas of the export (test_sbml_export).

libRoadRunner is restarted at every switch; that its events give the same is a test of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from chiploop.models.inlet import ChipInlet
from chiploop.models.sbml_export import InputSchedule, to_sbml
from chiploop.models.tissue_model import MODELS, TissueModel
from tests.chiploop.models.sbml_reference import roadrunner_of

pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute")

ALLOWED = 1e-6
"""Largest difference, of the value and a thousandth of the readout's range over all trajectories: stricter
than of the range alone, which the steepest trajectory sets."""
OUR_RTOL = 1e-9
THEIR_RTOL = 1e-10
CHIPS = 20
"""Chips of one batch: each with parameters and a schedule of its own, all sampled at the same times."""
BATCHES = {
    "switched every hour": 4,
    "days with a pause without flow": 3,
    "one dose after another": 3,
}
"""Kind of schedule -> batches of it: 200 trajectories."""
HOURS = {
    "switched every hour": 12.0,
    "days with a pause without flow": 96.0,
    "one dose after another": 150.0,
}


@dataclass(frozen=True)
class Batch:
    """Chips that are simulated together."""

    parameters: np.ndarray
    """(chips, p)"""
    inlets: list[ChipInlet]
    times_h: np.ndarray
    window_starts_h: np.ndarray


class Reference:
    """libRoadRunner with the SBML of one model, all of its readouts integrated or at hand."""

    def __init__(self, model: TissueModel) -> None:
        self.model = model
        facts = model.facts
        specs = list(facts.readouts.values())
        self.kinds = [spec.kind for spec in specs]
        self.integrals = tuple(s.symbol for s in specs if s.kind == "window_mean")
        self.read = [f"integral_{s.symbol}" if s.kind == "window_mean" else s.symbol for s in specs]
        self.inputs = facts.input_symbols
        forever = np.array([0.0, 1e6])
        nothing = np.zeros((1, len(self.inputs)))
        self.program = self.of(InputSchedule(forever, self.inputs, nothing, {}, self.integrals))

    def of(self, schedule: InputSchedule) -> Any:
        """Return libRoadRunner with the model and a schedule."""
        program = roadrunner_of(to_sbml(self.model.text, self.model.name, schedule))
        program.integrator.relative_tolerance = THEIR_RTOL
        # a single number would be multiplied by each state where that is small, at every restart: CVODE then
        # begins with steps that are lost in the rounding of the time
        n_states = program.model.getNumRateRules()
        program.integrator.absolute_tolerance = [1e-3 * THEIR_RTOL] * n_states
        program.integrator.maximum_num_steps = 100_000
        program.timeCourseSelections = self.read
        return program

    def start(self, program: Any, values: dict[str, float]) -> None:
        """Give constants other values, and every state the start that hangs on them."""
        program.resetToOrigin()
        ids = list(program.model.getGlobalParameterIds())
        places = [ids.index(name) for name in values]
        program.model.setGlobalParameterValues(places, list(values.values()))
        program.reset()

    def constants(self, parameters: np.ndarray, inlet: ChipInlet) -> dict[str, float]:
        """Return every constant that differs from the text, by its name there."""
        own = {self.model.constant_names[key]: v for key, v in inlet.constants.items()}
        return {**dict(zip(self.model.estimated_names, parameters.tolist(), strict=True)), **own}

    def restarted(self, parameters: np.ndarray, inlet: ChipInlet, grid: np.ndarray) -> np.ndarray:
        """Return what is read on the grid (g, read); the solver begins anew at every switch."""
        program = self.program
        self.start(program, self.constants(parameters, inlet))
        ids = list(program.model.getGlobalParameterIds())
        places = [ids.index(name) for name in self.inputs]
        rows = {0.0: np.array(program.getSelectedValues())}
        for begin, end, inputs in zip(
            inlet.edges_h[:-1], inlet.edges_h[1:], inlet.inputs, strict=True
        ):
            program.model.setGlobalParameterValues(places, inputs.tolist())
            program.integrator.restart(begin)
            here = begin
            for stop in [*grid[(grid > begin) & (grid < end)], end]:
                program.integrator.integrate(here, stop - here)
                rows[float(stop)] = np.array(program.getSelectedValues())
                here = stop
        return np.array([rows[float(t)] for t in grid])

    def with_events(self, parameters: np.ndarray, inlet: ChipInlet, grid: np.ndarray) -> np.ndarray:
        """Return the same from SBML that holds the schedule as events and the constants as values."""
        constants = self.constants(parameters, inlet)
        program = self.of(
            InputSchedule(inlet.edges_h, self.inputs, inlet.inputs, constants, self.integrals)
        )
        times = np.unique([0.0, *grid])
        found = np.array(program.simulate(times=times.tolist()))
        return found[np.searchsorted(times, grid)]

    def readouts(self, batch: Batch, chips: Sequence[int], is_restarted: bool = True) -> np.ndarray:
        """Return readouts (chips, times, readouts) as TissueModel gives them."""
        times, starts = batch.times_h, batch.window_starts_h
        windowed = np.isfinite(starts)
        grid = np.unique([*times, *starts[windowed]])
        solve = self.restarted if is_restarted else self.with_events
        read = np.array([solve(batch.parameters[c], batch.inlets[c], grid) for c in chips])
        now = read[:, np.searchsorted(grid, times)]
        before = read[:, np.searchsorted(grid, np.where(windowed, starts, grid[0]))]
        span = np.where(windowed, times - starts, np.nan)
        change = now - before
        columns = {
            "moment": now,
            "window_mean": change / span[:, None],
            "window_loss": np.where(windowed[:, None], -change, np.nan),
        }
        return np.stack([columns[kind][..., r] for r, kind in enumerate(self.kinds)], axis=-1)


def ours(model: TissueModel, batch: Batch) -> np.ndarray:
    """Return readouts (chips, times, readouts): every chip has its parameters as factors on the center."""
    center = np.array([spec.center for spec in model.estimated])
    factors = dict(zip(model.estimated_names, (batch.parameters / center).T, strict=True))
    found = model.simulate(
        center, batch.inlets, batch.times_h, batch.window_starts_h, chip_factors=factors
    )
    assert found.failed == 0
    return found.readouts[0]


def random_parameters(model: TissueModel, rng: np.random.Generator) -> np.ndarray:
    """Return parameters (chips, p) spread as their priors are."""
    found = np.empty((CHIPS, len(model.estimated)))
    for j, spec in enumerate(model.estimated):
        draws = rng.standard_normal(CHIPS)
        if spec.kind == "lognormal":
            found[:, j] = spec.center * np.exp(spec.spread * draws)
        else:
            found[:, j] = np.clip(spec.center + spec.spread * draws, spec.low, spec.high)
    return found


def random_edges(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Return when the inputs of a chip switch."""
    if kind == "switched every hour":
        return np.arange(HOURS[kind] + 1.0)
    inside = rng.uniform(1.0, HOURS[kind] - 1.0, rng.integers(2, 5))
    return np.array([0.0, *np.sort(inside), HOURS[kind]])


def random_inlet(kind: str, n_stimuli: int, rng: np.random.Generator) -> ChipInlet:
    """Return a chip: flow, doses between none and harsh ones, stimuli on and off."""
    edges = random_edges(kind, rng)
    k = len(edges) - 1
    flow = rng.choice([20.0, 60.0, 120.0], k)
    if kind == "days with a pause without flow":
        flow[rng.integers(k)] = 0.0
    drug = np.where(rng.random(k) < 0.3, 0.0, 10.0 ** rng.uniform(0.0, 4.3, k))
    stimuli = 10.0 ** rng.uniform(-2.0, 0.5, (k, n_stimuli)) * (rng.random((k, n_stimuli)) < 0.8)
    constants = {"flg_dose": float(rng.choice([0.1, 0.5, 1.0]))}
    return ChipInlet("chip", edges, np.column_stack([flow, drug, stimuli]), constants)


def random_batch(model: TissueModel, kind: str, seed: int) -> Batch:
    """Return chips with samples within segments, at switches and at the end, with windows and without."""
    rng = np.random.default_rng(seed)
    hours = HOURS[kind]
    inlets = [random_inlet(kind, len(model.facts.stimuli), rng) for _ in range(CHIPS)]
    times = np.sort([*rng.uniform(0.1, 1.0, 6) * hours, inlets[0].edges_h[1], hours])
    starts = times * rng.uniform(0.0, 0.95, len(times))
    starts[::3] = np.nan
    return Batch(random_parameters(model, rng), inlets, times, starts)


def differences(found: np.ndarray, wanted: np.ndarray, span: np.ndarray) -> np.ndarray:
    """Return the largest difference of every readout, as ``ALLOWED`` counts it."""
    size = np.abs(wanted) + 1e-3 * span
    return np.asarray(np.nanmax(np.abs(found - wanted) / size, axis=(0, 1)))


@pytest.fixture(scope="module", params=["skin_chip", "psoriasis_chip"])
def model(request: pytest.FixtureRequest) -> TissueModel:
    """A chip model with all of its readouts and a tight tolerance."""
    return TissueModel(request.param, MODELS[request.param], OUR_RTOL)


@pytest.fixture(scope="module")
def reference(model: TissueModel) -> Reference:
    """The same model in libRoadRunner."""
    return Reference(model)


@pytest.fixture(scope="module")
def batches(model: TissueModel) -> list[Batch]:
    """Every kind of schedule; seeds are fixed."""
    kinds = [kind for kind, count in BATCHES.items() for _ in range(count)]
    return [random_batch(model, kind, seed) for seed, kind in enumerate(kinds)]


@pytest.fixture(scope="module")
def expected(reference: Reference, batches: list[Batch]) -> list[np.ndarray]:
    """What libRoadRunner reads of every batch, (chips, times, readouts) each."""
    return [reference.readouts(batch, range(CHIPS)) for batch in batches]


@pytest.fixture(scope="module")
def span(expected: list[np.ndarray]) -> np.ndarray:
    """Range of every readout over all trajectories."""
    every = np.concatenate([part.reshape(-1, part.shape[-1]) for part in expected])
    return np.asarray(np.nanmax(every, axis=0) - np.nanmin(every, axis=0))


def test_random_parameters_and_schedules_give_the_readouts_of_libroadrunner(
    model: TissueModel, batches: list[Batch], expected: list[np.ndarray], span: np.ndarray
) -> None:
    assert sum(len(batch.inlets) for batch in batches) == 200
    for batch, wanted in zip(batches, expected, strict=True):
        found = ours(model, batch)
        assert np.isfinite(wanted[..., 0]).all()
        assert np.array_equal(np.isnan(wanted), np.isnan(found))
        difference = differences(found, wanted, span)
        assert (difference <= ALLOWED).all(), difference.tolist()


def test_the_schedule_as_events_of_the_exported_sbml_gives_the_same(
    model: TissueModel, reference: Reference, batches: list[Batch], span: np.ndarray
) -> None:
    chips = range(2)
    for batch in (batches[0], batches[4], batches[-1]):
        wanted = reference.readouts(batch, chips, is_restarted=False)
        assert (differences(ours(model, batch)[chips], wanted, span) <= ALLOWED).all()


@pytest.mark.parametrize("wrong", ["IC50", "h", "kB", "ktox"])
def test_a_parameter_that_is_a_thousandth_off_is_told_apart_by_the_same_comparison(
    model: TissueModel,
    batches: list[Batch],
    expected: list[np.ndarray],
    span: np.ndarray,
    wrong: str,
) -> None:
    batch, wanted = batches[-1], expected[-1]
    parameters = batch.parameters.copy()
    parameters[:, model.estimated_names.index(wrong)] *= 1.001
    found = ours(model, replace(batch, parameters=parameters))
    assert differences(found, wanted, span).max() > 10.0 * ALLOWED

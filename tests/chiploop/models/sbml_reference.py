"""Two plain references for formulas of a model text: libRoadRunner, and an integration with scipy.

Belongs here: the same question put to both. Not here: what is asked (test_sbml, test_sbml_export).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy
from scipy.integrate import solve_ivp

from chiploop.models.symbolic import TIME, SymbolicModel


def sym(name: str) -> Any:
    return sympy.Symbol(name, real=True)


def calculator(model: SymbolicModel, formulas: Mapping[str, Any]) -> Any:
    """Return f(time, states, constants) -> (n_formulas,)."""
    arguments = [sym(TIME), [sym(s) for s in model.rates], [sym(c) for c in model.constants]]
    return sympy.lambdify(arguments, list(formulas.values()), modules=["scipy", "numpy"])


def simulate(
    model: SymbolicModel, times: Sequence[float], constants: Mapping[str, float] | None = None
) -> dict[str, np.ndarray]:
    """Return every state and assignment at these times, which begin at 0."""
    values = list({**model.constants, **(constants or {})}.values())
    rates = calculator(model, model.rates)
    assigned = calculator(model, model.assignments)
    zeros = [0.0] * len(model.rates)
    y = np.array(calculator(model, model.initials)(0.0, zeros, values), float)
    y = y[[list(model.initials).index(s) for s in model.rates]]
    moments = calculator(model, {e.name: e.time for e in model.events})(0.0, zeros, values)
    jumps = calculator(model, dict(enumerate(model.breakpoints)))(0.0, zeros, values)
    stops = sorted({*times, *(t for t in [*moments, *jumps] if 0 < t < times[-1])})
    rows = [(0.0, y)]
    for begin, end in zip(stops[:-1], stops[1:], strict=True):
        # within a segment a condition on time holds or not: its middle tells, its ends do not
        inside = 1e-9 * (end - begin)

        def slope(t: float, y: np.ndarray, low: float = begin + inside, high: float = end - inside):
            return rates(min(max(t, low), high), y, values)

        if len(y):
            done = solve_ivp(slope, (begin, end), y, method="LSODA", rtol=1e-10, atol=1e-13)
            assert done.success, done.message
            y = done.y[:, -1]
        before = y
        for event, moment in zip(model.events, moments, strict=True):
            if moment == end:
                new = calculator(model, event.assignments)(end, before, values)
                y = y.copy()
                y[[list(model.rates).index(s) for s in event.assignments]] = new
        rows.append((end, y))
    kept = [(t, y) for t, y in rows if t in set(times)]
    states = np.array([y for _, y in kept]).reshape(len(kept), -1)
    result = {s: states[:, i] for i, s in enumerate(model.rates)}
    tables = np.array([np.array(assigned(t, y, values), float) for t, y in kept])
    return result | {a: tables[:, i] for i, a in enumerate(model.assignments)}


def roadrunner_of(sbml: str) -> Any:
    """Return libRoadRunner's model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import roadrunner as library

        library.Logger.setLevel(library.Logger.LOG_ERROR)
        return library.RoadRunner(sbml)


class Names:
    """How libRoadRunner calls what our formulas name."""

    def __init__(self, sbml: str) -> None:
        import libsbml

        self.document = libsbml.readSBMLFromString(sbml)
        self.model = self.document.getModel()

    def is_ruled_species(self, name: str) -> bool:
        is_ruled = self.model.getRateRuleByVariable(name) is not None
        return is_ruled and self.model.getSpecies(name) is not None

    def __call__(self, name: str) -> str:
        species = self.model.getSpecies(name.removeprefix("amount_of_"))
        if species is None:
            return name
        flat = self.model.getCompartment(species.getCompartment()).getSpatialDimensions() == 0
        if name.startswith("amount_of_") or species.getHasOnlySubstanceUnits() or flat:
            return species.getId()
        return f"[{species.getId()}]"


def assert_same_rates(model: SymbolicModel, sbml: str, seed: int = 0, count: int = 5) -> None:
    """Compare rates and assignments at random states and times."""
    reference, names = roadrunner_of(sbml), Names(sbml)
    rng = np.random.default_rng(seed)
    constants = list(model.constants.values())
    rates = calculator(model, model.rates)
    assigned = calculator(model, model.assignments)
    # sizes first: a concentration is set through the amount
    order = sorted(
        model.rates, key=lambda s: names.model.getSpecies(names(s).strip("[]")) is not None
    )
    for _ in range(count):
        time = float(rng.uniform(0.0, 20.0))
        state = dict(zip(model.rates, rng.uniform(0.1, 3.0, len(model.rates)), strict=True))
        reference.reset()
        reference.model.setTime(time)
        for name in order:
            reference.setValue(names(name), state[name])
        ours = rates(time, list(state.values()), constants)
        for name, value in zip(model.rates, ours, strict=True):
            if not names.is_ruled_species(name):  # libRoadRunner tells no rate of these
                known = reference.getValue(f"{names(name)}'")
                np.testing.assert_allclose(value, known, rtol=1e-9, atol=1e-12, err_msg=name)
        here = assigned(time, list(state.values()), constants)
        for name, value in zip(model.assignments, here, strict=True):
            known = reference.getValue(names(name))
            np.testing.assert_allclose(value, known, rtol=1e-9, atol=1e-12, err_msg=name)


def assert_same_course(
    model: SymbolicModel, sbml: str, times: Sequence[float], rtol: float = 1e-6, skip: int = 0
) -> None:
    """Compare every state and assignment over time, events and starting values with it.

    ``skip``: so many of the first times are simulated but not compared.
    """
    reference, names = roadrunner_of(sbml), Names(sbml)
    ours = simulate(model, times)
    reference.integrator.absolute_tolerance = 1e-13
    reference.integrator.relative_tolerance = 1e-10
    reference.integrator.maximum_time_step = 0.05
    reference.integrator.maximum_num_steps = 200_000
    selections = ["time", *(names(name) for name in ours)]
    theirs = np.asarray(reference.simulate(times=list(times), selections=selections))
    for i, name in enumerate(ours):
        np.testing.assert_allclose(
            ours[name][skip:], theirs[skip:, i + 1], rtol=rtol, atol=1e-8, err_msg=name
        )

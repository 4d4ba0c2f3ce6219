"""Speed of the patient twin: 10,000 virtual patients in 8 arms, beside SciPy's LSODA with numba.

    python -m benchmarks.twin

Belongs here: the measurement. The right-hand side is compiled from the same text; compilation is never counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy
from numba import njit
from scipy.integrate import odeint

from chiploop.models.model_files import formulas_of, text_of
from chiploop.twin.patient_model import (
    BEFORE_WEEKS,
    TEXT,
    Effect,
    before_treatment,
    disease_model,
    rows_of,
    simulate,
)
from chiploop.twin.population import published_population
from chiploop.twin.published import PUBLISHED_ARMS

PATIENTS, LIMIT_S = 10_000, 20.0
BY_LSODA = 40
"""Patients that LSODA solves; its time is per trajectory."""
ARMS = list(PUBLISHED_ARMS.items())[:8]
WEEK = np.array([16.0])


def right_hand_side() -> tuple[Callable[..., np.ndarray], list[str]]:
    """Return f(y, t, p, care) compiled by numba, and the order of its states."""
    model, compiled = formulas_of(text_of(TEXT), "atopic_dermatitis"), disease_model()
    names = list(compiled.states)
    rates = [sympy.sympify(model.rates[name]) for name in names]
    while any(str(s) in model.assignments for rate in rates for s in rate.free_symbols):
        rates = [
            rate.subs(
                {
                    s: model.assignments[str(s)]
                    for s in rate.free_symbols
                    if str(s) in model.assignments
                }
            )
            for rate in rates
        ]
    places = [(name, f"state_[{i}]") for i, name in enumerate(names)]
    places += [(name, f"constant_[{i}]") for i, name in enumerate(compiled.parameters)]
    shared, reduced = sympy.cse(rates, symbols=sympy.numbered_symbols("shared_"))
    lines = [f"{name} = {place}" for name, place in places]
    lines += [f"{symbol} = {sympy.pycode(formula)}" for symbol, formula in shared]
    lines += [f"slope_[{i}] = {sympy.pycode(formula)}" for i, formula in enumerate(reduced)]
    body = "".join(f"    {line}\n" for line in lines)
    space: dict[str, Any] = {"np": np}
    exec(
        f"def f(state_, time, constant_, care):\n    slope_ = np.empty({len(names)})\n{body}    return slope_\n",
        space,
    )
    return njit(space["f"]), names


def by_lsoda(patients: np.ndarray, arms: list[Effect], rtol: float) -> tuple[np.ndarray, float]:
    """Return EASI (n, arms) at week 16, and the seconds that it took."""
    f, names = right_hand_side()
    rows, model = rows_of(disease_model(), patients), disease_model()
    start = np.array([float(v) for v in initial_states(names)])
    f(start, 0.0, rows[0], 0.0)
    began = time.perf_counter()
    found = np.empty((len(patients), len(arms)))
    options = {"rtol": rtol, "atol": rtol * 1e-3, "mxstep": 100_000}
    for i, row in enumerate(rows):
        steady = odeint(f, start, [0.0, BEFORE_WEEKS], args=(row, 0.0), **options)[-1]
        for a, arm in enumerate(arms):
            own = row.copy()
            for name, share in arm.blocked.items():
                own[model.parameters.index(name)] = share
            own[model.parameters.index("Ig_given")] = arm.given_ifn_g
            end = odeint(f, steady, [0.0, 16.0], args=(own, 1.0), **options)[-1]
            found[i, a] = 36.0 * (end[names.index("p")] + 1.0 - end[names.index("s")])
    return found, time.perf_counter() - began


def initial_states(names: list[str]) -> list[float]:
    """Return where the authors begin."""
    model = formulas_of(text_of(TEXT), "atopic_dermatitis")
    return [float(model.initials[name]) for name in names]


def main() -> None:
    """Measure and print."""
    arms = [effect for _, effect in ARMS]
    patients = published_population().draw(PATIENTS, np.random.default_rng(1))
    simulate(patients[:100], arms, WEEK)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        found = simulate(patients, arms, WEEK, started=before_treatment(patients))
        seconds.append(time.perf_counter() - began)
    best = min(seconds)
    print(
        f"{PATIENTS:,} patients x {len(arms)} arms, with 1,000 weeks before: {best:.2f} s (aim {LIMIT_S:g} s)"
    )
    theirs, took = by_lsoda(patients[:BY_LSODA], arms, 1e-6)
    each = took / BY_LSODA
    apart = np.abs(theirs - found.easi[:BY_LSODA, :, 0]).max()
    print(
        f"SciPy LSODA, numba right-hand side, one core: {1000 * each:.2f} ms a patient with its arms"
    )
    print(
        f"chiploop on every core: {1000 * best / PATIENTS:.4f} ms; quicker by {each * PATIENTS / best:.0f}"
    )
    print(f"largest difference of EASI between the two: {apart:.4f}")


if __name__ == "__main__":
    main()

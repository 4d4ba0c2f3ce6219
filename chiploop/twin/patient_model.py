"""The door to the disease model: virtual patients before treatment, and in the arms of a trial.

Belongs here: parameters and arms -> courses of EASI, on the engine that simulates chips. Not here: the engine
(chiploop.models.batch), drugs (drug_effect), responders (outcomes). A patient has no inlets, chips or readouts of
a plate, so the door of the chips (chiploop.models.tissue_model) does not fit; the compiled batch is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from chiploop.models.batch import CompiledModel, Schedule
from chiploop.models.compiler import compile_model
from chiploop.models.model_files import text_of
from chiploop.twin.population import STANDARD_CARE, published_population

TEXT = Path(__file__).parent / "atopic_dermatitis.ant"
STATES = ("s", "p", "T1", "T2", "T17", "T22", "I4", "I13", "I17", "I22", "I31", "Ig", "Ts", "Ox")
BEFORE_WEEKS = 1000.0
"""Weeks without treatment, after which a patient is where the authors' trials begin."""
SIGNALS = ("e4", "e13", "e17", "e22", "e31", "eg", "ets", "eox")
"""Share that is blocked of IL-4, IL-13, IL-17, IL-22, IL-31, IFN-g, TSLP, OX40L."""
RTOL = 1e-5
"""Relative tolerance; at 1e-5 the reference output is met to 4 digits (tests)."""


@dataclass(frozen=True)
class Effect:
    """What a drug does in each patient of an arm, from the first day on."""

    blocked: dict[str, np.ndarray | float] = field(default_factory=dict)
    """Name of ``SIGNALS`` -> share blocked, one number or (n,)."""
    scratch: np.ndarray | float = 1.0
    """Share left of the barrier's loss by scratching."""
    given_ifn_g: float = 0.0
    care: float = 1.0
    """Factor on the effect of placebo and standard care: topicals beside the drug."""
    causes: dict[str, np.ndarray] = field(default_factory=dict)
    """What the shares come of in each patient (n,), by name; for ranking alone, no simulation reads it."""


PLACEBO = Effect()


@dataclass(frozen=True)
class Courses:
    """What happens to every patient in every arm."""

    easi: np.ndarray
    """(n, arms, weeks)."""
    baseline_easi: np.ndarray
    """(n,)."""
    baseline: np.ndarray
    """(n, states) before treatment, in the order of ``STATES``."""
    failed: np.ndarray
    """(n,) whether a simulation of the patient gave no number."""
    th2: np.ndarray
    """(n, arms, weeks) Th2 cells, as shares of those before treatment."""

    @property
    def improvement_pct(self) -> np.ndarray:
        """Fall of EASI in percent of baseline (n, arms, weeks)."""
        return 100.0 * (1.0 - self.easi / self.baseline_easi[:, None, None])


class Treated(NamedTuple):
    """What becomes of patients from given states on."""

    easi: np.ndarray
    """(n, arms, weeks)."""
    th2_cells: np.ndarray
    """(n, arms, weeks)."""
    states: np.ndarray
    """(n, arms, 14) at the last week."""
    failed: np.ndarray
    """(n,) whether a simulation of the patient gave no number."""


@lru_cache(maxsize=1)
def disease_model() -> CompiledModel:
    """Return the compiled disease model."""
    return compile_model(text_of(TEXT), "atopic_dermatitis", ("care",), ("EASI", "T2"), ())


def rows_of(model: CompiledModel, patients: np.ndarray) -> np.ndarray:
    """Return the model's parameters (n, parameters) of patients (n, 51)."""
    names = published_population().names
    return model.parameter_rows(
        len(patients), {name: patients[:, i] for i, name in enumerate(names)}
    )


def before_treatment(patients: np.ndarray, rtol: float = RTOL) -> tuple[np.ndarray, np.ndarray]:
    """Return states (n, 14) and EASI (n,) after the weeks without treatment; NaN where that failed."""
    model = disease_model()
    untreated = Schedule(np.array([0.0, BEFORE_WEEKS]), np.zeros((1, 1)))
    found = model.run(rows_of(model, patients), [untreated], np.array([BEFORE_WEEKS]), rtol=rtol)
    order = [model.states.index(name) for name in STATES]
    return found.states[:, 0][:, order], found.observed[:, 0, 0, 0]


def simulate(
    patients: np.ndarray,
    arms: Sequence[Effect],
    weeks: np.ndarray,
    rtol: float = RTOL,
    started: tuple[np.ndarray, np.ndarray] | None = None,
) -> Courses:
    """Return the courses of the same patients in every arm.

    Parameters
    ----------
    patients : (n, 51)
        Parameters in the order of the population.
    weeks : (g,)
        Weeks after the beginning of treatment, ascending.
    started
        What ``before_treatment`` gave for these patients, where that is at hand.
    """
    states, easi = before_treatment(patients, rtol) if started is None else started
    begin = np.repeat(states[:, None], len(arms), axis=1)
    found = treated(patients, arms, weeks, begin, rtol)
    th2 = found.th2_cells / states[:, None, None, STATES.index("T2")]
    return Courses(found.easi, easi, states, np.isnan(easi) | found.failed, th2)


def treated(
    patients: np.ndarray,
    arms: Sequence[Effect],
    weeks: np.ndarray,
    begin: np.ndarray,
    rtol: float = RTOL,
) -> Treated:
    """Return what becomes of patients from given states on.

    Parameters
    ----------
    begin : (n, arms, 14)
        States at the first day of each arm, which need not be the first day of treatment.
    """
    model, c = disease_model(), len(arms)
    rows = np.repeat(rows_of(model, patients)[:, None], c, axis=1)
    set_by_arm = (*SIGNALS, "Ig_given", "scratch", STANDARD_CARE)
    place = {name: model.parameters.index(name) for name in set_by_arm}
    for a, arm in enumerate(arms):
        for name, share in arm.blocked.items():
            rows[:, a, place[name]] = share
        rows[:, a, place["scratch"]] = arm.scratch
        rows[:, a, place["Ig_given"]] = arm.given_ifn_g
        rows[:, a, place[STANDARD_CARE]] *= arm.care
    to_model = [STATES.index(name) for name in model.states]
    from_model = [model.states.index(name) for name in STATES]
    last = max(float(weeks[-1]), 1e-3)
    care = Schedule(np.array([0.0, last]), np.ones((1, 1)))
    found = model.run(rows, [care] * c, weeks, rtol=rtol, states=begin[:, :, to_model])
    return Treated(
        found.observed[..., 0],
        found.observed[..., 1],
        found.states[:, :, from_model],
        np.asarray((found.trouble > 0).any(axis=1)),
    )

"""What drove the result of a case: what the same plan would have done, had one thing been as in most patients.

Belongs here: that question, asked of the hidden patient. Not here: ranks over many patients (patient_what_if).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from chiploop.twin.drug_effect import effect_of
from chiploop.twin.patient_model import Effect
from chiploop.twin.population import published_population
from chiploop.twin.teaching.cases import TeachingCase
from chiploop.twin.teaching.paths import Cohort, along, cohort_of, fall_pct, for_rows
from chiploop.twin.teaching.rules import OPTIONS
from chiploop.twin.teaching.words import PARAMETERS
from chiploop.twin.trial import settings_shift

SHOWN = 4
SMALLEST_POINTS = 1.0
"""Of the mean fall of EASI; less is not told."""
TYPICAL_OF = 250
"""Persons whose median block is the usual one."""


@dataclass(frozen=True)
class Driver:
    """One thing in which the patient differs from most."""

    name: str
    """Parameter of the model, or the drug."""
    told: str
    """What it is, in words."""
    times: float | None
    """The patient's value over the population's median; None for a drug."""
    points: float
    """How much larger the mean fall of EASI was for it; negative where it was smaller."""


def drivers_of(case: TeachingCase, plan: Sequence[str]) -> list[Driver]:
    """Return what moved the mean fall of EASI under a plan most, largest first."""
    truth, population = case.truth, published_population().shifted(settings_shift("monotherapy"))
    was = mean_fall(truth, plan)[0]
    median = np.exp(population.mean)
    p = len(population.names)
    rows = np.repeat(truth.parameters, p, axis=0)
    rows[np.arange(p), np.arange(p)] = median
    one_by_one = cohort_of(rows, lambda arm: for_rows(truth.effect_of_arm(arm), p))
    found = [
        Driver(name, PARAMETERS[name], float(truth.parameters[0, i] / median[i]), float(was - fall))
        for i, (name, fall) in enumerate(
            zip(population.names, mean_fall(one_by_one, plan), strict=True)
        )
    ]
    found += [
        driver
        for arm in dict.fromkeys(OPTIONS[option].arm for option in plan)
        if (driver := drug_driver(truth, arm, plan, float(was))) is not None
    ]
    told = [one for one in found if abs(one.points) >= SMALLEST_POINTS]
    return sorted(told, key=lambda one: -abs(one.points))[:SHOWN]


def drug_driver(truth: Cohort, arm: str, plan: Sequence[str], was: float) -> Driver | None:
    """Return what uptake and potency of one drug in this patient did; None where there is no drug."""
    own = truth.effect_of_arm(arm)
    if not own.blocked:
        return None
    usual = usual_effect(arm)
    with_usual = replace(
        truth, effect_of_arm=lambda name: usual if name == arm else truth.effect_of_arm(name)
    )
    strongest = max(usual.blocked, key=lambda signal: float(np.ravel(usual.blocked[signal])[0]))
    share, typical = (float(np.ravel(e.blocked[strongest])[0]) for e in (own, usual))
    return Driver(
        arm,
        f"{arm}: uptake and potency in this patient (blocks {100 * share:.1f} % of a signal, usual "
        f"{100 * typical:.1f} %)",
        None,
        float(was - mean_fall(with_usual, plan)[0]),
    )


def usual_effect(arm: str) -> Effect:
    """Return the median effect of an arm over persons and potencies."""
    found = effect_of(arm, TYPICAL_OF, 0)
    shares: dict[str, np.ndarray | float] = {
        name: np.array([np.median(share)]) for name, share in found.blocked.items()
    }
    return replace(
        found, blocked=shares, scratch=np.array([np.median(np.asarray(found.scratch))]), causes={}
    )


def mean_fall(cohort: Cohort, plan: Sequence[str]) -> np.ndarray:
    """Return the mean fall of EASI (n,) over the weeks of a plan, in percent."""
    return fall_pct(along(cohort, plan), cohort.easi[:, None]).mean(axis=1)

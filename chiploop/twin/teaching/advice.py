"""What the twin advises at a visit of a case, with the same information as the learner.

Belongs here: the twin of what is known, weighed by history and visits, and what it expects of each treatment. Not
here: the twin (patient_twin), the hidden patient (cases). The twin never sees the truth of a case.

A file of a patient holds one treatment, a case may change it at each visit: so the twin of the first visit is
weighed by every reading along the treatments that were given, and not moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtri

from chiploop.twin.drug_effect import POTENCIES, PotencyDraws
from chiploop.twin.drug_facts import drug_facts
from chiploop.twin.observations import EASI_LN_SD, ln_easi
from chiploop.twin.patient_model import Effect
from chiploop.twin.patient_twin import Twin, new_twin
from chiploop.twin.teaching.cases import (
    EARLIER_WEEKS,
    IC50_ERROR_LN_SD,
    TeachingCase,
    patient_with,
)
from chiploop.twin.teaching.paths import (
    STRETCHES,
    Cohort,
    Plan,
    along,
    cohort_of,
    fall_pct,
    followed,
    kept,
)
from chiploop.twin.teaching.play import Play
from chiploop.twin.teaching.rules import OPTIONS, RESPONSE_PCT, VISITS
from chiploop.twin.teaching.words import IC50

VIRTUAL = 1500
"""Virtual patients of the twin."""
Readings = Sequence[tuple[int, float]]
"""Week and EASI of each visit."""


@dataclass(frozen=True)
class Expected:
    """What the twin expects of one treatment, kept from a visit to the end."""

    worth: float
    """Mean fall of EASI from this visit on, in percent, less the price."""
    probability: float
    """That EASI lies 75 % or more below the first one at the next visit."""


@dataclass(frozen=True)
class Advice:
    """What the twin says at one visit."""

    week: int
    options: dict[str, Expected]
    effective: float
    """Number of virtual patients that still count."""

    @property
    def best(self) -> str:
        """The treatment of which it expects most; the first one of the list where several are equal."""
        return max(self.options, key=lambda name: self.options[name].worth)


def advice_at(play: Play, visit: int, with_tests: bool = True) -> Advice:
    """Return the twin's advice at a visit that is over or going on, after the treatments that were given."""
    week = VISITS[visit]
    told = play.told_at(week) if with_tests else {}
    return advice(play.case, told, play.plan[:visit], play.readings()[: visit + 1])


def twin_plays(play: Play) -> Plan:
    """Return the plan that the twin would have chosen alone, with the learner's tests as they came."""
    case = play.case
    plan: Plan = ()
    readings = [(0, case.easi)]
    for visit, (week, last) in enumerate(STRETCHES):
        said = advice(case, play.told_at(week), plan, readings[: visit + 1])
        plan = (*plan, said.best)
        easi = float(along(case.truth, plan)[0, last - 1])
        readings.append((last, case.measured_easi(last, easi)))
    return plan


def advice(
    case: TeachingCase,
    told: dict[str, float | str],
    plan: Sequence[str],
    readings: Readings,
) -> Advice:
    """Return what the twin expects of each treatment after a plan so far; asked twice, calculated once."""
    return _advice(case, tuple(sorted(told.items())), tuple(plan), tuple(readings))


@lru_cache(maxsize=64)
def _advice(
    case: TeachingCase,
    told: tuple[tuple[str, float | str], ...],
    plan: Plan,
    readings: tuple[tuple[int, float], ...],
) -> Advice:
    """Return what the twin expects of each treatment after a plan so far.

    Parameters
    ----------
    told
        Results of tests that are there.
    readings
        Of the first visit, which the twin of the first visit holds already, and of one after each treatment.
    """
    cohort = known_as(case, told)
    week, baseline = VISITS[len(plan)], cohort.easi
    course, states = followed(cohort, plan)
    log_weight = history_weight(case, cohort)
    for at, easi in readings[1:]:
        log_weight = log_weight - 0.5 * apart(course[:, at - 1], easi)
    weights = np.exp(log_weight - log_weight.max())
    weights /= weights.sum()
    options = case.options
    after = kept(cohort, options, states, week)
    fall = fall_pct(after, baseline[:, None, None])
    next_visit = STRETCHES[len(plan)][1] - week - 1
    worth = weights @ fall.mean(axis=2)
    responds = weights @ (fall[:, :, next_visit] >= RESPONSE_PCT)
    return Advice(
        week,
        {
            name: Expected(float(worth[i]) - OPTIONS[name].price, float(responds[i]))
            for i, name in enumerate(options)
        },
        float(1.0 / np.square(weights).sum()),
    )


def apart(easi: np.ndarray, measured: float) -> np.ndarray:
    """Return the squared distance (n,) of a reading, in sd of measuring."""
    return np.asarray(((ln_easi(easi) - ln_easi(measured)) / EASI_LN_SD) ** 2)


def history_weight(case: TeachingCase, cohort: Cohort) -> np.ndarray:
    """Return the log weight (n,) of what the history says of an earlier treatment."""
    if case.earlier is None:
        return np.zeros(len(cohort.easi))
    after = along(cohort, (case.earlier.option,))[:, EARLIER_WEEKS - 1]
    return -0.5 * (
        apart(cohort.easi, case.earlier.easi_before) + apart(after, case.earlier.easi_after)
    )


@lru_cache(maxsize=8)
def known_as(case: TeachingCase, told: tuple[tuple[str, float | str], ...]) -> Cohort:
    """Return the virtual patients of a case of whom this much is known, equally likely."""
    known = dict(told)
    patient = patient_with(case.code, known, case.easi)
    rng = np.random.default_rng([case.seed, case.number, 1])
    twin, _ = new_twin(
        patient, rng, n=VIRTUAL, potencies=potencies_of(known, rng), seed=case.number
    )
    return twin_cohort(twin.evened())


def twin_cohort(twin: Twin) -> Cohort:
    """Return a twin's virtual patients; what an arm does in them is calculated once."""

    @lru_cache(maxsize=32)
    def effect(arm: str) -> Effect:
        return twin.effect(arm)

    return cohort_of(twin.values(), effect)


def potencies_of(
    known: dict[str, float | str], rng: np.random.Generator
) -> dict[str, PotencyDraws]:
    """Return the potency of each drug whose IC50 the patient's chips showed: prior and reading together."""
    found = {}
    points = ndtri((np.arange(POTENCIES) + 0.5) / POTENCIES)
    for key, value in known.items():
        if not key.startswith(IC50):
            continue
        name = key.removeprefix(IC50)
        prior = drug_facts()[name].potency
        narrow, wide = IC50_ERROR_LN_SD**-2, prior.ln_sd**-2
        middle = (narrow * np.log(float(value)) + wide * np.log(prior.median_nm)) / (narrow + wide)
        found[name] = PotencyDraws(
            np.exp(middle + points / np.sqrt(narrow + wide)),
            prior.hill * np.exp(prior.hill_ln_sd * rng.permutation(points)),
            "chips of this patient",
        )
    return found

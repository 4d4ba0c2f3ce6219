"""What treatments do, one after the other, in the same virtual patients.

Belongs here: courses of EASI along choices, every plan at once, what a plan is worth. Not here: who the patients
are (cases, advice), points (score). A new treatment works from its first day and the one before leaves no trace
but the state that it led to: an antibody's slow washout is not simulated (ASSUMED).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from chiploop.twin.patient_model import Effect, before_treatment, treated
from chiploop.twin.teaching.rules import CARE_FACTOR, END_WEEK, OPTIONS, VISITS

STRETCHES = tuple(zip(VISITS, (*VISITS[1:], END_WEEK), strict=True))
"""First and last week of each choice."""
Plan = tuple[str, ...]
"""A treatment for each stretch."""


@dataclass(frozen=True)
class Cohort:
    """Virtual patients before treatment, with what each arm of the twin does in them."""

    parameters: np.ndarray
    """(n, 51)."""
    states: np.ndarray
    """(n, 14)."""
    easi: np.ndarray
    """(n,)."""
    effect_of_arm: Callable[[str], Effect]
    """Arm of the twin -> effect in each of them."""

    def effect(self, option: str) -> Effect:
        """Return what a treatment does."""
        chosen = OPTIONS[option]
        effect = self.effect_of_arm(chosen.arm)
        return replace(effect, care=CARE_FACTOR) if chosen.topicals else effect


def cohort_of(parameters: np.ndarray, effect_of_arm: Callable[[str], Effect]) -> Cohort:
    """Return patients with these parameters (n, 51), after their weeks without treatment."""
    return Cohort(parameters, *before_treatment(parameters), effect_of_arm)


def weeks_of(first: int, last: int) -> np.ndarray:
    """Return every week after the first day of a stretch, counted from it."""
    return np.arange(1.0, last - first + 1.0)


def along(cohort: Cohort, plan: Sequence[str]) -> np.ndarray:
    """Return EASI (n, weeks) of every week from 1 on along the choices made so far."""
    return followed(cohort, plan)[0]


def followed(cohort: Cohort, plan: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return EASI (n, weeks) along the choices made so far, and the states (n, 14) to which they have led."""
    states = cohort.states
    found = [np.zeros((len(states), 0))]
    for option, (first, last) in zip(plan, STRETCHES, strict=False):
        then = treated(
            cohort.parameters, [cohort.effect(option)], weeks_of(first, last), states[:, None]
        )
        states = then.states[:, 0]
        found.append(then.easi[:, 0])
    return np.concatenate(found, axis=1), states


def kept(cohort: Cohort, options: Sequence[str], states: np.ndarray, first: int) -> np.ndarray:
    """Return EASI (n, options, weeks) where each treatment is kept from a visit to the end."""
    effects = [cohort.effect(option) for option in options]
    begin = np.repeat(states[:, None], len(options), axis=1)
    return treated(cohort.parameters, effects, weeks_of(first, END_WEEK), begin).easi


def every_plan(cohort: Cohort, options: Sequence[str]) -> dict[Plan, np.ndarray]:
    """Return the course (weeks,) of one patient under every plan that there is."""
    count = len(options)
    effects = [cohort.effect(option) for option in options]
    states, courses = cohort.states, np.zeros((1, 0))
    for first, last in STRETCHES:
        rows = np.repeat(cohort.parameters, len(states), axis=0)
        same = [for_rows(effect, len(states)) for effect in effects]
        begin = np.repeat(states[:, None], count, axis=1)
        then = treated(rows, same, weeks_of(first, last), begin)
        states = then.states.reshape(-1, then.states.shape[-1])
        before = np.repeat(courses, count, axis=0)
        courses = np.concatenate([before, then.easi.reshape(len(before), -1)], axis=1)
    return dict(zip(product(options, repeat=len(STRETCHES)), courses, strict=True))


def for_rows(effect: Effect, n: int) -> Effect:
    """Return one patient's effect for n rows, each of that patient."""
    shares: dict[str, np.ndarray | float] = {
        name: np.full(n, np.ravel(share)[0]) for name, share in effect.blocked.items()
    }
    return replace(
        effect, blocked=shares, scratch=np.full(n, np.ravel(effect.scratch)[0]), causes={}
    )


def price_of(plan: Sequence[str]) -> float:
    """Return what the treatments of a plan cost, in points, each for its weeks."""
    weeks = [last - first for first, last in STRETCHES]
    return sum(OPTIONS[o].price * w / END_WEEK for o, w in zip(plan, weeks, strict=True))


def fall_pct(easi: np.ndarray, baseline: np.ndarray | float) -> np.ndarray:
    """Return the fall of EASI in percent of baseline."""
    return np.asarray(100.0 * (1.0 - easi / baseline))


def value_of(course: np.ndarray, baseline: float, plan: Sequence[str]) -> float:
    """Return what a plan is worth: mean fall of EASI over the weeks in percent, less its price."""
    return float(fall_pct(course, baseline).mean()) - price_of(plan)

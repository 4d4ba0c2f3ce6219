"""What is shown once a case is over: the score, every other choice in the same patient, the twin, what drove it.

Belongs here: putting the ends together. Not here: simulating (paths), points (score), the twin (advice), words on
a screen or page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chiploop.twin.teaching.advice import Advice, advice_at, twin_plays
from chiploop.twin.teaching.drivers import Driver, drivers_of
from chiploop.twin.teaching.paths import STRETCHES, Plan, every_plan, fall_pct, price_of, value_of
from chiploop.twin.teaching.play import Play, happened
from chiploop.twin.teaching.rules import EMOLLIENT, END_WEEK, VISITS
from chiploop.twin.teaching.score import Score, outcome_points, score_of

AGREE_POINTS = 0.05
"""Plans whose worth is no further apart are equally good: their order would be that of rounding."""


@dataclass(frozen=True)
class PlanResult:
    """One plan in the hidden patient, without noise of measuring."""

    name: str
    """What it is called before the learner."""
    plan: Plan
    easi: np.ndarray
    """(17,) of every week, that before treatment first."""
    fall_at_end_pct: float
    mean_fall_pct: float
    price: float
    value: float
    points: float
    """Of the part of the score for the outcome."""


@dataclass(frozen=True)
class Statement:
    """A probability that was stated."""

    week: int
    """Of the visit to which it belongs."""
    option: str
    probability: float
    happened: bool
    twin_probability: float
    """Of the twin for the same treatment."""


@dataclass(frozen=True)
class Debrief:
    """The end of a case."""

    score: Score
    yours: PlanResult
    best: PlanResult
    worst: PlanResult
    twin: PlanResult
    """What the twin would have given, with the learner's tests as they came."""
    kept: tuple[PlanResult, ...]
    """Each treatment given throughout, best first."""
    statements: tuple[Statement, ...]
    advice: tuple[Advice, ...]
    """At each visit, with what the learner knew."""
    best_without_tests: tuple[str, ...]
    """What the twin would have advised at each visit had no test been made."""
    drivers: tuple[Driver, ...]


def debrief(play: Play) -> Debrief:
    """Return the end of a play; ValueError where it is not over."""
    if play.asks != "nothing":
        raise ValueError(f"the case is not over at week {play.week}; asked now: {play.asks}")
    case, baseline = play.case, float(play.case.truth.easi[0])
    courses = every_plan(case.truth, case.options)
    values = {plan: value_of(course, baseline, plan) for plan, course in courses.items()}
    highest, lowest = max(values.values()), min(values.values())

    def result(name: str, plan: Plan) -> PlanResult:
        fall = fall_pct(courses[plan], baseline)
        return PlanResult(
            name, plan, np.append(baseline, courses[plan]), float(fall[-1]), float(fall.mean()),
            price_of(plan), values[plan], outcome_points(values[plan], highest, lowest),
        )  # fmt: skip

    advice = tuple(advice_at(play, visit) for visit in range(len(VISITS)))
    bare = advice
    if play.ordered:
        bare = tuple(advice_at(play, visit, with_tests=False) for visit in range(len(VISITS)))
    fell = happened(play)
    kept = [result(option, (option,) * len(STRETCHES)) for option in case.options]
    return Debrief(
        score=score_of(
            values[play.plan], highest, lowest, [c.probability for c in play.choices], fell, play.cost
        ),
        yours=result("yours", play.plan),
        best=result("best", chosen(values, highest)),
        worst=result("worst", next(plan for plan, value in values.items() if value == lowest)),
        twin=result("twin", twin_plays(play)),
        kept=tuple(sorted(kept, key=lambda one: -one.value)),
        statements=tuple(
            Statement(
                week, choice.option, choice.probability, what, said.options[choice.option].probability
            )
            for week, choice, what, said in zip(VISITS, play.choices, fell, advice, strict=True)
        ),
        advice=advice,
        best_without_tests=tuple(one.best for one in bare),
        drivers=tuple(drivers_of(case, play.plan)),
    )  # fmt: skip


def chosen(values: dict[Plan, float], highest: float) -> Plan:
    """Return the plan that is shown as the best: of the equally good ones that with the fewest changes."""
    good = [plan for plan, value in values.items() if value >= highest - AGREE_POINTS]
    return min(good, key=lambda plan: (changes(plan), -values[plan]))


def changes(plan: Sequence[str]) -> int:
    """Return how often a plan changes its treatment."""
    return sum(one != other for one, other in zip(plan, plan[1:], strict=False))


def emollient_alone(told: Debrief) -> PlanResult:
    """Return what emollient alone would have done: the counterfactual of no drug."""
    return next(one for one in told.kept if one.name == EMOLLIENT)


def weeks() -> list[int]:
    """Return the weeks of a course, that before treatment first."""
    return list(range(END_WEEK + 1))

"""A play as plain values: what a program reads, and what terminal and page are made of.

Belongs here: the shape of ``chiploop twin teach --json``. Not here: text, markup. The truth of a case is in it
only once the case is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chiploop.twin import RESEARCH_USE
from chiploop.twin.teaching.cases import history
from chiploop.twin.teaching.debrief import Debrief, PlanResult, debrief, emollient_alone, weeks
from chiploop.twin.teaching.play import Ordered, Play, refusal
from chiploop.twin.teaching.rules import END_WEEK, OPTIONS, RESPONSE_PCT, TESTS, VISITS, WEIGHTS
from chiploop.twin.teaching.score import calibration_points
from chiploop.twin.teaching.words import FLG_WORDS, result_name, severity


def content(play: Play) -> dict[str, Any]:
    """Return a play with its score where it is over."""
    over = play.asks == "nothing"
    return {
        "seed": play.case.seed,
        "case": play.case.number,
        "patient": play.case.code,
        "history": history(play.case),
        "week": play.week,
        "weeks": [*VISITS, END_WEEK],
        "asks": play.asks,
        "finished": over,
        "answers": list(play.answers),
        "readings": [
            {"week": week, "EASI": easi, "severity": severity(easi)} for week, easi in play.readings()
        ],
        "choices": [
            {"week": week, "treatment": one.option, "probability_pct": round(100 * one.probability, 1)}
            for week, one in zip(VISITS, play.choices, strict=False)
        ],
        "given": plan_words(play.plan),
        "chosen": play.option,
        "tests": [about_test(play, name) for name in TESTS],
        "tests_cost": play.cost,
        "treatments": [
            {"name": name, "price": OPTIONS[name].price, "kind": OPTIONS[name].kind}
            for name in play.case.options
        ],
        "response_pct": RESPONSE_PCT,
        "weights": WEIGHTS,
        "debrief": debrief_content(play, debrief(play)) if over else None,
        "research_use_only": True,
        "note": RESEARCH_USE,
    }  # fmt: skip


def plan_words(plan: Sequence[str]) -> str:
    """Return a plan in words, each treatment once where it was kept."""
    words = [plan[0]] if plan else []
    for week, one, other in zip(VISITS[1:], plan, plan[1:], strict=False):
        if one != other:
            words.append(f"from week {week} {other}")
    return ", ".join(words)


def about_test(play: Play, name: str) -> dict[str, Any]:
    """Return a test with where it stands and, once it is there, what it shows."""
    test = TESTS[name]
    ordered = next((one for one in play.ordered if one.test == name), None)
    over = play.asks == "nothing"
    there = ordered is not None and ordered.due <= play.week
    why = "" if ordered is not None or over else refusal(test, play.week)
    return {
        "name": name,
        "title": test.title,
        "cost": test.cost,
        "days": test.days,
        "state": standing(ordered, there, why, over),
        "said": why,
        "ordered_week": None if ordered is None else ordered.week,
        "due_week": test.due_week(play.week) if ordered is None and not why and not over
        else None if ordered is None else ordered.due,
        "results": results_content(play.case.results[name]) if there else [],
        "truth": results_content({key: play.case.noise_free[key] for key in play.case.results[name]})
        if over
        else [],
    }  # fmt: skip


def standing(ordered: Ordered | None, there: bool, why: str, over: bool) -> str:
    """Return where a test stands: offered, closed, waiting, there."""
    if ordered is not None:
        return "there" if there else "waiting"
    return "closed" if why or over else "offered"


def results_content(found: dict[str, float | str]) -> list[dict[str, str]]:
    """Return results with their names, values and units in words."""
    told = []
    for key, value in found.items():
        name, unit = result_name(key)
        shown = FLG_WORDS[value] if isinstance(value, str) else f"{value:g}"
        told.append({"key": key, "name": name, "value": shown, "unit": unit})
    return told


def debrief_content(play: Play, told: Debrief) -> dict[str, Any]:
    """Return the end of a case."""
    score = told.score
    return {
        "score": {
            "total": round(score.total, 1),
            "outcome": round(score.outcome, 1),
            "calibration": round(score.calibration, 1),
            "tests": round(score.tests, 1),
        },
        "weeks": weeks(),
        "yours": plan_content(told.yours),
        "best": plan_content(told.best),
        "twin": plan_content(told.twin),
        "emollient": plan_content(emollient_alone(told)),
        "kept": [plan_content(one) for one in told.kept],
        "statements": [
            {
                "week": one.week,
                "treatment": one.option,
                "stated_pct": round(100 * one.probability, 1),
                "twin_pct": round(100 * one.twin_probability, 1),
                "happened": one.happened,
            }
            for one in told.statements
        ],
        "twin_calibration": round(
            calibration_points(
                [one.twin_probability for one in told.statements],
                [one.happened for one in told.statements],
            ),
            1,
        ),
        "advice": [
            {
                "week": one.week,
                "treatment": one.best,
                "without_tests": bare,
                "probability_pct": round(100 * one.options[one.best].probability, 1),
                "worth": round(one.options[one.best].worth, 1),
                "yours_worth": round(one.options[choice.option].worth, 1),
                "effective": round(one.effective),
            }
            for one, bare, choice in zip(
                told.advice, told.best_without_tests, play.choices, strict=True
            )
        ],
        "drivers": [
            {
                "name": one.name,
                "told": one.told,
                "times_median": None if one.times is None else float(f"{one.times:.2g}"),
                "points": round(one.points, 1),
            }
            for one in told.drivers
        ],
        "no_part": "Age has no part in the model: it told nothing about this patient.",
    }


def plan_content(one: PlanResult) -> dict[str, Any]:
    """Return a plan in the hidden patient."""
    return {
        "name": one.name,
        "plan": list(one.plan),
        "told": plan_words(one.plan),
        "EASI": [round(float(value), 2) for value in one.easi],
        "fall_at_end_pct": round(one.fall_at_end_pct, 1),
        "mean_fall_pct": round(one.mean_fall_pct, 1),
        "price": round(one.price, 1),
        "worth": round(one.value, 1),
        "points": round(one.points, 1),
    }

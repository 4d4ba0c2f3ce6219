"""Points on constructed cases: the best is 100, worse is less, honesty pays, tests cost."""

from __future__ import annotations

import pytest

from chiploop.twin.teaching.cases import case_of
from chiploop.twin.teaching.debrief import debrief
from chiploop.twin.teaching.paths import every_plan, value_of
from chiploop.twin.teaching.play import played
from chiploop.twin.teaching.score import (
    Score,
    calibration_points,
    outcome_points,
    score_of,
)

CASE = case_of(3, 4)


def test_the_best_plan_has_100_points_the_worst_none_and_between_in_proportion() -> None:
    assert outcome_points(80.0, 80.0, 30.0) == 100.0
    assert outcome_points(30.0, 80.0, 30.0) == 0.0
    assert outcome_points(55.0, 80.0, 30.0) == pytest.approx(50.0)


def test_where_choices_hardly_differ_a_choice_hardly_costs() -> None:
    assert outcome_points(78.0, 80.0, 78.0) == pytest.approx(90.0)


def test_calibration_is_a_proper_score() -> None:
    assert calibration_points([1.0, 0.0], [True, False]) == 100.0
    assert calibration_points([0.0], [True]) == 0.0
    assert calibration_points([0.5], [True]) == 75.0
    # what happens with 30 %: no other statement has a better mean than 30 %
    mean = {
        p: 0.3 * calibration_points([p / 100], [True])
        + 0.7 * calibration_points([p / 100], [False])
        for p in range(101)
    }
    assert max(mean, key=lambda p: mean[p]) == 30


def test_the_score_is_the_weighed_mean_and_tests_cost() -> None:
    assert Score(100.0, 100.0, 100.0).total == pytest.approx(100.0)
    assert Score(50.0, 80.0, 40.0).total == pytest.approx(0.6 * 50 + 0.25 * 80 + 0.15 * 40)
    best = score_of(80.0, 80.0, 30.0, [1.0], [True], 0.0)
    assert best.total == pytest.approx(100.0)
    assert score_of(80.0, 80.0, 30.0, [1.0], [True], 14.0).tests == 86.0


def answers_of(plan: tuple[str, ...], percent: str = "50") -> list[str]:
    return [one for option in plan for one in ("", option, percent)]


def test_in_a_patient_the_best_of_every_plan_has_100_and_any_other_no_more() -> None:
    baseline = float(CASE.truth.easi[0])
    values = {
        plan: value_of(course, baseline, plan)
        for plan, course in every_plan(CASE.truth, CASE.options).items()
    }
    order = sorted(values, key=lambda plan: values[plan])
    points = [
        debrief(played(CASE, answers_of(plan))).score.outcome
        for plan in (order[len(order) // 2], order[-1])
    ]
    assert points[1] == pytest.approx(100.0)
    assert 0.0 < points[0] < 99.0


def test_the_end_shows_the_counterfactuals_of_the_same_patient_and_the_twins_advice() -> None:
    told = debrief(played(CASE, ["ccl17,flg", *answers_of(("dupilumab",) * 3, "100")]))
    assert [one.name for one in told.kept] == [
        one.name for one in sorted(told.kept, key=lambda one: -one.value)
    ]
    assert {one.name for one in told.kept} == set(CASE.options)
    own = next(one for one in told.kept if one.name == "dupilumab")
    assert (own.easi == told.yours.easi).all() and own.points == told.yours.points
    assert told.best.value >= max(one.value for one in told.kept) - 0.05
    assert told.worst.value <= min(one.value for one in told.kept)
    assert told.score.tests == 88.0
    assert [one.week for one in told.advice] == [0, 4, 8]
    for said in told.advice:
        assert set(said.options) == set(CASE.options) and said.best in CASE.options
        assert all(0.0 <= one.probability <= 1.0 + 1e-9 for one in said.options.values())
    hit = [(s.probability - s.happened) ** 2 for s in told.statements]
    assert told.score.calibration == pytest.approx(100.0 * (1.0 - sum(hit) / 3))
    assert all(abs(one.points) >= 1.0 for one in told.drivers)
    with pytest.raises(ValueError, match="not over"):
        debrief(played(CASE, ["", "dupilumab", "50"]))

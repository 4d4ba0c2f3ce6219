"""Policies that go by doses: grid, chance, a posterior's own target, and a person's wish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from chiploop.policies import POLICIES, Policy
from chiploop.policies.dose_choice import nearest, span_nm
from chiploop.policies.own_doses import own_doses
from chiploop.policies.prediction_table import PredictionTable
from tests.chiploop.policies.tables import PolicyContract, programme, random_table

DOSES = (0.0, *np.geomspace(1.0, 1000.0, 31).round(3))


class TestLogGrid(PolicyContract):
    policy = staticmethod(POLICIES["log_grid"])


class TestUniformRandom(PolicyContract):
    policy = staticmethod(POLICIES["uniform_random"])


class TestThompson(PolicyContract):
    policy = staticmethod(POLICIES["thompson"])


def dosed(
    lines: int,
    allowed: Sequence[Sequence[bool]] | None = None,
    doses: Sequence[float] = DOSES,
    goal_nm: float | np.ndarray = 30.0,
) -> PredictionTable:
    """Return a table of lines with these doses; every draw has the goal."""
    table = random_table(0, allowed or [[True] * len(doses)] * lines)
    return replace(
        table,
        programmes=tuple(tuple(programme(line, dose) for dose in doses) for line in table.lines),
        goal=np.log(np.broadcast_to(goal_nm, len(table.goal))),
    )


def given(policy: Policy, table: PredictionTable, seed: int = 0) -> list[float]:
    """Return the dose of each line."""
    batch = policy(table, np.random.default_rng(seed))
    return [
        table.programmes[line][choice.candidate].delivered_nm
        for line, choice in enumerate(batch.choices)
    ]


# --- nearest


def test_the_nearest_dose_is_nearest_by_its_logarithm() -> None:
    table = dosed(1, doses=(0.0, 1.0, 10.0, 100.0))
    assert [nearest(table, 0, dose) for dose in (0.0, 1e-9, 3.0, 3.3, 40.0, 1e9)] == [
        0,
        1,
        1,
        2,
        3,
        3,
    ]


def test_what_is_not_allowed_is_never_nearest() -> None:
    table = dosed(1, [[False, True, False, True]], (0.0, 1.0, 10.0, 100.0))
    assert [nearest(table, 0, dose) for dose in (0.0, 9.0, 11.0)] == [1, 1, 3]
    assert span_nm(table, 0) == (1.0, 100.0)
    vehicle = dosed(1, [[True, False, False, False]], (0.0, 1.0, 10.0, 100.0))
    assert nearest(vehicle, 0, 50.0) == 0
    assert span_nm(vehicle, 0) is None


# --- grid


def test_the_grid_is_the_vehicle_and_seven_doses_evenly_on_a_log_scale() -> None:
    found = given(POLICIES["log_grid"], dosed(8))
    assert found[0] == 0.0
    assert found[1] == 1.0 and found[-1] == 1000.0
    assert np.diff(np.log10(found[1:])) == pytest.approx(np.full(6, 0.5), abs=0.06)


def test_the_grid_goes_on_where_the_last_batch_ended() -> None:
    whole = given(POLICIES["log_grid"], dosed(8))
    table = dosed(3)
    parts = [given(POLICIES["log_grid"], replace(table, turn=turn)) for turn in range(3)]
    assert sum(parts, [])[:8] == whole
    assert sum(parts, [])[8] == whole[0]


def test_the_grid_spans_what_is_allowed() -> None:
    below = [dose <= 100.0 for dose in DOSES]
    found = given(POLICIES["log_grid"], dosed(8, [below] * 8))
    assert found[1] == 1.0 and found[-1] == max(d for d in DOSES if d <= 100.0)


# --- chance


def test_random_doses_are_one_vehicle_in_eight_and_log_uniform() -> None:
    table = dosed(20)
    found = np.array([given(POLICIES["uniform_random"], table, seed) for seed in range(50)]).ravel()
    assert np.mean(found == 0.0) == pytest.approx(1 / 8, abs=4 * np.sqrt(7 / 64 / 1000))
    heights = np.log10(found[found > 0.0]) / 3.0
    assert heights.mean() == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / len(heights)))
    assert heights.std() == pytest.approx(np.sqrt(1 / 12), rel=0.1)


def test_of_one_dose_in_several_ways_any_may_be_given() -> None:
    table = dosed(40, doses=(10.0, 10.0, 10.0))
    batch = POLICIES["uniform_random"](table, np.random.default_rng(0))
    assert {choice.candidate for choice in batch.choices} == {0, 1, 2}


# --- a posterior's own target


def test_each_line_gets_the_dose_nearest_to_a_draws_goal() -> None:
    goal = np.where(np.arange(60) < 45, 10.0, 300.0)
    table = dosed(20, doses=(0.0, 9.0, 300.0, 1000.0), goal_nm=goal)
    found = np.array([given(POLICIES["thompson"], table, seed) for seed in range(20)]).ravel()
    assert set(found) == {9.0, 300.0}
    assert np.mean(found == 9.0) == pytest.approx(0.75, abs=4 * np.sqrt(3 / 16 / 400))


def test_a_goal_above_what_is_allowed_gets_the_highest_allowed() -> None:
    table = dosed(3, [[True, True, False]] * 3, (0.0, 9.0, 300.0), goal_nm=300.0)
    assert given(POLICIES["thompson"], table) == [9.0, 9.0, 9.0]


def test_a_goal_that_is_no_dose_has_no_nearest() -> None:
    with pytest.raises(ValueError, match="not a concentration"):
        POLICIES["thompson"](replace(dosed(2), goal_is_dose=False), np.random.default_rng(0))


# --- a person's wish


class TestOwnDoses:
    table = dosed(3, [[True, True, True, False]] * 3, (0.0, 9.0, 300.0, 1000.0))

    def test_what_was_asked_for_is_given_and_measured(self) -> None:
        policy = own_doses({"L1": 300.0, "L2": 0.0, "L3": 300.0})
        assert given(policy, self.table) == [300.0, 0.0, 300.0]
        batch = policy(self.table, np.random.default_rng(0))
        assert batch.error_nats > 0.0

    def test_everything_that_can_not_be_given_is_named_at_once(self) -> None:
        policy = own_doses({"L1": 1000.0, "L2": 10.0, "L9": 9.0})
        with pytest.raises(ValueError) as told:
            policy(self.table, np.random.default_rng(0))
        assert str(told.value) == (
            "line L9 is not dosed here; 1000 nM is not allowed on L1; allowed are 0, 9, 300 nM; "
            "10 nM is not allowed on L2; allowed are 0, 9, 300 nM; line L3 was given no dose"
        )

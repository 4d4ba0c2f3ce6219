"""The value of a better guess against its closed form, and where it is flat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chiploop.policies import POLICIES
from chiploop.policies.goal_information import goal_information
from chiploop.policies.nested_information import NestedMonteCarlo
from chiploop.policies.prediction_table import Pending
from chiploop.policies.value_of_information import (
    value_of,
    value_of_information,
    weighted_medians,
)
from tests.chiploop.policies.linear import linear_table
from tests.chiploop.policies.tables import MeasuringPolicyContract, table_of

HALF_NORMAL = np.sqrt(2.0 / np.pi)


class TestValueOfInformation(MeasuringPolicyContract):
    policy = staticmethod(POLICIES["value_of_information"])


def test_a_linear_reading_betters_the_guess_by_its_closed_form() -> None:
    """The mean distance of a Gaussian from its median is sqrt(2/pi) sd; a reading makes the sd smaller."""
    table = linear_table([np.array([[[1.0, 0.5]]])], np.array([[0.4]]), 2000)
    measure = NestedMonteCarlo(table, np.random.default_rng(0), pairs=1)
    value, error = value_of(*measure.seen({0: 0}), table.goal)
    left = np.sqrt(1.0 - 1.0 / (1.0 + 0.25 + 0.4))
    assert error < 0.02
    assert abs(value - HALF_NORMAL * (1.0 - left)) < 3 * error


def test_a_guess_never_sees_its_own_truth() -> None:
    """With readings of what the goal does not depend on, a draw that voted for itself would look clever."""
    values = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        z = rng.standard_normal((64, 7))
        table = table_of([5.0 * z[:, None, 1:]], z[:, 0], np.eye(6))
        measure = NestedMonteCarlo(table, rng, pairs=1)
        values.append(value_of(*measure.seen({0: 0}), table.goal)[0])
    assert np.mean(values) < 0.02


def test_medians_are_where_half_the_weight_lies_below() -> None:
    weights = np.array([[0.2, 0.2, 0.2, 0.4], [0.5, 0.0, 0.0, 0.5], [0.0, 0.0, 1.0, 0.0]])
    assert list(weighted_medians(weights, np.array([1.0, 2.0, 3.0, 9.0]))) == [3.0, 1.0, 3.0]


def test_a_batch_of_value_is_chosen_for_it_and_says_so() -> None:
    table = linear_table([np.array([[[0.2]], [[2.0]]])], np.array([[0.5]]), 400)
    batch = value_of_information(table, np.random.default_rng(0))
    assert batch.choices[0].candidate == 1
    assert "expected to err by" in batch.note
    assert batch.information_nats == pytest.approx(0.5 * np.log(9.0), abs=0.15)


def test_where_the_value_is_flat_information_decides() -> None:
    table = linear_table([np.array([[[0.02]], [[0.1]]])], np.array([[1.0]]), 400)
    batch = value_of_information(table, np.random.default_rng(0))
    wanted = goal_information(table, np.random.default_rng(0))
    assert "below 3 of its Monte Carlo errors" in batch.note
    assert replace(batch, note="") == wanted


def test_cost_decides_between_values() -> None:
    table = linear_table([np.array([[[2.0]], [[1.5]]])], np.array([[0.5]]), 400)
    dear = replace(table, cost=(np.array([10.0, 1.0]),))
    assert value_of_information(table, np.random.default_rng(0)).choices[0].candidate == 0
    assert value_of_information(dear, np.random.default_rng(0)).choices[0].candidate == 1


def test_what_pending_readings_will_tell_has_no_value_again() -> None:
    table = linear_table([np.array([[[2.0]]])], np.array([[0.01]]), 400)
    assert table.standard is not None
    known = Pending(3.0 * table.standard, np.array([[0.01]]), np.zeros((1, 1)))
    batch = value_of_information(replace(table, pending=known), np.random.default_rng(0))
    assert "below 3 of its Monte Carlo errors" in batch.note

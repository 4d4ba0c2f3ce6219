"""Information about all parameters against its closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chiploop.policies import POLICIES
from chiploop.policies.d_optimal import LocalInformation, d_optimal
from chiploop.policies.prediction_table import Pending
from tests.chiploop.policies.linear import about_everything, correlated, linear_table
from tests.chiploop.policies.tables import MeasuringPolicyContract, random_table, scaled

MANY = 40_000


class TestDOptimal(MeasuringPolicyContract):
    policy = staticmethod(POLICIES["d_optimal"])


def test_a_linear_models_information_about_everything_is_its_closed_form() -> None:
    rng = np.random.default_rng(0)
    designs = [rng.standard_normal((2, 2, 4)) for _ in range(2)]
    noise = correlated(4, 1)
    measure = LocalInformation(linear_table(designs, noise, MANY))
    for chosen in ({0: 0}, {1: 1}, {0: 1, 1: 0}):
        at = np.concatenate([2 * line + np.arange(2) for line in chosen])
        design = np.concatenate([designs[line][k] for line, k in chosen.items()])
        wanted = about_everything(design, noise[np.ix_(at, at)])
        assert measure.information(chosen) == pytest.approx(wanted, abs=0.03)


def test_pending_readings_leave_what_comes_on_top() -> None:
    rng = np.random.default_rng(1)
    design, ahead = rng.standard_normal((2, 2, 3)), rng.standard_normal((2, 3))
    noise = correlated(4, 2)
    table = linear_table([design], noise[2:, 2:], MANY)
    assert table.standard is not None
    pending = Pending(table.standard @ ahead.T, noise[:2, :2], noise[:2, 2:])
    measure = LocalInformation(replace(table, pending=pending))
    both = about_everything(np.concatenate([ahead, design[1]]), noise)
    wanted = both - about_everything(ahead, noise[:2, :2])
    assert measure.information({0: 1}) == pytest.approx(wanted, abs=0.03)
    assert measure.alternatives(0, {})[1] == pytest.approx(measure.information({0: 1}))


@pytest.mark.parametrize("seed", range(20))
def test_two_lines_say_no_more_of_everything_than_each_alone(seed: int) -> None:
    """Where the noise of lines is their own, what one line has said the other can not say again."""
    table = random_table(seed, [[True] * 3] * 2)
    noise = np.kron(np.eye(2), correlated(2, seed))
    measure = LocalInformation(replace(table, noise=noise))
    for a in range(3):
        for b in range(3):
            apart = measure.information({0: a}) + measure.information({1: b})
            assert measure.information({0: a, 1: b}) <= apart + 1e-9


def test_the_jacobian_is_local_to_the_posterior() -> None:
    """What the draws know already is no news: the same reading says less where they are narrow."""
    design = np.array([[[1.0, 0.0]]])
    table = linear_table([design], np.array([[0.5]]), 4000)
    assert table.standard is not None
    narrow = replace(
        table,
        standard=0.1 * table.standard,
        features=tuple(0.1 * part for part in table.features),
    )
    wide, small = (LocalInformation(one).information({0: 0}) for one in (table, narrow))
    assert wide == pytest.approx(0.5 * np.log(1 + 1 / 0.5), abs=0.05)
    assert small == pytest.approx(0.5 * np.log(1 + 0.01 / 0.5), abs=0.01)


def test_entries_that_do_not_vary_or_repeat_do_not_matter() -> None:
    table = random_table(4, [[True] * 4] * 2)
    assert table.standard is not None
    more = np.concatenate([table.standard, table.standard[:, :1], np.ones((60, 1))], axis=1)
    one, other = LocalInformation(table), LocalInformation(replace(table, standard=more))
    assert other.alternatives(0, {1: 2}) == pytest.approx(one.alternatives(0, {1: 2}))


def test_the_units_do_not_matter_to_the_measure() -> None:
    table = random_table(4, [[True] * 4] * 2)
    one, other = LocalInformation(table), LocalInformation(scaled(table, 1))
    assert other.alternatives(0, {1: 2}) == pytest.approx(one.alternatives(0, {1: 2}), rel=1e-6)


def test_a_table_without_standard_normals_is_refused() -> None:
    table = replace(random_table(4, [[True] * 4]), standard=None)
    with pytest.raises(ValueError, match="standard normals"):
        d_optimal(table, np.random.default_rng(0))

"""The information of a batch against its closed form, and the search's end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiploop.policies import POLICIES
from chiploop.policies.goal_information import LinearGaussian, goal_information
from tests.chiploop.policies.tables import PolicyContract, random_table, table_of

MANY = 40_000


class TestGoalInformation(PolicyContract):
    policy = staticmethod(POLICIES["goal_information"])


def closed_form(design: np.ndarray, noise: np.ndarray, goal: np.ndarray) -> float:
    """Return I(y; goal @ z) for y = design @ z + noise, z ~ N(0, I): from the definition of entropy."""
    spread = design @ design.T + noise
    shared = design @ goal
    given_goal = spread - np.outer(shared, shared) / (goal @ goal)
    return float(0.5 * (np.linalg.slogdet(spread)[1] - np.linalg.slogdet(given_goal)[1]))


def drawn(design: np.ndarray, noise: np.ndarray, goal: np.ndarray) -> LinearGaussian:
    """Return the estimator for one line whose candidates (c, f, p) are linear in z."""
    z = np.random.default_rng(0).standard_normal((MANY, design.shape[-1]))
    return LinearGaussian(table_of([np.einsum("np,cfp->ncf", z, design)], z @ goal, noise))


@pytest.mark.parametrize(
    ("p", "correlated"), [(1, False), (1, True), (4, False), (4, True)], ids=str
)
def test_the_information_of_a_linear_model_is_its_closed_form(p: int, correlated: bool) -> None:
    """With p > 1 the other parameters are nuisance: they move the readouts and not the goal."""
    rng = np.random.default_rng(p)
    design = rng.standard_normal((3, 2, p))
    root = rng.standard_normal((2, 2))
    noise = root @ root.T + 0.2 * np.eye(2) if correlated else np.diag([0.3, 0.8])
    goal = np.eye(p)[0]
    ours = drawn(design, noise, goal)
    for k in range(3):
        wanted = closed_form(design[k], noise, goal)
        assert ours.information({0: k}) == pytest.approx(wanted, abs=0.02)


def test_one_reading_of_the_goal_itself_is_half_the_log_of_signal_to_noise() -> None:
    ours = drawn(np.array([[[2.0]]]), np.array([[0.5]]), np.array([1.0]))
    assert ours.information({0: 0}) == pytest.approx(0.5 * np.log(1 + 4.0 / 0.5), abs=0.02)


def test_what_does_not_depend_on_the_goal_counts_for_nothing() -> None:
    ours = drawn(np.array([[[0.0, 5.0]], [[0.3, 0.0]]]), np.array([[0.1]]), np.array([1.0, 0.0]))
    assert ours.information({0: 0}) == pytest.approx(0.0, abs=0.002)
    assert ours.information({0: 1}) > 0.2
    assert ours.information({}) == 0.0


def test_chance_agreement_of_few_draws_is_not_taken_for_information() -> None:
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        features = rng.standard_normal((64, 1, 2))
        table = table_of([features], rng.standard_normal(64), 0.5 * np.eye(2))
        found.append(LinearGaussian(table).information({0: 0}))
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(200)


def test_lines_that_read_the_same_share_their_information() -> None:
    z = np.random.default_rng(0).standard_normal((MANY, 2))
    same = np.stack([z[:, :1], z[:, 1:]], axis=1)
    ours = LinearGaussian(table_of([same, same], z[:, 0], 0.4 * np.eye(2)))
    one, two = ours.information({0: 0}), ours.information({0: 0, 1: 0})
    assert one == pytest.approx(0.5 * np.log(1 + 1 / 0.4), abs=0.02)
    assert two == pytest.approx(0.5 * np.log(1 + 2 / 0.4), abs=0.02)
    assert one < two < 2 * one


def test_noise_shared_by_two_lines_is_taken_out_by_reading_both() -> None:
    z = np.random.default_rng(0).standard_normal((MANY, 1))
    reads, vehicle = np.stack([z], axis=1), np.zeros((MANY, 1, 1))
    shared = 0.1 * np.eye(2) + 1.0
    ours = LinearGaussian(table_of([reads, vehicle], z[:, 0], shared))
    assert ours.information({0: 0, 1: 0}) > ours.information({0: 0}) + 0.3
    assert ours.information({1: 0}) == pytest.approx(0.0, abs=1e-3)
    wanted = closed_form(np.array([[1.0], [0.0]]), shared, np.ones(1))
    assert ours.information({0: 0, 1: 0}) == pytest.approx(wanted, abs=0.02)


@given(st.integers(0, 2**16))
def test_no_single_swap_would_be_better(seed: int) -> None:
    table = random_table(seed, [[True] * 3, [True, False, True], [True] * 2])
    measure, batch = LinearGaussian(table), goal_information(table)
    chosen = {line: choice.candidate for line, choice in enumerate(batch.choices)}
    assert batch.information_nats == pytest.approx(measure.information(chosen))
    for line, options in enumerate((range(3), (0, 2), range(2))):
        for k in options:
            assert measure.information({**chosen, line: k}) <= batch.information_nats + 1e-9


def test_a_lines_share_is_what_the_batch_would_lose_without_it() -> None:
    table = random_table(5, [[True] * 3] * 3)
    measure, batch = LinearGaussian(table), goal_information(table)
    chosen = {line: choice.candidate for line, choice in enumerate(batch.choices)}
    for line, choice in enumerate(batch.choices):
        rest = {other: k for other, k in chosen.items() if other != line}
        wanted = batch.information_nats - measure.information(rest)
        assert choice.information_nats == pytest.approx(wanted)

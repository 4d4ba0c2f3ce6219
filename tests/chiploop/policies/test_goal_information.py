"""The information of a batch against its closed form, and the search's end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiploop.policies import POLICIES
from chiploop.policies.batch_search import Worth, search
from chiploop.policies.d_optimal import d_optimal
from chiploop.policies.goal_information import SECOND_LOOKS, LinearGaussian, goal_information
from chiploop.policies.nested_information import NestedMonteCarlo
from chiploop.policies.prediction_table import Batch, Pending, PredictionTable
from tests.chiploop.policies.linear import closed_form, correlated, linear_table
from tests.chiploop.policies.tables import MeasuringPolicyContract, random_table, table_of

MANY = 40_000


class TestGoalInformation(MeasuringPolicyContract):
    policy = staticmethod(POLICIES["goal_information"])


def batch_of(table: PredictionTable) -> Batch:
    """Return what is chosen, with one fixed stream of noise."""
    return goal_information(table, np.random.default_rng(7))


def picks(batch: Batch) -> tuple[int, ...]:
    """Return the candidate of each line."""
    return tuple(choice.candidate for choice in batch.choices)


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
    """As the screen sees it; the second look may then prefer another batch that the search met."""
    table = random_table(seed, [[True] * 3, [True, False, True], [True] * 2])
    measure = LinearGaussian(table)
    found = search(table, measure, Worth(table), SECOND_LOOKS)
    chosen = dict(enumerate(found.best))
    assert found.worth == pytest.approx(measure.information(chosen))
    for line, options in enumerate((range(3), (0, 2), range(2))):
        for k in options:
            assert measure.information({**chosen, line: k}) <= found.worth + 1e-9
    assert picks(batch_of(table)) in found.met


@given(st.integers(0, 2**16))
def test_what_the_search_met_is_distinct_and_in_order(seed: int) -> None:
    table = random_table(seed, [[True] * 3, [True, False, True], [True] * 2])
    measure = LinearGaussian(table)
    found = search(table, measure, Worth(table), 5)
    values = [measure.information(dict(enumerate(batch))) for batch in found.met]
    assert len(set(found.met)) == len(found.met) == 5
    assert found.met[0] == found.best
    assert values == sorted(values, reverse=True)


def test_a_lines_share_is_what_the_batch_would_lose_without_it() -> None:
    table = random_table(5, [[True] * 3] * 3)
    batch = batch_of(table)
    measure = NestedMonteCarlo(table, np.random.default_rng(7))
    chosen = {line: choice.candidate for line, choice in enumerate(batch.choices)}
    assert batch.information_nats == pytest.approx(measure.information(chosen).nats)
    for line, choice in enumerate(batch.choices):
        rest = {other: k for other, k in chosen.items() if other != line}
        wanted = batch.information_nats - measure.information(rest).nats
        assert choice.information_nats == pytest.approx(wanted)


def test_the_number_shown_is_the_nested_one_with_its_error() -> None:
    table = linear_table([np.array([[[1.2, 0.4]], [[0.3, 0.0]]])], np.array([[0.4]]), 500)
    batch = batch_of(table)
    wanted = closed_form(np.array([[1.2, 0.4]]), np.array([[0.4]]), np.array([1.0, 0.0]))
    assert picks(batch) == (0,)
    assert 0.0 < batch.error_nats < 0.05
    assert abs(batch.information_nats - wanted) < 3 * batch.error_nats


def test_the_second_look_sees_what_covariances_can_not() -> None:
    """A switch that throws the reading far to either side hides nothing: which side it is can be read."""
    z = np.random.default_rng(0).standard_normal((400, 2))
    switch = np.sign(z[:, 1])
    table = table_of(
        [np.stack([z[:, :1] + 20.0 * switch[:, None], z[:, :1] + 0.9 * z[:, 1:]], axis=1)],
        z[:, 0],
        np.array([[0.2]]),
    )
    screen = LinearGaussian(table)
    assert screen.information({0: 0}) < 0.1 < screen.information({0: 1})
    batch = batch_of(table)
    assert picks(batch) == (0,)
    assert batch.information_nats == pytest.approx(0.5 * np.log(1 + 1 / 0.2), abs=0.12)


def test_information_about_everything_would_choose_another_dose() -> None:
    """The dose that moves the readout most moves it by what the goal does not depend on."""
    design = np.array([[[0.3, 5.0]], [[0.9, 0.2]]])
    table = linear_table([design], np.array([[0.3]]), 400)
    assert picks(batch_of(table)) == (1,)
    assert picks(d_optimal(table, np.random.default_rng(7))) == (0,)


def test_a_chip_already_running_at_a_dose_lowers_what_that_dose_gives() -> None:
    design = np.array([[[1.0, 0.0]], [[0.8, 0.3]]])
    noise = np.array([[0.3]])
    alone = linear_table([design], noise, MANY)
    assert alone.standard is not None
    running = replace(
        alone,
        pending=Pending(alone.standard @ design[0].T, noise, np.zeros((1, 1))),
    )
    before, after = LinearGaussian(alone), LinearGaussian(running)
    goal = np.array([1.0, 0.0])
    twice = closed_form(np.concatenate([design[0], design[0]]), 0.3 * np.eye(2), goal)
    once = closed_form(design[0], noise, goal)
    assert before.information({0: 0}) == pytest.approx(once, abs=0.02)
    assert after.information({0: 0}) == pytest.approx(twice - once, abs=0.02)
    assert after.information({0: 0}) < 0.5 * before.information({0: 0})
    assert after.information({}) == pytest.approx(0.0, abs=1e-12)
    # and the policy: the number shown falls too
    few = linear_table([design[:1]], noise, 400)
    assert few.standard is not None
    waiting = Pending(few.standard @ design[0].T, noise, np.zeros((1, 1)))
    shown = batch_of(few), batch_of(replace(few, pending=waiting))
    assert shown[1].information_nats < 0.6 * shown[0].information_nats
    assert abs(shown[1].information_nats - (twice - once)) < 3 * shown[1].error_nats


def test_pending_readings_turn_the_choice() -> None:
    """One dose reads the goal best; while a chip runs at it, the control that explains it is worth more."""
    design = np.array([[[1.0, 1.5]], [[0.0, 1.5]]])
    noise = np.array([[0.2]])
    table = linear_table([design], noise, 400)
    assert table.standard is not None
    running = Pending(table.standard @ design[0].T, noise, np.zeros((1, 1)))
    assert picks(batch_of(table)) == (0,)
    assert picks(batch_of(replace(table, pending=running))) == (1,)


def test_the_same_dose_twice_is_a_design() -> None:
    z = np.random.default_rng(0).standard_normal((400, 1))
    one = np.stack([z, 0.1 * z], axis=1)
    batch = batch_of(table_of([one, one], z[:, 0], np.eye(2)))
    assert picks(batch) == (0, 0)


def three(cost: list[float] | None, nats_per_cost: float | None = None) -> PredictionTable:
    """Return one line whose doses say much, half as much and nothing, at a cost."""
    table = linear_table([np.array([[[2.0]], [[0.9]], [[0.0]]])], np.array([[1.0]]), 400)
    price = None if cost is None else (np.array(cost),)
    return replace(table, cost=price, nats_per_cost=nats_per_cost)


@pytest.mark.parametrize(
    ("table", "wanted"),
    [
        (three(None), 0),
        (three([1.0, 1.0, 1.0]), 0),
        (three([10.0, 1.0, 1.0]), 1),
        (three([10.0, 1.0, 1.0], nats_per_cost=0.01), 0),
        (three([10.0, 1.0, 1.0], nats_per_cost=0.1), 1),
        (three([10.0, 8.0, 1.0], nats_per_cost=1.0), 2),
    ],
    ids=["no cost", "same cost", "per cost", "cheap money", "dear money", "nothing is worth it"],
)
def test_cost_decides_between_doses(table: PredictionTable, wanted: int) -> None:
    assert picks(batch_of(table)) == (wanted,)


def test_a_dose_for_nothing_can_not_be_set_against_its_cost() -> None:
    with pytest.raises(ValueError, match="cost more than 0"):
        batch_of(three([1.0, 0.0, 1.0]))


def test_cost_never_praises_what_teaches_less_than_nothing() -> None:
    worth = Worth(three([1.0, 5.0, 1.0]))
    values = worth.of_line(np.array([-0.1, -0.1, 0.2]), 0, {})
    assert values[1] < values[0] < values[2]


def test_what_can_not_be_told_apart_is_a_tie_and_what_can_is_none() -> None:
    design = np.array([[[1.0]], [[1.0]], [[0.995]], [[0.2]]])
    batch = batch_of(linear_table([design], np.array([[0.3]]), 300))
    tied = {tie.candidates for tie in batch.ties} | {picks(batch)}
    assert tied >= {(0,), (1,)}
    assert (3,) not in tied
    for tie in batch.ties:
        assert tie.behind_nats == pytest.approx(batch.information_nats - tie.information_nats)
        assert tie.behind_nats <= 2 * tie.behind_error_nats + 1e-12


@given(st.integers(0, 2**16), st.booleans())
def test_all_candidates_of_a_line_at_once_are_those_one_by_one(seed: int, waits: bool) -> None:
    table = random_table(seed, [[True] * 4, [True] * 2, [True] * 3])
    if waits:
        assert table.standard is not None
        shared = 0.1 * np.random.default_rng(seed).standard_normal((2, 6))
        table = replace(table, pending=Pending(table.standard[:, :2], np.eye(2), shared))
    measure = LinearGaussian(table)
    for others in ({}, {1: 1}, {1: 0, 2: 2}, {0: 3, 1: 0, 2: 2}):
        wanted = [measure.information({**others, 0: k}) for k in range(4)]
        assert measure.alternatives(0, others) == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_a_linear_batch_with_shared_noise_and_pending_is_its_closed_form() -> None:
    rng = np.random.default_rng(4)
    designs = [0.7 * rng.standard_normal((2, 2, 4)) for _ in range(2)]
    ahead, noise, goal = 0.7 * rng.standard_normal((2, 4)), correlated(6, 2), np.eye(4)[0]
    table = linear_table(designs, noise[2:, 2:], MANY)
    assert table.standard is not None
    table = replace(table, pending=Pending(table.standard @ ahead.T, noise[:2, :2], noise[:2, 2:]))
    everything = np.concatenate([ahead, designs[0][1], designs[1][0]])
    wanted = closed_form(everything, noise, goal) - closed_form(ahead, noise[:2, :2], goal)
    found = LinearGaussian(table).information({0: 1, 1: 0})
    assert found == pytest.approx(wanted, abs=0.02)

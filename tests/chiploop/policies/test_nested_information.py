"""The nested estimate against the closed form, against brute force, and at few draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chiploop.policies.nested_information import (
    NestedMonteCarlo,
    compressed,
    goal_kernel,
    nested_information,
)
from chiploop.policies.prediction_table import Pending
from tests.chiploop.policies.linear import (
    about_everything,
    by_brute_force,
    closed_form,
    correlated,
    linear_table,
)

DRAWS = 2000
PARAMETERS = 4


def linear_model(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a design (size, parameters), whose parameters but the first are nuisance, and noise."""
    design = 0.6 * np.random.default_rng(seed).standard_normal((size, PARAMETERS))
    return design, correlated(size, seed)


@pytest.mark.parametrize("directions", [2, None], ids=["two directions", "all features"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_linear_model_with_nuisance_is_within_its_errors_of_the_closed_form(
    seed: int, directions: int | None
) -> None:
    design, noise = linear_model(3, seed)
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((DRAWS, PARAMETERS))
    found = nested_information(z @ design.T, noise, z[:, 0], rng, directions=directions, pairs=1)
    wanted = closed_form(design, noise, np.eye(PARAMETERS)[0])
    assert found.error_nats < 0.03
    assert abs(found.nats - wanted) < 3 * found.error_nats
    everything = about_everything(design, noise)
    assert abs(found.nats - everything) > 6 * found.error_nats, (
        "the same test rejects another question"
    )


def curved(z: np.ndarray) -> np.ndarray:
    """Return a dose-response's readings of a goal and three nuisance parameters."""
    height = np.exp(0.4 * z[:, 1])
    middle = height / (1.0 + np.exp(1.5 * (z[:, 0] - 0.3 + 0.3 * z[:, 2])))
    return np.stack([2.0 * middle, height + 0.3 * z[:, 3], 0.5 * z[:, 0] ** 2 + z[:, 3]], axis=1)


def test_a_curved_model_is_within_its_errors_of_brute_force() -> None:
    noise = correlated(3, 5, 0.05)
    wanted, error = by_brute_force(curved, 4, noise, np.random.default_rng(1))
    for directions in (2, None):
        rng = np.random.default_rng(2)
        z = rng.standard_normal((DRAWS, 4))
        found = nested_information(curved(z), noise, z[:, 0], rng, directions=directions, pairs=1)
        assert error < 0.04 and found.error_nats < 0.03
        assert abs(found.nats - wanted) < 3 * np.hypot(error, found.error_nats)


def test_brute_force_itself_gives_the_closed_form() -> None:
    design, noise = linear_model(3, 0)
    found, error = by_brute_force(
        lambda z: z @ design.T, PARAMETERS, noise, np.random.default_rng(0)
    )
    assert abs(found - closed_form(design, noise, np.eye(PARAMETERS)[0])) < 3 * error


def test_a_goal_that_is_read_sharply_is_not_blurred() -> None:
    """1.7 nats: neighbours that were not moved to the truth's goal would cost 0.2 of them."""
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        z = rng.standard_normal((256, 2))
        found.append(
            nested_information(3.0 * z[:, :1], np.array([[0.3]]), z[:, 0], rng, pairs=1).nats
        )
    assert np.mean(found) == pytest.approx(0.5 * np.log(1 + 9.0 / 0.3), abs=0.06)


def few(directions: int | None, readings: int = 48, draws: int = 256) -> tuple[np.ndarray, float]:
    """Return estimates at as many draws as a table has, and the truth, of a batch of many readings."""
    rng = np.random.default_rng(3)
    design = rng.standard_normal((readings, 10)) * np.geomspace(1.0, 0.1, 10)
    design[:, 0] = 0.3 * np.abs(design[:, 0])
    noise = 0.5 * np.eye(readings) + 0.5
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        z = rng.standard_normal((draws, 10))
        found.append(
            nested_information(
                z @ design.T, noise, z[:, 0], rng, directions=directions, pairs=1
            ).nats
        )
    return np.array(found), closed_form(design, noise, np.eye(10)[0])


def test_many_readings_do_not_outrun_few_draws() -> None:
    """Seen along two directions the estimate is right to a tenth; seen whole, no draw is near another."""
    ours, wanted = few(2)
    whole, _ = few(None)
    assert abs(ours.mean() - wanted) < 0.1 * wanted
    assert abs(whole.mean() - wanted) > 0.2 * wanted


def test_the_error_is_the_spread_over_repeats() -> None:
    design, noise = linear_model(3, 1)
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        z = rng.standard_normal((200, PARAMETERS))
        found.append(nested_information(z @ design.T, noise, z[:, 0], rng, pairs=1))
    spread = np.std([one.nats for one in found], ddof=1)
    claimed = np.mean([one.error_nats for one in found])
    assert claimed == pytest.approx(spread, rel=0.35), "60 repeats know a spread to 9 %"


def test_what_says_nothing_of_the_goal_has_no_information() -> None:
    found = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        z = rng.standard_normal((256, 3))
        found.append(nested_information(z[:, :2], 0.5 * np.eye(2), z[:, 2], rng, pairs=1).nats)
    assert abs(np.mean(found)) < 0.02


def test_units_of_readouts_and_goal_do_not_matter() -> None:
    design, noise = linear_model(3, 2)
    z = np.random.default_rng(0).standard_normal((200, PARAMETERS))
    units = np.array([1e-3, 1.0, 1e4])
    one = nested_information(z @ design.T, noise, z[:, 0], np.random.default_rng(1))
    other = nested_information(
        z @ design.T * units + 7.0,
        noise * np.outer(units, units),
        4.0 - 2.0 * z[:, 0],
        np.random.default_rng(1),
    )
    assert other.nats == pytest.approx(one.nats, rel=1e-8)
    assert other.error_nats == pytest.approx(one.error_nats, rel=1e-8)


def test_a_draw_far_from_all_others_still_has_neighbours() -> None:
    goal = np.append(np.zeros(50), [40.0, 1e4])
    weights = np.exp(goal_kernel(goal).log_weight)
    assert np.all((weights > 0.5).sum(axis=1) >= 10)
    assert np.all(np.diag(weights) == 0.0)
    features = np.random.default_rng(0).standard_normal((52, 2)) + goal[:, None]
    found = nested_information(features, np.eye(2), goal, np.random.default_rng(1))
    assert np.isfinite([found.nats, found.error_nats]).all()


def test_noise_stays_white_along_the_directions() -> None:
    design, noise = linear_model(6, 4)
    z = np.random.default_rng(0).standard_normal((300, PARAMETERS))
    means, along = compressed(z @ design.T, noise, z[:, 0], 2)
    assert means.shape == (300, 2)
    assert along.T @ along == pytest.approx(np.eye(2))
    white = np.linalg.solve(np.linalg.cholesky(noise), (z @ design.T).T).T
    assert means == pytest.approx((white - white.mean(axis=0)) @ along)


def test_a_batchs_information_is_that_of_its_readings_together() -> None:
    rng = np.random.default_rng(0)
    designs = [0.6 * rng.standard_normal((2, 2, PARAMETERS)) for _ in range(2)]
    noise = correlated(4, 1)
    measure = NestedMonteCarlo(
        linear_table(designs, noise, DRAWS), np.random.default_rng(1), pairs=1
    )
    goal = np.eye(PARAMETERS)[0]
    for chosen in ({0: 1}, {1: 0}, {0: 0, 1: 1}):
        at = np.concatenate([2 * line + np.arange(2) for line in chosen])
        design = np.concatenate([designs[line][k] for line, k in chosen.items()])
        found = measure.information(chosen)
        assert (
            abs(found.nats - closed_form(design, noise[np.ix_(at, at)], goal))
            < 3 * found.error_nats
        )
    assert measure.information({}).nats == 0.0


def test_two_batches_differ_by_less_error_than_each_has() -> None:
    """They share draws and noise, so that near doses can be told apart."""
    design = np.array([[[1.0, 0.3]], [[0.9, 0.3]]])
    measure = NestedMonteCarlo(linear_table([design], np.eye(1), 300), np.random.default_rng(1))
    one, other = measure.information({0: 0}), measure.information({0: 1})
    assert (one - other).error_nats < 0.3 * one.error_nats
    assert (one - other).nats > 0.0


def test_pending_readings_are_known_already() -> None:
    """What is asked is what comes on top of them, with the noise that they share with the future."""
    rng = np.random.default_rng(0)
    design = 0.8 * rng.standard_normal((1, 2, PARAMETERS))
    ahead = 0.8 * rng.standard_normal((2, PARAMETERS))
    noise = correlated(4, 3)
    table = linear_table([design], noise[2:, 2:], DRAWS)
    assert table.standard is not None
    pending = Pending(table.standard @ ahead.T, noise[:2, :2], noise[:2, 2:])
    measure = NestedMonteCarlo(replace(table, pending=pending), np.random.default_rng(1), pairs=1)
    goal = np.eye(PARAMETERS)[0]
    both = closed_form(np.concatenate([ahead, design[0]]), noise, goal)
    wanted = both - closed_form(ahead, noise[:2, :2], goal)
    found = measure.information({0: 0})
    assert abs(found.nats - wanted) < 3 * found.error_nats
    assert measure.information({}).nats == 0.0

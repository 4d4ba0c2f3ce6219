"""Climbs side by side: known maxima, bounds, places without a likelihood, and an end that is said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from chiploop.inference.climber import CONVERGED, NO_SLOPE, STUCK, TOO_LONG, Rules
from chiploop.inference.fisher_scoring import climb

BOUND = np.full(2, 3.0)


@dataclass(frozen=True)
class Seen:
    gradient: np.ndarray
    curvature: np.ndarray


@dataclass(frozen=True)
class Valley:
    """A narrow, bent valley (Rosenbrock 1960) whose information leaves out how it bends."""

    wall: float = np.inf
    """No likelihood where the first parameter is larger."""
    wrong: float = 1.0
    """Factor on the gradient."""

    def log_density(self, parameters: np.ndarray) -> np.ndarray:
        x, y = parameters.T
        height = -0.5 * (100.0 * (y - x**2) ** 2 + (1.0 - x) ** 2)
        return np.where(x > self.wall, -np.inf, height)

    def slopes(self, parameters: np.ndarray) -> Seen:
        x, y = parameters.T
        rows = np.stack(
            [
                np.stack([-20.0 * x, np.full_like(x, 10.0)], axis=1),
                np.stack([np.full_like(x, -1.0), np.zeros_like(x)], axis=1),
            ],
            axis=1,
        )
        residuals = np.stack([10.0 * (y - x**2), 1.0 - x], axis=1)
        gradient = -np.einsum("nrp,nr->np", rows, residuals)
        return Seen(self.wrong * gradient, np.einsum("nrp,nrq->npq", rows, rows))


def test_climbs_from_everywhere_reach_the_one_maximum() -> None:
    starts = np.random.default_rng(1).uniform(-3, 3, (12, 2))
    found = climb(Valley(), starts, -BOUND, BOUND, Rules())
    assert found.reasons == (CONVERGED,) * 12 and found.converged.all()
    assert np.abs(found.parameters - 1.0).max() < 1e-6
    assert (found.iterations > 3).all()


def test_a_climb_is_the_same_whatever_climbs_beside_it() -> None:
    starts = np.random.default_rng(2).uniform(-3, 3, (5, 2))
    together = climb(Valley(), starts, -BOUND, BOUND, Rules())
    for row, start in enumerate(starts):
        alone = climb(Valley(), start[None], -BOUND, BOUND, Rules())
        assert alone.parameters[0].tolist() == together.parameters[row].tolist()
        assert alone.iterations[0] == together.iterations[row]


def test_a_maximum_beyond_a_bound_is_found_on_it() -> None:
    upper = np.array([0.5, 3.0])
    found = climb(Valley(), np.array([[-1.0, 2.0]]), -BOUND, upper, Rules())
    assert found.converged[0]
    assert found.parameters[0, 0] == 0.5
    assert found.parameters[0, 1] == pytest.approx(0.25, abs=1e-6)


def test_a_parameter_with_equal_bounds_stays() -> None:
    lower, upper = np.array([[-2.0, -3.0]]), np.array([[-2.0, 3.0]])
    found = climb(Valley(), np.array([[-2.0, 0.0]]), lower, upper, Rules())
    assert found.parameters[0] == pytest.approx([-2.0, 3.0]) and found.parameters[0, 0] == -2.0


def test_a_step_to_where_there_is_no_likelihood_is_tried_again_shorter() -> None:
    found = climb(Valley(wall=1.05), np.array([[-1.5, 2.0]]), -BOUND, BOUND, Rules())
    assert found.converged[0] and np.abs(found.parameters - 1.0).max() < 1e-6


def test_a_climb_that_can_not_begin_says_so_and_leaves_the_others_alone() -> None:
    starts = np.array([[2.0, 0.0], [-1.5, 2.0]])
    found = climb(Valley(wall=1.5), starts, -BOUND, BOUND, Rules())
    assert found.reasons == (NO_SLOPE, CONVERGED)
    assert found.log_density[0] == -np.inf and found.parameters[0].tolist() == [2.0, 0.0]


def test_a_climb_that_is_cut_short_is_not_called_converged() -> None:
    found = climb(Valley(), np.array([[-2.0, 2.0]]), -BOUND, BOUND, Rules(iterations=3))
    assert found.reasons == (TOO_LONG,) and not found.converged[0]
    assert found.iterations.tolist() == [3]


def test_a_wrong_gradient_is_not_called_converged() -> None:
    found = climb(Valley(wrong=-1.0), np.array([[-2.0, 2.0]]), -BOUND, BOUND, Rules())
    assert found.reasons == (STUCK,) and not found.converged[0]

"""The best step within a box is the one that no rule of optimality can better."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.inference.box_step import box_step


def problem(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Badly scaled, and with some parameters at a bound or held."""
    rng = np.random.default_rng(seed)
    p = int(rng.integers(1, 25))
    rows = rng.normal(size=(p + 3, p)) * 10.0 ** rng.uniform(-2, 2, p)
    lower, upper = -2 * rng.random(p), 2 * rng.random(p)
    lower[rng.random(p) < 0.2] = 0.0
    upper[rng.random(p) < 0.2] = 0.0
    return rng.normal(size=p) * 10.0 ** rng.uniform(-2, 3), rows.T @ rows + np.eye(p), lower, upper


@pytest.mark.parametrize("seed", range(60))
def test_no_parameter_can_move_to_gain_more(seed: int) -> None:
    gradient, curvature, lower, upper = problem(seed)
    step = box_step(gradient, curvature, lower, upper)
    assert (step >= lower).all() and (step <= upper).all()
    slope = gradient - curvature @ step
    size = 1e-9 * np.abs(gradient).max()
    assert (slope[step < upper] <= size).all()
    assert (slope[step > lower] >= -size).all()


def test_a_step_that_no_bound_meets_is_newtons() -> None:
    gradient, curvature = np.array([1.0, -2.0]), np.array([[3.0, 1.0], [1.0, 2.0]])
    step = box_step(gradient, curvature, np.full(2, -9.0), np.full(2, 9.0))
    assert step == pytest.approx(np.linalg.solve(curvature, gradient))


def test_where_all_are_held_nothing_moves() -> None:
    assert box_step(np.ones(3), np.eye(3), np.zeros(3), np.zeros(3)).tolist() == [0.0, 0.0, 0.0]

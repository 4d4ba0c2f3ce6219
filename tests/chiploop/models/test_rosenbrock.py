"""The emitted step, run as plain Python: its order, its stiff behaviour, its elimination."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from chiploop.models.rosenbrock import elimination_order, factor_lines, solve_lines, step_source

Step = Callable[..., None]


def compiled(source: str) -> Step:
    names: dict[str, object] = {"math": math}
    exec(source, names)
    return names["step"]  # type: ignore[return-value]


def predator_and_prey() -> Step:
    """y0' = y0 (1 - y1), y1' = y1 (y0 - 1): smooth, nonlinear, coupled."""
    rhs = [("c0", "y0*y1"), ("f0", "y0-c0"), ("f1", "c0-y1")]
    jacobian = [("J_0_0", "1.0-y1"), ("J_0_1", "-y0"), ("J_1_0", "y1"), ("J_1_1", "y0-1.0")]
    return compiled(step_source(2, rhs, ["f0", "f1"], jacobian, {(0, 0), (0, 1), (1, 0), (1, 1)}))


def linear(rate: str) -> Step:
    return compiled(step_source(1, [("f0", f"({rate})*y0")], ["f0"], [("J_0_0", rate)], {(0, 0)}))


def run(step: Step, start: np.ndarray, end: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    y, z, e = start.copy(), np.empty_like(start), np.empty_like(start)
    first = np.empty_like(start)
    for i in range(steps):
        step(y, (), (), end / steps, z, e)
        if i == 0:
            first[:] = e
        y[:] = z
    return y, first


def test_the_error_falls_with_the_fourth_power_of_the_step() -> None:
    exact = solve_ivp(
        lambda _, y: [y[0] - y[0] * y[1], y[0] * y[1] - y[1]],
        (0, 4),
        [1.5, 0.7],
        "DOP853",
        rtol=1e-13,
        atol=1e-13,
    ).y[:, -1]
    step = predator_and_prey()
    errors, estimates = [], []
    for steps in (100, 200, 400, 800):
        y, first = run(step, np.array([1.5, 0.7]), 4.0, steps)
        errors.append(np.linalg.norm(y - exact))
        estimates.append(np.linalg.norm(first))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders == pytest.approx([4.0, 4.0, 4.0], abs=0.35)
    # the embedded estimate of one step is of order 3 + 1
    assert np.log2(np.array(estimates[:-1]) / estimates[1:]) == pytest.approx([4.0] * 3, abs=0.35)


@pytest.mark.parametrize("stiffness", [1e2, 1e4, 1e8])
def test_a_component_far_faster_than_the_step_is_damped_in_one_step(stiffness: float) -> None:
    z, e = np.empty(1), np.empty(1)
    linear(f"-{stiffness!r}")(np.array([1.0]), (), (), 1.0, z, e)
    assert abs(z[0]) < 10.0 / stiffness


def test_a_linear_decay_is_stable_at_every_step_size() -> None:
    step, z, e = linear("-1.0"), np.empty(1), np.empty(1)
    for h in np.geomspace(1e-3, 1e6, 60):
        step(np.array([1.0]), (), (), h, z, e)
        assert abs(z[0]) <= 1.0
        if h < 0.2:
            assert z[0] == pytest.approx(math.exp(-h), abs=h**5)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_the_written_out_elimination_solves_what_numpy_solves(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    pattern = {(i, j) for i in range(n) for j in range(n) if rng.random() < 0.3}
    matrix = np.zeros((n, n))
    for i, j in pattern:
        matrix[i, j] = rng.normal()
    diagonal = 1.0 + np.abs(matrix).sum()
    order, filled = elimination_order(n, pattern)
    assert sorted(order) == list(range(n))
    assert pattern <= filled
    right = rng.normal(size=n)
    names: dict[str, float] = {"d": diagonal}
    names |= {f"J_{i}_{j}": matrix[i, j] for i, j in pattern}
    names |= {f"x{i}": right[i] for i in range(n)}
    for name, value in (
        *factor_lines(n, pattern, order, filled),
        *solve_lines(n, order, filled, "x"),
    ):
        names[name] = eval(value, {}, names)
    wanted = np.linalg.solve(diagonal * np.eye(n) - matrix, right)
    assert [names[f"x{i}"] for i in range(n)] == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_a_chain_is_eliminated_without_fill() -> None:
    arrow = {(0, j) for j in range(6)} | {(i, 0) for i in range(6)}
    _, filled = elimination_order(6, arrow)
    assert filled == arrow | {(i, i) for i in range(6)}

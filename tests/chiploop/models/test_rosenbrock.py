"""The methods: their order, their stiff behaviour, their dense output, their elimination; run as plain Python."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from chiploop.models.rosenbrock import METHODS, Elimination, Method, elimination_order, step_program
from chiploop.models.straight_line import Program

Y0, Y1 = sympy.Symbol("y0", real=True), sympy.Symbol("y1", real=True)
PREY = [Y0 * (1 - Y1), Y1 * (Y0 - 1)]
"""Smooth, nonlinear, coupled."""


def evaluate(program: Program, arrays: Mapping[str, Sequence[float]]) -> list[float]:
    """Run a program one operation at a time."""
    values: list[float] = []
    two = {"add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b}
    two |= {"div": lambda a, b: a / b, "max": max, "min": min, "pow": lambda a, b: a**b}
    one = {"neg": lambda a: -a, "abs": abs, "sqrt": math.sqrt}
    for kind, *operands in program.operations:
        if kind == "constant":
            values.append(operands[0])
        elif kind == "load":
            values.append(float(arrays[operands[0]][operands[1]]))
        else:
            values.append({**one, **two}[kind](*(values[o] for o in operands)))
    return values


class PlainStep:
    """One step of a method for a system without parameters."""

    def __init__(self, method: Method, rates: Sequence[sympy.Expr]) -> None:
        variables = [sympy.Symbol(f"y{i}", real=True) for i in range(len(rates))]
        jacobian = {
            (i, j): sympy.diff(rate, variable)
            for i, rate in enumerate(rates)
            for j, variable in enumerate(variables)
            if rate.has(variable)
        }
        self.n = len(rates)
        names = [str(v) for v in variables]
        self.step = step_program(method, rates, jacobian, names, {}, range(self.n))

    def __call__(self, y: Sequence[float], h: float) -> tuple[np.ndarray, float, np.ndarray]:
        """Return the new state, the root of the mean square error (absolute), and K_m (m, n)."""
        arrays = {"y": y, "h": [h], "absolute": [1.0] * self.n, "relative": [0.0]}
        values = evaluate(self.step.program, arrays)
        new = np.array([values[i] for i in self.step.new])
        dense = np.array([[values[i] for i in row] for row in self.step.dense])
        return new, math.sqrt(values[self.step.error]), dense


def prey(end: float, start: Sequence[float]) -> np.ndarray:
    found = solve_ivp(
        lambda _, y: [y[0] * (1 - y[1]), y[1] * (y[0] - 1)],
        (0, end), start, "DOP853", rtol=1e-13, atol=1e-13,
    )  # fmt: skip
    return found.y[:, -1]


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_error_falls_with_the_power_of_the_step_that_the_method_promises(
    method: Method,
) -> None:
    exact, step = prey(4.0, [1.5, 0.7]), PlainStep(method, PREY)
    errors, estimates = [], []
    for steps in (100, 200, 400):
        y = np.array([1.5, 0.7])
        for i in range(steps):
            y, estimate, _ = step(y, 4.0 / steps)
            if i == 0:
                estimates.append(estimate)
        errors.append(np.linalg.norm(y - exact))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders == pytest.approx([method.order] * 2, abs=0.35)
    # the embedded estimate of one step is of one order less, and h more for one step
    assert np.log2(np.array(estimates[:-1]) / estimates[1:]) == pytest.approx(
        [method.order] * 2, abs=0.4
    )


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_between_steps_the_error_falls_as_fast_as_the_dense_output_promises(
    method: Method,
) -> None:
    step, start, errors = PlainStep(method, PREY), [1.5, 0.7], []
    thetas = (0.25, 0.5, 0.8)
    for h in (0.05, 0.025, 0.0125):
        new, _, dense = step(start, h)
        worst = 0.0
        for theta in thetas:
            inner = sum(k * theta**m for m, k in enumerate(dense))
            between = (1 - theta) * np.array(start) + theta * (new + (1 - theta) * inner)
            worst = max(worst, float(np.linalg.norm(between - prey(theta * h, start))))
        errors.append(worst)
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > method.order - 0.4).all(), "order of the method less one, and one for one step"


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("stiffness", [1e2, 1e4, 1e8])
def test_a_component_far_faster_than_the_step_is_damped_in_one_step(
    method: Method, stiffness: float
) -> None:
    new, _, _ = PlainStep(method, [-stiffness * Y0])([1.0], 1.0)
    assert abs(new[0]) < 40.0 / stiffness


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_linear_decay_is_stable_at_every_step_size(method: Method) -> None:
    step = PlainStep(method, [-Y0])
    for h in np.geomspace(1e-3, 1e6, 60):
        new, _, _ = step([1.0], h)
        assert abs(new[0]) <= 1.0
        if h < 0.2:
            assert new[0] == pytest.approx(math.exp(-h), abs=h**5)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_the_written_out_elimination_solves_what_numpy_solves(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    pattern = [(i, j) for i in range(n) for j in range(n) if rng.random() < 0.3]
    matrix = np.zeros((n, n))
    for i, j in pattern:
        matrix[i, j] = rng.normal()
    right, diagonal = rng.normal(size=n), 1.0 + np.abs(matrix).sum()
    program = Program()
    entries = {place: program.load("J", k, True) for k, place in enumerate(pattern)}
    elimination = Elimination(program, n, entries, program.load("d", 0, True))
    found = elimination.solve([program.load("b", i, True) for i in range(n)])
    values = evaluate(
        program, {"J": [matrix[p] for p in pattern], "d": [diagonal], "b": right.tolist()}
    )
    wanted = np.linalg.solve(diagonal * np.eye(n) - matrix, right)
    assert [values[i] for i in found] == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_a_chain_is_eliminated_without_fill() -> None:
    arrow = {(0, j) for j in range(6)} | {(i, 0) for i in range(6)}
    order, filled = elimination_order(6, arrow)
    assert sorted(order) == list(range(6))
    assert filled == arrow | {(i, i) for i in range(6)}

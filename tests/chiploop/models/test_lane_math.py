"""exp, log and power of the lanes against a multiple-precision reference."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable

import mpmath
import numpy as np
import pytest

from chiploop.models import lanes
from chiploop.models.batch import aligned
from chiploop.models.model_plan import RowProgram
from chiploop.models.straight_line import Program

KINDS = ("exp", "log", "pow", "max", "min")
Two = Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]


def compiled(width: int) -> Two:
    program = Program()
    x, y = program.load("x", 0, True), program.load("x", 1, True)
    results = [program.apply("exp", x), program.apply("log", x), program.apply("pow", x, y)]
    results += [program.apply("max", x, y), program.apply("min", x, y)]
    row = lanes.row_function(RowProgram("all_of_it", program, ("x",), tuple(results)), width)
    target = lanes.machine()
    code = lanes.compile_object(lanes.declarations(width) + row, target)
    address = lanes.load_object(code, ["all_of_it"], target)["all_of_it"]
    pointers = [ctypes.c_void_p] * lanes.POINTERS
    function = ctypes.CFUNCTYPE(ctypes.c_int64, *pointers, ctypes.c_int64, ctypes.c_int64)(address)
    into, out = aligned(2, width), aligned(len(results), width)

    def run(xs: np.ndarray, ys: np.ndarray) -> dict[str, np.ndarray]:
        parts = []
        for first in range(0, len(xs), width):
            part = slice(first, first + width)
            into[:, : len(xs[part])] = xs[part], ys[part]
            function(into.ctypes.data, *[out.ctypes.data] * (lanes.POINTERS - 1), 0, 0)
            parts.append(out[:, : len(xs[part])].copy())
        return dict(zip(KINDS, np.concatenate(parts, axis=1), strict=True))

    return run


@pytest.fixture(scope="module", params=[2, 4, 8])
def by_lanes(request: pytest.FixtureRequest) -> Two:
    """The functions for rows of 2, 4 and 8 lanes."""
    return compiled(request.param)


def units_off(found: np.ndarray, wanted: list[mpmath.mpf]) -> float:
    """Return the largest error in units of the last place."""
    exact = np.array([float(w) for w in wanted])
    return float(np.max(np.abs(found - exact) / np.spacing(np.abs(exact))))


def test_exp_and_log_are_right_to_two_units_in_the_last_place(by_lanes: Two) -> None:
    rng = np.random.default_rng(1)
    with mpmath.workprec(120):
        xs = np.concatenate([rng.uniform(-708, 709, 2000), rng.normal(0, 1, 2000)])
        found = by_lanes(xs, xs)["exp"]
        assert units_off(found, [mpmath.exp(mpmath.mpf(float(x))) for x in xs]) <= 2.0
        xs = np.exp(np.concatenate([rng.uniform(-708, 709, 2000), rng.normal(0, 1e-3, 1000)]))
        found = by_lanes(xs, xs)
        assert units_off(found["log"], [mpmath.log(mpmath.mpf(float(x))) for x in xs]) <= 2.0


def test_a_power_is_as_good_as_its_exponent_allows(by_lanes: Two) -> None:
    rng = np.random.default_rng(2)
    xs, ys = np.exp(rng.uniform(-20, 20, 2000)), rng.uniform(-8, 8, 2000)
    with mpmath.workprec(120):
        exact = [mpmath.mpf(float(x)) ** mpmath.mpf(float(y)) for x, y in zip(xs, ys, strict=True)]
    found = by_lanes(xs, ys)["pow"]
    wanted = np.array([float(e) for e in exact])
    bound = (2.0 + 1.5 * np.abs(ys * np.log(xs))) * np.finfo(float).eps
    assert (np.abs(found / wanted - 1.0) <= bound).all()


def test_special_values_are_those_of_the_standard(by_lanes: Two) -> None:
    special = [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 5e-324, 1e-310, 800.0, -800.0]
    xs, ys = (a.ravel() for a in np.meshgrid(special, [*special, 2.0, 3.0, 0.5, -2.0]))
    found = by_lanes(xs, ys)
    with np.errstate(all="ignore"):
        assert found["exp"] == pytest.approx(np.exp(xs), rel=1e-15, abs=0.0, nan_ok=True)
        assert found["log"] == pytest.approx(np.log(xs), rel=1e-15, nan_ok=True)
        assert np.array_equal(found["max"], np.maximum(xs, ys), equal_nan=True)
        assert np.array_equal(found["min"], np.minimum(xs, ys), equal_nan=True)
        # a power of minus zero or to minus infinity keeps its size; its sign is not promised
        wanted = np.power(xs, ys)
        plain = ~((xs < 0) & np.isinf(ys)) & ~((xs == 1.0) | (np.abs(xs) == 1.0) & np.isinf(ys))
        plain &= ~((xs == 0.0) & np.isnan(ys))
        plain &= ~((xs == -math.inf) & (ys != np.round(ys)))  # not a number here, as for -1.0
    assert np.abs(found["pow"][plain]) == pytest.approx(
        np.abs(wanted[plain]), rel=1e-12, nan_ok=True
    )
    negative = (xs == -1.0) & (ys == 3.0)
    assert (found["pow"][negative] == -1.0).all()


def test_a_wrong_function_would_not_pass() -> None:
    """The comparison above tells a relative error of 1e-15 from the truth."""
    xs = np.exp(np.random.default_rng(3).uniform(-5, 5, 200))
    with mpmath.workprec(120):
        exact = [mpmath.exp(mpmath.mpf(float(x))) for x in xs]
    assert units_off(np.exp(xs) * (1.0 + 1e-15), exact) > 2.0

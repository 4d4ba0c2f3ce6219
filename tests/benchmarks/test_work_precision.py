"""What is said of solvers at equal error, on points made up by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.work_precision import Point, errors, loosest_within, rate_at, slope


def curve(*pairs: tuple[float, float, float]) -> list[Point]:
    return [Point(rtol, error, error, rate) for rtol, error, rate in pairs]


USUAL = curve((1e-3, 1e-3, 800.0), (1e-4, 1e-4, 400.0), (1e-5, 1e-6, 100.0), (1e-6, 1e-7, 50.0))


def test_the_loosest_tolerance_within_an_error_is_met_by_every_tighter_one() -> None:
    found = loosest_within(USUAL, 1e-5)
    assert found is not None
    assert found.rtol == 1e-5
    lucky = curve((1e-3, 1e-6, 800.0), (1e-4, 1e-4, 400.0), (1e-5, 1e-6, 100.0))
    found = loosest_within(lucky, 1e-5)
    assert found is not None
    assert found.rtol == 1e-5, "a loose tolerance that hits by luck does not count"


def test_the_order_of_the_points_does_not_matter() -> None:
    assert loosest_within(USUAL[::-1], 1e-5) == loosest_within(USUAL, 1e-5)
    assert rate_at(USUAL[::-1], 1e-5) == rate_at(USUAL, 1e-5)


def test_a_solver_that_never_meets_the_error_has_no_rate() -> None:
    assert loosest_within(USUAL, 1e-9) is None
    assert rate_at(USUAL, 1e-9) is None
    assert loosest_within(curve((1e-3, math.nan, 1.0)), 1e-5) is None


def test_the_rate_between_two_tolerances_lies_on_their_line_in_logarithms() -> None:
    # from (1e-6, 100) to (1e-4, 400): half of the way in both logarithms
    assert rate_at(USUAL, 1e-5) == pytest.approx(200.0)


def test_an_error_that_a_tolerance_meets_exactly_has_its_rate() -> None:
    assert rate_at(USUAL, 1e-6) == 100.0


def test_nothing_is_guessed_beyond_the_loosest_tolerance() -> None:
    assert rate_at(USUAL, 1e-2) is None
    failed = curve((1e-3, math.inf, 800.0), (1e-4, 1e-6, 400.0))
    assert rate_at(failed, 1e-5) is None


def test_an_error_counts_the_value_and_a_thousandth_of_its_readouts_range() -> None:
    reference = np.array([0.0, 1000.0]).reshape(1, 1, 2, 1)
    found = np.array([0.5, 1001.0]).reshape(1, 1, 2, 1)
    largest, percentile = errors(found, reference)
    assert largest == pytest.approx(0.5)
    assert percentile == largest


def test_a_readout_that_is_missing_is_an_infinite_error_and_one_that_nobody_has_is_none() -> None:
    reference = np.array([1.0, 2.0, np.nan]).reshape(1, 1, 3, 1)
    assert errors(reference, reference)[0] == 0.0
    assert errors(np.full_like(reference, np.nan), reference)[0] == math.inf


def test_a_slope_is_the_exponent() -> None:
    x = np.array([1.0, 10.0, 300.0])
    assert slope(x, 7.0 * x**1.5) == pytest.approx(1.5)

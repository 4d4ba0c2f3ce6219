"""The forecast of chips is the arithmetic it claims, and is silent where nothing can be told."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiploop.forecast import Forecast, forecast


def test_the_bounds_are_those_of_equal_information_and_of_equal_precision() -> None:
    # ln 16 to ln 2 is a factor 4: ln 4 / 0.5 = 2.8 cycles; (16 - 1) / (e - 1) = 8.7 cycles
    assert forecast((10.0, 160.0), 2.0, 0.5, 12) == Forecast(36, 108, 2.0)


def test_a_cycle_that_is_enough_is_one_cycle() -> None:
    assert forecast((10.0, 40.0), 2.0, math.log(2.0), 12) == Forecast(12, 12, 2.0)


def test_the_first_cycle_counts_the_same_in_both_bounds() -> None:
    # one cycle of g nats shrinks the width by exp(-g) in both
    for nats in (0.05, 0.3, 1.0):
        width = math.log(2.0) * math.exp(nats)
        found = forecast((1.0, math.exp(width)), 2.0, nats, 5)
        assert found == Forecast(5, 5, 2.0)


def test_an_interval_that_is_narrow_enough_needs_nothing_more() -> None:
    assert forecast((10.0, 20.0), 2.0, None, 12) == Forecast(0, 0, 2.0)
    assert forecast((10.0, 19.0), 2.0, 0.1, 12).sentence == "the interval is within 2-fold"  # type: ignore[union-attr]


@pytest.mark.parametrize("nats", [None, 0.0, -0.1, math.nan, math.inf, 1e-9])
def test_without_information_nothing_is_told(nats: float | None) -> None:
    assert forecast((10.0, 160.0), 2.0, nats, 12) is None


@pytest.mark.parametrize(
    ("interval", "factor"),
    [((0.0, 1.0), 2.0), ((1.0, math.inf), 2.0), ((2.0, 1.0), 2.0), ((math.nan, 1.0), 2.0), ((1.0, 9.0), 1.0)],
)  # fmt: skip
def test_an_interval_that_is_not_known_gives_no_forecast(
    interval: tuple[float, float], factor: float
) -> None:
    assert forecast(interval, factor, 0.5, 12) is None


def test_it_is_said_as_a_range() -> None:
    assert Forecast(36, 108, 2.0).sentence == "about 36 to 108 more chips to 2-fold"
    assert Forecast(12, 12, 1.5).sentence == "about 12 more chips to 1.5-fold"


@given(st.floats(1.01, 1e4), st.floats(1.05, 20.0), st.floats(0.01, 3.0), st.integers(1, 50))
def test_the_least_is_never_above_the_most_and_both_are_whole_cycles(
    fold: float, factor: float, nats: float, chips: int
) -> None:
    found = forecast((1.0, fold), factor, nats, chips)
    if found is not None:
        assert 0 <= found.least <= found.most
        assert found.least % chips == found.most % chips == 0
        cycles = found.least // chips
        assert math.log(fold) * math.exp(-nats * cycles) <= math.log(factor) * (1 + 1e-6)
        if cycles:
            assert math.log(fold) * math.exp(-nats * (cycles - 1)) > math.log(factor)

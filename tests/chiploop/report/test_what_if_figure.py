"""Names beside lines stand apart, colours come again dashed, ticks are whole hours, days or weeks."""

from __future__ import annotations

import pytest

from chiploop.report.what_if_figure import DRUGS, spread_out, style_of, tick_step


@pytest.mark.parametrize(
    "values", [[1.0, 1.0, 1.0], [0.0, 5.0, 9.9], [9.8, 9.9, 10.0], [-3.0, -3.0, 2.0], []]
)
def test_names_stand_apart_in_the_order_of_their_lines_and_below_the_top(
    values: list[float],
) -> None:
    places = spread_out(values, 1.0, 10.0)
    assert all(b - a >= 1.0 - 1e-9 for a, b in zip(places, places[1:], strict=False))
    assert all(place <= 10.0 for place in places)


def test_names_that_are_apart_stay_where_their_lines_end() -> None:
    assert spread_out([1.0, 4.0, 8.0], 1.0, 10.0) == [1.0, 4.0, 8.0]


def test_no_two_of_twelve_doses_look_alike() -> None:
    chips = ("control", "stimulus", *(f"stimulus + {nm} nM" for nm in range(1, 2 * len(DRUGS) + 1)))
    styles = {repr(style_of(chip, place, chips)) for place, chip in enumerate(chips)}
    assert len(styles) == len(chips)


@pytest.mark.parametrize(("hours", "step"), [(24, 4), (48, 12), (168, 24), (240, 48), (1000, 168)])
def test_ticks_of_a_time_axis(hours: float, step: float) -> None:
    assert tick_step(hours) == step

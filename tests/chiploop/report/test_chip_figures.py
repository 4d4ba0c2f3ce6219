"""A reading that does not count does not look as if it did."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from chiploop.measurement import Readout
from chiploop.report.chip_figures import one_reading
from chiploop.report.svg import QUIET

READ = Readout("C01", "CCL26", 40.0, "pg/mL", 0.1, "log", 72.0)
BELOW = replace(READ, value=math.nan, censoring="left", upper=15.0)
ABOVE = replace(READ, value=math.nan, censoring="right", lower=1000.0)


@pytest.mark.parametrize(
    ("reading", "marker", "at"),
    [(READ, "s", 40.0), (BELOW, "v", 15.0), (ABOVE, "^", 1000.0)],
)
def test_what_was_left_out_is_a_grey_cross_whatever_it_was(
    reading: Readout, marker: str, at: float
) -> None:
    for qc, shown in (("ok", (marker, "#004488")), ("fail", ("x", QUIET))):
        ax = Figure().subplots()
        one_reading(ax, 72.0, replace(reading, qc=qc), 1.0, "#004488", "s")  # type: ignore[arg-type]
        (mark,) = (line for line in ax.lines if line.get_marker() != "None")
        colour = mark.get_markeredgecolor() if marker in "v^" and qc == "ok" else mark.get_color()
        assert (mark.get_marker(), colour) == shown
        assert list(mark.get_ydata()) == [at]


def test_nothing_is_drawn_where_not_even_a_bound_is_known() -> None:
    ax = Figure().subplots()
    one_reading(ax, 72.0, replace(READ, value=math.nan, qc="fail"), 1.0, "#004488", "s")
    assert not ax.lines

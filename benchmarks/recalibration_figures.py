"""Figure of the recalibration benchmark: effective draws against time, every sampler from its first step.

Belongs here: drawing. Not here: measuring. The same numbers give the same bytes.
"""

from __future__ import annotations

from math import log10
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from benchmarks.simulation_figures import spread, write
from chiploop.report.svg import QUIET, STYLE, WIDTH_IN, set_margins

LOOK: dict[str, tuple[str, str]] = {
    "chiploop, cold": ("#0072B2", "o"),
    "chiploop, warm": ("#56B4E9", "o"),
    "emcee, stretch": ("#E69F00", "v"),
    "emcee, DE": ("#D55E00", "^"),
    "pyPESTO, NUTS": ("#009E73", "s"),
    "pyPESTO, adaptive Metropolis": ("#117733", "D"),
}
"""Sampler -> colour (Okabe and Ito) and marker."""


def write_figure(found: dict[str, Any], folder: Path) -> None:
    """Write the figure."""
    folder.mkdir(parents=True, exist_ok=True)
    style = {**STYLE, "figure.facecolor": "white", "axes.facecolor": "white", "axes.titlesize": 7.5}
    with matplotlib.rc_context(style):  # type: ignore[arg-type]
        write(figure_of(found), folder / "recalibration_ess.svg")


def figure_of(found: dict[str, Any]) -> Figure:
    """Return effective draws of the worst parameter over seconds, both in logarithms."""
    figure = Figure(figsize=(WIDTH_IN, 3.6))
    set_margins(figure, 0.75, 2.0, 0.5, 0.35)
    axes = figure.add_subplot()
    lines: dict[str, list[tuple[float, float]]] = {
        f"chiploop, {name}": [(found[name]["wall_s"], found[name]["counted_ess"])]
        for name in ("cold", "warm")
    }
    lines |= {name: [tuple(at) for at in row["growth"]] for name, row in found["peers"].items()}
    lines = {name: points for name, points in lines.items() if points}
    for name, points in lines.items():
        colour, marker = LOOK[name]
        seconds, size = zip(*points, strict=True)
        axes.plot(seconds, size, color=colour, marker=marker, markersize=4.5, linewidth=1.1)
    axes.axhline(1000.0, color=QUIET, linewidth=0.7, linestyle=(0, (4, 3)))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("seconds from the first step, tuning and burn-in included")
    axes.set_ylabel("effective draws of the worst parameter")
    axes.set_title("One posterior, one density, one engine (upper left is better)")
    axes.grid(which="major", color="#e6e9ec", linewidth=0.6)
    axes.set_axisbelow(True)
    ends = {name: points[-1] for name, points in lines.items()}
    low, high = axes.get_ylim()
    right = axes.get_xlim()[1]
    ratio = high / low
    heights = [log10(y) for _, y in ends.values()]
    places = spread(heights, 0.06 * log10(ratio))
    for (name, (x, y)), place in zip(ends.items(), places, strict=True):
        colour = LOOK[name][0]
        axes.annotate(
            name, (x, y), (right * 1.25, 10.0**place), annotation_clip=False, color=colour,
            fontsize=7.5, va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4, "alpha": 0.6},
        )  # fmt: skip
    return figure

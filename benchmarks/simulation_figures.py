"""Figures of the simulation benchmark: work and precision, growth of time and memory.

Belongs here: drawing. Not here: measuring. The same figures give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from chiploop.report.svg import INK, QUIET, STYLE, WIDTH_IN, set_margins

LOOK: dict[str, tuple[str, str]] = {
    "chiploop": ("#0072B2", "o"),
    "chiploop, Rodas4": ("#56B4E9", "s"),
    "chiploop, scalar": ("#5f6b76", "D"),
    "libRoadRunner, restarts": ("#D55E00", "^"),
    "libRoadRunner, events": ("#E69F00", "v"),
    "SciPy LSODA, odeint": ("#009E73", "P"),
    "SciPy LSODA, solve_ivp": ("#117733", "X"),
    "diffrax Kvaerno5": ("#CC79A7", "*"),
}
"""Simulator -> colour (Okabe and Ito) and marker."""
ENGLISH = {
    "chips": "chips of a study ({sets} parameter sets)",
    "trajectories": "trajectories (12 chips)",
}


def write_figures(found: dict[str, Any], folder: Path) -> None:
    """Write the figures that there are numbers for."""
    folder.mkdir(parents=True, exist_ok=True)
    style = {**STYLE, "figure.facecolor": "white", "axes.facecolor": "white", "axes.titlesize": 7.5}
    with matplotlib.rc_context(style):  # type: ignore[arg-type]
        write(work_precision_figure(found), folder / "simulation_work_precision.svg")
        if "growth" in found:
            write(growth_figure(found["growth"]), folder / "simulation_scaling.svg")


def write(figure: Figure, path: Path) -> None:
    """Write a figure without a date."""
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def work_precision_figure(found: dict[str, Any]) -> Figure:
    """Return error and rate of every simulator, one point per tolerance."""
    figure = Figure(figsize=(WIDTH_IN, 4.2))
    set_margins(figure, 0.75, 1.75, 0.5, 0.35)
    axes = figure.add_subplot()
    axes.axvline(found["equal_error"], color=QUIET, linewidth=0.7, linestyle=(0, (4, 3)))
    ends: list[tuple[float, float, str]] = []
    for name, points in found["curves"].items():
        colour, marker = LOOK[name]
        shown = sorted(points, key=lambda p: p["rtol"])
        x = [p["largest_error"] for p in shown]
        y = [p["per_s"] for p in shown]
        inside = "white" if name.endswith("events") else colour
        axes.plot(
            x, y, color=colour, marker=marker, markersize=4.0, linewidth=1.1, markerfacecolor=inside
        )
        ends.append((x[-1], y[-1], name))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("largest error of a readout, relative")
    axes.set_ylabel("trajectories per second of one core")
    axes.set_title("Twelve chips, one core: work and precision (upper left is better)")
    axes.grid(which="major", color="#e6e9ec", linewidth=0.6)
    axes.set_axisbelow(True)
    low, high = axes.get_ylim()
    places = spread([float(np.log10(y)) for _, y, _ in ends], 0.05 * float(np.log10(high / low)))
    right = axes.get_xlim()[1]
    for (x_end, y_end, name), place in zip(ends, places, strict=True):
        axes.annotate(
            name, (x_end, y_end), (right * 1.25, 10.0**place), annotation_clip=False,
            color=LOOK[name][0], fontsize=7.5, va="center",
            arrowprops={"arrowstyle": "-", "color": LOOK[name][0], "linewidth": 0.4, "alpha": 0.6},
        )  # fmt: skip
    axes.annotate(
        "equal error", (found["equal_error"], low), (3, 4), textcoords="offset points",
        fontsize=7.0, color=QUIET,
    )  # fmt: skip
    return figure


def spread(values: list[float], gap: float) -> list[float]:
    """Return places as near to the values as leaves a gap between any two."""
    order = np.argsort(values)
    places = np.array(values, dtype=float)
    for _ in range(200):
        moved = False
        for a, b in zip(order[:-1], order[1:], strict=True):
            short = gap - (places[b] - places[a])
            if short > 1e-9:
                places[a] -= 0.5 * short
                places[b] += 0.5 * short
                moved = True
        if not moved:
            break
    return [float(place) for place in places]


def growth_figure(growth: dict[str, Any]) -> Figure:
    """Return time and memory over chips and over trajectories, each beside a line of slope 1."""
    figure = Figure(figsize=(WIDTH_IN, 4.8))
    set_margins(figure, 0.75, 0.2, 0.5, 0.35, wspace=0.28, hspace=0.5)
    for column, series in enumerate(("chips", "trajectories")):
        rows = growth[series]
        label = ENGLISH[series].format(sets=growth["sets_per_chip"])
        started = min(row["before_mb"] for row in rows)
        memory = f"memory on top of the {started:.0f} MB of Python and model (MB)"
        added = [(row[series], row["peak_mb"] - row["before_mb"]) for row in rows]
        times = [(row[series], row["cpu_s"]) for row in rows]
        seen = [(n, mb) for n, mb in added if mb > 0.0]
        for place, (pairs, colour, title, name) in enumerate(
            (
                (times, "#0072B2", "processor time (s)", "time"),
                (seen, "#D55E00", memory, "memory"),
            )
        ):
            axes = figure.add_subplot(2, 2, 1 + column + 2 * place)
            if pairs:
                x, y = zip(*pairs, strict=True)
                panel(axes, x, y, colour, title, label)
            axes.set_xlim(rows[0][series] / 1.8, rows[-1][series] * 1.8)
            told(axes, growth["slopes"].get(f"{name}_over_{series}"))
    return figure


def panel(
    axes: Any, x: Sequence[float], y: Sequence[float], colour: str, name: str, label: str
) -> None:
    """Draw measured points and a line of slope 1 through the largest."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.plot(x, [y[-1] * value / x[-1] for value in x], color=QUIET, linewidth=0.8, linestyle=":")
    axes.plot(x, y, color=colour, marker="o", markersize=4.0)
    low, high = min(y), max(y)
    axes.set_ylim(low / 2.5, high * 2.5)
    axes.set_xlabel(label)
    axes.set_title(name)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())


def told(axes: Any, value: float | None) -> None:
    """Write a slope into its panel."""
    if value is not None:
        axes.text(
            0.04, 0.93, f"slope {value:.2f} (dotted: 1)", transform=axes.transAxes, fontsize=7.5,
            color=INK, va="top",
        )  # fmt: skip

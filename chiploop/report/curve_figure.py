"""Figure of standard curves: one panel per group, points, curve, its band, unknowns with intervals.

Belongs here: what the figure shows, and its file. Not here: style (svg), fits (assays.curve_groups).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.stats import t as student

from chiploop.assays.curve_fit import CurveFit
from chiploop.assays.curve_groups import GroupFit
from chiploop.assays.pooled_curves import PlatePoints
from chiploop.report.svg import (
    DOSE,
    FAILED,
    INK,
    MEAN,
    PREDICTIVE,
    WIDTH_IN,
    legend_on_top,
    plain_log_axis,
    set_margins,
    write_file,
)

MOST_PANELS = 48
ACROSS = 4
FINE = 200
LOG_FROM = 50.0
"""Of the highest signal over the lowest: from there on the axis of signals is logarithmic."""


def curve_figure(found: Sequence[GroupFit], x: str, y: str, level: float) -> Figure:
    """Return one panel per group, up to 48."""
    shown = found[:MOST_PANELS]
    across = min(ACROSS, 1 if len(shown) == 1 else 2 if len(shown) <= 4 else ACROSS)
    down = -(-len(shown) // across)
    panel_in = {1: 3.4, 2: 2.2, 4: 1.45}[across]
    figure = Figure(figsize=(WIDTH_IN, 0.95 + panel_in * down))
    panels = np.atleast_1d(figure.subplots(down, across)).ravel()
    set_margins(figure, 0.62, 0.15, 0.45, 0.5, hspace=0.55 if across > 1 else 0.2, wspace=0.28)
    for ax in panels[len(shown) :]:
        ax.set_axis_off()
    for i, (ax, one) in enumerate(zip(panels, shown, strict=False)):
        _panel(ax, one, level)
        if i % across == 0:
            ax.set_ylabel(y)
        if i + across >= len(shown):
            ax.set_xlabel(x)
    handles: list[Any] = [
        Line2D([], [], color=INK, ls="", marker="o", ms=3, mfc="none", label="standards"),
        Line2D([], [], color=MEAN, label="fitted curve"),
        Patch(color=PREDICTIVE, lw=0, label=f"{level:.0%} of a single well"),
    ]
    if any(one.unknowns for one in shown):
        handles.append(
            Line2D(
                [], [], color=DOSE, marker="D", ms=3, lw=1, label=f"unknowns, {level:.0%} interval"
            )
        )
    legend_on_top(figure, handles, 4)
    if len(found) > len(shown):
        figure.text(0.99, 0.01, f"{len(found) - len(shown)} more not shown", ha="right", fontsize=6)
    return figure


def _panel(ax: Any, one: GroupFit, level: float) -> None:
    title = one.group.name or one.fit.model.upper()
    span = draw_curve(ax, title, one.group.points, one.fit, level, one.qc == "fail")
    if span is None:
        return
    for unknown in one.unknowns:
        times = unknown.unknown.dilution
        if not span[0] < unknown.estimate / times < span[1]:
            continue
        ends = [max(unknown.lower / times, span[0]), min(unknown.upper / times, span[1])]
        ax.plot(ends, [unknown.mean_signal] * 2, color=DOSE, lw=0.9)
        ax.plot([unknown.estimate / times], [unknown.mean_signal], "D", color=DOSE, ms=2.6)


def draw_curve(
    ax: Any,
    title: str,
    points: PlatePoints,
    fit: CurveFit,
    level: float,
    refused: bool,
    most_ticks: int = 5,
) -> tuple[float, float] | None:
    """Draw standards, curve and band into a panel; return the ends of its axis of concentrations.

    None where there is no standard above 0.
    """
    positive = points.concentration[points.concentration > 0.0]
    has_blanks = positive.size < points.concentration.size
    ax.set_title(title, fontweight="bold", pad=3)
    ax.set_xscale("log")
    if not positive.size:
        ax.text(0.5, 0.5, "no standard above 0", transform=ax.transAxes, ha="center", color=FAILED)
        return None
    low, high = float(positive.min()), float(positive.max())
    blank_at = low / max((high / low) ** 0.12, 2.0)
    at = np.where(points.concentration > 0.0, points.concentration, blank_at)
    start = blank_at / 1.3 if has_blanks else low / 1.6
    if fit.failure:
        ax.text(
            0.03,
            0.97,
            "no fit",
            transform=ax.transAxes,
            ha="left",
            va="top",
            color=FAILED,
            fontsize=7,
        )
    else:
        fine = np.geomspace(start, high * 1.6, FINE)
        value = fit.curve.signal(fine)
        jacobian = fit.curve.jacobian_at(np.log(fine))
        curve = np.einsum("ni,ij,nj->n", jacobian, fit.covariance, jacobian)
        well = fit.residual_scale * fit.weighting.sd(value, fit.highest)
        half = student.ppf(0.5 + level / 2.0, fit.degrees_of_freedom) * np.sqrt(curve + well**2)
        ax.fill_between(fine, value - half, value + half, color=PREDICTIVE, lw=0, alpha=0.8)
        ax.plot(fine, value, color=MEAN)
    ax.plot(at, points.signal, "o", color=INK, ms=2.6, mfc="none", mew=0.7)
    ax.set_xlim(start, high * 1.6)
    ticks = _decades(low, high, most_ticks)
    labels = [f"{tick:g}" for tick in ticks]
    if has_blanks:
        ticks, labels = [blank_at, *ticks], ["0", *labels]
    ax.set_xticks(ticks, labels)
    ax.minorticks_off()
    signals = points.signal
    if float(signals.min()) > 0.0 and float(signals.max()) > LOG_FROM * float(signals.min()):
        ax.set_yscale("log")
        ax.set_ylim(0.5 * float(signals.min()), 2.0 * float(signals.max()))
        plain_log_axis(ax.yaxis)
        ax.minorticks_off()
    if refused:
        ax.text(
            0.03,
            0.88,
            "refused",
            transform=ax.transAxes,
            ha="left",
            va="top",
            color=FAILED,
            fontsize=7,
        )
    return start, high * 1.6


def _decades(low: float, high: float, most: int = 5) -> list[float]:
    """Return powers of ten within a range, at most so many; of a narrow range its ends."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last <= first:
        return [float(f"{low:.2g}"), float(f"{high:.2g}")]
    step = -(-(last - first + 1) // most)
    return [10.0**k for k in range(first, last + 1, step)]


def write_curve_figure(found: Sequence[GroupFit], x: str, y: str, level: float, path: Path) -> None:
    """Write the figure in the format of the path's ending; OSError where it can not be."""
    write_file(lambda: curve_figure(found, x, y, level), path)

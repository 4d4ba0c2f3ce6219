"""Figure of an assay plate: a panel per analyte with standards, curve, limits, samples on the curve.

Belongs here: what the figure shows, and its file. Not here: style (svg), how a curve is drawn (curve_figure),
results (assays.plate_assay).
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

from chiploop.assays.plate_assay import AnalyteResult
from chiploop.assays.plate_samples import SampleResult
from chiploop.report.curve_figure import draw_curve
from chiploop.report.svg import (
    DOSE,
    FAILED,
    INK,
    MEAN,
    PREDICTIVE,
    QUIET,
    WIDTH_IN,
    legend_on_top,
    set_margins,
    write_file,
)

LEVEL = 0.95
MOST_PANELS = 96
PANEL_IN = {1: 3.6, 2: 2.3, 4: 1.5}
LONGEST_TITLE = {1: 80, 2: 44, 4: 20}
CONTROL = "#117733"


def plate_figure(results: Sequence[AnalyteResult]) -> Figure:
    """Return one panel per analyte and plate, up to 96."""
    shown = results[:MOST_PANELS]
    across = 1 if len(shown) == 1 else 2 if len(shown) <= 4 else 4
    down = -(-len(shown) // across)
    figure = Figure(figsize=(WIDTH_IN, 1.1 + PANEL_IN[across] * down))
    panels = np.atleast_1d(figure.subplots(down, across)).ravel()
    gaps = {"hspace": 0.62, "wspace": 0.42} if across == 4 else {"hspace": 0.34, "wspace": 0.28}
    set_margins(figure, 0.65, 0.15, 0.5, 0.62, **gaps)
    for ax in panels[len(shown) :]:
        ax.set_axis_off()
    several = len({one.wells.plate for one in shown}) > 1
    for i, (ax, one) in enumerate(zip(panels, shown, strict=False)):
        name = f"{one.wells.plate}, {one.wells.analyte}" if several else one.wells.analyte
        width = LONGEST_TITLE[across]
        ticks = 3 if across == 4 else 5
        _panel(ax, one, name if len(name) <= width else f"{name[: width - 1]}…", ticks)
        if i % across == 0:
            ax.set_ylabel(one.wells.signal_unit)
        if i + across >= len(shown):
            ax.set_xlabel(f"in the well ({one.wells.unit})" if one.wells.unit else "in the well")
    legend_on_top(figure, _handles(shown), 4)
    if len(results) > len(shown):
        left = len(results) - len(shown)
        figure.text(0.99, 0.005, f"{left} more not shown", ha="right", fontsize=6)
    return figure


def _handles(shown: Sequence[AnalyteResult]) -> list[Any]:
    handles: list[Any] = [
        Line2D([], [], color=INK, ls="", marker="o", ms=3, mfc="none", label="standards, blanks"),
        Line2D([], [], color=MEAN, label="fitted curve"),
        Patch(color=PREDICTIVE, lw=0, label=f"{LEVEL:.0%} of a single well"),
        Line2D([], [], color=QUIET, ls=":", label="LLOQ, ULOQ"),
        Line2D([], [], color=DOSE, marker="D", ms=3, lw=1, label=f"samples, {LEVEL:.0%} interval"),
    ]
    if any(one.controls for one in shown):
        handles.append(Line2D([], [], color=CONTROL, ls="", marker="s", ms=3, label="controls"))
    sides = {sample.estimate.censoring for one in shown for sample in one.samples}
    if sides - {"none"}:
        handles.append(
            Line2D([], [], color=DOSE, ls="", marker=">", ms=3, mfc="none", label="beyond a limit")
        )
    return handles


def _panel(ax: Any, one: AnalyteResult, title: str, most_ticks: int) -> None:
    span = draw_curve(
        ax, title, one.wells.points, one.curve.fit, LEVEL, one.qc == "fail", most_ticks
    )
    if span is None:
        return
    for limit in (one.curve.lloq, one.curve.uloq):
        if math.isfinite(limit):
            ax.axvline(limit, color=QUIET, lw=0.8, ls=":", zorder=0)
    for sample in one.samples:
        _sample(ax, one, sample, span, DOSE, "D")
    for control in one.controls:
        _sample(ax, one, control, span, CONTROL, "s")


def _sample(
    ax: Any,
    one: AnalyteResult,
    sample: SampleResult,
    span: tuple[float, float],
    colour: str,
    marker: str,
) -> None:
    """Draw one sample on the scale of the well, or an arrow at the limit that it lies beyond."""
    estimate, times = sample.estimate, sample.dilution
    signals = [signal for signal in sample.signals if math.isfinite(signal)]
    if estimate.censoring != "none":
        side = estimate.censoring == "right"
        limit = one.curve.uloq if side else one.curve.lloq
        height = float(one.curve.fit.curve.signal(limit))
        ax.plot([limit], [height], ">" if side else "<", color=colour, ms=3.4, mfc="none")
        return
    if not math.isfinite(estimate.value) or not signals:
        return
    mean = float(np.mean(signals))
    low, high = (end / times for end in estimate.interval)
    bad = estimate.qc == "fail"
    ax.plot([max(low, span[0]), min(high, span[1])], [mean] * 2, color=colour, lw=0.9)
    ax.plot([estimate.value / times], [mean], marker, color=FAILED if bad else colour, ms=2.6)


def write_plate_figure(results: Sequence[AnalyteResult], path: Path) -> None:
    """Write the figure in the format of the path's ending; OSError where it can not be."""
    write_file(lambda: plate_figure(results), path)

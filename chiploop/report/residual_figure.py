"""Residuals of a calibration against time and prediction, with what trends were seen.

Belongs here: this figure. Not here: residuals and tests (inference.residual_table), other figures of a fit
(fit_figures).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from chiploop.inference.residual_table import ResidualRow, Trend
from chiploop.report.profile_figure import few_ticks
from chiploop.report.svg import (
    BAND,
    FAILED,
    QUIET,
    WIDTH_IN,
    axis_of,
    donor_style,
    legend_on_top,
    plain_log_axis,
    set_margins,
)

INNER = 1.6449
"""Standard normals between minus and plus this are 90 % of all."""


def residual_figure(
    rows: Sequence[ResidualRow], trends: Sequence[Trend], donors: Sequence[str]
) -> Figure:
    """Return the residuals of every readout against time and prediction."""
    names = list(dict.fromkeys(row.readout for row in rows))
    if not names:
        raise ValueError("there are no readings to show residuals of")
    figure = Figure(figsize=(WIDTH_IN, 0.75 + 1.65 * len(names)))
    panels = np.atleast_2d(figure.subplots(len(names), 2))
    set_margins(figure, 0.6, 0.1, 0.45, 0.5, hspace=0.62, wspace=0.12)
    styles = donor_style(donors)
    seen = {(trend.readout, trend.against): trend for trend in trends}
    reach = max(3.2, max(abs(row.residual) for row in rows) * 1.08)
    for name, pair in zip(names, panels, strict=True):
        own = [row for row in rows if row.readout == name]
        axis = axis_of(name, own[0].unit)
        for ax, against in zip(pair, ("time", "prediction"), strict=True):
            ax.axhspan(-INNER, INNER, color=BAND, lw=0)
            ax.axhline(0.0, color=QUIET, lw=0.7)
            for i, (donor, (colour, marker)) in enumerate(styles.items()):
                of_donor = [row for row in own if row.donor == donor]
                for censored in (False, True):
                    shown = [row for row in of_donor if row.censored == censored]
                    aside = 1.2 * (i - (len(styles) - 1) / 2) if against == "time" else 0.0
                    ax.plot(
                        [place_of(row, against, axis.factor) + aside for row in shown],
                        [row.residual for row in shown], marker, ls="none", ms=4, mec=colour, mew=0.9,
                        mfc="white" if censored else colour, alpha=0.9,
                    )  # fmt: skip
            ax.set_ylim(-reach, reach)
            ax.set_yticks([-2, 0, 2])
            trend = seen.get((name, against))
            if against == "prediction":
                ax.tick_params(labelleft=False)
                ax.set_xlabel(f"predicted {axis.label}", labelpad=1)
                values = [row.predicted for row in own]
                if min(values) > 0 and max(values) / min(values) > 8:
                    ax.set_xscale("log")
                    low, high = (axis.factor * value for value in (min(values), max(values)))
                    ax.set_xticks(few_ticks(low, high))
                    plain_log_axis(ax.xaxis)
                    ax.minorticks_off()
            else:
                ax.set_xlabel("study time (h)", labelpad=1)
                ax.set_title(axis.title, fontweight="bold")
                ax.set_ylabel("residual (sd)")
            label_trend(ax, trend, against, own, axis.factor)
    handles: list[Any] = [
        *(Line2D([], [], color=c, marker=m, ls="none", ms=4, label=d) for d, (c, m) in styles.items()),
        Patch(color=BAND, lw=0, label="90 % of a right model"),
    ]  # fmt: skip
    if any(row.censored for row in rows):
        handles.append(
            Line2D([], [], color=QUIET, marker="o", mfc="white", ls="none", ms=4, label="censored")
        )
    if any(trend.is_seen for trend in trends):
        handles.append(Line2D([], [], color=FAILED, lw=1.6, label="trend beyond chance"))
    legend_on_top(figure, handles, 6)
    return figure


def label_trend(
    ax: Any, trend: Trend | None, against: str, rows: Sequence[ResidualRow], factor: float
) -> None:
    """Write the p value of a trend into a panel, and draw it where it is seen."""
    if trend is None:
        return
    ax.set_title(
        f"{'TREND, ' if trend.is_seen else ''}p {trend.p_value:.2g}", loc="right", fontsize=7,
        color=FAILED if trend.is_seen else QUIET,
    )  # fmt: skip
    if trend.is_seen:
        exact = [row for row in rows if not row.censored]
        x = np.array([place_of(row, against, factor) for row in exact])
        y = np.array([row.residual for row in exact])
        along = np.log(x) if ax.get_xscale() == "log" else x
        line = np.polyval(np.polyfit(along, y, 1), along)
        ends = [int(np.argmin(x)), int(np.argmax(x))]
        ax.plot(x[ends], line[ends], color=FAILED, lw=1.6)


def place_of(row: ResidualRow, against: str, factor: float) -> float:
    """Return where a residual stands on the axis of time or prediction."""
    return row.time_h if against == "time" else factor * row.predicted

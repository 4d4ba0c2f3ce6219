"""Readings against what the fit says of them: for their dose, and for their own chip.

Belongs here: this figure. Not here: predictions (predictions), residuals (residual_figure).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from chiploop.models.tissue_model import TissueModel
from chiploop.report.figures import round_ticks
from chiploop.report.predictions import Predicted
from chiploop.report.svg import (
    QUIET,
    WIDTH_IN,
    axis_of,
    donor_style,
    legend_on_top,
    plain_log_axis,
    set_margins,
)
from chiploop.study import Study

WIDE = 3.0
"""Ratio of the highest value to the lowest from which axes of values above 0 are logarithmic."""


def observed_figure(
    predicted: Sequence[Predicted], model: TissueModel, study: Study, by_dose: bool = True
) -> Figure:
    """Return observed against predicted of every readout, by the mean for its dose and by the chip's own line.

    Without ``by_dose`` by the chip's own line alone: half the dots, for a page that must stay light.
    """
    specs = [
        spec for spec in model.readouts if any(p.reading.readout == spec.name for p in predicted)
    ]
    if not specs:
        raise ValueError("there are no readings to show against their predictions")
    across = 2 if by_dose else 1
    figure = Figure(figsize=(WIDTH_IN, 0.75 + 2.1 * len(specs)))
    panels = figure.subplots(len(specs), across, squeeze=False, sharex="row", sharey="row")
    set_margins(figure, 0.75, 0.1, 0.45, 0.5, hspace=0.55, wspace=0.08)
    styles = donor_style(list(study.donors))
    for spec, pair in zip(specs, panels, strict=True):
        own = [p for p in predicted if p.reading.readout == spec.name]
        axis = axis_of(spec.name, spec.unit)
        ends = [axis.factor * v for p in own for v in (p.median, p.own, observed(p))]
        low, high = ends_of([v for v in ends if np.isfinite(v)])
        for ax, said, place in (
            *([(pair[0], "for its dose", [p.median for p in own])] if by_dose else []),
            (pair[-1], "for this chip", [p.own for p in own]),
        ):
            ax.plot([low, high], [low, high], color=QUIET, lw=0.7)
            for donor, (colour, marker) in styles.items():
                for is_censored in (False, True):
                    shown = [
                        (axis.factor * x, axis.factor * observed(p))
                        for x, p in zip(place, own, strict=True)
                        if study.donor_of(p.reading.chip_id).id == donor
                        and (p.reading.censoring != "none") == is_censored
                    ]
                    if shown:
                        ax.plot(*zip(*shown, strict=True), marker, ls="none", ms=3.4, mec=colour, mew=0.7,
                                mfc="white" if is_censored else colour, label=donor)  # fmt: skip
            axes_of(ax, low, high)
            ax.set_xlabel(f"predicted {said} ({axis.unit})", labelpad=1)
        pair[0].set_title(axis.title, fontweight="bold")
        pair[0].set_ylabel(f"observed ({axis.unit})")
    handles: list[Any] = [
        Line2D([], [], color=colour, marker=marker, ls="none", ms=4, label=donor)
        for donor, (colour, marker) in styles.items()
    ]
    if any(p.reading.censoring != "none" for p in predicted):
        handles.append(
            Line2D([], [], color=QUIET, marker="o", mfc="white", ls="none", ms=4, label="censored")
        )
    legend_on_top(figure, handles, 6)
    return figure


def observed(one: Predicted) -> float:
    """Return what was read; of a censored reading its finite bound, the upper one where there are two."""
    r = one.reading
    if r.censoring == "none":
        return r.value
    return r.upper if np.isfinite(r.upper) else r.lower


def ends_of(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of axes that hold all values, with room."""
    low, high = min(values), max(values)
    if low > 0.0 and high / low > WIDE:
        room = (high / low) ** 0.05
        return low / room, high * room
    room = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
    return low - room, high + room


def axes_of(ax: Any, low: float, high: float) -> None:
    """Give a panel the same axis along and up."""
    if low > 0.0 and high / low > WIDE:
        ax.set_xscale("log")
        ax.set_yscale("log")
        for axis in (ax.xaxis, ax.yaxis):
            ticks = round_ticks(low, high)
            axis.set_ticks(ticks[:: -(-len(ticks) // 4)])
            plain_log_axis(axis)
        ax.minorticks_off()
    else:
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(4))
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)

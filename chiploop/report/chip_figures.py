"""Figures per chip: each chip's readings over what the model says of this chip.

Belongs here: small multiples and readings against predictions. Not here: style and SVG (svg), bands
(predictions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from chiploop.dosing import ChipSchedule
from chiploop.measurement import Readout
from chiploop.plan import exposure_read
from chiploop.report.predictions import Course, Predicted
from chiploop.report.svg import (
    BAND,
    DOSE,
    MEAN,
    PREDICTIVE,
    QUIET,
    WIDTH_IN,
    axis_of,
    donor_style,
    legend_on_top,
    set_margins,
)
from chiploop.study import Study
from chiploop.study_limits import concentration_limit_nm

FAINTEST, STRONGEST = 0.08, 0.48
"""Shares of colour in the bar of doses: its numbers are read on all of them, in light and in dark."""
LINES_ACROSS = 4
"""Panels of lines side by side: more, and what stands below them runs together."""


def course_figure(
    study: Study,
    readout: str,
    unit: str,
    courses: Mapping[str, Course],
    readings: Sequence[Readout],
    schedules: Mapping[str, ChipSchedule],
) -> Figure:
    """Return one panel per chip: readings over time on bands, the dose above; one row per line."""
    axis = axis_of(readout, unit)
    styles = donor_style(list(study.donors))
    columns = max(len(line.chips) for line in study.lines)
    figure = Figure(figsize=(WIDTH_IN, 1.4 * len(study.lines) + 1.1))
    axes = figure.subplots(len(study.lines), columns, sharex=True, sharey=True, squeeze=False)
    set_margins(figure, 0.65, 0.1, 0.45, 0.62, wspace=0.06, hspace=0.24)
    tops = [course.predictive.upper.max() for course in courses.values()]
    tops += [r.value for r in readings if np.isfinite(r.value)]
    top = axis.factor * max(tops) * 1.22
    for row, line in zip(axes, study.lines, strict=True):
        for ax in row[len(line.chips) :]:
            ax.set_visible(False)
        for ax, (chip, donor) in zip(row, line.chips.items(), strict=False):
            colour, marker = styles[donor]
            if chip in courses:
                bands(ax, courses[chip], axis.factor)
            for reading in (r for r in readings if r.chip_id == chip):
                one_reading(ax, reading.time_h, reading, axis.factor, colour, marker)
            dose_bar(
                ax, schedules[chip], concentration_limit_nm(study, study.drug_of(line.id).name)
            )
            ax.set_ylim(0.0, top)
            drug = f"  {line.drug}" if line.drug else ""
            place = (
                f"{line.id}{drug}  {chip}  {donor} ({study.donors[donor].flg.replace('_', ' ')})"
            )
            ax.set_title(place, fontsize=7, pad=3)
    for ax in axes[-1]:
        ax.set_xlabel("study time (h)")
    for row in axes:
        row[0].set_ylabel(axis.label)
    legend_on_top(figure, legend(styles, True), 4)
    return figure


def bands(ax: Any, course: Course, factor: float) -> None:
    """Draw the band of one reading, that of the mean, and the chip's own line."""
    t = course.times_h
    ax.fill_between(
        t,
        factor * course.predictive.lower,
        factor * course.predictive.upper,
        color=PREDICTIVE,
        lw=0,
    )
    ax.fill_between(
        t, factor * course.mean.lower, factor * course.mean.upper, color=MEAN, alpha=0.55, lw=0
    )
    ax.plot(t, factor * course.own, color="#222222", lw=0.8, ls=(0, (3, 2)))


def one_reading(
    ax: Any, x: float, reading: Readout, factor: float, colour: str, marker: str
) -> None:
    """Draw a reading: a grey cross where it failed or was left out, an arrow at its bound where it is censored."""
    is_censored, low = reading.censoring != "none", reading.censoring == "left"
    bound = reading.upper if low else reading.lower
    if reading.qc == "fail":
        place = bound if is_censored else reading.value
        if np.isfinite(place):
            ax.plot(x, factor * place, "x", ms=4.5, color=QUIET, mew=1.0)
        return
    if is_censored:
        if np.isfinite(bound):
            ax.plot(
                x, factor * bound, "v" if low else "^", ms=4.5, mfc="white", mec=colour, mew=0.9
            )
            ax.plot(
                [x, x],
                [factor * bound * (0.75 if low else 1.25), factor * bound],
                color=colour,
                lw=0.9,
            )
        return
    ax.plot(x, factor * reading.value, marker, ms=3.8, color=colour, mec="white", mew=0.5, zorder=4)


def dose_bar(ax: Any, schedule: ChipSchedule, strongest_nm: float) -> None:
    """Draw what the chip got along the top of its panel, in nM, stronger for more."""
    for segment in schedule.segments:
        is_stimulated = any(c > 0.0 for c in segment.stimulus_ng_ml.values())
        share = np.log1p(segment.drug_nm) / np.log1p(strongest_nm)
        look: dict[str, Any] = {"color": BAND}
        if is_stimulated:
            look = {"color": DOSE, "alpha": FAINTEST + (STRONGEST - FAINTEST) * share}
        ax.axvspan(segment.start_h, segment.end_h, ymin=0.88, ymax=1.0, lw=0, **look)
        if segment.end_h - segment.start_h > 12.0:
            text = f"{segment.drug_nm:.4g}" if is_stimulated else "rest"
            middle = 0.5 * (segment.start_h + segment.end_h)
            ax.text(
                middle,
                0.935,
                text,
                transform=ax.get_xaxis_transform(),
                fontsize=6,
                ha="center",
                va="center",
            )


def legend(styles: Mapping[str, tuple[str, str]], own: bool) -> list[Any]:
    """Return the legend that all figures per chip share."""
    lines: list[Any] = [
        Patch(color=PREDICTIVE, lw=0, label="90 % of one reading"),
        Patch(color=MEAN, alpha=0.55, lw=0, label="90 % of the mean"),
    ]
    if own:
        lines.append(
            Line2D([], [], color="#222222", lw=0.8, ls=(0, (3, 2)), label="this chip's own line")
        )
        lines.append(Patch(color=DOSE, alpha=STRONGEST, lw=0, label="dose (nM), along the top"))
    for donor, (colour, marker) in styles.items():
        lines.append(Line2D([], [], color=colour, marker=marker, ls="none", ms=4, label=donor))
    return lines


def window_figure(
    study: Study,
    readout: str,
    unit: str,
    predicted: Sequence[Predicted],
    failed: Sequence[Readout],
) -> Figure:
    """Return one panel per line: every collected sample on its bands, by cycle, donors side by side."""
    axis = axis_of(readout, unit)
    k = axis.factor
    styles = donor_style(list(study.donors))
    own = [p for p in predicted if p.reading.readout == readout]
    if not own:
        raise ValueError(f"no {readout} was learned from")
    across = min(len(study.lines), LINES_ACROSS)
    down = -(-len(study.lines) // across)
    figure = Figure(figsize=(WIDTH_IN, 0.48 + 2.02 * down))
    axes = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
    set_margins(figure, 0.6, 0.1, 0.58, 0.48, wspace=0.06, hspace=0.55)
    for ax in axes[len(study.lines) :]:
        ax.set_visible(False)
    cycles = sorted({exposure_read(r) for r in (*(p.reading for p in own), *failed)})
    aside = {d: 0.24 * (i - (len(styles) - 1) / 2) for i, d in enumerate(styles)}
    for ax, line in zip(axes, study.lines, strict=False):
        here = [p for p in own if p.reading.chip_id in line.chips]
        at = [
            cycles.index(exposure_read(p.reading)) + aside[line.chips[p.reading.chip_id]]
            for p in here
        ]
        doses = {exposure_read(p.reading): p.drug_nm for p in here}
        ax.vlines(
            at,
            [k * p.predictive_lower for p in here],
            [k * p.predictive_upper for p in here],
            PREDICTIVE,
            lw=6,
        )
        ax.vlines(
            at, [k * p.lower for p in here], [k * p.upper for p in here], MEAN, lw=6, alpha=0.55
        )
        ax.plot(at, [k * p.median for p in here], "_", color=MEAN, ms=5.5, mew=1.0)
        for x, p in zip(at, here, strict=True):
            one_reading(ax, x, p.reading, k, *styles[line.chips[p.reading.chip_id]])
        for r in (r for r in failed if r.chip_id in line.chips):
            donor = line.chips[r.chip_id]
            one_reading(ax, cycles.index(exposure_read(r)) + aside[donor], r, k, *styles[donor])
        labels = [f"{c}\n{doses[c]:.4g}" if c in doses else f"{c}\n" for c in cycles]
        ax.set_xticks(range(len(cycles)), labels)
        ax.set_xlim(-0.6, len(cycles) - 0.4)
        ax.set_title(line.id, fontweight="bold")
        ax.set_xlabel("cycle, dose (nM)")
        if axis.unit.startswith("%"):
            ax.axhline(0.0, color=QUIET, lw=0.6, ls=":")
    if not axis.unit.startswith("%"):
        axes[0].set_ylim(bottom=0.0)
    for first in axes[: len(study.lines) : across]:
        first.set_ylabel(axis.label)
    legend_on_top(figure, legend(styles, False), 5)
    return figure

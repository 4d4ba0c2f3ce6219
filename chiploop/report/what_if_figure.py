"""Figure of chips side by side: one panel per readout, every line with its name at its end.

Belongs here: what the figure shows, and its file. Not here: style and the SIMULATED mark (svg), what is
simulated (what_if).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from chiploop.report.svg import QUIET, WIDTH_IN, axis_of, mark, set_margins, write_file
from chiploop.what_if import Question, WhatIf

CONTROL, STIMULUS = "#5f6b76", "#000000"
DRUGS = ("#0077BB", "#D4601C", "#009988", "#CC3311", "#AA3377", "#8A7D00")
"""Tol's vibrant colours: told apart with every common kind of colour blindness."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)))
"""After six concentrations the colours come again, dashed."""
LABEL_IN = 0.98
"""Room for names beside a panel."""
PANEL_IN = 1.75
HEAD_IN = 0.62
LINE_IN = 0.125
"""Height of a name."""


def what_if_figure(told: WhatIf, question: Question) -> Figure:
    """Return one panel per readout with a line per chip, and its 90 % band where draws were made."""
    columns = min(2, len(told.readouts))
    count = -(-len(told.readouts) // columns)
    height_in = HEAD_IN + count * PANEL_IN + 0.15
    figure = Figure(figsize=(WIDTH_IN, height_in))
    axes = figure.subplots(count, columns, squeeze=False).ravel()
    space_in = LABEL_IN + 0.62
    panel_in = (WIDTH_IN - 0.62 - LABEL_IN - (columns - 1) * space_in) / columns
    set_margins(figure, 0.62, LABEL_IN, 0.42, HEAD_IN, wspace=space_in / panel_in, hspace=0.5)
    for ax in axes[len(told.readouts) :]:
        ax.set_visible(False)
    for r, (ax, spec) in enumerate(zip(axes, told.readouts, strict=False)):
        axis = axis_of(spec.name, spec.unit)
        ends: list[tuple[float, str, str]] = []
        for c, chip in enumerate(told.chips):
            colour, dash = style_of(chip, c, told.chips)
            value = axis.factor * told.value[c, :, r]
            shown = np.isfinite(value)
            if question.draws:
                low, high = axis.factor * told.low[c, :, r], axis.factor * told.high[c, :, r]
                at = told.times_h[shown]
                ax.fill_between(at, low[shown], high[shown], color=colour, alpha=0.07, lw=0)
                for edge in (low, high):
                    ax.plot(at, edge[shown], color=colour, ls=dash, lw=0.5, alpha=0.8)
            ax.plot(told.times_h[shown], value[shown], color=colour, ls=dash, lw=1.3)
            if shown.any():
                ends.append((float(value[shown][-1]), short_name(chip), colour))
        ax.set_xlim(0.0, question.hours)
        ax.xaxis.set_major_locator(MultipleLocator(tick_step(question.hours)))
        bottom, top = ax.get_ylim()
        ax.set_ylim(min(0.0, bottom) if spec.kind != "window_loss" else bottom, top)
        ax.set_title(axis.title, fontweight="bold")
        ax.set_ylabel(axis.unit if axis.unit != "1" else "no unit")
        if r + columns >= len(told.readouts):
            ax.set_xlabel("time (h)")
        label_ends(ax, ends, PANEL_IN / 1.5)  # hspace takes the rest
        mark_starts(ax, question, is_named=r == 0)
    figure.text(
        0.06 / WIDTH_IN, 1.0 - 0.05 / height_in, heading(told, question), ha="left", va="top", fontsize=7,
        linespacing=1.4,
    )  # fmt: skip
    return figure


def style_of(chip: str, place: int, chips: tuple[str, ...]) -> tuple[str, Any]:
    """Return colour and dash of a chip's line."""
    if chip == "control":
        return CONTROL, "-"
    if chip == "stimulus":
        return STIMULUS, "-"
    nth = place - sum(name in ("control", "stimulus") for name in chips)
    return DRUGS[nth % len(DRUGS)], DASHES[nth // len(DRUGS) % len(DASHES)]


def short_name(chip: str) -> str:
    """Return a chip's name as it fits beside a panel."""
    return chip.removeprefix("stimulus ") if chip != "stimulus" else chip


def label_ends(ax: Any, ends: list[tuple[float, str, str]], height_in: float) -> None:
    """Write every line's name beside its end, apart from each other."""
    bottom, top = ax.get_ylim()
    ordered = sorted(ends, key=lambda end: end[0])
    places = spread_out([value for value, *_ in ordered], (top - bottom) * LINE_IN / height_in, top)
    right = ax.get_xlim()[1]
    for place, (value, name, colour) in zip(places, ordered, strict=True):
        ax.plot(
            [right, right * 1.05], [value, place], color=colour, lw=0.6, clip_on=False,
            scalex=False, scaley=False,
        )  # fmt: skip
        ax.text(right * 1.065, place, name, va="center", ha="left", fontsize=6.5, color=colour)


def spread_out(values: list[float], gap: float, top: float) -> list[float]:
    """Return places for ascending values, at least ``gap`` apart, the highest no higher than ``top``."""
    places = list(values)
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    limit = top
    for i in range(len(places) - 1, -1, -1):
        places[i] = min(places[i], limit)
        limit = places[i] - gap
    return places


def tick_step(hours: float) -> float:
    """Return the distance of ticks on a time axis: parts of a day, days or weeks, seven ticks at most."""
    steps = (1.0, 2.0, 4.0, 6.0, 12.0, 24.0, 48.0, 72.0, 168.0, 336.0, 672.0)
    return next((step for step in steps if 3.0 <= hours / step <= 7.5), hours / 4.0)


def mark_starts(ax: Any, question: Question, is_named: bool) -> None:
    """Draw where stimulus and drug begin."""
    starts = {question.stimulus_from_h: ["stimulus"]} if question.stimulus_nm else {}
    if question.drugs_nm:
        starts.setdefault(question.drug_from_h, []).append("drug")
    for time_h, names in starts.items():
        ax.axvline(time_h, color=QUIET, lw=0.6, ls=(0, (1, 2)), zorder=0)
        if not is_named:
            continue
        ax.annotate(
            " + ".join(names), (time_h, 0.02), xycoords=ax.get_xaxis_transform(), xytext=(2, 1),
            textcoords="offset points", fontsize=5.5, color=QUIET, va="bottom", ha="left", rotation=90,
        )  # fmt: skip


def heading(told: WhatIf, question: Question) -> str:
    """Return what was simulated, in two lines."""
    given = [f"flow {told.flow_rate_ul_h:g} uL/h"]
    if told.stimulus:
        given.append(f"stimulus {told.stimulus} from {question.stimulus_from_h:g} h")
    given += [f"drug from {question.drug_from_h:g} h"] if question.drugs_nm else []
    given += [f"{name} = {value:g}" for name, value in question.values.items()]
    how = (
        f"median and 90 % of {question.draws} draws of the prior (seed {question.seed})"
        if question.draws
        else "with the text's own values"
    )
    given_told = ", ".join(given)
    if len(given_told) > 130:
        given_told = given_told[:127] + "..."
    windows = f"collection windows of {question.every_h:g} h"
    return f"What the model {told.model} says, {how}; {windows}\n{given_told}"


def write_figure(told: WhatIf, question: Question, path: Path) -> None:
    """Write the figure, marked SIMULATED, in the format of the path's ending; OSError where it can not be."""

    def drawn() -> Figure:
        figure = what_if_figure(told, question)
        mark(figure)
        return figure

    write_file(drawn, path)

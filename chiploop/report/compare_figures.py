"""Figures with two runs in them. Belongs here: drawing. Not here: which runs, captions (compare_page)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import norm

from chiploop.inference.posterior import Posterior, intervals
from chiploop.report.figures import GoalAt, round_ticks
from chiploop.report.predictions import LEVEL, DoseResponse
from chiploop.report.svg import (
    BAND,
    FAILED,
    WIDTH_IN,
    axis_of,
    legend_on_top,
    plain_log_axis,
    set_margins,
)

LOOKS = (("A", "#004488", "o", "-"), ("B", "#8A6A00", "s", (0, (5, 2))))
"""Name, colour, marker, line of each run; told apart without colour."""
SHOWN_NM = (0.1, 1e5)
APART = 0.12
"""Of a cycle, to each side."""


def goals_figure(runs: Sequence[Mapping[str, Sequence[GoalAt]]]) -> Figure:
    """Return each goal's interval over the cycles of both runs, one panel per goal."""
    names = list(dict.fromkeys(name for run in runs for name in run))
    if not any(run.get(name) for run in runs for name in names):
        raise ValueError("neither run has a calibration")
    figure = Figure(figsize=(WIDTH_IN, 2.8))
    axes = np.atleast_1d(figure.subplots(1, len(names)))
    set_margins(figure, 0.6, 0.1, 0.45, 0.55, wspace=0.28)
    handles: list[Any] = []
    for ax, name in zip(axes, names, strict=True):
        cycles: set[int] = set()
        for run, (label, colour, marker, _), side in zip(runs, LOOKS, (-1, 1), strict=True):
            for at in run.get(name, ()):
                x, own = at.cycle + side * APART, colour if at.passed else FAILED
                ax.plot([x, x], [at.lower, at.upper], color=own, lw=2.0, label="_")
                (dot,) = ax.plot(
                    [x], [at.median], marker if at.passed else "x", color=own, ms=4.5, label=label
                )
                cycles.add(at.cycle)
                if at.passed and label not in {handle.get_label() for handle in handles}:
                    handles.append(dot)
        unit = next((at.unit for run in runs for at in run.get(name, ()) if at.unit != "1"), "")
        ax.set_yscale("log")
        ax.set_yticks(round_ticks(*ax.get_ylim()))
        plain_log_axis(ax.yaxis)
        ax.minorticks_off()
        ax.set_xticks(sorted(cycles))
        ax.set_xlabel("after cycle")
        ax.set_title(f"{name}{f' ({unit})' if unit else ''}")
    legend_on_top(figure, handles, 2)
    return figure


def curves_figure(curves: Sequence[DoseResponse], unit: str) -> Figure:
    """Return the dose-response of both runs in one panel."""
    figure = Figure(figsize=(WIDTH_IN, 3.1))
    ax = figure.subplots()
    set_margins(figure, 0.65, 0.1, 0.45, 0.4)
    axis = axis_of(curves[0].goal.readout, unit)
    handles = []
    for curve, (label, colour, marker, line) in zip(curves, LOOKS, strict=True):
        x, f = curve.concentrations_nm, axis.factor
        ax.fill_between(
            x, f * curve.mean.lower, f * curve.mean.upper, color=colour, alpha=0.18, lw=0, label=label
        )  # fmt: skip
        (drawn,) = ax.plot(x, f * curve.mean.median, color=colour, ls=line, label=label)
        dosed = [one for one in curve.readings if one.drug_nm > 0.0]
        ax.plot(
            [one.drug_nm for one in dosed], [f * one.value for one in dosed], marker, color=colour,
            ms=3.5, mfc="none", label=label,
        )  # fmt: skip
        handles.append(drawn)
    ax.set_xscale("log")
    ax.set_xlim(*SHOWN_NM)
    plain_log_axis(ax.xaxis)
    ax.set_xlabel("concentration (nM)")
    ax.set_ylabel(axis.label)
    legend_on_top(figure, handles, 2)
    return figure


def parameters_figure(runs: Sequence[Posterior]) -> Figure:
    """Return the parameters of both runs as standard normals of their priors."""
    names = list(dict.fromkeys(name for run in runs for name in run.names))
    figure = Figure(figsize=(WIDTH_IN, 0.8 + 0.24 * len(names)))
    ax = figure.subplots()
    set_margins(figure, 1.3, 0.1, 0.42, 0.35)
    edge = float(norm.ppf((1 + LEVEL) / 2))
    ax.axvspan(-edge, edge, color=BAND, lw=0, label="prior")
    handles = []
    for run, (label, colour, marker, _), side in zip(runs, LOOKS, (-1, 1), strict=True):
        z = run.standard[:, : len(run.names)]
        spans, middles = intervals(z, LEVEL), np.median(z, axis=0)
        for j, name in enumerate(run.names):
            y = names.index(name) + side * APART
            ax.plot(spans[j], [y, y], color=colour, lw=1.8, label="_")
            (dot,) = ax.plot([middles[j]], [y], marker, color=colour, ms=4, label=label)
        handles.append(dot)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_xlabel("standard normals of the prior")
    legend_on_top(figure, handles, 2)
    return figure

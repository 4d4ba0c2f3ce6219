"""Figure of tracer over time: one panel per insert, samples with their fit and what enters it.

Belongs here: what the figure shows, and its file. Not here: style (svg), fits (permeability_fit).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from chiploop.assays.permeability import Permeability
from chiploop.assays.tracer_transport import PerfusedTransport, StaticTransport
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

MOST_PANELS = 24
ACROSS = 3
FINE = 160
HOURS_FROM = 3.0
"""Last sample from which on the axis counts hours, not minutes."""


def permeability_figure(found: Sequence[Permeability], unit: str) -> Figure:
    """Return one panel per insert, up to 24."""
    shown = found[:MOST_PANELS]
    across = min(ACROSS, len(shown)) if len(shown) != 4 else 2
    down = -(-len(shown) // across)
    panel_in = {1: 3.4, 2: 2.3, 3: 1.75}[across]
    figure = Figure(figsize=(WIDTH_IN, 0.8 + (panel_in + 0.6) * down))
    panels = np.atleast_1d(figure.subplots(down, across)).ravel()
    set_margins(figure, 0.8, 0.15, 0.45, 0.72, hspace=0.42, wspace=0.38)
    for ax in panels[len(shown) :]:
        ax.set_axis_off()
    last_h = max(float(one.run.transport.ends_h[-1]) for one in shown)
    per_hour, time = (1.0, "h") if last_h >= HOURS_FROM else (60.0, "min")
    for i, (ax, one) in enumerate(zip(panels, shown, strict=False)):
        _panel(ax, one, per_hour)
        if i % across == 0:
            ax.set_ylabel(f"receiver ({unit})" if unit else "receiver concentration")
        if i + across >= len(shown):
            ax.set_xlabel(f"time since the donor was loaded ({time})")
    handles: list[Any] = [
        Line2D([], [], color=INK, ls="", marker="o", ms=3.5, mfc="none", label="samples"),
        Line2D([], [], color=MEAN, label="two compartments"),
        Patch(color=PREDICTIVE, lw=0, label="95 % of a single sample"),
        Line2D([], [], color=DOSE, ls=(0, (4, 2)), lw=1.0, label="the same P by the sink formula"),
    ]
    if any((~one.fit.used & np.isfinite(one.run.samples.concentration)).any() for one in shown):
        handles.insert(
            1, Line2D([], [], color=QUIET, ls="", marker="x", ms=3.5, label="not in the fit")
        )
    if any(np.isnan(one.run.samples.concentration).any() for one in shown):
        handles.insert(
            1, Line2D([], [], color=FAILED, ls="", marker="^", ms=3.5, label="beyond the standards")
        )
    if not any(isinstance(one.run.transport, StaticTransport) for one in shown):
        handles.pop()
    legend_on_top(figure, handles, 3)
    if len(found) > len(shown):
        figure.text(0.99, 0.01, f"{len(found) - len(shown)} more not shown", ha="right", fontsize=6)
    return figure


def _panel(ax: Any, one: Permeability, per_hour: float) -> None:
    run, fit = one.run, one.fit
    ends, y = run.transport.ends_h, run.samples.concentration
    ax.set_title(run.chip_id, fontweight="bold", pad=14)
    ax.yaxis.get_offset_text().set(x=-0.02, ha="right")  # beside what is said of the panel
    ax.annotate(
        _said(one), (0.0, 1.0), (0.0, 4.0), "axes fraction", textcoords="offset points",
        fontsize=7, color=_colour(one),
    )  # fmt: skip
    if not fit.failure and one.qc != "fail":
        _fit(ax, one, per_hour)
    if isinstance(run.transport, PerfusedTransport):
        starts = run.transport.starts_h * per_hour
        ax.hlines(y, starts, ends * per_hour, color=INK, lw=1.1)
        at = (starts + ends * per_hour) / 2.0
    else:
        at = ends * per_hour
    ax.plot(at[fit.used], y[fit.used], "o", color=INK, ms=3.2, mfc="none", mew=0.8, zorder=3)
    ax.plot(at[~fit.used], y[~fit.used], "x", color=QUIET, ms=3.5, mew=0.9, zorder=3)
    ax.set_xlim(0.0, float(ends[-1]) * per_hour * 1.04)
    top = float(np.nanmax(np.concatenate([y, fit.fitted, [0.0]])))
    low = float(np.nanmin(np.concatenate([y, [0.0]])))
    ax.set_ylim(min(low * 1.1, -0.02 * top), 1.15 * top if top > 0.0 else 1.0)
    ax.yaxis.set_major_locator(MaxNLocator(5))
    beyond = np.isnan(y)
    ax.plot(at[beyond], np.full(beyond.sum(), 1.09 * top), "^", color=FAILED, ms=3.5)
    ax.axhline(0.0, color=QUIET, lw=0.5, zorder=0)


def _fit(ax: Any, one: Permeability, per_hour: float) -> None:
    fit, transport = one.fit, one.run.transport
    donor = one.run.donor.concentration
    arguments = np.array([fit.clearance_ul_h]), np.array([fit.lag_h])
    half = fit.quantile() * fit.scale * fit.shape
    if isinstance(transport, PerfusedTransport):
        for start, end, mean, room in zip(
            transport.starts_h, transport.ends_h, fit.fitted, half, strict=True
        ):
            sides = np.array([start, end]) * per_hour
            ax.fill_between(sides, mean - room, mean + room, color=PREDICTIVE, lw=0, alpha=0.8)
        short = 1e-3 * float(transport.ends_h[-1])
        fine = np.linspace(short, float(transport.ends_h[-1]), FINE)
        outlet = replace(transport, starts_h=fine - short, ends_h=fine)
        ax.plot(fine * per_hour, donor * outlet.predict(*arguments)[0], color=MEAN, zorder=2)
        return
    assert isinstance(transport, StaticTransport)
    at = transport.times_h * per_hour
    ax.fill_between(at, fit.fitted - half, fit.fitted + half, color=PREDICTIVE, lw=0, alpha=0.8)
    last = float(transport.times_h[-1])
    fine = np.setdiff1d(np.linspace(0.0, last, FINE), transport.times_h)
    # Between samples too, so that the fall by dilution at each of them is seen.
    after = transport.times_h[:-1] + 1e-6 * last
    every = np.sort(np.concatenate([fine, transport.times_h, after]))
    removed, replaced = np.zeros(every.size), np.zeros(every.size)
    places = np.searchsorted(every, transport.times_h)
    removed[places], replaced[places] = transport.removed_ul, transport.replaced_ul
    course_of = replace(transport, times_h=every, removed_ul=removed, replaced_ul=replaced)
    ax.plot(every * per_hour, donor * course_of.predict(*arguments)[0], color=MEAN, zorder=2)
    sink = _by_sink(transport, fit.clearance_ul_h, fit.lag_h, every)
    ax.plot(every * per_hour, donor * sink, color=DOSE, ls=(0, (4, 2)), lw=1.0, zorder=1)


def _by_sink(
    transport: StaticTransport, clearance_ul_h: float, lag_h: float, at: np.ndarray
) -> np.ndarray:
    """Return C_R / C_D,0 with a donor that stays full and nothing that goes back."""
    found, since, amount, volume = np.zeros(at.size), lag_h, 0.0, transport.receiver_ul
    begin = -np.inf
    events = zip(transport.times_h, transport.removed_ul, transport.replaced_ul, strict=True)
    for end, removed, replaced in events:
        here = (at > begin) & (at <= end)
        found[here] = (amount + clearance_ul_h * np.maximum(at[here] - since, 0.0)) / volume
        amount += clearance_ul_h * max(end - since, 0.0)
        amount *= (volume - removed) / volume
        begin, since, volume = end, max(end, since), volume - removed + replaced
    return found


def _said(one: Permeability) -> str:
    if one.qc == "fail":
        return "no permeability"
    flag = "" if one.qc == "ok" else ", flagged"
    if one.censoring == "left":
        return f"P < {_power(one.detection_limit)} cm/s{flag}"
    half = (one.interval[1] - one.interval[0]) / 2.0 / one.p_app
    return f"P {_power(one.p_app)} cm/s ± {half:.0%}{flag}"


def _colour(one: Permeability) -> str:
    return {"ok": QUIET, "warn": DOSE, "fail": FAILED}[one.qc]


def _power(value: float) -> str:
    """Return a number with its power of ten as people write it."""
    power = math.floor(math.log10(abs(value)))
    return f"{value / 10.0**power:.2f}·10$^{{{power}}}$"


def write_permeability_figure(found: Sequence[Permeability], unit: str, path: Path) -> None:
    """Write the figure in the format of the path's ending; OSError where it can not be."""
    write_file(lambda: permeability_figure(found, unit), path)

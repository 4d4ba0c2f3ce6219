"""Figures of the answer: each goal over the cycles, and the dose-response behind it.

Belongs here: what these figures show. Not here: style and SVG (svg), panels per chip (chip_figures), bands
(predictions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from chiploop.report.predictions import DoseResponse
from chiploop.report.run_tables import number
from chiploop.report.svg import (
    DOSE,
    FAILED,
    INK,
    MEAN,
    PREDICTIVE,
    QUIET,
    TRUTH,
    WIDTH_IN,
    axis_of,
    donor_style,
    legend_on_top,
    plain_log_axis,
    set_margins,
)
from chiploop.study import Study
from chiploop.study_limits import concentration_limit_nm


@dataclass(frozen=True)
class GoalAt:
    """A goal after one calibration."""

    cycle: int
    median: float
    lower: float
    upper: float
    passed: bool
    unit: str = "nM"


@dataclass(frozen=True)
class NextDose:
    """A proposed dose, to be marked on a concentration axis."""

    line: str
    nm: float
    risk: float | None


def history_figure(goals: Mapping[str, Sequence[GoalAt]], truths: Mapping[str, float]) -> Figure:
    """Return every goal's interval over the cycles, one panel per goal."""
    if not any(goals.values()):
        raise ValueError("no calibration is on record")
    figure = Figure(figsize=(WIDTH_IN, 2.7))
    axes = np.atleast_1d(figure.subplots(1, len(goals)))
    set_margins(figure, 0.6, 0.1, 0.45, 0.45, wspace=0.28)
    for ax, (name, course) in zip(axes, goals.items(), strict=True):
        unit = "" if not course or course[-1].unit == "1" else f" {course[-1].unit}"
        for one in course:
            colour, marker = (MEAN, "o") if one.passed else (FAILED, "x")
            ax.plot(
                [one.cycle] * 2, [one.lower, one.upper], color=colour, lw=2.4, solid_capstyle="butt"
            )
            ax.plot(one.cycle, one.median, marker, color=colour, ms=6, mfc="white", mew=1.5)
            ax.annotate(
                f"{one.median:.3g}" if one.passed else "FAILED", (one.cycle, one.upper),
                xytext=(0, 3), textcoords="offset points", ha="center", fontsize=7, color=colour,
            )  # fmt: skip
        levels = [v for one in course for v in (one.lower, one.upper)]
        if name in truths:
            levels.append(truths[name])
            ax.axhline(truths[name], color=TRUTH, ls=(0, (5, 3)), lw=1.1)
            said = f"dashed: hidden truth {truths[name]:.3g}{unit}"
            ax.set_title(said, loc="right", fontsize=7, color=TRUTH)
        ax.set_yscale("log")
        ax.set_ylim(min(levels) / 1.35, max(levels) * 1.35)
        ticks = round_ticks(*ax.get_ylim())
        ax.set_yticks(ticks)
        plain_log_axis(ax.yaxis)
        ax.minorticks_off()
        ax.set_xticks([one.cycle for one in course])
        ax.set_xlim(min(o.cycle for o in course) - 0.5, max(o.cycle for o in course) + 0.5)
        ax.grid(axis="y", color="#e3e6ea", lw=0.6)
        ax.set_axisbelow(True)
        ax.set_xlabel("readouts learned from, up to cycle")
        ax.set_ylabel("concentration at the inlet (nM)" if unit else "ratio")
        ax.set_title(name, fontweight="bold")
    return figure


def round_ticks(low: float, high: float) -> list[float]:
    """Return round numbers within a range, four to eight of them."""
    for steps in ((1, 10), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), tuple(range(1, 10))):
        exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        ticks = sorted(
            {s * 10.0**e for e in exponents for s in steps if low <= s * 10.0**e <= high}
        )
        if len(ticks) >= 4:
            return ticks
    return ticks


def dose_response_figure(
    study: Study,
    curve: DoseResponse,
    unit: str,
    goal: GoalAt,
    truth: float | None,
    doses: Sequence[NextDose],
    last_cycle: int,
) -> Figure:
    """Return a goal's curve with the chips' moved readings, and the next doses on the same axis."""
    axis = axis_of(curve.goal.readout, unit)
    rows = max(1, len(doses))
    strip_in = 0.17 * (rows + 1) + 0.1
    figure = Figure(figsize=(WIDTH_IN, 3.45 + strip_in))
    ax, strip = figure.subplots(2, 1, height_ratios=[2.5, strip_in])
    set_margins(figure, 0.65, 0.22, 0.45, 0.45, hspace=0.04)
    given = [r.drug_nm for r in curve.readings if r.drug_nm > 0.0]
    asked = [d.nm for d in doses if d.nm > 0.0]
    on_axis = goal.unit == curve.goal.unit == "nM"  # a ratio has no place on it
    low = min([*given, *asked, *((goal.lower, goal.median) if on_axis else ())], default=1.0) / 3.0
    reach = goal.upper if on_axis else 0.0
    limit_nm = concentration_limit_nm(study, curve.goal.drug)
    high = max([*given, *asked, reach, limit_nm]) * 2.5
    zero = low / 2.2
    shown = (curve.concentrations_nm >= low / 1.4) & (curve.concentrations_nm <= high * 1.4)
    c = curve.concentrations_nm[shown]
    k = axis.factor
    ax.fill_between(
        c,
        k * curve.predictive.lower[shown],
        k * curve.predictive.upper[shown],
        color=PREDICTIVE,
        lw=0,
    )
    ax.fill_between(
        c, k * curve.mean.lower[shown], k * curve.mean.upper[shown], color=MEAN, alpha=0.45, lw=0
    )
    ax.plot(c, k * curve.mean.median[shown], color=MEAN)
    for part, style in (
        (curve.vehicle_predictive, {"color": PREDICTIVE}),
        (curve.vehicle, {"color": MEAN, "alpha": 0.45}),
    ):
        ax.fill_between(
            [zero / 1.35, zero * 1.35], k * float(part.lower), k * float(part.upper), lw=0, **style
        )
    ax.plot([zero / 1.35, zero * 1.35], [k * float(curve.vehicle.median)] * 2, color=MEAN)
    ax.axhline(k * curve.unstimulated, color=QUIET, lw=0.9, ls=":")
    styles = donor_style(list(study.donors))
    spots: dict[tuple[float, str], int] = {}
    groups: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    for reading in curve.readings:
        donor = study.donor_of(reading.chip_id).id
        x = reading.drug_nm if reading.drug_nm > 0.0 else zero
        nth = spots[x, donor] = spots.get((x, donor), -1) + 1
        aside = 1.0 + 0.045 * (list(styles).index(donor) - (len(styles) - 1) / 2)
        group = groups.setdefault((donor, reading.cycle == last_cycle), [])
        group.append((x * aside * 1.012**nth, k * reading.value))
    for (donor, last), points in sorted(groups.items(), key=lambda one: one[0][1]):
        colour, marker = styles[donor]
        ax.plot(*zip(*points, strict=True), marker, ms=4.6, mew=0.9, mec=colour,
                mfc=colour if last else "white", alpha=0.95, ls="none")  # fmt: skip
    half = k * float(curve.half)
    if on_axis:
        ax.plot(
            [goal.lower, goal.upper],
            [half, half],
            color=INK,
            lw=2.2,
            solid_capstyle="butt",
            zorder=5,
        )
        ax.plot(goal.median, half, "|", color=INK, ms=9, mew=1.6, zorder=5)
    handles: list[Any] = [
        Line2D([], [], color=MEAN, label="curve, median"),
        Patch(color=MEAN, alpha=0.45, lw=0, label="90 % of the curve"),
        Patch(color=PREDICTIVE, lw=0, label="90 % of one reading"),
        *(Line2D([], [], color=colour, marker=m, ls="none", ms=4.6, label=f"{donor}, last exposure")
          for donor, (colour, m) in styles.items()),
        Line2D([], [], color=QUIET, marker="o", mfc="white", ls="none", ms=4.6, label="earlier exposures"),
        Line2D([], [], color=QUIET, lw=0.9, ls=":", label="without stimulus"),
    ]  # fmt: skip
    if truth is not None and on_axis:
        for panel in (ax, strip):
            panel.axvline(truth, color=TRUTH, ls=(0, (5, 3)), lw=1.1)
        handles.append(Line2D([], [], color=TRUTH, ls=(0, (5, 3)), lw=1.1, label="hidden truth"))
    legend_on_top(figure, handles, 5)
    ax.set_ylabel(axis.label)
    ax.set_ylim(bottom=0.0 if curve.goal.readout != "ldh_release" else None)
    concentration_axis(ax, low, high, zero)
    ax.tick_params(labelbottom=False)
    name = curve.goal.name + (f", {curve.goal.drug}" if curve.goal.drug else "")
    concentration_axis(strip, low, high, zero)
    strip_of_doses(strip, name, goal, doses, zero, limit_nm, on_axis)
    strip.set_xlabel("concentration at the inlet (nM)")
    return figure


def concentration_axis(ax: Any, low: float, high: float, zero: float) -> None:
    """Give a panel a log axis with a place for no drug at its left."""
    ax.set_xscale("log")
    ax.set_xlim(zero / 1.6, high)
    ticks = [10.0**e for e in range(-3, 8) if low <= 10.0**e <= high]
    ax.set_xticks([zero, *ticks], ["0", *(f"{t:g}" for t in ticks)])
    ax.minorticks_off()


def strip_of_doses(
    ax: Any,
    name: str,
    goal: GoalAt,
    doses: Sequence[NextDose],
    zero: float,
    limit_nm: float,
    on_axis: bool = True,
) -> None:
    """Mark the goal's interval, and each line's next dose with its risk."""
    ax.set_yticks(range(len(doses) + 1), ["goal", *(d.line for d in doses)])
    ax.set_ylim(max(1, len(doses)) + 0.6, -0.6)
    colour = INK if goal.passed else FAILED
    if on_axis:
        ax.plot([goal.lower, goal.upper], [0, 0], color=colour, lw=2.4, solid_capstyle="butt")
        ax.plot(goal.median, 0, "|", color=colour, ms=8, mew=1.6)
    unit = " nM" if on_axis else ""
    said = f"{name} {number(goal.median)}{unit} ({number(goal.lower)} to {number(goal.upper)})" + (
        "" if goal.passed else ", FAILED fit"
    )
    # beside the bar, on the side that has more room
    low, high = ax.get_xlim()
    is_left = on_axis and goal.lower / low > high / goal.upper
    place = zero if not on_axis else goal.lower if is_left else goal.upper
    ax.annotate(said, (place, 0), xytext=(-6 if is_left else 6, 0), textcoords="offset points", va="center",
                ha="right" if is_left else "left", fontsize=7, fontweight="bold", color=colour)  # fmt: skip
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    if doses:
        ax.axvline(limit_nm, ymax=1.0 - 1.1 / (len(doses) + 1.2), color=FAILED, lw=0.9)
    for i, dose in enumerate(doses, start=1):
        x = dose.nm if dose.nm > 0.0 else zero
        risk = "" if dose.risk is None else f", risk {100 * dose.risk:.0f} %"
        ax.plot(x, i, marker="D", ms=4.5, color=DOSE, ls="none")
        right = x > limit_nm / 20
        ax.annotate(f"{dose.nm:.4g} nM{risk}", (x, i), xytext=(-7 if right else 9, 0), fontsize=6.5,
                    textcoords="offset points", va="center", ha="right" if right else "left",
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8})  # fmt: skip
    if not doses:
        ax.text(0.5, 0.2, "no dose is proposed", transform=ax.transAxes, ha="center", va="center",
                fontsize=7, color=QUIET)  # fmt: skip

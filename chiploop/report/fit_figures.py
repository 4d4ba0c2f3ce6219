"""Figures by which a person judges a calibration: searches, residuals, places, profiles, prior against posterior.

Belongs here: what these figures show, and their captions. Not here: style and SVG (svg), the numbers (fit_review),
figures of the answer (figures).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiploop.fit_review import LEVEL, FitReview, ParameterInterval
from chiploop.inference.predictive_checks import PlaceCheck
from chiploop.inference.profile_verdicts import LEARNED
from chiploop.inference.search import SAME_HEIGHT
from chiploop.report.pair_figure import pair_figure
from chiploop.report.profile_figure import profile_figure
from chiploop.report.residual_figure import INNER, residual_figure
from chiploop.report.run_tables import number
from chiploop.report.svg import (
    BAND,
    DOSE,
    FAILED,
    MEAN,
    PREDICTIVE,
    QUIET,
    WIDTH_IN,
    axis_of,
    legend_on_top,
    set_margins,
)

PRIOR = "#d5dbe1"
AT_NARROWED = 1.74
"""Right end of a column beside the axes, in their width."""
PERCENT = f"{100 * LEVEL:.0f} %"
PARAMETERS = (
    f"Bars: {PERCENT} equal-tailed credible intervals, on the scale on which every prior is a standard normal; "
    "grey the prior, blue the posterior where it is learned (its sd at most half of the prior's), orange where it "
    "is mostly the prior's. Numbers: median and interval in the parameter's unit; by how much its sd is narrower "
    "than the prior's."
)
RESIDUALS = (
    "Each reading predicted from all other readings, as a standard normal; hollow: censored, at random within its "
    f"bounds. Grey band: {PERCENT} of single readings of a right model. p: of a straight trend, by the whole "
    "covariance of the readings; it is drawn where it is more than chance (5 % over all tests of the study)."
)
PLACES = (
    "Places of readings in their leave-one-out predictive distributions: 0 far below, 1 far above what is "
    "predicted. Grey band: 95 % of a right model's counts, each bin by itself. Piled up at both ends: predictions "
    "are too narrow; in the middle: too wide; at one end: readings lie above or below."
)
PROFILES = (
    "Fall of the log posterior when the parameter is held and all others are fitted anew (blue), and without the "
    "parameter's own prior (orange: what the data say). Dotted: falls at which 90 % and 95 % profile intervals "
    "end (chi-squared with one degree of freedom); a curve that does not reach them has an open end. Grey: "
    f"{PERCENT} of the prior, equal-tailed."
)
PAIRS = (
    "Each dot is a particle of the posterior; along and up, sd of the prior from its median. The pairs that hang "
    f"together most, r their correlation. Grey: {PERCENT} of each prior, equal-tailed. A narrow slope: the "
    "readouts tell a combination of the two, so neither is to be read by itself."
)
SEARCHES = (
    f"Log posterior at each search's end below the best one's. Filled: within {SAME_HEIGHT:g} of the best (blue "
    "band), as of one mode; the more the better. Crosses at the bottom: searches that could not begin."
)


@dataclass(frozen=True)
class FitFigure:
    """One figure, drawn when it is asked for."""

    name: str
    title: str
    caption: str
    """How to read it, and of which kind its intervals are."""
    draw: Callable[[], Figure]


def fit_figures(review: FitReview, donors: Sequence[str]) -> tuple[FitFigure, ...]:
    """Return the figures of a review in the order in which they are read; donors in the study's order."""
    found = [
        FitFigure(
            "fit-parameters",
            "Parameters before and after the readouts",
            PARAMETERS,
            partial(parameter_figure, review.parameters),
        ),
        FitFigure(
            "fit-residuals",
            "Residuals against time and prediction",
            RESIDUALS,
            partial(residual_figure, review.residuals, review.trends, donors),
        ),
        FitFigure(
            "fit-places",
            "Where readings lie in their predictions",
            PLACES,
            partial(place_figure, review.place_checks),
        ),
    ]
    if review.pairs:
        found.append(
            FitFigure(
                "fit-pairs",
                "Parameters against each other",
                PAIRS,
                partial(pair_figure, review.pairs),
            )
        )
    if review.profiles is not None:
        found.append(
            FitFigure(
                "fit-profiles",
                "Profiles: how far the data let each parameter go",
                PROFILES,
                partial(profile_figure, review.profiles, review.parameters),
            )
        )
    found.append(
        FitFigure(
            "fit-searches",
            "Where the searches ended",
            SEARCHES,
            partial(waterfall_figure, review.heights),
        )
    )
    return tuple(found)


def waterfall_figure(heights: Sequence[float]) -> Figure:
    """Return the log posterior at each search's end below the best."""
    if not len(heights):
        raise ValueError("no search is on record")
    ends = np.sort(np.asarray(heights, dtype=float))[::-1]
    began = np.isfinite(ends)
    if not began.any():
        raise ValueError("no search could begin")
    below = np.where(began, ends[0] - ends, np.nan)
    deepest = max(float(np.nanmax(below)), 3.0)
    figure = Figure(figsize=(WIDTH_IN, 2.4))
    ax = figure.subplots()
    set_margins(figure, 0.75, 0.15, 0.45, 0.25)
    ax.axhspan(0.0, SAME_HEIGHT, color=PREDICTIVE, alpha=0.5, lw=0)
    places = np.arange(1, len(ends) + 1)
    ax.plot(places[began], below[began], color=QUIET, lw=0.8, zorder=1)
    near = began & (np.nan_to_num(below, nan=np.inf) <= SAME_HEIGHT)
    ax.plot(places[near], below[near], "o", color=MEAN, ms=6, zorder=2)
    far = began & ~near
    ax.plot(places[far], below[far], "o", color=MEAN, mfc="white", ms=6, zorder=2)
    floor = deepest * 2.2
    ax.plot(places[~began], np.full((~began).sum(), floor), "x", color=FAILED, ms=6)
    ax.set_yscale("symlog", linthresh=SAME_HEIGHT, linscale=0.6)
    ax.set_ylim(floor * 1.4, -0.12)
    ticks = [0.0, SAME_HEIGHT] + [
        t for t in (1, 2, 5, 10, 30, 100, 300, 1000, 3000, 1e4) if t < floor
    ]
    ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.set_xticks(places if len(places) <= 32 else places[:: len(places) // 16])
    ax.set_xlim(0.5, len(ends) + 0.5)
    ax.set_xlabel("searches, best first")
    ax.set_ylabel("log posterior below the best")
    ax.set_title(
        f"{int(near.sum())} of {len(ends)} searches ended within {SAME_HEIGHT:g} of the best"
    )
    return figure


def place_figure(checks: Sequence[PlaceCheck]) -> Figure:
    """Return how often readings lie where in their predictions."""
    if not checks:
        raise ValueError("there are no readings to show places of")
    across = min(len(checks), 4)
    down = -(-len(checks) // across)
    figure = Figure(figsize=(WIDTH_IN, 0.35 + 1.9 * down))
    panels = np.atleast_1d(figure.subplots(down, across)).ravel()
    set_margins(figure, 0.45, 0.1, 0.45, 0.4, hspace=0.6, wspace=0.25)
    for ax, check in zip(panels, checks, strict=False):
        bins = len(check.counts)
        edges = np.linspace(0.0, 1.0, bins + 1)
        for b in range(bins):
            ax.fill_between(edges[b : b + 2], *check.band[b], color=BAND, lw=0, zorder=0)
        middle = 0.5 * (edges[1:] + edges[:-1])
        ax.bar(middle, check.counts, 0.62 / bins, color=MEAN, lw=0)
        ax.plot([0.0, 1.0], [check.readings / bins] * 2, color=QUIET, lw=0.8)
        ax.set_xlim(0.0, 1.0)
        ax.set_xticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])
        ax.set_ylim(0.0, max(check.counts.max(), check.band.max()) * 1.12)
        title = axis_of(check.name, "").title
        ax.set_title(f"{title}, n {check.readings}", fontweight="bold")
        state, colour = ("", QUIET) if check.is_good else ("LOOK, ", FAILED)
        ax.text(0.99, 0.985, f"{state}p {check.p_value:.2g}", transform=ax.transAxes, ha="right", va="top",
                fontsize=7, color=colour)  # fmt: skip
        ax.set_xlabel("place in its prediction", labelpad=1)
    for ax in panels[len(checks) :]:
        ax.set_axis_off()
    panels[0].set_ylabel("readings")
    return figure


def parameter_figure(parameters: Sequence[ParameterInterval]) -> Figure:
    """Return prior and posterior intervals of every parameter on the prior's own scale."""
    if not parameters:
        raise ValueError("there are no parameters to show")
    n = len(parameters)
    figure = Figure(figsize=(WIDTH_IN, 0.85 + 0.235 * n))
    ax = figure.subplots()
    set_margins(figure, 1.05, 2.85, 0.42, 0.42)
    reach = max(2.6, *(max(abs(one.z_lower), abs(one.z_upper)) for one in parameters)) * 1.05
    beside = ax.get_yaxis_transform()
    for i, one in enumerate(parameters):
        ax.plot([-INNER, INNER], [i, i], color=PRIOR, lw=9, solid_capstyle="butt")
        colour = MEAN if one.shrinkage >= LEARNED else DOSE
        ax.plot([one.z_lower, one.z_upper], [i, i], color=colour, lw=3.4, solid_capstyle="butt")
        ax.plot(one.z_median, i, "o", color=colour, mfc="white", ms=5, mew=1.3)
        unit = "" if one.unit in ("1", "") else f" {one.unit}"
        said = f"{number(one.median)}  ({number(one.lower)} to {number(one.upper)}){unit}"
        ax.text(1.03, i, said, transform=beside, va="center", fontsize=7)
        narrowed = f"{100 * max(0.0, one.shrinkage):.0f} %"
        ax.text(AT_NARROWED, i, narrowed, transform=beside, va="center", ha="right", fontsize=7)
    said = f"median ({PERCENT})"
    ax.text(1.03, -0.95, said, transform=beside, fontsize=7, color=QUIET)
    ax.text(AT_NARROWED, -0.95, "narrowed", transform=beside, fontsize=7, color=QUIET, ha="right")
    ax.axvline(0.0, color=QUIET, lw=0.7, zorder=0)
    ax.set_ylim(n - 0.4, -0.6)
    ax.set_yticks(range(n), [one.name for one in parameters])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xlim(-reach, reach)
    ax.set_xlabel("prior sd from the prior's median")
    handles = [
        Line2D([], [], color=PRIOR, lw=7, label="prior"),
        Line2D([], [], color=MEAN, lw=3.4, label="posterior, learned"),
        Line2D([], [], color=DOSE, lw=3.4, label="posterior, mostly the prior's"),
    ]
    legend_on_top(figure, handles, 3)
    return figure

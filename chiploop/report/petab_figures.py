"""Figures of a fitted PEtab problem: where the starts ended, and how far each parameter may go.

Belongs here: what the two figures show, and their files. Not here: style (svg), the fit and its profiles
(chiploop.inference).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from chiploop.inference.petab_profiles import DROP, Profile
from chiploop.inference.petab_result import SAME, PetabFit
from chiploop.report.svg import INK, MEAN, PREDICTIVE, QUIET, STYLE, WIDTH_IN, set_margins

WATERFALL_IN = 3.0
PANEL_IN = 1.35
COLUMNS = 4
SHOWN_FALL = 4.0
"""Of a profile's log-likelihood; what lies lower is cut."""
NAME_LETTERS = 24


def waterfall_figure(fitted: PetabFit) -> Figure:
    """Return how far each start ended below the best, after its first climb and after its hops."""
    figure = Figure(figsize=(WIDTH_IN, WATERFALL_IN))
    ax = figure.subplots()
    set_margins(figure, 0.7, 0.15, 0.45, 0.4)
    order = np.arange(1, len(fitted.starts) + 1)
    best = fitted.log_density
    ends = np.array([best - each.log_density for each in fitted.starts])
    climbs = np.array([best - each.climb_log_density for each in fitted.starts])
    ax.axhspan(0.0, SAME, color=PREDICTIVE, lw=0)
    if fitted.hops:
        ax.plot(order, climbs, ls="", marker="o", mfc="none", mec=QUIET, ms=4, label="first climb")
    ax.plot(order, ends, color=MEAN, marker="o", ms=4, label="end")
    ax.set_yscale("symlog", linthresh=SAME)
    ax.set_ylim(bottom=-0.3 * SAME)
    ax.set_xlabel("start, best first")
    ax.set_ylabel(f"{maximised(fitted)} below the best")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_title(
        f"{fitted.target.problem.path.stem}: best {best:.4f}, found by {fitted.found_best} of "
        f"{len(fitted.starts)} starts (within {SAME:g}, shaded)"
    )
    ax.legend(loc="upper left")
    return figure


def profiles_figure(fitted: PetabFit, profiles: Sequence[Profile]) -> Figure:
    """Return one panel per parameter: its profile, the best point, and where the 95 % interval ends."""
    columns = min(COLUMNS, len(profiles))
    rows = -(-len(profiles) // columns)
    figure = Figure(figsize=(WIDTH_IN, 0.55 + rows * PANEL_IN))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    set_margins(figure, 0.45, 0.12, 0.32, 0.45, wspace=0.28, hspace=0.75)
    for ax in axes[len(profiles) :]:
        ax.set_visible(False)
    for place, (ax, profile, estimate) in enumerate(
        zip(axes, profiles, fitted.estimates, strict=False)
    ):
        fall = fitted.log_density - profile.log_density
        ax.axhline(-DROP, color=QUIET, lw=0.7, ls=(0, (4, 2)))
        ax.plot(profile.at, -fall, color=MEAN, marker=".", ms=3)
        ax.plot([estimate.on_scale], [0.0], ls="", marker="o", color=INK, ms=3.5)
        for end in (profile.lower, profile.upper):
            if end is not None:
                ax.axvline(end, color=QUIET, lw=0.6)
        ax.set_ylim(-SHOWN_FALL, 0.4)
        ax.set_xlim(*shown_range(profile, fall))
        ax.xaxis.set_major_locator(MaxNLocator(3))
        name = profile.name
        ax.set_title(name if len(name) <= NAME_LETTERS else name[: NAME_LETTERS - 3] + "...")
        ax.set_xlabel("" if estimate.scale == "lin" else estimate.scale, labelpad=1)
        if place % columns == 0:
            ax.set_ylabel("below the best")
    figure.text(
        0.06 / WIDTH_IN,
        1.0 - 0.05 / (0.55 + rows * PANEL_IN),
        f"{fitted.target.problem.path.stem}: profile {maximised(fitted)}, all other parameters fitted anew; "
        "dashed: where a 95 % interval ends",
        ha="left",
        va="top",
        fontsize=7,
    )
    return figure


def maximised(fitted: PetabFit) -> str:
    """Return the name of what the fit maximised."""
    return "log posterior" if fitted.target.priors else "log-likelihood"


def shown_range(profile: Profile, fall: np.ndarray) -> tuple[float, float]:
    """Return the part of a profile that is shown: what has not fallen too far, and a little air."""
    shown = profile.at[fall <= SHOWN_FALL]
    low, high = float(shown.min()), float(shown.max())
    air = 0.06 * (high - low) or 0.5
    return low - air, high + air


def write_svg(figure_of: Any, path: Path) -> None:
    """Write what a function draws as SVG, the same bytes every time; OSError where the file can not be."""
    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        buffer = io.BytesIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure_of().savefig(buffer, format="svg", metadata=nothing, facecolor="white")
    path.write_bytes(buffer.getvalue())

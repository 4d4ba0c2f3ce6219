"""Profiles of a calibration as small multiples.

Belongs here: this figure. Not here: profiles (inference.profiles), other figures of a fit (fit_figures).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.interpolate import PchipInterpolator
from scipy.stats import chi2

from chiploop.fit_review import ParameterInterval
from chiploop.inference.profiles import Profile, Profiles
from chiploop.report.svg import (
    BAND,
    DOSE,
    FAILED,
    MEAN,
    QUIET,
    WIDTH_IN,
    legend_on_top,
    plain_log_axis,
    set_margins,
)

SHOWN_FALL = 4.2
"""Top of a profile's axis."""
ACROSS = 4
"""Profiles in a row."""


def profile_figure(found: Profiles, parameters: Sequence[ParameterInterval]) -> Figure:
    """Return the profile of every parameter."""
    of = found.of_parameters
    if not of:
        raise ValueError("there are no profiles to show")
    down = -(-len(of) // ACROSS)
    figure = Figure(figsize=(WIDTH_IN, 0.6 + 1.45 * down))
    panels = np.atleast_1d(figure.subplots(down, ACROSS)).ravel()
    set_margins(figure, 0.45, 0.1, 0.35, 0.5, hspace=0.75, wspace=0.2)
    priors = {one.name: one for one in parameters}
    for i, (ax, profile) in enumerate(zip(panels, of, strict=False)):
        one_profile(ax, profile, priors[profile.name])
        if i % ACROSS:
            ax.tick_params(labelleft=False)
        else:
            ax.set_ylabel("fall of ln p")
    for ax in panels[len(of) :]:
        ax.set_axis_off()
    handles: list[Any] = [
        Line2D([], [], color=MEAN, label="log posterior"),
        Line2D([], [], color=DOSE, label="without its own prior: the data"),
        Line2D([], [], color=QUIET, lw=0.8, ls=":", label="ends of 90 % and 95 % intervals"),
        Patch(color=BAND, lw=0, label="90 % of the prior"),
    ]
    legend_on_top(figure, handles, 4)
    return figure


def one_profile(ax: Any, profile: Profile, prior: ParameterInterval) -> None:
    """Draw one profile."""
    ax.axvspan(prior.prior_lower, prior.prior_upper, color=BAND, lw=0)
    for level in (0.9, 0.95):
        ax.axhline(chi2.ppf(level, 1) / 2.0, color=QUIET, lw=0.8, ls=":")
    inside = []
    for fall, colour in ((profile.data_fall, DOSE), (profile.fall, MEAN)):
        good = np.isfinite(fall)
        if good.sum() < 3:
            continue
        values, smooth = curve(profile, fall, good)
        ax.plot(values, smooth, color=colour)
        ax.plot(profile.values[good], fall[good], "o", color=colour, ms=2.2)
        inside += values[smooth <= SHOWN_FALL].tolist()
    low, high = (min(inside), max(inside)) if inside else (prior.prior_lower, prior.prior_upper)
    if profile.is_log:
        ax.set_xscale("log")
        ax.set_xticks(few_ticks(low, high))
        plain_log_axis(ax.xaxis)
        ax.minorticks_off()
    ax.set_xlim(low, high)
    ax.set_ylim(0.0, SHOWN_FALL)
    ax.set_yticks([0, 2, 4])
    unit = "" if profile.unit in ("1", "") else f" ({profile.unit})"
    ax.set_title(f"{profile.name}{unit}", fontweight="bold", pad=11)
    colour = {"learned": MEAN, "partly learned": QUIET, "prior-driven": FAILED}[profile.verdict]
    ax.text(
        0.0, 1.02, profile.verdict, transform=ax.transAxes, fontsize=7, color=colour, va="bottom"
    )


def curve(profile: Profile, fall: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a smooth profile (values, fall) through its points."""
    z = profile.z[good]
    fine = np.linspace(z[0], z[-1], 160)
    # the signed root of a fall is nearly straight
    root = np.sqrt(fall[good]) * np.where(np.arange(len(z)) < np.argmin(fall[good]), -1.0, 1.0)
    scaled = np.log(profile.values[good]) if profile.is_log else profile.values[good]
    values = PchipInterpolator(z, scaled)(fine)
    return np.exp(values) if profile.is_log else values, PchipInterpolator(z, root)(fine) ** 2


def few_ticks(low: float, high: float) -> list[float]:
    """Return two or three round numbers for a narrow log axis."""
    inside = np.log(low) + np.array([0.12, 0.5, 0.88]) * np.log(high / low)
    wide = high / low > 1.6
    return sorted(
        {float(f"{value:.{0 if wide and high / low > 20 else 1}e}") for value in np.exp(inside)}
    )

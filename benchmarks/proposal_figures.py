"""Figures of the comparison of dose policies: chips until the EC50 is known, and chips that were harmed.

Belongs here: drawing. Not here: counting. The same numbers give the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmarks.proposal_report import DEFAULT, UNSAFE_BAR
from benchmarks.simulation_figures import write
from chiploop.report.svg import QUIET, STYLE, WIDTH_IN, set_margins

LABELS = {
    "eig": "information on the EC50",
    "eig_batch_limit": "the same, batch bounded: default",
    "eig_schedules": "information, with schedules",
    "eig_unbounded": "information, no bound on harm",
    "voi": "value of information",
    "thompson": "Thompson",
    "random": "random",
    "random_schedules": "random, with schedules",
    "grid": "8-dose log grid",
    "d_optimal": "D-optimal",
    "d_optimal_bounded": "D-optimal, bound on harm",
    "botorch_qlognei": "BoTorch qLogNEI, constraint",
    "botorch_variance": "BoTorch integrated variance",
}
"""Policy -> what the figure calls it, from the top."""
OURS, OTHERS = "#0072B2", "#E69F00"
OWN = ("eig", "eig_batch_limit", "eig_unbounded", "voi", "eig_schedules")


def write_figures(told: dict[str, Any], folder: Path) -> None:
    """Write the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    style = {**STYLE, "figure.facecolor": "white", "axes.facecolor": "white", "axes.titlesize": 7.5}
    with matplotlib.rc_context(style):  # type: ignore[arg-type]
        write(figure_of(told["policies"]), folder / "proposal_policies.svg")


def figure_of(found: dict[str, Any]) -> Figure:
    """Return chips needed (median and quartiles) and the share of chips harmed, a row for each policy."""
    names = [name for name in reversed(LABELS) if name in found]
    rows = np.arange(len(names))
    colours = [OURS if name in OWN else OTHERS for name in names]
    figure = Figure(figsize=(WIDTH_IN, 0.9 + 0.25 * len(names)))
    set_margins(figure, 2.2, 0.2, 0.55, 0.35)
    chips, harm = figure.subplots(1, 2, sharey=True, gridspec_kw={"wspace": 0.12})
    for row, name, colour in zip(rows, names, colours, strict=True):
        low, high = found[name]["chips_quartiles"]
        chips.plot([low, high], [row, row], color=colour, linewidth=2.2, alpha=0.45)
        chips.plot(found[name]["chips_median"], row, "o", color=colour, markersize=5)
        chips.plot(found[name]["chips_mean"], row, "|", color=colour, markersize=8)
    chips.set_yticks(rows, [f"{LABELS[n]} ({found[n]['seeds']})" for n in names])
    if DEFAULT in found:
        chips.axvline(found[DEFAULT]["chips_median"], color=QUIET, linewidth=0.7, zorder=0)
    chips.set_xlim(left=0.0)
    chips.set_xlabel("chips until the interval is 2-fold")
    chips.set_title("median, quartiles, mean (stroke); (seeds)")
    harm.barh(rows, [found[n]["unsafe_percent"] for n in names], color=colours, height=0.55)
    harm.axvline(UNSAFE_BAR, color=QUIET, linewidth=0.7, linestyle=(0, (4, 3)))
    harm.set_xlabel("chips below the limit of viability, %")
    harm.set_title("harm; dashed: the bar of 2 %")
    return figure

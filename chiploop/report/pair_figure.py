"""Pairs of parameters of a posterior as small multiples.

Belongs here: this figure. Not here: which pairs (fit_review), other figures of a fit (fit_figures).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from chiploop.fit_review import ParameterPair
from chiploop.report.svg import BAND, MEAN, WIDTH_IN, set_margins

ACROSS = 3
INNER = 1.6449
"""Standard normals between minus and plus this are 90 % of all."""


def pair_figure(pairs: Sequence[ParameterPair]) -> Figure:
    """Return the particles of each pair on the priors' own scales."""
    down = -(-len(pairs) // ACROSS)
    figure = Figure(figsize=(WIDTH_IN, 0.2 + 1.95 * down))
    panels = np.atleast_1d(figure.subplots(down, ACROSS)).ravel()
    set_margins(figure, 0.5, 0.1, 0.4, 0.3, hspace=0.5, wspace=0.35)
    for ax, pair in zip(panels, pairs, strict=False):
        ax.add_patch(Rectangle((-INNER, -INNER), 2 * INNER, 2 * INNER, color=BAND, lw=0, zorder=0))
        ax.plot(*pair.places.T, "o", ms=1.9, mew=0, color=MEAN)
        for set_limits, values in zip((ax.set_xlim, ax.set_ylim), pair.places.T, strict=True):
            room = 0.08 * float(np.ptp(values)) or 0.1
            set_limits(float(values.min()) - room, float(values.max()) + room)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(3))
        ax.set_xlabel(pair.first, labelpad=1)
        ax.set_ylabel(pair.second, labelpad=1)
        said = f"r {pair.correlation:+.2f}".replace("-", "−")
        ax.set_title(said, loc="left", fontsize=7, pad=3)
    for ax in panels[len(pairs) :]:
        ax.set_axis_off()
    return figure

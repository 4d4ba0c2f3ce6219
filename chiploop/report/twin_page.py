"""The page of a what-if for one patient: forecasts, comparisons, what would narrow them; one file, no script.

Belongs here: what the page holds, its figures. Not here: the answer (chiploop.twin.patient_what_if), markup
(twin_page.html.j2).
"""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import chiploop
from chiploop.report.fit_page import environment
from chiploop.report.svg import (
    DONOR_COLOURS,
    MARK,
    QUIET,
    WIDTH_IN,
    Drawn,
    drawn,
    legend_on_top,
    set_margins,
)
from chiploop.twin import RESEARCH_USE
from chiploop.twin.patient_what_if import WhatIf

TEMPLATE = "twin_page.html.j2"


def twin_page(told: WhatIf) -> str:
    """Return the page of a what-if; the same answer gives the same bytes."""
    facts = [
        ("Patient", told.patient),
        ("Setting", told.setting),
        ("Week", f"{told.weeks[-1]:g}"),
        ("Better means", f"{told.margin_pct:g} points of improvement or more"),
        ("Software", f"chiploop {chiploop.__version__}"),
    ]
    page = {
        "mark": MARK,
        "simulated": True,
        "title": f"Which drug for {told.patient}",
        "research": RESEARCH_USE,
        "facts": facts,
        "told": told,
        **figures_of(told),
    }
    return environment().get_template(TEMPLATE).render(page) + "\n"


def figures_of(told: WhatIf, at: str = "") -> dict[str, Drawn]:
    """Return the figures of a what-if, marked as simulated; ``at`` begins their names."""
    return {
        "course": drawn(f"{at}course", "EASI under each drug", lambda: course(told), True),
        "falls": drawn(f"{at}falls", "Fall of EASI at the last week", lambda: falls(told), True),
    }


def course(told: WhatIf) -> Figure:
    """Return the courses of EASI with 90 % bands, one panel a drug."""
    n = len(told.forecasts)
    columns = min(3, n)
    rows = -(-n // columns)
    highest = 1.05 * max(float(one.easi.max()) for one in told.forecasts)
    figure = Figure(figsize=(WIDTH_IN, 0.5 + 1.9 * rows))
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for i, panel in enumerate(axes.flat):
        if i >= n:
            panel.set_axis_off()
            continue
        one, colour = told.forecasts[i], DONOR_COLOURS[i % len(DONOR_COLOURS)]
        panel.fill_between(told.weeks, one.easi[0], one.easi[2], color=colour, alpha=0.18, lw=0)
        panel.plot(told.weeks, one.easi[1], color=colour)
        panel.set_title(one.name)
        panel.set_ylim(0.0, highest)
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if i + columns >= n:
            panel.set_xlabel("Week of treatment")
        if i % columns == 0:
            panel.set_ylabel("EASI")
    set_margins(figure, 0.5, 0.1, 0.42, 0.35, hspace=0.35, wspace=0.12)
    return figure


def falls(told: WhatIf) -> Figure:
    """Return the fall of EASI in percent, with chips and without them."""
    n = len(told.forecasts)
    figure = Figure(figsize=(WIDTH_IN, 0.8 + 0.32 * n))
    axes = figure.subplots()
    handles: list[Any] = []
    for i, one in enumerate(told.forecasts):
        low, middle, high = one.improvement_pct
        colour = DONOR_COLOURS[i % len(DONOR_COLOURS)]
        axes.plot([low, high], [i, i], color=colour, lw=3, solid_capstyle="butt")
        (dot,) = axes.plot(middle, i, "o", color=colour, label="median and 90 %")
        if one.without_chip_pct is not None:
            low, middle, high = one.without_chip_pct
            axes.plot([low, high], [i + 0.25] * 2, color=QUIET, lw=1.5, solid_capstyle="butt")
            (bare,) = axes.plot(middle, i + 0.25, "o", ms=3, color=QUIET, label="without the chips")
            handles = handles or [dot, bare]
        handles = handles or [dot]
    axes.set_yticks(range(n), [one.name for one in told.forecasts])
    axes.invert_yaxis()
    axes.set_xlabel("Fall of EASI (%)")
    set_margins(figure, 1.9, 0.1, 0.42, 0.3)
    legend_on_top(figure, handles, len(handles))
    return figure

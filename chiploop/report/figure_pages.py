"""A report as a plain PDF where no browser can print it: a page of text, then a page per figure.

Belongs here: pages drawn by Matplotlib. Not here: the report (html_report), printing it whole (chromium_pdf).
The same values give the same bytes: no time of making stands in the file.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from chiploop.report.svg import INK, MARK, STYLE, TRUTH, Drawn

PAGE_IN = (8.27, 11.69)
"""A4."""
LINES = 62
WIDE = 96
NOTHING = {"CreationDate": None, "Producer": "chiploop", "Creator": "chiploop"}


def write_pages(
    path: Path, title: str, text: Sequence[str], figures: Iterable[Drawn], simulated: bool
) -> int:
    """Write the PDF; return its number of pages."""
    draft = path.with_name(f"{path.name}.unfinished")
    with (
        matplotlib.rc_context(STYLE),  # type: ignore[arg-type]
        PdfPages(draft, metadata=NOTHING) as pages,
    ):
        lines = [part for one in text for part in textwrap.wrap(one, WIDE) or [""]]
        for begin in range(0, max(1, len(lines)), LINES):
            pages.savefig(text_page(title, lines[begin : begin + LINES], simulated))
        for one in figures:
            if one.make is None:
                told = [f"This figure could not be drawn: {one.problem}"]
                pages.savefig(text_page(one.label or one.name, told, simulated))
            else:
                pages.savefig(one.make())
        count = int(pages.get_pagecount())
    draft.replace(path)
    return count


def text_page(title: str, lines: Sequence[str], simulated: bool) -> Figure:
    """Return a page of text."""
    figure = Figure(figsize=PAGE_IN)
    wrapped = textwrap.fill(title, 70)
    figure.text(
        0.08, 0.955, wrapped, fontsize=13, fontweight="bold", color=INK, va="top", parse_math=False
    )
    if simulated:
        figure.text(0.92, 0.975, MARK, fontsize=10, fontweight="bold", color=TRUTH, ha="right")
    figure.text(
        0.08, 0.90, "\n".join(lines), fontsize=9, color=INK, va="top", linespacing=1.5, parse_math=False
    )  # fmt: skip
    return figure

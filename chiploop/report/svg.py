"""A Matplotlib figure as inline SVG: calm, the same bytes every time, marked where it is simulated.

Belongs here: style, colours, marker shapes, the SIMULATED mark, cleaning of the SVG. Not here: what a figure
shows (figures, chip_figures). Matplotlib is imported by the report alone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any
from zlib import crc32

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from chiploop.report.figure_looks import in_two_looks
from chiploop.report.lean_svg import lean

MARK = "SIMULATED"
FAILED_FIT = "FAILED FIT"
FORMATS = {".svg": "svg", ".png": "png"}
"""Ending of a figure's file -> its format."""
DOTS_PER_INCH = 160
WIDTH_IN = 7.6
"""Of every figure, so that letters keep their size on a 768 px page."""

INK = "#222222"
QUIET = "#5f6b76"
MEAN = "#3f6f9f"
PREDICTIVE = "#c3d4e6"
BAND = "#e9edf1"
TRUTH = "#CC3311"
FAILED = "#b00020"
DOSE = "#D4601C"
DONOR_COLOURS = ("#004488", "#BB5566", "#117733", "#8A6A00", "#663388", "#000000")
"""Dark enough on a pale band; told apart by shape as well. Each has another one for the dark (figure_looks)."""
DONOR_MARKERS = ("o", "s", "^", "D", "v", "P")

STYLE: dict[str, Any] = {
    "svg.hashsalt": "chiploop",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica", "sans-serif"],
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.grid": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 7.0,
    "lines.linewidth": 1.2,
    "path.simplify": False,
    "axes.unicode_minus": True,
    "mathtext.default": "regular",
}


@dataclass(frozen=True)
class Drawn:
    """A figure of the report, or what kept it from being drawn."""

    name: str
    svg: str
    problem: str = ""
    label: str = ""
    """What it shows, in one line."""
    make: Callable[[], Figure] | None = field(default=None, compare=False, repr=False)
    """Draws it anew, with its marks; None for one that could not be drawn."""


@dataclass(frozen=True)
class Axis:
    """How a readout stands on an axis."""

    title: str
    unit: str
    factor: float = 1.0
    """From the model's unit."""

    @property
    def label(self) -> str:
        """Title with unit."""
        return f"{self.title} ({self.unit})"


AXES: dict[str, Axis] = {
    "TEER": Axis("TEER", "Ω cm²"),
    "P_app": Axis("P_app", "10⁻⁶ cm/s", 1e6),
    "junction_coverage": Axis("Covered cell borders", "%", 100.0),
    "ldh_release": Axis("Viability lost", "% of maximum", 100.0),
}


def axis_of(readout: str, unit: str) -> Axis:
    """Return how a readout stands on an axis; by its own name and unit where it is a secreted protein."""
    title = f"{readout} in effluent" if unit == "pg/mL" else readout
    return AXES.get(readout, Axis(title, unit))


def donor_style(donors: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return donor -> (colour, marker), in the study's order."""
    return {
        donor: (DONOR_COLOURS[i % len(DONOR_COLOURS)], DONOR_MARKERS[i % len(DONOR_MARKERS)])
        for i, donor in enumerate(donors)
    }


def drawn(
    name: str, label: str, draw: Callable[[], Figure], simulated: bool, refused: bool = False
) -> Drawn:
    """Return a figure as inline SVG; whatever goes wrong in it is told in its place.

    ``refused`` says that it rests on a calibration that failed; that stands in the figure as well.
    """

    def marked() -> Figure:
        figure = draw()
        if simulated:
            mark(figure)
        if refused:
            refuse(figure)
        return figure

    try:
        with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
            buffer = io.StringIO()
            nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
            marked().savefig(buffer, format="svg", metadata=nothing)
        text = inline(buffer.getvalue(), name, label, simulated)
        return Drawn(name, text, label=label, make=marked)
    except Exception as problem:  # one broken figure leaves the rest of the report standing
        return Drawn(name, "", f"{type(problem).__name__}: {problem}", label)


def mark(figure: Figure) -> None:
    """Print SIMULATED across a figure and above its corner."""
    figure.text(
        0.5, 0.5, MARK, fontsize=44, fontweight="bold", color=TRUTH, alpha=0.07,
        ha="center", va="center", rotation=14, zorder=-10,
    )  # fmt: skip
    figure.text(
        0.995, 0.995, MARK, fontsize=8, fontweight="bold", color=TRUTH, ha="right", va="top"
    )


def refuse(figure: Figure) -> None:
    """Print into a figure that its calibration failed."""
    height_in = float(figure.get_size_inches()[1])
    figure.text(
        0.995, 1.0 - 0.17 / height_in, FAILED_FIT, fontsize=8, fontweight="bold", color=FAILED,
        ha="right", va="top",
    )  # fmt: skip


def inline(text: str, name: str, label: str, simulated: bool) -> str:
    """Return Matplotlib's SVG without namespaces, metadata and comments; ids carry the figure's name."""
    text = text[text.index("<svg") :]
    for waste in (r"<metadata>.*?</metadata>\s*", r"<style.*?</style>\s*", r"<!--.*?-->\s*"):
        text = re.sub(waste, "", text, flags=re.DOTALL)
    text = re.sub(r" font-family: [^;\"]*;", "", text)  # the page names it
    own = short_name(name)
    used = dict.fromkeys(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    short = {one: f"{own}-{number}" for number, one in enumerate(used, start=1)}

    def renamed(found: re.Match[str]) -> str:
        return f' id="{short[found[1]]}"' if found[1] in short else ""

    text = re.sub(r' id="([^"]*)"', renamed, text)
    text = re.sub(r'(href="#|url\(#)([^")]+)', lambda at: at[1] + short[at[2]], text)
    text = in_two_looks(lean(text, own), own)
    viewbox = re.search(r'viewBox="[^"]*"', text)
    title = f"{MARK}: {label}" if simulated else label
    head = f'<svg class="{own}" {viewbox[0] if viewbox else ""} role="img" aria-label="{escape(title)}">'
    return re.sub(r"<svg[^>]*>", lambda _: head, text, count=1).strip()


def short_name(name: str) -> str:
    """Return a name for a figure's ids and classes that no other figure of its page has, in few letters."""
    return f"f{crc32(name.encode()) & 0xFFFFF:05x}"


def set_margins(
    figure: Figure, left: float, right: float, bottom: float, top: float, **space: float
) -> None:
    """Set the margins of a figure in inches; ``wspace`` and ``hspace`` as Matplotlib takes them.

    Fixed: a layout engine costs more time than the rest of the drawing.
    """
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=left / width,
        right=1.0 - right / width,
        bottom=bottom / height,
        top=1.0 - top / height,
        **space,
    )


def legend_on_top(figure: Figure, handles: Sequence[Any], columns: int) -> None:
    """Put the legend into the upper left corner, beside the mark."""
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.0, 1.0), ncols=columns, columnspacing=1.4,
        handlelength=1.6, borderaxespad=0.1, labelspacing=0.35,
    )  # fmt: skip


def plain_log_axis(axis: Any) -> None:
    """Write a log axis' numbers as people do: 10, 100, 1000."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def write_file(draw: Callable[[], Figure], path: Path, dots_per_inch: float | None = None) -> None:
    """Write a figure in the format of the path's ending, the same bytes each time; OSError where it can not be."""
    kind = FORMATS[path.suffix.lower()]
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        draw().savefig(
            buffer,
            format=kind,
            dpi=dots_per_inch or DOTS_PER_INCH,
            facecolor="white",
            metadata=nothing if kind == "svg" else {"Software": None},
        )
    path.write_bytes(buffer.getvalue())

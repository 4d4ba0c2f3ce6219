"""Every figure of a page as files: SVG and PNG to show it, CSV with what is drawn in it.

Belongs here: finding the figures of a page, their files, the table of what is drawn. Not here: drawing.

The table is read from the figure itself, so that it can not differ from what is seen: one row per point of a line,
marker, bar or band, with the panel that it stands in. It has what is drawn, which may be less than what is known.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.collections import Collection, LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from chiploop.record.long_table_files import guarded
from chiploop.report.svg import FAILED_FIT, MARK, STYLE, Drawn, write_file

COLUMNS = ("panel", "title", "x_label", "y_label", "series", "kind", "x", "y", "mark")


def figures_in(page: Any) -> Iterator[Drawn]:
    """Yield every figure of a page's values, in their order."""
    if isinstance(page, Drawn):
        yield page
    elif isinstance(page, dict):
        for one in page.values():
            yield from figures_in(one)
    elif isinstance(page, list | tuple):
        for one in page:
            yield from figures_in(one)
    elif hasattr(page, "__dataclass_fields__"):
        for name in page.__dataclass_fields__:
            yield from figures_in(getattr(page, name))


def write_figures(figures: Iterable[Drawn], folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Write every figure in three files; return them, and name -> what kept one from being drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    broken: dict[str, str] = {}
    for one in figures:
        make = one.make
        if make is None:
            broken[one.name] = one.problem
            continue
        for ending in (".svg", ".png"):
            path = folder / f"{one.name}{ending}"
            write_file(make, path)
            written.append(path)
        with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
            table = drawn_table(make())
        path = folder / f"{one.name}.csv"
        path.write_text(table, encoding="utf-8", newline="")
        written.append(path)
    return written, broken


def drawn_table(figure: Figure) -> str:
    """Return what is drawn in a figure as CSV; numbers in the units of its axes, its marks in each row."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    marks = [one for one in (MARK, FAILED_FIT) if one in {said.get_text() for said in figure.texts}]
    for number, ax in enumerate(figure.axes, start=1):
        titles = (ax.get_title("left") or ax.get_title(), ax.get_xlabel(), ax.get_ylabel())
        head = (number, *(guarded(title) for title in titles))
        for series, kind, points in drawn_in(ax):
            name = "" if series.startswith("_") else guarded(series)
            writer.writerows(
                (*head, name, kind, f"{x:.10g}", f"{y:.10g}", ", ".join(marks))
                for x, y in points
                if np.isfinite(x) and np.isfinite(y)
            )
    return text.getvalue()


def drawn_in(ax: Any) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (label, kind, points (n, 2) in data units) of everything drawn in a panel's own units."""
    for line in ax.lines:
        if line.get_transform().contains_branch(ax.transData):
            kind = "points" if line.get_linestyle() in ("None", "", " ") else "line"
            yield str(line.get_label()), kind, np.asarray(line.get_xydata(), dtype=float)
    for one in ax.collections:
        yield from collected(one, ax)
    for patch in ax.patches:
        if isinstance(patch, Rectangle) and patch.get_transform().contains_branch(ax.transData):
            x, y = patch.get_xy()
            corners = [(x, y), (x + patch.get_width(), y + patch.get_height())]
            yield str(patch.get_label()), "bar", np.array(corners, dtype=float)


def collected(one: Collection, ax: Any) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield what a collection draws: points by their places, lines and bands by their outlines."""
    label = str(one.get_label())
    if isinstance(one, PathCollection):
        yield label, "points", np.asarray(one.get_offsets(), dtype=float)
    elif one.get_transform().contains_branch(ax.transData):
        kind = "line" if isinstance(one, LineCollection) else "band"
        for path in one.get_paths():
            yield label, kind, np.asarray(path.vertices, dtype=float)

"""The parts of a calibration as the page reads them from their file, and its residuals as dots to be chosen.

Belongs here: finding and reading what was drawn, places of dots. Not here: drawing it (report.page_parts).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chiploop.review.rack import SHAPES, outline

FOLDER, PARTS_FILE, FORM = "page", "parts.json", 4
"""As ``report.page_parts`` writes them; that file draws, so it is not imported here."""
PICTURE = re.compile(r"[A-Za-z0-9_-]{1,80}\.(svg|png)")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 960.0, 150.0, 46.0, 12.0, 20.0, 22.0
INNER = 1.6449
FAR = 2.576
"""Residuals beyond it are 1 % of a right model's."""
MOST_DOTS = 1500
DOT_SHAPES = tuple(outline(i, 0.0, 0.0, 4.6) for i in range(len(SHAPES)))
"""Marks of donors about their own middle: drawn once on a page, used at each reading."""
FAR_SHOWN = 12


@dataclass(frozen=True)
class Dot:
    """One reading."""

    chip: str
    shape: int
    """Of its donor; ``DOT_SHAPES`` counts them."""
    x: float
    y: float
    title: str
    classes: str


@dataclass(frozen=True)
class DotPanel:
    """The residuals of one readout against study time."""

    name: str
    chips: tuple[tuple[str, tuple[Dot, ...]], ...]
    """Chip -> its dots: what is said of a chip is said once."""
    ticks: tuple[tuple[float, str], ...]
    levels: tuple[tuple[float, str], ...]
    band: tuple[float, float]
    """Top and height of what 90 % of a right model's lie in."""


def parts_of(folder: Path, cycle: int) -> dict[str, Any] | None:
    """Return the parts of a calibration; None where they are not drawn yet."""
    path = folder / f"cal-{cycle:02d}" / FOLDER / PARTS_FILE
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if found.get("form") == FORM else None


def picture_file(folder: Path, cycle: int, name: str) -> Path | None:
    """Return a figure's file; None for a name that no figure has."""
    return file_in(folder / f"cal-{cycle:02d}" / FOLDER, name)


def file_in(folder: Path, name: str) -> Path | None:
    """Return a figure of a folder by its bare name; None where there is none."""
    if not PICTURE.fullmatch(name):
        return None
    path = folder / name
    return path if path.is_file() else None


def shown_figure(one: Mapping[str, Any], address: str) -> dict[str, Any]:
    """Return a figure as the template shows it, at its address."""
    return {**one, "src": f"{address}/{one['src']}" if one.get("src") else ""}


def leaf_of(parts: dict[str, Any], page: int) -> tuple[dict[str, Any], int, tuple[str, ...]]:
    """Return the parts with the figures of one leaf of chips, which leaf it is, and its lines.

    The lines are empty where one leaf shows every chip.
    """
    at = min(max(1, page), len(parts["leaves"])) - 1
    own = {name: parts[name][at] for name in ("course_figures", "window_figures")}
    return {**parts, **own}, at + 1, tuple(parts["leaves"][at])


def far_residuals(residuals: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the readings that lie furthest from what all others say, the furthest first."""
    known = [row for row in residuals if row["residual"] is not None]
    ranked = sorted(known, key=lambda row: -abs(row["residual"]))
    return ranked[:FAR_SHOWN]


def dot_panels(
    residuals: Sequence[Mapping[str, Any]],
    donors: Sequence[str],
    out: Mapping[str, int],
    chips: Collection[str] | None = None,
) -> tuple[DotPanel, ...]:
    """Return one panel a readout; of very many readings those of some chips alone.

    ``out``: chip -> how many of its readings were left out.
    """
    rows = [row for row in residuals if row["residual"] is not None]
    if len(rows) > MOST_DOTS and chips is not None:
        rows = [row for row in rows if row["chip"] in chips]
    if not rows:
        return ()
    first_h, last_h = min(r["time_h"] for r in rows), max(r["time_h"] for r in rows)
    span_h = max(1.0, last_h - first_h)
    reach = max(3.2, *(abs(r["residual"]) for r in rows)) * 1.1

    def x(time_h: float) -> float:
        return LEFT + 20 + (WIDTH - LEFT - RIGHT - 40) * (time_h - first_h) / span_h

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (0.5 - 0.5 * value / reach)

    times = sorted({r["time_h"] for r in rows})
    while len(times) > 12:
        times = times[::2]
    ticks = tuple((x(t), f"{t:g}") for t in times)
    levels = tuple((y(v), f"{v:g}") for v in (-2.0, 0.0, 2.0))
    panels = []
    for name in dict.fromkeys(row["title"] for row in rows):
        own = [row for row in rows if row["title"] == name]
        dots: dict[str, list[Dot]] = {}
        for row in own:
            place = donors.index(row["donor"]) if row["donor"] in donors else 0
            aside = 9.0 * (place - (len(donors) - 1) / 2)
            words = ["far"] if abs(row["residual"]) > FAR else []
            words += ["hollow"] if row["censored"] else []
            words += ["out"] if out.get(row["chip"]) else []
            dots.setdefault(row["chip"], []).append(
                Dot(
                    row["chip"],
                    place % len(DOT_SHAPES),
                    x(row["time_h"]) + aside,
                    y(row["residual"]),
                    f"{row['chip']}, donor {row['donor']}, {row['time_h']:g} h: {row['residual']:+.1f} sd; "
                    f"read {row['observed']:.3g}, model {row['predicted']:.3g} {row['unit']}",
                    "".join(f" {word}" for word in words),
                )
            )
        band = (y(INNER), y(-INNER) - y(INNER))
        by_chip = tuple((chip, tuple(those)) for chip, those in dots.items())
        panels.append(DotPanel(name, by_chip, ticks, levels, band))
    return tuple(panels)

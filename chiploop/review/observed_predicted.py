"""Observed against predicted of two fits as dots, one panel a readout and fit, on axes that both share.

Belongs here: places of dots. Not here: residuals (inference), markup.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chiploop.review.rack import outline
from chiploop.review.run_view import digits

SIZE, LEFT, BOTTOM, RIGHT = 300.0, 58.0, 34.0, 24.0
LENGTH = SIZE - LEFT - RIGHT
"""Of either axis."""
WIDE = 3.0
"""Ratio of the highest value to the lowest from which an axis of values above 0 is logarithmic."""
MOST_DOTS = 400


@dataclass(frozen=True)
class FitDot:
    """One reading."""

    path: str
    title: str
    hollow: bool
    """Censored: its bound stands in the place of a value."""


@dataclass(frozen=True)
class FitPanel:
    """One readout by one fit."""

    dots: tuple[FitDot, ...]
    ticks: tuple[tuple[float, float, str], ...]
    """Place along x, place along y, word: the axes are the same."""
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class ReadoutPanels:
    """One readout by both fits."""

    readout: str
    unit: str
    axis: str
    """``log`` or ``linear``."""
    panels: tuple[FitPanel, FitPanel]
    shown: int
    of: int


def readout_panels(
    one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]], donors: Sequence[str]
) -> tuple[ReadoutPanels, ...]:
    """Return a pair of panels per readout that either fit learned from."""
    names = dict.fromkeys(row["readout"] for row in (*one, *other))
    found = []
    for name in names:
        both = [[row for row in rows if row["readout"] == name] for rows in (one, other)]
        values = [
            float(row[part])
            for rows in both
            for row in rows
            for part in ("observed", "predicted")
            if row[part] is not None
        ]
        if not values:
            continue
        low, high = min(values), max(values)
        is_log = low > 0.0 and high / low > WIDE
        place = placed(low, high, is_log)
        ticks = tuple(
            (LEFT + place(value), SIZE - BOTTOM - place(value), digits(value))
            for value in steps(low, high, is_log)
        )
        panels = [panel(rows[:MOST_DOTS], donors, place, ticks) for rows in both]
        unit = next(row["unit"] for rows in both for row in rows)
        found.append(
            ReadoutPanels(
                name,
                "" if unit == "1" else unit.replace("ohm*cm2", "Ω cm²"),
                "log" if is_log else "linear",
                (panels[0], panels[1]),
                max(len(one.dots) for one in panels),
                max(len(rows) for rows in both),
            )
        )
    return tuple(found)


def placed(low: float, high: float, is_log: bool) -> Callable[[float], float]:
    """Return what turns a value into its place along an axis."""
    begin, end = (math.log(low), math.log(high)) if is_log else (low, high)
    room = 0.06 * (end - begin) or 1.0
    begin, end = begin - room, end + room

    def place(value: float) -> float:
        at = math.log(value) if is_log else value
        return LENGTH * (at - begin) / (end - begin)

    return place


def steps(low: float, high: float, is_log: bool) -> tuple[float, ...]:
    """Return the values that an axis names: its ends and their middle."""
    if low == high:
        return (low,)
    middle = math.sqrt(low * high) if is_log else 0.5 * (low + high)
    return low, middle, high


def panel(
    rows: Sequence[Mapping[str, Any]],
    donors: Sequence[str],
    place: Callable[[float], float],
    ticks: tuple[tuple[float, float, str], ...],
) -> FitPanel:
    """Return the dots of one readout by one fit."""
    dots = []
    for row in rows:
        if row["observed"] is None or row["predicted"] is None:
            continue
        observed, predicted = float(row["observed"]), float(row["predicted"])
        donor = row["donor"]
        dots.append(
            FitDot(
                outline(
                    donors.index(donor) if donor in donors else 0,
                    LEFT + place(predicted),
                    SIZE - BOTTOM - place(observed),
                    4.2,
                ),
                f"{row['chip']}, donor {donor}, {row['time_h']:g} h: read {digits(observed)}, model "
                f"{digits(predicted)}, {row['residual']:+.1f} sd",
                bool(row["censored"]),
            )
        )
    bottom = SIZE - BOTTOM
    return FitPanel(tuple(dots), ticks, LEFT, bottom - LENGTH, SIZE - RIGHT, bottom)

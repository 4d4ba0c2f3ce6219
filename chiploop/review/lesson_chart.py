"""The picture of a lesson: EASI over the weeks, as read at visits and, once the case is over, as it was.

Belongs here: places in the picture. Not here: markup and colours (templates, review.css), what is true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 720.0, 270.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 150.0, 14.0, 34.0
LABEL_GAP = 15.0
"""Between names at the ends of lines."""
LINES = (
    ("emollient", "emollient alone"),
    ("twin", "the twin"),
    ("best", "best"),
    ("yours", "yours"),
)
"""Plan -> its name in the picture; drawn in this order."""


@dataclass(frozen=True)
class Line:
    """The course of one plan."""

    kind: str
    label: str
    path: str
    label_y: float
    end_y: float


@dataclass(frozen=True)
class Chart:
    """Everything in the picture; places in its own units."""

    width: float
    height: float
    left: float
    right: float
    bottom: float
    top: float
    weeks: tuple[tuple[float, str], ...]
    levels: tuple[tuple[float, str], ...]
    points: tuple[tuple[float, float, str], ...]
    """Place and words of each reading."""
    treatments: tuple[tuple[float, float, str], ...]
    """Begin, end and name of each treatment."""
    lines: tuple[Line, ...]


def chart_of(told: dict[str, Any]) -> Chart:
    """Return the picture of a lesson."""
    weeks: list[int] = told["weeks"]
    readings = told["readings"]
    found = told["debrief"]
    courses = {name: found[name]["EASI"] for name, _ in LINES} if found else {}
    highest = max([one["EASI"] for one in readings] + [max(course) for course in courses.values()])
    step = next(s for s in (1, 2, 5, 10, 20) if highest <= 5 * s or s == 20)
    top = step * (int(highest / step) + 1)

    def x(week: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * week / weeks[-1]

    def y(easi: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * easi / top

    drawn = []
    ends = {name: y(course[-1]) for name, course in courses.items()}
    labels = apart(ends)
    for name, label in LINES if found else ():
        points = " L".join(
            f"{x(week):.1f} {y(easi):.1f}" for week, easi in enumerate(courses[name])
        )
        drawn.append(Line(name, label, f"M{points}", labels[name], ends[name]))
    return Chart(
        WIDTH, HEIGHT, LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM, TOP,
        tuple((x(week), str(week)) for week in weeks),
        tuple((y(level), str(level)) for level in range(0, top + 1, step)),
        tuple((x(r["week"]), y(r["EASI"]), f"week {r['week']}: EASI {r['EASI']:.1f}") for r in readings),
        tuple(
            (x(one["week"]), x(after), one["treatment"])
            for one, after in zip(told["choices"], weeks[1:], strict=False)
        ),
        tuple(drawn),
    )  # fmt: skip


def apart(ends: dict[str, float]) -> dict[str, float]:
    """Return places for names, in the order of the ends of their lines and not upon each other."""
    order = sorted(ends, key=lambda name: ends[name])
    places = spread([ends[name] for name in order])
    return dict(zip(order, places, strict=True))


def spread(values: Sequence[float]) -> list[float]:
    """Return ascending places at least a gap apart, none below the axis."""
    places = list(values)
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + LABEL_GAP)
    limit = HEIGHT - BOTTOM
    for i in reversed(range(len(places))):
        places[i] = min(places[i], limit)
        limit = places[i] - LABEL_GAP
    return places

"""One chip as a person looks at it before leaving its readings out: every reading, its course, who left what out.

Belongs here: reading the record into plain values. Not here: markup, the exclusion itself (a command).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from chiploop.leaves import Leaf, leaf_of
from chiploop.measurement import Readout
from chiploop.record.exclusions import Exclusion, is_excluded
from chiploop.record.record import Record
from chiploop.record.unexplained import LEFT_OUT, as_fitted
from chiploop.review.run_view import digits, value_of

READINGS_A_PAGE = 40
"""Each has a form of its own, and a page is to stay below half a megabyte."""
MOST_POINTS = 120
"""Of a course; of a longer one the line is drawn whole, and marks are of the readings that the page lists."""
MOST_SAID = 40
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460.0, 120.0, 52.0, 12.0, 22.0, 20.0


@dataclass(frozen=True)
class Readings:
    """Which readings of a chip somebody asked to see."""

    readout: str = ""
    """Of this kind alone; empty for every kind."""
    page: int = 1

    def address(self, page: int | None = None) -> str:
        """Return the query of another page of the same readings."""
        asked = {"page": self.page if page is None else page}
        return urlencode({**asked, **({"readout": self.readout} if self.readout else {})})


@dataclass(frozen=True)
class ReadingRow:
    """One reading."""

    readout: str
    time_h: float
    value: str
    qc: str
    reasons: str
    is_out: bool
    """Whether a person has taken it out."""
    plate: str
    wells: str
    cycle: int

    @property
    def has_wells(self) -> bool:
        """Whether it came of a plate that has a page of its own."""
        return bool(self.plate and self.wells)


@dataclass(frozen=True)
class CoursePoint:
    """One reading of a course."""

    x: float
    y: float
    title: str
    is_out: bool


@dataclass(frozen=True)
class ChipCourse:
    """A readout of the chip over time."""

    readout: str
    path: str
    points: tuple[CoursePoint, ...]
    """Those that are marked."""
    levels: tuple[tuple[float, str], ...]
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class OneChip:
    """A chip with everything that was read from it."""

    chip: str
    line: str
    donor: str
    rows: tuple[ReadingRow, ...]
    """Of every reading."""
    asked: Readings
    """As it could be met."""
    leaf: Leaf
    shown: tuple[ReadingRow, ...]
    """Of this page."""
    of: int
    """How many rows all pages have."""
    courses: tuple[ChipCourse, ...]
    said: tuple[Exclusion, ...]
    """What persons left out or took in again, in order; the newest ``MOST_SAID``."""
    said_of: int
    """How often they did."""
    any_in: bool
    any_out: bool

    @property
    def readouts(self) -> tuple[str, ...]:
        """Every kind of reading that it has."""
        return tuple(dict.fromkeys(row.readout for row in self.rows))


EVERYTHING = Readings()


def one_chip(
    record: Record, run_id: str, chip: str, asked: Readings = EVERYTHING
) -> OneChip | None:
    """Return a chip of a run; None where the run has none of that name.

    A kind of reading that it has not counts as not asked for.
    """
    place = record.chips(run_id).get(chip)
    if place is None:
        return None
    own = sorted(
        as_fitted(record.readouts(run_id, chips=(chip,)), record.events(run_id, LEFT_OUT)),
        key=lambda r: (r.readout, r.time_h),
    )
    rows = tuple(
        ReadingRow(
            r.readout, r.time_h, value_of(r), r.qc, "; ".join(r.reasons), is_excluded(r), r.plate,
            ", ".join(r.wells), r.cycle,
        )
        for r in own
    )  # fmt: skip
    names = dict.fromkeys(r.readout for r in own)
    readout = asked.readout if asked.readout in names else ""
    meant = [i for i, row in enumerate(rows) if readout in ("", row.readout)]
    leaf = leaf_of(len(meant), asked.page, READINGS_A_PAGE)
    listed = {id(own[i]) for i in leaf.of(meant)}
    courses = tuple(
        course
        for name in ([readout] if readout else names)
        if (course := course_of(name, [r for r in own if r.readout == name], listed)) is not None
    )
    said = tuple(one for one in record.exclusions(run_id) if one.chip_id == chip)
    return OneChip(
        chip,
        place[0],
        place[1],
        rows,
        Readings(readout, leaf.page),
        leaf,
        tuple(rows[i] for i in leaf.of(meant)),
        len(meant),
        courses,
        said[-MOST_SAID:],
        len(said),
        any(not row.is_out for row in rows),
        any(row.is_out for row in rows),
    )


def course_of(name: str, readings: Sequence[Readout], listed: Collection[int]) -> ChipCourse | None:
    """Return a readout over time; None where fewer than two readings have a value.

    ``listed``: ids of the readings that the page lists.
    """
    known = [r for r in readings if math.isfinite(r.value)]
    if len(known) < 2:
        return None
    low, high = min(r.value for r in known), max(r.value for r in known)
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    low, high = low - room, high + room
    first, last = known[0].time_h, known[-1].time_h

    def x(time_h: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (time_h - first) / max(1e-9, last - first)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    points = tuple(
        CoursePoint(x(r.time_h), y(r.value), f"{r.time_h:g} h: {value_of(r)}", is_excluded(r))
        for r in known
        if len(known) <= MOST_POINTS or id(r) in listed
    )
    path = "M" + " L".join(
        f"{x(r.time_h):.1f} {y(r.value):.1f}" for r in known if not is_excluded(r)
    )
    levels = tuple((y(v), digits(v)) for v in (low + room, high - room))
    ticks = ((x(first), f"{first:g} h"), (x(last), f"{last:g} h"))
    return ChipCourse(name, path if path != "M" else "", points, levels, ticks)

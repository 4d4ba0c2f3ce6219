"""The picture of the rack: chips as they stand on their lines, colour for what reaches them, shape for the donor.

Belongs here: places and shapes, as plain values for the template. Not here: colours (review.css), what chips got.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chiploop.review.run_view import STATE_WORDS, ChipView, fed_by

ROW, STEP, LEFT, TOP = 46, 74, 58, 10
"""Height of a line, width of a chip, room for the line's name, room above; in units of the picture."""
SIZE = 13.0
TEXT_WIDTH = 250
CHIPS_A_ROW = 8


@dataclass(frozen=True)
class RackChip:
    """One chip of the picture."""

    chip: ChipView
    x: float
    y: float
    path: str
    """Outline of its donor's shape."""
    title: str


@dataclass(frozen=True)
class RackLine:
    """One line of the picture."""

    line: str
    y: float
    told: str
    state: str
    x_end: float


@dataclass(frozen=True)
class Rack:
    """The whole picture."""

    width: float
    height: float
    lines: tuple[RackLine, ...]
    chips: tuple[RackChip, ...]


def rack_of(lines: Sequence[str], chips: Sequence[ChipView]) -> Rack:
    """Return the rack of some lines."""
    drawn_lines, drawn_chips = [], []
    y, widest = float(TOP), 1
    for line in lines:
        own = [one for one in chips if one.line == line]
        rows = max(1, -(-len(own) // CHIPS_A_ROW))
        for i, one in enumerate(own):
            x = LEFT + STEP * (i % CHIPS_A_ROW) + STEP / 2
            at = y + ROW * (i // CHIPS_A_ROW) + ROW / 2
            drawn_chips.append(RackChip(one, x, at, outline(one.donor_index, x, at), title_of(one)))
        across = min(len(own), CHIPS_A_ROW)
        widest = max(widest, across)
        # a chip of which nobody knows who feeds it says nothing of what flows in its own line
        first = next((one for one in own if one.fed_by != fed_by(line, None)), None)
        drawn_lines.append(
            RackLine(
                line,
                y + ROW / 2,
                first.told if first else "",
                first.state if first else "idle",
                LEFT + STEP * across,
            )
        )
        y += ROW * rows
    return Rack(LEFT + STEP * widest + TEXT_WIDTH, y + TOP, tuple(drawn_lines), tuple(drawn_chips))


def title_of(one: ChipView) -> str:
    """Return what a chip's mark says to those who point at it or can not see it."""
    place = one.fed_by or f"line {one.line}"
    parts = [f"{one.chip}, {place}, donor {one.donor}: {STATE_WORDS[one.state]}"]
    if one.told and one.told not in (STATE_WORDS[one.state], one.fed_by):
        parts.append(one.told)
    parts += one.last
    if one.excluded:
        parts.append(f"{one.excluded} readings left out by a person")
    if one.failed:
        parts.append(f"{one.failed} readings failed or left out of a fit")
    return "; ".join(parts)


def outline(donor_index: int, x: float, y: float, size: float = SIZE) -> str:
    """Return the path of a donor's shape about a place."""
    return SHAPES[donor_index % len(SHAPES)](x, y, size)


def _polygon(*corners: tuple[float, float]) -> Callable[[float, float, float], str]:
    def path(x: float, y: float, size: float) -> str:
        places = [f"{x + size * a:.1f} {y + size * b:.1f}" for a, b in corners]
        return f"M{' L'.join(places)} Z"

    return path


def _circle(x: float, y: float, size: float) -> str:
    return (
        f"M{x - size:.1f} {y:.1f} a{size:.1f} {size:.1f} 0 1 0 {2 * size:.1f} 0 "
        f"a{size:.1f} {size:.1f} 0 1 0 {-2 * size:.1f} 0 Z"
    )


_P = 0.36
SHAPES: tuple[Callable[[float, float, float], str], ...] = (
    _circle,
    _polygon((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    _polygon((0.0, -1.05), (1.05, 0.85), (-1.05, 0.85)),
    _polygon((0.0, -1.2), (1.1, 0.0), (0.0, 1.2), (-1.1, 0.0)),
    _polygon((0.0, 1.05), (1.05, -0.85), (-1.05, -0.85)),
    _polygon(
        (-_P, -1), (_P, -1), (_P, -_P), (1, -_P), (1, _P), (_P, _P), (_P, 1), (-_P, 1), (-_P, _P),
        (-1, _P), (-1, -_P), (-_P, -_P),
    ),
)  # fmt: skip
"""In the order of ``report.svg.DONOR_MARKERS``, so that a donor has one shape everywhere."""

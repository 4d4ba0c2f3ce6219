"""The timeline of a run: what flowed through each line, when anything was read, what happened.

Belongs here: places, as plain values for the template. Not here: colours (review.css), reading the record.
"""

from __future__ import annotations

from dataclasses import dataclass

from chiploop.review.run_view import RunView, Span

WIDTH, LEFT, RIGHT, ROW, TOP = 960.0, 58.0, 14.0, 20.0, 8.0
LETTER = 6.2
"""Width of a letter, near enough to know whether a text has room."""


@dataclass(frozen=True)
class Bar:
    """A span of flow."""

    x: float
    y: float
    width: float
    span: Span
    label: str
    """Empty where it has no room."""
    title: str


@dataclass(frozen=True)
class Mark:
    """Something at one moment."""

    x: float
    y: float
    title: str


@dataclass(frozen=True)
class Timeline:
    """The whole picture."""

    height: float
    rows: tuple[tuple[str, float], ...]
    """Name and middle of each row."""
    bars: tuple[Bar, ...]
    reads: tuple[Mark, ...]
    marks: tuple[Mark, ...]
    ticks: tuple[tuple[float, str], ...]
    """Place and day."""
    now_x: float | None
    axis_y: float
    width: float = WIDTH


def timeline_of(view: RunView) -> Timeline:
    """Return the timeline of the lines that a page shows."""
    end_h = max([view.status.end_h, view.status.time_h, 1.0, *(s.end_h for s in view.spans)])

    def x(time_h: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * max(0.0, time_h) / end_h

    row_of = {line: TOP + ROW * i for i, line in enumerate(view.lines)}
    kinds = tuple(dict.fromkeys(kind for _, kind in view.readings))
    below = TOP + ROW * len(view.lines) + 8.0
    read_rows = {kind: below + ROW * i for i, kind in enumerate(kinds)}
    happened_y = below + ROW * len(kinds)
    bars = []
    for span in view.spans:
        width = max(1.5, x(span.end_h) - x(span.begin_h) - 1.0)
        label = span.told if len(span.told) * LETTER + 6 < width else ""
        title = f"{span.line}: {span.told}, {span.begin_h:g} to {span.end_h:g} h"
        bars.append(Bar(x(span.begin_h), row_of[span.line] + 2.0, width, span, label, title))
    rows = [(line, y + ROW / 2) for line, y in row_of.items()]
    rows += [(kind, y + ROW / 2) for kind, y in read_rows.items()]
    marks = [
        Mark(x(one.time_h), happened_y + ROW / 2, f"{one.time_h:g} h: {one.told}")
        for one in view.happenings
        if one.time_h is not None
    ]
    if marks:
        rows.append(("events", happened_y + ROW / 2))
    axis_y = happened_y + ROW + 2.0
    days = end_h / 24.0
    step = next(s for s in (0.5, 1, 2, 5, 7, 14, 28, 1e9) if days / s <= 15)
    ticks = [(x(24.0 * step * i), f"{step * i:g}") for i in range(int(days / step + 1e-9) + 1)]
    is_at_work = view.status.state not in ("finished", "not begun")
    return Timeline(
        height=axis_y + 22.0,
        rows=tuple(rows),
        bars=tuple(bars),
        reads=tuple(
            Mark(x(time_h), read_rows[kind] + ROW / 2, f"{kind} read at {time_h:g} h")
            for time_h, kind in view.readings
        ),
        marks=tuple(marks),
        ticks=tuple(ticks),
        now_x=x(view.status.time_h) if is_at_work else None,
        axis_y=axis_y,
    )

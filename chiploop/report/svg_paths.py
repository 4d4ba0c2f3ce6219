"""Paths of an SVG in few letters: steps from point to point, and no points on a straight line between others.

Belongs here: the numbers of a path. Not here: elements and their looks (lean_svg).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LINE_PT = 0.1
"""How far a drawn line may lie from its points."""
LEAST_POINTS = 6
"""Shorter lines are left as they are."""
PIECE = re.compile(r"([A-Za-z])|(-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)")
COUNTS = {"M": 2, "L": 2, "Q": 4, "C": 6, "Z": 0}
"""Letter of a path -> numbers that follow it; all that Matplotlib writes."""


def said(number: float, digits: int = 2) -> str:
    """Return a number to a hundredth, in as few letters as it takes."""
    text = f"{number:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{number:.0f}"
    text = re.sub(r"^(-?)0\.", r"\1.", text)
    return "0" if text in ("-0", "", "-", "-.") else text


def moved(path: str, by: tuple[float, float]) -> str:
    """Return a path at another place."""
    return " ".join(
        letter + " ".join(f"{n + by[i % 2]:.3f}" for i, n in enumerate(numbers))
        for letter, numbers in pieces(path)
    )


def pieces(path: str) -> list[tuple[str, list[float]]]:
    """Return a path's letters with their numbers, one point a letter; ValueError for others than Matplotlib's."""
    found: list[tuple[str, list[float]]] = []
    for letter, number in PIECE.findall(path):
        if letter:
            if letter.upper() not in COUNTS or (letter != "z" and letter.islower()):
                raise ValueError(f"a path with {letter}")
            found.append((letter.upper(), []))
        else:
            last, numbers = found[-1]
            if len(numbers) == COUNTS[last]:
                found.append(("L" if last == "M" else last, [float(number)]))
            else:
                numbers.append(float(number))
    return found


def shorter_path(path: str) -> str:
    """Return a path in steps from point to point, without points on a straight line between others."""
    text = ""
    here = begun = (0.0, 0.0)
    last = ""
    for letter, numbers in _without_idle_points(pieces(path)):
        if letter == "Z":
            text, here, last = text + "z", begun, "z"
            continue
        points = [
            (round(x, 2), round(y, 2)) for x, y in zip(numbers[::2], numbers[1::2], strict=True)
        ]
        if letter == "M":
            here = begun = points[0]
            text, last = text + "M" + joined(here), "M"
            continue
        steps = [n for x, y in points for n in (x - here[0], y - here[1])]
        here = points[-1]
        if letter == "L" and said(steps[1]) == "0":
            word, steps = "h", steps[:1]
        elif letter == "L" and said(steps[0]) == "0":
            word, steps = "v", steps[1:]
        else:
            word = letter.lower()
        told = joined(steps)
        is_same = word == last
        text += (("" if told.startswith("-") else " ") if is_same else word) + told
        last = word
    return text


def joined(numbers: Sequence[float]) -> str:
    """Return numbers as a path takes them: a minus parts them as well as a space."""
    text = ""
    for number in numbers:
        told = said(number)
        text += told if not text or told.startswith("-") else f" {told}"
    return text


def _without_idle_points(path: list[tuple[str, list[float]]]) -> list[tuple[str, list[float]]]:
    """Return a path whose straight stretches have no points in their middle."""
    found: list[tuple[str, list[float]]] = []
    stretch: list[tuple[float, float]] = []

    def close() -> None:
        keep = needed(stretch) if len(stretch) >= LEAST_POINTS else range(len(stretch))
        found.extend(("L", list(stretch[i])) for i in list(keep)[1:])

    for letter, numbers in path:
        if letter == "L":
            stretch.append((numbers[0], numbers[1]))
            continue
        close()
        stretch = [(numbers[-2], numbers[-1])] if numbers else []
        if (
            letter == "Z"
        ):  # a line after it would begin where the path began: Matplotlib begins anew
            stretch = []
        found.append((letter, numbers))
    close()
    return found


def needed(points: list[tuple[float, float]]) -> list[int]:
    """Return which points a line needs to stay within ``LINE_PT`` of all (Ramer, Douglas and Peucker)."""
    keep = {0, len(points) - 1}
    open_ends = [(0, len(points) - 1)]
    while open_ends:
        first, last = open_ends.pop()
        if last - first < 2:
            continue
        (x, y), (to_x, to_y) = points[first], points[last]
        dx, dy = to_x - x, to_y - y
        length2 = dx * dx + dy * dy
        far, at = LINE_PT * LINE_PT, 0
        for i in range(first + 1, last):
            px, py = points[i][0] - x, points[i][1] - y
            share = min(1.0, max(0.0, (px * dx + py * dy) / length2)) if length2 else 0.0
            away = (px - share * dx) ** 2 + (py - share * dy) ** 2
            if away > far:
                far, at = away, i
        if at:
            keep.add(at)
            open_ends += [(first, at), (at, last)]
    return sorted(keep)

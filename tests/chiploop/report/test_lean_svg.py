"""A leaner SVG shows the same picture: places, lines, clips and looks stay, only letters go."""

from __future__ import annotations

import io
import re
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from chiploop.report.lean_svg import lean
from chiploop.report.svg import STYLE, inline, short_name
from chiploop.report.svg_paths import LINE_PT, moved, needed, pieces, said, shorter_path

HEAD = '<svg xmlns="http://www.w3.org/2000/svg">'


def corners(path: str) -> np.ndarray:
    """Return the places that a path of M, l, h, v and z goes through, read by hand."""
    here, found = np.zeros(2), []
    for letter, told in re.findall(r"([A-Za-z])([^A-Za-z]*)", path):
        numbers = [float(n) for n in re.findall(r"-?(?:\d+\.?\d*|\.\d+)", told)]
        if letter == "M":
            here = np.array(numbers)
            found.append(here)
        elif letter in "hv":
            for n in numbers:
                here = here + ([n, 0.0] if letter == "h" else [0.0, n])
                found.append(here)
        elif letter == "l":
            for x, y in zip(numbers[::2], numbers[1::2], strict=True):
                here = here + [x, y]
                found.append(here)
    return np.array(found)


def away(points: np.ndarray, line: np.ndarray) -> float:
    """Return how far the furthest of some points lies from a line through others."""
    a, b = line[:-1], line[1:]
    along = b - a
    length2 = np.maximum((along**2).sum(axis=1), 1e-12)
    share = ((points[:, None] - a) * along).sum(axis=2) / length2
    foot = a + np.clip(share, 0.0, 1.0)[..., None] * along
    return float(np.sqrt(((points[:, None] - foot) ** 2).sum(axis=2)).min(axis=1).max())


def test_a_line_stays_within_its_tolerance_of_every_point_and_loses_the_idle_ones() -> None:
    x = np.linspace(0.0, 500.0, 400)
    y = 100.0 + 60.0 * np.sin(x / 40.0) + np.where(x > 250.0, 30.0, 0.0)
    text = "M " + " L ".join(f"{a:.6f} {b:.6f}" for a, b in zip(x, y, strict=True))
    kept = corners(shorter_path(text))
    points = np.column_stack([x, y])
    assert 20 < len(kept) < 200
    assert away(points, kept) <= LINE_PT + 0.0071  # and half a hundredth in x and y
    assert away(kept, points) <= 0.0071  # nothing that was not there
    assert len(shorter_path(text)) < 0.3 * len(text)


def test_steps_add_up_however_long_a_line_is() -> None:
    rng = np.random.default_rng(3)
    points = np.cumsum(rng.normal(0.0, 3.0, (2000, 2)), axis=0)
    text = "M " + " L ".join(f"{a:.6f} {b:.6f}" for a, b in points)
    kept = corners(shorter_path(text))
    assert np.abs(kept[-1] - points[-1]).max() <= 0.0051  # rounding has not run away


def test_a_spike_of_one_point_is_kept() -> None:
    points = [(float(i), 0.0) for i in range(50)]
    points[25] = (25.0, 0.2)
    assert 25 in needed(points)
    points[25] = (25.0, 0.5 * LINE_PT)
    assert needed(points) == [0, 49]


@pytest.mark.parametrize(
    ("number", "text"), [(0.5, ".5"), (-0.25, "-.25"), (3.0, "3"), (-0.001, "0"), (12.346, "12.35")]
)
def test_a_number_is_said_in_as_few_letters_as_it_takes(number: float, text: str) -> None:
    assert said(number) == text


def test_curves_closed_shapes_and_moves_keep_their_points() -> None:
    path = "M 1 2 L 3 2 L 3 8 C 4 8 5 9 6 9 z M 20 20 Q 21 22 23 20 z"
    assert shorter_path(path) == "M1 2h2v6c1 0 2 1 3 1zM20 20q1 2 3 0z"
    assert pieces(moved(path, (10.0, -1.0)))[2] == ("L", [13.0, 7.0])
    with pytest.raises(ValueError, match="a path with"):
        shorter_path("M 0 0 A 1 1 0 0 0 2 2")


def test_what_shines_through_is_not_drawn_in_one_go_and_what_has_an_inside_stays_apart() -> None:
    for style in ("fill: none; stroke: #000; stroke-opacity: 0.5", "fill: #fff; stroke: #000"):
        paths = "".join(f'<path d="M {i} 0 L {i} 9 L 5 5" style="{style}"/>' for i in range(4))
        assert lean(f"{HEAD}{paths}</svg>", "f").count("<path") == 4
    seen = "fill: none; stroke: #000"
    paths = "".join(f'<path d="M {i} 0 L {i} 9 L 5 5" style="{seen}"/>' for i in range(4))
    assert lean(f"{HEAD}{paths}</svg>", "f").count("<path") == 1


def test_a_ground_without_colour_is_not_drawn_and_a_line_without_fill_is() -> None:
    square = "M 0 0 L 9 0 L 9 9 z"
    shapes = "".join(
        f'<path d="{square}" style="{style}"/>'
        for style in ("fill: none", "fill: #fff", "fill: none; stroke: #000")
    )
    looks = [one.get("style") for one in ElementTree.fromstring(lean(f"{HEAD}{shapes}</svg>", "f"))]
    assert looks == ["fill:#fff", "fill:none;stroke:#000"]


def test_a_clip_is_said_once_for_neighbours_and_never_for_others() -> None:
    text = lean(
        f'{HEAD}<path d="M 0 0 L 1 1" clip-path="url(#a)"/><g clip-path="url(#a)"><text x="1">t</text></g>'
        '<path d="M 2 2 L 3 3"/><path d="M 4 4 L 5 5" clip-path="url(#b)"/></svg>',
        "f",
    )
    root = ElementTree.fromstring(text)
    assert [one.get("clip-path") for one in root] == ["url(#a)", None, "url(#b)"]
    assert [one.tag for one in root[0]] == ["path", "text"] and text.count("url(#a)") == 1


def drawn_text(draw: Any) -> tuple[str, str]:
    """Return a figure as Matplotlib writes it, and as we do."""
    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure()
        draw(figure.subplots(2, 2))
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg")
    return buffer.getvalue(), inline(buffer.getvalue(), "n", "label", False)


def test_a_figure_weighs_a_third_and_its_words_and_references_are_whole() -> None:
    def draw(axes: Any) -> None:
        x = np.linspace(0.0, 10.0, 300)
        for i, ax in enumerate(axes.ravel()):
            ax.fill_between(x, np.sin(x + i) - 0.3, np.sin(x + i) + 0.3, lw=0)
            ax.plot(x, np.sin(x + i))
            ax.plot(x[::10], np.sin(x[::10]), "o", mec="white")
            ax.set_title(f"panel {i} <&>")

    before, after = drawn_text(draw)
    assert len(after) < 0.34 * len(before)
    words = re.findall(r"<text[^>]*>([^<]*)</text>", before)
    assert sorted(re.findall(r"<text[^>]*>([^<]*)</text>", after)) == sorted(words)
    ids = set(re.findall(r' id="([^"]*)"', after))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]*)', after)) <= ids
    classes = set(re.findall(r"\.(\w+)\{", after))
    assert set(re.findall(r' class="([^"]*)"', after)) == classes
    assert all(one.startswith(short_name("n")) for one in classes | ids)
    # every marker, where it was: the corners of lines that are not drawn
    strings = re.findall(r'<polyline points="([^"]*)"', after)
    assert [len(one.split()) for one in strings] == [2 * 30] * 4
    assert set(re.findall(r"marker:url\(#([^)]*)\)", after)) <= ids


def test_marks_of_another_look_or_place_in_the_order_are_not_strung_together() -> None:
    shape = '<defs><path id="f-1" d="M 0 0 L 1 0 L 1 1 z" style="stroke: #111"/></defs>'
    use = '<use href="#f-1" x="{}" y="2" style="fill: {}"/>'
    red, blue = ([use.format(i, colour) for i in range(3)] for colour in ("red", "blue"))
    text = lean(f"{HEAD}{shape}{''.join(red + blue)}</svg>", "f")
    assert re.findall(r'points="([^"]*)"', text) == ["0 2 1 2 2 2"] * 2
    assert text.count("<marker ") == 2 and "fill:red;stroke:#111" in text
    mixed = [one for pair in zip(red, blue, strict=True) for one in pair]
    text = lean(f"{HEAD}{shape}{''.join(mixed)}</svg>", "f")
    assert text.count("<use ") == 6 and "<marker" not in text  # who hides whom stays

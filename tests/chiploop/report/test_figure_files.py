"""A figure leaves as a picture and as the numbers that are drawn in it."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from chiploop.report.figure_files import figures_in, write_figures
from chiploop.report.figure_pages import write_pages
from chiploop.report.svg import drawn, inline


def picture() -> Figure:
    figure = Figure()
    ax = figure.subplots()
    ax.set_xlabel("=dose (nM)")
    ax.plot([1.0, 10.0], [3.5, 4.5], label="curve")
    ax.plot([2.0], [-7.25], "o", label="chips")
    ax.axhline(9.0, label="limit")
    ax.fill_between([1.0, 2.0], [0.0, 0.0], [1.0, 1.0], label="band")
    return figure


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_the_points_as_they_are_drawn_and_no_formula(tmp_path: Path) -> None:
    written, broken = write_figures([drawn("one", "One", picture, True)], tmp_path)
    assert [path.name for path in written] == ["one.svg", "one.png", "one.csv"] and not broken
    rows = rows_of(tmp_path / "one.csv")
    curve = [(row["kind"], row["x"], row["y"]) for row in rows if row["series"] == "curve"]
    assert curve == [("line", "1", "3.5"), ("line", "10", "4.5")]
    assert [(r["kind"], r["y"]) for r in rows if r["series"] == "chips"] == [("points", "-7.25")]
    assert {row["kind"] for row in rows if row["series"] == "band"} == {"band"}
    assert rows[0]["x_label"] == "'=dose (nM)"
    assert {row["mark"] for row in rows} == {"SIMULATED"}
    assert "SIMULATED" in (tmp_path / "one.svg").read_text(encoding="utf-8")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_that_can_not_be_drawn_is_named_and_the_others_are_written(tmp_path: Path) -> None:
    def broken() -> Figure:
        raise ValueError("no ink")

    page = {
        "a": [drawn("bad", "Bad", broken, False)],
        "b": {"c": drawn("good", "Good", picture, False)},
    }
    written, not_drawn = write_figures(figures_in(page), tmp_path)
    assert not_drawn == {"bad": "ValueError: no ink"}
    assert [path.name for path in written] == ["good.svg", "good.png", "good.csv"]
    assert {row["mark"] for row in rows_of(tmp_path / "good.csv")} == {""}


def test_plain_pages_are_a_pdf_with_a_page_per_figure_and_the_same_bytes(tmp_path: Path) -> None:
    def broken() -> Figure:
        raise ValueError("no ink")

    figures = [drawn("a", "A", picture, True), drawn("b", "B", broken, True)]
    text = ["Goals: $EC_50"] * 70
    for name in ("a.pdf", "b.pdf"):
        assert write_pages(tmp_path / name, "Title", text, figures, True) == 4
    content = (tmp_path / "a.pdf").read_bytes()
    assert content.startswith(b"%PDF") and content == (tmp_path / "b.pdf").read_bytes()


def test_a_leaner_drawing_keeps_every_place_to_a_hundredth_of_a_point() -> None:
    """What is cut from the SVG is digits: the points that a reader sees stay."""
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure = Figure()
        rng = np.random.default_rng(1)
        figure.subplots().plot(rng.random(50), rng.random(50), "o")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg")
    where = r'<use [^>]*x="([-\d.]+)" y="([-\d.]+)"'
    before = np.array(re.findall(where, buffer.getvalue()), dtype=float)
    text = inline(buffer.getvalue(), "n", "label", False)
    # markers have become the corners of one line, ticks the beginnings of another
    strings = re.findall(r'points="([^"]*)"', text)
    places = [pair for one in strings for pair in re.findall(r"(\S+) (\S+)", one)]
    assert len(places) == 50
    places += re.findall(r"M(-?[\d.]+) ?(-?[\d.]+)[hv]", text)
    after = np.array(places, dtype=float)
    assert len(before) > 50
    assert np.abs(before[:, None] - after).max(axis=2).min(axis=1).max() <= 0.0051
    assert len(text) < 0.6 * len(buffer.getvalue())
    ids = re.findall(r' id="([^"]*)"', text)
    assert set(re.findall(r'href="#([^"]*)"', text)) <= set(ids)


def test_figures_are_found_wherever_they_stand_in_a_page() -> None:
    one = drawn("x", "X", picture, False)
    found: list[Any] = list(figures_in({"a": ({"b": [one]},), "c": "text", "d": None}))
    assert found == [one]

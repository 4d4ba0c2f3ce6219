"""A fit of very many chips is read leaf by leaf: figures and marks of some lines, links to the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from chiploop.report import page_parts
from chiploop.report.page_parts import LINES_A_LEAF, leaves_of
from chiploop.review import calibration_parts
from chiploop.review.calibration_parts import MOST_DOTS, dot_panels
from tests.chiploop.review.conftest import RUN, Page

FIGURE = {"src": "a.svg", "label": "a", "width": 10, "height": 10, "problem": ""}


def residual(chip: str, time_h: float = 24.0) -> dict[str, Any]:
    """Return a residual as it stands in the parts."""
    return {
        "chip": chip, "donor": "D1", "time_h": time_h, "residual": 3.0, "observed": 1.0,
        "predicted": 2.0, "unit": "", "title": "TEER", "censored": False, "cycle": 1,
    }  # fmt: skip


def write_parts(folder: Path, leaves: Sequence[Sequence[str]], n: int) -> None:
    """Write the parts of a fit with a figure a leaf and ``n`` residuals of two chips."""
    figures = [
        [{**FIGURE, "name": f"chips-TEER-of-{i}", "src": f"of-{i}.svg"}] for i in range(len(leaves))
    ]
    info = {"ess": 400.0, "failures": [], "passed": True}
    parts = {
        "form": page_parts.FORM, "leaves": leaves, "course_figures": figures,
        "window_figures": [[] for _ in leaves], "facts": [], "verdicts": [], "accepted": True,
        "info": info, "goals": [], "level": "90 %", "learned": 0.5, "coverage": {"content": None},
        "parameters": {"content": None, "problem": "none"}, "dose_figures": [], "dose_titles": [],
        "review": {"content": None, "problem": "none"}, "history": [], "goal_names": [],
        "history_figure": {**FIGURE, "name": "goal-history"},
        "observed_figure": {**FIGURE, "name": "observed-predicted"},
        "residuals": [residual(f"C0{1 + i % 2}", float(i)) for i in range(n)],
    }  # fmt: skip
    path = folder / "cal-01" / "page" / "parts.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(parts), encoding="utf-8")


def fitted(page: Page) -> None:
    """Put a calibration on record."""
    goals: list[Any] = []
    info = {"passed": True, "failures": [], "warnings": []}
    page.record.add_calibration(RUN, 1, {"time_h": 48.0, "goals": goals, "info": info})


def test_one_leaf_shows_all_and_more_lines_are_on_one_leaf_each() -> None:
    assert leaves_of([f"L{i}" for i in range(LINES_A_LEAF)]) == [()]
    lines = [f"L{i}" for i in range(2 * LINES_A_LEAF + 1)]
    found = leaves_of(lines)
    assert [line for leaf in found for line in leaf] == lines and len(found) == 3


def test_page_and_drawing_are_of_one_form() -> None:
    assert page_parts.FORM == calibration_parts.FORM


@pytest.mark.parametrize(
    ("asked", "shown"), [("", 0), ("?lines=2", 1), ("?lines=99", 1), ("?lines=x", 0)]
)
def test_a_leaf_has_its_figures_and_links_to_the_others(
    page: Page, tmp_path: Path, asked: str, shown: int
) -> None:
    write_parts(tmp_path / RUN, [["L1"], ["L2"]], 4)
    fitted(page)
    text = page.enter().get(f"/runs/{RUN}/fit{asked}").text
    assert f"of-{shown}.svg" in text and f"of-{1 - shown}.svg" not in text
    current = f'lines={shown + 1}#chips" aria-current="page" aria-label="Page {shown + 1} of 2"'
    assert current in text and f"lines {'L1' if not shown else 'L2'} to" in text
    assert text.count('class="dot far"') == 4  # of so few readings all are drawn


def test_a_fit_of_few_lines_has_no_leaves(page: Page, tmp_path: Path) -> None:
    write_parts(tmp_path / RUN, [[]], 4)
    fitted(page)
    text = page.enter().get(f"/runs/{RUN}/fit").text
    assert "Lines whose chips are shown" not in text and "of-0.svg" in text


def test_of_very_many_readings_those_of_the_leaf_are_drawn_and_the_table_is_of_all(
    page: Page, tmp_path: Path
) -> None:
    write_parts(tmp_path / RUN, [["L1"], ["L2"]], MOST_DOTS + 2)
    fitted(page)
    text = page.enter().get(f"/runs/{RUN}/fit?lines=2").text
    assert text.count('data-chip="C02"') == MOST_DOTS // 2 + 1 and 'data-chip="C01"' not in text
    assert "the table below is of all" in text and f"/runs/{RUN}/chips/C01" in text


def test_what_is_said_of_a_chip_is_said_once_a_panel() -> None:
    (panel,) = dot_panels(
        [residual("C01", t) for t in (1.0, 2.0)] + [residual("C02")], ["D1"], {"C02": 1}
    )
    assert [(chip, len(dots)) for chip, dots in panel.chips] == [("C01", 2), ("C02", 1)]
    assert panel.chips[1][1][0].classes == " far out"

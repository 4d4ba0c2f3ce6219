"""Two runs stand side by side: each number in its own column, each figure with both, one broken part no loss."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chiploop.report import compare_page
from chiploop.report.compare_page import comparison, doubt, write_comparison
from chiploop.report.figure_files import figures_in
from chiploop.report.html_report import RunEvidence
from tests.chiploop.report.test_html_report import Page


@pytest.fixture
def two(hand_run: Any, other_run: Callable[..., Any]) -> tuple[RunEvidence, RunEvidence]:
    return RunEvidence(*hand_run.parts), RunEvidence(*other_run(passed=False).parts)


def test_the_page_is_whole_says_which_run_failed_and_is_the_same_to_the_byte(
    two: tuple[RunEvidence, RunEvidence], tmp_path: Path
) -> None:
    for name in ("a.html", "b.html"):
        write_comparison(*two, tmp_path / name)
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert (tmp_path / "b.html").read_text(encoding="utf-8") == text
    page = Page(text)
    assert page.open == [] and sorted(page.ids) == sorted(set(page.ids))
    assert "script" not in page.tags and not re.search(r"https?:", text)
    assert "The last calibration of B FAILED" in text and "calibration of A FAILED" not in text
    assert text.count("<svg") == 4 and 'class="broken"' not in text
    assert "SIMULATED" in text and "FAILED FIT" in text


def test_each_run_keeps_its_column(
    two: tuple[RunEvidence, RunEvidence], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two
    one = [{**goal, "median": 1234.0} for goal in second.last_goals()]
    monkeypatch.setattr(RunEvidence, "last_goals", lambda self: one if self is second else [])
    (row, *_) = comparison(first, second)["goals"]
    assert row.first == "–" and row.second.startswith("1")
    doses = comparison(first, second)["doses"]
    assert doses and not any(dose.differs for dose in doses)


def test_each_verdict_is_that_of_its_own_run(hand_run: Any, other_run: Callable[..., Any]) -> None:
    other = other_run(passed=False)
    risky = {
        "cycle": 2,
        "doses": [{"line": "L1", "asked_nm": 60.0, "risk": 0.034, "chips": ["C01"]}],
    }
    key = other.record.add_proposal(other.run_id, 2, risky)
    other.record.add_decision(key, "approve", "A. Scientist", "so")
    strip = dict(doubt(RunEvidence(*hand_run.parts), RunEvidence(*other.parts)))
    assert "A: Fit converged; B: FIT FAILED" in strip
    (*_, (first, second)) = strip["Inside limits"]
    assert first.text == "highest risk approved 0.0 %"
    assert second.text == "highest risk approved 3.4 %"


@pytest.mark.slow
def test_one_broken_figure_leaves_the_others(
    two: tuple[RunEvidence, RunEvidence], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("no <ink>")

    monkeypatch.setattr(compare_page, "curves_figure", broken)
    write_comparison(*two, tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert text.count("This figure could not be drawn: ValueError: no &lt;ink&gt;") == 2
    assert text.count("<svg") == 2
    names = [one.name for one in figures_in(comparison(*two)) if one.make is None]
    assert names == ["compare-curve-EC50_CCL26", "compare-curve-EC50_TEER"]

"""A fit's file of another form is passed over and told; the newest that can be read is shown."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from chiploop.review.fits_again import FIT_FILE, latest_fit
from tests.chiploop.review.conftest import RUN, Page

GOAL = {"unit": "nM", "median": 60.0, "lower": 40.0, "upper": 90.0}
WHOLE: dict[str, Any] = {
    "cycle": 2, "passed": True, "failures": [], "readouts": {"used": 7, "left_out": 1},
    "same_as_loop": False, "goals": {"EC50_CCL26": GOAL}, "review": None,
}  # fmt: skip
OF_ANOTHER_FORM = {
    "of many runs": {"passed": True, "runs": []},
    "without goals": {name: value for name, value in WHOLE.items() if name != "goals"},
    "goals as a list": {**WHOLE, "goals": [GOAL]},
    "a goal without its interval": {
        **WHOLE,
        "goals": {"EC50_CCL26": {"unit": "nM", "median": 1.0}},
    },
    "a goal in words": {**WHOLE, "goals": {"EC50_CCL26": {**GOAL, "median": "high"}}},
    "readouts as a number": {**WHOLE, "readouts": 7},
    "no cycle": {**WHOLE, "cycle": None},
    "a list": [],
    "nothing": None,
}


def write(folder: Path, name: str, text: str, at_s: float) -> None:
    """Write a fit's file as if at a time."""
    path = folder / "fit" / name / FIT_FILE
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (at_s, at_s))


@pytest.mark.parametrize("told", OF_ANOTHER_FORM.values(), ids=OF_ANOTHER_FORM)
def test_a_fit_of_another_form_is_passed_over_for_the_newest_that_can_be_read(
    told: Any, tmp_path: Path
) -> None:
    write(tmp_path, "a", json.dumps(WHOLE), 1000.0)
    write(tmp_path, "b", json.dumps({**WHOLE, "cycle": 3}), 2000.0)
    write(tmp_path, "c", json.dumps(told), 3000.0)
    found = latest_fit(tmp_path, None)
    assert found.newest is not None and found.newest.cycle == 3
    assert found.passed_over == ("c/fit.json",)


def test_without_a_fit_there_is_none_and_nothing_is_passed_over(tmp_path: Path) -> None:
    found = latest_fit(tmp_path, None)
    assert found.newest is None and found.passed_over == ()


@pytest.mark.parametrize("path", ["fit", "fit/again", "fit/again/page"])
def test_the_pages_of_a_fit_stand_where_its_files_are_of_another_form(
    page: Page, tmp_path: Path, path: str
) -> None:
    write(tmp_path / RUN, "a", "{half", 1000.0)
    write(tmp_path / RUN, "b", json.dumps(OF_ANOTHER_FORM["of many runs"]), 2000.0)
    answer = page.enter().get(f"/runs/{RUN}/{path}")
    assert answer.status_code == (404 if path.endswith("page") else 200)
    if path == "fit/again":
        assert "b/fit.json, a/fit.json" in answer.text and "does not read" in answer.text
        write(tmp_path / RUN, "0", json.dumps(WHOLE), 500.0)
        text = page.client.get(f"/runs/{RUN}/{path}").text
        assert "What follows is of an older fit" in text and "60 (40 to 90)" in text

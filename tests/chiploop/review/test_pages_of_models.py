"""Two fits of one run side by side: what their files say, and which models can be asked for."""

from __future__ import annotations

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from chiploop.review.fits_on_file import fits_on_file, log_mean
from chiploop.review.observed_predicted import LENGTH, readout_panels
from tests.chiploop.review.conftest import ORIGIN, RUN, SCRIPT, Page

AT = f"/runs/{RUN}/models"
ROW = {
    "readout": "TEER", "unit": "ohm*cm2", "chip": "C01", "donor": "D1", "cycle": 1, "time_h": 24.0, "dose_nm": 0.0,
    "observed": 900.0, "predicted": 1000.0, "residual": -1.5, "censored": False, "k": 0.1,
}  # fmt: skip
INTERVAL = {"unit": "nM", "median": 60.0, "lower": 40.0, "upper": 90.0, "shrinkage": 0.4}
TOLD: dict[str, Any] = {
    "model": "skin_chip", "model_sha256": "a" * 64, "cycle": 2, "seed": 1, "passed": True, "failures": [],
    "warnings": [], "readouts": {"used": 1, "left_out": 0}, "chiploop": "0.1.0",
    "goals": {"EC50": INTERVAL}, "parameters": {"IC50": INTERVAL},
    "diagnostics": {"log_evidence": [10.0, 11.0], "ess": 800.0, "starts": 4, "starts_at_mode": 4},
}  # fmt: skip
REVIEW: dict[str, Any] = {"residuals": [ROW], "left_out": {"elpd": -3.2, "standard_error": 0.4}}
VERDICT = {"ok": True, "not_accepted": [], "verdict": "The data do not tell them apart."}


def write(
    folder: Path, key: str, told: Any = TOLD, review: Any = REVIEW, verdict: Any = None
) -> None:
    """Write the files of a fit."""
    own = folder / RUN / "fit" / key
    own.mkdir(parents=True, exist_ok=True)
    for name, content in (("fit", told), ("review", review), ("comparison", verdict)):
        if content is not None:
            (own / f"{name}.json").write_text(json.dumps(content))


def both(folder: Path, **verdict: Any) -> None:
    """Write the fit of the run's model and one of another against it."""
    other = copy.deepcopy(TOLD) | {"model": "other"}
    other["parameters"] = {"k_new": {**INTERVAL, "median": 1310.0}}
    write(folder, "c02-seed1")
    write(folder, "c02-seed1/against-other", other, verdict=VERDICT | verdict)


def test_a_fit_stands_beside_the_one_with_another_model_with_the_verdict_on_file(
    page: Page, tmp_path: Path
) -> None:
    both(tmp_path)
    text = page.enter().get(AT).text
    assert "The data do not tell them apart." in text
    assert "skin_chip, cycle 2, seed 1" in text and "other, cycle 2, seed 1" in text
    table = re.search(r"<table class=\"pair\">.*?k_new.*?</table>", text, re.S)
    assert table is not None and "IC50" in table[0] and "1310 (40 to 90), narrowed 40 %" in table[0]
    assert "10.6" in text and "-3.2 (se 0.4)" in text  # log of the mean evidence, not mean of logs
    assert text.count('class="fit-dots"') == 2 and "read 900, model 1000, -1.5 sd" in text


def test_the_mean_evidence_is_that_of_evidences() -> None:
    assert log_mean([10.0, 11.0]) == pytest.approx(math.log((math.exp(10) + math.exp(11)) / 2))
    assert log_mean([-5000.0, -5001.0]) == pytest.approx(-5000.0 + math.log((1 + math.exp(-1)) / 2))


def test_a_model_that_was_not_accepted_is_named_before_the_verdict(
    page: Page, tmp_path: Path
) -> None:
    both(tmp_path, not_accepted=["other"])
    assert "NOT ACCEPTED: other. The data" in page.enter().get(AT).text


def test_fits_that_were_not_compared_have_no_verdict_and_it_is_said_why(
    page: Page, tmp_path: Path
) -> None:
    both(tmp_path)
    write(tmp_path, "c02-seed5", TOLD | {"seed": 5})
    row = ROW | {"observed": 901.0}
    write(tmp_path, "c01-seed1", TOLD | {"cycle": 1}, REVIEW | {"residuals": [row]})
    page.enter()
    same = page.client.get(AT, params={"one": "c02-seed1", "other": "c02-seed5"}).text
    assert "not fitted against each other" in same and "tell them apart" not in same
    against = {"one": "c02-seed5", "other": "c02-seed1/against-other"}  # of another fit's verdict
    assert "tell them apart" not in page.client.get(AT, params=against).text
    others = page.client.get(AT, params={"one": "c02-seed1", "other": "c01-seed1"}).text
    assert "not learned from the same readings" in others


@pytest.mark.parametrize(("told", "review"), [
    ([], REVIEW), (TOLD | {"diagnostics": {}}, REVIEW), (TOLD | {"goals": []}, REVIEW),
    ({**TOLD, "diagnostics": {**TOLD["diagnostics"], "log_evidence": []}}, REVIEW),
    (TOLD, {}), (TOLD, {"residuals": [{}], "left_out": {}}), (TOLD, None),
])  # fmt: skip
def test_files_of_another_form_are_passed_over(told: Any, review: Any, tmp_path: Path) -> None:
    write(tmp_path, "c02-seed1")
    write(tmp_path, "c02-seed2", told, review)
    assert [fit.key for fit in fits_on_file(tmp_path / RUN)] == ["c02-seed1"]


def test_names_in_files_are_shown_as_text_and_no_address_leads_elsewhere(
    page: Page, tmp_path: Path
) -> None:
    both(tmp_path, verdict=SCRIPT)
    write(tmp_path, "c02-seed9", TOLD | {"model": SCRIPT})
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "fit.json").write_text(json.dumps(TOLD | {"model": "secret"}))
    (tmp_path / "secret" / "review.json").write_text(json.dumps(REVIEW))
    page.enter()
    for one in ("c02-seed1", "../../secret", "c02-seed9", "..", "\0"):
        text = page.client.get(AT, params={"one": one, "other": "c02-seed1/against-other"}).text
        assert SCRIPT not in text and "secret, cycle" not in text


def test_a_model_is_asked_for_by_a_name_that_is_offered_and_by_nobody_who_only_looks(
    page: Page,
) -> None:
    page.enter()
    calibration = {"goals": [], "info": {}, "time_h": 1.0}
    form = {**page.fields(AT), "model": "own_model"}
    first = page.client.post(f"{AT}/fit", data=form, headers=ORIGIN)
    assert first.status_code == 409 and "nothing to compare" in first.text
    page.record.add_calibration(RUN, 1, calibration)
    for name in ("../../etc/passwd", "skin_chip", "", "--out=/tmp/x", "/tmp/my.ant"):
        form = {**page.fields(AT), "model": name}
        assert page.client.post(f"{AT}/fit", data=form, headers=ORIGIN).status_code == 404, name
    assert page.hands.jobs == []
    form = {**page.fields(AT), "model": "own_model"}
    answer = page.client.post(f"{AT}/fit", data=form, headers=ORIGIN)
    assert answer.status_code == 200 and "being fitted with own_model" in answer.text
    assert page.hands.jobs == [("against", RUN, "own_model")]
    assert "hx-refresh" not in page.client.get(f"{AT}/state").headers
    page.hands.jobs.clear()
    assert page.client.get(f"{AT}/state").headers["hx-refresh"] == "true"
    page.client.cookies.clear()
    page.enter("viewer")
    assert 'method="post"' not in page.client.get(AT).text
    assert page.client.post(f"{AT}/fit", data=form, headers=ORIGIN).status_code == 403
    assert page.hands.jobs == []


def test_a_model_that_does_not_fit_the_study_is_named_with_the_reason_and_not_offered(
    page: Page,
) -> None:
    page.record.add_calibration(RUN, 1, {"goals": [], "info": {}, "time_h": 1.0})
    text = page.enter().get(AT).text
    assert re.findall(r"<option>([^<]*)</option>", text) == ["own_model"]
    assert "strange: no &lt;script&gt;" in text and SCRIPT not in text
    form = {**page.fields(AT), "model": "strange"}
    answer = page.client.post(f"{AT}/fit", data=form, headers=ORIGIN)
    assert answer.status_code == 409 and "no &lt;script&gt;" in answer.text
    assert page.hands.jobs == []


def test_both_panels_share_their_axes_and_equal_values_lie_on_the_line() -> None:
    one = [ROW | {"observed": 100.0, "predicted": 100.0}, ROW | {"observed": 1000.0}]
    other = [ROW | {"observed": 1000.0, "predicted": 1000.0}]
    (found,) = readout_panels(one, other, ["D1"])
    assert found.axis == "log" and found.panels[0].ticks == found.panels[1].ticks
    assert [word for *_, word in found.panels[0].ticks] == ["100", "316", "1000"]
    for x, y, _ in found.panels[0].ticks:  # the same way along and up
        assert x - found.panels[0].left == pytest.approx(found.panels[0].bottom - y)
        assert 0.0 < x - found.panels[0].left < LENGTH
    (linear,) = readout_panels([ROW], [ROW | {"observed": -0.1}], ["D1"])
    assert linear.axis == "linear"
    assert readout_panels([ROW | {"observed": None, "predicted": None}], [], []) == ()

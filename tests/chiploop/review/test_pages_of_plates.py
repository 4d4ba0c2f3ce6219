"""The page of a plate: what stood where, and wells that are left out of it become one command."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from chiploop.record.well_exclusions import WellExclusion
from chiploop.review.contracts import Answer
from tests.chiploop.review.conftest import PLATE, RUN, SCRIPT, Page, read_plate

AT = f"/runs/{RUN}/plates/{PLATE}"
TOLD = {
    "ok": True, "excluded": True, "plate": PLATE, "wells": ["B7"], "readouts": 1, "by": "alice", "missing": [],
}  # fmt: skip


def cells(text: str) -> dict[str, str]:
    """Return what the cells of the plate say of themselves."""
    found = re.findall(r'<td class="([^"]+)" title="([A-H]\d+): ', text)
    return {well: classes for classes, well in found}


def leave_out(page: Page, why: str) -> None:
    """Put on record that a well is out, as the command does."""
    readouts, how = read_plate()
    said = WellExclusion(PLATE, "B7", True, "an", why)
    page.record.revise_readouts(
        RUN, [replace(readouts[0], value=90.0, n=1)], how, "an", "so", 40.0, wells=[said]
    )


def test_a_plate_shows_every_well_with_its_signal_and_what_came_of_it(page: Page) -> None:
    text = page.enter().get(AT).text
    assert cells(text) == {"A1": "shade-5", "B7": "shade-0", "C7": "shade-1"}
    assert text.count('class="empty"') == 93 and "<b>S</b> standard" in text
    assert "80 pg/mL" in text and "absorbance 450 nm, OD" in text
    assert f'href="{AT}"' in page.client.get(f"/runs/{RUN}/chips/C02").text


def test_a_well_that_was_left_out_is_struck_and_told_with_who_and_why_as_text(page: Page) -> None:
    leave_out(page, SCRIPT)
    text = page.enter().get(AT).text
    assert cells(text)["B7"] == "shade-0 out" and cells(text)["C7"] == "shade-1"
    assert SCRIPT not in text and "B7: left out by an: &lt;script&gt;" in text
    assert "well B7 of" in page.client.get(f"/runs/{RUN}").text
    assert re.search(r'value="take back" class="second" >', text)  # not disabled


def test_ticked_wells_become_one_command(page: Page) -> None:
    page.enter()
    page.hands.answer = Answer(0, TOLD | {"missing": ["C02"]})
    form = {"why": "--record=sqlite:///elsewhere", "well-B7": "1", "well-C7": "1"}
    said = page.post(f"{AT}/exclude", {**form, "action": "leave out"}, AT).text
    page.post(f"{AT}/exclude", {**form, "action": "take back"}, AT)
    wells = [f"--well={PLATE}:B7", f"--well={PLATE}:C7"]
    first = ["exclude", RUN, "--why=--record=sqlite:///elsewhere", *wells]
    assert page.hands.asked == [first, [*first, "--take-back"]]
    assert "missing now: C02" in said and "Fit again" in said


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"why": "bubble"}, "tick the wells"),
        ({"why": "bubble", "well-H12": "1"}, "tick the wells"),
        ({"why": "bubble", "well-B7": "1", "well-B7 --take-back": "1"}, "tick the wells"),
        ({"why": " ", "well-B7": "1"}, "needs its reason"),
    ],
)
def test_a_form_without_wells_of_the_plate_or_a_reason_changes_nothing(
    page: Page, form: dict[str, str], said: str
) -> None:
    page.enter()
    assert said in page.post(f"{AT}/exclude", form, AT).text
    assert page.hands.asked == []


def test_a_refusal_of_the_command_is_told_in_its_own_words(page: Page) -> None:
    page.enter()
    page.hands.answer = Answer(2, {"error": {"message": "well B7 is left out already"}})
    answer = page.post(f"{AT}/exclude", {"why": "so", "well-B7": "1"}, AT).text
    assert "well B7 is left out already" in answer and 'role="alert"' in answer


def test_a_plate_that_was_not_read_has_no_page_and_who_only_looks_no_form(page: Page) -> None:
    page.enter()
    for name in ("p9", "..%2fp9", "--take-back"):
        assert page.client.get(f"/runs/{RUN}/plates/{name}").status_code == 404
        form = {**page.fields(AT), "why": "so", "well-B7": "1"}
        address = f"/runs/{RUN}/plates/{name}/exclude"
        origin = {"origin": "http://127.0.0.1:8765"}
        assert page.client.post(address, data=form, headers=origin).status_code == 404
    page.client.cookies.clear()
    page.enter("viewer")
    text = page.client.get(AT).text
    assert "checkbox" not in text and "<form" not in text
    assert page.hands.asked == []

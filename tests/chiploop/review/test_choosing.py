"""A page of a large run shows some of its chips, and every chip is on one page."""

from __future__ import annotations

import re

import pytest

from chiploop.measurement import Readout
from chiploop.review.choosing import LINES_A_PAGE, Choice, chosen_chips
from chiploop.study import load_study
from tests.chiploop.review.conftest import STUDY, Page

LINES = tuple(f"L{i:03d}" for i in range(60))
CHIPS = [(f"C{3 * i + j:03d}", line, f"D{j + 1}") for i, line in enumerate(LINES) for j in range(3)]
DONORS = {chip: donor for chip, _, donor in CHIPS}
AT = {chip: line for chip, line, _ in CHIPS}
STATES = {chip: "held" if line == "L050" else "dose" for chip, line, _ in CHIPS}


def test_every_chip_is_on_one_page_and_in_order() -> None:
    pages = [chosen_chips(Choice(p), LINES, DONORS, AT, STATES) for p in (1, 2, 3)]
    assert {one.pages for one in pages} == {3} and {one.of for one in pages} == {180}
    assert [chip for one in pages for chip in one.chips] == [chip for chip, _, _ in CHIPS]
    assert [len(one.lines) for one in pages] == [LINES_A_PAGE, LINES_A_PAGE, 12]


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (-3, 1), (4, 3), (10**30, 3)])
def test_a_page_that_is_not_there_is_the_nearest(asked: int, given: int) -> None:
    found = chosen_chips(Choice(asked), LINES, DONORS, AT, STATES)
    assert found.choice.page == given and found.chips


def test_a_choice_keeps_to_the_lines_that_have_such_chips() -> None:
    found = chosen_chips(Choice(1, "D2", "held"), LINES, DONORS, AT, STATES)
    assert (found.lines, found.chips, found.pages, found.of) == (("L050",), ("C151",), 1, 1)
    assert chosen_chips(Choice(1, state="idle"), LINES, DONORS, AT, STATES).chips == ()
    assert chosen_chips(Choice(1, "<b>"), LINES, DONORS, AT, STATES).of == 180
    assert found.choice.address(2) == "lines=2&donor=D2&state=held"
    moved = {**AT, "C000": "L059"}  # a valve has moved it: it stands where it is fed
    assert "C000" in chosen_chips(Choice(3), LINES, DONORS, moved, STATES).chips


def many_chips(page: Page) -> None:
    """Put a run of 120 chips on record, of which a page reads no more than it shows."""
    small = load_study(STUDY)
    donor = next(iter(small.donors))
    lines = tuple(
        small.lines[0].model_copy(
            update={"id": line, "chips": {f"C{i:03d}": donor, f"K{i:03d}": donor}}
        )
        for i, line in enumerate(LINES)
    )
    study = small.model_copy(update={"lines": lines, "first_doses_nm": (1.0,) * len(lines)})
    page.record.add_run("many", study, seed=1, simulated=True)
    page.record.add_readouts("many", [Readout("C030", "TEER", 912.0, "ohm*cm2", 0.02, "log", 24.0)])


def test_pages_of_a_large_run_are_links_and_a_form_that_need_no_script(page: Page) -> None:
    many_chips(page)
    text = page.enter().get("/runs/many").text
    assert 'action="/runs/many"' in text and 'method="get"' in text
    assert text.count('class="name"') == 2 * LINES_A_PAGE and "C000" in text and "C024<" not in text
    second = page.client.get("/runs/many?lines=2").text
    assert "C024<" in second and "TEER 912" in second and "C000" not in second
    assert 'aria-label="Page 2 of 3"' in second
    shown = re.search(r'href="([^"]*)" aria-current="page" aria-label="Page', second)
    assert shown is not None and shown[1] == "/runs/many?lines=2"
    assert "live?lines=2&amp;seen=" in second  # what is new is asked for of the same page
    none = page.client.get("/runs/many?state=held").text
    assert "0 of 120 chips" in none and 'class="name"' not in none
    assert page.client.get("/runs/many?state=%3Cscript%3E&donor=x").text.count('class="name"') == 48


def test_a_small_run_offers_no_choice(page: Page) -> None:
    text = page.enter().get("/runs/r1").text
    assert 'aria-label="Chips to show"' not in text and "Lines after" not in text


def test_readings_of_some_chips_are_those_of_all_without_the_others(page: Page) -> None:
    every = page.record.readouts("r1")
    assert page.record.readouts("r1", chips=("C02",)) == tuple(
        r for r in every if r.chip_id == "C02"
    )
    assert page.record.readouts("r1", chips=()) == ()
    assert page.record.reading_times("r1") == tuple(sorted({(r.time_h, r.readout) for r in every}))

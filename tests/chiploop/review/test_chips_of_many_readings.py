"""A chip with hundreds of readings, a run with hundreds of chips: each is shown in pages that stay small."""

from __future__ import annotations

import math
import re

import pytest

from chiploop.measurement import Readout
from chiploop.record.exclusions import ANY_TIME, Exclusion
from chiploop.review import chip_view
from chiploop.review.chip_view import MOST_POINTS, READINGS_A_PAGE
from tests.chiploop.review.conftest import RUN, Page
from tests.chiploop.review.test_choosing import many_chips

AT = f"/runs/{RUN}/chips/C01"
HOURLY = 130
MOST_BYTES = 500_000


def rows_of(text: str) -> list[tuple[str, str]]:
    """Return (readout, time) of the readings that a page lists."""
    found = re.findall(r'behind it">([^<]+)</a></td><td class="n">([^<]+)</td>', text)
    return [(str(readout), str(time_h)) for readout, time_h in found]


@pytest.fixture
def hourly(page: Page) -> Page:
    """The page over a chip that was read every hour."""
    page.record.add_readouts(
        RUN,
        [
            Readout("C01", "ZO", 50.0 + math.sin(hour), "1", 0.1, "linear", float(hour), cycle=1)
            for hour in range(100, 100 + HOURLY)
        ],
    )
    page.enter()
    return page


def test_every_reading_is_on_one_page_and_each_page_is_small(hourly: Page) -> None:
    first = hourly.client.get(AT).text
    pages = -(-(HOURLY + 2) // READINGS_A_PAGE)
    assert f'aria-label="Page 1 of {pages}"' in first
    seen = []
    for number in range(1, pages + 1):
        text = hourly.client.get(f"{AT}?page={number}").text
        assert len(text.encode()) < MOST_BYTES / 2
        assert len(rows_of(text)) <= READINGS_A_PAGE
        seen += rows_of(text)
    every = [(r.readout, f"{r.time_h:g}") for r in hourly.record.readouts(RUN, chips=("C01",))]
    assert len(seen) == len(set(seen)) and set(seen) == set(every)
    # the line is drawn whole, marks are those of the page; each mark of a short course
    (course,) = re.findall(r'aria-label="ZO of.*?</svg>', first, re.S)
    (path,) = re.findall(r'class="run" d="M([^"]*)"', course)
    assert path.count("L") == HOURLY - 1 > MOST_POINTS
    assert course.count("<circle") == READINGS_A_PAGE - 2


def test_one_kind_of_reading_is_chosen_by_a_form_that_needs_no_script(hourly: Page) -> None:
    text = hourly.client.get(f"{AT}?readout=TEER").text
    assert rows_of(text) == [("TEER", "24"), ("TEER", "48")] and "ZO of C01 over time" not in text
    assert f'<form method="get" action="{AT}"' in text and "<option selected>TEER" in text
    odd = hourly.client.get(f"{AT}?readout=%3Cscript%3E&page=99999").text
    assert "<script>" not in odd.partition("<main")[2] and rows_of(odd)[-1] == ("ZO", "229")


def test_leaving_a_reading_out_stays_on_its_page(hourly: Page) -> None:
    text = hourly.client.get(f"{AT}?page=3&readout=ZO").text
    send = re.findall(r'action="([^"]*/exclude[^"]*)"', text)
    assert set(send) == {f"{AT}/exclude?page=3&amp;readout=ZO"}
    time = rows_of(text)[5][1]
    form = {"readout": "ZO", "time": time, "why": "bubble", "action": "leave out"}
    said = hourly.post(f"{AT}/exclude?page=3&readout=ZO", form, AT).text
    assert hourly.hands.asked == [
        ["exclude", RUN, "C01", "--why=bubble", "--readout=ZO", f"--time={time}"]
    ]
    assert rows_of(said) == rows_of(text)
    # one of another page can be named as well: what there is hangs on the chip, not on the page
    hourly.post(f"{AT}/exclude?page=3", form | {"time": "229"}, AT)
    assert hourly.hands.asked[-1][-1] == "--time=229"


def test_a_chip_within_the_overview_changes_itself_alone(hourly: Page) -> None:
    part = hourly.client.get(AT, headers={"hx-request": "true"}).text
    whole = hourly.client.get(AT).text
    assert f'hx-get="{AT}?page=2"' in part and 'hx-target="#one-chip"' in part
    assert f'hx-get="{AT}?page=2"' not in whole and f'href="{AT}?page=2"' in whole


def test_of_many_decisions_the_newest_are_told_with_their_number(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chip_view, "MOST_SAID", 3)
    for number in range(7):
        said = Exclusion("C01", "TEER", ANY_TIME, number % 2 == 0, "an", f"reason {number:03d}")
        page.record.add_exclusion(RUN, said, 48.0)
    text = page.enter().get(AT).text
    told = text.partition("What persons said")[2]
    assert "The newest 3 of 7" in told
    assert re.findall(r"reason (\d+)", told) == ["004", "005", "006"]


def test_signals_of_many_chips_are_drawn_page_by_page(page: Page) -> None:
    many_chips(page)
    spectra = [
        Readout(f"{kind}{n:03d}", "TEER", 900.0, "ohm*cm2", 0.02, "log", 48.0, cycle=1,
                raw_sha256=f"{n:064d}")
        for n in range(60) for kind in "CK"
    ]  # fmt: skip
    page.record.add_readouts("many", spectra)
    at = "/runs/many/signals"
    page.enter()
    for query, chips in (("", "C000 to K011"), ("?cycle=1&page=5", "C048 to K059")):
        text = page.client.get(f"{at}{query}").text
        assert f"chips {chips}" in text and 'of 5"' in text
        assert len(text.encode()) < MOST_BYTES / 10
    assert f'href="{at}?cycle=1&amp;page=2"' in text
    assert page.hands.jobs == [("signals", "many", "1"), ("signals", "many", "1", "", "5")]
    page.client.get(f"{at}?cycle=1&page=77")  # the last one, which is being drawn
    assert len(page.hands.jobs) == 2


def test_many_spectra_of_one_chip_are_drawn_page_by_page(page: Page) -> None:
    page.record.add_readouts(
        RUN,
        [
            Readout(
                "C02",
                "TEER",
                900.0,
                "ohm*cm2",
                0.02,
                "log",
                100.0 + n,
                cycle=2,
                raw_sha256=f"{n:064d}",
            )
            for n in range(60)
        ],
    )
    text = page.enter().get(f"/runs/{RUN}/signals?cycle=2&chip=C02&page=3").text
    assert 'aria-label="Page 3 of 3"' in text
    assert page.hands.jobs == [("signals", RUN, "2", "C02", "3")]
    assert f"/runs/{RUN}/signals?cycle=2&amp;chip=C02&amp;page=2" in text

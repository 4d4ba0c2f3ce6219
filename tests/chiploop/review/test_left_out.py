"""A reading that was taken well and left out of a fit does not look used on any page."""

from __future__ import annotations

import re

import pytest

from chiploop.record.next_event import add_next_event
from chiploop.record.unexplained import LEFT_OUT, UNEXPLAINED
from chiploop.review.side_by_side import side_by_side
from tests.chiploop.review.conftest import PLATE, RUN, Page

SAID = f"{LEFT_OUT} of cycle 1: {UNEXPLAINED}"


@pytest.fixture
def left_out(page: Page) -> Page:
    """The page over a record whose first fit left two readings of C02 out."""
    named = [
        {"chip": "C02", "readout": readout, "time_h": time_h, "why": UNEXPLAINED}
        for readout, time_h in (("CCL26", 36.0), ("TEER", 48.0))
    ]
    content = {"cycle": 1, "readouts": named}
    assert add_next_event(page.record, RUN, LEFT_OUT, 50.0, content, "", lambda before: True)
    page.enter()
    return page


def test_the_chips_own_page_says_which_and_why(left_out: Page) -> None:
    rows = re.findall(
        r"<tr class.*?</tr>", left_out.client.get(f"/runs/{RUN}/chips/C02").text, re.S
    )
    out = [row for row in rows if SAID in row]
    assert len(rows) == 3 and len(out) == 2
    assert all('class="is-bad">fail' in row for row in out)
    assert SAID not in left_out.client.get(f"/runs/{RUN}/chips/C01").text


def test_plate_rack_events_and_comparison_say_so_too(left_out: Page) -> None:
    assert SAID in left_out.client.get(f"/runs/{RUN}/plates/{PLATE}").text
    overview = left_out.client.get(f"/runs/{RUN}").text
    assert "2 readings failed or left out of a fit" in overview
    assert "CCL26 of C02 at 36 h, TEER of C02 at 48 h; what its line delivered" in overview
    run = left_out.record.run(RUN)
    assert run is not None
    found = side_by_side(left_out.record, run, run)
    (row,) = (one for one in found.trusted if one.name == "readings that failed or were left out")
    assert row.one == "2"

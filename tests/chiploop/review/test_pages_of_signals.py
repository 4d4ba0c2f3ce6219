"""The page of raw signals: what is drawn for it, of which cycle and chip, that its files are pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chiploop.record.signal_index import index_name, signals_seen
from tests.chiploop.review.conftest import PLATE, RUN, Page

AT = f"/runs/{RUN}/signals"
PNG = b"\x89PNG\r\n\x1a\n"


def write_index(page: Page, folder: Path, cycle: int, chip: str = "", seen: str = "") -> None:
    """Write what a drawing process leaves."""
    own = folder / RUN / "page" / "signals"
    own.mkdir(parents=True, exist_ok=True)
    figure = {
        "name": "x", "src": "x.png", "label": "an image", "width": 500, "height": 250, "problem": "",
        "title": "C02, place 1", "caption": "so", "plate": PLATE, "group": "Images",
    }  # fmt: skip
    content = {"seen": seen or signals_seen(page.record, RUN), "figures": [figure]}
    (own / index_name(cycle, chip)).write_text(json.dumps(content))
    (own / "x.png").write_bytes(PNG)


def test_signals_are_drawn_once_for_a_cycle_or_a_chip_in_it_and_for_nothing_else(
    page: Page,
) -> None:
    page.enter()
    for query in (
        "",
        "?cycle=1",
        "?cycle=1&chip=C02",
        "?cycle=9",
        "?cycle=1&chip=../x",
        "?cycle=x",
    ):
        assert page.client.get(f"{AT}{query}").status_code == 200, query
    assert page.hands.jobs == [("signals", RUN, "1"), ("signals", RUN, "1", "C02")]


def test_what_was_drawn_is_shown_with_the_way_to_its_plate_until_something_is_new(
    page: Page, tmp_path: Path
) -> None:
    write_index(page, tmp_path, 1)
    text = page.enter().get(AT).text
    assert f'src="/runs/{RUN}/signals/x.png"' in text and f"/plates/{PLATE}" in text
    assert page.hands.jobs == []
    write_index(page, tmp_path, 1, seen="of before")
    assert "of before the last change" in page.client.get(AT).text
    assert page.hands.jobs == [("signals", RUN, "1")]


@pytest.mark.parametrize("text", ["", "{half", "[]", '{"length": 3, "figures": []}'])
def test_an_index_of_another_form_is_drawn_anew(page: Page, tmp_path: Path, text: str) -> None:
    write_index(page, tmp_path, 1)
    (tmp_path / RUN / "page" / "signals" / index_name(1)).write_text(text)
    assert page.enter().get(AT).status_code == 200
    assert page.hands.jobs == [("signals", RUN, "1")]


def test_a_picture_is_served_as_what_it_is_and_may_load_nothing(page: Page, tmp_path: Path) -> None:
    write_index(page, tmp_path, 1)
    answer = page.enter().get(f"{AT}/x.png")
    assert answer.content == PNG and answer.headers["content-type"] == "image/png"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "sandbox" in answer.headers["content-security-policy"]
    for name in (index_name(1), "y.png", "x.png.unfinished", "..%2fx.png", "x.svg"):
        assert page.client.get(f"{AT}/{name}").status_code == 404, name

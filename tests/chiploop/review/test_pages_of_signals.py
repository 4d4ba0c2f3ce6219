"""The page of raw signals: what is drawn for it, of which cycle and chip, that its files are pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chiploop.assays.left_out_images import without_images
from chiploop.measurement import Derivation, Measurement, Readout
from chiploop.record.signal_index import FORM, index_name, signals_seen
from chiploop.record.well_exclusions import WellExclusion
from chiploop.review.contracts import Answer
from tests.chiploop.review.conftest import PLATE, RUN, SCRIPT, Page

AT = f"/runs/{RUN}/signals"
SET = "small-junction_coverage-cycle1"
PNG = b"\x89PNG\r\n\x1a\n"


def write_index(
    page: Page,
    folder: Path,
    cycle: int,
    chip: str = "",
    seen: str = "",
    image: tuple[str, str] = ("", ""),
) -> None:
    """Write what a drawing process leaves."""
    own = folder / RUN / "page" / "signals"
    own.mkdir(parents=True, exist_ok=True)
    figure = {
        "name": "x", "src": "x.png", "label": "an image", "width": 500, "height": 250, "problem": "",
        "title": "C02, place 1", "caption": "so", "plate": PLATE, "group": "Images",
        "image": image,
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
    write_index(page, tmp_path, 1, seen=f"{FORM}.9.9")
    assert "of before the last change" in page.client.get(AT).text
    assert page.hands.jobs == [("signals", RUN, "1")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{half",
        "[]",
        '{"length": 3, "figures": []}',
        '{"seen": "1.2.3", "figures": [{}]}',
        "null",
    ],
)
def test_an_index_of_another_form_is_drawn_anew(page: Page, tmp_path: Path, text: str) -> None:
    write_index(page, tmp_path, 1)
    (tmp_path / RUN / "page" / "signals" / index_name(1)).write_text(text)
    assert page.enter().get(AT).status_code == 200
    assert page.hands.jobs == [("signals", RUN, "1")]


@pytest.fixture
def imaged(page: Page, tmp_path: Path) -> Page:
    """The page over a chip of which two images are on record, the first with its figure."""
    rows = tuple(
        Measurement(
            f"{SET}/image/C02/{n}", "calibrated", "junction_coverage", "covered share", 0.8, "1", 36.0,
            chip_id="C02", role="image", replicate=n, plate=SET, locator=f"CLX C02 {n}", cycle=1,
        )
        for n in (1, 2)
    )  # fmt: skip
    reading = Readout(
        "C02", "junction_coverage", 0.8, "1", 0.01, "linear", 36.0, plate=SET, cycle=1
    )
    page.record.add_readouts(RUN, [reading], Derivation(rows))
    write_index(page, tmp_path, 1, image=(SET, "C02/1"))
    page.enter()
    return page


def test_an_image_that_is_left_out_becomes_one_command(imaged: Page) -> None:
    text = imaged.client.get(AT).text
    assert "Leave image C02/1 out" in text and 'name="place" value="C02/1"' in text
    imaged.hands.answer = Answer(
        0, {"ok": True, "excluded": True, "wells": ["C02/1"], "by": "alice", "missing": ["C02"]}
    )
    form = {"set": SET, "place": "C02/1", "why": "--take-back", "action": "leave out"}
    said = imaged.post(f"{AT}/exclude?cycle=1&page=1", form, AT).text
    imaged.post(f"{AT}/exclude", form | {"action": "take back"}, AT)
    words = ["exclude", RUN, "--why=--take-back", f"--image={SET}:C02/1"]
    assert imaged.hands.asked == [words, [*words, "--take-back"]]
    assert "C02/1 left out by alice" in said and "missing now: C02" in said


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"set": SET, "place": "C02/3", "why": "fold"}, "no such image"),
        ({"set": "other", "place": "C02/1", "why": "fold"}, "no such image"),
        ({"why": "fold"}, "no such image"),
        ({"set": SET, "place": "C02/1", "why": " "}, "needs its reason"),
    ],
)
def test_a_form_without_an_image_of_the_run_or_a_reason_changes_nothing(
    imaged: Page, form: dict[str, str], told: str
) -> None:
    assert told in imaged.post(f"{AT}/exclude", form, AT).text
    assert imaged.hands.asked == []


def test_an_image_that_is_out_is_told_with_who_and_why_as_text_and_can_come_back(
    imaged: Page, tmp_path: Path
) -> None:
    rows = imaged.record.first_images(RUN, SET)
    said = WellExclusion(SET, "C02/1", True, "an", SCRIPT)
    derivation, readouts = without_images(rows, {"C02/1": said.reason})
    imaged.record.revise_readouts(RUN, readouts, derivation, "an", "so", 40.0, wells=[said])
    assert "of before the last change" in imaged.client.get(AT).text
    write_index(imaged, tmp_path, 1, image=(SET, "C02/1"))
    text = imaged.client.get(AT).text
    assert SCRIPT not in text and "Image C02/1 is left out by an: &lt;script&gt;" in text
    assert "Take image C02/1 in again" in text and 'value="take back"' in text
    assert f"image C02/1 of {SET} left out by an" in imaged.client.get(f"/runs/{RUN}").text
    imaged.record.add_calibration(RUN, 1, {"goals": [], "info": {}, "time_h": 1.0})
    assert f'/chips/C02">{SET}</a>, C02/1: left out' in imaged.client.get(f"/runs/{RUN}/fit").text
    imaged.client.cookies.clear()
    imaged.enter("viewer")
    assert '<form method="post"' not in imaged.client.get(AT).text


def test_a_picture_is_served_as_what_it_is_and_may_load_nothing(page: Page, tmp_path: Path) -> None:
    write_index(page, tmp_path, 1)
    answer = page.enter().get(f"{AT}/x.png")
    assert answer.content == PNG and answer.headers["content-type"] == "image/png"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "sandbox" in answer.headers["content-security-policy"]
    for name in (index_name(1), "y.png", "x.png.unfinished", "..%2fx.png", "x.svg"):
        assert page.client.get(f"{AT}/{name}").status_code == 404, name

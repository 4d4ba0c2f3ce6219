"""The report in a real browser: it asks nobody for anything, keeps nobody out, and prints.

Belongs here: what only a browser can say of the file. Not here: what it says (test_html_report).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from chiploop.report.chromium_pdf import print_page
from chiploop.report.html_report import write_report
from tests.chiploop.report.conftest import HandRun
from tests.chromium import a_person, barriers


@pytest.fixture(scope="module")
def report(hand_run: HandRun) -> Path:
    return write_report(*hand_run.parts)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 768])
def test_the_report_asks_nobody_keeps_nobody_out_and_fits_the_screen(
    chromium: Any, report: Path, width: int
) -> None:
    with a_person(chromium, width=width) as person:
        person.context.set_offline(True)
        person.page.goto(report.as_uri())
        assert barriers(person.page) == []
        overhang = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert person.page.evaluate(overhang) == 0
        for figure in person.page.locator(".card svg").all():
            box = figure.bounding_box()
            assert box["width"] > 300 and box["height"] > 50
        mark = "getComputedStyle(document.body, '::after')"
        assert person.page.evaluate(f"{mark}.content") == '"SIMULATED"'
        assert person.page.evaluate(f"{mark}.position") == "fixed"
        assert person.asked == [report.as_uri()] and person.trouble == []


@pytest.mark.slow
def test_figures_follow_the_readers_setting_inline_and_as_files_and_print_is_light(
    chromium: Any, report: Path, tmp_path: Path
) -> None:
    light, dark = "rgb(34, 34, 34)", "rgb(226, 230, 233)"
    words = "[...document.querySelectorAll('.card svg text')]"
    ink = f"getComputedStyle({words}.find(one => one.textContent != 'SIMULATED')).fill"
    svg = re.search(r"<svg.*?</svg>", report.read_text(encoding="utf-8"), re.S)
    assert svg is not None
    (tmp_path / "one.svg").write_text(
        svg[0].replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1), encoding="utf-8"
    )
    sheet = ":root{color-scheme:light dark}@media print{:root{color-scheme:light}}"
    (tmp_path / "page.html").write_text(
        f'<!doctype html><style>{sheet}</style><img src="one.svg">', encoding="utf-8"
    )
    with a_person(chromium) as person:
        for scheme, media, colour in (
            ("light", "screen", light), ("dark", "screen", dark), ("dark", "print", light),
        ):  # fmt: skip
            person.page.emulate_media(media=media, color_scheme=scheme)
            person.page.goto(report.as_uri())
            assert person.page.evaluate(ink) == colour
            person.page.goto((tmp_path / "page.html").as_uri())
            seen = person.page.locator("img").screenshot(path=tmp_path / f"{scheme}-{media}.png")
            assert seen
    of = {name: darkest_and_lightest(tmp_path / f"{name}.png") for name in
          ("light-screen", "dark-screen", "dark-print")}  # fmt: skip
    assert of["light-screen"][0] < 60 < 250 < of["light-screen"][1]
    assert of["dark-screen"][1] < 240  # its paper is the page's; letters are not white
    assert of["dark-print"] == of["light-screen"]


def darkest_and_lightest(path: Path) -> tuple[int, int]:
    """Return the darkest and the lightest grey of a picture."""
    from PIL import Image

    return Image.open(path).convert("L").getextrema()


@pytest.mark.slow
def test_the_report_is_printed_on_sheets_without_what_is_for_screens(
    chromium: Any, chromium_program: Path, report: Path, tmp_path: Path
) -> None:
    print_page(report, tmp_path / "report.pdf", str(chromium_program))
    content = (tmp_path / "report.pdf").read_bytes()
    print_page(report, tmp_path / "again.pdf", str(chromium_program))
    assert (tmp_path / "again.pdf").read_bytes() == content
    assert content.startswith(b"%PDF")
    assert 4 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 40
    with a_person(chromium) as person:
        person.page.goto(report.as_uri())
        person.page.emulate_media(media="print", color_scheme="dark")
        body = "getComputedStyle(document.body)"
        assert person.page.evaluate(f"{body}.backgroundColor") == "rgb(255, 255, 255)"
        assert person.page.evaluate(f"{body}.color") == "rgb(0, 0, 0)"
        assert person.page.evaluate("getComputedStyle(document.body, '::after').content") == "none"

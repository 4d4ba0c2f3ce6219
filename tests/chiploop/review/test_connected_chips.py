"""A chip that a valve has given to another line is shown there: what reaches it is what flows in that line."""

from __future__ import annotations

import re
from pathlib import Path

from chiploop.connections import connected
from chiploop.record.journal import Journal
from tests.chiploop.review.conftest import Page
from tests.chiploop.valve_journals import VALVED, asked, begun, programme, turned


def titles(page: Page) -> dict[str, str]:
    """Return chip -> what its mark in the rack says."""
    text = page.client.get("/runs/r").text
    return dict(re.findall(r'id="rack-(C\d+)" aria-label="C\d+, ([^"]+)"', text))


def heights(page: Page) -> tuple[dict[str, float], dict[str, float]]:
    """Return line -> height and chip -> height in the picture of the rack."""
    text = page.client.get("/runs/r").text.partition('class="rack"')[2].partition("</svg>")[0]
    lines = re.findall(r'<text x="4" y="([\d.]+)">(L\d)</text>', text)
    chips = re.findall(r'<text class="name" x="[\d.]+" y="([\d.]+)">(C\d+)\*?</text>', text)
    return {n: float(y) - 4 for y, n in lines}, {n: float(y) - 25 for y, n in chips}


def test_a_chip_is_shown_on_the_line_that_feeds_it_with_what_flows_there(
    page: Page, tmp_path: Path
) -> None:
    page.record.add_run("r", VALVED, seed=1, simulated=True)
    page.journals["r"] = tmp_path / "journal.sqlite"
    page.enter()
    with Journal(tmp_path / "journal.sqlite") as journal:
        turned(journal, "C03", "L2", 1, 0.0)
        moved = connected(VALVED, {"C03": "L2"})
        begun(journal, programme("L1", 30.0, 48.0, study=moved), 1, 24.0)
        begun(journal, programme("L2", 480.0, 48.0, study=moved), 1, 24.0)
        told = titles(page)
        assert told["C03"].startswith("fed by L2 in place of L1, donor")
        assert "drug; 480 nM" in told["C03"] and "drug; 480 nM" in told["C06"]
        assert told["C02"].startswith("line L1,") and "drug; 30 nM" in told["C02"]
        lines, chips = heights(page)
        assert chips["C03"] == lines["L2"] == chips["C06"] and chips["C02"] == lines["L1"]
        text = page.client.get("/runs/r").text
        assert "*C03: fed by L2 in place of L1" in text and text.count("in place of") == 3
        assert "line L1, now fed by L2 in place of L1" in page.client.get("/runs/r/chips/C03").text
        assert ", now " not in page.client.get("/runs/r/chips/C02").text

        turned(journal, "C03", "L1", 2, 80.0)
        assert titles(page)["C03"].startswith("line L1,") and "30 nM" in titles(page)["C03"]
        assert "in place of" not in page.client.get("/runs/r").text


def test_a_chip_of_which_nobody_knows_who_feeds_it_is_held_and_has_no_dose(
    page: Page, tmp_path: Path
) -> None:
    page.record.add_run("r", VALVED, seed=1, simulated=True)
    page.journals["r"] = tmp_path / "journal.sqlite"
    page.enter()
    with Journal(tmp_path / "journal.sqlite") as journal:
        begun(journal, programme("L2", 480.0, 48.0), 1, 24.0)
        journal.turn(asked("C06", "L3", 1, 30.0, "L2"))
    told = titles(page)
    assert told["C06"].startswith("nobody knows which line feeds it, donor")
    assert "held: a person must look" in told["C06"] and "480" not in told["C06"]
    assert "480 nM" in told["C05"]
    text = page.client.get("/runs/r").text
    assert '<text class="told"' in text and "nobody knows which line feeds it</text>" not in text
    assert "now nobody knows which line feeds it" in page.client.get("/runs/r/chips/C06").text

"""The page served by the command: what it refuses to serve, a quick look in a real browser, what it leaves behind.

Belongs here: a record that is ready-made. Not here: people who decide in a run that goes on (test_review_walk).
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from html import escape
from pathlib import Path
from typing import Any

import html5lib
import httpx
import pytest

from chiploop.report import fit_page, html_report
from chiploop.report.svg import Drawn
from flows.cli.main import command_line
from flows.cli.review import listen
from flows.review_jobs import write_page_parts
from tests.chiploop.report.conftest import INFO, RUN_ID, build
from tests.chromium import a_person, barriers, refuse_barriers
from tests.flows.cli.served_page import Served, served

LONGEST_S = 180.0


@pytest.fixture(scope="module")
def ready_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated run after its first cycle as it is left, with white paper for its figures: they take long."""
    runs = tmp_path_factory.mktemp("ready")
    with ExitStack() as stack:
        run = build(stack, runs, True, INFO)
    for file in runs.glob("journal.sqlite*"):
        shutil.move(file, run.folder / file.name)
    facts = {"seed": 5, "simulated": True, "matched": False, "token": ""}
    (run.folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for module in (html_report, fit_page):
            patch.setattr(module, "drawn", white_paper)
        write_page_parts(RUN_ID, runs)
    return runs


@pytest.fixture(scope="module")
def page(ready_made: Path) -> Iterator[Served]:
    with served(ready_made, run=RUN_ID) as found:
        yield found


def white_paper(name: str, label: str, *_: Any, **__: Any) -> Drawn:
    """Return a figure of nothing."""
    return Drawn(name, f'<svg viewBox="0 0 547 300" role="img" aria-label="{escape(label)}"></svg>')


def test_a_person_opens_a_campaign_and_looks_at_a_fit_and_nobody_is_kept_out(
    chromium: Any, page: Served
) -> None:
    with a_person(chromium) as person:
        person.page.goto(page.link)
        person.page.wait_for_url(lambda url: "/enter" not in url)
        person.page.get_by_role("heading", name="Rack").wait_for()
        assert person.page.locator("#simulated").inner_text().startswith("SIMULATED")
        assert barriers(person.page) == []
        person.page.locator("#rack-C01").click()
        person.page.locator("#chip #one-chip").wait_for()
        person.page.get_by_role("link", name="Fit", exact=True).click()
        person.page.get_by_role("heading", name="Fit after cycle 1").wait_for()
        assert person.page.locator(".card img").count() >= 5
        assert barriers(person.page) == []
        person.page.locator("svg.dots .dot").last.click()  # it lies on top
        person.page.locator("#chip #one-chip svg.course").first.wait_for()
    assert person.left(page.base) == [] and person.trouble == []


@pytest.mark.parametrize("width", [1280, 1000])
def test_the_name_of_a_run_is_cut_short_in_the_navigation_however_long_it_is(
    chromium: Any, page: Served, width: int
) -> None:
    with a_person(chromium, width=width) as person:
        person.page.goto(page.link)
        person.page.get_by_role("heading", name="Rack").wait_for()
        bar = person.page.locator("nav.ways")
        name = bar.locator(".run-name")
        assert name.get_attribute("title") == RUN_ID
        before = bar.bounding_box()["height"]
        name.evaluate("one => { one.textContent = 'review_24_chips_6_cycles_'.repeat(5) }")
        assert bar.bounding_box()["height"] == before < 60
        assert name.evaluate("one => one.scrollWidth > one.clientWidth")
        overhang = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert person.page.evaluate(overhang) == 0


def test_a_strict_reader_of_html_finds_nothing_wrong_with_any_page(page: Served) -> None:
    places = ("", "/fit", "/proposal", "/signals", "/chips/C01", "/nothing")
    with httpx.Client(base_url=page.base) as client:
        client.get(page.link.removeprefix(page.base))
        for path in ("/", "/compare", *(f"/runs/{RUN_ID}{place}" for place in places)):
            answer = client.get(path)
            assert answer.status_code == (404 if path.endswith("/nothing") else 200), path
            parser = html5lib.HTMLParser(strict=False, namespaceHTMLElements=False)
            tree = parser.parse(answer.text)
            assert parser.errors == [], path
            ids = [one.get("id") for one in tree.iter() if one.get("id")]
            assert len(ids) == len(set(ids)) and "main" in ids, path


def test_the_watch_of_a_page_hears_who_else_is_asked_and_what_keeps_people_out(
    chromium: Any,
) -> None:
    with a_person(chromium) as person:
        person.page.set_content('<html><img src="http://figures.example/1.svg"><p>x</p></html>')
        assert person.left("http://127.0.0.1:1") == ["http://figures.example/1.svg"]
        assert {rule for _, rule, _ in barriers(person.page)} >= {"image-alt", "html-has-lang"}
        assert person.trouble


def test_a_run_that_is_not_there_is_told_before_anything_is_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["review", "nothing", "--runs", str(tmp_path), "--no-open"]) == 2
    assert "there is no run nothing" in capsys.readouterr().err


def test_a_reply_never_waits_for_the_acknowledgement_of_the_one_before() -> None:
    async def is_sent_at_once() -> bool:
        met: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        with listen(0) as listener:
            server = await asyncio.start_server(lambda _, writer: met.put(writer), sock=listener)
            _, visitor = await asyncio.open_connection(*listener.getsockname())
            writer = await met.get()
            sent_at_once = writer.get_extra_info("socket").getsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY
            )
            for one in (visitor, writer):
                one.close()
                await one.wait_closed()
            server.close()
        return bool(sent_at_once)

    with ThreadPoolExecutor() as pool:  # the browser of other tests has its loop in this thread
        assert pool.submit(lambda: asyncio.run(is_sent_at_once())).result()


def test_a_page_that_is_closed_leaves_no_process(tmp_path: Path) -> None:
    from flows.review_hands import ProcessHands

    hands = ProcessHands(tmp_path)
    answer = hands.carry_out(["reject", "nothing", "--why=no"])
    assert answer.exit_code == 2 and "no record" in answer.refusal
    worker = hands._decisions._process
    assert worker is not None and worker.poll() is None
    hands.start("parts", "nothing")
    until_s = time.monotonic() + LONGEST_S
    while hands.standing("parts", "nothing").state in ("waiting", "running"):
        assert time.monotonic() < until_s
        time.sleep(0.02)
    assert hands.standing("parts", "nothing").state == "failed"
    assert "there is no run nothing" in hands.standing("parts", "nothing").said
    hands.close()
    assert worker.poll() is not None


def test_a_lesson_is_calculated_in_a_process_of_its_own_that_ends_with_the_page(
    tmp_path: Path,
) -> None:
    from flows.review_hands import LEARNERS, ProcessHands

    hands = ProcessHands(tmp_path)
    try:
        begun = hands.teach(["--seed=3", "--case=4"])
        assert begun.exit_code == 0 and begun.told["asks"] == "tests"
        bad = hands.teach(["--seed=3", "--case=4", "--answer=blood"])
        assert bad.exit_code == 2 and "'blood' is no test" in bad.refusal
        worker = hands._lessons._process
        assert worker is not None and worker.poll() is None
        assert hands._decisions._process is None
        for _ in range(LEARNERS):
            assert hands._learners.acquire(blocking=False)
        assert "too many lessons" in hands.teach(["--seed=3", "--case=4"]).refusal
    finally:
        hands.close()
    assert worker.poll() is not None


@pytest.mark.slow
def test_a_learner_plays_a_case_on_a_page_without_script(chromium: Any, tmp_path: Path) -> None:
    with served(tmp_path) as own:
        page = chromium.new_context(java_script_enabled=False).new_page()
        page.goto(own.link)
        page.wait_for_url(lambda url: "/enter" not in url)
        page.goto(f"{own.base}/teach")
        page.get_by_label("Case").fill("4")
        page.get_by_role("button", name="Begin").click()
        page.get_by_label("serum CCL17").check()
        page.get_by_role("button", name="Order the chosen tests").click()
        for week in (4, 8, 16):
            # the style, once it is there, puts a space before the comma
            page.get_by_role("radio", name=re.compile(r"^price 8 ?, dupilumab$")).check()
            page.get_by_label("Probability").fill("60")
            page.get_by_role("button", name=f"Treat until week {week}").click()
        page.get_by_role("heading", name="Score").wait_for()
        assert page.get_by_text("Research use only").count() >= 2
        assert own.rss_mb < 90.0
        # the same page with script: nothing that keeps a screen reader out
        scripted = chromium.new_context()
        scripted.add_cookies(page.context.cookies())
        again = scripted.new_page()
        again.goto(page.url)
        refuse_barriers(again)

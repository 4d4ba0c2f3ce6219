"""A person at the page, in a real headless Chromium, with a real run, real commands and emulated pumps."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chiploop.record.record import Record
from flows.cli.main import command_line
from tests.flows.conftest import Warm
from tests.flows.run_checks import check_volumes
from tests.flows.test_closed_loop import wait_for_proposals, waiting_run
from tests.flows.test_proposals import doses_given

PROJECT = Path(__file__).resolve().parents[3]
LONGEST_S = 180.0
MOST_RSS_MB = 90.0


@contextmanager
def served(runs: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Yield the link of the page over some runs, as `chiploop review` prints it, and the server."""
    command = [sys.executable, "-c", "from flows.cli.main import main; main()"]
    process = subprocess.Popen(
        [*command, "review", "--runs", str(runs), "--no-open"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=PROJECT,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
    finally:
        process.terminate()
        process.wait(20.0)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The system's Chromium; none is downloaded."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("there is no Chromium here (Debian: apt install chromium)")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=found, args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        yield browser
        browser.close()


def refuse_barriers(page: Any) -> None:
    """Fail where axe-core finds a serious barrier for a keyboard or a screen reader on the page."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is not installed"
    )
    found = axe.Axe().run(page).response["violations"]
    grave = [(one["id"], one["nodes"][0]["html"][:200]) for one in found
             if one["impact"] in ("serious", "critical")]  # fmt: skip
    assert grave == [], page.url


def rss_mb(pid: int) -> float:
    """Return the memory of a process."""
    said = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert said is not None
    return int(said[1]) * 1024 / 1e6


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_person_looks_excludes_refits_edits_and_approves_and_the_pumps_deliver(
    warm: Warm, chromium: Any, tmp_path: Path
) -> None:
    running, runs, run_id = waiting_run(warm, tmp_path)
    asked: list[str] = []
    trouble: list[str] = []
    with served(runs) as (link, server):
        base = link.partition("/enter")[0]
        context = chromium.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(LONGEST_S * 1000)
        page = context.new_page()
        page.on("request", lambda one: asked.append(one.url))
        page.on("console", lambda one: trouble.append(one.text) if one.type == "error" else None)
        page.on("pageerror", lambda one: trouble.append(str(one)))
        page.goto(link)
        page.get_by_role("link", name=run_id).click()
        page.get_by_text("The doses of cycle 1 wait for a decision").wait_for()
        refuse_barriers(page)
        page.get_by_role("link", name="Look at the doses").click()
        page.get_by_role("button", name="Approve these doses").click()
        page.get_by_text("c01/p1 approved by").wait_for()

        # a page that is open while the run goes on shows what is new without being loaded again
        page.goto(f"{base}/runs/{run_id}")
        page.evaluate("window.isTheSamePage = true")
        page.get_by_text("The doses of cycle 2 wait for a decision").wait_for()
        wait_for_proposals(runs, 2, running)
        assert page.evaluate("window.isTheSamePage")
        assert page.locator("svg.timeline rect.c-dose").count() == 2

        # the fit; a dot of a chip; its readings left out with a reason; fitted again
        page.get_by_role("navigation").get_by_role("link", name="Fit", exact=True).click()
        page.locator("svg.dots .dot").first.wait_for()
        assert page.locator(".card img").count() >= 5
        page.locator('.dot[data-chip="C02"]').first.click()
        page.get_by_role("heading", name="C02 line L2").wait_for()
        refuse_barriers(page)
        page.locator("form.decide").get_by_label("Reason").fill("air <b>bubble</b>")
        page.locator("form.decide").get_by_label("Readings").select_option("CCL26")
        page.get_by_role("button", name="Leave out", exact=True).first.click()
        page.get_by_text("left out of every later fit by").wait_for()
        page.get_by_role("button", name="Fit again").click()
        page.locator("#again-part").get_by_text("1 left out").wait_for()
        page.get_by_role("columnheader", name="Fitted again").wait_for()

        # a dose above the limit is refused with the limit; one inside it is scored, and given
        page.goto(f"{base}/runs/{run_id}/proposal")
        dose = page.get_by_label("L1", exact=True)
        before = dose.input_value()
        new = "90 nM" if before != "90 nM" else "70 nM"
        dose.fill("5 uM")
        page.get_by_role("button", name="Score these doses").click()
        refusal = page.locator("#scored .said.bad")
        refusal.wait_for()
        assert "5000 nM on L1" in refusal.inner_text() and "4000" in refusal.inner_text()
        assert page.get_by_role("button", name="Approve your doses").count() == 0
        page.get_by_label("L1", exact=True).fill(new)
        page.get_by_role("button", name="Score these doses").click()
        own = page.locator("#approve-own")
        own.wait_for()
        refuse_barriers(page)
        own.get_by_label("Reason").fill("nearer the middle")
        own.get_by_role("button", name="Approve your doses").click()
        page.get_by_text("c02/p2 approved by").wait_for()
        page.goto(f"{base}/runs/{run_id}")
        page.locator(".s-finished").wait_for()
        assert page.locator("svg.timeline rect.c-dose").count() >= 3
        page.get_by_text("c02/p2: approve by").wait_for()
        assert rss_mb(server.pid) < MOST_RSS_MB
        context.close()
    assert running.wait().code == 0
    assert doses_given(runs, run_id, 2)["L1"] == float(new.removesuffix(" nM"))
    check_volumes(runs, run_id)
    assert {url.partition("/runs")[0].partition("/static")[0].partition("/enter")[0] for url in asked} <= {
        base, f"{base}/"
    }, "a request left loopback"  # fmt: skip
    assert trouble == []
    with Record(str(runs / "record.sqlite")) as record:
        (said,) = record.exclusions(run_id)
        assert (said.chip_id, said.readout, said.why) == ("C02", "CCL26", "air <b>bubble</b>")
        assert record.verify().faults == ()


def test_a_run_that_is_not_there_is_told_before_anything_is_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["review", "nothing", "--runs", str(tmp_path), "--no-open"]) == 2
    assert "there is no run nothing" in capsys.readouterr().err


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
    with served(tmp_path) as (link, server):
        base = link.partition("/enter")[0]
        page = chromium.new_context(java_script_enabled=False).new_page()
        page.goto(link)
        page.goto(f"{base}/teach")
        page.get_by_label("Case").fill("4")
        page.get_by_role("button", name="Begin").click()
        page.get_by_label("serum CCL17").check()
        page.get_by_role("button", name="Order the chosen tests").click()
        for week in (4, 8, 16):
            page.get_by_role("radio", name="price 8, dupilumab", exact=True).check()
            page.get_by_label("Probability").fill("60")
            page.get_by_role("button", name=f"Treat until week {week}").click()
        page.get_by_role("heading", name="Score").wait_for()
        assert page.get_by_text("Research use only").count() >= 2
        assert rss_mb(server.pid) < MOST_RSS_MB
        # the same page with script: nothing that keeps a screen reader out
        scripted = chromium.new_context()
        scripted.add_cookies(page.context.cookies())
        again = scripted.new_page()
        again.goto(page.url)
        refuse_barriers(again)

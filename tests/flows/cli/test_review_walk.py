"""People at the page, in a real headless Chromium, with a real run, real commands and emulated pumps.

Belongs here: what two persons do from the first look to the last dose. Not here: the page alone
(tests.chiploop.review), a quick look at it (test_review).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chiploop.record.record import Record
from flows.cli.decide import os_login
from tests.chromium import Person, a_person, refuse_barriers
from tests.flows.cli.served_page import served
from tests.flows.conftest import SMALL_STUDY, Warm, edited
from tests.flows.run_checks import check_volumes, only_run, pump_truth
from tests.flows.test_closed_loop import wait_for_proposals
from tests.flows.test_proposals import doses_given

PATIENCE_S = 180.0
MOST_RSS_MB = 90.0
TWO_PERSONS = ("by: auto", "by: person, two_above: 10 %")
REASON = "air <b>bubble</b>"
SECOND = "maria"


@pytest.fixture
def people(chromium: Any) -> Iterator[tuple[Person, Person]]:
    """Two persons, each at a browser of their own."""
    with a_person(chromium, PATIENCE_S) as one, a_person(chromium, PATIENCE_S) as other:
        yield one, other


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_persons_look_exclude_refit_edit_and_approve_and_the_pumps_deliver(
    warm: Warm, chromium: Any, people: tuple[Person, Person], tmp_path: Path
) -> None:
    first, second = people
    runs = tmp_path / "runs"
    study = edited(SMALL_STUDY, tmp_path, [TWO_PERSONS])
    running = warm.start("simulate", study, "--runs", runs, "--json")
    wait_for_proposals(runs, 1, running)
    run_id = only_run(runs)
    with served(runs) as own, served(runs, login=SECOND) as hers:
        first.page.goto(own.link)
        first.page.wait_for_url(lambda url: "/enter" not in url)
        # the link's own page goes on to the campaigns by itself; nothing is looked at on the way
        first.page.get_by_role("link", name=run_id).wait_for()
        refuse_barriers(first.page)
        first.page.get_by_role("link", name=run_id).click()
        first.page.get_by_text("The doses of cycle 1 wait for a decision").wait_for()
        refuse_barriers(first.page)
        two_persons_approve_the_pilot(first.page, second.page, hers.link, runs, run_id)

        # her page stays open while the run goes on and shows what is new without being loaded again
        second.page.goto(f"{hers.base}/runs/{run_id}")
        second.page.evaluate("window.isTheSamePage = true")
        second.page.get_by_text("The doses of cycle 2 wait for a decision").wait_for()
        wait_for_proposals(runs, 2, running)
        assert second.page.locator("svg.timeline rect.c-dose").count() == 2

        look_at_the_fit(first.page, f"{own.base}/runs/{run_id}")
        leave_out_a_chip_and_fit_again(first.page)
        look_at_what_is_beside(first.page, own.base, run_id)
        who_only_looks_has_no_form(chromium, own.viewer_link, f"{own.base}/runs/{run_id}")
        first.page.goto(f"{own.base}/runs/{run_id}/proposal")
        second.page.evaluate("window.isTheSamePage && window.scrollTo(0, 0)")
        new = edit_a_dose_and_approve(first.page)

        # what he decided runs to its end on her page, which was never loaded again
        second.page.locator("#live .s-finished").wait_for()
        assert second.page.locator("svg.timeline rect.c-dose").count() >= 3
        second.page.get_by_text(f"c02/p2: approved by {os_login()}: nearer the middle").wait_for()
        assert second.page.evaluate("window.isTheSamePage")
        refuse_barriers(second.page)
        assert max(own.rss_mb, hers.rss_mb) < MOST_RSS_MB
    assert first.left(own.base) == [] and second.left(hers.base) == []
    assert first.trouble == [] and second.trouble == []
    assert running.wait().code == 0
    assert doses_given(runs, run_id, 2)["L1"] == float(new.removesuffix(" nM"))
    check_volumes(runs, run_id)
    assert sum(pump.delivered_ul for pump in pump_truth(runs / run_id).values()) > 0.0
    with Record(str(runs / "record.sqlite")) as record:
        (said,) = record.exclusions(run_id)
        assert (said.chip_id, said.readout, said.why, said.by) == (
            "C02", "CCL26", REASON, os_login(),
        )  # fmt: skip
        pilot, _, own_doses = (one.key for one in record.proposals(run_id))
        assert [one.by for one in record.approvals(run_id, pilot)] == [os_login(), SECOND]
        decided = record.decision_for(own_doses)
        assert decided is not None and (decided.action, decided.by) == ("approve", os_login())
        assert record.verify().faults == ()


def two_persons_approve_the_pilot(
    first: Any, second: Any, her_link: str, runs: Path, run_id: str
) -> None:
    """Nobody knows the risk of the first doses, so that one person is not enough."""
    first.get_by_role("link", name="Look at the doses").click()
    first.get_by_text("Two persons must approve").wait_for()
    second.goto(her_link)
    second.wait_for_url(lambda url: "/enter" not in url)
    second.get_by_role("link", name=run_id).click()
    second.get_by_role("link", name="Look at the doses").click()
    second.get_by_text("So far: nobody").wait_for()
    first.get_by_role("button", name="Approve these doses").click()
    first.get_by_text("A second person must approve; until then nothing is given").wait_for()
    assert all(pump.starts == 0 for pump in pump_truth(runs / run_id).values())
    first.reload()
    first.get_by_text(f"So far: {os_login()}").wait_for()
    first.get_by_text("the second approval must be another person's").wait_for()
    assert first.get_by_role("button", name="Approve these doses").count() == 0
    refuse_barriers(first)
    # her page, which was open all the time, says that it is not the newest any more
    second.get_by_text("Something was decided or proposed since").wait_for()
    second.get_by_role("link", name="Load it anew").click()
    second.get_by_text(f"So far: {os_login()}").wait_for()
    refuse_barriers(second)
    second.get_by_role("button", name="Approve these doses").click()
    second.get_by_text(f"c01/p1 approved by {SECOND}").wait_for()


def look_at_the_fit(page: Any, address: str) -> None:
    """The fit is drawn once and shown; its figures are there."""
    page.goto(address)
    page.get_by_role("navigation").get_by_role("link", name="Fit", exact=True).click()
    page.locator("svg.dots .dot").first.wait_for()
    figures = page.locator(".card img")
    assert figures.count() >= 5
    for i in range(figures.count()):
        figures.nth(
            i
        ).scroll_into_view_if_needed()  # a figure is loaded when somebody comes near it
        page.wait_for_function("one => one.naturalWidth > 100", arg=figures.nth(i).element_handle())
    refuse_barriers(page)


def leave_out_a_chip_and_fit_again(page: Any) -> None:
    """A dot is chosen, its chip's readings are left out with a reason, and the run is fitted again."""
    page.locator('.dot[data-chip="C02"]').first.click()
    page.get_by_role("heading", name="C02 line L2").wait_for()
    refuse_barriers(page)
    form = page.locator("form.decide").filter(has_text="Leave readings out")
    leave_out = form.get_by_role("button", name="Leave out", exact=True)
    form.get_by_label("Readings").select_option("CCL26")
    leave_out.click()  # the browser itself asks for the reason
    assert form.get_by_label("Reason").evaluate("one => one.validity.valueMissing")
    form.get_by_label("Reason").fill(REASON)
    leave_out.click()
    page.get_by_text("left out of every later fit by").wait_for()
    refuse_barriers(page)
    page.get_by_role("button", name="Fit again").click()
    page.locator("#again-part").get_by_text("1 left out").wait_for()
    page.get_by_role("columnheader", name="Fitted again").wait_for()
    (before, after) = (
        page.locator("#again-part tbody tr").first.locator("td").nth(i).inner_text() for i in (2, 3)
    )
    assert before != after and before.strip("–") and after
    refuse_barriers(page)


def look_at_what_is_beside(page: Any, base: str, run_id: str) -> None:
    """Raw signals, the wells of a plate, a chip's own page and comparisons keep nobody out either."""
    page.goto(f"{base}/runs/{run_id}/signals")
    until_drawn = page.locator("figure .card")
    while not until_drawn.count():
        page.wait_for_timeout(500)
        page.reload()
    refuse_barriers(page)
    page.get_by_role("link", name="Wells of this plate").first.click()
    page.get_by_role("button", name="Leave out", exact=True).wait_for()
    assert page.get_by_role("checkbox").count() > 8
    refuse_barriers(page)
    page.goto(f"{base}/runs/{run_id}/fit")
    page.get_by_role("link", name="Two models or fits of this run side by side").click()
    page.get_by_role("heading", level=1).wait_for()
    refuse_barriers(page)
    page.goto(f"{base}/runs/{run_id}/chips/C02")
    page.get_by_text(f"left out by {os_login()}: {REASON}").wait_for()
    refuse_barriers(page)
    page.goto(f"{base}/compare?one={run_id}&other={run_id}")
    refuse_barriers(page)


def who_only_looks_has_no_form(chromium: Any, link: str, address: str) -> None:
    """A third person with the link of those who look sees the doses and can not decide."""
    with a_person(chromium, PATIENCE_S) as third:
        third.page.goto(link)
        third.page.wait_for_url(lambda url: "/enter" not in url)
        third.page.goto(f"{address}/proposal")
        third.page.get_by_text("This session only looks").wait_for()
        assert third.page.locator("form").count() == 0
        refuse_barriers(third.page)
        assert third.trouble == [] and third.left(link) == []


def edit_a_dose_and_approve(page: Any) -> str:
    """A dose above the limit is refused with the limit; one inside it is scored, and approved. Returns it."""
    dose = page.get_by_label("L1", exact=True)
    new = "90 nM" if dose.input_value() != "90 nM" else "70 nM"
    dose.fill("5 uM")
    page.get_by_role("button", name="Score these doses").click()
    refusal = page.locator("#scored .said.bad")
    refusal.wait_for()
    assert "5000 nM on L1" in refusal.inner_text() and "limit of 4000 nM" in refusal.inner_text()
    assert page.get_by_role("button", name="Approve your doses").count() == 0
    refuse_barriers(page)
    page.get_by_label("L1", exact=True).fill(new)
    page.get_by_role("button", name="Score these doses").click()
    own = page.locator("#approve-own")
    own.wait_for()
    refuse_barriers(page)
    own.get_by_label("Reason").fill("nearer the middle")
    own.get_by_role("button", name="Approve your doses").click()
    page.get_by_text("c02/p2 approved by").wait_for()
    refuse_barriers(page)
    return new

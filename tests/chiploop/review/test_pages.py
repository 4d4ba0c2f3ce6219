"""What is shown: the live part, doses decided elsewhere, many campaigns; and what the server loads for it."""

from __future__ import annotations

import subprocess
import sys

from tests.chiploop.review.conftest import PROPOSAL, RUN, Page


def test_the_live_part_answers_only_where_something_is_new(page: Page) -> None:
    page.enter()
    text = page.client.get(f"/runs/{RUN}").text
    address = text.partition('id="live" hx-get="')[2].partition('"')[0].replace("&amp;", "&")
    assert page.client.get(address).status_code == 204
    page.record.add_state(RUN, "running", 31.0, "a new thing")
    fresh = page.client.get(address, headers={"hx-request": "true"})
    assert fresh.status_code == 200 and "a new thing" in fresh.text and "<html" not in fresh.text


def test_doses_that_were_decided_elsewhere_are_told_on_the_open_page(page: Page) -> None:
    page.enter()
    text = page.client.get(PROPOSAL).text
    address = text.partition('hx-get="')[2].partition('"')[0].replace("&amp;", "&")
    assert page.client.get(address).status_code == 204
    page.record.add_decision("r1/c02/p1", "reject", "bob", "no")
    assert "Something was decided" in page.client.get(address).text


def test_many_campaigns_and_many_lines_come_in_pages(page: Page) -> None:
    from chiploop.study import load_study
    from tests.chiploop.review.conftest import STUDY

    study = load_study(STUDY)
    for i in range(30):
        page.record.add_run(f"s{i:02d}", study, seed=i, simulated=False)
    page.enter()
    first, second = (page.client.get("/", params={"page": n}).text for n in (1, 2))
    assert "s29" in first and "s04" not in first and "s04" in second and RUN in second
    for odd in ("0", "-1", "99", "x", "1" * 50, "²"):
        assert page.client.get("/", params={"page": odd}).status_code == 200


def test_the_server_loads_nothing_that_draws_or_computes() -> None:
    asked = (
        "import sys; import chiploop.review.pages, flows.cli.review, flows.review_hands, uvicorn, flows.cli.main;"
        "from pathlib import Path; from flows.cli.review import desk_of, status_of;"
        "desk_of(Path('.'), None);"
        "import flows.run_status, flows.clock, flows.service, flows.holding;"
        "print([n for n in ('matplotlib', 'scipy', 'numba', 'llvmlite', 'prefect', 'skimage', 'xarray') "
        "if n in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "[]"

"""What the first reply would wait for is done before the link is printed, and the server stays small."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from chiploop.errors import ChiploopError
from chiploop.review.contracts import Desk, Status
from chiploop.review.front import HERE, environment
from chiploop.review.warm_up import warm_up
from tests.chiploop.review.conftest import NotedHands, Page


def desk_of(page: Page, tmp_path: Path) -> Desk:
    """Return a desk over the page's record."""
    return Desk(
        runs=tmp_path,
        open_record=lambda: page.record,
        status_of=lambda run_id: Status("finished", 2, 2, 62.0, 62.0),
        journal_of=lambda run_id: None,
        hands=NotedHands(),
        login="alice",
    )


def test_every_template_is_ready_and_nothing_was_asked_of_the_hands(
    page: Page, tmp_path: Path
) -> None:
    environment.cache_clear()
    desk = desk_of(page, tmp_path)
    warm_up(desk)
    cache = environment().cache
    assert cache is not None
    ready = {name for _, name in cache.keys()}
    assert {path.name for path in (HERE / "templates").glob("*.j2")} <= ready
    assert {"parts.html.j2", "page_style.css.j2"} <= ready
    assert isinstance(desk.hands, NotedHands)
    assert desk.hands.asked == [] and desk.hands.jobs == []


def test_a_record_that_can_not_be_read_is_told_by_the_page_and_not_by_its_start(
    page: Page, tmp_path: Path
) -> None:
    def broken() -> None:
        raise ChiploopError("the record is broken")

    warm_up(replace(desk_of(page, tmp_path), open_record=broken))
    warm_up(replace(desk_of(page, tmp_path), open_record=lambda: None))
    with pytest.raises(ZeroDivisionError):  # a mistake of ours is not hidden
        warm_up(replace(desk_of(page, tmp_path), status_of=lambda run_id: 1 // 0))


def test_the_server_loads_no_numbers_library_to_read_a_record() -> None:
    asked = (
        "import sys; import chiploop.review.pages, flows.cli.review, flows.review_hands, uvicorn, flows.cli.main;"
        "import flows.run_status, flows.clock, flows.service, flows.holding, chiploop.review.warm_up;"
        "print([n for n in ('numpy', 'pandas', 'ruamel', 'rich') if n in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "[]"

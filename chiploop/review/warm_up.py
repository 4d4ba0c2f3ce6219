"""What the first reply would otherwise wait for: templates made ready, the record opened and asked once.

Belongs here: doing it before the link is printed. Not here: what pages show (pages), where the server starts.
"""

from __future__ import annotations

import contextlib
import gc

from chiploop.errors import ChiploopError
from chiploop.review.campaigns import campaigns
from chiploop.review.chip_view import one_chip
from chiploop.review.contracts import Desk
from chiploop.review.front import HERE, environment
from chiploop.review.proposal_view import proposal_view
from chiploop.review.run_view import run_view

SHARED = ("parts.html.j2", "page_style.css.j2")
"""Templates of the report that the page uses too."""


def warm_up(desk: Desk) -> None:
    """Make every template of the page ready and ask the record what the pages of its newest run ask.

    What can not be read is told by the page that asks for it, not here.
    """
    templates = environment()
    for name in (*(path.name for path in sorted((HERE / "templates").glob("*.j2"))), *SHARED):
        templates.get_template(name)
    with contextlib.suppress(ChiploopError, OSError, ValueError, KeyError):
        _ask_once(desk)
    gc.collect()
    gc.freeze()  # what is there by now stays; no later collection has to walk it


def _ask_once(desk: Desk) -> None:
    record = desk.open_record()
    if record is None:
        return
    shown = campaigns(desk, record, 1)
    for row in shown.rows[:1]:
        run = record.run(row.run_id)
        assert run is not None
        view = run_view(desk, record, run)
        for chip in view.chips[:1]:
            one_chip(record, run.run_id, chip.chip)
        proposal_view(record, run, desk.login, desk.time_h(run.run_id))

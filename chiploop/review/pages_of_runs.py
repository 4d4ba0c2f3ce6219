"""The pages of campaigns: all of them, one with its rack and timeline, one chip, two beside each other.

Belongs here: requests and answers. Not here: what is shown (campaigns, run_view, chip_view, side_by_side), markup
(templates), what a form of a chip does (deciding).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from chiploop.record.rows import RecordedRun
from chiploop.review.campaigns import campaigns
from chiploop.review.chip_view import Readings, one_chip
from chiploop.review.choosing import MANY_CHIPS, Choice
from chiploop.review.front import Front, Handler, number_in
from chiploop.review.rack import SHAPES, outline, rack_of
from chiploop.review.run_view import (
    STATE_WORDS,
    RunView,
    connection_now,
    fed_by,
    run_view,
    seen_now,
)
from chiploop.review.side_by_side import side_by_side
from chiploop.review.timeline import timeline_of


@dataclass(frozen=True)
class RunPages:
    """What is shown of runs."""

    front: Front

    def shown(self) -> dict[str, Handler]:
        """Return addresses for everybody with a session."""
        return {
            "/": self.campaigns,
            "/runs/{run}": self.campaign,
            "/runs/{run}/live": self.live,
            "/runs/{run}/chips/{chip}": self.chip,
            "/compare": self.compare,
        }

    async def campaigns(self, request: Request) -> Response:
        """All runs, newest first."""
        found = (
            campaigns(self.front.desk, self.front.record(), number_in(request, "page"))
            if (self.front.has_record())
            else None
        )
        return self.front.show(
            request,
            "campaigns.html.j2",
            {"found": found, "here": "campaigns", "title": "Campaigns"},
        )

    async def campaign(self, request: Request) -> Response:
        """One run: rack, timeline, what waits."""
        return self.front.show(request, "campaign.html.j2", self.campaign_values(request))

    def campaign_values(self, request: Request) -> dict[str, Any]:
        """Return what the campaign page and its live part show."""
        run = self.front.run_of(request)
        asked = request.query_params
        choice = Choice(number_in(request, "lines"), asked.get("donor", ""), asked.get("state", ""))
        view = run_view(self.front.desk, self.front.record(), run, choice)
        return {
            **self.front.about(run, "campaign", view.title),
            **pictures_of(view),
        }

    async def live(self, request: Request) -> Response:
        """The part of the campaign page that changes; 204 where nothing has."""
        run = self.front.run_of(request)
        if request.query_params.get("seen") == seen_now(
            self.front.desk, self.front.record(), run.run_id
        ):
            return Response(status_code=204)
        return self.front.show(request, "live.html.j2", self.campaign_values(request))

    async def chip(self, request: Request) -> Response:
        """One chip with every reading, and the form that leaves readings out."""
        run = self.front.run_of(request)
        return self.front.show(request, "chip.html.j2", self.chip_values(request, run))

    def chip_values(self, request: Request, run: RecordedRun) -> dict[str, Any]:
        """Return what is shown of a chip; 404 where the run has none of that name."""
        asked = Readings(request.query_params.get("readout", ""), number_in(request, "page"))
        found = one_chip(self.front.record(), run.run_id, request.path_params["chip"], asked)
        if found is None:
            raise HTTPException(404, "The run has no such chip.")
        connection = connection_now(self.front.desk, run.run_id)
        return {
            **self.front.about(run, "chip", f"chip {found.chip}"),
            "chip": found,
            "fed_by": fed_by(found.line, connection.get(found.chip, found.line)),
            "state": "",
            "said": "",
        }

    async def compare(self, request: Request) -> Response:
        """Two runs beside each other."""
        record = self.front.record()
        runs = record.runs()
        known = {run.run_id: run for run in runs}
        names = [request.query_params.get(name, "") for name in ("one", "other")]
        chosen = [known[name] for name in names if name in known]
        found = side_by_side(record, *chosen) if len(chosen) == 2 else None
        values = {
            "runs": [run.run_id for run in reversed(runs)][:200],
            "chosen": names,
            "found": found,
            "simulated": any(run.simulated for run in chosen),
            "here": "compare",
            "title": "Compare two runs",
        }
        return self.front.show(request, "compare.html.j2", values)


def pictures_of(view: RunView) -> dict[str, Any]:
    """Return a run's view with its pictures."""
    return {
        "view": view,
        "rack": rack_of(view.lines, view.chips),
        "timeline": timeline_of(view),
        "state_words": STATE_WORDS,
        "many": MANY_CHIPS,
        "donors": donor_marks(view.donors),
    }


def donor_marks(donors: Collection[str]) -> list[tuple[str, str]]:
    """Return donors with their shapes, for a legend."""
    return [(donor, outline(i % len(SHAPES), 9.0, 9.0, 6.5)) for i, donor in enumerate(donors)]

"""The page of the doses that wait for a decision, with their card.

Belongs here: requests and answers. Not here: what is shown (proposal_view), what its forms do (deciding), markup
(templates).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from chiploop.record.rows import RecordedRun
from chiploop.review.front import Front, Handler
from chiploop.review.proposal_view import ProposalView, proposal_view


@dataclass(frozen=True)
class DosePages:
    """What is shown of proposals."""

    front: Front

    def shown(self) -> dict[str, Handler]:
        """Return addresses for everybody with a session."""
        return {
            "/runs/{run}/proposal": self.proposal,
            "/runs/{run}/proposal/state": self.proposal_state,
        }

    async def proposal(self, request: Request) -> Response:
        """The doses that wait for a decision, with their card."""
        run = self.front.run_of(request)
        return self.front.show(request, "proposal.html.j2", self.proposal_values(run))

    def proposal_of(self, run: RecordedRun) -> ProposalView | None:
        """Return the last proposal as it stands before this login."""
        return proposal_view(
            self.front.record(), run, self.front.desk.login, self.front.desk.time_h(run.run_id)
        )

    def proposal_values(self, run: RecordedRun) -> dict[str, Any]:
        """Return what the page of the doses shows."""
        found = self.proposal_of(run)
        study = self.front.record().study_content(run.run_id)
        given = found is not None and any(
            c.cycle >= found.cycle for c in self.front.record().calibrations(run.run_id)
        )
        return {
            **self.front.about(run, "proposal", "doses"),
            "found": found,
            "given": given,
            "before": {} if found is None else shown_doses(found),
            "schedules": list(study.get("schedules") or {}),
            "limits": study["limits"],
            "runs_folder": str(self.front.desk.runs),
            "state": "",
            "said": "",
            "edit": None,
        }

    async def proposal_state(self, request: Request) -> Response:
        """Whether the doses that a page shows are still those that wait; 204 where they are."""
        run = self.front.run_of(request)
        found = self.proposal_of(run)
        now = "" if found is None else standing_of(found)
        if request.query_params.get("seen") == now:
            return Response(status_code=204)
        return self.front.show(request, "newer.html.j2", self.front.about(run, "proposal", "doses"))


def shown_doses(found: ProposalView) -> dict[str, tuple[str, str]]:
    """Return line -> (dose, schedule) as the form shows them."""
    return {
        dose["line"]: (
            f"{dose['asked_nm']:g} nM" if dose["asked_nm"] else "vehicle",
            str(dose.get("schedule", "whole")),
        )
        for dose in found.content["doses"]
    }


def standing_of(found: ProposalView) -> str:
    """Return a text that is another one where somebody has decided or approved."""
    expired = found.end is not None and found.end.over
    return f"{found.key}.{len(found.given)}.{found.decision is not None}.{expired}"

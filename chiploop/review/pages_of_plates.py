"""The page of a plate: its wells, what came of them, and the form that leaves wells out.

Belongs here: requests and answers; the form becomes one command. Not here: what is shown (plate_view), whether it
is allowed (the command), markup (templates).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from chiploop.record.rows import RecordedRun
from chiploop.review import decisions
from chiploop.review.contracts import Answer
from chiploop.review.front import Front, Handler
from chiploop.review.plate_view import one_plate

FIELD = "well-"
"""Beginning of the name of a well's box."""


@dataclass(frozen=True)
class PlatePages:
    """What is shown of plates, and their form."""

    front: Front

    def shown(self) -> dict[str, Handler]:
        """Return addresses for everybody with a session."""
        return {"/runs/{run}/plates/{plate}": self.plate}

    def decided(self) -> dict[str, Handler]:
        """Return addresses of forms, for sessions that may decide."""
        return {"/runs/{run}/plates/{plate}/exclude": self.exclude}

    async def plate(self, request: Request) -> Response:
        """One plate with every well, and the form that leaves wells out."""
        run = self.front.run_of(request)
        return self.front.show(request, "plate.html.j2", self.plate_values(request, run))

    def plate_values(self, request: Request, run: RecordedRun) -> dict[str, Any]:
        """Return what is shown of a plate; 404 where the run has none of that name."""
        found = one_plate(self.front.record(), run.run_id, request.path_params["plate"])
        if found is None:
            raise HTTPException(404, "The run has read no such plate.")
        return {
            **self.front.about(run, "plate", f"plate {found.plate}"),
            "plate": found,
            "state": "",
            "said": "",
        }

    async def exclude(self, request: Request) -> Response:
        """Leave wells out of what is calculated of the plate, or take them in again."""
        run, form = self.front.run_of(request), request.state.form
        values = self.plate_values(request, run)
        plate = values["plate"]
        wells = [name.removeprefix(FIELD) for name in form if name.startswith(FIELD)]
        try:
            why = decisions.reason_in(form, "leaving wells out")
            if not wells or not set(wells) <= plate.wells:
                raise decisions.FormIncomplete(
                    "tick the wells that are meant, of those in which something stood; nothing was changed"
                )
        except decisions.FormIncomplete as problem:
            values |= {"state": "bad", "said": str(problem)}
            return self.front.show(request, "plate.html.j2", values)
        words = decisions.exclude_wells_words(
            run.run_id, plate.plate, wells, why, form.get("action") == "take back"
        )
        answer = await run_in_threadpool(self.front.desk.hands.carry_out, words)
        values = self.plate_values(request, run)
        said = answer.refusal or wells_words(answer)
        values |= {"state": "bad" if answer.refusal else "good", "said": said}
        return self.front.show(request, "plate.html.j2", values)


def wells_words(answer: Answer) -> str:
    """Return what is said after wells were left out or taken in again."""
    told = answer.told
    what = "left out" if told["excluded"] else "taken in again"
    said = (
        f"{', '.join(told['wells'])} {what} by {told['by']}; the plate was calculated again and "
        f"{told['readouts']} readings changed. Fits that were made stay as they were."
    )
    if told["missing"]:
        said += f" Without any well and therefore missing now: {', '.join(told['missing'])}."
    return said

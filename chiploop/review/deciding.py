"""What the forms of the page do: approve, score other doses, reject, leave readings out.

Belongs here: a form -> one command -> what is said of it. Not here: the words of the command (decisions), whether
it is allowed (the command, which the hands carry out), who may (tickets), what is shown (pages_of_...).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from chiploop.record.rows import RecordedRun
from chiploop.review import decisions
from chiploop.review.contracts import Answer
from chiploop.review.front import Front, Handler
from chiploop.review.pages_of_doses import DosePages, shown_doses
from chiploop.review.pages_of_runs import RunPages
from chiploop.review.proposal_view import ProposalView

NOT_OPEN = "These doses are not the open ones any more. Nothing was decided; load the page anew."


@dataclass(frozen=True)
class Deciding:
    """The forms of the page."""

    front: Front
    runs: RunPages
    doses: DosePages

    def decided(self) -> dict[str, Handler]:
        """Return addresses of forms, for sessions that may decide."""
        return {
            "/runs/{run}/chips/{chip}/exclude": self.exclude,
            "/runs/{run}/proposal/approve": self.approve,
            "/runs/{run}/proposal/score": self.score,
            "/runs/{run}/proposal/reject": self.reject,
        }

    async def done(
        self, request: Request, words: list[str], good: Callable[[Answer], str], back: str
    ) -> Response:
        """Carry out a command and say what came of it."""
        answer = await run_in_threadpool(self.front.desk.hands.carry_out, words)
        refusal = answer.refusal
        said = {
            "state": "bad" if refusal else "good",
            "said": refusal or good(answer),
            "back": back,
            "title": "Refused" if refusal else "Done",
        }
        run = self.front.run_of(request)
        return self.front.show(request, "said.html.j2", {**self.front.about(run, "", ""), **said})

    async def approve(self, request: Request) -> Response:
        """Approve the doses that the form showed, or the person's own that it carries."""
        run, form = self.front.run_of(request), request.state.form
        back = f"/runs/{run.run_id}/proposal"
        found = self.shown_in(form, run)
        if found is None:
            return self.front.said(request, run, NOT_OPEN, back)
        try:
            doses = self.doses_of(form, found)
            why = (
                decisions.reason_in(form, "another dose") if doses else form.get("why", "").strip()
            )
        except decisions.FormIncomplete as problem:
            return self.front.said(request, run, str(problem), back)
        words = decisions.approve_words(run.run_id, found.key, why, doses)
        return await self.done(request, words, approved, back)

    def shown_in(self, form: Mapping[str, str], run: RecordedRun) -> ProposalView | None:
        """Return the proposal that a form showed; None where it is not the last one any more."""
        found = self.doses.proposal_of(run)
        return found if found is not None and form.get("proposal") == found.key else None

    def doses_of(self, form: Mapping[str, str], found: ProposalView) -> list[str]:
        """Return a person's own doses of a form, as options."""
        before = shown_doses(found)
        own = {line for line in before if f"dose-{line}" in form}
        return decisions.doses_in(form, before, [line for line in before if line in own])

    async def score(self, request: Request) -> Response:
        """Score a person's own doses; nothing is put on record."""
        run, form = self.front.run_of(request), request.state.form
        back = f"/runs/{run.run_id}/proposal"
        found = self.shown_in(form, run)
        if found is None:
            return self.front.said(request, run, NOT_OPEN, back)
        try:
            doses = self.doses_of(form, found)
        except decisions.FormIncomplete as problem:
            return self.front.said(request, run, str(problem), back)
        if not doses:
            return self.front.said(request, run, "No dose is another one than proposed.", back)
        words = decisions.preview_words(run.run_id, doses)
        answer = await run_in_threadpool(self.front.desk.hands.carry_out, words)
        values = self.doses.proposal_values(run)
        if answer.refusal:
            values |= {"state": "bad", "said": answer.refusal}
        else:
            fields = {
                name: value for name, value in form.items() if name.startswith(("dose-", "sch"))
            }
            values |= {"edit": answer.told, "fields": fields}
        return self.front.show(request, "scored.html.j2", values)

    async def reject(self, request: Request) -> Response:
        """Reject the doses that the form showed."""
        run, form = self.front.run_of(request), request.state.form
        back = f"/runs/{run.run_id}/proposal"
        found = self.shown_in(form, run)
        if found is None:
            return self.front.said(request, run, NOT_OPEN, back)
        try:
            why = decisions.reason_in(form, "a rejection")
        except decisions.FormIncomplete as problem:
            return self.front.said(request, run, str(problem), back)
        words = decisions.reject_words(run.run_id, found.key, why)
        return await self.done(request, words, rejected, back)

    async def exclude(self, request: Request) -> Response:
        """Leave readings of a chip out of later fits, or take them in again."""
        run, form = self.front.run_of(request), request.state.form
        values = self.runs.chip_values(request, run)
        chip = values["chip"]
        try:
            why = decisions.reason_in(form, "leaving readings out")
        except decisions.FormIncomplete as problem:
            return self.front.show(
                request, "chip.html.j2", {**values, "state": "bad", "said": str(problem)}
            )
        readout, at = form.get("readout", ""), form.get("time", "")
        known = {(row.readout, f"{row.time_h:g}") for row in chip.rows}
        if (readout or at) and (readout, at) not in known and (at or readout not in dict(known)):
            said = f"{chip.chip} has no such reading. Nothing was changed."
            return self.front.show(
                request, "chip.html.j2", {**values, "state": "bad", "said": said}
            )
        words = decisions.exclude_words(
            run.run_id, chip.chip, readout, at, why, form.get("action") == "take back"
        )
        answer = await run_in_threadpool(self.front.desk.hands.carry_out, words)
        values = self.runs.chip_values(request, run)
        said = answer.refusal or excluded_words(answer, chip.chip)
        values |= {"state": "bad" if answer.refusal else "good", "said": said}
        return self.front.show(request, "chip.html.j2", values)


def approved(answer: Answer) -> str:
    """Return what is said after an approval."""
    told = answer.told
    if told.get("still_needed"):
        return (
            f"{told['proposal']}: first approval by {told['by']}. A second person must approve; until then "
            "nothing is given."
        )
    return f"{told['proposal']} approved by {told['by']}. The run gives these doses now."


def rejected(answer: Answer) -> str:
    """Return what is said after a rejection."""
    return f"{answer.told['proposal']} rejected by {answer.told['by']}. Others are proposed from the same fit."


def excluded_words(answer: Answer, chip: str) -> str:
    """Return what is said after an exclusion."""
    told = answer.told
    what = "left out of every later fit" if told["excluded"] else "taken in again"
    return f"{told['readouts']} readings of {chip} {what} by {told['by']}. Fits that were made stay as they were."

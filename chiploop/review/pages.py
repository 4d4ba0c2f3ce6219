"""The pages themselves: addresses, what each shows, what each form does.

Belongs here: requests and answers. Not here: what is shown (run_view, chip_view, proposal_view,
calibration_parts), who may (tickets), what is refused before (guards), markup (templates).

A page asks the record at each request and keeps nothing. A form that decides becomes one command (decisions),
which the hands carry out; its refusal is shown in its own words. With htmx the answer is a fragment, without it
a page. A form's number is good once; each fragment that answers a form brings the next one for the forms that
stay on the page, so that what was refused can be corrected and sent again.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

import chiploop
from chiploop.record.record import Record
from chiploop.record.rows import RecordedRun
from chiploop.review import calibration_parts as parts_on_disk
from chiploop.review import decisions
from chiploop.review.campaigns import campaigns
from chiploop.review.chip_view import one_chip
from chiploop.review.contracts import Answer, Desk
from chiploop.review.fits_again import latest_fit
from chiploop.review.guards import PICTURE_POLICY, BadForm, Guard, form_of
from chiploop.review.proposal_view import ProposalView, proposal_view
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
from chiploop.review.tickets import Session, Tickets
from chiploop.review.timeline import timeline_of

HERE = Path(__file__).parent
STATIC = HERE / "static"
HTMX = "htmx-2.0.11.min.js"
MARK = "SIMULATED"
NOT_OPEN = "These doses are not the open ones any more. Nothing was decided; load the page anew."
Handler = Callable[[Request], Awaitable[Response]]


@cache
def environment() -> Environment:
    """Return how pages are rendered; the parts that the report has are the report's own."""
    made = Environment(
        loader=FileSystemLoader([HERE / "templates", HERE.parent / "report"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["safe_svg"] = Markup  # the report's parts ask for it; here figures are files
    return made


def application(desk: Desk, tickets: Tickets, hosts: Collection[str], port: int) -> Starlette:
    """Return the page as an ASGI application that answers to its own addresses alone."""
    pages = Pages(desk, tickets, f"chiploop_{port}")
    return Starlette(
        routes=pages.routes(),
        middleware=[Middleware(Guard, hosts=frozenset(hosts))],
        exception_handlers={HTTPException: pages.refused, BadForm: pages.bad_form},
    )


class Pages:
    """The pages of one served desk."""

    def __init__(self, desk: Desk, tickets: Tickets, cookie: str) -> None:
        self.desk, self.tickets, self.cookie = desk, tickets, cookie
        """Of a name that holds the port: browsers send cookies to every port of a host."""
        self.templates = environment()
        self._record: Record | None = None

    def routes(self) -> list[Route]:
        """Return every address; what decides takes POST alone."""
        shown = {
            "/": self.campaigns,
            "/runs/{run}": self.campaign,
            "/runs/{run}/live": self.live,
            "/runs/{run}/fit": self.fit,
            "/runs/{run}/fit/state": self.fit_state,
            "/runs/{run}/fit/again": self.fit_again_state,
            "/runs/{run}/fit/again/page": self.fit_again_page,
            "/runs/{run}/chips/{chip}": self.chip,
            "/runs/{run}/proposal": self.proposal,
            "/runs/{run}/proposal/state": self.proposal_state,
            "/runs/{run}/signals": self.signals,
            "/runs/{run}/figures/{cycle:int}/{name}": self.figure,
            "/runs/{run}/signals/{name}": self.signal_figure,
            "/compare": self.compare,
        }
        decided = {
            "/runs/{run}/chips/{chip}/exclude": self.exclude,
            "/runs/{run}/fit/again": self.start_fit,
            "/runs/{run}/proposal/approve": self.approve,
            "/runs/{run}/proposal/score": self.score,
            "/runs/{run}/proposal/reject": self.reject,
        }
        return [
            Route("/enter", self.enter, methods=["GET"]),
            Route("/static/{name}", self.static, methods=["GET"]),
            *(Route(path, self.for_visitors(page)) for path, page in shown.items()),
            *(
                Route(path, self.for_approvers(page), methods=["POST"])
                for path, page in decided.items()
            ),
        ]

    # -- who asks

    def for_visitors(self, page: Handler) -> Handler:
        """Return a page that needs a session."""

        async def answer(request: Request) -> Response:
            session = self.tickets.session_of(request.cookies.get(self.cookie, ""))
            if session is None:
                raise HTTPException(
                    401, "Open the link that `chiploop review` printed: this session is over."
                )
            request.state.session = session
            return await page(request)

        return answer

    def for_approvers(self, page: Handler) -> Handler:
        """Return what a form does, for a session that may decide, once per form."""

        async def answer(request: Request) -> Response:
            session: Session = request.state.session
            form = await form_of(request)
            if not session.may_decide:
                raise HTTPException(403, "This session only looks. Nothing was decided.")
            if not self.tickets.is_form_of(session, form.get("form", "")):
                raise HTTPException(403, "This form is of another session. Nothing was decided.")
            if not self.tickets.use(session, form.get("once", "")):
                raise HTTPException(
                    409,
                    "This form was sent before, or is old. Nothing was decided a second time; load the page anew.",
                )
            request.state.form, request.state.renews = form, True
            return await page(request)

        return self.for_visitors(answer)

    async def enter(self, request: Request) -> Response:
        """Open a session with the link's token, and leave the token behind."""
        cookie = self.tickets.enter(request.query_params.get("token", ""))
        if cookie is None:
            raise HTTPException(401, "This link opens nothing; take the one that is printed now.")
        # A page, not a redirect: the next request then comes from this origin, whatever showed the link,
        # and a cookie that is SameSite=Strict goes along.
        next_page = request.query_params.get("run", "")
        runs = [run.run_id for run in self.record().runs()] if self.has_record() else []
        to = f"/runs/{next_page}" if next_page in runs else "/"
        answer = HTMLResponse(self.templates.get_template("enter.html.j2").render(to=to))
        answer.set_cookie(
            self.cookie, cookie, httponly=True, samesite="strict", path="/", max_age=12 * 3600
        )
        return answer

    # -- the record

    def has_record(self) -> bool:
        """Return whether there is a record by now."""
        if self._record is None:
            self._record = self.desk.open_record()
        return self._record is not None

    def record(self) -> Record:
        """Return the record; 404 before there is one."""
        if not self.has_record():
            raise HTTPException(404, f"There is no record in {self.desk.runs} yet.")
        assert self._record is not None
        return self._record

    def run_of(self, request: Request) -> RecordedRun:
        """Return the run of an address; 404 where the record has none of that name."""
        name = request.path_params["run"]
        run = self.record().run(name) if is_one_name(name) else None
        if run is None:
            raise HTTPException(404, "There is no such run on record.")
        return run

    def folder_of(self, run: RecordedRun) -> Path:
        """Return a run's folder; its name is one of the record's, and one part of a path (``run_of``)."""
        return self.desk.runs / run.run_id

    # -- showing

    def show(
        self, request: Request, template: str, values: Mapping[str, Any], status: int = 200
    ) -> Response:
        """Return a page, or with htmx its fragment of the same name."""
        session: Session | None = getattr(request.state, "session", None)
        is_part = request.headers.get("hx-request") == "true"
        told = {
            "mark": MARK,
            "simulated": False,
            "login": self.desk.login,
            "session": session,
            "may_decide": session is not None and session.may_decide,
            "version": chiploop.__version__,
            "htmx": HTMX,
            "is_part": is_part,
            "run_id": "",
            "here": "",
            "title": "",
            "form_fields": lambda: self.form_fields(request),
            **values,
        }
        text = self.templates.get_template(template).render(told)
        return HTMLResponse(f"{text}{self.fresh_number(request, is_part)}", status)

    def fresh_number(self, request: Request, is_part: bool) -> Markup:
        """Return what gives every form of the page that htmx keeps open a number that is good.

        Empty where the answer is a page of its own, or where no number was used and the answer has no form: a
        request that is sent again is refused and brings none.
        """
        drawn = hasattr(request.state, "number") or getattr(request.state, "renews", False)
        if not is_part or not drawn:
            return Markup("")
        return Markup(
            '<input type="hidden" name="once" value="{}" class="once" hx-swap-oob="outerHTML:.once">'
        ).format(self.number_of(request, request.state.session))

    def form_fields(self, request: Request) -> Markup:
        """Return the hidden fields of a form; the forms of one answer share their number."""
        session: Session | None = getattr(request.state, "session", None)
        if session is None:
            return Markup("")
        return Markup(
            '<input type="hidden" name="form" value="{}"><input type="hidden" name="once" value="{}" class="once">'
        ).format(self.tickets.form_token(session), self.number_of(request, session))

    def number_of(self, request: Request, session: Session) -> str:
        """Return the number of an answer's forms: drawn once, however many forms there are."""
        if not hasattr(request.state, "number"):
            request.state.number = self.tickets.number(session)
        number: str = request.state.number
        return number

    def about(self, run: RecordedRun, here: str, title: str) -> dict[str, Any]:
        """Return what every page of a run knows."""
        return {
            "run": run,
            "run_id": run.run_id,
            "simulated": run.simulated,
            "here": here,
            "title": f"{run.run_id}: {title}",
        }

    async def refused(self, request: Request, problem: Exception) -> Response:
        """Return what kept a request from being answered."""
        assert isinstance(problem, HTTPException)
        said = {"state": "bad", "said": problem.detail, "back": "/", "title": "Not possible"}
        return self.show(request, "said.html.j2", said, problem.status_code)

    async def bad_form(self, request: Request, problem: Exception) -> Response:
        """Return why a form was not read."""
        assert isinstance(problem, BadForm)
        said = {"state": "bad", "said": str(problem), "back": "/", "title": "Not possible"}
        return self.show(request, "said.html.j2", said, problem.status)

    async def static(self, request: Request) -> Response:
        """Return a file of the page; the style is the report's with the page's own after it."""
        name = request.path_params["name"]
        if name == "style.css":
            look = self.templates.get_template("page_style.css.j2").render(
                simulated=False, mark=MARK
            )
            own = (STATIC / "review.css").read_text(encoding="utf-8")
            return Response(look + own, media_type="text/css")
        if name in (HTMX, "htmx-LICENSE.txt", "icon.svg"):
            return FileResponse(STATIC / name, headers={"Cache-Control": "max-age=86400"})
        raise HTTPException(404, "There is no such file.")

    # -- pages

    async def campaigns(self, request: Request) -> Response:
        """All runs, newest first."""
        found = (
            campaigns(self.desk, self.record(), number_in(request, "page"))
            if (self.has_record())
            else None
        )
        return self.show(
            request,
            "campaigns.html.j2",
            {"found": found, "here": "campaigns", "title": "Campaigns"},
        )

    async def campaign(self, request: Request) -> Response:
        """One run: rack, timeline, what waits."""
        return self.show(request, "campaign.html.j2", self.campaign_values(request))

    def campaign_values(self, request: Request) -> dict[str, Any]:
        """Return what the campaign page and its live part show."""
        run = self.run_of(request)
        view = run_view(self.desk, self.record(), run, number_in(request, "lines"))
        return {
            **self.about(run, "campaign", view.title),
            **pictures_of(view),
        }

    async def live(self, request: Request) -> Response:
        """The part of the campaign page that changes; 204 where nothing has."""
        run = self.run_of(request)
        if request.query_params.get("seen") == seen_now(self.desk, self.record(), run.run_id):
            return Response(status_code=204)
        return self.show(request, "live.html.j2", self.campaign_values(request))

    async def chip(self, request: Request) -> Response:
        """One chip with every reading, and the form that leaves readings out."""
        run = self.run_of(request)
        return self.show(request, "chip.html.j2", self.chip_values(request, run))

    def chip_values(self, request: Request, run: RecordedRun) -> dict[str, Any]:
        """Return what is shown of a chip; 404 where the run has none of that name."""
        found = one_chip(self.record(), run.run_id, request.path_params["chip"])
        if found is None:
            raise HTTPException(404, "The run has no such chip.")
        connection = connection_now(self.desk, run.run_id)
        return {
            **self.about(run, "chip", f"chip {found.chip}"),
            "chip": found,
            "fed_by": fed_by(found.line, connection.get(found.chip, found.line)),
            "state": "",
            "said": "",
        }

    async def fit(self, request: Request) -> Response:
        """The review of the last calibration, in the order in which it is read."""
        run = self.run_of(request)
        record, folder = self.record(), self.folder_of(run)
        calibrations = record.calibrations(run.run_id)
        values = self.about(run, "fit", "fit")
        cycle = calibrations[-1].cycle if calibrations else 0
        parts = parts_on_disk.parts_of(folder, cycle) if cycle else None
        is_whole = parts is not None and parts["review"] is not None
        if (
            cycle
            and not is_whole
            and self.desk.hands.standing("parts", run.run_id).state != "failed"
        ):
            self.desk.hands.start("parts", run.run_id)
        excluded = {
            chip: sum(bool(r.reasons) and r.reasons[-1].startswith("excluded by") for r in own)
            for chip, own in by_chip(record, run.run_id).items()
        }
        donors = tuple(record.study_content(run.run_id)["donors"])
        residuals = parts["residuals"] if parts else []
        address = f"/runs/{run.run_id}/figures/{cycle}"
        return self.show(
            request,
            "fit.html.j2",
            {
                **values,
                "cycle": cycle,
                "parts": with_addresses(parts, address),
                "job": self.desk.hands.standing("parts", run.run_id),
                "panels": parts_on_disk.dot_panels(residuals, donors, excluded),
                "far": parts_on_disk.far_residuals(residuals),
                "donors": donor_marks(donors),
                "out": {chip: n for chip, n in excluded.items() if n},
                "exclusions": record.exclusions(run.run_id),
                **self.fit_again_values(run),
            },
        )

    async def fit_state(self, request: Request) -> Response:
        """Whether what is being drawn is there: the page is loaded anew once it is."""
        run = self.run_of(request)
        job = self.desk.hands.standing("parts", run.run_id)
        answer = self.show(
            request, "drawing.html.j2", {**self.about(run, "fit", "fit"), "job": job}
        )
        if job.state in ("done", "failed"):
            answer.headers["HX-Refresh"] = "true"
        return answer

    def fit_again_values(self, run: RecordedRun) -> dict[str, Any]:
        """Return how the run fitted again compares with the loop's own fit."""
        calibrations = self.record().calibrations(run.run_id)
        loop = calibrations[-1].content if calibrations else None
        found = latest_fit(self.folder_of(run), loop)
        return {
            "again": found.newest,
            "passed_over": found.passed_over,
            "again_job": self.desk.hands.standing("refit", run.run_id),
        }

    async def fit_again_state(self, request: Request) -> Response:
        """How the fit that was asked for stands."""
        run = self.run_of(request)
        values = {**self.about(run, "fit", "fit"), **self.fit_again_values(run)}
        return self.show(request, "again.html.j2", values)

    async def fit_again_page(self, request: Request) -> Response:
        """The page that a fit wrote: one file without script."""
        found = latest_fit(self.folder_of(self.run_of(request)), None).newest
        if found is None or found.page is None:
            raise HTTPException(404, "This run was not fitted again.")
        return FileResponse(
            found.page, media_type="text/html", headers={"Content-Security-Policy": PICTURE_POLICY}
        )

    async def start_fit(self, request: Request) -> Response:
        """Fit the run again from what stands on record."""
        run = self.run_of(request)
        if not self.record().calibrations(run.run_id):
            raise HTTPException(409, "Nothing was fitted yet, so there is nothing to fit again.")
        self.desk.hands.start("refit", run.run_id)
        return await self.fit_again_state(request)

    async def figure(self, request: Request) -> Response:
        """A figure of a calibration."""
        run = self.run_of(request)
        path = parts_on_disk.picture_file(
            self.folder_of(run), request.path_params["cycle"], request.path_params["name"]
        )
        return picture(path)

    async def signal_figure(self, request: Request) -> Response:
        """A figure of a raw signal."""
        folder = self.folder_of(self.run_of(request)) / "page" / "signals"
        return picture(parts_on_disk.file_in(folder, request.path_params["name"]))

    async def signals(self, request: Request) -> Response:
        """The raw signal behind each readout."""
        run = self.run_of(request)
        path = self.folder_of(run) / "page" / "signals" / "signals.json"
        found: dict[str, Any] | None = None
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
        is_old = found is None or found["length"] != len(self.record().raw_files(run.run_id))
        job = self.desk.hands.standing("signals", run.run_id)
        if is_old and job.state in ("none", "done") and self.record().raw_files(run.run_id):
            self.desk.hands.start("signals", run.run_id)
            job = self.desk.hands.standing("signals", run.run_id)
        cycles = sorted({one["cycle"] for one in found["figures"]}) if found else []
        cycle = number_in(request, "cycle", cycles[-1] if cycles else 1)
        address = f"/runs/{run.run_id}/signals"
        own = [
            parts_on_disk.shown_figure(one, address)
            for one in (found["figures"] if found else [])
            if one["cycle"] == cycle
        ]
        values = {"figures": own, "cycles": cycles, "cycle": cycle, "job": job}
        return self.show(
            request, "signals.html.j2", {**self.about(run, "signals", "raw signals"), **values}
        )

    async def compare(self, request: Request) -> Response:
        """Two runs beside each other."""
        record = self.record()
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
        return self.show(request, "compare.html.j2", values)

    async def proposal(self, request: Request) -> Response:
        """The doses that wait for a decision, with their card."""
        run = self.run_of(request)
        return self.show(request, "proposal.html.j2", self.proposal_values(run))

    def proposal_of(self, run: RecordedRun) -> ProposalView | None:
        """Return the last proposal as it stands before this login."""
        return proposal_view(self.record(), run, self.desk.login, self.desk.time_h(run.run_id))

    def proposal_values(self, run: RecordedRun) -> dict[str, Any]:
        """Return what the page of the doses shows."""
        found = self.proposal_of(run)
        study = self.record().study_content(run.run_id)
        given = found is not None and any(
            c.cycle >= found.cycle for c in self.record().calibrations(run.run_id)
        )
        return {
            **self.about(run, "proposal", "doses"),
            "found": found,
            "given": given,
            "before": {} if found is None else shown_doses(found),
            "schedules": list(study.get("schedules") or {}),
            "limits": study["limits"],
            "runs_folder": str(self.desk.runs),
            "state": "",
            "said": "",
            "edit": None,
        }

    async def proposal_state(self, request: Request) -> Response:
        """Whether the doses that a page shows are still those that wait; 204 where they are."""
        run = self.run_of(request)
        found = self.proposal_of(run)
        now = "" if found is None else standing_of(found)
        if request.query_params.get("seen") == now:
            return Response(status_code=204)
        return self.show(request, "newer.html.j2", self.about(run, "proposal", "doses"))

    # -- decisions

    async def done(
        self, request: Request, words: list[str], good: Callable[[Answer], str], back: str
    ) -> Response:
        """Carry out a command and say what came of it."""
        answer = await run_in_threadpool(self.desk.hands.carry_out, words)
        refusal = answer.refusal
        said = {
            "state": "bad" if refusal else "good",
            "said": refusal or good(answer),
            "back": back,
            "title": "Refused" if refusal else "Done",
        }
        run = self.run_of(request)
        return self.show(request, "said.html.j2", {**self.about(run, "", ""), **said})

    def said(self, request: Request, run: RecordedRun, said: str, back: str) -> Response:
        """Return a refusal of the page's own."""
        values = {"state": "bad", "said": said, "back": back, **self.about(run, "", "refused")}
        return self.show(request, "said.html.j2", values)

    async def approve(self, request: Request) -> Response:
        """Approve the doses that the form showed, or the person's own that it carries."""
        run, form = self.run_of(request), request.state.form
        back = f"/runs/{run.run_id}/proposal"
        found = self.shown_in(form, run)
        if found is None:
            return self.said(request, run, NOT_OPEN, back)
        try:
            doses = self.doses_of(form, found)
            why = (
                decisions.reason_in(form, "another dose") if doses else form.get("why", "").strip()
            )
        except decisions.FormIncomplete as problem:
            return self.said(request, run, str(problem), back)
        words = decisions.approve_words(run.run_id, found.key, why, doses)
        return await self.done(request, words, approved, back)

    def shown_in(self, form: Mapping[str, str], run: RecordedRun) -> ProposalView | None:
        """Return the proposal that a form showed; None where it is not the last one any more."""
        found = self.proposal_of(run)
        return found if found is not None and form.get("proposal") == found.key else None

    def doses_of(self, form: Mapping[str, str], found: ProposalView) -> list[str]:
        """Return a person's own doses of a form, as options."""
        before = shown_doses(found)
        own = {line for line in before if f"dose-{line}" in form}
        return decisions.doses_in(form, before, [line for line in before if line in own])

    async def score(self, request: Request) -> Response:
        """Score a person's own doses; nothing is put on record."""
        run, form = self.run_of(request), request.state.form
        back = f"/runs/{run.run_id}/proposal"
        found = self.shown_in(form, run)
        if found is None:
            return self.said(request, run, NOT_OPEN, back)
        try:
            doses = self.doses_of(form, found)
        except decisions.FormIncomplete as problem:
            return self.said(request, run, str(problem), back)
        if not doses:
            return self.said(request, run, "No dose is another one than proposed.", back)
        words = decisions.preview_words(run.run_id, doses)
        answer = await run_in_threadpool(self.desk.hands.carry_out, words)
        values = self.proposal_values(run)
        if answer.refusal:
            values |= {"state": "bad", "said": answer.refusal}
        else:
            fields = {
                name: value for name, value in form.items() if name.startswith(("dose-", "sch"))
            }
            values |= {"edit": answer.told, "fields": fields}
        return self.show(request, "scored.html.j2", values)

    async def reject(self, request: Request) -> Response:
        """Reject the doses that the form showed."""
        run, form = self.run_of(request), request.state.form
        back = f"/runs/{run.run_id}/proposal"
        found = self.shown_in(form, run)
        if found is None:
            return self.said(request, run, NOT_OPEN, back)
        try:
            why = decisions.reason_in(form, "a rejection")
        except decisions.FormIncomplete as problem:
            return self.said(request, run, str(problem), back)
        words = decisions.reject_words(run.run_id, found.key, why)
        return await self.done(request, words, rejected, back)

    async def exclude(self, request: Request) -> Response:
        """Leave readings of a chip out of later fits, or take them in again."""
        run, form = self.run_of(request), request.state.form
        values = self.chip_values(request, run)
        chip = values["chip"]
        try:
            why = decisions.reason_in(form, "leaving readings out")
        except decisions.FormIncomplete as problem:
            return self.show(
                request, "chip.html.j2", {**values, "state": "bad", "said": str(problem)}
            )
        readout, at = form.get("readout", ""), form.get("time", "")
        known = {(row.readout, f"{row.time_h:g}") for row in chip.rows}
        if (readout or at) and (readout, at) not in known and (at or readout not in dict(known)):
            said = f"{chip.chip} has no such reading. Nothing was changed."
            return self.show(request, "chip.html.j2", {**values, "state": "bad", "said": said})
        words = decisions.exclude_words(
            run.run_id, chip.chip, readout, at, why, form.get("action") == "take back"
        )
        answer = await run_in_threadpool(self.desk.hands.carry_out, words)
        values = self.chip_values(request, run)
        said = answer.refusal or excluded_words(answer, chip.chip)
        values |= {"state": "bad" if answer.refusal else "good", "said": said}
        return self.show(request, "chip.html.j2", values)


def is_one_name(name: str) -> bool:
    """Return whether a name is one part of a path on every system, and leads nowhere else."""
    return bool(name) and name.strip(".") != "" and not set(name) & set("/\\:\0")


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


def by_chip(record: Record, run_id: str) -> dict[str, list[Any]]:
    """Return chip -> its readings."""
    found: dict[str, list[Any]] = {}
    for readout in record.readouts(run_id):
        found.setdefault(readout.chip_id, []).append(readout)
    return found


def pictures_of(view: RunView) -> dict[str, Any]:
    """Return a run's view with its pictures."""
    return {
        "view": view,
        "rack": rack_of(view.lines, view.chips),
        "timeline": timeline_of(view),
        "state_words": STATE_WORDS,
        "donors": donor_marks(view.donors),
    }


def donor_marks(donors: Collection[str]) -> list[tuple[str, str]]:
    """Return donors with their shapes, for a legend."""
    return [(donor, outline(i % len(SHAPES), 9.0, 9.0, 6.5)) for i, donor in enumerate(donors)]


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


def with_addresses(parts: dict[str, Any] | None, address: str) -> dict[str, Any] | None:
    """Return parts whose figures have the addresses of their files."""
    if parts is None:
        return None

    def shown(value: Any) -> Any:
        if isinstance(value, dict):
            value = {key: shown(one) for key, one in value.items()}
            return parts_on_disk.shown_figure(value, address) if "src" in value else value
        return [shown(one) for one in value] if isinstance(value, list) else value

    return {key: shown(one) for key, one in parts.items() if key != "residuals"}


def number_in(request: Request, name: str, otherwise: int = 1) -> int:
    """Return a whole number from 1 of an address' query; what is none counts as not said."""
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 7 else otherwise


def picture(path: Path | None) -> Response:
    """Return a figure's file, which may run and load nothing; 404 where there is none."""
    if path is None:
        raise HTTPException(404, "There is no such figure.")
    headers = {"Content-Security-Policy": PICTURE_POLICY, "Cache-Control": "private, max-age=60"}
    return FileResponse(path, media_type="image/svg+xml", headers=headers)

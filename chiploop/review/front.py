"""What every page needs: who asks, the record behind it, how an answer is made, what refuses a request.

Belongs here: sessions and forms of a request, rendering. Not here: what is shown (pages_of_runs, pages_of_fits,
pages_of_signals, pages_of_doses), what is decided (deciding), which address leads where (pages).

A form's number is good once; each fragment that answers a form brings the next one for the forms that stay on the
page, so that what was refused can be corrected and sent again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

import chiploop
from chiploop.record.record import Record
from chiploop.record.rows import RecordedRun
from chiploop.review.contracts import Desk
from chiploop.review.guards import PICTURE_POLICY, BadForm, form_of
from chiploop.review.tickets import Session, Tickets

HERE = Path(__file__).parent
STATIC = HERE / "static"
HTMX = "htmx-2.0.11.min.js"
MARK = "SIMULATED"
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


class Front:
    """What stands before the pages of one served desk."""

    def __init__(self, desk: Desk, tickets: Tickets, cookie: str) -> None:
        self.desk, self.tickets, self.cookie = desk, tickets, cookie
        """Of a name that holds the port: browsers send cookies to every port of a host."""
        self.templates = environment()
        self._record: Record | None = None

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

    # -- answers

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

    def said(self, request: Request, run: RecordedRun, said: str, back: str) -> Response:
        """Return a refusal of the page's own."""
        values = {"state": "bad", "said": said, "back": back, **self.about(run, "", "refused")}
        return self.show(request, "said.html.j2", values)

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


def is_one_name(name: str) -> bool:
    """Return whether a name is one part of a path on every system, and leads nowhere else."""
    return bool(name) and name.strip(".") != "" and not set(name) & set("/\\:\0")


def number_in(request: Request, name: str, otherwise: int = 1) -> int:
    """Return a whole number from 1 of an address' query; what is none counts as not said."""
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 7 else otherwise


def picture(path: Path | None) -> Response:
    """Return a figure's file, which may run and load nothing; 404 where there is none."""
    if path is None:
        raise HTTPException(404, "There is no such figure.")
    headers = {"Content-Security-Policy": PICTURE_POLICY, "Cache-Control": "private, max-age=60"}
    kind = "image/png" if path.suffix == ".png" else "image/svg+xml"
    return FileResponse(path, media_type=kind, headers=headers)

"""The review page as an application: which address leads to which room.

Belongs here: addresses. Not here: what a room answers (pages_of_runs, _fits, _models, _signals, _plates, _doses),
what its forms do (deciding), who may (front, tickets), what is refused before (guards), markup (templates).

A page asks the record at each request and keeps nothing. A form that decides becomes one command (decisions),
which the hands carry out; its refusal is shown in its own words. With htmx the answer is a fragment, without it
a page.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route

from chiploop.review.contracts import Desk
from chiploop.review.deciding import Deciding
from chiploop.review.front import Front
from chiploop.review.guards import BadForm, Guard
from chiploop.review.pages_of_doses import DosePages
from chiploop.review.pages_of_fits import FitPages
from chiploop.review.pages_of_models import ModelPages
from chiploop.review.pages_of_plates import PlatePages
from chiploop.review.pages_of_runs import RunPages
from chiploop.review.pages_of_signals import SignalPages
from chiploop.review.pages_of_teaching import TeachingPages
from chiploop.review.tickets import Tickets


def application(desk: Desk, tickets: Tickets, hosts: Collection[str], port: int) -> Starlette:
    """Return the page as an ASGI application that answers to its own addresses alone."""
    front = Front(desk, tickets, f"chiploop_{port}")
    return Starlette(
        routes=routes(front),
        middleware=[Middleware(Guard, hosts=frozenset(hosts))],
        exception_handlers={HTTPException: front.refused, BadForm: front.bad_form},
    )


def routes(front: Front) -> list[Route]:
    """Return every address; what decides takes POST alone."""
    runs, doses = RunPages(front), DosePages(front)
    fits, plates, models = FitPages(front), PlatePages(front), ModelPages(front)
    signals, teaching = SignalPages(front), TeachingPages(front)
    shown = runs.shown() | fits.shown() | doses.shown() | plates.shown() | models.shown()
    shown |= signals.shown() | teaching.shown()
    decided = Deciding(front, runs, doses).decided()
    decided |= fits.decided() | plates.decided() | models.decided() | signals.decided()
    return [
        Route("/enter", front.enter, methods=["GET"]),
        Route("/static/{name}", front.static, methods=["GET"]),
        *(Route(path, front.for_visitors(page)) for path, page in shown.items()),
        *(
            Route(path, front.for_approvers(page), methods=["POST"])
            for path, page in decided.items()
        ),
        *(
            Route(path, front.for_forms(page), methods=["POST"])
            for path, page in teaching.answered().items()
        ),
    ]

"""Whatever is asked of whatever address of the page, it answers and never fails."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from tests.chiploop.review.conftest import HOST, PLATE, RUN, Page

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLACES: dict[str, list[str]] = {
    "run": [RUN, "..", "no"],
    "chip": ["C01", "C02", "--take-back"],
    "cycle": ["1", "0", "99999999999999999999"],
    "plate": [PLATE, "..", "--take-back"],
    "lesson": ["1", "2", "begin"],
    "name": ["style.css", "x.svg", "..%2frecord.sqlite"],
}
"""Part of an address -> values that lead on."""
LESSON = {
    "seed": "1", "case": "1", "test-tewl": "yes", "treatment": "dupilumab", "probability": "5",
}  # fmt: skip
FIELDS = (
    "model", "well-B7", "well-H12", "proposal", "why", "dose-L1", "schedule-L1", "readout", "time", "action",
    "odd", "set", "place",
    "seed", "case", "step", "test-tewl", "test-odd", "treatment", "probability",
)  # fmt: skip
VALUES = (
    "r1/c02/p1", "TEER", "1", "0", "dupilumab", "99999999999", "24", "90 nM", "leave out", "take back", "", "nan",
    "1e999",
)  # fmt: skip
QUERY = (
    "seed", "case", "page", "lines", "cycle", "chip", "seen", "one", "other", "token", "run",
)  # fmt: skip
HEADERS = {
    "hx-request": ["true", "x"],
    "origin": ["null", f"http://{HOST}"],
    "content-type": ["text/plain", "application/x-www-form-urlencoded; charset=x", ""],
    "content-length": ["x", "-1", "99999999", "²"],
    "range": ["bytes=5-1", "bytes=-0", "x"],
    "if-none-match": ["*"],
    "cookie": ["chiploop_8765=x.y", "chiploop_8765=é", "="],
    "host": ["evil.example", ""],
}


@st.composite
def asked(draw: Any, routes: list[Route]) -> dict[str, Any]:
    """Return one request to one of some routes, most of them nearly right."""
    forms = [one for one in routes if "POST" in one.methods]
    route = draw(st.sampled_from([*routes, *forms * 4]))
    path = route.path
    for name in PLACES:
        value = draw(st.sampled_from([*PLACES[name][:1] * 6, *PLACES[name], percent(draw(TEXT))]))
        path = path.replace(f"{{{name}:int}}", value).replace(f"{{{name}}}", value)
    headers = {"origin": f"http://{HOST}"}
    for name in draw(st.lists(st.sampled_from(sorted(HEADERS)), max_size=2, unique=True)):
        headers[name] = draw(st.sampled_from(HEADERS[name]))
    value = st.sampled_from(VALUES) | TEXT
    return {
        "method": draw(
            st.sampled_from([*sorted(route.methods) * 4, "GET", "POST", "PUT", "DELETE"])
        ),
        "path": path,
        "headers": {name: text.encode("latin-1") for name, text in headers.items()},
        "params": draw(st.dictionaries(st.sampled_from(QUERY), value, max_size=2)),
        "data": draw(st.dictionaries(st.sampled_from(FIELDS), value, max_size=6)),
        "signed": draw(st.sampled_from([True] * 6 + [False])),
    }


def percent(text: str) -> str:
    """Return a text as a part of an address."""
    return quote(text, safe="")


def ask(page: Page, one: dict[str, Any]) -> int:
    """Send a request, with the fields of the session's own form where it is signed; return the status."""
    data = dict(one["data"])
    if one["signed"]:
        session = page.tickets.session_of(page.client.cookies["chiploop_8765"].strip('"'))
        assert session is not None
        data |= {
            "form": page.tickets.form_token(session),
            "once": page.tickets.number(session),
        }
    more = {"data": data} if one["method"] in ("POST", "PUT") else {}
    cookies = page.client.cookies
    try:
        return page.client.ask(
            one["method"], one["path"], headers=one["headers"], params=one["params"], **more
        ).status_code
    finally:
        page.client.cookies = cookies  # /enter would open another session


def test_the_parts_of_every_address_have_values(page: Page) -> None:
    routes = page.client.app.routes
    assert len(routes) > 15 and all(isinstance(one, Route) for one in routes)
    assert {name for one in routes for name in one.param_convertors} <= set(PLACES)


@pytest.mark.slow
@settings(
    max_examples=1000,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_no_request_to_any_address_makes_the_page_fail(page: Page, data: st.DataObject) -> None:
    if not page.client.cookies:
        page.enter()
    one = data.draw(asked(page.client.app.routes))
    assert ask(page, one) < 500


def test_each_address_answers_each_method_without_failing(page: Page) -> None:
    page.enter()
    reached = set()
    for route in page.client.app.routes:
        path = route.path
        for name, values in PLACES.items():
            path = path.replace(f"{{{name}:int}}", values[0]).replace(f"{{{name}}}", values[0])
        for method in ("GET", "HEAD", "POST", "PUT"):
            for hx in ("true", "false"):
                one = {
                    "method": method, "path": path, "params": {}, "signed": True,
                    "headers": {"origin": f"http://{HOST}", "hx-request": hx},
                    "data": {"proposal": "r1/c02/p1", "why": "so", "dose-L1": "90 nM", "well-B7": "1",
                             **LESSON,
                             "step": "1" if path.endswith("treat") else "0"},
                }  # fmt: skip
                status = ask(page, one)
                assert status < 500, (method, path)
                if status in (200, 303):
                    reached.add((route.path, "POST" if method == "POST" else "GET"))
    assert {path for path, method in reached if method == "POST"} >= {
        "/runs/{run}/proposal/approve", "/runs/{run}/proposal/score",
        "/runs/{run}/proposal/reject", "/runs/{run}/chips/{chip}/exclude",
        "/teach/begin", "/teach/{lesson}/order", "/teach/{lesson}/treat",
        "/runs/{run}/plates/{plate}/exclude", "/runs/{run}/signals/exclude",
    }  # fmt: skip

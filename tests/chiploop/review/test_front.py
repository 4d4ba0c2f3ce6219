"""Who is let in, what every answer forbids, what is refused before anything is decided."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from starlette.routing import Route

from chiploop.record.exclusions import ANY_TIME, Exclusion
from chiploop.review.contracts import Answer
from chiploop.review.guards import MOST_BYTES, MOST_FIELDS, MOST_LETTERS
from chiploop.review.tickets import MOST_NUMBERS, Session
from tests.chiploop.review.conftest import (
    APPROVE,
    EVERY_PAGE,
    FORM,
    HOST,
    ORIGIN,
    PLATE,
    PROPOSAL,
    RUN,
    SCRIPT,
    Page,
)


def session_of(page: Page) -> Session:
    """Return the session that the browser has open."""
    found = page.tickets.session_of(page.client.cookies["chiploop_8765"].strip('"'))
    assert found is not None
    return found


@pytest.mark.parametrize("path", EVERY_PAGE)
def test_every_page_is_whole_marked_and_free_of_script_and_style_of_its_own(
    page: Page, path: str
) -> None:
    answer = page.enter().get(path)
    assert answer.status_code == 200
    assert "Research use only" in answer.text
    assert path == "/" or 'id="simulated">SIMULATED' in answer.text
    assert (
        answer.text.count("<script") == 1
        and '<script src="/static/htmx-2.0.11.min.js"' in answer.text
    )
    assert "<style" not in answer.text and ' style="' not in answer.text
    assert " onclick=" not in answer.text and "http://" not in answer.text.replace(HOST, "")
    assert "https://" not in answer.text


@pytest.mark.parametrize("path", [*EVERY_PAGE, "/enter", "/static/style.css", "/no/such/page"])
def test_every_answer_forbids_script_frames_sniffing_and_referrers(page: Page, path: str) -> None:
    headers = page.enter().get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "script-src 'self'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    # no-referrer would make browsers send Origin: null with a form that no script sends
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("path", EVERY_PAGE)
def test_without_a_session_nothing_is_shown(page: Page, path: str) -> None:
    answer = page.client.get(path)
    assert answer.status_code == 401
    assert RUN not in answer.text.replace(path, "") and "alice" not in answer.text


def test_a_session_is_a_signed_cookie_that_no_script_reads_and_no_other_site_sends(
    page: Page,
) -> None:
    answer = page.client.get("/enter", params={"token": page.tickets.links["approver"]})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "chiploop_8765=" in cookie
    assert page.tickets.links["approver"] not in answer.text
    assert page.client.get("/enter", params={"token": "guess"}).status_code == 401
    name, value = cookie.partition(";")[0].split("=", 1)
    page.client.cookies.clear()
    text, sign = value.split(".")
    for forged in (
        f"{text}.{sign[:-1]}{'0' if sign[-1] != '0' else '1'}",
        "x.y",
        "",
        f"{text[:-4]}.{sign}",
    ):
        answer = page.client.get("/", headers={"cookie": f"{name}={forged}"})
        assert answer.status_code == 401, forged


def test_a_session_ends(page: Page) -> None:
    assert page.enter().get("/").status_code == 200
    late = page.tickets.now_s() + 13 * 3600.0
    page.tickets.now_s = lambda: late
    assert page.client.get("/").status_code == 401


def test_another_host_name_is_refused(page: Page) -> None:
    page.enter()
    for host in ("evil.example", "127.0.0.1:1", "127.0.0.1.evil.example:8765"):
        assert page.client.get("/", headers={"host": host}).status_code == 403, host


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", f"https://{HOST}", "http://127.0.0.1"]
)
def test_a_form_from_another_origin_decides_nothing(page: Page, origin: str) -> None:
    page.enter()
    form = {**page.fields(PROPOSAL), **FORM}
    headers = {"origin": origin} if origin else {}
    assert page.client.post(APPROVE, data=form, headers=headers).status_code == 403
    assert page.hands.asked == []
    assert page.client.post(APPROVE, data=form, headers=ORIGIN).status_code == 200


def test_a_form_without_the_sessions_own_token_decides_nothing(page: Page) -> None:
    page.enter()
    form = {**page.fields(PROPOSAL), **FORM}
    for token in ("", "0" * 64):
        answer = page.client.post(APPROVE, data={**form, "form": token}, headers=ORIGIN)
        assert answer.status_code == 403
    page.client.cookies.clear()
    page.enter()  # another session: the old form is not its own
    assert page.client.post(APPROVE, data=form, headers=ORIGIN).status_code == 403
    assert page.hands.asked == []


def test_an_approval_that_is_sent_again_counts_once(page: Page) -> None:
    page.enter()
    form = {**page.fields(PROPOSAL), **FORM}
    assert page.client.post(APPROVE, data=form, headers=ORIGIN).status_code == 200
    again = page.client.post(APPROVE, data=form, headers=ORIGIN)
    assert again.status_code == 409 and "sent before" in again.text
    assert page.hands.asked == [["approve", RUN, "--proposal=r1/c02/p1", "--why="]]


HTMX = {**ORIGIN, "hx-request": "true"}


def fresh_number(text: str) -> str:
    """Return the number that a fragment brings for the forms that stay on the page."""
    found = re.findall(
        r'<input type="hidden" name="once" value="([^"]+)" class="once" hx-swap-oob="outerHTML:.once">',
        text,
    )
    assert len(found) == 1, text
    return str(found[0])


@pytest.mark.parametrize(("path", "odd", "good"), [
    ("proposal/score", {"dose-L1": "5000 nM"}, {"dose-L1": "90 nM"}),
    ("proposal/approve", {"dose-L1": "90 nM"}, {"dose-L1": "90 nM", "why": "nearer"}),
    ("proposal/reject", {"why": " "}, {"why": "too low"}),
    ("chips/C01/exclude", {"why": ""}, {"why": "bubble", "action": "leave out"}),
    (f"plates/{PLATE}/exclude", {"why": "bubble"}, {"why": "bubble", "well-B7": "1"}),
    ("fit/again", {}, {}),
])  # fmt: skip
def test_a_form_that_was_refused_is_corrected_and_sent_again_from_the_page_that_stays_open(
    page: Page, path: str, odd: dict[str, str], good: dict[str, str]
) -> None:
    page.enter()
    form = {**page.fields(PROPOSAL), "proposal": "r1/c02/p1"}
    address = f"/runs/{RUN}/{path}"
    accepted = page.hands.answer
    page.hands.answer = Answer(5, {"error": {"message": "at most 4000 nM"}})
    first = page.client.post(address, data={**form, **odd}, headers=HTMX)
    page.hands.answer, page.hands.asked = accepted, []
    assert first.status_code in (200, 409) and "sent before" not in first.text
    form["once"] = fresh_number(first.text)
    second = page.client.post(address, data={**form, **good}, headers=HTMX)
    assert "sent before" not in second.text
    assert page.hands.asked or path == "fit/again"
    form["once"] = fresh_number(second.text)
    third = page.client.post(address, data={**form, **odd}, headers=HTMX)
    assert "sent before" not in third.text


@pytest.mark.parametrize("refused", [True, False])
def test_a_request_that_is_sent_again_from_a_copy_stays_refused_and_brings_no_number(
    page: Page, refused: bool
) -> None:
    page.enter()
    form = {**page.fields(PROPOSAL), **FORM}
    if refused:
        page.hands.answer = Answer(5, {"error": {"message": "not now"}})
    fresh = fresh_number(page.client.post(APPROVE, data=form, headers=HTMX).text)
    assert fresh != form["once"] and len(page.hands.asked) == 1
    again = page.client.post(APPROVE, data=form, headers=HTMX)
    assert again.status_code == 409 and 'name="once"' not in again.text
    assert len(page.hands.asked) == 1


def test_a_form_that_is_sent_twice_at_once_is_sent_once(page: Page) -> None:
    # htmx keeps a second submit back and sends it with the fields that the first answer brought
    page.enter()
    for path in EVERY_PAGE:
        text = page.client.get(path).text
        assert text.count('hx-post="') == text.count('hx-sync="this:drop"'), path


def test_fragments_without_a_form_and_whole_pages_bring_no_number(page: Page) -> None:
    page.enter()
    for path in (f"/runs/{RUN}/live", f"{PROPOSAL}/state"):
        assert 'name="once"' not in page.client.get(path, headers=HTMX).text, path
    fresh_number(page.client.get(f"/runs/{RUN}/chips/C01", headers=HTMX).text)
    assert "hx-swap-oob" not in page.client.get(f"/runs/{RUN}/chips/C01").text
    page.client.cookies.clear()
    page.enter("viewer")
    assert 'name="once"' not in page.client.get(f"/runs/{RUN}/chips/C01", headers=HTMX).text


def test_looking_at_chips_leaves_the_forms_of_other_sessions_alone(page: Page) -> None:
    page.enter()
    form, cookies = {**page.fields(PROPOSAL), **FORM}, page.client.cookies
    page.client.cookies = httpx.Cookies()
    page.enter()
    for _ in range(MOST_NUMBERS):  # a chip with four readings has five forms
        page.tickets.number(session_of(page))
    page.client.cookies = cookies
    assert page.client.post(APPROVE, data=form, headers=ORIGIN).status_code == 200


def test_the_forms_of_one_answer_share_one_number(page: Page) -> None:
    page.enter()
    for path, forms in ((f"/runs/{RUN}/chips/C01", 3), (PROPOSAL, 2)):
        numbers = re.findall(r'name="once" value="([^"]+)"', page.client.get(path).text)
        assert len(numbers) == forms and len(set(numbers)) == 1, path


def test_a_session_remembers_its_newest_numbers_and_forgets_those_of_sessions_that_are_over(
    page: Page,
) -> None:
    page.enter()
    session, tickets = session_of(page), page.tickets
    numbers = [tickets.number(session) for _ in range(MOST_NUMBERS + 1)]
    assert not tickets.use(session, numbers[0])
    assert tickets.use(session, numbers[1]) and not tickets.use(session, numbers[1])
    late = session.until_s + 1.0
    tickets.now_s = lambda: late
    page.enter()
    tickets.number(session_of(page))
    assert not tickets.use(session, numbers[2])


def test_who_only_looks_sees_no_form_and_decides_nothing(page: Page) -> None:
    page.enter("approver")
    form = {**page.fields(PROPOSAL), **FORM}
    page.client.cookies.clear()
    page.enter("viewer")
    for path in EVERY_PAGE:
        # learning decides nothing
        assert path == "/teach" or 'method="post"' not in page.client.get(path).text, path
    assert page.client.post(APPROVE, data=form, headers=ORIGIN).status_code == 403
    assert page.hands.asked == []


FRAGMENTS = {
    "/enter", "/static/{name}", "/teach/{lesson}", "/runs/{run}/live", "/runs/{run}/fit/state",
    "/runs/{run}/fit/again", "/runs/{run}/fit/again/page", "/runs/{run}/figures/{cycle:int}/{name}",
    "/runs/{run}/signals/{name}", "/runs/{run}/proposal/state", "/runs/{run}/models/state",
}  # fmt: skip
"""Addresses of parts, files and what needs something begun: not pages that ``EVERY_PAGE`` can name."""


def routes_of(page: Page) -> list[Route]:
    """Return every route."""
    return [one for one in page.client.app.routes if isinstance(one, Route)]


def test_every_page_is_in_the_table_of_pages(page: Page) -> None:
    shown = {one.path: one for one in routes_of(page) if "GET" in (one.methods or ())}
    named = {
        path
        for path, route in shown.items()
        if any(route.path_regex.match(page_.partition("?")[0]) for page_ in EVERY_PAGE)
    }
    assert set(shown) - FRAGMENTS == named - FRAGMENTS and set(shown) >= FRAGMENTS


def forms_of(page: Page) -> list[str]:
    """Return the address of every form."""
    places = {"run": RUN, "chip": "C01", "plate": PLATE, "lesson": "1"}
    paths = [one.path for one in routes_of(page) if "POST" in (one.methods or ())]
    return [re.sub(r"{(\w+)}", lambda found: places[found[1]], path) for path in paths]


def test_no_form_of_any_address_is_taken_from_elsewhere_twice_or_without_its_number(
    page: Page,
) -> None:
    page.enter()
    session = session_of(page)
    token = page.tickets.form_token(session)
    more = {"why": "so", "proposal": "r1/c02/p1", "well-B7": "1", "model": "own_model"}
    for path in forms_of(page):
        once = page.tickets.number(session)
        for form, headers, status in (
            ({"form": token, "once": once}, {"origin": "http://evil.example"}, 403),
            ({"form": token, "once": once}, {}, 403),
            ({"form": "0" * 64, "once": once}, ORIGIN, 403),
            ({"form": token, "once": "guess"}, ORIGIN, 409),
        ):
            answer = page.client.post(path, data={**more, **form}, headers=headers)
            assert answer.status_code == status, (path, form, headers)
    assert len(forms_of(page)) == 11 and page.hands.asked == [] and page.hands.jobs == []


def test_who_only_looks_can_send_no_form_but_those_of_lessons(page: Page) -> None:
    page.enter("viewer")
    session = session_of(page)
    for path in forms_of(page):
        form = {
            "form": page.tickets.form_token(session), "once": page.tickets.number(session),
            "why": "so", "proposal": "r1/c02/p1", "well-B7": "1", "model": "own_model",
        }  # fmt: skip
        answer = page.client.post(path, data=form, headers=ORIGIN)
        looks = answer.status_code == 403 and "only looks" in answer.text
        assert looks != path.startswith("/teach/"), path
    assert page.hands.asked == [] and page.hands.jobs == []


def test_a_form_with_a_dose_and_a_schedule_for_each_of_300_lines_is_taken(page: Page) -> None:
    page.enter()
    doses = {f"dose-L{i}": "60.5 nM" for i in range(3, 301)}
    schedules = {f"schedule-L{i}": "two pulses" for i in range(3, 301)}
    own = {"dose-L1": "90 nM", "dose-L2": "60 nM"}
    form = {**FORM, "why": "nearer", **own, **doses, **schedules}
    answer = page.post(APPROVE, form)
    assert answer.status_code == 200 and "--dose=L1=90 nM" in page.hands.asked[0]


def test_a_huge_form_is_refused_unread(page: Page) -> None:
    page.enter()
    fields = page.fields(PROPOSAL)
    cases = [
        ({**fields, "why": "x" * (MOST_BYTES + 1)}, 413),
        ({**fields, "why": "x" * (MOST_LETTERS + 1)}, 413),
        ({**fields, **{f"f{i}": "" for i in range(MOST_FIELDS)}}, 400),
        ({**fields, "why": "a\0b"}, 400),
    ]
    for form, status in cases:
        answer = page.client.post(APPROVE, data=form, headers=ORIGIN)
        assert answer.status_code == status
        assert "nothing was decided" in answer.text

    async def parts():
        for _ in range(100):
            yield b"a=" + b"x" * 2000 + b"&"

    kind = {"content-type": "application/x-www-form-urlencoded", **ORIGIN}
    assert page.client.post(APPROVE, content=parts(), headers=kind).status_code == 413
    assert page.client.post(APPROVE, content=b"\xff\xfe", headers=kind).status_code == 400
    for length, status in ((b"x", 400), (b"-1", 400), (b"\xb2", 400), (b"9" * 5000, 413)):
        said = page.client.post(APPROVE, content=b"a=b", headers={**kind, "content-length": length})
        assert said.status_code == status, length
    json = {"content-type": "application/json", **ORIGIN}
    assert page.client.post(APPROVE, content=b"{}", headers=json).status_code == 415
    assert page.hands.asked == []


@pytest.mark.parametrize("path", [
    "/runs/../r1", "/runs/%2e%2e", "/runs/..%2f..%2fetc%2fpasswd", "/runs/r1/chips/..%2F..",
    "/runs/r1/figures/1/..%2f..%2frecord.sqlite", "/runs/r1/figures/1/%2e%2e%2frecord.sqlite",
    "/runs/r1/figures/1/record.sqlite", "/runs/r1/figures/999999999999/x.svg",
    "/runs/r1/signals/..%2f..%2f..%2frecord.sqlite",
    "/runs/r1/signals/signals-c01.json", "/runs/r1/signals/x.png%00.svg", "/runs/r1/plates/..%2f..",
    "/runs/r1/plates/..%2frecord.sqlite",
    "/static/..%2fpages.py", "/static/../pages.py",
    "/static/pages.py", "/runs/r1%00/fit", "/runs/" + "a" * 5000,
])  # fmt: skip
def test_no_address_leads_out_of_what_is_served(page: Page, path: str, tmp_path: Path) -> None:
    answer = page.enter().get(path)
    assert answer.status_code in (404, 400), path
    assert "SQLite format" not in answer.text and "root:" not in answer.text


def test_a_run_whose_name_leads_elsewhere_has_no_folder(page: Page) -> None:
    from chiploop.study import load_study
    from tests.chiploop.review.conftest import STUDY

    page.record.add_run("..", load_study(STUDY), seed=1, simulated=False)
    assert page.enter().get("/runs/%2e%2e/fit").status_code in (404, 400)


def test_names_and_reasons_are_shown_as_text(page: Page) -> None:
    said = Exclusion("C01", "", ANY_TIME, True, SCRIPT, f'"{SCRIPT}')
    page.record.add_exclusion(RUN, said, 1.0)
    page.enter()
    for path in EVERY_PAGE:
        assert SCRIPT not in page.client.get(path).text, path
    assert "&lt;script&gt;alert(1)" in page.client.get(f"/runs/{RUN}").text
    assert "&lt;script&gt;" in page.client.get(f"/runs/{RUN}/chips/C01").text
    page.hands.answer = Answer(2, {"error": {"message": f"no {SCRIPT}"}})
    answer = page.post(APPROVE, {**FORM, "why": SCRIPT})
    assert SCRIPT not in answer.text and "no &lt;script&gt;" in answer.text

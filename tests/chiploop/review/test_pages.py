"""What the page shows, what it refuses before anything is decided, and what a form becomes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from chiploop.record.exclusions import ANY_TIME, Exclusion
from chiploop.review.contracts import Answer
from chiploop.review.guards import MOST_BYTES, MOST_FIELDS, MOST_LETTERS
from chiploop.review.tickets import MOST_NUMBERS, Session
from tests.chiploop.review.conftest import HOST, ORIGIN, RUN, SCRIPT, Page

PROPOSAL = f"/runs/{RUN}/proposal"
APPROVE = f"{PROPOSAL}/approve"
FORM = {"proposal": "r1/c02/p1", "why": ""}
EVERY_PAGE = ["/", f"/runs/{RUN}", f"/runs/{RUN}/fit", PROPOSAL, f"/runs/{RUN}/chips/C01",
              f"/runs/{RUN}/signals", f"/compare?one={RUN}&other={RUN}"]  # fmt: skip


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
    assert headers["referrer-policy"] == "no-referrer"


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
        assert 'method="post"' not in page.client.get(path).text, path
    assert page.client.post(APPROVE, data=form, headers=ORIGIN).status_code == 403
    assert page.hands.asked == []


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
    "/runs/r1/signals/..%2f..%2f..%2frecord.sqlite", "/static/..%2fpages.py", "/static/../pages.py",
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


# --- decisions become commands, and a field never becomes an option


def test_a_reason_that_looks_like_an_option_stays_a_reason(page: Page) -> None:
    page.enter()
    page.post(f"{PROPOSAL}/reject", {**FORM, "why": "--record=sqlite:///elsewhere --debug"})
    assert page.hands.asked == [
        ["reject", RUN, "--proposal=r1/c02/p1", "--why=--record=sqlite:///elsewhere --debug"]
    ]


def test_own_doses_are_scored_before_and_approved_with_their_reason(page: Page) -> None:
    page.enter()
    doses = {"dose-L1": "90 nM", "dose-L2": "60 nM", "dose-L9": "1 M"}
    page.post(f"{PROPOSAL}/score", {**FORM, **doses})
    assert page.hands.asked.pop() == ["propose", RUN, "--dose=L1=90 nM"]
    refused = page.post(APPROVE, {**FORM, **doses})
    assert "needs its reason" in refused.text and page.hands.asked == []
    page.post(APPROVE, {**FORM, **doses, "why": "nearer"})
    assert page.hands.asked == [
        ["approve", RUN, "--proposal=r1/c02/p1", "--why=nearer", "--dose=L1=90 nM"]
    ]


def test_what_a_limit_forbids_is_told_in_the_commands_own_words(page: Page) -> None:
    page.enter()
    told = {"ok": False, "error": {"exit_code": 5, "message": "5000 nM on L1: at most 4000 nM"}}
    page.hands.answer = Answer(5, told)
    answer = page.post(f"{PROPOSAL}/score", {**FORM, "dose-L1": "5000 nM"})
    assert "at most 4000 nM" in answer.text and 'role="alert"' in answer.text
    assert "Approve your doses" not in answer.text


@pytest.mark.parametrize("verb", ["score", "approve", "reject"])
@pytest.mark.parametrize("key", ["r1/c01/p1", "", " r1/c02/p1", None])
def test_doses_that_are_not_the_open_ones_are_neither_scored_nor_decided(
    page: Page, verb: str, key: str | None
) -> None:
    page.enter()
    meant = {} if key is None else {"proposal": key}
    answer = page.post(f"{PROPOSAL}/{verb}", {**meant, "why": "so", "dose-L1": "90 nM"})
    assert "not the open ones any more" in answer.text and page.hands.asked == []


def test_a_proposal_that_expired_has_no_form_to_approve_it(page: Page) -> None:
    page.enter()
    assert "Approve these doses" in page.client.get(PROPOSAL).text
    page.now["time_h"] = 13.0
    text = page.client.get(PROPOSAL).text
    assert "Expired" in text and "Approve these doses" not in text and "Reject" in text


def test_a_second_person_is_asked_for_and_the_first_can_not_be_both(page: Page) -> None:
    doses = [{"line": "L1", "asked_nm": 60.0, "risk": 0.2, "chips": ["C01"]}]
    page.record.add_decision("r1/c02/p1", "reject", "alice", "too low")
    key = page.record.add_proposal(RUN, 2, {"doses": doses, "cycle": 2})
    page.enter()
    text = page.client.get(PROPOSAL).text
    assert "Two persons must approve" in text and "L1 (20 %)" in text
    page.record.add_approval(key, "alice", "", 2, 1.0)
    text = page.client.get(PROPOSAL).text
    assert "alice has approved" in text and "Approve these doses" not in text


def test_readings_are_left_out_one_by_one_or_all_and_only_those_there_are(page: Page) -> None:
    page.enter()
    at = f"/runs/{RUN}/chips/C01"
    form = {"why": "bubble", "action": "leave out"}
    page.post(f"{at}/exclude", {**form, "readout": "TEER", "time": "24"}, at)
    page.post(f"{at}/exclude", {**form, "readout": "", "action": "take back"}, at)
    assert page.hands.asked == [
        ["exclude", RUN, "C01", "--why=bubble", "--readout=TEER", "--time=24"],
        ["exclude", RUN, "C01", "--why=bubble", "--take-back"],
    ]
    for odd in (
        {"readout": "TEER", "time": "25"},
        {"readout": "CCL26", "time": ""},
        {"time": "24"},
    ):
        assert "no such reading" in page.post(f"{at}/exclude", {**form, **odd}, at).text
    assert "needs its reason" in page.post(f"{at}/exclude", {"why": " "}, at).text
    assert page.client.post(
        f"/runs/{RUN}/chips/--take-back/exclude", data={**page.fields(at), **form}, headers=ORIGIN
    ).status_code == 404  # fmt: skip
    assert len(page.hands.asked) == 2


# --- live


def test_the_live_part_answers_only_where_something_is_new(page: Page) -> None:
    page.enter()
    text = page.client.get(f"/runs/{RUN}").text
    address = text.partition('id="live" hx-get="')[2].partition('"')[0].replace("&amp;", "&")
    assert page.client.get(address).status_code == 204
    page.record.add_state(RUN, "running", 31.0, "a new thing")
    fresh = page.client.get(address, headers={"hx-request": "true"})
    assert fresh.status_code == 200 and "a new thing" in fresh.text and "<html" not in fresh.text


def test_doses_that_were_decided_elsewhere_are_told_on_the_open_page(page: Page) -> None:
    page.enter()
    text = page.client.get(PROPOSAL).text
    address = text.partition('hx-get="')[2].partition('"')[0].replace("&amp;", "&")
    assert page.client.get(address).status_code == 204
    page.record.add_decision("r1/c02/p1", "reject", "bob", "no")
    assert "Something was decided" in page.client.get(address).text


def test_many_campaigns_and_many_lines_come_in_pages(page: Page) -> None:
    from chiploop.study import load_study
    from tests.chiploop.review.conftest import STUDY

    study = load_study(STUDY)
    for i in range(30):
        page.record.add_run(f"s{i:02d}", study, seed=i, simulated=False)
    page.enter()
    first, second = (page.client.get("/", params={"page": n}).text for n in (1, 2))
    assert "s29" in first and "s04" not in first and "s04" in second and RUN in second
    for odd in ("0", "-1", "99", "x", "1" * 50, "²"):
        assert page.client.get("/", params={"page": odd}).status_code == 200


def test_the_server_loads_nothing_that_draws_or_computes() -> None:
    asked = (
        "import sys; import chiploop.review.pages, flows.cli.review, flows.review_hands, uvicorn, flows.cli.main;"
        "from pathlib import Path; from flows.cli.review import desk_of, status_of;"
        "desk_of(Path('.'), None);"
        "import flows.run_status, flows.clock, flows.service, flows.holding;"
        "print([n for n in ('matplotlib', 'scipy', 'numba', 'llvmlite', 'prefect', 'skimage', 'xarray') "
        "if n in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "[]"

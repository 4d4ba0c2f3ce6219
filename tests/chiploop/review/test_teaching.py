"""A lesson on the page: a walk through a case, what is refused, what nobody else sees."""

from __future__ import annotations

import html
import re

import httpx
import pytest

from chiploop.review.lesson_chart import apart, chart_of
from chiploop.review.lessons import MOST_LESSONS, Lessons
from chiploop.twin.teaching import advice
from chiploop.twin.teaching.cases import case_of
from chiploop.twin.teaching.content import content
from chiploop.twin.teaching.play import played
from tests.chiploop.review.conftest import ORIGIN, Page

RESEARCH = "Research use only; not for clinical decisions."


@pytest.fixture(autouse=True)
def few_virtual_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the twin of a case have few virtual patients: what is asked here is what is shown."""
    monkeypatch.setattr(advice, "VIRTUAL", 300)


def begin(page: Page, seed: str = "3", case: str = "4") -> str:
    """Begin a case; return the address of the lesson."""
    answer = page.post("/teach/begin", {"seed": seed, "case": case}, at="/teach")
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def send(page: Page, lesson: str, verb: str, form: dict[str, str]) -> httpx.Response:
    """Send a form of a lesson as its page has it."""
    text = page.client.get(lesson).text
    hidden = {
        name: re.search(rf'name="{name}" value="([^"]*)"', text)[1]  # type: ignore[index]
        for name in ("form", "once", "step")
    }
    return page.client.post(f"{lesson}/{verb}", data={**hidden, **form}, headers=ORIGIN)


def shown(answer: httpx.Response) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


def test_a_learner_who_only_looks_at_runs_walks_through_a_case_to_its_score(page: Page) -> None:
    page.enter("viewer")
    lesson = begin(page)
    first = page.client.get(lesson)
    assert RESEARCH in first.text and "SIMULATED" in first.text and "Week 0" in first.text
    assert "<svg" not in first.text and "Score" not in first.text
    assert send(page, lesson, "order", {"test-tewl": "yes", "test-flg": "yes"}).status_code == 303
    assert "TEWL" in shown(page.client.get(lesson))
    assert "comes at week 4" in shown(page.client.get(lesson))
    for _ in range(3):
        answer = send(page, lesson, "treat", {"treatment": "dupilumab", "probability": "60"})
        assert answer.status_code == 303 and answer.headers["location"] == lesson
    answers = ["tewl, flg", *["", "dupilumab", "60"] * 3]
    end = content(played(case_of(3, 4), answers))["debrief"]
    text = shown(page.client.get(lesson))
    assert f"Score {end['score']['total']:.1f} of 100" in text
    assert f"Emollient alone emollient {end['emollient']['EASI'][4]:.1f}" in text
    for one in end["kept"]:
        assert one["name"] in text
    assert f"{end['score']['total']:.1f}" in shown(page.client.get("/teach"))
    over = page.client.get(lesson).text
    assert "<form" not in over and RESEARCH in over
    assert page.hands.asked == []


def test_a_form_that_can_not_be_taken_says_why_keeps_what_was_entered_and_takes_nothing(
    page: Page,
) -> None:
    page.enter()
    lesson = begin(page)
    bad = send(page, lesson, "treat", {"treatment": "dupilumab", "probability": "<b>0.6"})
    assert "is no percentage; write a number" in shown(bad) and "Nothing was taken." in shown(bad)
    assert "&lt;b&gt;0.6" in bad.text and "<b>0.6" not in bad.text
    assert re.search(r'value="dupilumab" required checked', bad.text)
    assert "No test was chosen" in shown(send(page, lesson, "order", {}))
    assert "no test" in shown(send(page, lesson, "order", {"test-<script>": "yes"}))
    assert "offered: emollient" in shown(send(page, lesson, "treat", {"probability": "5"}))
    assert "Week 0" in page.client.get(lesson).text


@pytest.mark.parametrize(
    "form", [{"seed": "x"}, {"case": "0"}, {"case": "-1"}, {"seed": "²"}, {"seed": "9" * 10}]
)
def test_a_case_that_is_none_is_not_begun(page: Page, form: dict[str, str]) -> None:
    page.enter()
    answer = page.post("/teach/begin", {"seed": "1", "case": "1", **form}, at="/teach")
    assert answer.status_code == 200 and 'role="alert"' in answer.text
    assert "Your lessons" not in page.client.get("/teach").text


def test_forged_old_and_strange_forms_are_refused_and_change_nothing(page: Page) -> None:
    page.enter()
    lesson = begin(page)
    fields = page.fields(lesson)
    give = {"treatment": "dupilumab", "probability": "60"}

    def post(form: dict[str, str], headers: dict[str, str] | None = None) -> int:
        return page.client.post(f"{lesson}/treat", data=form, headers=headers or ORIGIN).status_code

    assert post({**fields, **give, "step": "0"}, {"origin": "http://evil.example"}) == 403
    assert post({**fields, **give, "step": "0", "form": "0" * 64}) == 403
    assert post({**give, "step": "0"}) == 403
    assert post({**page.fields(lesson), **give, "step": "3"}) == 409
    assert post({**page.fields(lesson), **give}) == 409
    good = {**page.fields(lesson), **give, "step": "0"}
    assert post(good) == 303
    assert post(good) == 409
    # a new number, but the step of before: what was answered is not taken back
    assert post({**page.fields(lesson), **give, "step": "0"}) == 409
    assert "Week 4" in page.client.get(lesson).text


def test_a_lesson_is_nobody_elses(page: Page) -> None:
    page.enter()
    lesson = begin(page)
    assert page.client.get(lesson).status_code == 200
    page.enter()
    assert page.client.get(lesson).status_code == 404
    other = begin(page)
    form = {**page.fields(other), "step": "0", "treatment": "dupilumab", "probability": "6"}
    assert page.client.post(f"{lesson}/treat", data=form, headers=ORIGIN).status_code == 404
    assert page.client.get("/teach").text.count('<td><a href="/teach/') == 1


def test_without_a_session_nothing_is_taught(page: Page) -> None:
    for path in ("/teach", "/teach/1"):
        assert page.client.get(path).status_code == 401
    for path in ("/teach/begin", "/teach/1/order", "/teach/1/treat"):
        assert page.client.post(path, data={}, headers=ORIGIN).status_code == 401


def test_the_oldest_lessons_are_dropped_and_a_lesson_goes_on_once() -> None:
    lessons = Lessons()
    told = {"answers": []}
    begun = [lessons.begin("a", told) for _ in range(MOST_LESSONS + 5)]
    assert lessons.of("a", begun[4].name) is None and lessons.of("a", begun[5].name) == begun[5]
    assert lessons.of("b", begun[5].name) is None
    assert lessons.go_on(begun[5], {"answers": ["x"]})
    assert not lessons.go_on(begun[5], {"answers": ["y"]})
    found = lessons.of("a", begun[5].name)
    assert found is not None and found.answers == ["x"] and found.step == "1"
    assert lessons.of_learner("a")[0] == begun[-1]


def test_the_picture_holds_every_reading_and_keeps_names_apart() -> None:
    told = content(played(case_of(3, 4), ["", "dupilumab", "60"]))
    chart = chart_of(told)
    assert len(chart.points) == 2 and chart.lines == () and len(chart.treatments) == 1
    assert all(
        chart.left <= x <= chart.right and chart.top <= y <= chart.bottom
        for x, y, _ in chart.points
    )
    over = chart_of(content(played(case_of(3, 4), ["", "dupilumab", "60"] * 3)))
    assert [line.kind for line in over.lines] == ["emollient", "twin", "best", "yours"]
    places = sorted(line.label_y for line in over.lines)
    assert all(b - a >= 14.9 for a, b in zip(places, places[1:], strict=False))
    assert max(places) <= over.bottom
    assert list(apart({"a": 200.0, "b": 100.0})) == ["b", "a"]


def test_on_paper_a_lesson_keeps_its_tests_and_prices(page: Page) -> None:
    page.enter("viewer")
    text = page.client.get(begin(page)).text
    assert text.count('<fieldset class="printed">') == text.count("<fieldset") == 2
    paper = page.client.get("/static/style.css").text.rpartition("@media print")[2]
    assert "fieldset:not(.printed)" in paper and " fieldset," not in paper

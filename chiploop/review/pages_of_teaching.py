"""The pages of teaching cases: beginning one, its visits, its end.

Belongs here: requests and answers. Not here: rules, patients and points (chiploop.twin.teaching: the hands ask
them in a process of their own), who answered what (lessons), markup (templates).

A learner decides nothing about a run, so a session that only looks may learn too. Works without script: each form
leads back to the lesson's own address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from chiploop.review.contracts import Answer
from chiploop.review.front import Front, Handler, number_in
from chiploop.review.lesson_chart import chart_of
from chiploop.review.lessons import Lesson, Lessons

TITLE = "Teaching cases"
WENT_ON = "This lesson has gone on since the form was shown. Nothing was taken; load its page anew."


@dataclass(frozen=True)
class TeachingPages:
    """What is shown of teaching cases, and what their forms do."""

    front: Front
    lessons: Lessons = field(default_factory=Lessons)

    def shown(self) -> dict[str, Handler]:
        """Return addresses for everybody with a session."""
        return {"/teach": self.begin_page, "/teach/{lesson}": self.lesson_page}

    def answered(self) -> dict[str, Handler]:
        """Return addresses of forms, for everybody with a session."""
        return {
            "/teach/begin": self.begin,
            "/teach/{lesson}/order": self.order,
            "/teach/{lesson}/treat": self.treat,
        }

    async def begin_page(self, request: Request) -> Response:
        """Choose a case."""
        chosen = {name: str(number_in(request, name)) for name in ("seed", "case")}
        return self.choose(request, chosen)

    def choose(self, request: Request, chosen: Mapping[str, str], said: str = "") -> Response:
        """Return the page on which a case is begun."""
        lessons = self.lessons.of_learner(request.state.session.name)
        values = {"chosen": chosen, "said": said, "lessons": lessons, **self.about(TITLE)}
        return self.front.show(request, "teach.html.j2", values)

    def about(self, title: str) -> dict[str, Any]:
        """Return what every page of a lesson knows: its numbers are simulated."""
        return {"here": "teach", "title": title, "simulated": True}

    def lesson_of(self, request: Request) -> Lesson:
        """Return the lesson of an address; 404 where this learner has none of that name."""
        found = self.lessons.of(request.state.session.name, request.path_params["lesson"])
        if found is None:
            raise HTTPException(
                404,
                "You have no such lesson: lessons end with the page that is served. Begin it anew.",
            )
        return found

    async def lesson_page(self, request: Request) -> Response:
        """A case as it stands."""
        return self.lesson_shown(request, self.lesson_of(request))

    def lesson_shown(
        self,
        request: Request,
        lesson: Lesson,
        said: str = "",
        form: Mapping[str, str] | None = None,
    ) -> Response:
        """Return the page of a lesson; where a form was refused, with what it said."""
        told = lesson.told
        values = {
            "lesson": lesson,
            "told": told,
            "chart": chart_of(told),
            "rows": treatment_rows(told["treatments"]),
            "said": said,
            "entered": form or {},
            **self.about(f"{told['patient']}, week {told['week']}"),
        }
        return self.front.show(request, "lesson.html.j2", values)

    async def begin(self, request: Request) -> Response:
        """Begin a case."""
        form = request.state.form
        chosen = {name: form.get(name, "").strip() for name in ("seed", "case")}
        wrong = [
            name
            for name, text in chosen.items()
            if not (text.isascii() and text.isdigit() and len(text) < 11)
        ]
        if wrong:
            said = f"{' and '.join(wrong)} must be a whole number, such as 1. Nothing was begun."
            return self.choose(request, chosen, said)
        answer = await self.asked(int(chosen["seed"]), int(chosen["case"]), [])
        if answer.refusal:
            return self.choose(request, chosen, answer.refusal)
        lesson = self.lessons.begin(request.state.session.name, answer.told)
        return back_to(lesson)

    async def order(self, request: Request) -> Response:
        """Order the tests that a form chose."""
        form = request.state.form
        names = [
            name.removeprefix("test-")
            for name, value in form.items()
            if name.startswith("test-") and value
        ]
        if not names:
            lesson = self.lesson_of(request)
            return self.lesson_shown(
                request, lesson, "No test was chosen. Nothing was ordered.", form
            )
        return await self.step(request, [", ".join(names)])

    async def treat(self, request: Request) -> Response:
        """Treat until the next visit, with the probability that a form states."""
        form = request.state.form
        given = [form.get("treatment", ""), form.get("probability", "")]
        return await self.step(request, ["", *given])

    async def step(self, request: Request, more: Sequence[str]) -> Response:
        """Take more answers, where the form was shown at this very step."""
        form, lesson = request.state.form, self.lesson_of(request)
        if form.get("step") != lesson.step:
            raise HTTPException(409, WENT_ON)
        told = lesson.told
        answer = await self.asked(told["seed"], told["case"], [*lesson.answers, *more])
        if answer.refusal:
            return self.lesson_shown(request, lesson, without_place(answer.refusal), form)
        if not self.lessons.go_on(lesson, answer.told):
            raise HTTPException(409, WENT_ON)
        return back_to(lesson)

    async def asked(self, seed: int, case: int, answers: Sequence[str]) -> Answer:
        """Return a case after answers, from the process that calculates."""
        words = [f"--seed={seed}", f"--case={case}", *(f"--answer={one}" for one in answers)]
        return await run_in_threadpool(self.front.desk.hands.teach, words)


def back_to(lesson: Lesson) -> Response:
    """Return the way to the page of a lesson: a form that was taken is not sent again by loading anew."""
    return RedirectResponse(f"/teach/{lesson.name}", 303)


def without_place(refusal: str) -> str:
    """Return a refusal without the number of the answer, which a form does not have."""
    _, taken, said = refusal.partition(" can not be taken: ")
    return f"{said[:1].upper()}{said[1:]}. Nothing was taken." if taken else refusal


def treatment_rows(treatments: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for each treatment: alone, and with topicals."""
    pairs = zip(treatments[::2], treatments[1::2], strict=True)
    return [{"alone": alone, "with_topicals": with_topicals} for alone, with_topicals in pairs]

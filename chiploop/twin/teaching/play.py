"""A case being played: answers -> what is known, and what is asked next.

Belongs here: reading answers, one after the other. Not here: prompts and forms, points (score). A play is its
case and its answers: the same answers lead to the same play.

At each visit: tests (as often as wanted, an empty answer goes on), one treatment, and the probability that EASI
will at the next visit lie 75 % or more below the first one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from chiploop.twin.teaching.cases import TeachingCase
from chiploop.twin.teaching.paths import STRETCHES, along
from chiploop.twin.teaching.rules import ALIASES, OPTIONS, RESPONSE_PCT, TESTS, VISITS, Test

Asked = Literal["tests", "treatment", "probability", "nothing"]
LONGEST_ANSWER = 200
NOTHING_MORE = ("", "none", "no", "-")


class AnswerRefused(ValueError):
    """An answer that can not be taken; says what is allowed."""


@dataclass(frozen=True)
class Ordered:
    """A test that was ordered."""

    test: str
    week: int
    due: int
    """Week of the visit at which its result is there."""


@dataclass(frozen=True)
class Choice:
    """What was decided at a visit."""

    option: str
    probability: float
    """0 to 1, that EASI lies 75 % or more below the first one at the next visit."""


@dataclass(frozen=True)
class Play:
    """A case with the answers so far."""

    case: TeachingCase
    ordered: tuple[Ordered, ...] = ()
    choices: tuple[Choice, ...] = ()
    tests_done: bool = False
    """Whether the learner has gone on from tests to the treatment of this visit."""
    option: str = ""
    """Chosen at this visit, its probability not said yet."""
    answers: tuple[str, ...] = ()
    """As given, those that were refused left out."""

    @property
    def week(self) -> int:
        """Week of this visit; of the end where the case is over."""
        return (*VISITS, STRETCHES[-1][1])[len(self.choices)]

    @property
    def asks(self) -> Asked:
        """What the next answer is about."""
        if len(self.choices) == len(VISITS):
            return "nothing"
        if not self.tests_done:
            return "tests"
        return "probability" if self.option else "treatment"

    @property
    def plan(self) -> tuple[str, ...]:
        """Treatments so far."""
        return tuple(choice.option for choice in self.choices)

    @property
    def cost(self) -> float:
        """Of all tests that were ordered."""
        return sum(TESTS[one.test].cost for one in self.ordered)

    def told_at(self, week: int) -> dict[str, float | str]:
        """Return the results that are there at a visit."""
        found: dict[str, float | str] = {}
        for one in self.ordered:
            if one.week <= week and one.due <= week:
                found |= self.case.results[one.test]
        return found

    def readings(self) -> list[tuple[int, float]]:
        """Return week and measured EASI of every visit so far, the first one too."""
        found = [(0, self.case.easi)]
        if self.choices:
            course = along(self.case.truth, self.plan)[0]
            found += [
                (last, self.case.measured_easi(last, float(course[last - 1])))
                for _, last in STRETCHES[: len(self.choices)]
            ]
        return found

    def can_order(self) -> list[Test]:
        """Return the tests that can still be ordered at this visit and whose result would be in time."""
        taken = {one.test for one in self.ordered}
        return [
            test
            for test in TESTS.values()
            if test.name not in taken and not refusal(test, self.week)
        ]


def refusal(test: Test, week: int) -> str:
    """Return why a test can not be ordered at a visit; empty where it can."""
    if test.first_visit_only and week > VISITS[0]:
        return f"{test.name} can be made at the first visit alone"
    if test.due_week(week) is None:
        return f"{test.name} takes {test.days} days: it would come after the last decision"
    return ""


def answered(play: Play, answer: str) -> Play:
    """Return the play after one more answer; AnswerRefused with what is allowed."""
    if len(answer) > LONGEST_ANSWER:
        raise AnswerRefused(f"an answer holds at most {LONGEST_ANSWER} letters")
    text = answer.strip().lower()
    asked = play.asks
    if asked == "nothing":
        raise AnswerRefused("the case is over: nothing is asked any more")
    given = replace(play, answers=(*play.answers, answer.strip()))
    if asked == "tests":
        if text in NOTHING_MORE:
            return replace(given, tests_done=True)
        return replace(given, ordered=(*play.ordered, *orders_in(play, text)))
    if asked == "treatment":
        return replace(given, option=option_in(play, text))
    choice = Choice(play.option, probability_in(text))
    return replace(given, choices=(*play.choices, choice), tests_done=False, option="")


def played(case: TeachingCase, answers: Iterable[str]) -> Play:
    """Return a play after its answers; AnswerRefused names the one that can not be taken."""
    play = Play(case)
    for number, answer in enumerate(answers, start=1):
        try:
            play = answered(play, answer)
        except AnswerRefused as problem:
            raise AnswerRefused(f"answer {number} can not be taken: {problem}") from None
    return play


def shortened(answer: str) -> str:
    """Return an answer as it is shown in a message."""
    return answer if len(answer) <= 40 else f"{answer[:40]}..."


def orders_in(play: Play, text: str) -> list[Ordered]:
    """Return the tests that an answer orders."""
    names = list(dict.fromkeys(re.split(r"[,;\s]+", text.strip(" ,;"))))
    can = ", ".join(test.name for test in play.can_order()) or "none, so go on with an empty answer"
    for name in names:
        if name not in TESTS:
            raise AnswerRefused(f"{shortened(name)!r} is no test; can be ordered now: {can}")
        if name in {one.test for one in play.ordered}:
            raise AnswerRefused(f"{name} is ordered already; can be ordered now: {can}")
        why = refusal(TESTS[name], play.week)
        if why:
            raise AnswerRefused(f"{why}; can be ordered now: {can}")
    found = []
    for name in names:
        due = TESTS[name].due_week(play.week)
        assert due is not None  # refused above
        found.append(Ordered(name, play.week, due))
    return found


def option_in(play: Play, text: str) -> str:
    """Return the treatment that an answer names, by name or by its number in the list."""
    offered = play.case.options
    name = re.sub(r"\s+", "", text)
    name = "+".join(ALIASES.get(part, part) for part in name.split("+"))
    name = name.removeprefix("emollient+")
    if name.isascii() and name.isdigit():
        if len(name) < 4 and 1 <= int(name) <= len(offered):
            return offered[int(name) - 1]
        raise AnswerRefused(
            f"there is no treatment {shortened(name)}; numbers: 1 to {len(offered)}"
        )
    if name in offered:
        return name
    if name in OPTIONS:
        raise AnswerRefused(
            f"{name} is not offered in this case, for a thrombosis in the history; offered: {', '.join(offered)}"
        )
    doses = [one for one in offered if one.startswith(f"{name}:") and "+" not in one]
    if doses:
        raise AnswerRefused(f"{name} needs a dose: {' or '.join(doses)}")
    raise AnswerRefused(
        f"{shortened(text)!r} is no treatment; offered: {', '.join(offered)}"
        if text
        else f"a treatment is needed; offered: {', '.join(offered)}"
    )


def probability_in(text: str) -> float:
    """Return the probability of an answer in percent, 0 to 1."""
    allowed = "write a number from 0 to 100, in percent, such as 60"
    try:
        value = float(text.removesuffix("%").strip())
    except ValueError:
        raise AnswerRefused(f"{shortened(text)!r} is no percentage; {allowed}") from None
    if not (math.isfinite(value) and 0.0 <= value <= 100.0):
        raise AnswerRefused(f"{shortened(text)} is not from 0 to 100; {allowed}")
    if 0.0 < value < 1.0:
        raise AnswerRefused(f"{shortened(text)} may be a share or a percentage; {allowed}")
    return value / 100.0


def happened(play: Play) -> list[bool]:
    """Return for each choice whether EASI did fall that far: of the true course, without noise of measuring."""
    baseline = float(play.case.truth.easi[0])
    course = along(play.case.truth, play.plan)[0]
    return [
        bool(100.0 * (1.0 - course[last - 1] / baseline) >= RESPONSE_PCT)
        for _, last in STRETCHES[: len(play.choices)]
    ]

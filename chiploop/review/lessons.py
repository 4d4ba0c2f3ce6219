"""The lessons of a served page: what each learner has answered, kept by the server.

Belongs here: finding and replacing them. Not here: what a case is (chiploop.twin.teaching, which the page's
process never loads), requests (pages_of_teaching). A form names its lesson and the step it was shown at; what was
answered never travels, so it can not be forged, nor taken back by sending an old form again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

MOST_LESSONS = 60
"""Of one served page; the oldest are dropped."""


@dataclass(frozen=True)
class Lesson:
    """One case in play."""

    name: str
    """Its address; good in its own session alone."""
    learner: str
    """Name of the session to which it belongs."""
    told: dict[str, Any]
    """The case as ``chiploop twin teach --show --json`` shows it."""

    @property
    def answers(self) -> list[str]:
        """What was answered so far."""
        return list(self.told["answers"])

    @property
    def step(self) -> str:
        """How many answers were taken; a form carries it."""
        return str(len(self.told["answers"]))


@dataclass
class Lessons:
    """All lessons of a served page."""

    _kept: dict[str, Lesson] = field(default_factory=dict)
    _begun: int = 0

    def begin(self, learner: str, told: dict[str, Any]) -> Lesson:
        """Keep a new lesson."""
        self._begun += 1
        lesson = Lesson(str(self._begun), learner, told)
        self._kept[lesson.name] = lesson
        for old in list(self._kept)[:-MOST_LESSONS]:
            del self._kept[old]
        return lesson

    def of(self, learner: str, name: str) -> Lesson | None:
        """Return a learner's lesson; None where there is none of that name, or it is somebody else's."""
        found = self._kept.get(name)
        return found if found is not None and found.learner == learner else None

    def go_on(self, before: Lesson, told: dict[str, Any]) -> bool:
        """Put what a lesson became in its place; False where it went on meanwhile by another form."""
        if self._kept.get(before.name) is not before:
            return False
        self._kept[before.name] = replace(before, told=told)
        return True

    def of_learner(self, learner: str) -> list[Lesson]:
        """Return a learner's lessons, newest first."""
        return [one for one in reversed(self._kept.values()) if one.learner == learner]

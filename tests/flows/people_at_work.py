"""A run in virtual time that treats people as a real run does: nothing waits for them, and hours pass meanwhile.

Belongs here: opening it in the test's own process, and a clock at which a test lets people act. Not here: tests.
Fits hardly look and always pass, as in warm_chiploop.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import chiploop.campaign
from chiploop.record.record import Record
from chiploop.study import load_study
from chiploop.worklist import HandDone, HandTask
from flows import hands
from flows.cli.main import command_line
from flows.clock import Clock, nobody_stops
from flows.laboratory import Laboratory
from flows.opening import new_run, open_laboratory
from tests.flows.conftest import SMALL_STUDY, edited
from tests.flows.warm_chiploop import quick_recalibrate

LOOK_H = 0.5


class ActingClock:
    """The virtual clock of a run, which stops every half hour for people to act."""

    def __init__(self, inner: Clock, act: Callable[[float], None]) -> None:
        self.inner, self.act = inner, act
        self.stopped_by: Callable[[], str] = nobody_stops

    def now_h(self) -> float:
        return self.inner.now_h()

    def wait_until_h(self, time_h: float) -> None:
        while self.now_h() < time_h:
            self.inner.wait_until_h(min(time_h, self.now_h() + LOOK_H))
            self.act(self.now_h())


class Person:
    """Somebody who types commands under a login of their own."""

    def __init__(self, name: str, runs: Path, patch: pytest.MonkeyPatch) -> None:
        self.name, self.runs, self.patch = name, runs, patch

    def types(self, *words: str) -> int:
        """Return the exit code of a command line."""
        self.patch.setattr("flows.cli.decide.os_login", lambda: self.name)
        return command_line([*words, "--runs", str(self.runs)])


@contextmanager
def people_at_work(
    folder: Path,
    changes: list[tuple[str, str]],
    patch: pytest.MonkeyPatch,
    act: Callable[[Any, float], None],
) -> Iterator[tuple[Laboratory, list[str]]]:
    """Yield the laboratory of a run of the small study, and what is told; ``act(lab, time_h)`` is called often."""
    patch.setattr(chiploop.campaign, "recalibrate", quick_recalibrate)
    patch.setattr(hands, "LOOKS_PER_WATCH", 1)
    study = load_study(edited(SMALL_STUDY, folder, changes))
    files = new_run(study, folder / "runs", 1, True, False)
    told: list[str] = []
    with open_laboratory(files, None, lambda h, cycle, what: told.append(f"{h:.2f} {what}")) as lab:
        real: list[Laboratory] = []
        clock = ActingClock(lab.clock, lambda time_h: act(real[0], time_h))
        real.append(replace(lab, simulated=False, clock=clock, watch_every_h=LOOK_H))
        yield real[0], told


def begun_doses(lab: Laboratory, cycle: int) -> int:
    """Return how many pumps began a dose of a cycle, by the journal."""
    return sum(
        bool(action.sent_h)
        for action in lab.journal.actions(lab.run_id)
        if action.intent.programme_key.rsplit("/", 3)[1::2] == [f"c{cycle:02d}", "dose"]
    )


def do_what_is_due(lab: Laboratory, but: Collection[str] = ()) -> None:
    """Do at once and as planned what hands must do now."""
    for assay in lab.study.assays:
        for cycle in range(1, lab.study.timeline.cycles + 1):
            for task, state in hands.pending(lab, cycle, assay):
                if state != "open" and task.task_id not in but and is_due(lab, task):
                    said = HandDone(task.task_id, "done", "carol", at_h=task.due_h)
                    hands.say_of(lab.record, lab.run_id, said, lab.clock.now_h())


def is_due(lab: Laboratory, task: HandTask) -> bool:
    """Return whether a task can be done now: a collection not before its end."""
    return lab.clock.now_h() >= task.due_h - 1e-6


def proposals(record: Record, run_id: str, cycle: int) -> list[tuple[str, str]]:
    """Return (id, what was decided) of a cycle's proposals."""
    return [(p.key, d.action if d else "open") for p, d in record.proposed(run_id, cycle)]

"""A run on a terminal: the first Ctrl-C holds it and asks, wherever it comes."""

from __future__ import annotations

import os
import signal
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chiploop.errors import WrongUse
from flows.cli import hold, simulate, watch

FILES: Any = SimpleNamespace(folder=Path("/runs/r"), runs=Path("/runs"))


class Gone:
    """Something that a library cleans up."""


def test_ctrl_c_that_meets_a_librarys_clean_up_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raised there, Python would drop it: "Exception ignored in", and a traceback on the screen."""
    now: Any = SimpleNamespace(state="running")
    shown = []

    def show(_: Any) -> None:
        one = Gone()
        shown.append(weakref.ref(one, lambda _: os.kill(os.getpid(), signal.SIGINT)))
        del one
        assert len(shown) < 3, "nobody noticed"

    monkeypatch.setattr("flows.run_status.status_of", lambda *_: now)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        watch.until_ended(FILES, show, now)
    assert len(shown) == 1 and signal.getsignal(signal.SIGINT) is before


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A run that is watched, its holds, and what a person answers."""
    told: dict[str, Any] = {"holds": [], "answers": [], "follows": 0, "ended": False, "new": True}

    def follow(*_: Any) -> int:
        told["follows"] += 1
        if told["follows"] > 1:
            return 0
        raise KeyboardInterrupt

    def set_hold(run: str, runs: Path, on: bool, why: str, as_json: bool) -> bool:
        if told["ended"]:
            raise WrongUse("r has ended; there is nothing to hold")
        told["holds"].append(on)
        return bool(told["new"])

    def prompt(*_: Any) -> str:
        assert told["holds"] == [True], "it is held before anything is asked"
        answer = told["answers"].pop(0)
        if answer == "^C":
            raise KeyboardInterrupt
        return str(answer)

    monkeypatch.setattr(watch, "follow", follow)
    monkeypatch.setattr(hold, "set_hold", set_hold)
    monkeypatch.setattr("typer.prompt", prompt)
    return told


@pytest.mark.parametrize(
    ("answers", "holds", "follows"),
    [
        (["g"], [True, False], 2),
        (["what?", "d"], [True, False], 1),
        (["l"], [True], 1),
        (["^C"], [True], 1),
    ],
)
def test_the_first_ctrl_c_holds_and_asks(
    answers: list[str], holds: list[bool], follows: int, asked: dict[str, Any]
) -> None:
    asked["answers"] = answers
    simulate.show_and_ask(FILES)
    assert (asked["holds"], asked["follows"]) == (holds, follows)


def test_a_hold_of_somebody_else_is_not_ended_from_here(asked: dict[str, Any]) -> None:
    asked["answers"], asked["new"] = ["d"], False
    simulate.show_and_ask(FILES)
    assert asked["holds"] == [True]


def test_a_run_that_ends_meanwhile_is_told_as_ended(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    asked["ended"] = True
    simulate.show_and_ask(FILES)
    assert asked["follows"] == 2 and "has ended" in capsys.readouterr().out

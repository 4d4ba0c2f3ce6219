"""What the page is given by whoever serves it, and nothing else.

Belongs here: contracts and their values. Not here: carrying commands out and drawing (flows.review_hands), pages.

The page never writes into the record itself. Every decision is a command of the command line, carried out under
the login of the process: what a terminal refuses the page refuses, in the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from chiploop.record.record import Record

JobName = Literal["parts", "refit", "signals", "against"]
JobState = Literal["none", "waiting", "running", "done", "failed"]


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    exit_code: int
    told: dict[str, Any]
    """Its JSON object; {"ok": false, "error": {"code", "exit_code", "message"}} where it refused."""

    @property
    def refusal(self) -> str:
        """Why it did nothing; empty where it did what was asked."""
        if self.exit_code == 0:
            return ""
        error = self.told.get("error", {})
        return str(error.get("message") or "the command failed and said nothing; look at its log")


@dataclass(frozen=True)
class JobStanding:
    """Where something that takes long stands."""

    state: JobState
    said: str = ""
    """Why it failed."""


class Hands(Protocol):
    """Whoever carries out commands and draws, in processes of their own."""

    def carry_out(self, words: Sequence[str]) -> Answer:
        """Carry out one command of ``chiploop`` and return what it said; waits for it."""
        ...

    def teach(self, words: Sequence[str]) -> Answer:
        """Carry out ``chiploop twin teach`` with these words and return what it said; decides nothing."""
        ...

    def start(self, name: JobName, run_id: str, *detail: str) -> None:
        """Start something that takes long, where it does not run or wait already; ``detail`` says of what."""
        ...

    def standing(self, name: JobName, run_id: str, *detail: str) -> JobStanding:
        """Return where it stands."""
        ...


@dataclass(frozen=True)
class Status:
    """Where a run stands, as ``chiploop status`` says it."""

    state: str
    cycle: int
    cycles: int
    time_h: float
    end_h: float
    doing: str = ""
    quiet_s: float | None = None
    held_by: str = ""
    ended: str = ""
    held_lines: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Desk:
    """Everything that the page works with."""

    runs: Path
    """Folder of the runs."""
    open_record: Callable[[], Record | None]
    """Opens the record for reading; None where there is none yet."""
    status_of: Callable[[str], Status | None]
    """Run id -> where it stands; None where its folder is not here."""
    journal_of: Callable[[str], Path | None]
    """Run id -> its journal; None where there is none here."""
    hands: Hands
    login: str
    """In whose name the page decides: that of the operating system's login."""
    models: Callable[[str], Mapping[str, str]] = lambda run_id: {}
    """Run id -> name of a model -> why the run can not be fitted with it; empty where it can."""
    time_h: Callable[[str], float] = lambda run_id: 0.0
    """Run id -> study time now."""

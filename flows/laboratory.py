"""What a run works with: study, instruments, clock, record, journal.

Belongs here: the value that the flow hands to its tasks. Not here: opening it (opening), steps (tasks).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from chiploop.record.journal import Journal
from chiploop.record.raw_files import RawFileStore
from chiploop.record.record import Record
from chiploop.study import Study
from flows.clock import Clock
from flows.readouts_at_hand import ReadoutsAtHand
from flows.technician import Technician
from flows.wire_news import WireNews
from instruments.bench import Bench

Tell = Callable[[float, int, str], None]
"""(study time in h, cycle, what happens now) -> None, for the progress display."""


def tell_nobody(time_h: float, cycle: int, what: str) -> None:
    """Say nothing."""


def reserve_nothing() -> None:
    """Reserve nothing: instruments that nobody else can want."""


@dataclass(frozen=True)
class Laboratory:
    """Everything that the steps of one run need."""

    study: Study
    run_id: str
    folder: Path
    """runs/<run_id>."""
    seed: int
    simulated: bool
    clock: Clock
    bench: Bench
    technician: Technician
    record: Record
    journal: Journal
    raw: RawFileStore
    tell: Tell = field(default=tell_nobody)
    watch_every_h: float = 0.1
    """Study time between two looks at pumps that run."""
    file_folders: Mapping[str, Path] = field(default_factory=dict)
    """Kind of file that a program elsewhere writes -> the folder where it arrives."""
    look_every_h: float = 1.0 / 60.0
    """Study time between two looks at these folders."""
    reserve: Callable[[], None] = field(default=reserve_nothing)
    """Moves what the run has reserved to what it needs from now on."""
    wire_news: WireNews = field(default_factory=WireNews)
    """What was told of the wires, and when."""

    @cached_property
    def at_hand(self) -> ReadoutsAtHand:
        """Readouts for a dose that is under way."""
        return ReadoutsAtHand(self.record, self.run_id)

    @property
    def study_folder(self) -> Path:
        """Folder of the study's file; file names in the study are relative to it."""
        return (
            Path(self.study.source_path).resolve().parent if self.study.source_path else self.folder
        )

    def say(self, cycle: int, what: str) -> None:
        """Tell what happens now."""
        self.tell(self.clock.now_h(), cycle, what)

"""What the verbs below ``chiploop instruments`` share: a part of a lab.toml, open doses, asking people.

Belongs here: choosing devices, looking into the journal before a port is opened, telling trouble of
one device. Not here: any one verb. Heavy libraries are imported inside the functions.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import typer

from chiploop.errors import WrongUse

if TYPE_CHECKING:
    from chiploop.record.actions import Action
    from instruments.lab_settings import LabSettings

LAB = typer.Argument(metavar="LAB", help="lab.toml of the instruments.")
PUMPS = typer.Option([], "--pump", help="Only this pump; may be given again.")
RUNS = typer.Option(Path("runs"), "--runs", help="Folder of the runs, with their journal.")
BENCH_RUN: Final = "bench"
"""Run id of what is done at the bench outside a study."""
JOURNAL: Final = "journal.sqlite"
LOCKS: Path | None = None
"""Folder of the port locks; None is the one that the whole computer shares. Tests set it."""


@runtime_checkable
class Refillable(Protocol):
    """A pump that fills its own syringe, from a port of its valve."""

    def fill(self) -> None:
        """Fill the syringe."""

    def initialise(self) -> None:
        """Find the plunger's end; expels what the syringe holds."""


@dataclass(frozen=True)
class OpenDose:
    """A dose of which the journal does not know the end."""

    run: str
    key: str
    held: bool
    """A person must say what happened; otherwise the run takes it up again."""

    def told(self, pump: str) -> str:
        """Return what is open and what ends it."""
        if self.run == BENCH_RUN or self.held:
            how = f'chiploop settle {self.run} --pump {pump} --delivered "..." --why "..."'
        else:
            how = f"chiploop resume {self.run}"
        return (
            f"the journal does not know how a dose of it ended ({self.key}), and opening its port "
            f"would acknowledge the alarm that proves a power cut. First: {how}"
        )


def only(settings: LabSettings, names: Iterable[str]) -> LabSettings:
    """Return the settings of some devices alone, with the buses that they need."""
    from instruments.lab_settings import LabSettings

    wanted = set(names)
    pumps = {name: pump for name, pump in settings.pumps.items() if name in wanted}
    used = {pump.bus for pump in pumps.values()}
    return LabSettings(
        buses={name: bus for name, bus in settings.buses.items() if name in used},
        pumps=pumps,
        plate_readers={n: e for n, e in settings.plate_readers.items() if n in wanted},
        impedance_meters={n: e for n, e in settings.impedance_meters.items() if n in wanted},
        valves={n: e for n, e in settings.valves.items() if n in wanted},
    )


def named_pumps(settings: LabSettings, names: Iterable[str], lab: Path) -> list[str]:
    """Return the pumps that were named, all of them where none was; WrongUse for a stranger."""
    asked = list(dict.fromkeys(names))
    strangers = [name for name in asked if name not in settings.pumps]
    if strangers:
        raise WrongUse(
            f"{lab} has no pump {', '.join(strangers)}; its pumps: "
            f"{', '.join(settings.pumps) or 'none'}. Nothing was sent"
        )
    return asked or list(settings.pumps)


def open_doses(runs: Path, pumps: Iterable[str] | None = None) -> dict[str, OpenDose]:
    """Return pump -> what is open on it, by the journal of all real runs; of every pump for None.

    Makes no journal where there is none.
    """
    from chiploop.record.journal import Journal

    path = runs / JOURNAL
    if not path.is_file():
        return {}
    with Journal(path) as journal:
        actions = _open_actions(journal)
    wanted = None if pumps is None else set(pumps)
    return {
        action.intent.pump: OpenDose(action.intent.run_id, action.intent.key, bool(action.held))
        for action in actions
        if wanted is None or action.intent.pump in wanted
    }


def _open_actions(journal: Any) -> list[Action]:
    intended = dict.fromkeys(event.key for event in journal.events() if event.kind == "intent")
    actions = [journal.action(key) for key in intended]
    return [action for action in actions if action is not None and action.open]


def bench_folder(runs: Path) -> Path:
    """Return the folder that takes what is done at the bench outside a study."""
    return runs / BENCH_RUN


def wire_folder(runs: Path) -> Path:
    """Return where the bytes go that are not those of a run."""
    return bench_folder(runs) / "wire"


def counted(number: int, noun: str) -> str:
    """Return ``1 pump``, ``2 pumps``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def plain_trouble(error: Exception, name: str) -> str:
    """Return what the bench says of one device, without the list around it."""
    told = str(error)
    head, _, body = told.partition("\n")
    if head.startswith("the bench did not open") and body:
        told = " ".join(line.strip() for line in body.splitlines())
    for _ in range(2):  # the bench names the device, and so does its driver
        told = told.removeprefix(f"{name}: ").removeprefix(f"{name} ")
    return told


@contextmanager
def way_to_confirm(lab: Path, pump: str) -> Iterator[None]:
    """Add to a pump's refusal of its syringe what helps."""
    from instruments.errors import SyringeDiffers

    try:
        yield
    except SyringeDiffers as differs:
        differs.add_note(f"Then: chiploop instruments confirm {lab} --pump {pump}")
        raise


def ask_yes(question: str, unasked: str) -> None:
    """Return where a person types ``yes``; WrongUse where the answer is another, or nobody is there.

    ``unasked`` says what to do where there is no terminal.
    """
    if not sys.stdin.isatty():
        raise WrongUse(f"nobody can be asked here; {unasked}. Nothing was set, nothing moved")
    print(question, file=sys.stderr)
    print("Type yes to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() != "yes":
        raise WrongUse("the answer was not yes; nothing was set, nothing moved")


class _Keep(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.WARNING and ": unconfirmed: " not in message:
            self.messages.append(message)


@contextmanager
def remarks() -> Iterator[list[str]]:
    """Collect what drivers remark for the length of a block, instead of letting it onto the screen.

    What is unconfirmed of a make is left out: it is the same each time (``unconfirmed_of``).
    """
    log, keep = logging.getLogger("instruments"), _Keep()
    before = log.propagate
    log.addHandler(keep)
    log.propagate = False
    try:
        yield keep.messages
    finally:
        log.propagate = before
        log.removeHandler(keep)


def unconfirmed_of(makes: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return make -> what of it no document settles; makes of which all is confirmed are left out."""
    from instruments.drivers import DRIVERS

    return {make: told for make in dict.fromkeys(makes) if (told := DRIVERS[make].unconfirmed)}

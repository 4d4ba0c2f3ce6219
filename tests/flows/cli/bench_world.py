"""Emulated devices on TCP with their lab.toml, and a terminal that answers, for the instrument verbs."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chiploop.dosing import PumpProgramme, PumpStep
from chiploop.record.actions import Intent, action_key, programme_key
from chiploop.record.journal import Journal
from flows.cli.main import command_line
from instruments.drivers import DRIVERS
from instruments.emulators.catalogue import EMULATORS
from instruments.emulators.faults import FaultyWire
from instruments.emulators.serve import Switchboard, in_background
from instruments.scan import lab_snippet

SPEED = 36_000.0
"""Study seconds in a second: ten hours."""


class Terminal(io.StringIO):
    """Standard input of a person who is there."""

    def isatty(self) -> bool:
        return True


class Nobody(io.StringIO):
    """Standard input where nobody is."""


class World:
    """Devices by name, their wires, and the lab.toml that names them all."""

    def __init__(self, folder: Path, makes: Mapping[str, str], speed: float = SPEED) -> None:
        self.folder, self.lab, self.runs = folder, folder / "lab.toml", folder / "runs"
        self.board = Switchboard()
        self.devices: dict[str, Any] = {}
        self.wires: dict[str, FaultyWire] = {}
        self.urls: dict[str, str] = {}
        pieces = []
        begun_s = time.monotonic()
        for name, make in makes.items():
            device = EMULATORS[make].build(
                lambda: (time.monotonic() - begun_s) * speed / 3600.0, time.monotonic
            )
            self.devices[name], self.wires[name] = device, FaultyWire(device, time.monotonic)
            self.urls[name] = self.board.add_device(name, self.wires[name], with_pty=False).tcp
            values = EMULATORS[make].lab
            pieces.append(
                lab_snippet(make, DRIVERS[make], self.urls[name], name=name, values=values)
            )
        self.lab.write_text("\n".join(pieces), encoding="utf-8")

    def do(self, *words: str) -> int:
        """Carry out ``chiploop WORDS --runs RUNS`` and return its exit code."""
        return command_line([*words, "--runs", str(self.runs)])

    def instruments(self, verb: str, *words: str) -> int:
        """Carry out ``chiploop instruments VERB LAB WORDS`` and return its exit code."""
        return self.do("instruments", verb, str(self.lab), *words)

    def sent(self) -> list[bytes]:
        """Return everything that went out to any device, by the records of the bench."""
        found = []
        for path in sorted(self.folder.rglob("*.jsonl")):
            entries = (json.loads(line) for line in path.read_text().splitlines())
            found += [bytes.fromhex(e["hex"]) for e in entries if e["direction"] == "sent"]
        return found


@contextmanager
def world(folder: Path, makes: Mapping[str, str], speed: float = SPEED) -> Iterator[World]:
    """Serve devices for the length of a block: name -> make."""
    made = World(folder, makes, speed)
    with in_background(made.board):
        yield made


def open_dose(made: World, pump: str, run: str = "study_1") -> None:
    """Put a dose of a run on record that has no end."""
    key = programme_key(run, 1, "L1", "dose")
    step = PumpStep(pump, "low", 100.0, 50.0)
    programme = PumpProgramme("L1", "dose", 1.0, 1.0, 0.5, (step,), 0.0, 1.0)
    with Journal(made.runs / "journal.sqlite") as journal:
        journal.intend(
            [
                Intent(
                    key=action_key(key, pump),
                    run_id=run,
                    programme_key=key,
                    pump=pump,
                    programme=programme,
                    flow_rate_ul_h=100.0,
                    volume_ul=50.0,
                    counter_ul=0.0,
                    resolution_ul=0.1,
                    restarts=0,
                    session="s",
                    time_h=1.0,
                )
            ]
        )

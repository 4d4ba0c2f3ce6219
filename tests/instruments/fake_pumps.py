"""Pumps whose state lives in a file: they outlive the process that talks to them, as real ones do.

Belongs here: the pumps, the world's clock, and a controller that a test may kill. Not here: wire
formats (the emulators), what must hold (test_delivery).

Run as a program it is the controller: ``python -m tests.instruments.fake_pumps FOLDER``, with
``forgetful`` behind it for the planted bug.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chiploop.dosing import PumpProgramme, PumpStep
from chiploop.record.actions import Action, Intent
from chiploop.record.journal import Journal
from chiploop.record.progress import ProgrammeProgress
from instruments.contracts import PumpSettings, PumpStatus
from instruments.delivery import finish_programme, start_programme
from instruments.errors import DeviceAlarm, DeviceRejected, OutcomeUnknown, TransportTimeout

KEY = "run-1/c01/L1/dose"
PROGRAMME = PumpProgramme(
    line="L1",
    purpose="dose",
    asked_nm=480.0,
    delivered_nm=480.0,
    duration_h=48.0,
    steps=(
        PumpStep("L1-low", "low", 144.0, 6912.0),
        PumpStep("L1-stimulus", "stimulus", 36.0, 1728.0),
    ),
    vehicle_fraction=4.8e-5,
    stimulus_fraction=1.0,
)


class World:
    """The state of all pumps and the time, in one file, replaced at every change."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "world.json"
        if not self.path.exists():
            self._save({"time_h": 24.0, "pumps": {}})

    def load(self) -> dict[str, Any]:
        return json.loads(self.path.read_text())  # type: ignore[no-any-return]

    def _save(self, state: dict[str, Any]) -> None:
        draft = self.path.with_suffix(".tmp")
        draft.write_text(json.dumps(state))
        os.replace(draft, self.path)

    def change(self, name: str, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        state = self.load()
        # The counter stands at a large number: the first programme has to clear it.
        fresh = {"state": "idle", "counter": 9000.0, "left": 0.0, "rate": 0.0, "volume": 0.0}
        pump = state["pumps"].setdefault(name, {**fresh, "starts": 0, "alarm": False, "moved": 0.0})
        change(pump)
        self._save(state)
        return pump  # type: ignore[no-any-return]

    def advance_to(self, time_h: float) -> None:
        state = self.load()
        elapsed_h = max(0.0, time_h - state["time_h"])
        for pump in state["pumps"].values():
            if pump["state"] == "infusing":
                moved = min(pump["left"], pump["rate"] * elapsed_h)
                pump["counter"] += moved
                pump["moved"] += moved
                pump["left"] -= moved
                if pump["left"] <= 1e-9:
                    pump["state"] = "idle"
        state["time_h"] += elapsed_h
        self._save(state)

    def cut_power(self) -> None:
        """Every pump stops and comes back with its counter at zero and a latched reset alarm."""
        for name in self.load()["pumps"]:
            self.change(name, lambda p: p.update(state="idle", counter=0.0, left=0.0, alarm=True))


class FakePump:
    """A pump of four digits and 1 uL counter steps; ``fault`` spoils what the test wants
    spoiled.
    """

    def __init__(self, world: World, name: str, fault: str = "", times: int = 1) -> None:
        self.world, self.name, self.fault, self.times = world, name, fault, times
        self.restarts = 0
        self.alarm = ""
        """Kept until it is acknowledged."""

    def quantise(self, flow_rate_ul_h: float, volume_ul: float) -> PumpSettings:
        if flow_rate_ul_h < 3.0:
            raise ValueError(f"{flow_rate_ul_h:g} uL/h is below 3 uL/h of {self.name}")
        return PumpSettings(four_digits(flow_rate_ul_h), four_digits(volume_ul))

    def prepare(self, flow_rate_ul_h: float, volume_ul: float) -> PumpSettings:
        pump = self.world.change(
            self.name, lambda p: p.update(rate=flow_rate_ul_h, volume=volume_ul)
        )
        return PumpSettings(pump["rate"], pump["volume"])

    def start(self) -> None:
        spoiled = self.times > 0
        self.times -= 1
        if spoiled and self.fault == "refuses":
            raise DeviceRejected(f"{self.name} refused RUN")
        if spoiled and self.fault == "stalls":
            raise DeviceAlarm(f"{self.name} stalls", "stall")
        if not (spoiled and self.fault == "lost before"):
            self.world.change(
                self.name,
                lambda p: p.update(state="infusing", left=p["volume"], starts=p["starts"] + 1),
            )
        if spoiled and self.fault.startswith("lost"):
            raise OutcomeUnknown(f"{self.name} did not answer RUN", b"RUN")

    def status(self) -> PumpStatus:
        if self.fault == "silent":
            raise TransportTimeout(f"{self.name} is silent")
        alarmed = self.world.change(self.name, lambda p: None)["alarm"]
        self.restarts += alarmed
        pump = self.world.change(self.name, lambda p: p.update(alarm=False))
        counted_ul = float(math.floor(pump["counter"] + 1e-6))
        state = "alarm" if self.alarm else pump["state"]
        return PumpStatus(state, counted_ul, 1.0, self.restarts, self.alarm)

    def clear_counter(self) -> None:
        self.world.change(self.name, lambda p: p.update(counter=0.0))

    def stop(self) -> None:
        self.world.change(self.name, lambda p: p.update(state="idle", left=0.0))

    def acknowledge(self) -> None:
        self.alarm = ""


class ForgetfulJournal(Journal):
    """A planted bug: an intent reaches the disk only after the pump has started."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self._late: list[Intent] = []

    def intend(self, intents: Any) -> None:
        self._late = list(intents)

    def programme(self, programme_key: str) -> Any:
        if not self._late:
            return super().programme(programme_key)
        return [action_of_late(intent) for intent in self._late]

    def sent(self, key: str, time_h: float) -> None:
        pass

    def started(self, key: str, time_h: float, proof: str) -> None:
        mine = [intent for intent in self._late if intent.key == key]
        super().intend(mine)
        super().sent(key, time_h)
        super().started(key, time_h, proof)
        self._late = [intent for intent in self._late if intent.key != key]


def action_of_late(intent: Intent) -> Action:
    """Return an intent that is not on record as an action of which nothing is known."""
    return Action(0, intent, (), None, None, None)


def four_digits(value: float) -> float:
    """Round down to four digits, as the pump's number format does."""
    digits = 3 - math.floor(math.log10(value))
    return math.floor(round(value * 10**digits, 6)) / 10**digits


def pumps_of(world: World, **faults: str) -> dict[str, FakePump]:
    """Open a port to every pump of the line; ``low="silent"`` spoils that pump."""
    return {
        f"L1-{stock}": FakePump(world, f"L1-{stock}", faults.get(stock, ""))
        for stock in ("medium", "stimulus", "low", "high")
    }


def run_controller(folder: Path, journal: Journal, **faults: str) -> ProgrammeProgress:
    """Start the programme, wait for its end, record the outcome: what a flow does, killed or
    not.
    """
    world = World(folder)
    pumps = pumps_of(world, **faults)
    progress = start_programme(
        journal,
        pumps,
        "run-1",
        KEY,
        PROGRAMME,
        world.load()["time_h"],
        lambda *_: None,
        lambda: None,
    )
    world.advance_to(progress.ends_h)
    return finish_programme(journal, pumps, KEY, world.load()["time_h"], lambda: None)


if __name__ == "__main__":
    FOLDER = Path(sys.argv[1])
    KIND = ForgetfulJournal if "forgetful" in sys.argv else Journal
    run_controller(FOLDER, KIND(FOLDER / "journal.sqlite"))

"""One emulated laboratory for two runs in two processes: pumps of their own, one reader, one meter, one time.

Belongs here: the laboratory as a server in the test's own process, and what makes a command use it in place of a
virtual lab of its own. Not here: what the runs must have done (test_several_studies).

Virtual time moves only while every run that takes part waits, to the earliest time that any of them waits for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import flows.opening
from chiploop.study import Study, load_study
from chiploop.virtual_lab import VirtualLab
from instruments.emulators.control import ControlChannel
from instruments.emulators.emstat_pico import EmStatPico
from instruments.emulators.faults import FaultyWire
from instruments.emulators.serve import Switchboard, in_background
from instruments.emulators.spectramax import SpectraMax
from instruments.emulators.virtual_room import VirtualRoom, rig_of

VARIABLE = "CHIPLOOP_TEST_SHARED_LAB"
"""Names the laboratory that a command uses: JSON of ``Part``."""


@dataclass(frozen=True)
class Part:
    """What one run needs to know of the laboratory."""

    who: str
    host: str
    port: int
    urls: dict[str, str]
    """``pumps``, ``reader``, ``teer`` -> where they are."""
    first_channel: int
    """Of its first chip."""

    @property
    def text(self) -> str:
        return json.dumps(vars(self))


class SharedLab:
    """Rooms of several studies that move together, around one reader and one meter."""

    def __init__(self, studies: Mapping[str, Path], seed: int) -> None:
        self.rooms: dict[str, VirtualRoom] = {}
        self.channels: list[tuple[VirtualRoom, int]] = []
        self.allowed_h = dict.fromkeys(studies, 0.0)
        self.time_h = 0.0
        self.on_time: Callable[[float], None] = lambda time_h: None
        """Called whenever time has moved, before anybody hears of it."""
        self.plate_of: VirtualRoom | None = None
        self.board = Switchboard()
        urls: dict[str, str] = {}
        self.parts: dict[str, Part] = {}
        first = {}
        for who, path in studies.items():
            study: Study = load_study(path)
            room = VirtualRoom(rig_of(study), VirtualLab(study, seed, False), time.monotonic)
            self.rooms[who] = room
            first[who] = len(self.channels)
            self.channels += [(room, own) for own in range(len(study.chip_ids))]
            urls[who] = self._serve(f"pumps of {who}", room.wires["pumps"])
        reader = SpectraMax(self._absorbance, lambda: self.time_h, time.monotonic)
        meter = EmStatPico(self._impedance, time.monotonic)
        shared = {
            "reader": self._serve("reader", FaultyWire(reader, time.monotonic)),
            "teer": self._serve("teer", FaultyWire(meter, time.monotonic)),
        }
        host, port = self.board.add_requests(self._answer)
        for who in studies:
            self.parts[who] = Part(who, host, port, {"pumps": urls[who], **shared}, first[who])

    def _serve(self, name: str, wire: FaultyWire) -> str:
        address = self.board.add_device(name, wire)
        return address.pty or address.tcp

    def _absorbance(self, wavelength_nm: int) -> np.ndarray:
        if self.plate_of is None:
            return np.full((8, 12), np.nan)
        return self.plate_of._absorbance(wavelength_nm)

    def _impedance(self, channel: int, frequency_hz: np.ndarray) -> np.ndarray:
        room, own = self.channels[channel]
        return room._impedance(own, frequency_hz)

    def _answer(self, line: str) -> str:
        asked = json.loads(line)
        who, do = asked.pop("who"), asked.pop("do")
        said: dict[str, Any] = {}
        if do == "wait":
            self.allowed_h[who] = max(self.time_h, float(asked["to_h"]))
        elif do == "leave":
            del self.allowed_h[who]
        elif do == "load_plate":
            self.plate_of = self.rooms[who]
            said = self.plate_of.answer({"do": do, **asked})
        elif do == "truth":
            said = self.rooms[who].answer({"do": do})
        elif do != "hello":
            return json.dumps({"ok": False, "error": do})
        to_h = min(self.allowed_h.values(), default=self.time_h)
        if to_h > self.time_h:
            for room in self.rooms.values():
                room.advance(to_h)
            self.time_h = to_h
            self.on_time(to_h)
        answer = {"ok": True, **said, "time_h": self.time_h}
        return json.dumps(answer, default=lambda value: value.tolist())


@contextmanager
def shared_lab(studies: Mapping[str, Path], seed: int = 1) -> Iterator[SharedLab]:
    """Serve a laboratory for the length of a block: who -> its study."""
    lab = SharedLab(studies, seed)
    with in_background(lab.board):
        yield lab


class OwnControl(ControlChannel):
    """What a run asks of the laboratory; to advance is to wait for the others."""

    def __init__(self, part: Part) -> None:
        super().__init__(part.host, part.port)
        self.who = part.who

    def call(self, do: str, **arguments: Any) -> dict[str, Any]:
        if do != "advance":
            return super().call(do, who=self.who, **arguments)
        while True:
            said = super().call("wait", who=self.who, **arguments)
            if said["time_h"] >= arguments["to_h"]:
                return said
            time.sleep(0.0005)


class OwnHandle:
    """What ``open_laboratory`` wants of a virtual lab."""

    def __init__(self, part: Part) -> None:
        self.control = OwnControl(part)
        self.ports = {name: {"pty": url, "tcp": url} for name, url in part.urls.items()}


def use_shared_lab(text: str) -> None:
    """Let this process's run use a part of a shared laboratory, and say in its lab.toml what is shared."""
    part = Part(**json.loads(text))
    settings_of = flows.opening.virtual_settings

    @contextmanager
    def virtual_lab(files: Any) -> Iterator[OwnHandle]:
        handle = OwnHandle(part)
        try:
            yield handle
        finally:
            handle.control.call("leave")
            handle.control.close()

    def virtual_settings(study: Study, lab: Any, arriving: Path) -> str:
        written = settings_of(study, lab, arriving)
        for make in ('make = "spectramax"', 'make = "emstat_pico"'):
            assert make in written
            written = written.replace(make, f"{make}\nshared = true")
        for number, chip in enumerate(study.chip_ids):
            assert f"\n{chip} = {number}\n" in written
            own = part.first_channel + number
            written = written.replace(f"\n{chip} = {number}\n", f"\n{chip} =  {own}\n")
        return written

    flows.opening.virtual_lab = virtual_lab  # type: ignore[assignment]
    flows.opening.virtual_settings = virtual_settings

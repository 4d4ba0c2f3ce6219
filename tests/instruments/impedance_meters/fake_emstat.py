"""A meter for the tests of the driver: takes scripts and plays back a chip, on a port in memory.

Belongs here: just enough of a device to hold the contract against. It judges the script (the cell
is off when it ends) and knows nothing else; the emulators are another matter.
"""

from __future__ import annotations

import re
import threading
import time

import numpy as np

from instruments.errors import InstrumentError, Interrupted, TransportTimeout
from instruments.port_turn import PortTurn
from tests.instruments.impedance_meters.contract import MeterRig


def package(hz: float, ohm: complex, status: int = 0) -> str:
    """Return one point as a line."""

    def value(kind: str, number: float) -> str:
        return f"{kind}{round(number * 1e6) % (1 << 28) + (1 << 27):07X}u"

    # micro units hold +-134; larger numbers go in as they are
    def any_value(kind: str, number: float) -> str:
        if abs(number) < 100:
            return value(kind, number)
        return f"{kind}{round(number) + (1 << 27):07X} "

    parts = (any_value("dc", hz), any_value("cc", ohm.real), any_value("cd", ohm.imag))
    return "P" + ";".join(f"{part},1{status:X},287" for part in parts) + "\n"


class FakeEmStat:
    """State of the device; called with what it receives, it gives what it answers, in pieces."""

    def __init__(self, version: bytes) -> None:
        self.version = version
        self.received: list[bytes] = []
        self.scripts: list[str] = []
        self.cell_on = self.held = self.spoilt = False
        self.garbage: bytes | None = None
        self.begun = threading.Event()
        self._script = ""

    def __call__(self, piece: bytes) -> list[bytes]:
        self.received.append(piece)
        answers: list[bytes] = []
        for line in piece.decode().splitlines(keepends=True):
            answers += self._line(line)
        return answers

    def _line(self, line: str) -> list[bytes]:
        if self._script or line == "e\n":
            self._script += line
            if line != "\n":
                return []
            script, self._script = self._script, ""
            return self._run(script)
        if line == "Z\n":
            if not self.cell_on:
                return [b"Z!0006\n"]
            self.cell_on = False  # on_finished
            return [b"Z\n", b"*\n\n"]
        if self.garbage is not None:
            return [self.garbage]
        return [self.version] if line == "t\n" else [b"!0003\n"]

    def _run(self, script: str) -> list[bytes]:
        self.scripts.append(script)
        if self.garbage is not None:
            return [self.garbage]
        found = re.search(r"meas_loop_eis f r j \d+m (\d+)(k?) (\d+)(k?) (\d+) 0m\n", script)
        assert found and script.endswith("on_finished:\ncell_off\n\n"), script
        start, end = (int(found[n]) * (1000 if found[n + 1] else 1) for n in (1, 3))
        hz = np.geomspace(start, end, int(found[5]))
        spoilt = len(hz) - 1 if self.spoilt and (len(hz) > 1 or len(self.scripts) % 2) else None
        if self.held:
            self.cell_on = True
            self.begun.set()
            return [b"e\nM000D\n", package(hz[0], 5000 - 800j).encode()]
        lines = [package(f, 5000 - 800j, 2 * (k == spoilt)) for k, f in enumerate(hz)]
        return [("e\nM000D\n" + "".join(lines) + "*\n\n").encode()]


class DirectPort:
    """A port without a cable, whose turns are the real ones: a stop may come from another thread."""

    name = "direct"
    generation = 0

    def __init__(self, fake: FakeEmStat) -> None:
        self._fake = fake
        self._turn = PortTurn(self.name)
        self._ahead = b""

    def exchange(self, sent, answer_length, *, deadline_s, inter_byte_s):
        with self._turn.transaction():
            self._ahead = b"".join(self._fake(sent))
            return self._await(answer_length, deadline_s)

    def read_answer(self, answer_length, *, deadline_s, inter_byte_s):
        with self._turn.transaction():
            return self._await(answer_length, deadline_s)

    def _await(self, answer_length, deadline_s):
        begun_s = time.monotonic()
        while (length := answer_length(self._ahead) if self._ahead else None) is None:
            if why := self._turn.interruption():
                raise Interrupted(f"port {self.name}: {why}")
            if time.monotonic() - begun_s > deadline_s:
                raise TransportTimeout(f"port {self.name}: only {self._ahead!r} came")
            time.sleep(0.001)
        answer, self._ahead = self._ahead[:length], self._ahead[length:]
        return answer

    def drain(self, *, quiet_s, limit_s):
        gone, self._ahead = self._ahead, b""
        return gone

    def garbled(self, trouble):
        return

    def owned(self, *, urgent=False):
        return self._turn.taken(urgent)


def wire_rig(version: bytes, build) -> MeterRig:
    """Return a rig around a fake device; ``build`` makes the driver from its port."""
    fake = FakeEmStat(version)
    meter = build(DirectPort(fake))

    def spoil() -> int:
        fake.spoilt = True
        return 1

    def hold() -> None:
        fake.held = True

    def garble(garbage: bytes) -> None:
        fake.garbage = garbage
        meter._deadline_s = 0.1  # what is no answer is waited for no longer

    return MeterRig(
        meter=meter,
        chip="C02",
        said=lambda: list(fake.received),
        measurements=lambda: len(fake.scripts),
        cell_is_on=lambda: fake.cell_on,
        spoil=spoil,
        hold=hold,
        garble=garble,
        theirs=(InstrumentError,),
        begun=fake.begun,
    )

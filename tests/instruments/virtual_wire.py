"""A port without cable and without real time: a driver on one side, an emulated device on the other.

Belongs here: moving bytes between the two, and the clock that makes a deadline pass in no time. Not
here: what either says. It behaves as `SerialTransport` does where it matters: one transaction at a
time, late answers dropped before the next command, a lost port refused before any byte and met anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from instruments.emulators.faults import FaultyWire
from instruments.errors import InstrumentError, TransportTimeout
from instruments.transport import AnswerLength, NotSent

STEP_S = 0.01


class Clocks:
    """Link time in seconds and study time in hours; the second goes along with the first."""

    def __init__(self) -> None:
        self._wall_s = 0.0
        self._ahead_h = 0.0

    def wall_s(self) -> float:
        """Return link time."""
        return self._wall_s

    def physics_h(self) -> float:
        """Return study time."""
        return self._ahead_h + self._wall_s / 3600

    def pass_s(self, seconds: float) -> None:
        """Let both clocks go on."""
        self._wall_s += seconds

    def pass_h(self, hours: float) -> None:
        """Let study time alone go on, as a simulation does."""
        self._ahead_h += hours


class VirtualPort:
    """What a driver takes for a port; ``exchanges`` keeps what went over it."""

    def __init__(self, wire: FaultyWire, clocks: Clocks) -> None:
        self.name = "virtual"
        self.generation = 0
        self.exchanges: list[tuple[bytes, bytes]] = []
        """(sent, all that came until the answer was taken or given up)."""
        self._wire, self._clocks = wire, clocks
        self._ahead = b""
        self._came = bytearray()
        self._lost = False
        self._depth = 0

    def exchange(
        self, sent: bytes, answer_length: AnswerLength, *, deadline_s: float, inter_byte_s: float
    ) -> bytes:
        self._refuse_lost()
        self._ahead = b""
        self._wire.poll()
        self._came = bytearray()
        self._ahead += self._wire.receive(sent)
        try:
            return self.read_answer(answer_length, deadline_s=deadline_s, inter_byte_s=inter_byte_s)
        finally:
            self.exchanges.append((sent, bytes(self._came)))

    def read_answer(
        self, answer_length: AnswerLength, *, deadline_s: float, inter_byte_s: float
    ) -> bytes:
        begun = last = self._clocks.wall_s()
        seen = 0
        while True:
            if self._wire.unplugged:
                self._lost = True
                raise InstrumentError(f"port {self.name} was lost")
            self._ahead += self._wire.poll()
            if len(self._ahead) > seen:
                last, seen = self._clocks.wall_s(), len(self._ahead)
            length = answer_length(self._ahead) if self._ahead else None
            if length is not None:
                answer, self._ahead = self._ahead[:length], self._ahead[length:]
                self._came += answer
                return answer
            now = self._clocks.wall_s()
            if now - begun >= deadline_s or (self._ahead and now - last >= inter_byte_s):
                part, self._ahead = self._ahead, b""
                self._came += part
                raise TransportTimeout(f"port {self.name}: only {part!r} came")
            self._clocks.pass_s(STEP_S)

    def send_now(self, data: bytes) -> None:
        self._ahead += self._wire.receive(data)

    def drain(self, *, quiet_s: float, limit_s: float) -> bytes:
        gone, self._ahead = self._ahead, b""
        begun = last = self._clocks.wall_s()
        while (now := self._clocks.wall_s()) - last < quiet_s and now - begun < limit_s:
            if piece := self._wire.poll():
                last = now
                gone += piece
            self._clocks.pass_s(STEP_S)
        return gone

    @contextmanager
    def owned(self, *, urgent: bool = False) -> Iterator[None]:
        if not self._depth and not self._wire.unplugged:
            self.reopen()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def garbled(self, trouble: Exception) -> None:
        return

    def reopen(self) -> None:
        if self._wire.unplugged:
            raise InstrumentError(f"port {self.name} can not be opened")
        if self._lost:
            self._lost = False
            self.generation += 1

    def close(self) -> None:
        return

    def _refuse_lost(self) -> None:
        if self._wire.unplugged:
            self._lost = True
        if self._lost and not self._depth and not self._wire.unplugged:
            self.reopen()
        if self._lost:
            raise NotSent(f"port {self.name} is lost; nothing was sent")

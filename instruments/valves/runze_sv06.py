"""Runze SV-06 rotary selector valve. Wire format: facts of flowchem's driver (MIT), ``devices/runze``.

Belongs here: this valve's bytes, and turning it to a position that it then confirms. Not here: which
liquid flows. On its way the valve passes the ports in between: whoever turns it under flow sends
liquid there.

A command is 8 bytes, ``CC address function low high DD sum-low sum-high``, the sum that of the
first 6; an answer is the same with a status in place of the function. Not tried on the real device.

Unconfirmed: the baud rate it leaves the factory with (9600 is told, 57600 is what the known driver
uses); whether a move is answered at its begin or its end (both are taken); what a position of a
turning valve reads; that the answer carries the valve's own address.
"""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import Field

from instruments.errors import (
    ChecksumError,
    DeviceAlarm,
    DeviceRejected,
    FrameError,
    InstrumentError,
    Interrupted,
    TransportTimeout,
)
from instruments.lab_settings import ValveEntry
from instruments.make import Make, Probe, Wait
from instruments.transport import NotSent, PortSettings, Transport

FRAME_LENGTH: Final = 8
WHERE, GO = 0x3E, 0x44
RETRY: Final[dict[int, Literal["safe", "verify"]]] = {WHERE: "safe", GO: "verify"}
"""Function -> what a lost answer allows; a move is absolute, and sent again only after a look."""
STATUSES: Final[dict[int, str]] = {
    0x00: "good",
    0x01: "it took the command for garbled",
    0x02: "parameter not valid",
    0x03: "optocoupler faulty",
    0x04: "motor busy",
    0x05: "motor stalled",
    0x06: "position not known",
    0xFE: "turning",
    0xFF: "unknown error",
}
GOOD, GARBLED, BUSY, STALLED, LOST, TURNING = 0x00, 0x01, 0x04, 0x05, 0x06, 0xFE
LOOK_S: Final = 0.2
"""Between two looks at a turning valve, real seconds."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What the valve answered."""

    status: int
    parameter: int


@dataclass(frozen=True)
class Seen:
    """Where the valve is."""

    position: int | None
    """None while it turns or does not know."""
    turning: bool = False


def encode_command(address: int, function: int, parameter: int = 0) -> bytes:
    """Return a command."""
    begin = struct.pack("<BBBHB", 0xCC, address, function, parameter, 0xDD)
    return begin + struct.pack("<H", sum(begin))


def answer_length(received: bytes) -> int | None:
    """Return the length of the first answer; all that came where it is none, for `decode_answer` to
    refuse."""
    if received[0] != 0xCC:
        return len(received)
    return FRAME_LENGTH if len(received) >= FRAME_LENGTH else None


def decode_answer(frame: bytes, address: int) -> Answer:
    """Return status and parameter; `FrameError` or `ChecksumError` where the frame is not whole or
    not of this valve."""
    if len(frame) != FRAME_LENGTH or frame[0] != 0xCC or frame[5] != 0xDD:
        raise FrameError(f"{frame[:40]!r} is no answer of this valve")
    _, came_from, status, parameter, _, told = struct.unpack("<BBBHBH", frame)
    if told != sum(frame[:6]):
        raise ChecksumError(f"answer carries the sum {told}, its bytes give {sum(frame[:6])}")
    if came_from != address:
        raise FrameError(f"answer of address {came_from} came where {address} is due")
    return Answer(status, parameter)


class RunzeSV06:
    """Selector valve with one common port and 6 to 16 others."""

    def __init__(
        self,
        name: str,
        transport: Transport,
        *,
        positions: int,
        address: int = 1,
        move_limit_s: float = 15.0,
        answer_deadline_s: float = 5.0,
        pause_s: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.positions = positions
        self._transport = transport
        self._address = address
        self._move_limit_s = move_limit_s
        self._deadline_s = answer_deadline_s
        self._pause_s = pause_s

    def open(self) -> None:
        """Ask where the valve stands; turns nothing, so it may well not know yet."""
        self._look()

    def close(self) -> None:
        """Send nothing: the valve stays where it is."""

    def position(self) -> int:
        """Return where the valve stands, as it says itself; `DeviceRejected` while it does not
        stand anywhere."""
        seen = self._look()
        if seen.position is None:
            why = "is turning" if seen.turning else "does not know where it stands; turn it first"
            raise DeviceRejected(f"{self.name} {why}")
        return seen.position

    def go_to(self, position: int) -> None:
        """Turn to a position and return once the valve has confirmed that it stands there.

        A valve that stands there already is not turned. ValueError for a position that it has not;
        `DeviceAlarm` where it stalls, `TransportTimeout` where it does not come there.
        """
        if not 1 <= position <= self.positions:
            raise ValueError(f"position {position} is outside 1..{self.positions} of {self.name}")
        waited_s, sent, accepted = 0.0, 0, False
        while True:
            with self._transport.owned():  # a look and the move that follows from it
                seen = self._look()
                if seen.position == position:
                    return
                if not seen.turning and not accepted and sent < 2:
                    accepted = self._turn(position)
                    sent += 1
                elif waited_s >= self._move_limit_s:
                    where = (
                        "turns" if seen.turning else f"stands at {seen.position or 'no position'}"
                    )
                    raise TransportTimeout(
                        f"{self.name} {where} {waited_s:.0f} s after it was turned to {position}; "
                        "look at the valve"
                    )
            self._pause_s(LOOK_S)
            waited_s += LOOK_S

    def _look(self) -> Seen:
        answer = self._ask(WHERE)
        if answer.status in (BUSY, TURNING):
            return Seen(None, turning=True)
        if answer.status == LOST:
            return Seen(None)
        self._refuse_unless_good(answer, "where it stands")
        if not 1 <= answer.parameter <= self.positions:
            raise DeviceRejected(
                f"{self.name} stands at {answer.parameter}, but lab.toml gives it "
                f"{self.positions} positions"
            )
        return Seen(answer.parameter)

    def _turn(self, position: int) -> bool:
        """Send one move; return whether the valve took it. A lost answer leaves that open: the next
        look decides."""
        try:
            answer = self._ask(GO, position)
        except (NotSent, Interrupted):
            raise
        except (TransportTimeout, FrameError) as trouble:
            _log.warning("%s; looking where the valve stands", trouble)
            return False
        if answer.status == BUSY:
            return False
        if answer.status != TURNING:
            self._refuse_unless_good(answer, f"position {position}")
        return True

    def _refuse_unless_good(self, answer: Answer, asked: str) -> None:
        if answer.status == GOOD:
            return
        meaning = STATUSES.get(answer.status, "not in the list of statuses")
        told = f"{self.name}, asked for {asked}: status {answer.status:02X} ({meaning})"
        if answer.status == STALLED:
            raise DeviceAlarm(f"{told}; look at the valve", kind="stall")
        raise DeviceRejected(told)

    def _ask(self, function: int, parameter: int = 0) -> Answer:
        attempts = 2 if RETRY[function] == "safe" else 1
        with self._transport.owned():
            while True:
                attempts -= 1
                try:
                    answer = decode_answer(
                        self._transport.exchange(
                            encode_command(self._address, function, parameter),
                            answer_length,
                            deadline_s=self._deadline_s,
                            inter_byte_s=0.5,
                        ),
                        self._address,
                    )
                    if answer.status == GARBLED:
                        raise FrameError(STATUSES[GARBLED])
                    return answer
                except (NotSent, Interrupted):
                    raise
                except (TransportTimeout, FrameError) as trouble:
                    self._transport.garbled(trouble)
                    with suppress(InstrumentError):
                        self._transport.drain(quiet_s=0.05, limit_s=0.5)
                    if not attempts:
                        raise type(trouble)(
                            f"{self.name} on function {function:02X}: {trouble}"
                        ) from trouble


class RunzeSV06Entry(ValveEntry):
    """A Runze SV-06 in lab.toml."""

    positions: Literal[6, 8, 10, 12, 16]
    """Of the valve head; the valve itself can not be asked."""
    address: int = Field(1, ge=0, le=255)
    move_limit_s: float = Field(15.0, gt=0)
    """Longest time that one turn may take, real seconds."""


def _build(name: str, port: Transport, entry: RunzeSV06Entry, wait_s: Wait) -> RunzeSV06:
    """``wait_s`` is left alone: a turn takes real seconds, also where study time is simulated."""
    return RunzeSV06(
        name,
        port,
        positions=entry.positions,
        address=entry.address,
        move_limit_s=entry.move_limit_s,
    )


def _recognise(answer: bytes) -> str | None:
    try:
        seen = decode_answer(answer, 1)
    except InstrumentError:
        return None
    return f"Runze valve, position {seen.parameter}" if seen.status == GOOD else "Runze valve"


MAKE: Final = Make(
    title="Runze SV-06",
    kind="valve",
    entry=RunzeSV06Entry,
    build=_build,
    port=PortSettings(57_600),
    unconfirmed=(
        "the factory's baud rate: 9600 or 57600; set baudrate where the valve is silent",
        "whether a move is answered at its begin or its end, and what a turning valve answers",
        "that an answer carries the address of the valve",
    ),
    probe=Probe(encode_command(1, WHERE), answer_length, _recognise),
)

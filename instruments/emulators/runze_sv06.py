"""Runze SV-06 multiport selection valve as a state machine.

Belongs here: what the valve answers and where its rotor stands. Not here: what is plumbed to a
port, ports of the computer.

Sources: two published drivers (flowchem, matterlab) and the manual's worked frames that one of them
quotes: ``CC addr func lo hi DD sum16``, low byte first; 3E asks the port, 44 goes to one by the
shortest way, A4 through a neighbour, 45 and 4F home, 49 stops, 4A asks the motor; an action is
answered FE at once and 4A tells 04 until it is done. 14-byte factory frames are read whole.
UNCONFIRMED: port 1 as home and at power-up, 00 of a query of the port besides its number, the answer to
3E while moving, A4's byte order, what an unknown function and a factory frame are told, that a
broken frame is answered at all, that stopping leaves an unknown position, that a stall is reported
until the next action, the time after which a partial frame is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Clock = Callable[[], float]

HEAD, TAIL = 0xCC, 0xDD
QUERY_PORT, QUERY_MOTOR, QUERY_VERSION = 0x3E, 0x4A, 0x3F
GO, GO_THROUGH, HOME, HOME_BY_SENSOR, STOP = 0x44, 0xA4, 0x45, 0x4F, 0x49
NORMAL, FRAME_ERROR, PARAMETER_ERROR, BUSY, STALLED, UNKNOWN_PORT, ACCEPTED, UNKNOWN_ERROR = (
    0x00,
    0x01,
    0x02,
    0x04,
    0x05,
    0x06,
    0xFE,
    0xFF,
)
"""Statuses of an answer that this emulator gives."""
FRAME_BYTES, FACTORY_FRAME_BYTES = 8, 14
PASSWORD = b"\xff\xee\xbb\xaa"
"""Stands after the function of a factory frame."""
PARTIAL_FRAME_S = 0.5
PORT_COUNTS = (6, 8, 10, 12, 16)


@dataclass(frozen=True)
class RunzeSv06Settings:
    """What is fixed about one emulated valve."""

    address: int = 0
    """On the RS-485 line; frames to others are not answered."""
    ports: int = 6
    seconds_per_port: float = 0.05
    """Wall time from one port to the next."""
    homes_at_power_up: bool = True
    """False: after power-up the position is unknown until the valve is homed or sent somewhere."""
    moving_status: int = BUSY
    """What a query is told while the rotor turns: 04, or FE."""
    answers_when_done: bool = False
    """True: an action is answered once, with 00 or 05, when the rotor stands."""
    firmware: int = 0x0109
    """Parameter of the answer to 3F, high byte the version's first number."""


class RunzeSv06:
    """SV-06; ``receive`` takes bytes, frames are binary and end after their length."""

    def __init__(self, settings: RunzeSv06Settings, physics_h: Clock, wall_s: Clock) -> None:
        if settings.ports not in PORT_COUNTS:
            raise ValueError(f"an SV-06 has one of {PORT_COUNTS} ports, not {settings.ports}")
        self.settings = settings
        self.revision = 0
        """Grows whenever the durable state has changed."""
        self.moves = 0
        """Moves of the rotor that came to their port, ever."""
        self._wall_s = wall_s
        self._buffer = bytearray()
        self._heard_s = -math.inf
        self._port: int | None = 1
        self._target: int | None = None
        self._arrival_s = -math.inf
        self._stalled = False
        self._blocked = False
        self._answer_due = False
        self._power_up()

    @property
    def port(self) -> int | None:
        """The port that is truly connected; None on the way and where the rotor stands between."""
        self._settle()
        return None if self._target is not None else self._port

    @property
    def moving(self) -> bool:
        """True while the rotor turns."""
        self._settle()
        return self._target is not None

    def block(self) -> None:
        """Hold the rotor from now on: a move on its way and every later one stalls."""
        self._settle()
        self._blocked = True
        self._settle()

    def free(self) -> None:
        """Let the rotor turn again; the stall is told until the next action."""
        self._blocked = False

    def receive(self, data: bytes) -> bytes:
        """Take bytes; return the answers to the frames that they complete."""
        answer, now_s = self.poll(), self._wall_s()
        if now_s - self._heard_s > PARTIAL_FRAME_S:
            self._buffer.clear()
        self._heard_s = now_s
        for byte in data:
            if self._buffer or byte == HEAD:
                self._buffer.append(byte)
            if len(self._buffer) == self._frame_length():
                frame, self._buffer = bytes(self._buffer), bytearray()
                answer += self._hear(frame)
        return answer + self.poll()

    def poll(self) -> bytes:
        """Let time act; return the answer that was kept back until the rotor stands."""
        self._settle()
        if not self._answer_due or self._target is not None:
            return b""
        self._answer_due = False
        return self._answer(STALLED if self._stalled else NORMAL)

    def power_cycle(self) -> None:
        """Interrupt the power: the rotor stays where it is, then homes where it is set to."""
        self._settle()
        if self._target is not None:
            self._port = None
        self._power_up()
        self.revision += 1

    # --- frames

    def _frame_length(self) -> int:
        is_factory = bytes(self._buffer[3:7]) == PASSWORD
        return FACTORY_FRAME_BYTES if is_factory else FRAME_BYTES

    def _hear(self, frame: bytes) -> bytes:
        body, total = frame[:-2], int.from_bytes(frame[-2:], "little")
        if frame[1] != self.settings.address:
            return b""
        if body[-1] != TAIL or sum(body) != total:
            return self._answer(FRAME_ERROR)
        if len(frame) == FACTORY_FRAME_BYTES:
            return self._answer(PARAMETER_ERROR)
        return self._obey(frame[2], frame[3], frame[4])

    def _answer(self, status: int, parameter: int = 0) -> bytes:
        body = bytes([HEAD, self.settings.address, status]) + parameter.to_bytes(2, "little")
        body += bytes([TAIL])
        return body + sum(body).to_bytes(2, "little")

    # --- what the valve does

    def _obey(self, function: int, low: int, high: int) -> bytes:
        self._settle()
        if function == QUERY_MOTOR:
            return self._answer(self._motor_status())
        if function == QUERY_VERSION:
            return self._answer(NORMAL, self.settings.firmware)
        if function == QUERY_PORT:
            status = self._motor_status()
            if status == NORMAL and self._port is None:
                status = UNKNOWN_PORT
            return self._answer(status, self._port or 0 if status == NORMAL else 0)
        if function == STOP:
            self._stop()
            return self._answer(NORMAL)
        if function not in (GO, GO_THROUGH, HOME, HOME_BY_SENSOR):
            return self._answer(UNKNOWN_ERROR)
        if self._target is not None:
            return self._answer(BUSY)
        if function == GO:
            return self._move(low if high == 0 else 0)
        if function == GO_THROUGH:
            return self._move(high, through=low)
        return self._move(1)

    def _move(self, target: int, through: int | None = None) -> bytes:
        ports = self.settings.ports
        if not 1 <= target <= ports:
            return self._answer(PARAMETER_ERROR)
        if through is not None and (through - target) % ports not in (1, ports - 1):
            return self._answer(PARAMETER_ERROR)
        way = ports if self._port is None else _shortest(self._port, target, ports)
        if through is not None and self._port is not None and self._port != target:
            clockwise = (through - target) % ports == 1
            way = (self._port - target if clockwise else target - self._port) % ports
        self._stalled = False
        self._target = target
        self._arrival_s = self._wall_s() + way * self.settings.seconds_per_port
        self.revision += 1
        if self.settings.answers_when_done:
            self._answer_due = True
            return b""
        answer = self._answer(ACCEPTED)
        self._settle()
        return answer

    def _settle(self) -> None:
        """Let the rotor arrive, or stall."""
        if self._target is None:
            return
        if self._blocked:
            self._stalled, self._port, self._target = True, None, None
        elif self._wall_s() >= self._arrival_s:
            self._port, self._target = self._target, None
            self.moves += 1
        else:
            return
        self.revision += 1

    def _stop(self) -> None:
        if self._target is not None:
            self._port = self._target = None
            self.revision += 1

    def _motor_status(self) -> int:
        if self._target is not None:
            return self.settings.moving_status
        return STALLED if self._stalled else NORMAL

    def _power_up(self) -> None:
        self._buffer, self._target = bytearray(), None
        self._stalled = self._answer_due = False
        if not self.settings.homes_at_power_up:
            self._port = None
        elif self._blocked:
            self._stalled, self._port = True, None
        else:
            self._port = 1

    # --- durable state

    def state(self) -> dict[str, Any]:
        """Return what outlives the process, ready for JSON; a move on its way has arrived."""
        self._settle()
        return {
            "port": self._target if self._target is not None else self._port,
            "moves": self.moves + (self._target is not None),
            "stalled": self._stalled,
            "blocked": self._blocked,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over an exported state; the rotor stands."""
        self._port, self.moves = state["port"], state["moves"]
        self._stalled, self._blocked = state["stalled"], state["blocked"]
        self._buffer, self._target, self._answer_due = bytearray(), None, False
        self.revision += 1


def _shortest(port: int, target: int, ports: int) -> int:
    way = (target - port) % ports
    return min(way, ports - way)

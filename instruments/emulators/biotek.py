"""Agilent BioTek Synergy or Cytation plate reader as a state machine: reads of a 96-well plate.

Belongs here: what the reader answers, and when. Not here: the bytes of definitions and bodies
(biotek_wire), what a plate holds (a callback says it), ports.

Source: recorded exchanges of a Cytation 5, and the published driver that they were recorded with.
A verb is one letter; a verb with a parameter is acknowledged, then waits for it; an answer is
``ACK payload status ETX`` with four digits of status, 0000 for well; ``O`` is answered at once and
the body of the read comes by itself when the plate is read.
UNCONFIRMED: every status but 0000 (their numbers are chosen), that an open drawer, a missing
definition and a read that is going on are refused, NAK for an unknown verb, the answer to ``x``,
what the fields of the answer to ``D`` mean, that the drawer answers when it has arrived, that the
definition outlives a read, that luminescence definitions end with their length.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from instruments.emulators.biotek_wire import (
    ACK,
    COLUMNS,
    END,
    NAK,
    ROWS,
    Definition,
    body,
    read_definition,
    tenths,
)

Clock = Callable[[], float]
Absorbance = Callable[[int], np.ndarray]
"""Wavelength in nm -> (8, 12) OD of the plate in the drawer; NaN for a well not measured."""

OK, UNKNOWN_PARAMETER, DRAWER_OPEN, NOT_DEFINED, READING = "0000", "0101", "0201", "0301", "0401"
"""Statuses; all but the first are chosen."""
DEFINED = "035000000000000001000000000049030"
"""Answer to a definition, as recorded; it holds an estimate of the time of the read."""
FIXED_LENGTHS = {"i": 1, "&": 2, "g": 5}
"""Verb -> characters of a parameter that ends by itself; others, but luminescence, end with ETX."""
LONGEST_PARAMETER = 120
WARMEST_C = 45.0
NOTHING: tuple[float, bytes] = (0.0, b"")


@dataclass(frozen=True)
class BioTekSettings:
    """What is fixed about one emulated reader."""

    serial_number: str = "00000000"
    firmware: str = "1650200  Version 1.04   "
    """Payload of the answer to ``e``."""
    measure_s: float = 0.1
    """Wall time of a read."""
    drawer_s: float = 0.0
    """Wall time in which the drawer opens or closes."""
    temperature_c: float = 23.6
    """What the thermometer shows while the incubator is off."""
    end_temperature_c: float | None = None
    """Temperature at the end of a read; None: as at its begin."""


class BioTek:
    """Synergy or Cytation; ``receive`` takes bytes, verbs are single letters."""

    def __init__(
        self,
        absorbance: Absorbance,
        physics_h: Clock,
        wall_s: Clock,
        settings: BioTekSettings | None = None,
        counts: Absorbance | None = None,
    ) -> None:
        self.settings = settings or BioTekSettings()
        self.revision = 0
        """Grows whenever the durable state has changed."""
        self._absorbance, self._counts = absorbance, counts
        self._physics_h, self._wall_s = physics_h, wall_s
        self._verb = ""
        self._parameter = ""
        self._drawer_open = False
        self._setpoint_c = 0.0
        self._definition: Definition | None = None
        self._body = NOTHING
        """When the body of the read is due, and its bytes."""
        self._late: list[tuple[float, bytes]] = []
        """Ends of answers that wait for the drawer."""

    @property
    def drawer_open(self) -> bool:
        """True where a hand can reach the plate."""
        return self._drawer_open

    @property
    def reading(self) -> bool:
        """True from the start of a read until its body is sent."""
        return bool(self._body[1])

    def receive(self, data: bytes) -> bytes:
        """Take bytes; return what the reader answers to them."""
        answer = self.poll()
        for byte in data.decode("latin-1"):
            answer += self._hear(byte)
        return answer + self.poll()

    def poll(self) -> bytes:
        """Return what has become due: the drawer's arrival, the body of a read."""
        now_s = self._wall_s()
        answer = b"".join(sent for due_s, sent in self._late if due_s <= now_s)
        self._late = [(due_s, sent) for due_s, sent in self._late if due_s > now_s]
        due_s, read = self._body
        if read and due_s <= now_s:
            self._body = NOTHING
            answer += read
        return answer

    def power_cycle(self) -> None:
        """Interrupt the power: definition, read and setpoint are gone, the drawer stays."""
        fresh = BioTek(self._absorbance, self._physics_h, self._wall_s, self.settings)
        self.restore({**fresh.state(), "drawer_open": self._drawer_open})

    def _hear(self, byte: str) -> bytes:
        if self._verb:
            return self._hear_parameter(byte)
        if byte.encode("latin-1") == END:
            return b""
        if byte == "x":
            return self._abort()
        if self.reading and (byte in _VERBS or byte in _VERBS_WITH_PARAMETER):
            return ACK + READING.encode() + END
        if byte in _VERBS_WITH_PARAMETER:
            self._verb, self._parameter = byte, ""
            return ACK
        if byte in _VERBS:
            return ACK + _VERBS[byte](self)
        return NAK

    def _hear_parameter(self, byte: str) -> bytes:
        ended = byte.encode("latin-1") == END
        if not ended:
            self._parameter = (self._parameter + byte)[-LONGEST_PARAMETER:]
            ended = FIXED_LENGTHS.get(self._verb) == len(self._parameter)
            if self._verb == "D":
                definition = read_definition(self._parameter)
                ended = definition is not None and definition.mode == "luminescence"
        if not ended:
            return b""
        verb, self._verb = self._verb, ""
        self.revision += 1
        return _VERBS_WITH_PARAMETER[verb](self, self._parameter).encode("latin-1") + END

    # --- verbs without a parameter

    def _serial(self) -> bytes:
        return self._said(f"{self.settings.serial_number:<16}")

    def _firmware(self) -> bytes:
        return self._said(self.settings.firmware)

    def _temperature(self) -> bytes:
        return self._said(tenths(self._temperature_c()))

    def _said(self, payload: str = "", status: str = OK) -> bytes:
        return f"{payload}{status}".encode("latin-1") + END

    def _open(self) -> bytes:
        return self._move_drawer(True)

    def _close(self) -> bytes:
        return self._move_drawer(False)

    def _move_drawer(self, is_open: bool) -> bytes:
        if self._drawer_open == is_open or self.settings.drawer_s <= 0:
            self._drawer_open = is_open
            return self._said()
        self._drawer_open = is_open
        self.revision += 1
        self._late.append((self._wall_s() + self.settings.drawer_s, self._said()))
        return b""

    def _run(self) -> bytes:
        """Read the plate at once and keep the body back until the time of a read has passed."""
        definition = self._definition
        if definition is None:
            return self._said(status=NOT_DEFINED)
        if self._drawer_open:
            return self._said(status=DRAWER_OPEN)
        source = self._absorbance if definition.mode == "absorbance" else self._counts
        if source is None:
            return self._said(status=UNKNOWN_PARAMETER)
        values = np.asarray(source(definition.wavelength_nm), dtype=float)
        began_c = self._temperature_c()
        ended_c = self.settings.end_temperature_c
        temperatures_c = (began_c, began_c if ended_c is None else ended_c)
        read = body(values, definition, temperatures_c, OK)
        self._body = (self._wall_s() + self.settings.measure_s, read)
        return self._said()

    def _abort(self) -> bytes:
        self._body = NOTHING
        return ACK + self._said()

    def _temperature_c(self) -> float:
        return self._setpoint_c or self.settings.temperature_c

    # --- verbs with a parameter

    def _home(self, parameter: str) -> str:
        return OK if parameter == "x" else UNKNOWN_PARAMETER

    def _slow(self, parameter: str) -> str:
        return OK if parameter in ("S0", "S1") else UNKNOWN_PARAMETER

    def _incubate(self, parameter: str) -> str:
        if not re.fullmatch(r"[0-9]{5}", parameter) or int(parameter) > WARMEST_C * 1000:
            return UNKNOWN_PARAMETER
        self._setpoint_c = int(parameter) / 1000
        return OK

    def _geometry(self, parameter: str) -> str:
        known = re.fullmatch(rf"{ROWS:02d}{COLUMNS:02d}[0-9]{{34}}", parameter)
        return OK if known else UNKNOWN_PARAMETER

    def _focus(self, parameter: str) -> str:
        return OK if re.fullmatch(r"[36][0-9]{5}", parameter) else UNKNOWN_PARAMETER

    def _define(self, parameter: str) -> str:
        definition = read_definition(parameter)
        if definition is None:
            return UNKNOWN_PARAMETER
        self._definition = definition
        return DEFINED + OK

    # --- durable state

    def state(self) -> dict[str, Any]:
        """Return everything that outlives the process, ready for JSON."""
        return {"drawer_open": self._drawer_open, "setpoint_c": self._setpoint_c}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over an exported state; nothing is defined and no read is going on."""
        self._drawer_open, self._setpoint_c = state["drawer_open"], state["setpoint_c"]
        self._verb, self._parameter = "", ""
        self._definition, self._body, self._late = None, NOTHING, []
        self.revision += 1


_VERBS: dict[str, Callable[[BioTek], bytes]] = {
    "C": BioTek._serial,
    "e": BioTek._firmware,
    "h": BioTek._temperature,
    "J": BioTek._open,
    "A": BioTek._close,
    "O": BioTek._run,
}
"""Verb -> what the reader answers after ACK."""
_VERBS_WITH_PARAMETER: dict[str, Callable[[BioTek, str], str]] = {
    "i": BioTek._home,
    "&": BioTek._slow,
    "y": BioTek._geometry,
    "t": BioTek._focus,
    "g": BioTek._incubate,
    "D": BioTek._define,
}
"""Verb -> what the reader answers to its parameter, without ETX."""

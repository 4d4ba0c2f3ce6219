"""Molecular Devices SpectraMax plate reader as a state machine: endpoint absorbance, 96 wells.

Belongs here: what the reader answers. Not here: what a plate holds (a callback says it), ports.

Sources: the command grammar of two open drivers and a recorded status text; the TRANSFER layout has
one row per plate column. UNCONFIRMED: prompts of the answers other than STATUS, layout of TEMP,
ERROR and OPTION, ``!STOP``, the time field of TRANSFER, whether a prompt follows FAIL.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Clock = Callable[[], float]
Absorbance = Callable[[int], np.ndarray]
"""Wavelength in nm -> (8, 12) OD of the plate in the drawer; NaN for an empty well."""

UNKNOWN, BAD_ARGUMENT, BUSY, MEASURING, NO_DATA = 100, 101, 105, 106, 107
"""FAIL codes: unknown command, invalid argument, busy, measuring, no data to transfer."""
BRIGHTEST_OD = 4.0
"""Above this the reader writes ``#SAT``."""
EMPTY_WELL_OD = 0.04
"""Bare polystyrene."""
WAVELENGTHS_NM = (190, 1000)
LONGEST_LINE = 200


@dataclass(frozen=True)
class SpectraMaxSettings:
    """What is fixed about one emulated reader."""

    measure_s: float = 0.1
    """Wall time of a read; the first quarter is the air calibration."""
    decimals: int = 4
    """Decimals of an OD in the TRANSFER body."""
    temperature_c: float = 25.1
    """What the thermometer shows while the incubator is off."""
    prompt_after_failure: bool = False
    """True: ``FAIL`` is followed by line end and prompt."""


class Failed(Exception):
    """The reader's ``FAIL`` with its code."""

    def __init__(self, code: int, after: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.after = after
        """What the reader has already answered when it fails."""


class SpectraMax:
    """SpectraMax; ``receive`` takes bytes, lines end with CR or LF."""

    def __init__(
        self,
        absorbance: Absorbance,
        physics_h: Clock,
        wall_s: Clock,
        settings: SpectraMaxSettings | None = None,
    ) -> None:
        self.settings = settings or SpectraMaxSettings()
        self.revision = 0
        """Grows whenever the durable state has changed."""
        self._absorbance, self._physics_h, self._wall_s = absorbance, physics_h, wall_s
        self._line = bytearray()
        self._drawer = "CLOSED"
        self._setpoint_c = 0.0
        self._wavelengths_nm: list[int] = []
        self._columns = (1, 12)
        self._rows = 8
        self._data = ""
        self._read_began_s = -math.inf

    def receive(self, data: bytes) -> bytes:
        """Take bytes; return the answers to the lines that they complete."""
        answer = ""
        for byte in data:
            if byte not in b"\r\n":
                self._line.append(byte)
                del self._line[:-LONGEST_LINE]
                continue
            line, self._line = self._line.decode("latin-1").strip(), bytearray()
            answer += self._obey(line) if line else ""
        return answer.encode("latin-1", "replace")

    def poll(self) -> bytes:
        """Return nothing: the reader speaks only when asked."""
        return b""

    def power_cycle(self) -> None:
        """Interrupt the power: data and settings are gone, the drawer stays where it is."""
        drawer = self._drawer
        fresh = SpectraMax(self._absorbance, self._physics_h, self._wall_s, self.settings)
        self.restore({**fresh.state(), "drawer": drawer})

    def _obey(self, line: str) -> str:
        words = line.removeprefix("!").upper().split()
        verb, arguments = (words[0] if words else ""), tuple(words[1:])
        try:
            if not line.startswith("!") or verb not in _COMMANDS:
                raise Failed(UNKNOWN)
            state = self._state()
            if verb not in _ALWAYS and state != "IDLE":
                raise Failed(MEASURING if state == "MEASURING" else BUSY)
            answer = _COMMANDS[verb](self, arguments)
            if verb not in _WITHOUT_EFFECT:
                self.revision += 1
            return answer
        except Failed as failure:
            prompt = "\r\n>" if self.settings.prompt_after_failure else ""
            return f"{failure.after}FAIL\t {failure.code}{prompt}"

    def _state(self) -> str:
        done = (self._wall_s() - self._read_began_s) / max(self.settings.measure_s, 1e-9)
        return "AIR CAL" if 0 <= done < 0.25 else "MEASURING" if 0 <= done < 1 else "IDLE"

    # --- commands that answer with one prompt

    def _wake(self, arguments: tuple[str, ...]) -> str:
        return _OK

    def _take(self, arguments: tuple[str, ...]) -> str:
        """Accept a setting that changes nothing in a virtual reader."""
        return _OK

    def _clear(self, arguments: tuple[str, ...]) -> str:
        if arguments != ("DATA",):
            raise Failed(BAD_ARGUMENT)
        self._data = ""
        return _OK

    def _open(self, arguments: tuple[str, ...]) -> str:
        self._drawer = "OPEN"
        return _OK

    def _close(self, arguments: tuple[str, ...]) -> str:
        self._drawer = "CLOSED"
        return _OK

    def _strip(self, arguments: tuple[str, ...]) -> str:
        first, count = _integers(arguments, 2)
        if not (1 <= first <= 12 and 1 <= count <= 13 - first):
            raise Failed(BAD_ARGUMENT)
        self._columns = (first, count)
        return _OK

    def _y_positions(self, arguments: tuple[str, ...]) -> str:
        if len(arguments) != 3 or arguments[2] not in map(str, range(1, 9)):
            raise Failed(BAD_ARGUMENT)
        self._rows = int(arguments[2])
        return _OK

    def _wavelength(self, arguments: tuple[str, ...]) -> str:
        shortest, longest = WAVELENGTHS_NM
        wavelengths_nm = _integers(arguments, len(arguments))
        if not wavelengths_nm or not all(shortest <= nm <= longest for nm in wavelengths_nm):
            raise Failed(BAD_ARGUMENT)
        self._wavelengths_nm = list(wavelengths_nm)
        return _OK

    def _mode(self, arguments: tuple[str, ...]) -> str:
        if arguments != ("ENDPOINT",):
            raise Failed(BAD_ARGUMENT)
        return _OK

    def _order(self, arguments: tuple[str, ...]) -> str:
        if arguments != ("COLUMN",):
            raise Failed(BAD_ARGUMENT)
        return _OK

    def _read(self, arguments: tuple[str, ...]) -> str:
        """Read the plate at once and keep it back until the time of a read has passed."""
        if not self._wavelengths_nm:
            raise Failed(BAD_ARGUMENT)
        self._drawer = "CLOSED"
        self._data = self._body()
        self._read_began_s = self._wall_s()
        return _OK

    def _give_up(self, arguments: tuple[str, ...]) -> str:
        if self._state() != "IDLE":
            self._data, self._read_began_s = "", -math.inf
        return _OK

    # --- commands that answer with two prompts

    def _read_type(self, arguments: tuple[str, ...]) -> str:
        if arguments != ("ABSPLA",):
            raise Failed(BAD_ARGUMENT)
        return _OK_TWICE

    def _speed(self, arguments: tuple[str, ...]) -> str:
        if arguments not in (("ON",), ("OFF",)):
            raise Failed(BAD_ARGUMENT)
        return _OK_TWICE

    def _status(self, arguments: tuple[str, ...]) -> str:
        return f"{_OK}\r\n{self._drawer}\r\n{self._state()}\r\n\r\n>"

    def _temperature(self, arguments: tuple[str, ...]) -> str:
        if not arguments:
            actual_c = self._setpoint_c or self.settings.temperature_c
            return f"{_OK}\r\n{self._setpoint_c:.1f}\t{actual_c:.1f}\r\n>"
        if not re.fullmatch(r"[0-9]{1,2}(\.[0-9])?", arguments[0]) or float(arguments[0]) > 45:
            raise Failed(BAD_ARGUMENT)
        self._setpoint_c = float(arguments[0])
        return _OK_TWICE

    def _error(self, arguments: tuple[str, ...]) -> str:
        return f"{_OK}\r\n0\r\n>"

    def _option(self, arguments: tuple[str, ...]) -> str:
        return f"{_OK}\r\nSPECTRAmax 384PLUS ROM v2.01\r\n>"

    def _transfer(self, arguments: tuple[str, ...]) -> str:
        if not self._data:
            raise Failed(NO_DATA, after="OK\t\r\n>")
        return f"{_OK}{self._data}>"

    def _body(self) -> str:
        actual_c = self._setpoint_c or self.settings.temperature_c
        lines = [f"{self._physics_h() * 3600:.1f}\t{actual_c:.1f}\t96-well"]
        lines.append("\t".join(["L:", *map(str, self._wavelengths_nm)]))
        first, count = self._columns
        for nm in self._wavelengths_nm:
            optical_density = np.asarray(self._absorbance(nm), dtype=float)
            lines.append(f"L:\t{nm}")
            for column in range(first, first + count):
                wells = optical_density[: self._rows, column - 1]
                lines.append("\t".join([f"{column}:", *map(self._shown, wells)]))
        return "".join(f"{line}\r\n" for line in lines)

    def _shown(self, optical_density: float) -> str:
        if math.isnan(optical_density):
            optical_density = EMPTY_WELL_OD
        if optical_density > BRIGHTEST_OD:
            return "#SAT"
        return f"{optical_density:.{self.settings.decimals}f}"

    # --- durable state

    def state(self) -> dict[str, Any]:
        """Return everything that outlives the process, ready for JSON."""
        return {
            "drawer": self._drawer,
            "setpoint_c": self._setpoint_c,
            "wavelengths_nm": list(self._wavelengths_nm),
            "columns": list(self._columns),
            "rows": self._rows,
            "data": self._data,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over an exported state; a read that was going on is finished."""
        self._drawer, self._setpoint_c = state["drawer"], state["setpoint_c"]
        self._wavelengths_nm = list(state["wavelengths_nm"])
        first, count = state["columns"]
        self._columns, self._rows, self._data = (first, count), state["rows"], state["data"]
        self._read_began_s = -math.inf
        self._line = bytearray()
        self.revision += 1


def _integers(arguments: tuple[str, ...], count: int) -> tuple[int, ...]:
    if len(arguments) != count or not all(re.fullmatch(r"[0-9]{1,4}", a) for a in arguments):
        raise Failed(BAD_ARGUMENT)
    return tuple(int(argument) for argument in arguments)


_OK = "OK\r\n>"
_OK_TWICE = "OK\r\n>\r\n>"
_ALWAYS = frozenset({"", "STATUS", "STOP"})
"""Commands that the reader takes while it measures."""
_WITHOUT_EFFECT = frozenset({"", "STATUS", "ERROR", "OPTION", "TRANSFER"})
_COMMANDS: dict[str, Callable[[SpectraMax, tuple[str, ...]], str]] = {
    "": SpectraMax._wake,
    "CLEAR": SpectraMax._clear,
    "OPEN": SpectraMax._open,
    "CLOSE": SpectraMax._close,
    "XPOS": SpectraMax._take,
    "YPOS": SpectraMax._y_positions,
    "STRIP": SpectraMax._strip,
    "CSPEED": SpectraMax._take,
    "SHAKE": SpectraMax._take,
    "WAVELENGTH": SpectraMax._wavelength,
    "CALIBRATE": SpectraMax._take,
    "MODE": SpectraMax._mode,
    "ORDER": SpectraMax._order,
    "SPEED": SpectraMax._speed,
    "TAG": SpectraMax._take,
    "NVRAM": SpectraMax._take,
    "READTYPE": SpectraMax._read_type,
    "READ": SpectraMax._read,
    "STOP": SpectraMax._give_up,
    "STATUS": SpectraMax._status,
    "TEMP": SpectraMax._temperature,
    "ERROR": SpectraMax._error,
    "OPTION": SpectraMax._option,
    "TRANSFER": SpectraMax._transfer,
}
"""Verb -> what the reader does with it."""

"""New Era NE-1000 syringe pump as a state machine; a chain of them is ne1000_bus.

Belongs here: what the pump does with commands and time. Not here: framing and numbers
(ne1000_wire), the plunger (plunger), ports (serve), what the liquid does in a chip.

Two clocks: ``physics_h`` moves the plunger (study time, hours), ``wall_s`` runs the link
(watchdog, inter-byte timeout, seconds). The pump believes in the diameter it was told, so a wrong
``DIA`` delivers a wrong volume and shows the asked one.

UNCONFIRMED, the documents being silent or at odds: which events zero the counter (here power-up,
``*RESET``, a changed diameter, roll-over); ``?OOR`` for too many digits; ``STP`` while stopped;
``?NA`` for VOL while moving and for SAF outside a packet; that only packets to a pump's own address
feed its watchdog; that the watchdog also alarms while idle; that a pump stopped by an alarm starts
a new target at the next RUN; the lowest rate of each model; of a programme of phases: that a bare
RUN begins at phase 1 whichever is selected, that settings go to the selected phase, that a phase
which nobody set stops, what PHN reads after a run. Of the functions only RAT and STP are emulated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from instruments.emulators.ne1000_wire import (
    Ear,
    Heard,
    basic_reply,
    four_digits,
    number,
    safe_packet,
)
from instruments.emulators.plunger import Plunger, Way

RATE_UNITS_UL_H = {"UM": 60, "MM": 60_000, "UH": 1, "MH": 1_000}
"""Unit code -> uL/h."""
VOLUME_UNITS_UL = {"UL": 1, "ML": 1_000}
"""Unit code -> uL."""
SMALL_SYRINGE_MM = Decimal("14.00")
"""Up to this diameter the volume unit becomes uL when the diameter is set, above it mL (manual)."""
DIAMETER_RANGE_MM = (Decimal("0.1"), Decimal("50"))
FACTORY_DIAMETER_MM = "26.59"
LAST_PHASE = 41
MOVING = "IWX"
"""Status characters of a moving plunger: infusing, withdrawing, purging."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Ne1000Settings:
    """What is fixed about one emulated pump: its make, its place on the chain, its syringe."""

    address: int = 0
    syringe_volume_ul: float = 60_000.0
    """Content at the start; the syringe is full."""
    syringe_diameter_mm: float = 26.72
    """Inner diameter of the syringe that really stands in the pump."""
    version: str = "NE1000V3.61"
    fastest_plunger_mm_h: float = 3060.3
    """5.1005 cm/min, the NE-1000's published top speed."""
    slowest_plunger_mm_h: float = 0.0
    """0: every rate above zero is taken. Models differ; see the notes above."""
    refuses_stop_when_stopped: bool = False
    """True: ``STP`` while stopped answers ``?NA``."""


@dataclass(frozen=True)
class Phase:
    """One phase of the pump's programme."""

    function: str = "STP"
    rate: str = "0"
    rate_unit: str = "MH"
    volume: str = "0"
    direction: str = "INF"


class Refused(Exception):
    """The pump's error answer to one command, e.g. ``?OOR``."""


class Ne1000:
    """One NE-1000; ``receive`` takes bytes and returns the bytes it answers."""

    def __init__(self, settings: Ne1000Settings, physics_h: Clock, wall_s: Clock) -> None:
        self.settings = settings
        self.revision = 0
        """Grows whenever the durable state has changed."""
        self.address = settings.address
        self.plunger = Plunger(settings.syringe_volume_ul, physics_h)
        """What really moved; no command and no power cut takes anything back from its ledger."""
        self.starts = 0
        """RUN commands carried out from standstill, ever; resuming from a pause is not one."""
        self._wall_s = wall_s
        self._ear = Ear()
        self._outbox = bytearray()
        self._diameter_mm = Decimal(FACTORY_DIAMETER_MM)
        self._volume_unit = "ML"
        self._phases: dict[int, Phase] = {1: Phase("RAT")}
        self._phase, self._function = 1, "RAT"
        self._rate, self._rate_unit = Decimal(0), "MH"
        self._stored_rate = self._volume = Decimal(0)
        self._direction = "INF"
        self._safe_timeout_s = 0
        self._fed_s: float | None = None
        self._status = "S"
        self._alarms: list[str] = ["R"]

    # --- the line

    def receive(self, data: bytes) -> bytes:
        """Take bytes; return the answer, alarms that the pump sends of itself before it."""
        answer = bytearray()
        wall_s = self._wall_s()
        for byte in data:
            answer += self.hear(byte, wall_s)
        return bytes(answer)

    def hear(self, byte: int, wall_s: float) -> bytes:
        """Take one byte at one moment of the link clock."""
        heard = self._ear.hear(byte, self._safe_timeout_s > 0, wall_s)
        return b"" if heard is None else self._answer(heard, wall_s)

    def poll(self) -> bytes:
        """Let time act (target, empty syringe, watchdog); return what the pump sends of itself."""
        self.settle()
        waited_s = math.inf if self._fed_s is None else self._wall_s() - self._fed_s
        if self._fed_s is not None and 0 < self._safe_timeout_s < waited_s:
            self._fed_s = None
            self._halt("S")
            self._alarm("T")
        sent, self._outbox = bytes(self._outbox), bytearray()
        return sent

    def _answer(self, heard: Heard, wall_s: float) -> bytes:
        command = self._addressed(heard.text)
        if command is None:
            return b""
        if not heard.intact:
            refusal = f"{self.address:02d}{self._status}?COM".encode()
            return safe_packet(refusal) if self._safe_timeout_s else b""
        if heard.framed and not self._safe_timeout_s and not command.startswith("SAF"):
            return b""
        unasked = self.poll()
        if heard.framed:
            self._fed_s = wall_s
        reply = f"{self.address:02d}{self._obey(command, heard.framed)}".encode("latin-1")
        if command.startswith("*"):
            reply = f"{self.address:02d}".encode() + reply[2:]
        return unasked + (safe_packet(reply) if self._safe_timeout_s else basic_reply(reply))

    def _addressed(self, text: str) -> str | None:
        """Return the command where it is meant for this pump; no address means address 0."""
        if text.startswith("*"):
            return text
        match = re.match(r"[0-9]{0,2}", text)
        digits = match[0] if match else ""
        return text[len(digits) :] if int(digits or "0") == self.address else None

    def _obey(self, command: str, framed: bool) -> str:
        if self._alarms:
            self.revision += 1
            return f"A?{self._alarms.pop(0)}"
        verb, parameter = command[:3], command[3:]
        try:
            if command.startswith("*"):
                data = self._system(command)
            elif command == "":
                data = ""
            elif verb == "SAF":
                data = self._safe_mode(parameter, framed)
            elif verb in _QUERIES and not parameter:
                data = _QUERIES[verb](self)
            elif verb in _SETTERS:
                _SETTERS[verb](self, parameter)
                self.revision += 1
                data = ""
            else:
                raise Refused("?")
        except Refused as refusal:
            data = str(refusal)
        return self._status + data

    # --- commands

    def _system(self, command: str) -> str:
        if command == "*RESET":
            self._halt("S")
            self.plunger.zero("I", "W")
            self.address, self._safe_timeout_s, self._fed_s = 0, 0, None
            self._phases = {1: Phase("RAT")}
            self._select(1)
        elif re.fullmatch(r"\*ADR[0-9]{1,2}", command):
            self.address = int(command[4:])
        elif command == "*ADR":
            return f"{self.address:02d}"
        else:
            raise Refused("?")
        self.revision += 1
        return ""

    def _safe_mode(self, parameter: str, framed: bool) -> str:
        if not parameter:
            return str(self._safe_timeout_s)
        if not framed:
            raise Refused("?NA")
        if not re.fullmatch(r"[0-9]{1,3}", parameter):
            raise Refused("?")
        if int(parameter) > 255:
            raise Refused("?OOR")
        self._safe_timeout_s = int(parameter)
        self.revision += 1
        return ""

    def _set_diameter(self, parameter: str) -> None:
        if self._status != "S":
            raise Refused("?NA")
        diameter_mm = _reading(parameter)
        if not DIAMETER_RANGE_MM[0] <= diameter_mm <= DIAMETER_RANGE_MM[1]:
            raise Refused("?OOR")
        if diameter_mm != self._diameter_mm:
            self.plunger.zero("I", "W")
        self._diameter_mm = diameter_mm
        self._volume_unit = "UL" if diameter_mm <= SMALL_SYRINGE_MM else "ML"

    def _set_rate(self, parameter: str) -> None:
        unit = parameter[-2:] if parameter[-2:] in RATE_UNITS_UL_H else ""
        rate = _reading(parameter.removesuffix(unit))
        if unit and self._status in MOVING:
            raise Refused("?NA")
        self._check_rate(rate, unit or self._rate_unit)
        if self._status in MOVING:
            moving = self._status
            self._halt(moving)
            self._rate = rate
            self._set_off(moving)
        else:
            self._rate = self._stored_rate = rate
            self._rate_unit = unit or self._rate_unit

    def _set_volume(self, parameter: str) -> None:
        if self._status in MOVING:
            raise Refused("?NA")
        if parameter in VOLUME_UNITS_UL:
            self._volume_unit = parameter
        else:
            self._volume = _reading(parameter)

    def _set_direction(self, parameter: str) -> None:
        directions = {"INF": "INF", "WDR": "WDR", "REV": _OPPOSITE[self._direction]}
        if parameter not in directions:
            raise Refused("?")
        moving = self._status in MOVING
        if self._status == "X" or (moving and self._volume != 0):
            raise Refused("?NA")
        if moving:
            self._halt("P")
        self._direction = directions[parameter]
        if moving:
            self._set_off(self._way())

    def _run(self, parameter: str) -> None:
        phase = _phase_number(parameter) if parameter else 1
        if self._status in MOVING:
            raise Refused("?NA")
        if self._status == "S" or parameter:
            self._keep_phase()
            self._select(phase)
        if self._function == "STP":
            return
        self._check_rate(self._rate, self._rate_unit)
        if self._status == "S":
            self.plunger.target_done_ul = 0.0
            self.starts += 1
        self._set_off(self._way())

    def _purge(self, parameter: str) -> None:
        if parameter:
            raise Refused("?")
        if self._status != "S":
            raise Refused("?NA")
        self._set_off("X")

    def _stop(self, parameter: str) -> None:
        if parameter:
            raise Refused("?")
        if self._status == "S" and self.settings.refuses_stop_when_stopped:
            raise Refused("?NA")
        self._halt("P" if self._status in "IW" else "S")

    def _clear(self, parameter: str) -> None:
        if parameter not in ("INF", "WDR"):
            raise Refused("?")
        if self._status in MOVING:
            raise Refused("?NA")
        self.plunger.zero("I" if parameter == "INF" else "W")

    def _set_phase(self, parameter: str) -> None:
        phase = _phase_number(parameter)
        if self._status != "S":
            raise Refused("?NA")
        self._keep_phase()
        self._select(phase)

    def _set_function(self, parameter: str) -> None:
        if parameter not in ("RAT", "STP"):
            raise Refused("?")
        if self._status != "S":
            raise Refused("?NA")
        self._function = parameter

    def _keep_phase(self) -> None:
        self._phases[self._phase] = Phase(
            self._function,
            str(self._stored_rate),
            self._rate_unit,
            str(self._volume),
            self._direction,
        )

    def _select(self, number: int) -> None:
        phase = self._phases.get(number, Phase())
        self._phase, self._function = number, phase.function
        self._rate = self._stored_rate = Decimal(phase.rate)
        self._rate_unit, self._volume = phase.rate_unit, Decimal(phase.volume)
        self._direction = phase.direction

    def _next_phase(self) -> None:
        """Go on with the phase after the one that has reached its target; it may end the run."""
        self._keep_phase()
        following = self._phases.get(self._phase + 1, Phase())
        if following.function == "STP" or not Decimal(following.rate):
            return
        self._select(self._phase + 1)
        self.plunger.target_done_ul = 0.0
        self._set_off(self._way())

    def _dispensed(self) -> str:
        unit_ul = VOLUME_UNITS_UL[self._volume_unit]
        infused = four_digits(self.plunger.counted_ul("I") / unit_ul)
        withdrawn = four_digits(self.plunger.counted_ul("W") / unit_ul)
        return f"I{infused}W{withdrawn}{self._volume_unit}"

    # --- what happens to the pump

    def settle(self) -> None:
        """Take note of a plunger that has stopped by itself: target reached, or syringe empty."""
        ending = self.plunger.ended_by()
        if ending is None:
            return
        purged = self._status == "X"
        self._halt("S")
        if ending == "stall":
            self._alarm("S")
        elif not purged:
            self._next_phase()

    def power_cycle(self) -> None:
        """Interrupt the power: motion ends, counters are zero, the reset alarm is latched."""
        self.settle()
        self._halt("S")
        self.plunger.zero("I", "W")
        self._ear, self._outbox, self._fed_s = Ear(), bytearray(), None
        self._rate = self._stored_rate
        self._alarms = []
        self._alarm("R")

    def block(self) -> None:
        """Block the plunger: a moving pump stalls, one at standstill does not notice."""
        self.settle()
        if self._status in MOVING:
            self._halt("S")
            self._alarm("S")

    @property
    def delivered_ul(self) -> float:
        """What has really left the syringe, ever."""
        return self.plunger.delivered_ul

    @property
    def moving(self) -> bool:
        """True while the plunger moves."""
        self.settle()
        return self._status in MOVING

    def change_syringe(self) -> None:
        """Put a full syringe of the same kind into the pump; raises ValueError while it moves."""
        self.settle()
        self.plunger.change_syringe()
        self.revision += 1

    def _way(self) -> Way:
        return "W" if self._direction == "WDR" else "I"

    def _speed_ul_h(self, plunger_mm_h: float) -> float:
        return math.pi / 4 * float(self._diameter_mm) ** 2 * plunger_mm_h

    def _check_rate(self, rate: Decimal, unit: str) -> None:
        rate_ul_h = float(rate * RATE_UNITS_UL_H[unit])
        slowest_ul_h = self._speed_ul_h(self.settings.slowest_plunger_mm_h)
        fastest_ul_h = self._speed_ul_h(self.settings.fastest_plunger_mm_h)
        if rate_ul_h <= 0 or not slowest_ul_h <= rate_ul_h <= fastest_ul_h:
            raise Refused("?OOR")

    def _set_off(self, status: str) -> None:
        target_ul = float(self._volume * VOLUME_UNITS_UL[self._volume_unit])
        rate_ul_h = float(self._rate * RATE_UNITS_UL_H[self._rate_unit])
        if status == "X":
            target_ul, rate_ul_h = 0.0, self._speed_ul_h(self.settings.fastest_plunger_mm_h)
        real_per_shown = (self.settings.syringe_diameter_mm / float(self._diameter_mm)) ** 2
        self.plunger.set_off(self._way(), rate_ul_h, target_ul, real_per_shown)
        self._status = status

    def _halt(self, status: str) -> None:
        self.plunger.halt()
        self._status = status
        self.revision += 1

    def _alarm(self, kind: str) -> None:
        self.revision += 1
        if kind not in self._alarms:
            self._alarms.append(kind)
        if self._safe_timeout_s:
            self._outbox += safe_packet(f"{self.address:02d}A?{kind}".encode())

    # --- durable state

    def state(self) -> dict[str, Any]:
        """Return everything that outlives the process, ready for JSON; bytes in flight do not."""
        return {
            "address": self.address,
            "plunger": self.plunger.state(),
            "starts": self.starts,
            "diameter_mm": str(self._diameter_mm),
            "rate": [str(self._rate), self._rate_unit, str(self._stored_rate)],
            "volume": [str(self._volume), self._volume_unit],
            "direction": self._direction,
            "phase": [self._phase, self._function],
            "phases": {str(number): asdict(phase) for number, phase in self._phases.items()},
            "safe_timeout_s": self._safe_timeout_s,
            "status": self._status,
            "alarms": list(self._alarms),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over an exported state; the pump does not notice that time stood still in between.

        The watchdog waits for the next valid packet, as after power-up.
        """
        self.address = state["address"]
        self.plunger.restore(state["plunger"])
        self.starts = state["starts"]
        self._diameter_mm = Decimal(state["diameter_mm"])
        rate, self._rate_unit, stored_rate = state["rate"]
        self._rate, self._stored_rate = Decimal(rate), Decimal(stored_rate)
        volume, self._volume_unit = state["volume"]
        self._volume = Decimal(volume)
        self._direction, self._status = state["direction"], state["status"]
        self._phase, self._function = state["phase"]
        self._phases = {int(n): Phase(**phase) for n, phase in state["phases"].items()}
        self._safe_timeout_s, self._fed_s = state["safe_timeout_s"], None
        self._alarms = list(state["alarms"])
        self._ear, self._outbox = Ear(), bytearray()
        self.revision += 1


def _reading(text: str) -> Decimal:
    try:
        value = number(text)
    except ValueError as problem:
        raise Refused("?") from problem
    if value is None:
        raise Refused("?OOR")
    return value


def _phase_number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", text):
        raise Refused("?")
    if not 1 <= int(text) <= LAST_PHASE:
        raise Refused("?OOR")
    return int(text)


_OPPOSITE = {"INF": "WDR", "WDR": "INF"}
_QUERIES: dict[str, Callable[[Ne1000], str]] = {
    "VER": lambda pump: pump.settings.version,
    "DIA": lambda pump: four_digits(pump._diameter_mm),
    "RAT": lambda pump: four_digits(pump._rate) + pump._rate_unit,
    "VOL": lambda pump: four_digits(pump._volume) + pump._volume_unit,
    "DIR": lambda pump: pump._direction,
    "DIS": Ne1000._dispensed,
    "PHN": lambda pump: f"{pump._phase:02d}",
    "FUN": lambda pump: pump._function,
}
"""Command without parameter -> the data of its answer."""
_SETTERS: dict[str, Callable[[Ne1000, str], None]] = {
    "DIA": Ne1000._set_diameter,
    "RAT": Ne1000._set_rate,
    "VOL": Ne1000._set_volume,
    "DIR": Ne1000._set_direction,
    "RUN": Ne1000._run,
    "STP": Ne1000._stop,
    "PUR": Ne1000._purge,
    "CLD": Ne1000._clear,
    "PHN": Ne1000._set_phase,
    "FUN": Ne1000._set_function,
}
"""Command with its parameter -> what it does; raises Refused with the pump's error answer."""

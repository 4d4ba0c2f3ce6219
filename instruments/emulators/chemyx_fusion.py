"""Chemyx Fusion syringe pump as a state machine, one or two channels.

Belongs here: the command lines of the pump and what it does with them and with time.
Not here: the plunger (plunger), ports (serve), what the liquid does in a chip.
Sources: Chemyx's web pages on serial commands (commands, units, ranges, digits, the texts of start,
pause and stop); cukelarter/Chemyx-Syringe-Pump (commands, the channel's number in front); a
terminal transcript of a Fusion in a public repository (``units = 0``, ``Invalid Command!``, a
space in front of a command is one); qudi's driver (line ends, ``view parameter``, status codes).

``physics_h`` moves the plunger. The pump believes in the diameter it was told, so a wrong one
delivers a wrong volume and shows the asked one.

UNCONFIRMED, all of it, no byte of a real exchange being published. Options where a choice exists:
echo and prompt; what is answered to a value out of range; order of the four limits; whether the
counter starts again with each run; what ``restart`` does with a paused run; what outlives a power
cut; how the lines of ``view parameter`` end. Chosen here: ``\\r\\n`` after echo and lines;
settings are refused while a run lasts, a pause included; ``start`` during a run, ``pause`` and
``stop`` without one change nothing and are answered as ever; ``set units`` leaves the numbers as
they are; minutes for delay and elapsed time; the counter counts the volume asked, without a sign;
digits beyond those shown are dropped; a line end is needed; settings that the pump has at first;
nothing is sent unasked, not even a stall; the status codes. Not emulated: several steps (comma
lists, ``start 1``), cycle mode (channel 3), ``set primerate``, ``hexw2``, ``change rate``,
``help``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Literal

from instruments.emulators.plunger import Plunger, Way

INVALID = "Invalid Command!"
STOPPED, RUNNING, PAUSED, DELAYED, STALLED = range(5)
"""Status codes."""
VOLUME_UNITS_UL = (1000, 1000, 1, 1)
RATE_UNITS_UL_H = (60_000, 1000, 60, 1)
"""Unit number (mL/min, mL/hr, uL/min, uL/hr) -> uL, uL/h."""
DIAMETER_RANGE_MM = (Decimal("0.103"), Decimal("40"))
LONGEST_LINE = 200

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})")
_CHANNEL = re.compile(r"(?:([0-9]) )?(.*)")

Clock = Callable[[], float]


@dataclass(frozen=True)
class ChemyxFusionSettings:
    """What is fixed about one emulated pump: its syringe, its model, its dialect."""

    syringe_volume_ul: float = 10_000.0
    """Content at the start; the syringe is full. Both channels hold the same kind."""
    syringe_diameter_mm: float = 14.5
    """Inner diameter of the syringe that really stands in the pump."""
    told_diameter_mm: str = "14.5"
    """Diameter that the pump believes in at the start."""
    dual: bool = False
    """True: two channels; ``2 `` in front of a command means the second one."""
    echo: bool = True
    prompt: str = ">"
    """Last byte of every answer; empty: the answer ends with its last line."""
    out_of_range: Literal["keep", "clamp", "silent"] = "keep"
    """Answer to a value out of range: the old value, the nearest one (and taken), or no line."""
    limit_order: Literal["rate_first", "volume_first"] = "rate_first"
    """Of ``read limit parameter``: two public drivers read it differently."""
    counter_per_run: bool = True
    """False: the counter adds up from run to run."""
    counter_persists: bool = False
    """True: counter and elapsed time outlive a power cut."""
    settings_persist: bool = True
    """False: a power cut sets everything back as it was at the start."""
    view_separator: str = " \n\r"
    """Between the lines of ``view parameter``, as one driver for a Fusion 4000-X expects it."""
    restart_resumes: bool = False
    """True: ``restart`` goes on with a paused run instead of beginning it anew."""
    fastest_mm_min: float = 178.2
    slowest_mm_min: float = 0.0003
    longest_stroke_mm: float = 150.0
    shortest_stroke_mm: float = 0.02
    """Of the plunger; the four fit the limits that a Fusion 4000-X is said to show at 30 mm."""


class Refused(Exception):
    """The pump does not take the command."""


class Channel:
    """One syringe with its settings and its run."""

    def __init__(self, settings: ChemyxFusionSettings, physics_h: Clock) -> None:
        self._settings, self._physics_h = settings, physics_h
        self._acts_at_h: float | None = None
        self._begins_at_h = self._since_h = math.inf
        self._elapsed_h = 0.0
        self._way: Way = "I"
        self.plunger = Plunger(settings.syringe_volume_ul, self._now_h)
        """What really moved; no command and no power cut takes anything back from its ledger."""
        self.status = STOPPED
        self.starts = 0
        """Runs begun from their beginning, ever; going on after a pause is not one."""
        self.forget_settings()

    def forget_settings(self) -> None:
        """Set everything as it is at first."""
        self.diameter_mm = Decimal(self._settings.told_diameter_mm)
        self.units = 0
        self.rate = self.volume = Decimal(1)
        self.delay_min = Decimal(0)

    def forget_run(self) -> None:
        """Set counter and elapsed time to zero."""
        self.plunger.zero("I", "W")
        self._elapsed_h = 0.0

    @property
    def elapsed_h(self) -> float:
        """Hours that the run has run, delay and pauses left out."""
        if self.status != RUNNING:
            return self._elapsed_h
        return self._elapsed_h + min(self._now_h(), self.plunger.stops_at_h) - self._since_h

    @property
    def dispensed(self) -> float:
        """The counter, in the unit set."""
        return self.plunger.counted_ul(self._way) / VOLUME_UNITS_UL[self.units]

    @property
    def rate_limits(self) -> tuple[float, float]:
        """Highest and lowest rate, in the unit set."""
        unit_ul_min = RATE_UNITS_UL_H[self.units] / 60
        ends = self._settings.fastest_mm_min, self._settings.slowest_mm_min
        return ends[0] * self._area_mm2 / unit_ul_min, ends[1] * self._area_mm2 / unit_ul_min

    @property
    def volume_limits(self) -> tuple[float, float]:
        """Highest and lowest volume, in the unit set."""
        unit_ul = VOLUME_UNITS_UL[self.units]
        ends = self._settings.longest_stroke_mm, self._settings.shortest_stroke_mm
        return ends[0] * self._area_mm2 / unit_ul, ends[1] * self._area_mm2 / unit_ul

    def settle(self) -> None:
        """Let time act: a delay is over, a target is reached, the plunger meets an end."""
        if self.status == DELAYED and self._now_h() >= self._begins_at_h:
            self._acts_at_h = self._begins_at_h
            self.resume()
            self._acts_at_h = None
        ending = self.plunger.ended_by() if self.status == RUNNING else None
        if ending is not None:
            self.halt(STALLED if ending == "stall" else STOPPED)

    def can_begin(self) -> bool:
        """Return whether rate and volume lie within the limits as they are now."""
        return _within(self.rate, self.rate_limits) and _within(self.volume, self.volume_limits)

    def begin(self) -> None:
        """Begin a run from its beginning, after its delay."""
        self.halt(STOPPED)
        self.plunger.target_done_ul = self._elapsed_h = 0.0
        if self._settings.counter_per_run:
            self.plunger.zero("I", "W")
        self.starts += 1
        self._way = "W" if self.volume < 0 else "I"
        self.status = DELAYED
        self._begins_at_h = self._now_h() + float(self.delay_min) / 60
        self.settle()

    def resume(self) -> None:
        """Set the plunger off, for what is left of the volume."""
        self._since_h = self._now_h()
        self.plunger.set_off(
            self._way,
            float(self.rate) * RATE_UNITS_UL_H[self.units],
            float(abs(self.volume)) * VOLUME_UNITS_UL[self.units],
            (self._settings.syringe_diameter_mm / float(self.diameter_mm)) ** 2,
        )
        self.status = RUNNING

    def halt(self, status: int) -> None:
        """End motion or delay now, or where it has ended by itself."""
        self._elapsed_h = self.elapsed_h
        self.plunger.halt()
        self.status = status

    @property
    def _area_mm2(self) -> float:
        return math.pi / 4 * float(self.diameter_mm) ** 2

    def _now_h(self) -> float:
        return self._physics_h() if self._acts_at_h is None else self._acts_at_h


class ChemyxFusion:
    """One pump; ``receive`` takes bytes and returns the bytes it answers."""

    def __init__(self, settings: ChemyxFusionSettings, physics_h: Clock, wall_s: Clock) -> None:
        self.settings = settings
        self.channels = [Channel(settings, physics_h) for _ in range(1 + settings.dual)]
        self._line = bytearray()
        self._echo = settings.echo

    @property
    def delivered_ul(self) -> float:
        """What has left the first channel's syringe, ever, up to now."""
        self.settle()
        return self.channels[0].plunger.delivered_ul

    @property
    def starts(self) -> int:
        """Runs of the first channel begun from their beginning, ever."""
        return self.channels[0].starts

    @property
    def moving(self) -> bool:
        """True while a plunger moves."""
        self.settle()
        return any(channel.status == RUNNING for channel in self.channels)

    # --- the line

    def receive(self, data: bytes) -> bytes:
        """Take bytes; return the answers. A line ends with CR; an LF after it is skipped."""
        answer = bytearray()
        for byte in data:
            if byte == 0x0D:
                line, self._line = self._line.decode("latin-1"), bytearray()
                answer += self._answer(line)
            elif byte != 0x0A or self._line:
                self._line.append(byte)
                del self._line[:-LONGEST_LINE]
        return bytes(answer)

    def poll(self) -> bytes:
        """Let time act; the pump sends nothing of itself."""
        self.settle()
        return b""

    def _answer(self, line: str) -> bytes:
        self.settle()
        try:
            lines = self._obey(line)
        except Refused:
            lines = [INVALID]
        echo = [line] if self._echo else []
        said = "".join(f"{text}\r\n" for text in (*echo, *lines)) + self.settings.prompt
        return said.encode("latin-1")

    def _obey(self, line: str) -> list[str]:
        found = _CHANNEL.fullmatch(line.rstrip(" "))
        if found is None:
            raise Refused
        number, command = found[1], found[2]
        if not command and number is None:
            return []
        if number is not None and not 1 <= int(number) <= len(self.channels):
            raise Refused
        one = self.channels[int(number or 1) - 1]
        if command in _RUNS:
            return _RUNS[command](self, self.channels if number is None else [one])
        if command in _QUERIES:
            return _QUERIES[command](self, one)
        name, _, value = command.rpartition(" ")
        if name not in _SETTERS or one.status in (RUNNING, PAUSED, DELAYED):
            raise Refused
        if not _NUMBER.fullmatch(value):
            raise Refused
        return _SETTERS[name](self, one, Decimal(value))

    # --- runs

    def _start(self, channels: list[Channel]) -> list[str]:
        if not all(channel.can_begin() for channel in channels):
            raise Refused
        for channel in channels:
            if channel.status == PAUSED:
                channel.resume()
            elif channel.status not in (RUNNING, DELAYED):
                channel.begin()
        delayed = all(channel.status == DELAYED for channel in channels)
        return ["Pump delay..." if delayed else "Pump start running..."]

    def _restart(self, channels: list[Channel]) -> list[str]:
        if not all(channel.can_begin() for channel in channels):
            raise Refused
        for channel in channels:
            if channel.status == PAUSED and self.settings.restart_resumes:
                channel.resume()
            else:
                channel.begin()
        return ["Pump restart!"]

    def _pause(self, channels: list[Channel]) -> list[str]:
        for channel in channels:
            if channel.status in (RUNNING, DELAYED):
                channel.halt(PAUSED)
        return ["Pump pause!"]

    def _stop(self, channels: list[Channel]) -> list[str]:
        for channel in channels:
            channel.halt(STOPPED)
        return ["Pump stop!"]

    # --- settings

    def _set_units(self, channel: Channel, value: Decimal) -> list[str]:
        if value not in range(len(VOLUME_UNITS_UL)):
            return self._out_of_range("units", channel.units)
        channel.units = int(value)
        return [f"units = {channel.units}"]

    def _set_diameter(self, channel: Channel, value: Decimal) -> list[str]:
        low, high = DIAMETER_RANGE_MM
        taken = self._taken(value, (float(high), float(low)), 3)
        if taken is None:
            return self._out_of_range("diameter", channel.diameter_mm, 3)
        channel.diameter_mm = taken
        return [f"diameter = {taken:.3f}"]

    def _set_rate(self, channel: Channel, value: Decimal) -> list[str]:
        taken = self._taken(value, channel.rate_limits, 6) if value > 0 else None
        if taken is None:
            return self._out_of_range("rate", channel.rate, 6)
        channel.rate = taken
        return [f"rate = {taken:.6f}"]

    def _set_volume(self, channel: Channel, value: Decimal) -> list[str]:
        taken = self._taken(value, channel.volume_limits, 6)
        if taken is None:
            return self._out_of_range("volume", channel.volume, 6)
        channel.volume = taken
        return [f"volume = {taken:.6f}"]

    def _set_delay(self, channel: Channel, value: Decimal) -> list[str]:
        if value < 0:
            return self._out_of_range("delay", channel.delay_min, 6)
        channel.delay_min = _cut(value, 6)
        return [f"delay = {channel.delay_min:.6f}"]

    def _set_time(self, channel: Channel, value: Decimal) -> list[str]:
        """Set the rate by the time that the volume takes; minutes or hours, as the unit has it."""
        if value <= 0:
            return self._out_of_range("time", abs(channel.volume) / channel.rate, 6)
        return [*self._set_rate(channel, abs(channel.volume) / value), _time_line(channel)]

    def _set_echo(self, on: bool) -> list[str]:
        self._echo = on
        return []

    def _taken(self, value: Decimal, limits: tuple[float, float], decimals: int) -> Decimal | None:
        """Return the value as it is taken; None where it is out of range and not taken."""
        value = _cut(value, decimals)
        if _within(value, limits):
            return value
        if self.settings.out_of_range != "clamp":
            return None
        if abs(value) > limits[0]:
            return _cut(Decimal(math.copysign(limits[0], value)), decimals)
        step = Decimal(1).scaleb(-decimals)
        return Decimal(math.copysign(limits[1], value)).quantize(step, rounding=ROUND_UP)

    def _out_of_range(self, name: str, kept: Decimal | int, decimals: int = 0) -> list[str]:
        return [] if self.settings.out_of_range == "silent" else [f"{name} = {kept:.{decimals}f}"]

    # --- queries

    def _limits(self, channel: Channel) -> list[str]:
        pairs = [channel.rate_limits, channel.volume_limits]
        if self.settings.limit_order == "volume_first":
            pairs.reverse()
        return [" ".join(f"{limit:.4f}" for pair in pairs for limit in pair)]

    def _view(self, channel: Channel) -> list[str]:
        lines = [""]
        for number, shown in enumerate(self.channels, 1):
            lines += [f"Pump {number}:"] if self.settings.dual else []
            lines += [
                f"unit = {shown.units}",
                f"dia = {shown.diameter_mm:.3f}",
                f"rate = {shown.rate:.6f}",
                _time_line(shown),
                f"volume = {shown.volume:.6f}",
                f"delay = {shown.delay_min:.6f}",
            ]
        return [self.settings.view_separator.join(lines)]

    # --- what happens to the pump

    def settle(self) -> None:
        """Let time act on every channel."""
        for channel in self.channels:
            channel.settle()

    def power_cycle(self) -> None:
        """Interrupt the power: motion ends, the run is forgotten."""
        self.settle()
        for channel in self.channels:
            channel.halt(STOPPED)
            if not self.settings.counter_persists:
                channel.forget_run()
            if not self.settings.settings_persist:
                channel.forget_settings()
        self._line, self._echo = bytearray(), self.settings.echo

    def block(self) -> None:
        """Block the first channel's plunger: it stalls, one at standstill does not notice."""
        self.settle()
        if self.channels[0].status == RUNNING:
            self.channels[0].halt(STALLED)


def _cut(value: Decimal, decimals: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_DOWN)


def _within(value: Decimal, limits: tuple[float, float]) -> bool:
    return limits[1] <= abs(float(value)) <= limits[0]


def _time_line(channel: Channel) -> str:
    return f"time = {abs(channel.volume) / channel.rate:.6f}"


_RUNS: dict[str, Callable[[ChemyxFusion, list[Channel]], list[str]]] = {
    "start": ChemyxFusion._start,
    "start 0": ChemyxFusion._start,
    "restart": ChemyxFusion._restart,
    "pause": ChemyxFusion._pause,
    "stop": ChemyxFusion._stop,
    "stop 0": ChemyxFusion._stop,
}
"""Command -> what it does to the channels named, all where none is."""
_QUERIES: dict[str, Callable[[ChemyxFusion, Channel], list[str]]] = {
    "pump status": lambda pump, channel: [str(channel.status)],
    "status": lambda pump, channel: [str(channel.status)],
    "dispensed volume": lambda pump, channel: [f"dispensed volume = {channel.dispensed:.4f}"],
    "elapsed time": lambda pump, channel: [f"elapsed time = {channel.elapsed_h * 60:.5f}"],
    "read limit parameter": ChemyxFusion._limits,
    "read limit parameter 0": ChemyxFusion._limits,
    "view parameter": ChemyxFusion._view,
    "view parameter 1": ChemyxFusion._view,
    "echo on": lambda pump, channel: pump._set_echo(True),
    "echo off": lambda pump, channel: pump._set_echo(False),
}
"""Command -> the lines of its answer, at any time."""
_SETTERS: dict[str, Callable[[ChemyxFusion, Channel, Decimal], list[str]]] = {
    "set units": ChemyxFusion._set_units,
    "set diameter": ChemyxFusion._set_diameter,
    "set rate": ChemyxFusion._set_rate,
    "set volume": ChemyxFusion._set_volume,
    "set delay": ChemyxFusion._set_delay,
    "set time": ChemyxFusion._set_time,
}
"""Command with a number -> the lines of its answer: what is set now."""

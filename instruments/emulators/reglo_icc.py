"""Ismatec Reglo ICC peristaltic pump, up to four channels, as a state machine.

Belongs here: what the pump does with requests and time. Not here: requests and numbers
(reglo_icc_wire), ports (serve), what the liquid does in a chip.

``physics_h`` turns the rollers (study hours). Each channel counts what it believes to pump; what its
worn or badly calibrated tubing really pumps stands in ``delivered_ul``.

Sources: Reglo ICC manual 14-036-E, sections 14 to 18; values of the ismatec package's mock.
UNCONFIRMED, the documents being silent or at odds: whether the volume in ``^U`` is what is left
(as its one published line has it) or what has been pumped; ``W``, and that it is refused while
running; ``:`` counting both directions; the unit of ``xG``; that a start of a running channel
answers ``*`` and changes nothing; that a channel which was stopped by over-current may start again
at once; what is refused while a channel runs; that flow and speed are set apart and ``xf``
chooses, following ``L`` and ``M``; that a new tubing forgets its calibration; requests to channel
0 as a whole; legacy addressing (here: sets mean every channel, queries the first); what outlives a
power cut; flows of tubing wider than 0.19 mm, which follow a power law through the two known ones.
Backsteps are kept and shown but move nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from instruments.emulators import reglo_icc_wire as wire
from instruments.emulators.reglo_icc_wire import DONE, FAILED, NO, YES, Failed

Clock = Callable[[], float]
Direction = Literal["J", "K"]

FLOW_AT_100_RPM_ML_MIN, NARROWEST_MM, FLOW_EXPONENT = 0.1386, 0.13, 1.87
"""Flow of the narrowest tubing at full speed, and its power of the diameter (0.13 and 0.19 mm)."""
CONTINUOUS = "LM"
VOLUME_MODES, CYCLE_MODES = "OGQ", "QP"
CAUSE_DONE, CAUSE_BY_HAND, CAUSE_OVER_CURRENT = "A", "1", "3"
"""Of ``^X``; B is the end of a calibration, 2 over-temperature (manual)."""


@dataclass(frozen=True)
class RegloIccSettings:
    """What is fixed about one emulated pump: its make, its tubing, its dialect."""

    channels: int = 4
    address: int = 1
    model: str = "REGLO ICC 0208 306"
    firmware: str = "0114"
    protocol: str = "2"
    serial_number: str = "19021234"
    fastest_rpm: float = 100.0
    true_ml_per_shown_ml: float = 1.0
    """What really flows where the uncalibrated pump believes in one mL."""
    delivery_direction: Direction = "J"
    channel_addressing: bool = True
    """As the pump is switched on: digits mean channels; False: they mean pumps."""
    events: bool = False
    """As the pump is switched on."""
    counter_persists: bool = False
    """True: the counter of ``:`` outlives a power cut; the lifetime counters always do."""
    settings_persist: bool = True
    """False: only what ``*`` has saved outlives a power cut."""
    takes_W: bool = True
    """False: ``W``, which clears the counter of ``:``, is not known."""


@dataclass(frozen=True)
class ChannelSettings:
    """What one channel is told."""

    mode: str = "L"
    direction: Direction = "J"
    speed_rpm: Decimal = Decimal(0)
    flow_ml_min: Decimal = Decimal(0)
    volume_ml: Decimal = Decimal(0)
    by_flow: bool = False
    """Rate of the modes besides ``L`` and ``M``: the flow, not the speed."""
    time: int = 0
    """Tenths of a second, like the pause."""
    pause: int = 0
    cycles: int = 0
    backsteps: int = 0
    tubing_mm: str = "0.13"
    calibration: float = 1.0
    """Believed mL for one mL of the maker's table."""
    calibration_ml: Decimal = Decimal(1)


@dataclass(frozen=True)
class Programme:
    """A run: shown rate, and cycles of pumping and pausing."""

    rate_ml_h: float
    on_h: float
    """Pumping time of a cycle; infinite where nothing ends it."""
    off_h: float
    cycles: int
    cycle_ml: float
    """Shown volume of a whole cycle, exactly."""

    @property
    def length_h(self) -> float:
        """Return the time until the last cycle has pumped."""
        return self.cycles * self.on_h + (self.cycles - 1) * self.off_h

    def pumped(self, elapsed_h: float) -> tuple[float, float]:
        """Return shown mL and pumping hours after a time."""
        if math.isinf(self.on_h):
            return self.rate_ml_h * elapsed_h, elapsed_h
        if elapsed_h >= self.length_h:
            return self.cycles * self.cycle_ml, self.cycles * self.on_h
        whole, rest_h = divmod(elapsed_h, self.on_h + self.off_h)
        done = whole + min(rest_h / self.on_h, 1.0)
        return done * self.cycle_ml, done * self.on_h

    def turns(self, after_h: float, until_h: float) -> list[tuple[float, bool]]:
        """Return (elapsed h, True for a start) of the pauses that begin and end in a time."""
        if math.isinf(self.on_h) or not self.off_h:
            return []
        period_h = self.on_h + self.off_h
        first, last = int(after_h / period_h), min(int(until_h / period_h) + 1, self.cycles - 1)
        turns = []
        for cycle in range(first, last):
            turns += [(cycle * period_h + self.on_h, False), ((cycle + 1) * period_h, True)]
        return [turn for turn in turns if after_h < turn[0] <= until_h]


class Channel:
    """One channel: its settings, its run, its counters."""

    def __init__(self, number: int, pump: RegloIccSettings, physics_h: Clock) -> None:
        self.number, self._pump, self._physics_h = number, pump, physics_h
        self.told = self.saved = ChannelSettings()
        self.starts = 0
        self.refused: tuple[str, str] | None = None
        """Why the last start was refused: cause and limit."""
        self._trip_ml = self._lifetime_ml = self._revolutions = self._seconds = 0.0
        self._delivered_ul = 0.0
        self._programme: Programme | None = None
        self._elapsed_h = 0.0
        """Of the programme, until ``_since_h``."""
        self._since_h: float | None = None
        """None while nothing turns: stopped, or paused by the host."""
        self._told_of_h = 0.0

    # --- motion

    @property
    def running(self) -> bool:
        """True while a run goes on, its own pauses included."""
        return self._since_h is not None and self._now_h() < self._length_h()

    @property
    def counted_ml(self) -> float:
        """Shown volume since the counter was last cleared."""
        return self._trip_ml + self._moved()[0]

    @property
    def lifetime(self) -> tuple[float, float, float]:
        """Shown mL, revolutions and pumping seconds, ever."""
        ml, hours = self._moved()
        revolutions = self._revolutions + ml / self.shown_ml_per_turn
        return self._lifetime_ml + ml, revolutions, self._seconds + hours * 3600

    @property
    def delivered_ul(self) -> float:
        """What has really left the tube in the delivery direction, ever."""
        ml = self._moved()[0] if self.told.direction == self._pump.delivery_direction else 0.0
        return self._delivered_ul + ml * 1000 * self._real_per_shown

    @property
    def table_ml_per_turn(self) -> float:
        """ML of one turn by the maker's table."""
        ratio = float(self.told.tubing_mm) / NARROWEST_MM
        return FLOW_AT_100_RPM_ML_MIN / 100 * ratio**FLOW_EXPONENT

    @property
    def shown_ml_per_turn(self) -> float:
        """ML of one turn as the pump believes."""
        return self.table_ml_per_turn * self.told.calibration

    @property
    def fastest_ml_min(self) -> float:
        """Calibrated flow at full speed."""
        return self.shown_ml_per_turn * self._pump.fastest_rpm

    @property
    def _real_per_shown(self) -> float:
        return self._pump.true_ml_per_shown_ml / self.told.calibration

    def _length_h(self) -> float:
        return math.inf if self._programme is None else self._programme.length_h

    def _now_h(self) -> float:
        since_h = self._since_h
        return self._elapsed_h if since_h is None else self._elapsed_h + self._physics_h() - since_h

    def _moved(self) -> tuple[float, float]:
        """Return shown mL and hours that are not yet booked."""
        if self._programme is None or self._since_h is None:
            return 0.0, 0.0
        ml, hours = self._programme.pumped(self._now_h())
        booked_ml, booked_h = self._programme.pumped(self._elapsed_h)
        return ml - booked_ml, hours - booked_h

    def _book(self) -> None:
        """Book what has moved, and stand still."""
        ml, hours = self._moved()
        delivered_ul, revolutions = self.delivered_ul, self.lifetime[1]
        self._elapsed_h, self._since_h = min(self._now_h(), self._length_h()), None
        self._delivered_ul, self._revolutions = delivered_ul, revolutions
        self._trip_ml += ml
        self._lifetime_ml += ml
        self._seconds += hours * 3600

    def stop(self) -> None:
        """Stop and forget the run."""
        self._book()
        self._programme = None

    def pause(self) -> None:
        """Hold the run, or stop where the mode has no end."""
        if self.running and self.told.mode not in CONTINUOUS:
            self._book()
        else:
            self.stop()

    def clear_counter(self) -> None:
        """Set the counter to zero."""
        self._trip_ml = 0.0

    def start(self, calibrate: bool = False) -> None:
        """Start, or go on after a pause; Failed with ``-`` where the settings do not allow it."""
        if self.running:
            return
        if self._programme is not None and self._elapsed_h < self._length_h() and not calibrate:
            self._since_h = self._physics_h()
            return
        self._set_off(self._plan(calibrate))
        self.starts += 1

    def _set_off(self, programme: Programme) -> None:
        self._programme, self._elapsed_h = programme, 0.0
        self._since_h, self._told_of_h = self._physics_h(), 0.0

    def _plan(self, calibrate: bool) -> Programme:
        told, mode = self.told, "O" if calibrate else self.told.mode
        volume_ml = float(told.calibration_ml if calibrate else told.volume_ml)
        time_h = told.time / 36_000
        by_flow = mode == "M" or (mode != "L" and told.by_flow)
        rate_ml_min = float(told.flow_ml_min)
        if not by_flow:
            rate_ml_min = float(told.speed_rpm) * self.shown_ml_per_turn
        if mode == "G":
            rate_ml_min = volume_ml / (time_h * 60) if time_h else 0.0
        largest_ml = self.fastest_ml_min * wire.LONGEST_TIME / 600
        self.refused = None
        if mode in CYCLE_MODES and told.cycles == 0:
            self.refused = "C", "0000E+1"
        elif mode in VOLUME_MODES and not 0 < volume_ml <= largest_ml:
            self.refused = "V", wire.volume1(Decimal(largest_ml))
        elif not 0 < rate_ml_min <= self.fastest_ml_min * (1 + 1e-9) or (
            mode in "NP" and not time_h
        ):
            self.refused = "R", wire.volume1(Decimal(self.fastest_ml_min))
        if self.refused:
            raise Failed(NO)
        rate_ml_h = rate_ml_min * 60
        if mode in CONTINUOUS:
            return Programme(rate_ml_h, math.inf, 0.0, 1, math.inf)
        cycles, off_h = (told.cycles, told.pause / 36_000) if mode in CYCLE_MODES else (1, 0.0)
        if mode in "NP":
            return Programme(rate_ml_h, time_h, off_h, cycles, rate_ml_h * time_h)
        return Programme(rate_ml_h, volume_ml / rate_ml_h, off_h, cycles, volume_ml)

    def news(self) -> list[tuple[float, str]]:
        """Take note of what the run has done by itself; return (study h, event line)."""
        run = self._programme
        if run is None or self._since_h is None:
            return []
        now_h, began_h = self._now_h(), self._since_h - self._elapsed_h
        events = []
        for at_h, is_start in run.turns(self._told_of_h, min(now_h, run.length_h)):
            line = self._started(at_h) if is_start else wire.stopped(self.number, CAUSE_DONE)
            events.append((began_h + at_h, line))
        self._told_of_h = now_h
        if now_h >= run.length_h:
            events.append((began_h + run.length_h, wire.stopped(self.number, CAUSE_DONE)))
            self.stop()
        return events

    def _started(self, elapsed_h: float) -> str:
        run = self._programme
        assert run is not None
        cycle, left_ul = 0, 0.0
        if not math.isinf(run.on_h):
            cycle = round(elapsed_h / (run.on_h + run.off_h))
            left_ul = 1000 * (run.cycles * run.cycle_ml - run.pumped(elapsed_h)[0])
        return wire.started(self.number, round(elapsed_h * 3600), round(left_ul), cycle)

    def started_by_hand(self) -> str:
        """Start as from the keypad; return the event."""
        self.start()
        return self._started(self._now_h())

    # --- settings

    def tell(self, **changes: object) -> None:
        """Change settings; raises Failed while running, but for the rate of a run without an end."""
        running = self._since_h is not None
        is_rate = set(changes) <= {"speed_rpm", "flow_ml_min"} and self.told.mode in CONTINUOUS
        if running and not is_rate:
            raise Failed
        before = self.told
        self.told = replace(before, **changes)  # type: ignore[arg-type]
        if not running:
            self._programme = None
            return
        try:
            programme = self._plan(calibrate=False)
        except Failed as problem:
            self.told = before
            raise Failed from problem
        self._book()
        self._set_off(programme)

    def calibrate(self, measured_ml: Decimal) -> None:
        """Believe what a person has measured of the last calibration run."""
        if measured_ml <= 0:
            raise Failed
        factor = float(measured_ml / self.told.calibration_ml)
        self.tell(calibration=self.told.calibration * factor)


class RegloIcc:
    """One pump; ``receive`` takes bytes and returns the bytes it answers."""

    def __init__(self, settings: RegloIccSettings, physics_h: Clock, wall_s: Clock) -> None:
        self.settings = settings
        self.revision = 0
        """Grows whenever the durable state has changed."""
        self.address = settings.address
        self.channels = tuple(
            Channel(number, settings, physics_h) for number in range(1, settings.channels + 1)
        )
        self._channel_addressing = settings.channel_addressing
        self._outbox = ""
        self._switch_on()

    def _switch_on(self) -> None:
        self._ear, self._events = wire.Ear(), self.settings.events

    @property
    def delivered_ul(self) -> float:
        """What has really left all tubes in the delivery direction, ever."""
        return sum(channel.delivered_ul for channel in self.channels)

    def delivered_by_ul(self, channel: int) -> float:
        """Return what has really left one tube in the delivery direction, ever."""
        return self.channels[channel - 1].delivered_ul

    @property
    def starts(self) -> int:
        """Runs begun, ever; going on after a pause is not one."""
        return sum(channel.starts for channel in self.channels)

    @property
    def moving(self) -> bool:
        """True while a run goes on in any channel, its own pauses included."""
        return any(channel.running for channel in self.channels)

    # --- the line

    def receive(self, data: bytes) -> bytes:
        """Take bytes; return the answers, events that the pump sends of itself before them."""
        answer = bytearray()
        for byte in data:
            if (request := self._ear.hear(byte)) is not None:
                answer += self.poll() + self._answer(request).encode("latin-1", "replace")
        return bytes(answer)

    def poll(self) -> bytes:
        """Let time act; return the events of channels that have stopped or started by themselves."""
        news = sorted(event for channel in self.channels for event in channel.news())
        if news:
            self.revision += 1
            self._say(*(line for _, line in news))
        sent, self._outbox = self._outbox, ""
        return sent.encode("latin-1")

    def _say(self, *lines: str) -> None:
        if self._events:
            self._outbox += "".join(lines)

    def _answer(self, request: str) -> str:
        try:
            address, code, argument = wire.split(request)
            if address == "@":
                return self._set_address(wire.discrete(code + argument, 1, 8))
            legacy = not self._channel_addressing and code != "~"
            if legacy and address.isdecimal() and address != str(self.address):
                return ""
            if not (address.isdecimal() and address.isascii()) and (address, code) != ("A", "~"):
                return FAILED
            if code in _OF_PUMP:
                return _OF_PUMP[code](self, argument)
            every = legacy or address == "0"
            if not every and int(address) > len(self.channels):
                return FAILED
            channels = self.channels if every else self.channels[int(address) - 1 :][:1]
            return self._ask(channels, code, argument, legacy)
        except Failed as problem:
            return problem.status

    def _ask(self, channels: Sequence[Channel], code: str, argument: str, legacy: bool) -> str:
        if code in _QUERIES and not argument:
            if len(channels) > 1 and not legacy:
                raise Failed
            return wire.data(_QUERIES[code](channels[0]))
        self.revision += 1
        if code in _ACTIONS and not argument:
            if code == "W" and not self.settings.takes_W:
                raise Failed
            for channel in channels:
                _ACTIONS[code](channel)
            return DONE
        if code not in _SETTERS:
            raise Failed
        replies = [_SETTERS[code](channel, argument) for channel in channels]
        return DONE if replies[0] is None else wire.data(wire.volume1(replies[0]))

    # --- what happens to the pump

    def block(self, channel: int | None = None) -> None:
        """Block the rollers of a channel, or of all: what turns is stopped by over-current."""
        self._outbox = self.poll().decode("latin-1")
        for one in self.channels:
            if channel in (None, one.number) and one.running:
                one.stop()
                self._say(wire.stopped(one.number, CAUSE_OVER_CURRENT))
        self.revision += 1

    def press_start(self, channel: int) -> None:
        """Start a channel from the keypad."""
        self._outbox = self.poll().decode("latin-1")
        self._say(self.channels[channel - 1].started_by_hand())

    def press_stop(self, channel: int) -> None:
        """Stop a channel from the keypad."""
        self._outbox = self.poll().decode("latin-1")
        one = self.channels[channel - 1]
        if one.running:
            one.stop()
            self._say(wire.stopped(channel, CAUSE_BY_HAND))

    def power_cycle(self) -> None:
        """Interrupt the power: every run ends, and nothing resumes."""
        self.poll()
        for channel in self.channels:
            channel.stop()
            if not self.settings.counter_persists:
                channel.clear_counter()
            if not self.settings.settings_persist:
                channel.told = channel.saved
            channel.refused = None
        self._outbox = ""
        self._switch_on()
        self.revision += 1

    # --- requests to the pump

    def _set_address(self, address: int) -> str:
        if not address:
            raise Failed
        self.address = address
        self.revision += 1
        return DONE

    def _running(self, argument: str) -> str:
        return YES if self.moving else NO

    def _event_messages(self, argument: str) -> str:
        if not argument:
            return wire.data(str(int(self._events)))
        self._events = wire.flag(argument)
        self.revision += 1
        return DONE

    def _addressing(self, argument: str) -> str:
        if not argument:
            return wire.data(str(int(self._channel_addressing)))
        self._channel_addressing = wire.flag(argument)
        self.revision += 1
        return DONE


def _start(channel: Channel) -> None:
    channel.start()


def _calibrate(channel: Channel) -> None:
    channel.start(calibrate=True)


def _reset(channel: Channel) -> None:
    channel.stop()
    channel.told = channel.saved = ChannelSettings()


def _save(channel: Channel) -> None:
    channel.saved = channel.told


def _clear_counter(channel: Channel) -> None:
    if channel.running:
        raise Failed
    channel.clear_counter()


def _mode(letter: str) -> Callable[[Channel], None]:
    def choose(channel: Channel) -> None:
        by_flow = letter == "M" if letter in CONTINUOUS else channel.told.by_flow
        channel.tell(mode=letter, by_flow=by_flow)

    return choose


def _tubing(channel: Channel, argument: str) -> None:
    tubing_mm = f"{wire.discrete(argument, 4) / 100:.2f}"
    if tubing_mm not in wire.TUBING_MM:
        raise Failed
    channel.tell(tubing_mm=tubing_mm, calibration=1.0)


def _flow(channel: Channel, argument: str) -> Decimal:
    channel.tell(flow_ml_min=wire.volume2(argument))
    return channel.told.flow_ml_min


def _volume(channel: Channel, argument: str) -> Decimal:
    channel.tell(volume_ml=wire.volume2(argument))
    return channel.told.volume_ml


def _calibration_target(channel: Channel, argument: str) -> Decimal:
    if not (volume_ml := wire.volume2(argument)):
        raise Failed
    channel.tell(calibration_ml=volume_ml)
    return volume_ml


def _calibration_result(channel: Channel, argument: str) -> Decimal:
    channel.calibrate(measured_ml := wire.volume2(argument))
    return measured_ml


def _refusal(channel: Channel) -> str:
    if channel.refused is None:
        raise Failed
    return " ".join(channel.refused)


_OF_PUMP: dict[str, Callable[[RegloIcc, str], str]] = {
    "~": RegloIcc._addressing,
    "xE": RegloIcc._event_messages,
    "E": RegloIcc._running,
    "x!": lambda pump, _: wire.data(pump.settings.protocol),
    "xA": lambda pump, _: wire.data(str(len(pump.channels))),
    "xS": lambda pump, _: wire.data(pump.settings.serial_number),
    "#": lambda pump, _: wire.data(pump.settings.model),
    "(": lambda pump, _: wire.data(pump.settings.firmware),
    "A": lambda pump, _: DONE,
    "B": lambda pump, _: DONE,
    "xN": lambda pump, _: DONE,
}
"""Code -> answer of the pump as a whole; the address is not looked at."""
_QUERIES: dict[str, Callable[[Channel], str]] = {
    "xM": lambda channel: channel.told.mode,
    "xD": lambda channel: channel.told.direction,
    "S": lambda channel: f"{channel.told.speed_rpm:.2f}",
    "f": lambda channel: wire.volume1(channel.told.flow_ml_min),
    "v": lambda channel: wire.volume1(channel.told.volume_ml),
    "xf": lambda channel: str(int(channel.told.by_flow)),
    "xT": lambda channel: str(channel.told.time),
    "xP": lambda channel: str(channel.told.pause),
    '"': lambda channel: str(channel.told.cycles),
    "%": lambda channel: str(channel.told.backsteps),
    "+": lambda channel: f"{channel.told.tubing_mm} mm",
    "xU": lambda channel: wire.volume1(channel.told.calibration_ml),
    "?": lambda channel: (
        f"{wire.four_digits(channel.fastest_ml_min / channel.told.calibration)} ml/min"
    ),
    "!": lambda channel: f"{wire.four_digits(channel.fastest_ml_min)} ml/min",
    ":": lambda channel: wire.scaled_volume(channel.counted_ml),
    "xG": lambda channel: wire.counted(channel.lifetime[0]),
    "xC": lambda channel: wire.counted(channel.lifetime[1]),
    "xJ": lambda channel: wire.counted(channel.lifetime[2]),
    "xe": _refusal,
}
"""Code without argument -> what one channel says of itself."""
_ACTIONS: dict[str, Callable[[Channel], None]] = {
    "H": _start,
    "I": Channel.stop,
    "xI": Channel.pause,
    "J": lambda channel: channel.tell(direction="J"),
    "K": lambda channel: channel.tell(direction="K"),
    "W": _clear_counter,
    "xY": _calibrate,
    "xZ": Channel.stop,
    "0": _reset,
    "*": _save,
} | {letter: _mode(letter) for letter in "LMOGQNP"}
"""Code without argument -> what it does with a channel."""
_SETTERS: dict[str, Callable[[Channel, str], Decimal | None]] = {
    "S": lambda channel, text: channel.tell(
        speed_rpm=Decimal(wire.discrete(text, 6)) / Decimal(100)
    ),
    "f": _flow,
    "v": _volume,
    "xf": lambda channel, text: channel.tell(by_flow=wire.flag(text)),
    "xT": lambda channel, text: channel.tell(time=wire.discrete(text, 8, wire.LONGEST_TIME)),
    "xP": lambda channel, text: channel.tell(pause=wire.discrete(text, 8, wire.LONGEST_TIME)),
    '"': lambda channel, text: channel.tell(cycles=wire.discrete(text, 4)),
    "%": lambda channel, text: channel.tell(backsteps=wire.discrete(text, 4)),
    "+": _tubing,
    "xU": _calibration_target,
    "xV": _calibration_result,
}
"""Code with an argument -> sets it; returns the value where the answer is that, else None."""

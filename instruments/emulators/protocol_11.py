"""Harvard Pump 11 Elite, PHD Ultra and KDS Legato syringe pumps as a state machine.

Belongs here: what such a pump does with commands and time, and pumps that share a line. Not here:
lines and numbers (protocol_11_wire), the plunger (plunger), ports (serve).

Two clocks: ``physics_h`` moves the plunger (study hours), ``wall_s`` runs the pump's date. The pump
believes in the diameter it was told, so a wrong one delivers a wrong volume and shows the asked.

Sources: KDS Legato and PHD Ultra manuals, "Pump Chain Commands"; recorded Legato 101 answers.
UNCONFIRMED, the documents being silent or at odds, with a setting where a choice exists: whether
targets, counters and polling outlive a power cut (here none does); whether a target volume counts
from the last clear or from the start; that nothing but a run or a clear ends ``T*`` and ``*``; that a
pump without polling sends its prompt when it stops by itself; seconds or milliseconds, five or six
flags of ``status``; rate 0 in ``status`` at standstill; wording and layout of every error besides the
recorded ones; what is refused while the pump moves; that a time target counts from the start; that
clearing a volume clears its time; that a Legato after power-up wants ``load`` before it runs; that CR
alone ends a command. Of ``syrmanu`` only the recorded syringe is in the table. A ramp is kept and
shown, but a run with one is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from instruments.emulators import protocol_11_wire as wire
from instruments.emulators.plunger import Plunger, Way
from instruments.emulators.protocol_11_wire import argument_error, command_error

Clock = Callable[[], float]

DIAMETER_RANGE_MM = (Decimal("0.1"), Decimal("33"))
ARROW: dict[Way, str] = {"I": ">", "W": "<"}
NOTHING_LEFT_UL = 1e-9


@dataclass(frozen=True)
class Protocol11Settings:
    """What is fixed about one emulated pump: its make, its dialect, its syringe."""

    address: int = 0
    model: str = "11 ELITE I/W Single"
    firmware: str = "3.0.4"
    serial_number: str = "D101754"
    syringe_volume_ul: float = 10_000.0
    """Content at the start; the syringe is full."""
    syringe_diameter_mm: float = 14.427
    """Inner diameter of the syringe that really stands in the pump."""
    stored_diameter_mm: str = "14.427"
    """What the pump believes when it is switched on for the first time."""
    stored_syringe_ml: str = "10"
    slowest_plunger_mm_h: float = 0.0362736
    """From the recorded limits of a 7.2620 mm syringe, 25.0404 nl/min to 26.0035 ml/min."""
    fastest_plunger_mm_h: float = 37668.7
    address_separator: wire.Separator = "none"
    """What stands between address and command: nothing (Legato) or a colon (PHD Ultra)."""
    status_style: Literal["ultra", "legato"] = "ultra"
    """``ultra``: seconds and five flags; ``legato``: milliseconds and six flags."""
    nvram_off_word: Literal["none", "off"] = "none"
    target_counts_from: Literal["clear", "run"] = "clear"
    """``clear``: a target that the counter has reached already ends a run at once."""
    needs_quick_start: bool = False
    """True: after power-up nothing runs before ``load qs``."""
    stall_needs_a_person: bool = False
    """True: a stall stays until somebody presses the display, see ``press_display``."""
    limit_switches: bool = False
    """True: an empty or full syringe ends at ``>*`` or ``<*`` instead of a stall."""
    poll_persists: bool = False
    counters_persist: bool = False
    targets_persist: bool = False


@dataclass(frozen=True)
class Profile:
    """What the pump is told about its syringe and its rates; non-volatile while nvram is on."""

    diameter_mm: Decimal
    syringe: tuple[Decimal, str]
    manufacturer: str = "Custom"
    rates: dict[Way, tuple[Decimal, tuple[str, str]]] = field(
        default_factory=lambda: {"I": (Decimal(1), ("ml", "min")), "W": (Decimal(1), ("ml", "min"))}
    )
    ramps: dict[Way, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Targets:
    """Where a run ends."""

    volume: tuple[Decimal, str] | None = None
    time_s: int | None = None
    time_text: str = ""


class Protocol11:
    """One pump; ``receive`` takes bytes and returns the bytes it answers."""

    def __init__(self, settings: Protocol11Settings, physics_h: Clock, wall_s: Clock) -> None:
        self.settings = settings
        self.revision = 0
        """Grows whenever the durable state has changed."""
        self.address = settings.address
        self.plunger = Plunger(settings.syringe_volume_ul, physics_h)
        """What really moved; no command and no power cut takes anything back from its ledger."""
        self.starts = 0
        """Runs carried out from standstill, ever."""
        self._physics_h, self._wall_s = physics_h, wall_s
        self._profile = self._stored = Profile(
            Decimal(settings.stored_diameter_mm), (Decimal(settings.stored_syringe_ml), "ml")
        )
        self._targets = Targets()
        self._polling = "OFF"
        self._date, self._date_set_s = datetime(2000, 1, 1), wall_s()
        self._force, self._dim = 50, 100
        self._pumped_s: dict[Way, float] = {"I": 0.0, "W": 0.0}
        self._way: Way = "I"
        self._running = False
        self._resting = ":"
        self._set_off_h = self._run_h = self._run_from_ul = 0.0
        self._switch_on()

    def _switch_on(self) -> None:
        self._ear, self._outbox = wire.Ear(), bytearray()
        self._echo, self._nvram = False, True
        self._mode = "" if self.settings.needs_quick_start else "iw"
        self._resting = ":"

    @property
    def delivered_ul(self) -> float:
        """Real volume that has left the syringe, ever."""
        return self.plunger.delivered_ul

    @property
    def moving(self) -> bool:
        """True while the plunger moves."""
        return self.plunger.flow_ul_h != 0.0

    # --- the line

    def receive(self, data: bytes) -> bytes:
        """Take bytes; return the answers to the lines that they complete."""
        answer = bytearray()
        for byte in data:
            if self._echo:
                answer.append(byte)
            if (line := self._ear.hear(byte)) is not None:
                answer += self.answer(line, shared=False)
        return bytes(answer)

    def poll(self) -> bytes:
        """Let time act; return the prompt that a pump without polling sends when it has stopped."""
        self.settle()
        sent, self._outbox = bytes(self._outbox), bytearray()
        return sent

    def answer(self, line: str, shared: bool) -> bytes:
        """Return the answer to one line; on a shared line no address means address 0."""
        address, command = wire.split_address(line, self.settings.address_separator)
        if (0 if shared and address is None else address) not in (None, self.address):
            return b""
        unasked = self.poll()
        words = command.removeprefix("@").split()
        # As recorded: the line that tells a new address stands without one.
        lines_address = 0 if words and words[0].lower().startswith("addr") else self.address
        try:
            lines = self._obey(words[0], words[1:]) if words else []
        except wire.Refused as refusal:
            lines = list(refusal.lines)
        xon = self._polling != "OFF"
        return unasked + wire.answer(lines, self._prompt(), self.address, xon, lines_address)

    def _prompt(self) -> str:
        return ARROW[self._way] if self._running else self._resting

    def _obey(self, word: str, arguments: list[str]) -> list[str]:
        name = wire.full_name(word, _COMMANDS)
        if name is None:
            raise command_error("Unknown command")
        if self._running and (name in _STILL or (arguments and name in _STILL_TO_SET)):
            raise command_error("Pump is running")
        lines = _COMMANDS[name](self, [argument.lower() for argument in arguments])
        if self._nvram:
            self._stored = self._profile
        self.revision += 1
        return lines

    # --- the pump

    def settle(self) -> None:
        """Take note of a plunger that has stopped by itself."""
        ending = self.plunger.ended_by()
        if ending is not None:
            self._halt()
            stalled = f"{ARROW[self._way]}*" if self.settings.limit_switches else "*"
            self._rest("T*" if ending == "target" else stalled)

    def power_cycle(self) -> None:
        """Interrupt the power; what is not stored is lost, and nothing resumes."""
        self.settle()
        self._halt()
        self._profile = self._stored
        if not self.settings.counters_persist:
            self._clear("I", "W")
        if not self.settings.targets_persist:
            self._targets = Targets()
        if not self.settings.poll_persists:
            self._polling = "OFF"
        self._switch_on()
        self.revision += 1

    def block(self) -> None:
        """Block the plunger: a moving pump stalls, one at standstill does not notice."""
        self.settle()
        if self._running:
            self._halt()
            self._rest("*")

    def press_display(self) -> None:
        """Press the display, as a person does to acknowledge a stall."""
        self.settle()
        if not self._running:
            self._resting = ":"

    def change_syringe(self) -> None:
        """Put in a full syringe of the same kind; raises ValueError while the plunger moves."""
        self.settle()
        self.plunger.change_syringe()
        self.revision += 1

    def _rest(self, prompt: str) -> None:
        self._resting = prompt
        if self._polling == "OFF":
            self._outbox += wire.answer([], prompt, self.address, xon=False)

    def _halt(self) -> None:
        if self._running:
            end_h = min(self._physics_h(), self.plunger.stops_at_h)
            self._pumped_s[self._way] += max(end_h - self._set_off_h, 0.0) * 3600
        self.plunger.halt()
        self._running = False
        self.revision += 1

    def _clear(self, *ways: Way) -> None:
        self.plunger.zero(*ways)
        self._pumped_s.update(dict.fromkeys(ways, 0.0))
        self._unlatch()

    def _unlatch(self) -> None:
        if self._resting != "*" or not self.settings.stall_needs_a_person:
            self._resting = ":"

    def _limits_ul_h(self) -> tuple[float, float]:
        area_mm2 = math.pi / 4 * float(self._profile.diameter_mm) ** 2
        settings = self.settings
        return area_mm2 * settings.slowest_plunger_mm_h, area_mm2 * settings.fastest_plunger_mm_h

    def _in_limits(self, rate: Decimal, unit: tuple[str, str]) -> bool:
        """Return whether a rate is within the limits as they are shown, with six digits."""
        slowest_ul_h, fastest_ul_h = self._limits_ul_h()
        return slowest_ul_h * (1 - 5e-6) <= wire.ul_h(rate, unit) <= fastest_ul_h * (1 + 5e-6)

    def _run(self, way: Way) -> list[str]:
        if self._resting == "*" and self.settings.stall_needs_a_person:
            raise command_error("Pump stalled")
        if way.lower() not in self._mode:
            raise command_error("Not available in this mode")
        if way in self._profile.ramps:
            raise command_error("Ramp not available")
        if not self._in_limits(*self._profile.rates[way]):
            raise command_error("Rate out of range")
        self._way, self._run_h = way, self._physics_h()
        from_start = self.settings.target_counts_from == "run"
        self._run_from_ul = self.plunger.counted_ul(way) if from_start else 0.0
        if self._set_off():
            self.starts += 1
        return []

    def _set_off(self) -> bool:
        """Move until the nearer target; return False where it is reached already."""
        way, targets, left_ul = self._way, self._targets, [math.inf]
        rate_ul_h = wire.ul_h(*self._profile.rates[way])
        if targets.volume is not None:
            volume_ul = float(targets.volume[0] * wire.UL_PER[targets.volume[1]])
            left_ul.append(volume_ul + self._run_from_ul - self.plunger.counted_ul(way))
        if targets.time_s is not None:
            left_h = self._run_h + targets.time_s / 3600 - self._physics_h()
            left_ul.append(left_h * rate_ul_h)
        if min(left_ul) <= NOTHING_LEFT_UL:
            self._resting = "T*"
            return False
        target_ul = 0.0 if math.isinf(min(left_ul)) else min(left_ul)
        told_mm = float(self._profile.diameter_mm)
        self.plunger.target_done_ul = 0.0
        self.plunger.set_off(
            way, rate_ul_h, target_ul, (self.settings.syringe_diameter_mm / told_mm) ** 2
        )
        self._running, self._set_off_h, self._resting = True, self._physics_h(), ":"
        return True

    # --- commands

    def _stop(self, arguments: list[str]) -> list[str]:
        self._halt()
        return []

    def _reverse(self, arguments: list[str]) -> list[str]:
        return self._run("W" if self._way == "I" else "I")

    def _rate(self, way: Way, arguments: list[str]) -> list[str]:
        slowest_ul_h, fastest_ul_h = self._limits_ul_h()
        limits = [wire.scaled_rate(slowest_ul_h), wire.scaled_rate(fastest_ul_h)]
        if not arguments:
            rate, (volume, time) = self._profile.rates[way]
            return [f"{wire.shown(rate)} {volume}/{time}"]
        if arguments == ["lim"]:
            return [" to ".join(limits)]
        if arguments in (["min"], ["max"]):
            arguments = limits[arguments == ["max"]].split()
        if len(arguments) != 2:
            raise argument_error("", "Missing argument")
        rate, unit = wire.number(arguments[0]), wire.rate_unit(arguments[1])
        if not self._in_limits(rate, unit):
            raise argument_error(arguments[0], "Out of range")
        moving = self._running and self._way == way
        if moving:
            self._halt()
        profile = self._profile
        ramps = {other: ramp for other, ramp in profile.ramps.items() if other != way}
        self._profile = replace(profile, rates={**profile.rates, way: (rate, unit)}, ramps=ramps)
        if moving:
            self._set_off()
        return []

    def _ramp(self, way: Way, arguments: list[str]) -> list[str]:
        if not arguments:
            return [self._profile.ramps.get(way, "Ramp not set up.")]
        if len(arguments) != 5:
            raise argument_error("", "Missing argument")
        ends = []
        for text, unit_text in (arguments[:2], arguments[2:4]):
            rate, unit = wire.number(text), wire.rate_unit(unit_text)
            if not self._in_limits(rate, unit):
                raise argument_error(text, "Out of range")
            ends.append(f"{wire.shown(rate)} {'/'.join(unit)}")
        ramp = f"{' to '.join(ends)} in {wire.shown(wire.number(arguments[4]))} seconds"
        self._profile = replace(self._profile, ramps={**self._profile.ramps, way: ramp})
        return []

    def _diameter(self, arguments: list[str]) -> list[str]:
        if not arguments:
            return [f"{self._profile.diameter_mm:.4f} mm"]
        diameter_mm = wire.number(arguments[0])
        if not DIAMETER_RANGE_MM[0] <= diameter_mm <= DIAMETER_RANGE_MM[1]:
            raise argument_error(arguments[0], "Out of range")
        if arguments[1:] not in ([], ["mm"]):
            raise argument_error(arguments[1], "Unknown units")
        self._profile = replace(self._profile, diameter_mm=diameter_mm, manufacturer="Custom")
        return []

    def _volume(self, arguments: list[str]) -> tuple[Decimal, str]:
        if len(arguments) != 2:
            raise argument_error("", "Missing argument")
        return wire.number(arguments[0]), wire.volume_unit(arguments[1])

    def _syringe_volume(self, arguments: list[str]) -> list[str]:
        if not arguments:
            volume, unit = self._profile.syringe
            return [f"{wire.shown(volume)} {unit}"]
        volume, unit = self._volume(arguments)
        if volume <= 0:
            raise argument_error(arguments[0], "Out of range")
        self._profile = replace(self._profile, syringe=(volume, unit), manufacturer="Custom")
        return []

    def _manufacturer(self, arguments: list[str]) -> list[str]:
        if not arguments:
            told = self._profile
            size = f"{wire.shown(told.syringe[0])} {told.syringe[1]}"
            return [f"{told.manufacturer}, {size}, {wire.shown(told.diameter_mm)} mm"]
        if arguments == ["?"]:
            return [f"{code.upper()} {name}" for code, (name, _) in wire.SYRINGES.items()]
        if arguments[0] not in wire.SYRINGES:
            raise argument_error(arguments[0], "Unknown syringe")
        name, sizes = wire.SYRINGES[arguments[0]]
        if arguments[1:] == ["?"]:
            return [f"{size} ml" for size in sizes]
        if len(arguments) != 3 or arguments[2] not in ("ml", "m"):
            raise argument_error(arguments[-1], "Unknown syringe")
        if not (diameter_mm := sizes.get(arguments[1])):
            raise argument_error(arguments[1], "Unknown syringe")
        syringe = (Decimal(arguments[1]), "ml")
        self._profile = replace(
            self._profile, diameter_mm=Decimal(diameter_mm), syringe=syringe, manufacturer=name
        )
        return []

    def _target_volume(self, arguments: list[str]) -> list[str]:
        if not arguments:
            if self._targets.volume is None:
                return ["Target volume not set"]
            volume, unit = self._targets.volume
            return [f"{wire.shown(volume)} {unit}"]
        volume, unit = self._volume(arguments)
        syringe, syringe_unit = self._profile.syringe
        if not 0 < volume * wire.UL_PER[unit] <= syringe * wire.UL_PER[syringe_unit]:
            raise argument_error(arguments[0], "Target volume out of range")
        self._targets = replace(self._targets, volume=(volume, unit))
        return []

    def _target_time(self, arguments: list[str]) -> list[str]:
        targets = self._targets
        if not arguments:
            return ["Target time not set" if targets.time_s is None else targets.time_text]
        time_s, text = wire.seconds(arguments[0]), arguments[0]
        if not time_s:
            raise argument_error(text, "Target time out of range")
        text = text.rjust(8, "0") if ":" in text else f"{time_s} seconds"
        self._targets = replace(targets, time_s=time_s, time_text=text)
        return []

    def _clear_targets(self, **none: None) -> list[str]:
        self._targets = replace(self._targets, **none)  # type: ignore[arg-type]
        self._unlatch()
        return []

    def _clear_counters(self, *ways: Way) -> list[str]:
        self._clear(*ways)
        return []

    def _load(self, arguments: list[str]) -> list[str]:
        if not arguments:
            return [wire.MODES[self._mode]] if self._mode else ["No method loaded"]
        mode = "iw" if arguments[1:] == ["wi"] else "".join(arguments[1:])
        if arguments[0] != "qs" or mode not in wire.MODES:
            raise argument_error(arguments[-1], "Unknown method")
        self._mode = mode
        return []

    def _set_address(self, arguments: list[str]) -> list[str]:
        if not arguments:
            return [f"Pump address is {self.address}"]
        if not (arguments[0].isdecimal() and len(arguments[0]) < 3):
            raise argument_error(arguments[0], "Out of range")
        self.address = int(arguments[0])
        return [f"Pump address set to {self.address}"]

    def _set_polling(self, arguments: list[str]) -> list[str]:
        if not arguments:
            return [self._polling]
        self._polling = _one_of(arguments, "on", "off", "remote").upper()
        return []

    def _set_echo(self, arguments: list[str]) -> list[str]:
        if not arguments:
            return ["ON" if self._echo else "OFF"]
        self._echo = _one_of(arguments, "on", "off") == "on"
        return []

    def _set_nvram(self, arguments: list[str]) -> list[str]:
        if not arguments:
            return ["ON" if self._nvram else self.settings.nvram_off_word.upper()]
        self._nvram = _one_of(arguments, "on", self.settings.nvram_off_word) == "on"
        return []

    def _percent(self, name: Literal["_force", "_dim"], arguments: list[str]) -> list[str]:
        if not arguments:
            return [f"{self._force if name == '_force' else self._dim}%"]
        text, lowest = arguments[0].removesuffix("%"), 1 if name == "_force" else 0
        if not (text.isdecimal() and len(text) < 4 and lowest <= int(text) <= 100):
            raise argument_error(arguments[0], "Out of range")
        setattr(self, name, int(text))
        return []

    def _time(self, arguments: list[str]) -> list[str]:
        if arguments:
            try:
                self._date = datetime.strptime(" ".join(arguments), "%m/%d/%y %H:%M:%S")
            except ValueError as problem:
                raise argument_error(arguments[0], "Invalid time") from problem
            self._date_set_s = self._wall_s()
        now = self._date + timedelta(seconds=self._wall_s() - self._date_set_s)
        return [wire.date_text(now)]

    def _status(self, arguments: list[str]) -> list[str]:
        way, legato = self._way, self.settings.status_style == "legato"
        rate_ul_h = wire.ul_h(*self._profile.rates[way]) if self._running else 0.0
        time_s = self._pumped_s[way]
        if self._running:
            time_s += (self._physics_h() - self._set_off_h) * 3600
        volume_fl = self.plunger.counted_ul(way) * 1e9
        numbers = rate_ul_h / 3600 * 1e9, time_s * (1000 if legato else 1), volume_fl
        return [wire.status(numbers, way, self._running, self._resting, flags=6 if legato else 5)]

    def _version(self, arguments: list[str]) -> list[str]:
        return [
            f"Firmware:      v{self.settings.firmware}",
            f"Pump address:  {self.address}",
            f"Serial number: {self.settings.serial_number}",
        ]

    def _metrics(self, arguments: list[str]) -> list[str]:
        rows = {
            "Pump type": "Pump 11",
            "Pump type string": self.settings.model,
            "Min syringe size": f"{DIAMETER_RANGE_MM[0]} mm",
            "Max syringe size": f"{DIAMETER_RANGE_MM[1]} mm",
            "Direction": "Infuse/withdraw",
            "Limit switches": "Yes" if self.settings.limit_switches else "No",
        }
        return [f"{label:<19}{value}" for label, value in rows.items()]


class Protocol11Bus:
    """Pumps on one line: all hear every byte, the addressed one answers; no address means 0.

    Two pumps at one address both answer, one after the other.
    """

    def __init__(self, pumps: Sequence[Protocol11]) -> None:
        self.pumps = tuple(pumps)
        self._ear = wire.Ear()

    @property
    def revision(self) -> int:
        """Grows whenever the durable state of any pump has changed."""
        return sum(pump.revision for pump in self.pumps)

    def receive(self, data: bytes) -> bytes:
        """Take bytes; return what comes back over the line."""
        lines = [line for byte in data if (line := self._ear.hear(byte)) is not None]
        return b"".join(pump.answer(line, shared=True) for line in lines for pump in self.pumps)

    def poll(self) -> bytes:
        """Let time act on every pump; return what they send of themselves."""
        return b"".join(pump.poll() for pump in self.pumps)

    def power_cycle(self) -> None:
        """Interrupt the power of all pumps."""
        self._ear = wire.Ear()
        for pump in self.pumps:
            pump.power_cycle()


def _one_of(arguments: list[str], *words: str) -> str:
    if arguments[0] not in words:
        raise argument_error(arguments[0], "Unknown argument")
    return arguments[0]


_COMMANDS: dict[str, Callable[[Protocol11, list[str]], list[str]]] = {
    "ver": lambda pump, _: [f"{pump.settings.model} {pump.settings.firmware}"],
    "version": Protocol11._version,
    "metrics": Protocol11._metrics,
    "address": Protocol11._set_address,
    "poll": Protocol11._set_polling,
    "echo": Protocol11._set_echo,
    "nvram": Protocol11._set_nvram,
    "time": Protocol11._time,
    "dim": lambda pump, arguments: pump._percent("_dim", arguments),
    "force": lambda pump, arguments: pump._percent("_force", arguments),
    "load": Protocol11._load,
    "diameter": Protocol11._diameter,
    "svolume": Protocol11._syringe_volume,
    "syrmanu": Protocol11._manufacturer,
    "irate": lambda pump, arguments: pump._rate("I", arguments),
    "wrate": lambda pump, arguments: pump._rate("W", arguments),
    "iramp": lambda pump, arguments: pump._ramp("I", arguments),
    "wramp": lambda pump, arguments: pump._ramp("W", arguments),
    "tvolume": Protocol11._target_volume,
    "ttime": Protocol11._target_time,
    "ctvolume": lambda pump, _: pump._clear_targets(volume=None),
    "cttime": lambda pump, _: pump._clear_targets(time_s=None),
    "ivolume": lambda pump, _: [wire.scaled_volume(pump.plunger.counted_ul("I"))],
    "wvolume": lambda pump, _: [wire.scaled_volume(pump.plunger.counted_ul("W"))],
    "civolume": lambda pump, _: pump._clear_counters("I"),
    "cwvolume": lambda pump, _: pump._clear_counters("W"),
    "cvolume": lambda pump, _: pump._clear_counters("I", "W"),
    "irun": lambda pump, _: pump._run("I"),
    "wrun": lambda pump, _: pump._run("W"),
    "run": lambda pump, _: pump._run(pump._way),
    "rrun": Protocol11._reverse,
    "stop": Protocol11._stop,
    "stp": Protocol11._stop,
    "status": Protocol11._status,
}
"""Command -> what it does with its arguments; returns the lines of its answer."""
_STILL = frozenset("irun wrun run rrun civolume cwvolume cvolume ctvolume cttime".split())
"""Refused while the pump moves."""
_STILL_TO_SET = frozenset(
    "address diameter svolume syrmanu tvolume ttime load iramp wramp nvram".split()
)
"""Refused while the pump moves where an argument follows."""

"""Tecan Cavro / TriContinent C-series syringe module as a state machine, in DT and OEM protocol.

Belongs here: what the pump does with commands and time, plunger and valve included: it counts in
steps, and the valve decides where they go. Not here: blocks and command strings (cavro_wire).
Sources: TriContinent C-Series product manual (8694-12), Cavro XLP 6000 and XP 3000 manuals.

Only ``physics_h`` matters: the link has no clock of its own. The valve is what is plumbed: its
``chip_port`` is where the chip hangs. ``Z`` calls the right side output, ``Y`` the left one, and
for numbered valves ``Y`` counts the other way round; initialising empties the syringe through
whatever that makes the output. What leaves through the chip's port counts as delivered.

Not emulated, answered with error 2: loops, halt, repeat, EEPROM, ``a p d``, ``w``, ``z``, backlash,
speed codes. ``v``, ``c`` and ``L`` are kept and reported; the plunger moves at its top speed at once.
Addresses of several pumps are not heard.

UNCONFIRMED, the documents being silent or at odds (options where a choice exists): the answer to a
repeated block and to a bad checksum; error 7 in ``Q`` before any move was refused; which error
follows an overload; errors of operands in the answer or only in ``Q``; that valve commands need an
initialised pump; the status byte of reports; that error 15 is not kept for ``Q``; that ``T`` ends
an initialisation too and leaves the pump uninitialised; the position reported after power-up (0);
where a numbered valve stands while initialising (third operand, else its last port); that ``W``
leaves the valve where it is and usable; an operand left out (error 3); a string longer than the
buffer (error 15); what a power cut does to the sequence number (forgotten); the version's text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from instruments.emulators.cavro_wire import (
    LONGEST_STRING,
    Block,
    Command,
    Ear,
    answer,
    commands,
)

INITIALISATION, BAD_COMMAND, BAD_OPERAND, BAD_CHECKSUM = 1, 2, 3, 4
NOT_INITIALISED, PLUNGER_OVERLOAD, MOVE_NOT_ALLOWED, OVERFLOW = 7, 9, 11, 15
MICROSTEPS = 8
"""Microsteps of one step (manual: 24000 for a stroke of 3000)."""
RANGES = {"v": (1, 1000), "c": (1, 2700), "L": (1, 20), "M": (0, 30_000)}
SIDES = {"i": "left", "o": "right", "b": "bypass", "e": "extra"}
"""Letter -> where the valve connects the syringe, as ``Z`` has it."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class CavroSettings:
    """What is fixed about one emulated module: address, syringe, plumbing, dialect."""

    address: str = "1"
    """Address switch plus one: ``1`` to ``9``, then ``: ; < = > ?``."""
    syringe_volume_ul: float = 1000.0
    """Volume of a full stroke."""
    full_stroke_steps: int = 3000
    start_position_steps: int = 0
    """Where the plunger stands at the start, the syringe filled up to there."""
    valve: Literal["letters", "numbers"] = "letters"
    ports: int = 3
    """Letters: 3 (left, right, bypass) or 4 (extra). Numbers: ports, clockwise from the left."""
    chip_port: str = "right"
    """Where the chip hangs: ``left``, ``right``, ``extra``, or a port's number as ``Z`` counts."""
    y_mirrors: bool = True
    """False: ``Y`` initialises through the left side, but letters and numbers stay as with ``Z``."""
    default_speed: int = 1400
    """Steps per second after power-up."""
    speed_range: tuple[int, int] = (5, 6000)
    initialise_s: float = 1.0
    """An initialisation takes at least this."""
    initialise_speed: int = 400
    valve_s: float = 0.25
    version: str = "P/N 20736 Rev B"
    protocol: Literal["dt", "oem", "both"] = "both"
    answers_bad_checksum: bool = True
    """False: silence instead of error 4."""
    repeat_answer: Literal["stored", "fresh"] = "stored"
    """What a block sent again is answered with: the first answer, or the status of now."""
    status_shows_uninitialised: bool = True
    """False: error 7 shows only in the refusal of a move and the ``Q`` after it."""
    refusal_after_overload: Literal[1, 9] = 9
    errors_only_in_q: bool = False
    """True: a string whose first command fails is answered as busy and clean; ``Q`` tells."""
    reports_show_idle: bool = False
    """True: answers to reports carry the idle bit even while the plunger moves."""
    resumes_after_terminate: bool = True
    """True (Tecan): an ``R`` after ``T`` goes on with what was left of the string."""

    def __post_init__(self) -> None:
        if self.chip_port not in self.places:
            raise ValueError(f"chip_port {self.chip_port!r} is not one of {self.places}")

    @property
    def places(self) -> tuple[str, ...]:
        """Where the valve can stand."""
        if self.valve == "numbers":
            return tuple(str(number) for number in range(1, self.ports + 1))
        return tuple(SIDES.values())[: self.ports]


@dataclass(frozen=True)
class Stroke:
    """A movement of the plunger at constant speed, in microsteps from the top."""

    initialising: bool
    start: int
    end: int
    since_h: float
    speed_h: float
    end_h: float

    def position(self, now_h: float) -> int:
        """Return where the plunger stands."""
        if now_h >= self.end_h:
            return self.end
        distance = abs(self.end - self.start)
        moved = min(int(max(now_h - self.since_h, 0.0) * self.speed_h + 1e-6), distance)
        return self.start + (moved if self.end > self.start else -moved)


@dataclass(frozen=True)
class Wait:
    """A delay passes, or the valve turns."""

    end_h: float
    turning: bool = False


class Refused(Exception):
    """A command that is not carried out; its argument is the error code."""


class Cavro:
    """One module; ``receive`` takes bytes and returns the bytes it answers."""

    def __init__(self, settings: CavroSettings, physics_h: Clock, wall_s: Clock) -> None:
        self.settings = settings
        self.starts = 0
        """Movements of A, P and D begun from standstill, ever."""
        self.initialisations = 0
        """Initialisations begun, ever."""
        self.flow_intervals: list[tuple[float, float, float]] = []
        """(start h, end h, uL/h) of every ended stroke at the chip's port; negative draws from it."""
        self._physics_h = physics_h
        self._position = settings.start_position_steps * MICROSTEPS
        self._delivered = 0
        self._place = settings.places[0]
        self._activity: Stroke | Wait | None = None
        self._power_up()

    def _power_up(self) -> None:
        self._ear = Ear()
        self._last: tuple[int, bytes] | None = None
        self._buffer: list[Command] = []
        self._held = False
        self._error = 0
        self._fatal = NOT_INITIALISED
        self._initialised = False
        self._mirrored = False
        self._lost = self._position
        self._mode = 0
        self._speed = self.settings.default_speed * MICROSTEPS
        self._kept = {"v": 900, "c": 900, "L": 14}

    # --- what a judge may ask

    @property
    def position_steps(self) -> float:
        """Where the plunger really stands, in steps from the top."""
        return self._now() / MICROSTEPS

    @property
    def content_ul(self) -> float:
        """What is really in the syringe."""
        return self._now() * self._ul

    @property
    def delivered_ul(self) -> float:
        """What has left through the chip's port, ever, up to now."""
        self.settle()
        stroke = self._activity
        running = self._delivering(stroke) if isinstance(stroke, Stroke) else 0
        return (self._delivered + running) * self._ul

    @property
    def moving(self) -> bool:
        """True while the plunger moves."""
        self.settle()
        stroke = self._activity
        return isinstance(stroke, Stroke) and self._now() != stroke.end

    @property
    def valve_at(self) -> str:
        """Where the valve really stands, see ``CavroSettings.places``."""
        self.settle()
        return self._place

    # --- the line

    def receive(self, data: bytes) -> bytes:
        """Take bytes; return the answers."""
        blocks = (self._ear.hear(byte) for byte in data)
        return b"".join(self._answer(block) for block in blocks if block is not None)

    def poll(self) -> bytes:
        """Let time act; the pump sends nothing of itself."""
        self.settle()
        return b""

    def _answer(self, block: Block) -> bytes:
        if block.address != self.settings.address:
            return b""
        if self.settings.protocol not in ("both", block.protocol):
            return b""
        self.settle()
        if not block.intact:
            if not self.settings.answers_bad_checksum:
                return b""
            self._error = BAD_CHECKSUM
            return answer(block.protocol, BAD_CHECKSUM, self._activity is None, "")
        if block.repeat and self._last is not None and self._last[0] == block.sequence:
            if self.settings.repeat_answer == "stored":
                return self._last[1]
            name = _bare(block.text)
            return answer(block.protocol, *(self._report(name) or self._status()))
        said = answer(block.protocol, *self._obey(block.text))
        if block.protocol == "oem":
            self._last = block.sequence, said
        return said

    def _obey(self, text: str) -> tuple[int, bool, str]:
        """Carry out one string; return error, idle bit and data of the answer."""
        reported = self._report(_bare(text))
        if reported is not None:
            return reported
        if _bare(text) == "T":
            self._terminate()
            return self._status()
        program = commands(text.removesuffix("R"))
        if program is None or any(command.verb not in _STEPS for command in program):
            return self._refusal(BAD_COMMAND)
        if self._activity is not None:
            if len(program) == 1 and program[0].verb == "V":
                return self._change_speed(program[0])
            return OVERFLOW, False, ""
        if len(text) > LONGEST_STRING:
            return self._refusal(OVERFLOW)
        self._error = 0
        if program:
            self._buffer, self._held = program, False
        if text.endswith("R"):
            self._held = False
            self._advance(self._physics_h())
        if self._error and self.settings.errors_only_in_q:
            return 0, False, ""
        return self._error, self._activity is None, ""

    def _report(self, name: str) -> tuple[int, bool, str] | None:
        if name in ("Q", "?29"):
            said = self._status()
            self._error = 0
            return said
        if name not in _REPORTS:
            return None
        error, idle, _ = self._status()
        return error, idle or self.settings.reports_show_idle, _REPORTS[name](self)

    def _status(self) -> tuple[int, bool, str]:
        fatal = self._fatal
        if fatal == NOT_INITIALISED and not self.settings.status_shows_uninitialised:
            fatal = 0
        return self._error or fatal, self._activity is None, ""

    def _refusal(self, error: int) -> tuple[int, bool, str]:
        self._error = error
        return error, self._activity is None, ""

    def _change_speed(self, command: Command) -> tuple[int, bool, str]:
        """Change the top speed under way (both makers: ``V`` never overflows)."""
        now_h, stroke = self._physics_h(), self._activity
        try:
            self._set_speed(command, now_h)
        except Refused as refusal:
            return self._refusal(refusal.args[0])
        if isinstance(stroke, Stroke) and not stroke.initialising:
            self._halt(now_h)
            self._stroke(stroke.end, now_h, self._speed)
        return 0, False, ""

    # --- commands of a string; each begins at ``at_h``

    def _move(self, command: Command, at_h: float) -> None:
        steps = _operand(command) * (1 if self._mode else MICROSTEPS)
        target = {"A": steps, "P": self._position + steps, "D": self._position - steps}
        self._move_to(Command("goto", (target[command.verb],)), at_h)

    def _move_to(self, command: Command, at_h: float) -> None:
        target = command.operands[0]
        self._check_ready()
        if not 0 <= target <= self.settings.full_stroke_steps * MICROSTEPS:
            raise Refused(BAD_OPERAND)
        if self._place == "bypass":
            raise Refused(MOVE_NOT_ALLOWED)
        if target != self._position:
            self.starts += 1
            self._stroke(target, at_h, self._speed)

    def _initialise(self, command: Command, at_h: float) -> None:
        """Begin an initialisation: the syringe empties through what is the output from now on."""
        if len(command.operands) > 3 or command.operands[2:] > (self.settings.ports,):
            raise Refused(BAD_OPERAND)
        if command.verb != "W":
            self._mirrored = command.verb == "Y" and self.settings.y_mirrors
            self._place = self._initialisation_place(command)
        elif self._place == "bypass":
            raise Refused(MOVE_NOT_ALLOWED)
        self._initialised, self._fatal = False, 0
        self.initialisations += 1
        speed = self.settings.initialise_speed * MICROSTEPS
        self._stroke(0, at_h, speed, initialising=True)

    def _initialisation_place(self, command: Command) -> str:
        places = self.settings.places
        if self.settings.valve == "letters":
            return SIDES["i"] if command.verb == "Y" else SIDES["o"]
        port = command.operands[2] if len(command.operands) == 3 else 0
        if command.verb == "Y" and not port and not self._mirrored:
            return places[0]
        return self._numbered(port or len(places))

    def _turn_valve(self, command: Command, at_h: float) -> None:
        self._check_ready()
        if self.settings.valve == "numbers":
            if command.verb not in "IO" or not 1 <= _operand(command) <= self.settings.ports:
                raise Refused(BAD_OPERAND)
            place = self._numbered(command.operands[0])
        else:
            place = self._side(command.verb.lower())
            if command.operands or place not in self.settings.places:
                raise Refused(BAD_OPERAND)
        self._place = place
        self._activity = Wait(at_h + self.settings.valve_s / 3600, turning=True)

    def _set_speed(self, command: Command, at_h: float) -> None:
        slowest, fastest = self.settings.speed_range
        finer = MICROSTEPS if self._mode == 2 else 1
        if not slowest <= _operand(command) <= fastest * finer:
            raise Refused(BAD_OPERAND)
        self._speed = command.operands[0] * (MICROSTEPS // finer)

    def _set_mode(self, command: Command, at_h: float) -> None:
        if _operand(command) > 2:
            raise Refused(BAD_OPERAND)
        self._mode = command.operands[0]

    def _keep(self, command: Command, at_h: float) -> None:
        lowest, highest = RANGES[command.verb]
        if not lowest <= _operand(command) <= highest:
            raise Refused(BAD_OPERAND)
        if command.verb == "M":
            self._activity = Wait(at_h + command.operands[0] / 3.6e6)
        else:
            self._kept[command.verb] = command.operands[0]

    def _check_ready(self) -> None:
        if self._fatal == PLUNGER_OVERLOAD:
            raise Refused(self.settings.refusal_after_overload)
        if not self._initialised:
            raise Refused(NOT_INITIALISED)

    def _side(self, letter: str) -> str:
        if self._mirrored and letter in "io":
            letter = "o" if letter == "i" else "i"
        return SIDES[letter]

    def _numbered(self, number: int) -> str:
        return str(self.settings.ports + 1 - number if self._mirrored else number)

    def _valve_report(self) -> str:
        if self.settings.valve == "numbers":
            return self._numbered(int(self._place))
        return next(letter for letter in SIDES if self._side(letter) == self._place)

    def _shown_position(self) -> str:
        """Return the pump's own count: from 0 at power-up, true once it is initialised."""
        steps = (self._now() - self._lost) // (1 if self._mode else MICROSTEPS)
        return str(max(steps, 0))

    def _shown_speed(self) -> str:
        return str(self._speed // (1 if self._mode == 2 else MICROSTEPS))

    # --- what happens to the pump

    def settle(self) -> None:
        """Let the string go on up to now, each command at the moment when the last one ended."""
        now_h = self._physics_h()
        while self._activity is not None and now_h >= self._activity.end_h:
            ended = self._activity
            self._halt(ended.end_h)
            if isinstance(ended, Stroke) and ended.initialising:
                self._initialised, self._lost = True, 0
            self._advance(ended.end_h)

    def power_cycle(self) -> None:
        """Interrupt the power: motion ends, plunger and valve stand where they stood."""
        self.settle()
        self._halt(self._physics_h())
        self._power_up()

    def block(self) -> None:
        """Block the plunger: one that moves is overloaded, one at standstill does not notice."""
        self.settle()
        stroke = self._activity
        if isinstance(stroke, Stroke):
            self._halt(self._physics_h())
            self._buffer.clear()
            self._initialised = False
            self._fatal = INITIALISATION if stroke.initialising else PLUNGER_OVERLOAD

    def _terminate(self) -> None:
        """End a plunger movement or a delay; a valve turns on to its port (manual)."""
        stroke = self._activity
        if stroke is None:
            return
        self._held = True
        if isinstance(stroke, Wait):
            self._activity = stroke if stroke.turning else None
        else:
            self._halt(self._physics_h())
            self._buffer.insert(0, Command("goto", (stroke.end,)))
            if stroke.initialising:
                self._fatal = NOT_INITIALISED
                self._buffer.clear()
        if not self.settings.resumes_after_terminate:
            self._buffer.clear()

    def _advance(self, at_h: float) -> None:
        """Begin the next commands of the string, up to the first that takes time."""
        while self._buffer and self._activity is None and not self._held:
            command = self._buffer.pop(0)
            try:
                _STEPS[command.verb](self, command, at_h)
            except Refused as refusal:
                self._error = refusal.args[0]
                self._buffer.clear()

    def _stroke(self, target: int, at_h: float, speed_s: int, initialising: bool = False) -> None:
        distance, speed_h = abs(target - self._position), speed_s * 3600.0
        least_h = self.settings.initialise_s / 3600 if initialising else 0.0
        end_h = at_h + max(distance / speed_h, least_h)
        self._activity = Stroke(initialising, self._position, target, at_h, speed_h, end_h)

    def _halt(self, at_h: float) -> None:
        """End what goes on; book what moved."""
        stroke, self._activity = self._activity, None
        if not isinstance(stroke, Stroke):
            return
        self._position = stroke.position(at_h)
        moved = stroke.start - self._position
        if self._place != self.settings.chip_port or not moved:
            return
        self._delivered += max(moved, 0)
        end_h = stroke.since_h + abs(moved) / stroke.speed_h
        signed_ul_h = stroke.speed_h * self._ul * (1 if moved > 0 else -1)
        self.flow_intervals.append((stroke.since_h, end_h, signed_ul_h))

    def _now(self) -> int:
        self.settle()
        stroke = self._activity
        if isinstance(stroke, Stroke):
            return stroke.position(self._physics_h())
        return self._position

    def _delivering(self, stroke: Stroke) -> int:
        here = self._place == self.settings.chip_port
        return max(stroke.start - stroke.position(self._physics_h()), 0) if here else 0

    @property
    def _ul(self) -> float:
        """Volume of one microstep."""
        return self.settings.syringe_volume_ul / (self.settings.full_stroke_steps * MICROSTEPS)


def _bare(text: str) -> str:
    """Return a report or control command without the R that it does not need."""
    return text.removesuffix("R")


def _operand(command: Command) -> int:
    if len(command.operands) != 1:
        raise Refused(BAD_OPERAND)
    return command.operands[0]


_REPORTS: dict[str, Callable[[Cavro], str]] = {
    "?": Cavro._shown_position,
    "?1": lambda pump: str(pump._kept["v"]),
    "?2": Cavro._shown_speed,
    "?3": lambda pump: str(pump._kept["c"]),
    "?4": Cavro._shown_position,
    "?6": Cavro._valve_report,
    "?7": lambda pump: str(pump._kept["L"]),
    "?10": lambda pump: str(int(bool(pump._buffer))),
    "F": lambda pump: str(int(bool(pump._buffer))),
    "?19": lambda pump: str(int(pump._initialised)),
    "?23": lambda pump: pump.settings.version,
    "&": lambda pump: pump.settings.version,
}
"""Report command -> the data of its answer."""
_STEPS: dict[str, Callable[[Cavro, Command, float], None]] = {
    "Z": Cavro._initialise,
    "Y": Cavro._initialise,
    "W": Cavro._initialise,
    "A": Cavro._move,
    "P": Cavro._move,
    "D": Cavro._move,
    "goto": Cavro._move_to,
    "I": Cavro._turn_valve,
    "O": Cavro._turn_valve,
    "B": Cavro._turn_valve,
    "E": Cavro._turn_valve,
    "V": Cavro._set_speed,
    "v": Cavro._keep,
    "c": Cavro._keep,
    "L": Cavro._keep,
    "M": Cavro._keep,
    "N": Cavro._set_mode,
}
"""Command of a string -> how it begins; raises Refused. ``goto``: the rest of a terminated move."""

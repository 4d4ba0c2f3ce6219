"""Tecan Cavro or TriContinent C-series syringe module, driven as a pump. Its bytes are in `cavro_wire`.

Belongs here: moving those bytes for one module. Not here: doses, volumes per study, retries of a
step. Not tried on the real device.

A dose is one absolute move: `prepare` fixes the plunger position that ends it, `start` sends it. The
counter is the plunger itself: what is missing to a full syringe. So a refill sets the counter back
and an initialisation sets it forward; both are a person's acts (`fill`, `initialise`), only while no
dose of this pump is open. Initialising expels what the syringe holds and is never done by the way.

In OEM spelling a move whose answer is lost is repeated with its own sequence number, which the module
acknowledges without moving again; right before it, a status query has been answered, so that the
module's last block is known to be ours. Queries are asked anew. Numbers need no agreement at `open`:
without the repeat bit a module does not look at them, and `open` sends no repeat. In DT spelling a
move is sent once.

A module that has lost its power says "not initialised" until somebody initialises it: ``restarts``
counts that, where the module has shown that it tells it (``?19``, or error 7 of ``Q``).

No query tells the microstep mode, and ``steps_per_stroke`` of another one is a dose of 8 times, or of
an eighth. So the mode is set before every dose; and a dose wants that the plunger has been seen
further out than an eighth of the stroke, which a module that counts 8 times coarser never is.
Unconfirmed: see `MAKE`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final, Literal, TypeVar

from pydantic import Field, model_validator

from instruments.contracts import PumpSettings, PumpStatus
from instruments.errors import (
    DeviceAlarm,
    DeviceRejected,
    FrameError,
    InstrumentError,
    Interrupted,
    OutcomeUnknown,
    TransportTimeout,
)
from instruments.lab_settings import PumpEntry
from instruments.make import Make, PowerProof, Probe, Wait
from instruments.pumps import cavro_wire as wire
from instruments.pumps.readiness import Readiness
from instruments.transport import NotSent, PortSettings, Transport

MOVE_SENDS: Final = 4
"""How often a move goes out in OEM spelling: once, and repeats with its own number."""
REPEAT_AFTER_S: Final = 0.3
"""The manual repeats after 0.1 s; serial servers on a network want longer."""
TURN_LIMIT_S: Final = 3.0
"""No valve turns longer."""
INITIALISE_LIMIT_S: Final = 60.0
POLL_S: Final = 0.5
STOP_POLL_S: Final = 0.05
"""Real seconds: whoever stops a pump does not wait for the clock of a study."""
MICROSTEPS: Final = 8
"""Of a step, by the manual (24000 in a stroke of 3000)."""
_SLACK: Final = 1e-6
"""Of a step: what floating point adds or takes is not rounded."""

T = TypeVar("T")
_log = logging.getLogger(__name__)


class CavroEntry(PumpEntry):
    """Settings of one syringe module in lab.toml."""

    address: int = Field(0, ge=0, le=14)
    """Of its address switch; the character on the wire is one more."""
    protocol: wire.Protocol = "oem"
    """``oem`` has checksums and repeats a move safely; ``dt`` has neither."""
    syringe_volume_ml: float = Field(gt=0, le=50)
    """What the syringe holds over the full stroke; a wrong one is a wrong dose."""
    steps_per_stroke: int = Field(ge=100, le=999_999)
    """Positions from empty to full in the module's microstep mode, by its manual."""
    speed_steps_per_stroke: int | None = Field(None, ge=100, le=999_999)
    """A full stroke in the steps that speeds count; None where they are those of positions."""
    min_speed: int = Field(5, ge=1, le=99_999)
    """Slowest speed that the module takes, steps/s."""
    max_speed: int = Field(6000, ge=1, le=99_999)
    fill_speed: int | None = Field(None, ge=1, le=99_999)
    """Speed of a refill, steps/s; None takes 20 s for a full stroke, or the nearest it can."""
    microstep_mode: Literal[0, 1, 2, "fixed"] = 0
    """Of the steps above; set before every dose. ``fixed`` for a module that has no such modes."""
    input_port: str = Field("I", pattern=r"^([IOBE]|[IO][1-9][0-9]?)$")
    """Where the syringe fills from: ``I``, or ``I`` or ``O`` with the number of a port."""
    output_port: str = Field("O", pattern=r"^([IOBE]|[IO][1-9][0-9]?)$")
    initialised_report: bool = True
    """Ask ``?19`` too whether the module is initialised; false where that means something else."""
    initialise_command: Literal["Z", "Y"] = "Z"
    """``Y`` for a valve whose output is on the left."""

    @model_validator(mode="after")
    def _speeds_and_ports(self) -> CavroEntry:
        if self.max_speed <= self.min_speed:
            raise ValueError("max_speed must be above min_speed")
        if self.fill_speed is not None and not self.min_speed <= self.fill_speed <= self.max_speed:
            raise ValueError("fill_speed must be within min_speed..max_speed")
        if wire.valve_place(self.input_port) == wire.valve_place(self.output_port):
            raise ValueError("input_port and output_port are the same")
        return self

    def content_ul(self) -> float:
        """Return what a full syringe holds, in uL."""
        return 1000.0 * self.syringe_volume_ml


class _Refused(DeviceRejected):
    """A command that the module refused, with its error."""

    def __init__(self, message: str, error: int) -> None:
        super().__init__(message)
        self.error = error


class Cavro:
    """One syringe module on its bus; dispenses only, to a plunger position that the module holds.

    A rate is held for as long as one stroke lasts: the volume of a dose is at most a syringe.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        entry: CavroEntry,
        wait_s: Wait,
        *,
        answer_deadline_s: float = 1.0,
    ) -> None:
        self.name = name
        self.firmware = ""
        """As the module tells it; empty before `open` and where it does not."""
        self._transport = transport
        self._entry = entry
        self._wait_s = wait_s
        self._deadline_s = answer_deadline_s
        self._met_generation = transport.generation
        self._ul_per_step = entry.content_ul() / entry.steps_per_stroke
        self._number = 0
        """Sequence number that was used last."""
        self._ready = Readiness[tuple[int, int]](name)
        """Plunger position now and at the end of the dose."""
        self._stroke_seen = False
        """The plunger was seen where a module with coarser steps never is."""
        self._tells_power = False
        """The module has shown that it says whether it is initialised."""
        self._filling = False
        self._not_initialised = False
        self._restarts = 0
        self._alarm = ""
        self._silent_on: set[str] = set() if entry.initialised_report else {"?19"}
        """Reports that this module does not know."""

    def quantise(self, flow_rate_ul_h: float, volume_ul: float) -> PumpSettings:
        """Return rate and volume in whole steps; ValueError outside module or syringe."""
        steps, speed = self._steps(volume_ul), self._speed(flow_rate_ul_h)
        return PumpSettings(self._rate_ul_h(speed), self._volume_ul(steps))

    def open(self) -> None:
        """Meet the module: status, firmware, which reports it has. Moves and sets nothing."""
        with self._transport.owned():
            for query in ("?19", "?2"):
                self._report(query, lambda data: None, learning=True)
            self._observe()
            self.firmware = self._ask_firmware()
            self._met_generation = self._transport.generation

    def prepare(self, flow_rate_ul_h: float, volume_ul: float) -> PumpSettings:
        """Set microstep mode, speed and valve where they differ, each read back where the module
        tells it; the plunger stays.

        ValueError outside the range; `DeviceRejected` unless idle, where the syringe holds less or
        nothing shows that its steps are those of lab.toml, or where a read-back differs;
        `DeviceAlarm` before the module is initialised.
        """
        steps, speed = self._steps(volume_ul), self._speed(flow_rate_ul_h)
        with self._transport.owned():
            begun = self._ready.begin()
            self._meet_again()
            self._require_idle("prepare a dose")
            self._set_microsteps()
            self._ensure_valve(self._entry.output_port)
            self._ensure_speed(speed)
            position = self._position()
            if steps > position:
                raise DeviceRejected(
                    f"{self.name} holds {position * self._ul_per_step:g} uL, less than the "
                    f"{volume_ul:g} uL asked; fill it first"
                )
            self._require_stroke(position)
            self._ready.end(begun, (position, position - steps))
        return PumpSettings(self._rate_ul_h(speed), self._volume_ul(steps))

    def start(self) -> None:
        """Start the prepared move; it is carried out once, ever.

        `OutcomeUnknown` where its answer and those to its repeats are lost or strange; `NotSent`
        where the module could not be asked right before it; `DeviceRejected` or `DeviceAlarm` where
        it refused. ValueError without a `prepare` since the last start; `NotSent` where a stop came
        since.
        """
        with self._transport.owned():
            position, target = self._ready.take()
            if self._transport.generation != self._met_generation:
                raise NotSent(
                    f"{self.name}: its port was lost and came back since its settings were read "
                    "back; it was not started"
                )
            try:
                now = self._position()
                self._require_idle("start")
            except (TransportTimeout, FrameError) as trouble:
                raise NotSent(f"{self.name} was not started: {trouble}") from trouble
            if now != position:
                raise DeviceRejected(
                    f"{self.name} stands at {now}, not at {position} as it was prepared; it was not "
                    "started"
                )
            self._filling = False
            self._send_move(f"A{target}R")

    def status(self) -> PumpStatus:
        """Return state and counter.

        ``reset`` is told until somebody initialises the module; a stall or overload until it was
        initialised, too, since steps are lost.
        """
        with self._transport.owned():
            self._meet_again()
            busy = self._observe()
            try:
                position = self._position()
            except (DeviceRejected, FrameError):
                if not self._not_initialised:
                    raise
                position = self._entry.steps_per_stroke
        state: Literal["idle", "infusing", "withdrawing", "alarm"] = "idle"
        if busy:
            state = "withdrawing" if self._filling else "infusing"
        elif self._told():
            state = "alarm"
        return PumpStatus(
            state=state,
            infused_ul=self._volume_ul(self._entry.steps_per_stroke - position),
            resolution_ul=self._ul_per_step,
            restarts=self._restarts if self._tells_power else None,
            alarm=self._told(),
        )

    def clear_counter(self) -> None:
        """Leave the counter as it is: it is the plunger's own position, counts every dose in whole
        steps whatever it reads, and only a refill sets it back. Only while idle, as for any pump."""
        with self._transport.owned():
            self._meet_again()
            self._require_idle("clear its counter")

    def stop(self) -> None:
        """Stop now, before any other thread's next transaction: terminate, until the module says
        that it is not busy. Raise where it never said so. An alarm stays told."""
        with self._transport.owned(urgent=True):
            self._ready.stopped()
            trouble: InstrumentError = DeviceRejected("it stays busy")
            for _ in range(3):
                try:
                    self._ask("T", _nothing)
                except (DeviceRejected, DeviceAlarm, TransportTimeout, FrameError) as failed:
                    trouble = failed
                except InstrumentError as lost:
                    raise self._may_still_run(lost) from lost
                for _ in range(5):
                    try:
                        if not self._observe():
                            return
                    except InstrumentError as failed:
                        trouble = failed
                        break
                    time.sleep(STOP_POLL_S)
            raise self._may_still_run(trouble) from trouble

    def acknowledge(self) -> None:
        """Do nothing: a module that lost its power or its steps goes on telling so until it is
        initialised, which a person does."""

    def fill(self) -> None:
        """Fill the syringe from its input port and turn the valve back to the output.

        A person's act, only while idle and while no dose of this pump is open: it sets the counter
        back. Returns once the syringe is full; `stop` ends it.
        """
        full = self._entry.steps_per_stroke
        stroke = self._entry.speed_steps_per_stroke or full
        slow, fast = self._entry.min_speed, self._entry.max_speed
        speed = self._entry.fill_speed or min(fast, max(slow, stroke // 20))
        with self._transport.owned():
            self._ready.begin()
            self._meet_again()
            self._require_idle("fill")
            self._set_microsteps()
            self._ensure_valve(self._entry.input_port)
            self._ensure_speed(speed)
            self._position()
            self._require_idle("fill")
            self._filling = True
            self._send_move(f"A{full}R")
        self._until_idle("filling", 1.5 * stroke / speed + 10.0, POLL_S)
        with self._transport.owned():
            self._meet_again()
            self._require_idle("turn its valve")
            if (reached := self._position()) != full:
                raise DeviceRejected(
                    f"{self.name} was stopped while filling, at {reached} of {full} steps"
                )
            self._stroke_seen = True
            self._ensure_valve(self._entry.output_port)

    def initialise(self, *, to_port: str = "output") -> None:
        """Initialise plunger and valve. EXPELS WHAT THE SYRINGE HOLDS through ``to_port``.

        A person's act: they have seen to it that the liquid goes where it may, and that no dose of
        this pump is open. ``to_port`` is ``output``, or for a valve with numbered ports any of them.
        """
        text = self._initialise_text(to_port)
        with self._transport.owned():
            self._ready.begin()
            self._meet_again()
            if self._observe():
                raise DeviceRejected(f"{self.name} is busy; stop it first")
            self._filling = False
            self._send_move(text)
        self._until_idle("initialising", INITIALISE_LIMIT_S, POLL_S)
        with self._transport.owned():
            self._meet_again()
            self._alarm = ""
            self._require_idle("go on after it was initialised")
            self._set_microsteps()

    def close(self) -> None:
        """Leave the module to itself; sends nothing, and a running dose goes on to its end."""

    def _steps(self, volume_ul: float) -> int:
        content_ul = self._entry.content_ul()
        if not 0 < volume_ul <= content_ul:
            raise ValueError(
                f"volume {volume_ul:g} uL is outside 0..{content_ul:g} uL, the syringe of "
                f"{self.name}"
            )
        steps = math.floor(volume_ul / self._ul_per_step + _SLACK)
        if not steps:
            raise ValueError(
                f"volume {volume_ul:g} uL is less than one step of {self.name}, "
                f"{self._ul_per_step:.4g} uL"
            )
        return steps

    def _speed(self, flow_rate_ul_h: float) -> int:
        low = self._entry.min_flow_rate_ul_h
        high = self._entry.max_flow_rate_ul_h or math.inf
        if not low <= flow_rate_ul_h <= high:
            raise ValueError(
                f"flow rate {flow_rate_ul_h:g} uL/h is outside {low:g}..{high:g} of {self.name}"
            )
        slow, fast = self._entry.min_speed, self._entry.max_speed
        wanted = flow_rate_ul_h / self._rate_ul_h(1)
        if not slow - _SLACK <= wanted <= fast + _SLACK:
            raise ValueError(
                f"flow rate {flow_rate_ul_h:g} uL/h would be {wanted:.4g} steps/s of {self.name}, "
                f"outside {slow}..{fast} ({self._rate_ul_h(slow):.4g}..{self._rate_ul_h(fast):.4g} "
                "uL/h)"
            )
        held_ul_h = self._rate_ul_h(round(wanted))
        if not low * (1 - _SLACK) <= held_ul_h <= high * (1 + _SLACK):
            raise ValueError(
                f"flow rate {flow_rate_ul_h:g} uL/h becomes {held_ul_h:g}, outside "
                f"{low:g}..{high:g} of {self.name}"
            )
        return round(wanted)

    def _rate_ul_h(self, speed: int) -> float:
        stroke = self._entry.speed_steps_per_stroke or self._entry.steps_per_stroke
        return float(Decimal(speed) * 3600 * Decimal(str(self._entry.content_ul())) / stroke)

    def _volume_ul(self, steps: int) -> float:
        return min(steps * self._ul_per_step, self._entry.content_ul())

    def _initialise_text(self, to_port: str) -> str:
        command, port = self._entry.initialise_command, self._entry.output_port
        if not port[1:] or not self._entry.input_port[1:]:
            if to_port not in ("output", port):
                raise ValueError(
                    f"{self.name} can only be initialised to its output {port}, not to {to_port}"
                )
            return f"{command}R"
        number = port[1:] if to_port == "output" else to_port.lstrip("IO")
        return f"{command}0,{self._entry.input_port[1:]},{number}R"

    def _observe(self) -> bool:
        """Ask for the status and note what it says; True while busy."""
        answer = self._ask("Q", lambda answer: answer)
        told = 0 if answer.error == 7 else self._report("?19", wire.decode_initialised)
        initialised = told != 0
        self._tells_power = self._tells_power or told is not None
        self._stroke_seen = self._stroke_seen and initialised
        if not initialised and not self._not_initialised:
            self._restarts += 1
            _log.warning("%s says that it is not initialised: it has lost its power", self.name)
        self._not_initialised = not initialised
        if answer.error in wire.ALARMS and answer.error != 7:
            self._alarm = wire.ALARMS[answer.error]
        elif answer.error and answer.error != 7:
            _log.warning("%s: %s", self.name, wire.ERRORS[answer.error])
        return answer.busy

    def _told(self) -> str:
        return "reset" if self._not_initialised else self._alarm

    def _require_idle(self, purpose: str) -> None:
        if self._observe():
            raise DeviceRejected(f"{self.name} is busy: to {purpose} it must stand; stop it first")
        if alarm := self._told():
            raise DeviceAlarm(
                f"{self.name} tells {alarm}: to {purpose} it must be initialised first, which "
                "expels what its syringe holds",
                alarm,
            )

    def _position(self) -> int:
        position = self._ask("?", _data(wire.decode_position))
        if position > self._entry.steps_per_stroke:
            raise DeviceRejected(
                f"{self.name} stands at {position}, beyond a stroke of "
                f"{self._entry.steps_per_stroke} steps: is its microstep mode that of lab.toml?"
            )
        return position

    def _set_microsteps(self) -> None:
        if self._entry.microstep_mode != "fixed":
            self._execute(f"N{self._entry.microstep_mode}R")

    def _require_stroke(self, position: int) -> None:
        """Refuse a dose of steps that may be larger than lab.toml says."""
        if position > self._entry.steps_per_stroke / MICROSTEPS:
            self._stroke_seen = True
        if not self._stroke_seen:
            raise DeviceRejected(
                f"{self.name} stands at {position} of {self._entry.steps_per_stroke} steps. Nothing "
                f"shows that these are its steps: where they are {MICROSTEPS} times larger, so were "
                "the dose. Fill it, or correct steps_per_stroke and microstep_mode; nothing moved"
            )

    def _report(
        self, query: str, decode: Callable[[str], T], *, learning: bool = False
    ) -> T | None:
        """Return what a report says; None where this module does not know it.

        Whether it does is learned at `open` only, by the same refusal twice: later a refusal is one
        garbled query, or a trouble.
        """
        if query in self._silent_on:
            return None
        first: int | None = None
        while True:
            try:
                return self._ask(query, _data(decode))
            except _Refused as refused:
                if first is None:
                    first = refused.error
                    continue
                if not learning:
                    raise
                if first == refused.error == 2:
                    _log.info("%s has no report %s: %s", self.name, query, refused)
                    self._silent_on.add(query)
                return None

    def _ask_firmware(self) -> str:
        with suppress(DeviceRejected):
            return self._ask("&", _data(str))
        return ""

    def _meet_again(self) -> None:
        """Look that the module is the same after the port was lost; changes nothing at it."""
        if self._transport.generation == self._met_generation:
            return
        generation, firmware = self._transport.generation, self._ask_firmware()
        if firmware != self.firmware:
            raise InstrumentError(
                f"{self.name}: after its port was lost {firmware!r} answers, not {self.firmware!r}; "
                "open the bench again"
            )
        self._met_generation = generation
        self._ready.begin()

    def _ensure_valve(self, port: str) -> None:
        wanted = wire.valve_place(port)
        if self._ask("?6", _data(wire.decode_valve)) == wanted:
            return
        self._execute(f"{port}R")
        if (found := self._ask("?6", _data(wire.decode_valve))) != wanted:
            raise DeviceRejected(
                f"{self.name}: its valve was told to go to {wanted} and reads back as {found}; the "
                "plunger did not move"
            )

    def _ensure_speed(self, speed: int) -> None:
        """Set the speed and read it back; a module that does not report it has acknowledged it."""
        if self._report("?2", wire.decode_position) == speed:
            return
        self._execute(f"V{speed}R")
        if (held := self._report("?2", wire.decode_position)) not in (None, speed):
            raise DeviceRejected(
                f"{self.name}: a speed of {speed} steps/s was accepted but reads back as {held}; "
                "nothing moved"
            )

    def _execute(self, text: str) -> None:
        """Send a setting or a turn of the valve, and wait until it is done."""
        self._ask(text, _nothing)
        self._until_idle(text, TURN_LIMIT_S, 0.1)

    def _until_idle(self, doing: str, limit_s: float, poll_s: float) -> None:
        """Wait until the module is not busy, by the clock of the study: its motor keeps that one."""
        for _ in range(math.ceil(limit_s / poll_s)):
            with self._transport.owned():
                self._meet_again()
                if not self._observe():
                    return
            self._wait_s(poll_s)
        raise DeviceRejected(f"{self.name} is still busy {limit_s:g} s after {doing}")

    def _ask(self, text: str, read: Callable[[wire.Answer], T]) -> T:
        """Send a query or an absolute setting and return what ``read`` makes of its answer; asked
        once more, as a new block, where the answer is lost or garbled."""
        if wire.retry_of(text) != "safe":
            raise ValueError(f"{text!r} is for _send_move")
        again = True
        with self._transport.owned():
            while True:
                try:
                    return read(self._exchange(self._block(text), self._deadline_s))
                except (TransportTimeout, FrameError) as trouble:
                    self._transport.garbled(trouble)
                    self._resync()
                    if again:
                        again = False
                        continue
                    raise type(trouble)(f"{self.name} on {text}: {trouble}") from trouble
                except _Refused as refused:
                    raise _Refused(
                        f"{self.name} refused {text}: {refused}", refused.error
                    ) from refused
                except DeviceAlarm as met:
                    raise DeviceAlarm(f"{self.name} on {text}: {met}", met.kind) from met

    def _send_move(self, text: str) -> None:
        """Send a move; where its answer is lost, repeat it with its own number (OEM only).

        Right before it a status query must have been answered, in the same hold of the port.
        """
        block = first = self._block(text)
        sends = MOVE_SENDS if self._entry.protocol == "oem" else 1
        wait_s = REPEAT_AFTER_S if sends > 1 else self._deadline_s
        for sent in range(1, sends + 1):
            try:
                answer = self._exchange(block, wait_s)
            except NotSent as refused:
                if sent == 1:
                    raise
                raise self._unknown(text, first, refused) from refused
            except Interrupted as stopped:
                raise self._unknown(text, first, stopped) from stopped
            except (TransportTimeout, FrameError) as trouble:
                self._transport.garbled(trouble)
                self._resync()
                if sent == sends:
                    raise self._unknown(text, first, trouble) from trouble
                block = self._block(text, repeat=True)
            except InstrumentError as lost:
                raise self._unknown(text, first, lost) from lost
            else:
                break
        if sent > 1:
            self._resync()  # the first answer may still be on its way, and no answer says to what
        if not answer.error:
            return
        said = DeviceRejected(f"{self.name}, {text}: {wire.ERRORS[answer.error]}")
        if answer.error == 7:
            raise DeviceAlarm(f"{said}; nothing moved", "reset")
        if sent > 1 or answer.error in wire.ALARMS:  # the first sending may have moved
            raise self._unknown(text, first, said)
        raise said

    def _block(self, text: str, *, repeat: bool = False) -> bytes:
        if self._entry.protocol == "dt":
            return wire.encode_dt(self._entry.address, text)
        if not repeat:
            self._number = self._number % wire.NUMBERS + 1
        return wire.encode_oem(self._entry.address, self._number, text, repeat=repeat)

    def _exchange(self, block: bytes, deadline_s: float) -> wire.Answer:
        oem = self._entry.protocol == "oem"
        frame = self._transport.exchange(
            block,
            wire.answer_length_oem if oem else wire.answer_length_dt,
            deadline_s=deadline_s,
            inter_byte_s=min(0.5, deadline_s),
        )
        return wire.decode_oem(frame) if oem else wire.decode_dt(frame)

    def _resync(self) -> None:
        with suppress(InstrumentError):  # a port lost meanwhile is told by the error under way
            self._transport.drain(quiet_s=0.05, limit_s=0.5)

    def _unknown(self, text: str, sent: bytes, trouble: InstrumentError) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"{self.name} on {text}: {trouble}. It may have moved; its counter decides. Not sent "
            "again",
            sent,
        )

    def _may_still_run(self, trouble: InstrumentError) -> InstrumentError:
        return InstrumentError(
            f"{self.name} did not confirm T and MAY STILL RUN: stop it by hand ({trouble})"
        )


def _nothing(answer: wire.Answer) -> None:
    """Take the answer to a setting; an error says that it was not carried out."""
    if answer.error in wire.ALARMS:
        raise DeviceAlarm(wire.ERRORS[answer.error], wire.ALARMS[answer.error])
    if answer.error:
        raise _Refused(wire.ERRORS[answer.error], answer.error)


def _data(decode: Callable[[str], T]) -> Callable[[wire.Answer], T]:
    """Take the answer to a query: its data count whatever alarm stands beside them."""

    def read(answer: wire.Answer) -> T:
        if not answer.data and answer.error:
            raise _Refused(wire.ERRORS[answer.error], answer.error)
        return decode(answer.data)

    return read


def _build(name: str, port: Transport, entry: CavroEntry, wait_s: Wait) -> Cavro:
    return Cavro(name, port, entry, wait_s)


def _recognise(frame: bytes) -> str | None:
    with suppress(FrameError):
        return f"Cavro or TriContinent module, {wire.ERRORS[wire.decode_oem(frame).error]}"
    return None


def _check_bus(pumps: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A flipped bit of an address reaches another module where nothing checks the block, and no
    answer says whose it is."""
    return [
        (
            name,
            'protocol = "dt" has no checksum, so that a move may reach another module: such a module '
            "must be alone on its bus",
        )
        for name, pump in pumps.items()
        if len(pumps) > 1 and pump.protocol == "dt"
    ]


MAKE: Final = Make(
    title="Tecan Cavro / TriContinent C-series syringe module",
    kind="pump",
    entry=CavroEntry,
    build=_build,
    port=PortSettings(9600),
    unconfirmed=(
        "steps of a full stroke in each microstep mode, and which steps speeds count "
        "(steps_per_stroke, speed_steps_per_stroke)",
        "the range of speeds of the module at hand (min_speed, max_speed)",
        "whether Q says 'not initialised' right after power-up, before any move; ?19 is asked too",
        "whether ? tells the plunger's place while it moves, or where it goes",
        "whether the module reports its speed (?2), its firmware (&) and that it is initialised (?19)",
        "the spelling of Z with ports for distribution valves",
        "how many steps are lost where a move is terminated",
    ),
    check_bus=_check_bus,
    power_proof=PowerProof(
        "it says that it is not initialised (error 7, or ?19) until somebody initialises it",
        "as set",
        "the module has answered ?19, or told error 7 before",
    ),
    probe=Probe(wire.encode_oem(0, 1, "Q"), wire.answer_length_oem, _recognise),
)

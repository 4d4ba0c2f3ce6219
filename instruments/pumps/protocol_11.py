"""Harvard Pump 11 Elite, Harvard PHD Ultra and KDS Legato syringe pumps ("Protocol 11").

Belongs here: moving the bytes of `protocol_11_wire` for one pump. Not here: doses, volumes per
study, retries of a step. The older Pump 11, PHD 22 and PHD 2000 speak another protocol. Not tried
on the real device; what is unconfirmed is listed in `MAKE` and in docs/instruments/protocol_11.md.

These pumps have no watchdog: a target volume always, and a target time beside it, bound what a dead
host can cause. No documented marker tells a power cut, so ``restarts`` is None unless lab.toml says
``restart_proof = "poll"``.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, Literal, NoReturn, TypeVar

from pydantic import model_validator

from instruments.contracts import PumpSettings, PumpStatus
from instruments.errors import (
    DeviceAlarm,
    DeviceRejected,
    FrameError,
    InstrumentError,
    OutcomeUnknown,
    SyringeDiffers,
    TransportTimeout,
)
from instruments.lab_settings import SyringePumpEntry
from instruments.make import Make, PowerProof, Probe, Wait
from instruments.pumps import protocol_11_wire as wire
from instruments.pumps.readiness import Readiness
from instruments.pumps.syringe_range import check_asked, check_rounded
from instruments.transport import AnswerLength, NotSent, PortSettings, Transport

TIME_SLACK: Final = 1.02
"""The target time is this times what the dose takes, and a second: it ends a run whose target
volume fails, never one that goes as set."""
_STOP_TRIES: Final = 3

_log = logging.getLogger(__name__)
Value = TypeVar("Value")

LOOKS_IN_A_ROW: Final = 3


class Protocol11Entry(SyringePumpEntry):
    """One such pump in lab.toml. A key that is left out takes what its dialect says."""

    dialect: Literal["legato", "elite", "phd_ultra"]
    addressing: Literal["none", "plain", "colon"] | None = None
    """How an address is written: not at all, ``12irate``, ``12:irate``."""
    line_end: Literal["crlf", "cr"] | None = None
    nvram: Literal["none", "off", "leave"] | None = None
    """The word after ``nvram`` that spares the pump's memory; ``leave`` sends nothing."""
    quick_start: bool | None = None
    """The pump must be in its quick-start mode before a run."""
    restart_proof: Literal["none", "poll"] = "none"
    """``poll``: this pump has been seen to switch polling off whenever its power is cut."""
    time_bound: bool = True
    """A target time is set beside the target volume."""
    target_counts: Literal["run", "counter"] = "run"
    """What the pump compares with its target volume: this run, or the counter since it was
    cleared."""

    @model_validator(mode="after")
    def _what_the_wire_can_express(self) -> Protocol11Entry:
        if round(self.syringe_diameter_mm, 4) != self.syringe_diameter_mm:
            raise ValueError("syringe_diameter_mm has more than the 4 decimals of the pump")
        if self.target_counts == "counter" and not self.time_bound:
            raise ValueError('target_counts = "counter" wants time_bound = true as a second bound')
        return self

    def spoken(self) -> wire.Dialect:
        """Return the dialect with this entry's own keys in it."""
        dialect = wire.DIALECTS[self.dialect]
        return replace(
            dialect,
            addressing=self.addressing or dialect.addressing,
            line_end={None: dialect.line_end, "crlf": b"\r\n", "cr": b"\r"}[self.line_end],
            nvram=self.nvram or dialect.nvram,
            quick_start=dialect.quick_start if self.quick_start is None else self.quick_start,
        )


class Protocol11:
    """One syringe pump, alone or on a chain of up to 100; infuses only, always to a target volume
    held by the pump itself."""

    def __init__(
        self,
        name: str,
        transport: Transport,
        *,
        dialect: wire.Dialect,
        syringe_diameter_mm: float,
        syringe_volume_ul: float,
        min_flow_rate_ul_h: float,
        max_flow_rate_ul_h: float = math.inf,
        address: int = 0,
        restart_proof: bool = False,
        time_bound: bool = True,
        target_counts: Literal["run", "counter"] = "run",
        answer_deadline_s: float = 1.0,
    ) -> None:
        self._diameter = Decimal(str(syringe_diameter_mm))
        if not 0.1 <= syringe_diameter_mm <= 50 or round(self._diameter, 4) != self._diameter:
            raise ValueError(
                f"syringe diameter {syringe_diameter_mm} mm of {name} is not within 0.1..50 mm "
                "with 4 decimals"
            )
        if not 0 <= address <= 99:
            raise ValueError(f"address {address} of {name} is outside 0..99")
        if target_counts == "counter" and not time_bound:
            raise ValueError(f"{name}: a target on the counter wants the time bound")
        self.name = name
        self.address = address
        self.firmware = ""
        """Firmware and serial number; empty before `open`."""
        self._transport = transport
        self._dialect = dialect
        self._syringe_volume_ul = syringe_volume_ul
        self._range_ul_h = (min_flow_rate_ul_h, max_flow_rate_ul_h)
        self._time_bound = time_bound
        self._target_counts = target_counts
        self._deadline_s = answer_deadline_s
        self._restarts: int | None = 0 if restart_proof else None
        self._ready = Readiness[None](name)
        self._met_generation = transport.generation
        self._alarm = ""
        self._lost_answers = 0
        self._acknowledged = False
        """A stall that the prompt still shows has been acknowledged."""

    def quantise(self, flow_rate_ul_h: float, volume_ul: float) -> PumpSettings:
        """Return rate and volume as this pump will carry them out; ValueError outside pump or
        syringe."""
        check_asked(self.name, flow_rate_ul_h, volume_ul, self._range_ul_h, self._syringe_volume_ul)
        rate, rate_unit = wire.format_rate(flow_rate_ul_h)
        volume, volume_unit = wire.format_volume(volume_ul)
        held_ul_h = float(wire.decode_rate((f"{rate} {rate_unit}",)))
        check_rounded(self.name, flow_rate_ul_h, held_ul_h, self._range_ul_h)
        settings = PumpSettings(held_ul_h, float(Decimal(volume) * wire.UL_PER[volume_unit]))
        if self._time_bound and (bound_s := _bound_s(settings)) >= wire.LONGEST_TIME_S:
            raise ValueError(
                f"{volume_ul:g} uL at {flow_rate_ul_h:g} uL/h take {bound_s} s, more than the target "
                f"time of {self.name} holds ({wire.LONGEST_TIME_S} s); time_bound = false does "
                "without it"
            )
        return settings

    def open(self) -> None:
        """Meet the pump: answers that end with XON, its firmware, its syringe diameter.

        Moves, stops and clears nothing. `SyringeDiffers` where the pump is set for another
        diameter.
        """
        with self._transport.owned():
            self._meet()
            self._check_diameter()

    def confirm_syringe(self) -> None:
        """Set the diameter of lab.toml at the pump and read it back, once a person has looked at
        the syringe; only while idle."""
        with self._transport.owned():
            self._meet()
            self._require_standing("take another syringe diameter")
            self._ensure(
                "diameter",
                f"diameter {self._diameter:f}",
                wire.decode_diameter,
                lambda told: told == self._diameter,
            )

    def prepare(self, flow_rate_ul_h: float, volume_ul: float) -> PumpSettings:
        """Set mode, rate, target volume and target time where they differ, each read back; moves no
        liquid.

        ValueError outside the range; `DeviceAlarm` while one is not acknowledged; `DeviceRejected`
        unless idle, or where a read-back differs; `SyringeDiffers` where the pump is set for another
        diameter.
        """
        settings = self.quantise(flow_rate_ul_h, volume_ul)
        rate, rate_unit = wire.format_rate(settings.flow_rate_ul_h)
        with self._transport.owned():
            begun = self._ready.begin()
            self._meet_again()
            self._require_standing("prepare a dose")
            self._require_no_alarm()
            if self._dialect.quick_start:
                self._ensure("load", "load qs i", wire.decode_infuses, bool)
            self._check_diameter()
            self._ensure(
                "irate",
                f"irate {rate} {rate_unit}",
                wire.decode_rate,
                _same_as(Decimal(str(settings.flow_rate_ul_h))),
            )
            target_ul = Decimal(str(settings.volume_ul))
            if self._target_counts == "counter":
                target_ul += self._require_standing("prepare a dose").ul
            volume, volume_unit = wire.format_volume(float(target_ul))
            target_is_set = _same_as(target_ul)
            self._ensure(
                "tvolume",
                f"tvolume {volume} {volume_unit}",
                wire.decode_target_volume,
                target_is_set,
            )
            self._set_time_bound(settings)
            self._look_once_more(target_is_set)
            self._require_no_alarm()
            self._ready.end(begun, None)
        return settings

    def start(self) -> None:
        """Start the prepared infusion; the command goes out once, ever.

        `OutcomeUnknown` where the answer is lost or strange; `DeviceRejected` where the pump
        refuses in words and stands. ValueError without a `prepare` since the last start; `NotSent`
        where a stop came since.
        """
        with self._transport.owned():
            self._ready.take()
            if self._transport.generation != self._met_generation:
                raise NotSent(
                    f"{self.name}: its port was lost and came back since its settings were read "
                    "back; it was not started"
                )
            self._acknowledged = False
            prompt, _ = self._ask("irun", wire.decode_nothing)
            if prompt != ">":
                raise OutcomeUnknown(
                    f"{self.name}: irun was answered with the prompt {prompt!r}, not with '>' "
                    "(infusing); read its counter before anything else",
                    wire.encode_command(self._dialect, self.address, "irun"),
                )

    def status(self) -> PumpStatus:
        """Return state and counter in one query.

        A stall is told until `acknowledge`.
        """
        with self._transport.owned():
            self._meet_again()
            prompt, volume = self._ask("ivolume", wire.decode_volume)
        state = wire.PROMPTS[prompt]
        return PumpStatus(
            state="alarm" if self._alarm else "idle" if state == "alarm" else state,
            infused_ul=float(volume.ul),
            resolution_ul=float(volume.step_ul),
            restarts=self._restarts,
            alarm=self._alarm,
        )

    def clear_counter(self) -> None:
        """Set the infused counter to zero and look that it is; only while idle."""
        with self._transport.owned():
            self._meet_again()
            self._require_standing("clear its counter")
            trouble: InstrumentError | None = None
            try:
                self._ask("civolume", wire.decode_nothing)
            except (TransportTimeout, FrameError) as lost:
                trouble = lost
            _, left = self._ask("ivolume", wire.decode_volume)
            if left.ul:
                raise trouble or DeviceRejected(
                    f"{self.name}: its counter reads {left.ul:f} uL after civolume"
                )

    def stop(self) -> None:
        """Stop now, before any other thread's next transaction: stp, until the prompt is that of a
        standing motor. A stall stays told (`acknowledge`)."""
        with self._transport.owned(urgent=True):
            self._ready.stopped()
            said = "no answer"
            for _ in range(_STOP_TRIES):
                try:
                    answer = self._exchange("stp")
                except (TransportTimeout, FrameError) as trouble:
                    said = str(trouble)
                    self._transport.garbled(trouble)
                    self._resync()
                    with suppress(TransportTimeout, FrameError):
                        self._poll_on(look_first=False)
                except InstrumentError as trouble:
                    self._not_stopped(str(trouble), trouble)
                else:
                    self._note(answer.prompt)
                    if answer.prompt in wire.STANDING:
                        return
                    said = f"it answers with the prompt {answer.prompt!r}"
            self._not_stopped(said)

    def acknowledge(self) -> None:
        """End a stall, though the prompt may show it until the next run; sends nothing."""
        self._alarm, self._acknowledged = "", True

    def close(self) -> None:
        """Leave the pump to itself; a running infusion goes on to its target. Sends nothing."""

    def _not_stopped(self, said: str, cause: InstrumentError | None = None) -> NoReturn:
        raise InstrumentError(
            f"{self.name} did not confirm stp and MAY STILL RUN: stop it by hand ({said})"
        ) from cause

    def _meet(self) -> None:
        met, generation = self.firmware, self._transport.generation
        with suppress(TransportTimeout, FrameError):  # the identity query will tell
            self._poll_on()
        _, self.firmware = self._ask(self._dialect.identity, wire.decode_identity)
        self._met_generation = generation
        if met and met != self.firmware:
            raise DeviceRejected(
                f"{self.name} was {met} and calls itself {self.firmware} since its port came back: "
                "is it the same pump? Nothing was changed"
            )
        self._spare_memory()

    def _meet_again(self) -> None:
        """Shake hands anew where the port was lost since: identity and answers, nothing else."""
        if self._transport.generation != self._met_generation:
            self._meet()

    def _spare_memory(self) -> None:
        """Stop the pump from writing every new rate to its memory; models differ in the word."""
        if self._dialect.nvram == "leave":
            return
        for word in dict.fromkeys((self._dialect.nvram, "none", "off")):
            with suppress(DeviceRejected):
                self._ask(f"nvram {word}", wire.decode_nothing)
                return
        _log.warning("%s takes neither nvram none nor nvram off: its memory wears", self.name)

    def _poll_on(self, look_first: bool = True) -> None:
        """Have the pump end its answers with XON. With proof of restarts, look first whether it
        still did; a stop has no time for that, and what it did not look at counts as off."""
        if self._restarts is not None and not (look_first and self._polls()):
            self._restarts += 1
            _log.warning("%s: polling was off: its power was interrupted", self.name)
        try:
            self._exchange("poll on")
        finally:
            self._resync()  # an answer in the old manner may leave its XON behind

    def _polls(self) -> bool:
        """Return whether polling is on; an answer that is lost twice is raised, not guessed."""
        for tries_left in (1, 0):
            try:
                answer = self._exchange("poll", wire.poll_answer_length)
                return wire.decode_poll(answer.lines)
            except (TransportTimeout, FrameError) as trouble:
                self._transport.garbled(trouble)
                self._resync()
                if not tries_left:
                    raise
        raise AssertionError

    def _check_diameter(self) -> None:
        _, told = self._ask("diameter", wire.decode_diameter)
        if told != self._diameter:
            raise SyringeDiffers(
                f"{self.name} is set for a syringe of {told} mm, lab.toml says {self._diameter} mm: "
                "look at the syringe, then confirm it; nothing was changed"
            )

    def _set_time_bound(self, settings: PumpSettings) -> None:
        if self._time_bound:
            bound_s = _bound_s(settings)
            set_it, wanted = f"ttime {wire.format_time(bound_s)}", Decimal(bound_s)
        else:
            set_it, wanted = "cttime", None
        self._ensure("ttime", set_it, wire.decode_time_s, lambda told: told == wanted)

    def _ensure(
        self,
        verb: str,
        command: str,
        read: Callable[[tuple[str, ...]], Value],
        is_right: Callable[[Value], bool],
    ) -> None:
        """Set only what differs and read it back at the pump's precision."""
        _, before = self._ask(verb, read)
        if is_right(before):
            return
        _log.info("%s: %s was %s, is set by %s", self.name, verb, before, command)
        self._ask(command, wire.decode_nothing)
        _, after = self._ask(verb, read)
        if not is_right(after):
            raise DeviceRejected(
                f"{self.name}: {command!r} was accepted but reads back as {after}; nothing moved"
            )

    def _require_standing(self, purpose: str) -> wire.Volume:
        prompt, volume = self._ask("ivolume", wire.decode_volume)
        if prompt not in wire.STANDING:
            raise DeviceRejected(
                f"{self.name} is {wire.PROMPTS[prompt]}: to {purpose} it must stand idle; stop it "
                "first"
            )
        return volume

    def _ask(self, text: str, read: Callable[[tuple[str, ...]], Value]) -> tuple[str, Value]:
        """Send one command and return prompt and value; the only place that decides whether it may
        be sent again."""
        retry = wire.RETRY[text.split()[0]]
        with self._transport.owned():
            try:
                try:
                    return self._once(text, read)
                except (TransportTimeout, FrameError) as trouble:
                    self._resync()
                    if retry != "safe":
                        raise
                    self._transport.garbled(trouble)
                    with suppress(TransportTimeout, FrameError):
                        self._poll_on()  # a pump that lost its power answers without XON
                    return self._once(text, read)
            except (NotSent, DeviceRejected):
                raise
            except InstrumentError as trouble:
                self._transport.garbled(trouble)
                asked = f"{self.name} (address {self.address}) on {text!r}: {trouble}"
                self._resync()
                if retry == "never" and isinstance(trouble, wire.OtherPumpAnswered):
                    asked += f": it may have started instead; {self._stop_other(trouble.address)}"
                if retry == "never":
                    sent = wire.encode_command(self._dialect, self.address, text)
                    raise OutcomeUnknown(
                        f"{asked}. It may have started; its counter decides. Not sent again", sent
                    ) from trouble
                raise type(trouble)(asked) from trouble

    def _once(self, text: str, read: Callable[[tuple[str, ...]], Value]) -> tuple[str, Value]:
        answer = self._exchange(text)
        self._note(answer.prompt)
        if answer.refused:
            if answer.prompt in wire.STANDING or text != "irun":
                raise DeviceRejected(f"{self.name} refused {text!r}: {'; '.join(answer.lines)}")
            raise FrameError(f"{self.name} refuses {text!r} and runs: {'; '.join(answer.lines)}")
        return answer.prompt, read(answer.lines)

    def _exchange(self, text: str, length: AnswerLength = wire.answer_length) -> wire.Answer:
        frame = self._transport.exchange(
            wire.encode_command(self._dialect, self.address, text),
            length,
            deadline_s=self._deadline_s,
            inter_byte_s=0.5,
        )
        answer = wire.decode_answer(frame, self.address)
        if not answer.polled and length is wire.answer_length:
            raise FrameError(f"answer {frame!r} does not end with XON")
        return answer

    def _note(self, prompt: str) -> None:
        if wire.PROMPTS[prompt] != "alarm":
            self._acknowledged = False
        elif not self._acknowledged and not self._alarm:
            _log.warning("%s: stalled or at its end, prompt %s", self.name, prompt)
            self._alarm = "stall"

    def _require_no_alarm(self) -> None:
        if self._alarm:
            raise DeviceAlarm(
                f"{self.name} told {self._alarm}, and nobody has acknowledged it: look at pump and "
                "tubing, and settle the dose that it broke; nothing moved",
                self._alarm,
            )

    def _stop_other(self, address: int) -> str:
        """Stop a pump that nobody told to start; return what became of it."""
        for _ in range(_STOP_TRIES):
            try:
                frame = self._transport.exchange(
                    wire.encode_command(self._dialect, address, "stp"),
                    wire.answer_length,
                    deadline_s=self._deadline_s,
                    inter_byte_s=0.5,
                )
                if wire.decode_answer(frame, address).prompt in wire.STANDING:
                    return "it was stopped: look at what it delivered"
            except NotSent as refused:
                return f"it could not be stopped ({refused}) and MAY STILL RUN"
            except InstrumentError as trouble:
                self._transport.garbled(trouble)
                self._resync()
        return "it did not confirm stp and MAY STILL RUN: stop it by hand"

    def _look_once_more(self, target_is_set: Callable[[Decimal | None], bool]) -> None:
        """Read back last what a power cut on the way would have taken: the diameter, the target.

        An answer that was lost or garbled meanwhile may have been a pump that came up again, so
        both are read anew.
        """
        for _ in range(LOOKS_IN_A_ROW):
            before = self._lost_answers
            self._check_diameter()
            _, told = self._ask("tvolume", wire.decode_target_volume)
            if not target_is_set(told):
                raise DeviceRejected(
                    f"{self.name}: setting the target time changed the target volume to {told}; "
                    "nothing moved. Does this pump hold only one of both? Then time_bound = false"
                )
            if self._lost_answers == before:
                return
        raise FrameError(
            f"{self.name}: its answers are lost again and again while its settings are read back; "
            "nothing moved"
        )

    def _resync(self) -> None:
        self._lost_answers += 1
        with suppress(InstrumentError):  # a port lost meanwhile is told by the error under way
            self._transport.drain(quiet_s=0.05, limit_s=0.5)


def _bound_s(settings: PumpSettings) -> int:
    return math.ceil(TIME_SLACK * 3600 * settings.volume_ul / settings.flow_rate_ul_h + 1)


def _same_as(wanted: Decimal) -> Callable[[Decimal | None], bool]:
    return lambda told: told is not None and abs(told - wanted) <= wire.SAME * wanted


def _build(name: str, port: Transport, entry: Protocol11Entry, wait_s: Wait) -> Protocol11:
    return Protocol11(
        name,
        port,
        address=entry.address,
        dialect=entry.spoken(),
        syringe_diameter_mm=entry.syringe_diameter_mm,
        syringe_volume_ul=entry.content_ul(),
        min_flow_rate_ul_h=entry.min_flow_rate_ul_h,
        max_flow_rate_ul_h=entry.max_flow_rate_ul_h or math.inf,
        restart_proof=entry.restart_proof == "poll",
        time_bound=entry.time_bound,
        target_counts=entry.target_counts,
    )


def _recognise(answer: bytes) -> str | None:
    with suppress(InstrumentError):
        return wire.decode_identity(wire.decode_answer(answer, 0).lines)
    return None


def _check_bus(pumps: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pumps whose address is not written can not be told apart."""
    return [
        (name, 'addressing = "none" is for a pump that is alone on its bus')
        for name, pump in pumps.items()
        if len(pumps) > 1 and pump.spoken().addressing == "none"
    ]


MAKE: Final = Make(
    title="Harvard Pump 11 Elite / PHD Ultra, KDS Legato",
    kind="pump",
    entry=Protocol11Entry,
    build=_build,
    port=PortSettings(115_200),
    unconfirmed=(
        "whether polling goes off with the power: restart_proof stays none until a lab has seen it",
        "whether the target volume counts the run or the counter (target_counts), and whether a "
        "target time stands beside it (time_bound)",
        "how Elite and PHD Ultra want their address written (addressing), whether CR alone ends a "
        "command (line_end), and the word after nvram",
        "rates in ul/hr and counters of six significant digits: recordings show ul/min, and six",
        "what clears the prompts T* and * besides the next run",
        "that it stands still after a power cut: switch 'resume run on power loss' off in its menu",
        "on a chain: nothing checks an address on its way, so that one flipped bit can start another "
        "pump; one that answers is stopped. A bus for each drug pump is safer",
    ),
    check_bus=_check_bus,
    power_proof=PowerProof(
        "polling, which the driver switches on, is off",
        "as set",
        'restart_proof = "poll" in lab.toml',
    ),
    probe=Probe(b"version\r\n", wire.probe_answer_length, _recognise),
)

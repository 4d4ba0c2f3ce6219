"""Chemyx Fusion syringe pump. Its bytes are in `chemyx_fusion_wire`.

Belongs here: moving those bytes for one pump or one channel of a dual pump. Not here: doses,
volumes per study, retries of a step. Not tried on the real device, and nothing about its bytes is
confirmed: see `MAKE` and docs/instruments/chemyx_fusion.md before a first use.

The pump keeps its own target volume, but has neither watchdog nor a command that clears its counter,
nothing tells a power cut, and it can not say who it is.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from typing import Any, Final, Literal, TypeVar

from pydantic import Field, model_validator

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
from instruments.pumps import chemyx_fusion_wire as wire
from instruments.pumps.readiness import Readiness
from instruments.pumps.syringe_range import check_asked, check_rounded
from instruments.transport import NotSent, PortSettings, Transport

Counter = Literal["per_run", "cumulative"]
_STOP_TRIES: Final = 3

_log = logging.getLogger(__name__)
Value = TypeVar("Value")


class ChemyxFusionEntry(SyringePumpEntry):
    """One such pump in lab.toml; the baud rate of its bus must be that of the pump's menu."""

    address: int = Field(0, ge=0, le=2)
    """0 for a pump of one channel; 1 or 2 for a channel of a dual pump."""
    both_channels: bool = False
    """Both channels of a dual pump are used, which a person has accepted: nothing checks a command on
    its way, so that one flipped bit of a start can start the other channel, or both."""
    echo: bool = True
    """The pump repeats each command before it answers."""
    prompt: bool = True
    """The pump ends each answer with ``>``."""
    counter: Counter = "per_run"
    """Whether ``dispensed volume`` begins at 0 with each run, or goes on."""

    @model_validator(mode="after")
    def _what_the_wire_can_express(self) -> ChemyxFusionEntry:
        if round(self.syringe_diameter_mm, 3) != self.syringe_diameter_mm:
            raise ValueError("syringe_diameter_mm has more than the 3 decimals of the pump")
        return self


class ChemyxFusion:
    """One syringe pump; infuses only, always to a target volume held by the pump itself.

    With a counter per run the driver adds up what earlier runs of this process left on it, so that
    `status` never goes back at a start. A new process knows nothing of that sum: a dose that it did
    not start itself is then for a person to settle, unless the counter was at 0 before it.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        *,
        syringe_diameter_mm: float,
        syringe_volume_ul: float,
        min_flow_rate_ul_h: float,
        max_flow_rate_ul_h: float = math.inf,
        address: int = 0,
        echo: bool = True,
        prompt: bool = True,
        counter: Counter = "per_run",
        answer_deadline_s: float = 2.0,
    ) -> None:
        if not 0 <= address <= 2:
            raise ValueError(f"address {address} of {name} is outside 0..2")
        self._diameter = Decimal(str(syringe_diameter_mm))
        if not 0.1 <= syringe_diameter_mm <= 50 or round(self._diameter, 3) != self._diameter:
            raise ValueError(
                f"syringe diameter {syringe_diameter_mm} mm of {name} is not within 0.1..50 mm "
                "with 3 decimals"
            )
        self.name = name
        self.address = address
        self._transport = transport
        self._manner = wire.Manner(echo, prompt)
        self._per_run = counter == "per_run"
        self._syringe_volume_ul = syringe_volume_ul
        self._range_ul_h = (min_flow_rate_ul_h, max_flow_rate_ul_h)
        self._deadline_s = answer_deadline_s
        self._met_generation = transport.generation
        self._parameters: wire.Parameters | None = None
        self._ready = Readiness[None](name)
        self._before_ul = Decimal(0)
        """Counter of the pump when it was last prepared."""
        self._earlier_ul = Decimal(0)
        """What earlier runs left on a counter that begins at 0 with each run."""
        self._unsettled = False
        """The answer to the last start was lost: its run may have taken the counter back to 0."""
        self._alarm = ""
        self._acknowledged = False
        """A stall that the status still shows has been acknowledged."""

    def quantise(self, flow_rate_ul_h: float, volume_ul: float) -> PumpSettings:
        """Return rate and volume as this pump will carry them out; ValueError outside pump or
        syringe."""
        check_asked(self.name, flow_rate_ul_h, volume_ul, self._range_ul_h, self._syringe_volume_ul)
        held_ul_h = float(wire.format_number(flow_rate_ul_h, ROUND_HALF_EVEN))
        check_rounded(self.name, flow_rate_ul_h, held_ul_h, self._range_ul_h)
        return PumpSettings(held_ul_h, float(wire.format_number(volume_ul, ROUND_DOWN)))

    def open(self) -> None:
        """Meet the pump: it shows its parameters, and its syringe diameter is that of lab.toml.

        Sends one query. `SyringeDiffers` where the pump is set for another diameter.
        """
        with self._transport.owned():
            self._meet()

    def confirm_syringe(self) -> None:
        """Set the diameter of lab.toml at the pump and read it back, once a person has looked at
        the syringe; only while idle."""
        with self._transport.owned():
            if self._look().diameter_mm != self._diameter:
                self._require_standing("take another syringe diameter")
                self._set("diameter", self._diameter)
            self._meet()

    def prepare(self, flow_rate_ul_h: float, volume_ul: float) -> PumpSettings:
        """Set unit, rate, target volume and delay where they differ, all read back; moves no
        liquid.

        ValueError outside the range; `DeviceAlarm` while one is not acknowledged; `DeviceRejected`
        unless idle, or where a read-back differs; `SyringeDiffers` where the pump is set for another
        diameter.
        """
        settings = self.quantise(flow_rate_ul_h, volume_ul)
        rate, volume = Decimal(str(settings.flow_rate_ul_h)), Decimal(str(settings.volume_ul))
        with self._transport.owned():
            begun, self._unsettled = self._ready.begin(), False
            self._meet_again()
            self._require_standing("prepare a dose")
            self._require_no_alarm()
            held = self._look()
            self._check_diameter(held)
            if held.unit != wire.UNIT_UL_H:
                self._set("units", Decimal(wire.UNIT_UL_H))
                held = self._look()
            for name, told, wanted in (
                ("rate", held.rate, rate),
                ("volume", held.volume, volume),
                ("delay", held.delay, Decimal(0)),
            ):
                if not _same(told, wanted):
                    self._set(name, wanted)
            held = self._look()
            self._check_diameter(held)  # a power cut on the way may have taken it
            wanted_all = (rate, volume, Decimal(0))
            told_all = (held.rate, held.volume, held.delay)
            if held.unit != wire.UNIT_UL_H or not all(map(_same, told_all, wanted_all)):
                raise DeviceRejected(
                    f"{self.name}: its settings were accepted but read back as {held}; nothing moved"
                )
            self._before_ul = self._counter()[0]
            self._ready.end(begun, None)
        return settings

    def start(self) -> None:
        """Start the prepared infusion; the command goes out once, ever.

        `OutcomeUnknown` where the answer is lost or strange; `DeviceRejected` where the pump says
        that it knows no such command. ValueError without a `prepare` since the last start; `NotSent`
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
            try:
                self._ask("start", wire.decode_started)
            except OutcomeUnknown:
                self._unsettled = True
                raise
            self._counter_began_anew()

    def status(self) -> PumpStatus:
        """Return state and counter in two queries: the state first, so that the counter of an idle
        pump is its last.

        A stall is told until `acknowledge`.
        """
        with self._transport.owned():
            self._meet_again()
            parameters = self._parameters or self._look()
            status = self._status()
            counter_ul, step_ul = self._counter()
            if self._unsettled and (status in (1, 2, 3) or counter_ul != self._before_ul):
                self._counter_began_anew()
            infused_ul = float(self._earlier_ul + counter_ul)
        state = wire.STATES[status]
        shown: Literal["idle", "infusing", "withdrawing", "paused", "alarm"] = state
        if self._alarm:
            shown = "alarm"
        elif state == "alarm":
            shown = "idle"
        elif state == "infusing" and parameters.volume < 0:
            shown = "withdrawing"
        return PumpStatus(shown, infused_ul, float(step_ul), None, self._alarm)

    def clear_counter(self) -> None:
        """Forget what earlier runs left on the counter; only while idle.

        The pump has no command for it: its own counter begins anew with its next run (or never),
        and shows the same decimals however large it is. So `status` may show more than 0 after.
        """
        with self._transport.owned():
            self._meet_again()
            self._require_standing("clear its counter")
            self._earlier_ul = Decimal(0)
            self._unsettled = False

    def stop(self) -> None:
        """Stop now, before any other thread's next transaction: stop, until the pump says that it
        is stopped. A stall stays told (`acknowledge`)."""
        with self._transport.owned(urgent=True):
            self._ready.stopped()
            said = "no answer"
            for _ in range(_STOP_TRIES):
                try:
                    confirmed = self._exchange("stop") == ("Pump stop!",)
                    status = wire.decode_status(self._exchange("pump status"))
                except (TransportTimeout, FrameError) as trouble:
                    said = str(trouble)
                    self._transport.garbled(trouble)
                    self._resync()
                except InstrumentError as trouble:
                    said = str(trouble)
                    break
                else:
                    self._note(status)
                    if status == 0 or (status == 4 and confirmed):
                        return
                    said = f"it says pump status {status}"
            raise InstrumentError(
                f"{self.name} did not confirm stop and MAY STILL RUN: stop it by hand ({said})"
            )

    def acknowledge(self) -> None:
        """End a stall, though the status may show it until the next run; sends nothing."""
        self._alarm, self._acknowledged = "", True

    def close(self) -> None:
        """Leave the pump to itself; a running infusion goes on to its target. Sends nothing."""

    def _meet(self) -> None:
        """Look at the pump. It can not say who it is: its diameter is all there is to compare."""
        generation = self._transport.generation
        self._check_diameter(self._look())
        self._met_generation = generation

    def _meet_again(self) -> None:
        """Look at the pump anew where the port was lost since."""
        if self._transport.generation != self._met_generation:
            self._meet()

    def _look(self) -> wire.Parameters:
        self._parameters = self._ask(
            "view parameter", lambda lines: wire.decode_parameters(lines, self.address)
        )
        return self._parameters

    def _check_diameter(self, held: wire.Parameters) -> None:
        if held.diameter_mm != self._diameter:
            raise SyringeDiffers(
                f"{self.name} is set for a syringe of {held.diameter_mm} mm, lab.toml says "
                f"{self._diameter} mm: look at the syringe, then confirm it; nothing was changed"
            )

    def _set(self, name: str, value: Decimal) -> None:
        command = f"set {name} {value.normalize():f}"
        _log.info("%s: %s", self.name, command)
        told = self._ask(command, lambda lines: wire.decode_set(lines, name))
        if not _same(told, value):
            raise DeviceRejected(
                f"{self.name} answers {command!r} with {told}: outside its limits? Nothing moved"
            )

    def _status(self) -> int:
        status = self._ask("pump status", wire.decode_status)
        self._note(status)
        return status

    def _note(self, status: int) -> None:
        if status != 4:
            self._acknowledged = False
        elif not self._acknowledged and not self._alarm:
            _log.warning("%s: stalled", self.name)
            self._alarm = "stall"

    def _counter(self) -> tuple[Decimal, Decimal]:
        """Return the pump's own counter and its step, in uL."""
        told = self._ask("dispensed volume", wire.decode_dispensed)
        unit = self._parameters.unit if self._parameters else wire.UNIT_UL_H
        return told.volume * wire.UL_PER_UNIT[unit], told.step * wire.UL_PER_UNIT[unit]

    def _counter_began_anew(self) -> None:
        self._unsettled = False
        if self._per_run:
            self._earlier_ul += self._before_ul

    def _require_standing(self, purpose: str) -> None:
        status = self._status()
        if status not in (0, 4):
            raise DeviceRejected(
                f"{self.name} is {wire.STATES[status]}: to {purpose} it must stand idle; stop it "
                "first"
            )

    def _ask(self, text: str, read: Callable[[tuple[str, ...]], Value]) -> Value:
        """Send one command and return its value; the only place that decides whether it may be sent
        again."""
        retry = wire.RETRY[wire.command_of(text)]
        with self._transport.owned():
            try:
                try:
                    return self._once(text, read)
                except (TransportTimeout, FrameError) as trouble:
                    self._resync()
                    if retry != "safe":
                        raise
                    self._transport.garbled(trouble)
                    return self._once(text, read)
            except (NotSent, DeviceRejected):
                raise
            except InstrumentError as trouble:
                self._transport.garbled(trouble)
                asked = f"{self.name} on {text!r}: {trouble}"
                self._resync()
                if retry == "never":
                    raise OutcomeUnknown(
                        f"{asked}. It may have started; its counter decides. Not sent again",
                        wire.encode_command(self.address, text),
                    ) from trouble
                raise type(trouble)(asked) from trouble

    def _once(self, text: str, read: Callable[[tuple[str, ...]], Value]) -> Value:
        lines = self._exchange(text)
        if wire.is_refusal(lines):
            raise DeviceRejected(f"{self.name} refused {text!r}: {'; '.join(lines)}")
        return read(lines)

    def _exchange(self, text: str) -> tuple[str, ...]:
        sent = wire.encode_command(self.address, text)
        frame = self._transport.exchange(
            sent,
            wire.answer_length_of(sent, self._manner),
            deadline_s=self._deadline_s,
            inter_byte_s=0.5,
        )
        return wire.decode_answer(frame, sent, self._manner)

    def _require_no_alarm(self) -> None:
        if self._alarm:
            raise DeviceAlarm(
                f"{self.name} told {self._alarm}, and nobody has acknowledged it: look at pump and "
                "tubing, and settle the dose that it broke; nothing moved",
                self._alarm,
            )

    def _resync(self) -> None:
        with suppress(InstrumentError):  # a port lost meanwhile is told by the error under way
            self._transport.drain(quiet_s=0.05, limit_s=0.5)


def _same(told: Decimal, wanted: Decimal) -> bool:
    return abs(told - wanted) <= wire.SAME * abs(wanted)


def _build(name: str, port: Transport, entry: ChemyxFusionEntry, wait_s: Wait) -> ChemyxFusion:
    return ChemyxFusion(
        name,
        port,
        address=entry.address,
        syringe_diameter_mm=entry.syringe_diameter_mm,
        syringe_volume_ul=entry.content_ul(),
        min_flow_rate_ul_h=entry.min_flow_rate_ul_h,
        max_flow_rate_ul_h=entry.max_flow_rate_ul_h or math.inf,
        echo=entry.echo,
        prompt=entry.prompt,
        counter=entry.counter,
    )


def _check_bus(pumps: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Address 0 is the motor that is also 1; and channels of one pump can start each other."""
    if len(pumps) < 2:
        return []
    found = []
    for name, pump in pumps.items():
        if pump.address == 0:
            found.append((name, "address 0 is a pump of one channel, and must be alone on its bus"))
        elif not pump.both_channels:
            found.append(
                (
                    name,
                    "one flipped bit of a start can start both channels of a dual pump; say "
                    "both_channels = true at both where that is accepted",
                )
            )
    return found


_PROBE: Final = b"view parameter\r"
_PROBED: Final = wire.Manner(echo=True, prompt=True)


def _recognise(answer: bytes) -> str | None:
    with suppress(InstrumentError):
        found = wire.decode_parameters(wire.decode_answer(answer, _PROBE, _PROBED), 0)
        return f"Chemyx Fusion set for a syringe of {found.diameter_mm} mm"
    return None


MAKE: Final = Make(
    title="Chemyx Fusion",
    kind="pump",
    entry=ChemyxFusionEntry,
    build=_build,
    port=PortSettings(9600),
    unconfirmed=(
        "every byte: no record of a real pump is public. Try it with water first, as its page says",
        "whether each answer begins with an echo and ends with '>' (echo, prompt)",
        "whether dispensed volume begins anew with each run (counter), and in which unit it is",
        "the numbers of pump status: 0 stopped, 1 running, 2 paused, 3 delayed, 4 stalled",
        "that start runs what was set here: the touchscreen must stand in Basic Mode",
    ),
    check_bus=_check_bus,
    power_proof=PowerProof("none but a counter lower than before", "never"),
    probe=Probe(_PROBE, wire.answer_length_of(_PROBE, _PROBED), _recognise),
)

"""New Era NE-1000 family syringe pump. Its bytes are in `new_era_wire`.

Belongs here: moving those bytes for one pump. Not here: doses, volumes per study, retries of a
step. Not tried on the real device. Unconfirmed: see `MAKE`.

The pump may hold a programme of phases from its keypad, and RUN goes through it. Phase 1 is selected
and made a plain one of rate and volume before every dose; later phases are not looked at.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from pydantic import Field, model_validator

from instruments.contracts import KEPT_ALARMS, PumpSettings, PumpStatus
from instruments.errors import (
    CounterFull,
    DeviceAlarm,
    DeviceRejected,
    FrameError,
    InstrumentError,
    OutcomeUnknown,
    SyringeDiffers,
    TransportTimeout,
)
from instruments.lab_settings import SyringePumpEntry
from instruments.make import Make, PowerProof, Wait
from instruments.pumps import new_era_wire as wire
from instruments.pumps.new_era_line import NewEraLine
from instruments.pumps.readiness import Readiness
from instruments.pumps.syringe_range import check_asked, check_rounded
from instruments.transport import NotSent, PortSettings, Transport

STOP_AGAIN_S: Final = 0.3
"""For a stop in a mode of the wire that the pump is perhaps not in."""
OPENING_DEADLINE_S: Final = 0.5
"""A pump answers within milliseconds; a bus of missing pumps is told within a minute."""

_log = logging.getLogger(__name__)


class NewEraEntry(SyringePumpEntry):
    """Settings of one NE-1000 in lab.toml."""

    safe_mode: bool = True
    """CRC and watchdog on the wire."""
    watchdog_s: int = Field(120, ge=0, le=255)
    """Real seconds of silence after which the pump stops by itself; 0 (off) goes only with
    ``safe_mode = false``."""

    @model_validator(mode="after")
    def _mode_and_diameter(self) -> NewEraEntry:
        if round(float(f"{self.syringe_diameter_mm:.4g}"), 3) != self.syringe_diameter_mm:
            raise ValueError(
                "syringe_diameter_mm has more than 4 digits, which the pump can not hold"
            )
        if self.safe_mode and not self.watchdog_s:
            raise ValueError(
                "safe_mode = true wants watchdog_s of 1..255: on this wire a watchdog of 0 is "
                "basic mode"
            )
        return self


class NewEraNE1000:
    """One syringe pump on a bus of up to 100; infuses only, always to a target volume held by the
    pump itself.

    Safe mode (CRC, and a watchdog that stops the pump when the host falls silent) wants
    ``watchdog_s`` 1..255; the watchdog counts real seconds. Basic mode has neither.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        *,
        address: int,
        syringe_diameter_mm: float,
        syringe_volume_ul: float,
        min_flow_rate_ul_h: float,
        max_flow_rate_ul_h: float = math.inf,
        safe_mode: bool = True,
        watchdog_s: int = 120,
        answer_deadline_s: float = 1.0,
    ) -> None:
        if not 0 <= address <= 99:
            raise ValueError(f"address {address} of {name} is outside 0..99")
        if safe_mode != (1 <= watchdog_s <= 255):
            raise ValueError(
                f"{name}: safe mode wants a watchdog of 1..255 s and basic mode none, not "
                f"{watchdog_s} s"
            )
        self._diameter = wire.format_number(syringe_diameter_mm, ROUND_HALF_EVEN)
        if not 0.1 <= syringe_diameter_mm <= 50 or Decimal(self._diameter) != Decimal(
            str(syringe_diameter_mm)
        ):
            raise ValueError(
                f"syringe diameter {syringe_diameter_mm} mm of {name} is not within 0.1..50 mm "
                "with 4 digits"
            )
        self.name = name
        self.address = address
        self.watchdog_s = watchdog_s
        self.firmware = ""
        """Model and version; empty before `open`."""
        self._transport = transport
        self._syringe_volume_ul = syringe_volume_ul
        self._range_ul_h = (min_flow_rate_ul_h, max_flow_rate_ul_h)
        self._safe_mode = safe_mode
        self._line = NewEraLine(
            name,
            transport,
            address=address,
            safe=safe_mode,
            deadline_s=answer_deadline_s,
            on_alarm=self._note,
        )
        self._ready = Readiness[None](name)
        self._restarts = 0
        self._met = False
        self._met_generation = transport.generation
        self._alarm = ""

    def quantise(self, flow_rate_ul_h: float, volume_ul: float) -> PumpSettings:
        """Return rate and volume as this pump will carry them out; ValueError outside pump or
        syringe."""
        check_asked(self.name, flow_rate_ul_h, volume_ul, self._range_ul_h, self._syringe_volume_ul)
        rate, rate_unit = wire.format_rate(flow_rate_ul_h)
        volume, volume_unit = wire.format_volume(volume_ul)
        held_ul_h = float(Decimal(rate) * wire.UL_H_PER[rate_unit])
        check_rounded(self.name, flow_rate_ul_h, held_ul_h, self._range_ul_h)
        return PumpSettings(held_ul_h, float(Decimal(volume) * wire.UL_PER[volume_unit]))

    def open(self) -> None:
        """Meet the pump: enter the configured mode, read its version, check the syringe diameter.

        Neither stops a running infusion nor clears a counter. Acknowledges a waiting alarm:
        ``reset`` and ``stall`` stay told by `status`; ``timeout`` is only logged here, since every
        pump left alone has it. `SyringeDiffers` where the pump is set for another diameter.
        """
        with self._transport.owned():
            self._meet()
            self._check_diameter()

    def confirm_syringe(self) -> None:
        """Set the diameter of lab.toml at the pump and read it back, once a person has looked at
        the syringe; only while idle, and it may clear the counter."""
        with self._transport.owned():
            self._meet()
            self._require_idle("take another syringe diameter")
            self._ensure(
                "DIA", (f"DIA {self._diameter}",), wire.decode_number, Decimal(self._diameter)
            )

    def prepare(self, flow_rate_ul_h: float, volume_ul: float) -> PumpSettings:
        """Set phase, direction, rate and volume where they differ, each read back; moves no liquid.

        ValueError outside the range; `DeviceAlarm` while one is not acknowledged; `DeviceRejected`
        unless idle, or where a read-back differs; `SyringeDiffers` where the pump is set for another
        diameter.
        """
        settings = self.quantise(flow_rate_ul_h, volume_ul)
        rate, rate_unit = wire.format_rate(flow_rate_ul_h)
        volume, volume_unit = wire.format_volume(volume_ul)
        with self._transport.owned():
            begun = self._ready.begin()
            self._meet_again()
            infused_ul = self._require_idle("prepare a dose").infused_ul
            if volume_unit == "UL" and infused_ul + settings.volume_ul > wire.LARGEST:
                raise CounterFull(
                    f"{self.name}: its counter at {infused_ul:g} uL can not count "
                    f"{settings.volume_ul:g} uL more in "
                    "4 digits; clear the counter first"
                )
            self._require_no_alarm()
            self._check_diameter()
            self._ensure("PHN", ("PHN 1",), wire.decode_phase, 1)
            self._ensure("FUN", ("FUN RAT",), wire.decode_function, "RAT")
            self._ensure("DIR", ("DIR INF",), str, "INF")
            self._ensure(
                "RAT", (f"RAT {rate} {rate_unit}",), wire.decode_rate, (Decimal(rate), rate_unit)
            )
            self._ensure(
                "VOL",
                (f"VOL {volume_unit}", f"VOL {volume}"),
                wire.decode_volume,
                (Decimal(volume), volume_unit),
            )
            self._require_no_alarm()  # a query that met one was asked again
            self._alarm = ""
            self._ready.end(begun, None)
        return settings

    def start(self) -> None:
        """Start the prepared infusion; the command goes out once, ever.

        `OutcomeUnknown` where the answer is lost or strange; `DeviceAlarm` or `DeviceRejected`
        where the pump says that it did not start. ValueError without a `prepare` since the last
        start; `NotSent` where a stop came since.
        """
        with self._transport.owned():
            self._ready.take()
            if self._transport.generation != self._met_generation:
                raise NotSent(
                    f"{self.name}: its port was lost and came back since its settings were read "
                    "back; it was not started"
                )
            answer = self._line.ask("RUN")
            if answer.status != "I" or answer.data:
                raise OutcomeUnknown(
                    f"{self.name}: RUN was answered with {answer.status}{answer.data}, not with I "
                    "(infusing); "
                    "read its counter before anything else",
                    wire.encode_command(self.address, "RUN", self._line.safe),
                )

    def status(self) -> PumpStatus:
        """Return state and counter in one query.

        An alarm is told, whichever command met it, until `acknowledge`; ``timeout`` until a `stop` or
        a new `prepare` has succeeded. ``restarts`` only grows.
        """
        with self._transport.owned():
            self._meet_again()
            answer = self._line.ask("DIS")
        dispensed = wire.decode_dispensed(answer.data)
        return PumpStatus(
            state="alarm" if self._alarm else wire.STATES[answer.status],
            infused_ul=dispensed.infused_ul,
            resolution_ul=dispensed.resolution_ul,
            restarts=self._restarts,
            alarm=self._alarm,
        )

    def heartbeat(self) -> None:
        """Ask for the bare status: feeds the pump's watchdog, changes nothing."""
        with self._transport.owned():
            self._meet_again()
            self._line.ask("")

    def clear_counter(self) -> None:
        """Set the infused counter to zero and look that it is; only while idle."""
        with self._transport.owned():
            self._meet_again()
            self._require_idle("clear its counter")
            trouble: InstrumentError | None = None
            try:
                self._line.ask("CLD INF")
            except (TransportTimeout, FrameError) as lost:
                trouble = lost
            left_ul = self.status().infused_ul
            if left_ul:
                raise trouble or DeviceRejected(
                    f"{self.name}: its counter reads {left_ul:g} uL after CLD INF"
                )

    def stop(self) -> None:
        """Stop now, before any other thread's next transaction: STP (pause), STP (stop), until the
        pump says S.

        Tries the other mode of the wire too; before `open`, both in a hurry first. Raise where the
        pump never said that it stands still. A stall stays told (`acknowledge`).
        """
        with self._transport.owned(urgent=True):
            self._ready.stopped()
            as_known = self._line.safe
            tries = [(as_known, None), (not as_known, STOP_AGAIN_S)]
            if not self._met:
                tries = [(as_known, STOP_AGAIN_S), (not as_known, STOP_AGAIN_S), (as_known, None)]
            trouble: InstrumentError | None = None
            for safe, deadline_s in tries:
                try:
                    self._stop_in_mode(safe, deadline_s)
                    return
                except InstrumentError as failed:
                    if safe == as_known:
                        trouble = failed
                        if not isinstance(failed, (TransportTimeout, FrameError)):
                            break
            self._line.safe = as_known
            raise InstrumentError(
                f"{self.name} did not confirm STP and MAY STILL RUN: stop it by hand ({trouble})"
            ) from trouble

    def acknowledge(self) -> None:
        """End a kept alarm; sends nothing, since the pump's own one ended when it was told."""
        self._alarm = ""

    def close(self) -> None:
        """Leave the pump to itself: the watchdog is switched off, so that a running infusion goes
        on to its target.

        Returns the pump to basic mode; `open` enters safe mode again. Sends nothing in basic mode.
        """
        if self._line.safe:
            self._leave_safe_mode()

    def _stop_in_mode(self, safe: bool, deadline_s: float | None) -> None:
        self._line.safe = safe
        answer = None
        for _ in range(6):
            with suppress(
                DeviceAlarm
            ):  # an alarm has stopped the motor; the next STP must confirm it
                answer = self._line.ask(
                    "STP", tolerated=frozenset(wire.ERRORS), deadline_s=deadline_s
                )
                if answer.status == "S":
                    if self._alarm not in KEPT_ALARMS:
                        self._alarm = ""
                    return
        raise DeviceRejected(f"STP was sent six times; the last answer is {answer}")

    def _enter_safe_mode(self) -> None:
        self._line.safe = True
        self._set_mode(self.watchdog_s)
        value = wire.decode_number(self._query("SAF"))
        if value != self.watchdog_s:
            raise DeviceRejected(
                f"{self.name}: watchdog set to {self.watchdog_s} s reads back as {value} s"
            )

    def _enter_basic_mode(self) -> None:
        self._line.safe = False
        with suppress(TransportTimeout, FrameError, DeviceRejected):
            if not self._line.ask("", either_mode=True, deadline_s=OPENING_DEADLINE_S).safe:
                return
        # Still in safe mode from an earlier owner: a safe packet brings it back.
        self._line.safe = True
        self._leave_safe_mode()

    def _leave_safe_mode(self) -> None:
        if error := self._set_mode(0).error:
            raise DeviceRejected(
                f"{self.name} keeps its watchdog of {self.watchdog_s} s (?{error}) and stops "
                "when nobody asks it for so long"
            )
        self._line.safe = False

    def _set_mode(self, watchdog_s: int) -> wire.Answer:
        """Send SAF; the answer comes in the new mode, or in the old one where an alarm waits.

        A running pump may refuse for now (NA): the caller looks what stands.
        """
        for _ in range(2):
            with suppress(DeviceAlarm):  # acknowledged by being told; SAF was not carried out
                return self._line.ask(
                    f"SAF{watchdog_s}",
                    either_mode=True,
                    tolerated=frozenset({"NA"}),
                    deadline_s=OPENING_DEADLINE_S,
                )
        raise DeviceRejected(f"{self.name} meets one alarm after the other; look at the pump")

    def _meet(self) -> None:
        met, generation = self.firmware, self._transport.generation
        if self._safe_mode:
            self._enter_safe_mode()
        else:
            self._enter_basic_mode()
        self.firmware = wire.decode_version(self._query("VER"))
        self._met, self._met_generation = True, generation
        if met and met != self.firmware:
            raise DeviceRejected(
                f"{self.name} was {met} and calls itself {self.firmware} since its port came back: "
                "is it the same pump? Nothing was changed"
            )

    def _meet_again(self) -> None:
        """Shake hands anew where the port was lost since: identity and mode, nothing else."""
        if self._met and self._transport.generation != self._met_generation:
            self._meet()

    def _check_diameter(self) -> None:
        told = wire.decode_number(self._query("DIA"))
        if told != Decimal(self._diameter):
            raise SyringeDiffers(
                f"{self.name} is set for a syringe of {told} mm, lab.toml says {self._diameter} mm: "
                "look at the syringe, then confirm it; nothing was changed"
            )

    def _ensure(
        self, verb: str, commands: tuple[str, ...], decode: Callable[[str], object], wanted: object
    ) -> None:
        """Set only what differs (each change wears the pump's memory) and read it back at the
        pump's precision."""
        before = decode(self._query(verb))
        if before == wanted:
            return
        _log.info("%s: %s was %s, is set by %s", self.name, verb, before, commands)
        for command in commands:
            self._line.ask(command)
        after = decode(self._query(verb))
        if after != wanted:
            raise DeviceRejected(
                f"{self.name}: {commands[-1]} was accepted but reads back as {after}, not "
                f"{wanted}; nothing moved"
            )

    def _require_idle(self, purpose: str) -> wire.Dispensed:
        answer = self._line.ask("DIS")
        if answer.status != "S":
            raise DeviceRejected(
                f"{self.name} says {wire.STATES[answer.status]}: to {purpose} it must stand idle; "
                "stop "
                "it first"
            )
        return wire.decode_dispensed(answer.data)

    def _require_no_alarm(self) -> None:
        if self._alarm in KEPT_ALARMS:
            raise DeviceAlarm(
                f"{self.name} told {self._alarm}, and nobody has acknowledged it: look at pump and "
                "tubing, and settle the dose that it broke; nothing was changed",
                self._alarm,
            )

    def _query(self, verb: str) -> str:
        return self._line.ask(verb).data

    def _note(self, alarm: str) -> None:
        _log.warning("%s: alarm %s", self.name, alarm)
        if alarm == "reset":
            self._restarts += 1
        elif alarm != "timeout" or self._met:
            self._alarm = alarm


def _build(name: str, port: Transport, entry: NewEraEntry, wait_s: Wait) -> NewEraNE1000:
    return NewEraNE1000(
        name,
        port,
        address=entry.address,
        syringe_diameter_mm=entry.syringe_diameter_mm,
        syringe_volume_ul=entry.content_ul(),
        min_flow_rate_ul_h=entry.min_flow_rate_ul_h,
        max_flow_rate_ul_h=entry.max_flow_rate_ul_h or math.inf,
        safe_mode=entry.safe_mode,
        watchdog_s=entry.watchdog_s if entry.safe_mode else 0,
    )


def _check_bus(pumps: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A flipped bit of an address reaches another pump where nothing checks the packet."""
    if len(pumps) < 2:
        return []
    return [
        (
            name,
            "safe_mode = false has no checksum, so that a start may reach another pump: such a pump "
            "must be alone on its bus",
        )
        for name, pump in pumps.items()
        if not pump.safe_mode
    ]


MAKE: Final = Make(
    title="New Era NE-1000 family",
    kind="pump",
    entry=NewEraEntry,
    build=_build,
    port=PortSettings(19200),
    unconfirmed=(
        "which events besides CLD set the DIS counter back: a counter lower than before is for a "
        "person",
        "whether SAF is taken while the pump runs",
        "that nothing follows phase 1: it is made a plain dose, but a programme from the keypad may "
        "go on with phase 2; clear the programme, or set phase 2 to STP, at the pump",
    ),
    check_bus=_check_bus,
    power_proof=PowerProof("alarm R, told once, to the first command after power-up", "always"),
    probe=None,  # any command acknowledges a waiting reset alarm, which is what proves a power cut
)

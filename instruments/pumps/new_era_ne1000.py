"""New Era NE-1000 family syringe pump. Its bytes are in `new_era_wire`.

Belongs here: moving those bytes for one pump. Not here: doses, volumes per study, retries of a
step. Not tried on the real device. Unconfirmed: which events besides ``CLD`` set the DIS counter
back (a lower counter than last seen is for a person), and whether ``SAF`` is taken while the pump
runs.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from instruments.contracts import PumpSettings, PumpStatus
from instruments.errors import (
    DeviceAlarm,
    DeviceRejected,
    FrameError,
    InstrumentError,
    OutcomeUnknown,
    TransportTimeout,
)
from instruments.pumps.new_era_wire import (
    ERRORS,
    LARGEST,
    RETRY,
    STATES,
    UL_H_PER,
    UL_PER,
    Answer,
    Dispensed,
    Retry,
    answer_length,
    decode_answer,
    decode_dispensed,
    decode_number,
    decode_rate,
    decode_version,
    decode_volume,
    encode_command,
    format_number,
    format_rate,
    format_volume,
)
from instruments.transport import NotSent, Transport

OPENING_DEADLINE_S: Final = 0.5
"""A pump answers within milliseconds; a bus of missing pumps is told within a minute."""

_log = logging.getLogger(__name__)


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
        self._diameter = format_number(syringe_diameter_mm, ROUND_HALF_EVEN)
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
        self._safe_mode = self._safe = safe_mode
        self._deadline_s = answer_deadline_s
        self._prepared = False
        self._restarted = False
        self._met = False
        self._alarm = ""

    def quantise(self, flow_rate_ul_h: float, volume_ul: float) -> PumpSettings:
        """Return rate and volume as this pump will carry them out; ValueError outside pump or
        syringe."""
        low, high = self._range_ul_h
        if not low <= flow_rate_ul_h <= high:
            raise ValueError(
                f"flow rate {flow_rate_ul_h:g} uL/h is outside {low:g}..{high:g} of {self.name}"
            )
        if not 0 < volume_ul <= self._syringe_volume_ul:
            raise ValueError(
                f"volume {volume_ul:g} uL is outside 0..{self._syringe_volume_ul:g} uL, the "
                f"syringe of {self.name}"
            )
        rate, rate_unit = format_rate(flow_rate_ul_h)
        volume, volume_unit = format_volume(volume_ul)
        held_ul_h = float(Decimal(rate) * UL_H_PER[rate_unit])
        if held_ul_h > high:
            raise ValueError(
                f"flow rate {flow_rate_ul_h:g} uL/h becomes {held_ul_h:g}, above {high:g} of "
                f"{self.name}"
            )
        return PumpSettings(held_ul_h, float(Decimal(volume) * UL_PER[volume_unit]))

    def open(self) -> None:
        """Meet the pump: enter the configured mode, read its version, check the syringe diameter.

        Neither stops a running infusion nor clears a counter. Acknowledges a waiting alarm:
        ``reset`` and ``stall`` stay told by `status`; ``timeout`` is only logged here, since every
        pump left alone has it.
        """
        with self._transport.owned():
            if self._safe_mode:
                self._enter_safe_mode()
            else:
                self._enter_basic_mode()
            self.firmware = decode_version(self._query("VER"))
            self._met = True
            self._ensure_diameter()

    def prepare(self, flow_rate_ul_h: float, volume_ul: float) -> PumpSettings:
        """Set diameter, direction, rate and volume where they differ, each read back; moves no
        liquid.

        ValueError outside the range; `DeviceRejected` unless idle, or where a read-back differs.
        """
        settings = self.quantise(flow_rate_ul_h, volume_ul)
        rate, rate_unit = format_rate(flow_rate_ul_h)
        volume, volume_unit = format_volume(volume_ul)
        with self._transport.owned():
            self._prepared = False
            infused_ul = self._require_idle("prepare a dose").infused_ul
            if volume_unit == "UL" and infused_ul + settings.volume_ul > LARGEST:
                raise ValueError(
                    f"{self.name}: its counter at {infused_ul:g} uL can not count "
                    f"{settings.volume_ul:g} uL more in "
                    "4 digits; clear the counter first"
                )
            self._ensure_diameter()
            self._ensure("DIR", ("DIR INF",), str, "INF")
            self._ensure(
                "RAT", (f"RAT {rate} {rate_unit}",), decode_rate, (Decimal(rate), rate_unit)
            )
            self._ensure(
                "VOL",
                (f"VOL {volume_unit}", f"VOL {volume}"),
                decode_volume,
                (Decimal(volume), volume_unit),
            )
            self._alarm = ""
            self._prepared = True
        return settings

    def start(self) -> None:
        """Start the prepared infusion; the command goes out once, ever.

        `OutcomeUnknown` where the answer is lost or strange; `DeviceAlarm` or `DeviceRejected`
        where the pump says that it did not start. ValueError without a `prepare` since the last
        start or stop.
        """
        with self._transport.owned():
            if not self._prepared:
                raise ValueError(f"{self.name}: start was asked without prepare; nothing was sent")
            self._prepared = False
            answer = self._transact("RUN")
            if answer.status != "I" or answer.data:
                raise OutcomeUnknown(
                    f"{self.name}: RUN was answered with {answer.status}{answer.data}, not with I "
                    "(infusing); "
                    "read its counter before anything else",
                    encode_command(self.address, "RUN", self._safe),
                )

    def status(self) -> PumpStatus:
        """Return state and counter in one query.

        An alarm is told, whichever command met it, until a `stop` or a new `prepare` has succeeded:
        either is somebody's decision to go on. ``restarted`` stays for good.
        """
        answer = self._transact("DIS")
        dispensed = decode_dispensed(answer.data)
        return PumpStatus(
            state="alarm" if self._alarm else STATES[answer.status],
            infused_ul=dispensed.infused_ul,
            resolution_ul=dispensed.resolution_ul,
            restarted=self._restarted,
            alarm=self._alarm,
        )

    def heartbeat(self) -> None:
        """Ask for the bare status: feeds the pump's watchdog, changes nothing."""
        self._transact("")

    def clear_counter(self) -> None:
        """Set the infused counter to zero and look that it is; only while idle."""
        with self._transport.owned():
            self._require_idle("clear its counter")
            trouble: InstrumentError | None = None
            try:
                self._transact("CLD INF")
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

        Tries the other mode of the wire too. Raise where the pump never said that it stands still.
        """
        with self._transport.owned(urgent=True):
            self._prepared = False
            as_known = self._safe
            try:
                self._stop_in_mode(as_known)
            except InstrumentError as trouble:
                if isinstance(trouble, (TransportTimeout, FrameError)):
                    with suppress(InstrumentError):
                        self._stop_in_mode(not as_known)
                        return
                self._safe = as_known
                raise InstrumentError(
                    f"{self.name} did not confirm STP and MAY STILL RUN: stop it by hand "
                    f"({trouble})"
                ) from trouble

    def close(self) -> None:
        """Leave the pump to itself: the watchdog is switched off, so that a running infusion goes
        on to its target.

        Returns the pump to basic mode; `open` enters safe mode again. Sends nothing in basic mode.
        """
        if self._safe:
            self._set_mode("SAF0", self._deadline_s)
            self._safe = False

    def _stop_in_mode(self, safe: bool) -> None:
        self._safe = safe
        answer = None
        for _ in range(6):
            with suppress(
                DeviceAlarm
            ):  # an alarm has stopped the motor; the next STP must confirm it
                answer = self._transact("STP", tolerated=frozenset(ERRORS))
                if answer.status == "S":
                    self._alarm = ""
                    return
        raise DeviceRejected(f"STP was sent six times; the last answer is {answer}")

    def _enter_safe_mode(self) -> None:
        self._safe = True
        deadline_s = min(self._deadline_s, OPENING_DEADLINE_S)
        self._set_mode(f"SAF{self.watchdog_s}", deadline_s)
        value = decode_number(self._query("SAF"))
        if value != self.watchdog_s:
            raise DeviceRejected(
                f"{self.name}: watchdog set to {self.watchdog_s} s reads back as {value} s"
            )

    def _enter_basic_mode(self) -> None:
        self._safe = False
        deadline_s = min(self._deadline_s, OPENING_DEADLINE_S)
        with suppress(TransportTimeout, FrameError, DeviceRejected):
            if not self._transact("", either_mode=True, deadline_s=deadline_s).safe:
                return
        self._safe = True  # still in safe mode from an earlier owner: a safe packet brings it back
        self._set_mode("SAF0", deadline_s)
        self._safe = False

    def _set_mode(self, command: str, deadline_s: float) -> None:
        """Send SAF; the answer comes in the new mode, or in the old one where an alarm waits."""
        not_now = frozenset(
            {"NA"}
        )  # a running pump may keep its mode; the query that follows tells
        try:
            self._transact(command, either_mode=True, tolerated=not_now, deadline_s=deadline_s)
        except DeviceAlarm:  # acknowledged by being told; SAF itself was not carried out
            self._transact(command, either_mode=True, tolerated=not_now, deadline_s=deadline_s)

    def _ensure_diameter(self) -> None:
        self._ensure("DIA", (f"DIA {self._diameter}",), decode_number, Decimal(self._diameter))

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
            self._transact(command)
        after = decode(self._query(verb))
        if after != wanted:
            raise DeviceRejected(
                f"{self.name}: {commands[-1]} was accepted but reads back as {after}, not "
                f"{wanted}; nothing moved"
            )

    def _require_idle(self, purpose: str) -> Dispensed:
        answer = self._transact("DIS")
        if answer.status != "S":
            raise DeviceRejected(
                f"{self.name} says {STATES[answer.status]}: to {purpose} it must stand idle; stop "
                "it first"
            )
        return decode_dispensed(answer.data)

    def _query(self, verb: str) -> str:
        return self._transact(verb).data

    def _transact(
        self,
        text: str,
        *,
        either_mode: bool = False,
        tolerated: frozenset[str] = frozenset(),
        deadline_s: float | None = None,
    ) -> Answer:
        """Send one command and return its answer; the only place that decides whether it may be
        sent again."""
        retry = RETRY[text[:3]]
        lost_left, alarms_left = int(retry == "safe"), int(text in RETRY and retry == "safe")
        sent = encode_command(self.address, text, self._safe)
        with self._transport.owned():
            while True:
                try:
                    answer = self._exchange(sent, either_mode, deadline_s or self._deadline_s)
                except NotSent:
                    raise
                except InstrumentError as trouble:
                    self._resync()
                    if lost_left:
                        lost_left -= 1
                        continue
                    raise self._lost(text, sent, retry, trouble) from trouble
                if answer.alarm:
                    self._note(answer.alarm)
                    self._resync()  # a pushed alarm may be followed by the one that answers us
                    if alarms_left:
                        alarms_left -= 1
                        continue
                    raise DeviceAlarm(
                        f"{self.name}: {text or 'status query'} met the alarm {answer.alarm} and "
                        "was not carried out",
                        answer.alarm,
                    )
                if answer.error == "COM" and lost_left:
                    lost_left -= 1
                    continue
                if answer.error is not None and answer.error not in tolerated:
                    raise DeviceRejected(
                        f"{self.name} refused {text!r}: ?{answer.error} ({ERRORS[answer.error]}), "
                        f"while {STATES[answer.status]}"
                    )
                return answer

    def _exchange(self, sent: bytes, either_mode: bool, deadline_s: float) -> Answer:
        """Return this pump's answer; alarms pushed by other pumps of the bus are passed over."""
        end = time.monotonic() + deadline_s
        frame = self._transport.exchange(
            sent, answer_length, deadline_s=deadline_s, inter_byte_s=0.5
        )
        while True:
            answer = decode_answer(frame)
            if answer.address == self.address:
                break
            _log.warning("%s: passed over %r of another pump", self.name, frame)
            left_s = end - time.monotonic()
            if left_s <= 0:
                raise FrameError(f"only pumps at other addresses answered, last {frame!r}")
            frame = self._transport.read_answer(answer_length, deadline_s=left_s, inter_byte_s=0.5)
        if answer.safe != self._safe and not either_mode:
            raise FrameError(
                f"answer {frame!r} came in the other mode than {'safe' if self._safe else 'basic'}"
            )
        return answer

    def _resync(self) -> None:
        with suppress(InstrumentError):  # a port lost meanwhile is told by the error under way
            self._transport.drain(quiet_s=0.05, limit_s=0.5)

    def _note(self, alarm: str) -> None:
        _log.warning("%s: alarm %s", self.name, alarm)
        if alarm == "reset":
            self._restarted = True
        elif alarm != "timeout" or self._met:
            self._alarm = alarm

    def _lost(
        self, text: str, sent: bytes, retry: Retry, trouble: InstrumentError
    ) -> InstrumentError:
        asked = f"{self.name} (address {self.address}) on {text or 'a status query'}: {trouble}"
        if retry == "never":
            return OutcomeUnknown(
                f"{asked}. It may have started; its counter decides. Not sent again", sent
            )
        return type(trouble)(asked)

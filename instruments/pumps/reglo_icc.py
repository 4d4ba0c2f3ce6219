"""One channel of an Ismatec Reglo ICC peristaltic pump. Its bytes are in `reglo_icc_wire`.

Belongs here: moving those bytes for one channel; judging whether this channel stands. Not here:
doses, the age of a tubing against a calendar of its own (`overdue` gets the date), retries of
a step. Not tried on the real device.

The pump tells whether ANYTHING of it runs (``E``), and by the manual never whether one channel does.
It is asked with the channel's own digit: two public drivers take the answer for the channel's own,
and ``-`` means that it stands either way. After ``+`` a channel is idle only where something shows
it: it was shown to stand before (by ``-``, by ``^X`` or ``^U``, by the answer to ``I``) and neither
its counter nor its lifetime seconds have grown since; or its counter has come to the target of the
start that was confirmed here. Without such a proof it counts as infusing while anything runs. Events
are a help only: a line may lose them. Channels share the port; events of a channel are kept until its
own driver looks.

Nothing on this wire checks a command. One flipped bit of ``1H`` is a start of all channels, or of
another one; so a channel that is not about to be started stands in a mode in which the pump refuses
to start it: ``Q`` with no cycles, for which the manual has a reason of its own (``C``). `start` puts
its channel into mode ``O`` right before H; `status`, `stop` and `prepare` take it out of it where it
stands. Right after H, whatever its answer, every other channel that was shown to stand is told to stop,
and one whose counter has grown is told by name.

Unconfirmed: see `MAKE`. ``restarts`` is None: nothing on this wire is cleared by a power cut for
certain. The lifetime seconds are no proof either: they may be written only when a channel stops, and
a start that ran for less than a second leaves no trace in them.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal, TypeVar
from weakref import WeakKeyDictionary

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
from instruments.lab_settings import PumpEntry
from instruments.make import Make, PowerProof, Probe, Wait
from instruments.pumps import reglo_icc_wire as wire
from instruments.pumps.readiness import Readiness
from instruments.transport import NotSent, PortSettings, Transport

LOOK_APART_S: Final = 2.5
"""Between two looks at lifetime seconds: at least two of them pass."""
INTER_BYTE_S: Final = 0.5
LARGEST_FLOW_RATE_UL_H: Final = 6e6
"""100 mL/min: no tubing of this pump comes near it. What a tubing can is for the pump to refuse."""
_VERB_OF_DIRECTION: Final = {"clockwise": "J", "counter_clockwise": "K"}
_MAILBOXES: Final[WeakKeyDictionary[Any, dict[int, deque[wire.Event]]]] = WeakKeyDictionary()
"""Port -> channel -> events that its driver has not looked at; changed only by who holds the port."""
_STILL: Final[WeakKeyDictionary[Any, dict[int, tuple[float, int] | None]]] = WeakKeyDictionary()
"""Port -> channel -> the mark at which its driver has shown it to stand; None where it has not."""
ARMED, DISARMED = "O", "Q"
"""Modes: a volume at a rate; volume and pause in cycles, of which there are none."""

State = Literal["idle", "infusing", "paused"]
T = TypeVar("T")
_log = logging.getLogger(__name__)


class RegloIccEntry(PumpEntry):
    """Settings of one channel in lab.toml."""

    address: int = Field(1, ge=1, le=8)
    """Of the pump; the channels of one pump share a bus, and no other pump can be on it."""
    channel: int = Field(ge=1, le=4)
    tubing_id_mm: float = Field(ge=0.13, le=3.17)
    """Inner diameter of the tubing in this channel; a wrong one is a wrong dose."""
    direction: Literal["clockwise", "counter_clockwise"] = "clockwise"
    """Which way liquid goes from the reservoir to the chip; to be tried with the tubing in place."""
    reservoir_ml: float = Field(gt=0)
    """What the study may plan with."""
    calibrated_on: date
    """When this channel was last calibrated with the tubing that is in it."""
    tubing_max_age_days: int = Field(30, ge=1)
    """A tubing flattens: after so many days its calibration counts no longer."""
    lifetime_seconds: Literal["live", "at_stop"] = "at_stop"
    """Whether the pump counts a channel's lifetime seconds while it runs (to be tried): ``live`` lets
    a channel be shown to stand while others run."""

    @model_validator(mode="after")
    def _tubing(self) -> RegloIccEntry:
        wire.format_tubing(self.tubing_id_mm)
        return self

    def place(self) -> str:
        """Return where on its bus the device is; no two devices share a place."""
        return f"channel {self.channel}"

    def content_ul(self) -> float:
        """Return what a full reservoir holds, in uL."""
        return 1000.0 * self.reservoir_ml

    def overdue(self, today: date) -> str:
        """Return what is wrong with the age of the tubing; empty where nothing is."""
        age_days = (today - self.calibrated_on).days
        if age_days < 0:
            return f"channel {self.channel} was calibrated on {self.calibrated_on}, after {today}"
        if age_days <= self.tubing_max_age_days:
            return ""
        return (
            f"channel {self.channel} was calibrated on {self.calibrated_on}, {age_days} days ago; "
            f"allowed are {self.tubing_max_age_days}: put in a new tubing and calibrate it"
        )


@dataclass(frozen=True)
class _Look:
    """What pump and channel say at one time."""

    anything_runs: bool
    dispensed: wire.Dispensed
    lifetime_s: int

    @property
    def mark(self) -> tuple[float, int]:
        """What grows while the channel runs."""
        return self.dispensed.volume_ul, self.lifetime_s


class RegloIcc:
    """One channel; always to a target volume that the pump itself holds (mode O)."""

    def __init__(
        self,
        name: str,
        transport: Transport,
        entry: RegloIccEntry,
        wait_s: Wait,
        *,
        answer_deadline_s: float = 1.0,
    ) -> None:
        self.name = name
        self.channel = entry.channel
        self.identity = ""
        """Name and firmware; empty before `open`."""
        self._transport = transport
        self._entry = entry
        self._wait_s = wait_s
        self._deadline_s = answer_deadline_s
        self._met_generation = transport.generation
        self._ready = Readiness[float](name)
        """Target volume, uL."""
        self._channels = entry.channel
        """How many the pump has; as far as known before `open`."""
        self._may_be_armed = True
        self._ends_at_ul: float | None = None
        """Counter at which the last start that was confirmed here has come to its target."""
        self._heard = ""
        """What the last event said of the channel."""
        self._seen_running = False
        self._alarm = ""

    @property
    def _still_at(self) -> tuple[float, int] | None:
        """The mark at which the channel was shown to stand."""
        return _STILL.get(self._transport, {}).get(self.channel)

    @_still_at.setter
    def _still_at(self, mark: tuple[float, int] | None) -> None:
        _STILL.setdefault(self._transport, {})[self.channel] = mark

    def quantise(self, flow_rate_ul_h: float, volume_ul: float) -> PumpSettings:
        """Return rate and volume at the four digits of this wire; ValueError outside pump or
        reservoir."""
        low = self._entry.min_flow_rate_ul_h
        high = min(self._entry.max_flow_rate_ul_h or math.inf, LARGEST_FLOW_RATE_UL_H)
        if not low <= flow_rate_ul_h <= high:
            raise ValueError(
                f"flow rate {flow_rate_ul_h:g} uL/h is outside {low:g}..{high:g} of {self.name}"
            )
        content_ul = self._entry.content_ul()
        if not 0 < volume_ul <= content_ul:
            raise ValueError(
                f"volume {volume_ul:g} uL is outside 0..{content_ul:g} uL, the reservoir of "
                f"{self.name}"
            )
        rate = wire.decode_volume(wire.format_rate(flow_rate_ul_h)) * wire.UL_H_PER_ML_MIN
        volume = wire.decode_volume(wire.format_target(volume_ul)) * 1000
        if not low <= rate <= high:
            raise ValueError(
                f"flow rate {flow_rate_ul_h:g} uL/h becomes {rate:g}, outside {low:g}..{high:g} of "
                f"{self.name}"
            )
        return PumpSettings(float(rate), float(volume))

    def open(self) -> None:
        """Meet the pump: channel addressing on, name and firmware, events on, tubing checked.

        Stops nothing and clears no counter. `SyringeDiffers` where the pump is set for another
        tubing.
        """
        with self._transport.owned():
            self._meet()
            self._check_tubing()

    def confirm_syringe(self) -> None:
        """Set the tubing of lab.toml at the pump and read it back, once a person has looked at it;
        only while idle. It discards the calibration of the channel: calibrate anew."""
        with self._transport.owned():
            self._meet()
        self._require_idle("take another tubing")
        with self._transport.owned():
            self._meet_again()
            wanted = wire.exact(self._entry.tubing_id_mm)
            parameter = wire.format_tubing(self._entry.tubing_id_mm)
            self._ensure("+", wire.decode_tubing, wanted, "+", parameter, _done)

    def prepare(self, flow_rate_ul_h: float, volume_ul: float) -> PumpSettings:
        """Set direction, rate and target volume where they differ, each read back; moves no liquid,
        and leaves the channel in a mode in which it can not be started.

        ValueError outside the range; `DeviceAlarm` while one is not acknowledged; `DeviceRejected`
        unless idle, or where a read-back differs; `SyringeDiffers` where the pump is set for another
        tubing.
        """
        settings = self.quantise(flow_rate_ul_h, volume_ul)
        rate, volume = wire.format_rate(flow_rate_ul_h), wire.format_target(volume_ul)
        begun = self._ready.begin()
        self._require_idle("prepare a dose")
        if self._alarm:
            raise DeviceAlarm(
                f"{self.name} told {self._alarm}, and nobody has acknowledged it: look at pump and "
                "tubing, and settle the dose that it broke; nothing was changed",
                self._alarm,
            )
        with self._transport.owned():
            self._meet_again()
            self._check_tubing()
            self._disarm()
            turn = _VERB_OF_DIRECTION[self._entry.direction]
            self._ensure("xD", wire.decode_letter, turn, turn, "", _done)
            self._ensure("xf", wire.decode_count, 1, "xf", "1", _done)
            held = _data(wire.decode_volume)  # what the pump holds from then on
            self._ensure("f", wire.decode_volume, wire.decode_volume(rate), "f", rate, held)
            self._ensure("v", wire.decode_volume, wire.decode_volume(volume), "v", volume, held)
            self._ready.end(begun, settings.volume_ul)
        return settings

    def start(self) -> None:
        """Start the prepared infusion; the command goes out once, ever.

        `OutcomeUnknown` where the answer is lost or strange, or where another channel moves since, or
        nobody could see that none does; `DeviceRejected` with the pump's reason where it says that it
        can not and nothing runs. ValueError without a `prepare` since the last start; `NotSent` where
        a stop came since.
        """
        with self._transport.owned():
            target_ul = self._ready.take()
            self._require_ready()
            try:
                others = self._standing_others()
                self._may_be_armed = True
                self._ensure("xM", wire.decode_letter, ARMED, ARMED, "", _done)
            except (TransportTimeout, FrameError) as trouble:
                raise NotSent(f"{self.name} was not started: {trouble}") from trouble
            try:
                answer = self._ask("H", read=_as_it_is)
            except OutcomeUnknown:
                with suppress(InstrumentError):
                    self._stop_others(others)
                raise
            if answer.status == "*":
                if self._still_at is not None:
                    self._ends_at_ul = self._still_at[0] + target_ul
                self._still_at, self._heard, self._seen_running = None, "", True
            self._look_around(answer, others)
            if answer.status == "-":
                raise DeviceRejected(f"{self.name} can not start: {self._reason()}")
            if answer.status == "#":
                raise DeviceRejected(f"{self.name} did not carry out H; it was not started")
            if answer.status != "*":
                raise self._unknown(f"H was answered with {answer.status or answer.data!r}")

    def status(self) -> PumpStatus:
        """Return state and counter; see the file's head for how the state is found.

        An alarm (over-temperature, over-current) is told until `acknowledge`. A channel that stands is
        taken out of the mode in which it can be started.
        """
        state, look = self._observe()
        if state == "idle" and self._may_be_armed:
            with self._transport.owned():
                self._disarm_if_it_can()
        return PumpStatus(
            state="alarm" if self._alarm and state == "idle" else state,
            infused_ul=look.dispensed.volume_ul,
            resolution_ul=look.dispensed.resolution_ul,
            restarts=None,
            alarm=self._alarm,
        )

    def clear_counter(self) -> None:
        """Set the counter to zero and look that it is; only while idle."""
        self._require_idle("clear its counter")
        with self._transport.owned():
            self._meet_again()
            trouble: InstrumentError | None = None
            try:
                self._ask("W", read=_done)
            except NotSent:
                raise
            except (TransportTimeout, FrameError) as lost:
                trouble = lost
            self._still_at = (look := self._look()).mark
            if left_ul := look.dispensed.volume_ul:
                raise trouble or DeviceRejected(
                    f"{self.name}: its counter reads {left_ul:g} uL after W"
                )

    def stop(self) -> None:
        """Stop this channel now, before any other thread's next transaction.

        Its ``*`` is the pump's word that the channel stands; where other channels go on, it must say
        so twice. Raise where it never did. An alarm stays told (`acknowledge`).
        """
        with self._transport.owned(urgent=True):
            self._ready.stopped()
            try:
                self._stop_until_done()
                look = self._look()
                if look.anything_runs:
                    self._stop_until_done()
                    look = self._look()
            except InstrumentError as trouble:
                raise InstrumentError(
                    f"{self.name} did not confirm I and MAY STILL RUN: stop it by hand ({trouble})"
                ) from trouble
            self._stands(look)
            self._disarm_if_it_can()

    def acknowledge(self) -> None:
        """End an alarm; sends nothing."""
        self._alarm = ""

    def close(self) -> None:
        """Leave the pump to itself; sends nothing, and what runs goes on to its target."""

    def _observe(self) -> tuple[State, _Look]:
        """Return state and look; where only time can tell, look twice, with the port free between."""
        with self._transport.owned():
            self._meet_again()
            look = self._look()
            state = self._judge(look)
        open_question = state == "infusing" and not self._seen_running
        if not open_question or self._entry.lifetime_seconds == "at_stop":
            return state, look
        self._wait_s(LOOK_APART_S)
        with self._transport.owned():
            self._meet_again()
            later = self._look()
            if later.mark == look.mark:
                self._stands(later)
            else:
                self._seen_running = True
            return self._judge(later), later

    def _look(self) -> _Look:
        """Ask whether anything runs, then for what would have grown."""
        told = self._transport.drain(quiet_s=0.01, limit_s=0.2)
        self._keep(wire.events_in(told))
        anything_runs = self._ask("E", read=_sign)
        dispensed = self._ask(":", read=_data(wire.decode_dispensed))
        lifetime_s = self._ask("xJ", read=_data(wire.decode_count))
        self._hear()
        return _Look(anything_runs, dispensed, lifetime_s)

    def _judge(self, look: _Look) -> State:
        if not look.anything_runs:
            self._stands(look)
            return "idle"
        if self._heard == "paused":
            return "paused"
        if self._heard == "stopped":
            self._stands(look)
        if self._still_at is not None:
            if self._still_at == look.mark:
                return "idle"
            self._still_at, self._seen_running = None, True
        if self._ends_at_ul is not None:
            slack_ul = look.dispensed.resolution_ul
            beyond_ul = look.dispensed.volume_ul - self._ends_at_ul
            if -slack_ul / 2 <= beyond_ul <= 2 * slack_ul:
                self._stands(look)
                return "idle"
        return "infusing"

    def _stands(self, look: _Look) -> None:
        self._still_at, self._heard, self._seen_running = look.mark, "", False

    def _hear(self) -> None:
        """Take what was kept for this channel."""
        kept = self._mailbox(self.channel)
        while kept:
            event = kept.popleft()
            _log.info("%s: %s %s", self.name, event.state, event.cause)
            self._heard = event.state
            if event.state == "pumping":
                self._still_at, self._seen_running = None, True
            if event.cause in ("over-temperature", "over-current"):
                self._alarm = "overload"

    def _keep(self, events: list[wire.Event] | tuple[wire.Event, ...]) -> None:
        for event in events:
            self._mailbox(event.channel).append(event)

    def _mailbox(self, channel: int) -> deque[wire.Event]:
        port = _MAILBOXES.setdefault(self._transport, {})
        return port.setdefault(channel, deque(maxlen=16))

    def _meet(self) -> None:
        """Turn channel addressing and events on; learn who answers."""
        if not self._addressed():
            self._ask("~", "1", digit=self._entry.address, read=_done)
            if not self._addressed():
                raise DeviceRejected(f"{self.name}: the pump does not take channel addressing")
        self.identity = self._ask_identity()
        channels = self._ask("xA", digit=wire.ANY, read=_data(wire.decode_count))
        if self.channel > channels:
            raise InstrumentError(
                f"{self.name} is channel {self.channel} of a pump that has {channels}"
            )
        self._channels = channels
        self._met_generation = self._transport.generation
        self._ask("xE", "1", digit=wire.ANY, read=_done)

    def _meet_again(self) -> None:
        """Look that the pump is the same after the port was lost; changes nothing at it."""
        if self._transport.generation == self._met_generation:
            return
        generation = self._transport.generation
        if not self._addressed() or self._ask_identity() != self.identity:
            raise InstrumentError(
                f"{self.name}: after its port was lost another pump answers, or this one has lost "
                f"channel addressing; it was {self.identity!r}. Open the bench again"
            )
        self._met_generation = generation
        self._ready.begin()

    def _require_ready(self) -> None:
        """Look, right before a start, that its bytes will mean what they meant; `NotSent` otherwise.

        Without channel addressing the same bytes would start every channel of the pump.
        """
        if self._transport.generation != self._met_generation:
            raise NotSent(
                f"{self.name}: its port was lost and came back since its settings were read back; "
                "it was not started"
            )
        try:
            addressed = self._addressed()
        except InstrumentError as trouble:
            raise NotSent(f"{self.name} was not started: {trouble}") from trouble
        if not addressed:
            raise NotSent(
                f"{self.name}: the pump has left channel addressing, so that H would start all of "
                "it; was it switched off? It was not started; open the bench again"
            )
        self._hear()
        if self._still_at is None:
            raise NotSent(f"{self.name} has moved since it was prepared; it was not started")

    # --- the other channels

    def _standing_others(self) -> dict[int, float]:
        """Return the other channels that are shown to stand, with their counters in uL.

        Where ``E`` says that something runs, only the mark of a channel's own driver shows it.
        """
        standing = {}
        for channel in range(1, self._channels + 1):
            if channel == self.channel:
                continue
            counter_ul = self._counter_ul(channel)
            if self._ask("E", digit=channel, read=_sign):
                mark = _STILL.get(self._transport, {}).get(channel)
                lifetime_s = self._ask("xJ", digit=channel, read=_data(wire.decode_count))
                if mark != (counter_ul, lifetime_s):
                    continue
            standing[channel] = counter_ul
        return standing

    def _stop_others(self, others: Mapping[int, float]) -> list[int]:
        """Stop channels that nobody told to start; return those whose counter has grown."""
        for channel in others:
            self._ask("I", digit=channel, read=_done)
        return [
            channel for channel, before in others.items() if self._counter_ul(channel) != before
        ]

    def _look_around(self, answer: wire.Answer, others: Mapping[int, float]) -> None:
        """Look, right after H, that it started this channel and no other; `OutcomeUnknown` where it
        is not so, or can not be seen."""
        try:
            moved = self._stop_others(others)
            runs = self._ask("E", read=_sign)
            if answer.status in ("-", "#") and runs:
                self._stop_until_done()  # a start of all may have been refused for another channel
        except InstrumentError as trouble:
            raise self._unknown(
                f"after H nobody could see that no other channel moves: {trouble}"
            ) from trouble
        if moved:
            told = ", ".join(map(str, moved))
            _log.error("%s: channel %s moved at the start of another; stopped", self.name, told)
            raise self._unknown(
                f"channel {told} of the pump moved though nobody told it to, and was stopped: look "
                "at what it delivered"
            )
        if answer.status == "*" and not runs:
            raise self._unknown("H was acknowledged and nothing runs: another pump or channel?")
        if answer.status in ("-", "#") and runs:
            raise self._unknown(f"H was answered with {answer.status} and something runs")

    def _counter_ul(self, channel: int) -> float:
        return self._ask(":", digit=channel, read=_data(wire.decode_dispensed)).volume_ul

    def _unknown(self, told: str) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"{self.name}: {told}; read its counter before anything else",
            wire.encode_command(self.channel, "H"),
        )

    def _disarm(self) -> None:
        """Put the channel into a mode in which H is refused; only while it stands."""
        self._ensure('"', wire.decode_count, 0, '"', "0000", _done)
        self._ensure("xM", wire.decode_letter, DISARMED, DISARMED, "", _done)
        self._may_be_armed = False

    def _disarm_if_it_can(self) -> None:
        try:
            self._disarm()
        except InstrumentError as trouble:  # the next look at the channel tries again
            _log.warning("%s can still be started by a garbled command: %s", self.name, trouble)

    def _ask_identity(self) -> str:
        name = self._ask("#", digit=wire.ANY, read=_data(wire.decode_name))
        firmware = self._ask("(", digit=wire.ANY, read=_data(wire.decode_count))
        return f"{name} ({firmware:04d})"

    def _addressed(self) -> bool:
        """Ask whether the digit of a command is a channel, not a pump."""
        return self._ask("~", digit=self._entry.address, read=_data(wire.decode_count)) == 1

    def _check_tubing(self) -> None:
        found_mm = self._ask("+", read=_data(wire.decode_tubing))
        if found_mm != wire.exact(self._entry.tubing_id_mm):
            raise SyringeDiffers(
                f"{self.name}: channel {self.channel} of the pump is set for a tubing of {found_mm} "
                f"mm, lab.toml says {self._entry.tubing_id_mm:g} mm; look at the tubing, then "
                "correct lab.toml or confirm it"
            )

    def _require_idle(self, purpose: str) -> None:
        state, look = self._observe()
        if state != "idle":
            raise DeviceRejected(
                f"{self.name} counts as {state}: to {purpose} it must be shown to stand, and other "
                "channels of the pump run; stop it first"
            )

    def _ensure(
        self,
        query: str,
        decode: Callable[[str], T],
        wanted: T,
        verb: str,
        parameter: str,
        read: Callable[[wire.Answer], object],
    ) -> None:
        """Set only what differs, and read it back."""
        before = self._ask(query, read=_data(decode))
        if before == wanted:
            return
        _log.info("%s: %s was %s, is set to %s", self.name, query, before, wanted)
        self._ask(verb, parameter, read=read)
        after = self._ask(query, read=_data(decode))
        if after != wanted:
            raise DeviceRejected(
                f"{self.name}: {verb}{parameter} was accepted but {query} reads back as {after}, "
                f"not {wanted}; nothing moved"
            )

    def _stop_until_done(self) -> None:
        trouble: InstrumentError | None = None
        for _ in range(3):
            try:
                return self._ask("I", read=_done)
            except (DeviceRejected, TransportTimeout, FrameError) as failed:
                trouble = failed
                with suppress(InstrumentError):  # a pump that was switched off may have left it
                    self._ask("~", "1", digit=self._entry.address, read=_done)
        assert trouble is not None
        raise trouble

    def _reason(self) -> str:
        with suppress(InstrumentError):
            return self._ask("xe", read=_data(wire.decode_reason))
        return "it did not say why"

    def _ask(
        self,
        verb: str,
        parameter: str = "",
        *,
        digit: int | None = None,
        read: Callable[[wire.Answer], T],
    ) -> T:
        """Send one command and return what ``read`` makes of its answer; the only place that decides
        whether it may be sent again."""
        sent = wire.encode_command(self.channel if digit is None else digit, verb, parameter)
        retry = wire.VERBS[verb][0]
        again = retry == "safe"
        with self._transport.owned():
            while True:
                try:
                    frame = self._transport.exchange(
                        sent,
                        wire.answer_length,
                        deadline_s=self._deadline_s,
                        inter_byte_s=INTER_BYTE_S,
                    )
                    answer = wire.decode_answer(frame)
                    self._keep(answer.events)
                    return read(answer)
                except NotSent:
                    raise
                except DeviceRejected as refused:
                    raise DeviceRejected(f"{self.name} refused {sent!r}: {refused}") from refused
                except InstrumentError as trouble:
                    self._transport.garbled(trouble)
                    with suppress(InstrumentError):  # a port lost meanwhile is told by this error
                        told = self._transport.drain(quiet_s=0.05, limit_s=0.5)
                        self._keep(wire.events_in(told))
                    if again and isinstance(trouble, (TransportTimeout, FrameError)):
                        again = False
                        continue
                    asked = f"{self.name} (channel {self.channel}) on {sent!r}: {trouble}"
                    if retry == "never":
                        raise OutcomeUnknown(
                            f"{asked}. It may have started; its counter decides. Not sent again",
                            sent,
                        ) from trouble
                    raise type(trouble)(asked) from trouble


def _as_it_is(answer: wire.Answer) -> wire.Answer:
    return answer


def _done(answer: wire.Answer) -> None:
    if answer.status == "#":
        raise DeviceRejected("the pump says that it did not carry it out")
    if answer.status != "*":
        raise FrameError(f"{answer.status or answer.data!r} is no answer to a setting")


def _sign(answer: wire.Answer) -> bool:
    if answer.status not in ("+", "-"):
        raise FrameError(f"{answer.status or answer.data!r} is neither + nor -")
    return answer.status == "+"


def _data(decode: Callable[[str], T]) -> Callable[[wire.Answer], T]:
    def read(answer: wire.Answer) -> T:
        if answer.status == "#":
            raise DeviceRejected("the pump says that it did not carry it out")
        if answer.status:
            raise FrameError(f"{answer.status} came where data was asked")
        return decode(answer.data)

    return read


def _build(name: str, port: Transport, entry: RegloIccEntry, wait_s: Wait) -> RegloIcc:
    return RegloIcc(name, port, entry, wait_s)


def _recognise(frame: bytes) -> str | None:
    with suppress(FrameError):
        return wire.decode_name(wire.decode_answer(frame).data)
    return None


def _check_bus(pumps: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Only one pump can be on a port, and a channel has one name."""
    first = next(iter(pumps.values()))
    return [
        (name, f"is at address {pump.address}, another channel of this bus at {first.address}")
        for name, pump in pumps.items()
        if pump.address != first.address
    ]


MAKE: Final = Make(
    title="Ismatec Reglo ICC",
    kind="pump",
    entry=RegloIccEntry,
    build=_build,
    port=PortSettings(9600),
    unconfirmed=(
        "whether E tells of the whole pump or of the channel that it is asked with",
        "whether a channel's command wants the pump's address behind it, as some public drivers send",
        "whether W sets the counter of a channel back (documented for the Reglo Digital only)",
        "which events besides W set the counter back",
        "whether lifetime seconds grow while a channel runs or when it stops (lifetime_seconds)",
        "the spelling of volumes that are sent, which the manual shows in examples only",
        "whether the pump holds a flow rate to four digits or to its steps of 0.01 rpm",
        "whether a power cut ends channel addressing and events",
        "which turning direction moves liquid which way (direction)",
        "that H is refused in mode Q with no cycles, which keeps garbled starts from moving a channel",
    ),
    check_bus=_check_bus,
    power_proof=PowerProof("none that is certain", "never"),
    probe=Probe(b"1#\r", wire.answer_length, _recognise),
)

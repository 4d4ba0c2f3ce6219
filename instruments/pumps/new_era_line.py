"""Asking one NE-1000 pump on its bus, and the one place that decides what may be sent again.

Belongs here: one command and its answer. Not here: what a command is for (`new_era_ne1000`), frames
(`new_era_wire`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from instruments.errors import (
    DeviceAlarm,
    DeviceRejected,
    FrameError,
    InstrumentError,
    OutcomeUnknown,
)
from instruments.pumps import new_era_wire as wire
from instruments.transport import NotSent, Transport

STOP_DEADLINE_S: Final = 0.5
"""For the stop of a pump that answered to a start which was not meant for it."""

_log = logging.getLogger(__name__)


class _OtherPumpAnswered(FrameError):
    """A start was answered by the pump at another address: without a checksum, a bit of the address
    may have changed on the way."""

    def __init__(self, message: str, address: int) -> None:
        super().__init__(message)
        self.address = address


class NewEraLine:
    """The way to one pump: its address, the mode that it is in, and who hears of its alarms."""

    def __init__(
        self,
        name: str,
        transport: Transport,
        *,
        address: int,
        safe: bool,
        deadline_s: float,
        on_alarm: Callable[[str], None],
    ) -> None:
        self.name = name
        self.address = address
        self.safe = safe
        """True while the pump is believed to be in safe mode."""
        self._transport = transport
        self._deadline_s = deadline_s
        self._on_alarm = on_alarm

    def ask(
        self,
        text: str,
        *,
        either_mode: bool = False,
        tolerated: frozenset[str] = frozenset(),
        deadline_s: float | None = None,
    ) -> wire.Answer:
        """Send one command and return its answer; the only place that decides whether it may be
        sent again."""
        retry = wire.RETRY[text[:3]]
        lost_left, alarms_left = int(retry == "safe"), int(text in wire.RETRY and retry == "safe")
        sent = wire.encode_command(self.address, text, self.safe)
        with self._transport.owned():
            while True:
                try:
                    answer = self._exchange(sent, either_mode, deadline_s or self._deadline_s)
                except NotSent:
                    raise
                except _OtherPumpAnswered as other:
                    self._transport.garbled(other)
                    stopped = self._stop_other(other.address)
                    raise OutcomeUnknown(f"{self.name}: {other}; {stopped}", sent) from other
                except InstrumentError as trouble:
                    self._transport.garbled(trouble)
                    self._resync()
                    if lost_left:
                        lost_left -= 1
                        continue
                    raise self._lost(text, sent, retry, trouble) from trouble
                if answer.alarm:
                    self._on_alarm(answer.alarm)
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
                    self._transport.garbled(
                        FrameError(f"{text} did not arrive whole: {answer.error}")
                    )
                    lost_left -= 1
                    continue
                if answer.error is not None and answer.error not in tolerated:
                    raise DeviceRejected(
                        f"{self.name} refused {text!r}: ?{answer.error} "
                        f"({wire.ERRORS[answer.error]}), "
                        f"while {wire.STATES[answer.status]}"
                    )
                return answer

    def _exchange(self, sent: bytes, either_mode: bool, deadline_s: float) -> wire.Answer:
        """Return this pump's answer; what other pumps of the bus push is passed over, but in basic
        mode not another pump's answer to a start."""
        starts = not self.safe and wire.starts(sent)
        end = time.monotonic() + deadline_s
        frame = self._transport.exchange(
            sent, wire.answer_length, deadline_s=deadline_s, inter_byte_s=0.5
        )
        while True:
            answer = wire.decode_answer(frame)
            if answer.address == self.address:
                break
            bare = not answer.alarm and answer.error is None and not answer.data
            if starts and bare:  # as a start is answered; a late answer to a query has data
                raise _OtherPumpAnswered(
                    f"{sent!r} was answered by the pump at address {answer.address}, which may have "
                    "started instead",
                    answer.address,
                )
            _log.warning("%s: passed over %r of another pump", self.name, frame)
            left_s = end - time.monotonic()
            if left_s <= 0:
                raise FrameError(f"only pumps at other addresses answered, last {frame!r}")
            frame = self._transport.read_answer(
                wire.answer_length, deadline_s=left_s, inter_byte_s=0.5
            )
        if answer.safe != self.safe and not either_mode:
            raise FrameError(
                f"answer {frame!r} came in the other mode than {'safe' if self.safe else 'basic'}"
            )
        return answer

    def _stop_other(self, address: int) -> str:
        """Stop a pump that nobody told to start; return what became of it."""
        self._resync()
        sent = wire.encode_command(address, "STP", self.safe)
        for _ in range(6):
            try:
                frame = self._transport.exchange(
                    sent, wire.answer_length, deadline_s=STOP_DEADLINE_S, inter_byte_s=0.5
                )
                answer = wire.decode_answer(frame)
            except NotSent as refused:
                return f"it could not be stopped ({refused}) and MAY STILL RUN"
            except InstrumentError as trouble:
                self._transport.garbled(trouble)
                self._resync()
                continue
            if answer.address == address and answer.status == "S":
                return "it was stopped: look at what it delivered"
        return "it did not confirm STP and MAY STILL RUN: stop it by hand"

    def _resync(self) -> None:
        with suppress(InstrumentError):  # a port lost meanwhile is told by the error under way
            self._transport.drain(quiet_s=0.05, limit_s=0.5)

    def _lost(
        self, text: str, sent: bytes, retry: wire.Retry, trouble: InstrumentError
    ) -> InstrumentError:
        asked = f"{self.name} (address {self.address}) on {text or 'a status query'}: {trouble}"
        if retry == "never":
            return OutcomeUnknown(
                f"{asked}. It may have started; its counter decides. Not sent again", sent
            )
        return type(trouble)(asked)

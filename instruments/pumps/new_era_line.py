"""Asking one NE-1000 pump on its bus, and the one place that decides what may be sent again.

Belongs here: one command and its answer. Not here: what a command is for (`new_era_ne1000`), frames
(`new_era_wire`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress

from instruments.errors import (
    DeviceAlarm,
    DeviceRejected,
    FrameError,
    InstrumentError,
    OutcomeUnknown,
)
from instruments.pumps import new_era_wire as wire
from instruments.transport import NotSent, Transport

_log = logging.getLogger(__name__)


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
                except InstrumentError as trouble:
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
        """Return this pump's answer; alarms pushed by other pumps of the bus are passed over."""
        end = time.monotonic() + deadline_s
        frame = self._transport.exchange(
            sent, wire.answer_length, deadline_s=deadline_s, inter_byte_s=0.5
        )
        while True:
            answer = wire.decode_answer(frame)
            if answer.address == self.address:
                break
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

"""Bytes to a device and back: one owner per port, one transaction at a time, everything recorded,
every wait bounded.

Belongs here: opening, sending, waiting for a complete answer. Not here: what an answer means; that
is a driver's ``answer_length``, a pure function from the bytes so far to the length of the first
complete answer, or None. Deadlines are real seconds, also where study time is simulated: a wire has
no virtual clock.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import serial

from instruments.errors import InstrumentError, PortInUse, PortMissing, TransportTimeout
from instruments.port_lock import PortLock
from instruments.wire_recorder import WireRecorder

AnswerLength = Callable[[bytes], int | None]
"""Bytes received so far -> length of the first complete answer, or None while it is incomplete."""

POLL_S: Final = 0.02
"""Longest single wait inside a read; deadlines are met to within this."""
LONGEST_ANSWER: Final = 1 << 20
"""A device that babbles without ever completing an answer is cut off here, bytes."""

_log = logging.getLogger(__name__)


class NotSent(InstrumentError):
    """The transport refused before the first byte went out: the device has seen nothing."""

    code = "CL-403"


class Transport(Protocol):
    """What a driver needs of a port."""

    name: str

    def exchange(
        self, sent: bytes, answer_length: AnswerLength, *, deadline_s: float, inter_byte_s: float
    ) -> bytes:
        """Send, then return the first complete answer.

        ``deadline_s`` bounds the whole transaction, ``inter_byte_s`` the silence inside an answer
        that has begun. Raise `NotSent` before any byte, `TransportTimeout` or another
        `InstrumentError` after.
        """

    def read_answer(
        self, answer_length: AnswerLength, *, deadline_s: float, inter_byte_s: float
    ) -> bytes:
        """Return the next complete answer without sending anything."""

    def send_now(self, data: bytes) -> None:
        """Send at once, also while another thread waits for an answer; for an abort only."""

    def drain(self, *, quiet_s: float, limit_s: float) -> bytes:
        """Return and forget whatever still comes, until ``quiet_s`` of silence or ``limit_s`` in
        all."""

    def owned(self, *, urgent: bool = False) -> Any:
        """Hold the port for several exchanges (a context manager); an urgent owner goes before all
        who wait."""

    def reopen(self) -> None:
        """Open the port anew under the same lock, after it was lost."""

    def close(self) -> None:
        """Close the port; safe to repeat."""


class PortTurn:
    """A lock that a thread may take again while it has it, and that an urgent thread gets first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._owner: int | None = None
        self._depth = 0
        self._urgent_waiting = 0
        self.urgent = False
        """True while an urgent thread has the turn: a stop goes out even where the record is
        broken."""

    @contextmanager
    def taken(self, urgent: bool = False) -> Iterator[None]:
        """Hold the turn; wait for it as long as it takes (every holder is bounded by its own
        deadline)."""
        me = threading.get_ident()
        with self._changed:
            if self._owner != me:
                self._urgent_waiting += urgent
                while self._owner is not None or (self._urgent_waiting and not urgent):
                    self._changed.wait()
                self._urgent_waiting -= urgent
                self._owner = me
            self.urgent = self.urgent or urgent
            self._depth += 1
        try:
            yield
        finally:
            with self._changed:
                self._depth -= 1
                if not self._depth:
                    self._owner = None
                    self.urgent = False
                    self._changed.notify_all()


class SerialTransport:
    """A port by its pyserial URL: a device path, ``COM3``, ``socket://host:port``, ``rfc2217://host:port``.

    Opens on construction; `PortMissing` or `PortInUse` where it can not. On ``socket://`` the baud
    rate is the business of the serial server, and ``in_waiting`` tells only whether there is
    anything.
    """

    def __init__(
        self,
        url: str,
        *,
        baudrate: int,
        recorder: WireRecorder,
        stopbits: float = 1,
        lock_dir: Path | None = None,
    ) -> None:
        self.name = url
        self._baudrate, self._stopbits = baudrate, stopbits
        self._recorder = recorder
        self._turn = PortTurn()
        self._writing = threading.Lock()
        self._ahead = bytearray()
        self._lock = PortLock(url, lock_dir)
        try:
            self._port = self._open()
        except BaseException:
            self._lock.release()
            raise

    def exchange(
        self, sent: bytes, answer_length: AnswerLength, *, deadline_s: float, inter_byte_s: float
    ) -> bytes:
        """Send, then return the first complete answer; see `Transport`."""
        with self._turn.taken():
            self._drop_stale()
            self._recorder.bytes(self.name, "sent", sent)
            if self._recorder.trouble and not self._turn.urgent:
                raise NotSent(
                    f"port {self.name}: the wire record {self._recorder.path} can not be written "
                    f"({self._recorder.trouble}); make room or mend it; nothing was sent"
                )
            self._write(sent)
            return self.read_answer(answer_length, deadline_s=deadline_s, inter_byte_s=inter_byte_s)

    def read_answer(
        self, answer_length: AnswerLength, *, deadline_s: float, inter_byte_s: float
    ) -> bytes:
        """Return the next complete answer; bytes beyond it stay for the next read."""
        with self._turn.taken():
            begun = last = time.monotonic()
            while True:
                length = answer_length(bytes(self._ahead)) if self._ahead else None
                if length is not None:
                    answer = bytes(self._ahead[:length])
                    del self._ahead[:length]
                    return answer
                now = time.monotonic()
                if now - begun >= deadline_s or (self._ahead and now - last >= inter_byte_s):
                    part, self._ahead = bytes(self._ahead), bytearray()
                    came = f"only {part!r} came" if part else "nothing came"
                    raise TransportTimeout(
                        f"port {self.name}: {came} within {now - begun:.2f} s (allowed "
                        f"{deadline_s:g} s in all, "
                        f"{inter_byte_s:g} s between bytes); is the device switched on and cabled?"
                    )
                piece = self._read()
                if piece:
                    last = time.monotonic()
                    self._recorder.bytes(self.name, "received", piece)
                    self._ahead += piece
                    if len(self._ahead) > LONGEST_ANSWER:
                        self._ahead.clear()
                        raise TransportTimeout(
                            f"port {self.name}: {LONGEST_ANSWER} bytes came and no complete "
                            "answer among them"
                        )

    def send_now(self, data: bytes) -> None:
        """Send at once, beside a waiting reader."""
        self._recorder.bytes(self.name, "sent", data)
        self._write(data)

    def drain(self, *, quiet_s: float, limit_s: float) -> bytes:
        """Return and forget whatever still comes."""
        with self._turn.taken():
            gone, self._ahead = bytearray(self._ahead), bytearray()
            begun = last = time.monotonic()
            while (now := time.monotonic()) - last < quiet_s and now - begun < limit_s:
                if piece := self._read():
                    last = time.monotonic()
                    gone += piece
            if gone:
                self._recorder.bytes(self.name, "dropped", bytes(gone))
            return bytes(gone)

    @contextmanager
    def owned(self, *, urgent: bool = False) -> Iterator[None]:
        """Hold the port for several exchanges."""
        with self._turn.taken(urgent):
            yield

    def reopen(self) -> None:
        """Close and open the port again; the lock stays ours in between."""
        with self._turn.taken(urgent=True):
            self._close_port()
            self._ahead.clear()
            self._port = self._open()

    def close(self) -> None:
        """Close the port and give its lock back."""
        with self._turn.taken(urgent=True):
            self._close_port()
            self._recorder.note(self.name, "closed")
            self._lock.release()

    def _open(self) -> Any:
        try:
            port = serial.serial_for_url(
                self.name,
                baudrate=self._baudrate,
                stopbits=self._stopbits,
                timeout=POLL_S,
                write_timeout=1.0,
                exclusive=True,
            )
        except (serial.SerialException, OSError, ValueError) as trouble:
            raise _not_opened(self.name, trouble) from trouble
        self._recorder.note(self.name, f"opened at {self._baudrate} baud")
        return port

    def _close_port(self) -> None:
        try:
            self._port.close()
        except (serial.SerialException, OSError) as trouble:
            _log.warning("port %s: closing it failed: %s", self.name, trouble)

    def _drop_stale(self) -> None:
        """Forget what arrived unasked since the last answer, so that it can not pass for the next
        one."""
        stale, self._ahead = bytearray(self._ahead), bytearray()
        try:
            while self._port.in_waiting and len(stale) < LONGEST_ANSWER:
                stale += self._port.read(1)
        except (serial.SerialException, OSError, TypeError) as trouble:
            raise NotSent(f"{_lost(self.name, trouble)}; nothing was sent") from trouble
        if stale:
            self._recorder.bytes(self.name, "dropped", bytes(stale))

    def _write(self, data: bytes) -> None:
        with self._writing:
            try:
                # no flush: it waits for the line without a deadline, and the answer is waited for anyway
                self._port.write(data)
            except (serial.SerialException, OSError, TypeError) as trouble:
                self._recorder.note(self.name, f"lost while sending: {trouble}")
                raise InstrumentError(
                    f"{_lost(self.name, trouble)}; part of {data!r} may have gone out"
                ) from trouble

    def _read(self) -> bytes:
        """Return at least one byte, or nothing after `POLL_S`."""
        try:
            first: bytes = self._port.read(1)
            more = self._port.in_waiting if first else 0
            return first + (self._port.read(more) if more else b"")
        except (serial.SerialException, OSError, TypeError) as trouble:
            self._recorder.note(self.name, f"lost while reading: {trouble}")
            raise InstrumentError(_lost(self.name, trouble)) from trouble


def _lost(name: str, trouble: Exception) -> str:
    """Word the loss of an open port; pyserial raises TypeError where a closed port has no handle
    left."""
    return f"port {name} was lost ({trouble}); look at cable and device, then open the bench again"


def _not_opened(url: str, trouble: Exception) -> InstrumentError:
    in_use = getattr(trouble, "errno", None) in (errno.EBUSY, errno.EAGAIN, errno.EACCES) or any(
        word in str(trouble).lower() for word in ("access is denied", "exclusively lock", "busy")
    )
    if in_use and getattr(trouble, "errno", None) != errno.EACCES:
        return PortInUse(
            f"port {url} is held by another program ({trouble}); end it; nothing was sent"
        )
    if in_use:
        return PortInUse(
            f"port {url} may not be opened by this user or is held by another program "
            f"({trouble}); nothing was sent"
        )
    return PortMissing(
        f"port {url} can not be opened ({trouble}); check its name in lab.toml, the cable and "
        "that the device "
        "is switched on; nothing was sent"
    )

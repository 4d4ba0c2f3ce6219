"""Bytes to a device and back: one owner per port, one transaction at a time, everything recorded,
every wait bounded.

Belongs here: opening, sending, waiting for a complete answer, opening again what was lost. Not
here: what an answer means; that is a driver's ``answer_length``, a pure function from the bytes so
far to the length of the first complete answer, or None. Deadlines are real seconds, also where
study time is simulated: a wire has no virtual clock.

Nothing is ever sent twice here, and nothing is sent on a port that was opened again in the middle
of a driver's block: a block begins with a look at ``generation``, and whoever answers behind a new
plug may be another device.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Protocol

from chiploop.record.disk import full
from instruments import port_identity
from instruments.errors import FrameError, InstrumentError, Interrupted, TransportTimeout
from instruments.port_lock import PortLock, lock_name
from instruments.port_turn import NotSent as NotSent
from instruments.port_turn import PortTurn as PortTurn
from instruments.serial_port import (
    LOST,
    WRITE_LIMIT_S,
    close_port,
    give_up_port,
    open_port,
    still_open,
)
from instruments.serial_port import PortSettings as PortSettings
from instruments.wire_recorder import WireRecorder
from instruments.wire_troubles import GARBLED, SILENT
from instruments.wire_troubles import LOST as PORT_LOST

AnswerLength = Callable[[bytes], int | None]
"""Bytes received so far -> length of the first complete answer, or None while it is incomplete."""

OPEN_AGAIN_S: Final = 1.0
"""Shortest time between two tries to open a lost port."""
STOP_QUIET_S: Final = 0.03
"""Silence that a stop wants on a line where an answer was still awaited."""
STOP_WAITS_S: Final = 0.1
"""Longest time that a stop waits for that silence."""
LONGEST_ANSWER: Final = 1 << 20
"""A device that babbles without ever completing an answer is cut off here, bytes."""


class Transport(Protocol):
    """What a driver needs of a port."""

    name: str
    generation: int
    """Grows whenever the port was opened again after it was lost: the device must be met anew."""

    def exchange(
        self, sent: bytes, answer_length: AnswerLength, *, deadline_s: float, inter_byte_s: float
    ) -> bytes:
        """Send, then return the first complete answer.

        ``deadline_s`` bounds the whole transaction, ``inter_byte_s`` the silence inside an answer
        that has begun. Raise `NotSent` before any byte; `TransportTimeout` (`Interrupted` where a
        stop took the port) or another `InstrumentError` after.
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

    def garbled(self, trouble: InstrumentError) -> None:
        """Count an exchange that failed although an answer came; silence and a lost port the transport counts
        itself."""

    def owned(self, *, urgent: bool = False) -> Any:
        """Hold the port for several exchanges (a context manager).

        An urgent owner goes before all who wait, interrupts a pending answer (`Interrupted`) and
        breaks the blocks of others: what they still want to send is `NotSent`.
        """

    def reopen(self) -> None:
        """Open the port anew under the same lock, after it was lost."""

    def close(self) -> None:
        """Close the port; safe to repeat."""


class SerialTransport:
    """A port by its pyserial URL: a device path, ``COM3``, ``socket://host:port``,
    ``rfc2217://host:port``, or ``usb://VID:PID:SERIAL`` (see `port_identity`).

    Opens on construction; `PortMissing` or `PortInUse` where it can not. On ``socket://`` the baud
    rate is the business of the serial server, and ``in_waiting`` tells only whether there is
    anything. ``about`` is what the lock file says of the owner, for whoever wants to stop it. ``count`` hears the
    kind and the words of every trouble on this wire (`wire_troubles`), also where asking again mends it.
    """

    def __init__(
        self,
        url: str,
        *,
        settings: PortSettings,
        recorder: WireRecorder,
        lock_dir: Path | None = None,
        about: Mapping[str, Any] | None = None,
        count: Callable[[str, str], None] = lambda kind, told: None,
    ) -> None:
        self.name = url
        self.generation = 0
        self._settings = settings
        self._recorder = recorder
        self._lock_dir = lock_dir
        self._about = {
            **(about or {}),
            "settings": asdict(settings),
            "record": str(recorder.path.absolute()),
        }
        self._count = count
        self._turn = PortTurn(url)
        self._writing = threading.Lock()
        self._ahead = bytearray()
        self._closed = False
        self._lost = ""
        self._try_again_at_s = 0.0
        self._traffic_s = 0.0
        self._answer_awaited = False
        self._lock: PortLock | None = None
        self._port: Any = self._open()

    @property
    def lock_name(self) -> str:
        """Name of the lock under which the port is held now."""
        return self._lock.name if self._lock is not None else ""

    def exchange(
        self, sent: bytes, answer_length: AnswerLength, *, deadline_s: float, inter_byte_s: float
    ) -> bytes:
        """Send, then return the first complete answer; see `Transport`."""
        with self._turn.transaction() as alone:
            self._be_open(alone)
            self._clear_line()
            if stop := self._turn.interruption():
                raise NotSent(f"port {self.name}: {stop}; nothing was sent")
            self._recorder.bytes(self.name, "sent", sent)
            if self._recorder.is_full and not self._turn.urgent:
                raise full(
                    self._recorder.path
                )  # no silence of the device: whoever asks waits for room
            if self._recorder.trouble and not self._turn.urgent:
                raise NotSent(
                    f"port {self.name}: the wire record {self._recorder.path} can not be written "
                    f"({self._recorder.trouble}); make room or mend it; nothing was sent"
                )
            self._answer_awaited = True
            self._write(sent)
            return self._await(answer_length, deadline_s, inter_byte_s)

    def read_answer(
        self, answer_length: AnswerLength, *, deadline_s: float, inter_byte_s: float
    ) -> bytes:
        """Return the next complete answer; bytes beyond it stay for the next read."""
        with self._reading():
            return self._await(answer_length, deadline_s, inter_byte_s)

    def send_now(self, data: bytes) -> None:
        """Send at once, beside a waiting reader."""
        self._recorder.bytes(self.name, "sent", data)
        self._write(data)

    def drain(self, *, quiet_s: float, limit_s: float) -> bytes:
        """Return and forget whatever still comes."""
        with self._reading():
            return self._drain(quiet_s, limit_s, since_s=time.monotonic())

    def garbled(self, trouble: InstrumentError) -> None:
        """Count an exchange whose answer was no good; see `Transport`."""
        if isinstance(trouble, FrameError):
            self._count(GARBLED, str(trouble))

    @contextmanager
    def owned(self, *, urgent: bool = False) -> Iterator[None]:
        """Hold the port for several exchanges.

        A lost port is tried again here, before the block looks at ``generation``: `NotSent` where
        it is not back.
        """
        with self._turn.taken(urgent) as new:
            if new and not urgent and self._port is None:
                with self._turn.transaction():
                    self._be_open(alone=True)
            yield

    def refuse(self, reason: str | None) -> None:
        """Send nothing any more but what is urgent, and interrupt a pending answer, until None."""
        self._turn.refuse(reason)

    def note(self, text: str) -> None:
        """Put on record what happened around this port."""
        self._recorder.note(self.name, text)

    def reopen(self) -> None:
        """Close and open the port again; the lock stays ours in between."""
        with self._turn.taken(urgent=True), self._turn.transaction():
            if self._closed:
                raise NotSent(f"port {self.name} is closed; nothing was sent")
            self._abandon()
            self._lost = self._lost or "closed to be opened anew"
            self._open_again()

    def close(self) -> None:
        """Close the port and give its lock back; safe to repeat."""
        with self._turn.taken(urgent=True):
            if self._closed:
                return
            self._closed = True
            with self._writing:
                port, self._port = self._port, None
                if port is not None:
                    close_port(port)
            self._recorder.note(self.name, "closed")
            if self._lock is not None:
                self._lock.release()

    # --- opening, and opening again

    def _open(self) -> Any:
        """Return the opened port, under the lock of the path that it has now."""
        where = port_identity.resolve(self.name)
        lock = self._lock
        if lock is None or lock.name != lock_name(where):
            about = {"url": self.name, **self._about}
            lock = PortLock(where, self._lock_dir, about)
        try:
            port = open_port(self.name, where, self._settings)
        except InstrumentError:
            if lock is not self._lock:
                lock.release()
            raise
        if lock is not self._lock:
            if self._lock is not None:
                self._lock.release()
            self._lock = lock
        at = "" if where == self.name else f" on {where}"
        self._recorder.note(self.name, f"opened{at} at {self._settings.baudrate} baud")
        return port

    def _open_again(self) -> None:
        try:
            port = self._open()
        finally:
            self._try_again_at_s = time.monotonic() + OPEN_AGAIN_S
        with self._writing:
            self._port, self._lost = port, ""
        self._ahead.clear()
        self._answer_awaited = False
        self.generation += 1

    def _be_open(self, alone: bool) -> None:
        """Return with an open port; `NotSent` where there is none to be had, or where the block
        under way began with another one."""
        if self._closed:
            raise NotSent(f"port {self.name} is closed; nothing was sent")
        if self._port is not None:
            return
        if not self._turn.urgent:
            if not alone:
                raise NotSent(f"port {self.name} was lost ({self._lost}); nothing more was sent")
            if time.monotonic() < self._try_again_at_s:
                raise NotSent(
                    f"port {self.name} was lost ({self._lost}) and is tried again every "
                    f"{OPEN_AGAIN_S:g} s; look at cable and device; nothing was sent"
                )
        try:
            self._open_again()
        except InstrumentError as trouble:
            raise NotSent(
                f"port {self.name} was lost ({self._lost}) and is not back: {trouble}"
            ) from trouble

    def _lose(self, doing: str, trouble: Exception) -> str:
        """Give up an open port that failed; return what to tell people."""
        if self._port is not None:
            self._recorder.note(self.name, f"lost while {doing}: {trouble}")
            self._count(PORT_LOST, f"while {doing}: {trouble}")
            self._lost = str(trouble)
            self._abandon()
        return f"port {self.name} was lost ({self._lost}); look at cable and device"

    def _abandon(self) -> None:
        """Close the port, and see to it that nothing which is still queued goes out later."""
        port, self._port = self._port, None
        if port is not None:
            give_up_port(port)

    # --- bytes

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Hold the turn for bytes that were asked for before: what hinders says `Interrupted`, not
        that nothing was sent."""
        try:
            with self._turn.transaction():
                if self._port is None:
                    raise InstrumentError(
                        f"port {self.name} {f'was lost ({self._lost})' if self._lost else 'is closed'}"
                    )
                yield
        except NotSent as broken:
            raise Interrupted(str(broken).removesuffix("; nothing was sent")) from broken

    def _await(self, answer_length: AnswerLength, deadline_s: float, inter_byte_s: float) -> bytes:
        begun = last = time.monotonic()
        while True:
            length = answer_length(bytes(self._ahead)) if self._ahead else None
            if length is not None:
                answer = bytes(self._ahead[:length])
                del self._ahead[:length]
                self._answer_awaited = False
                return answer
            now = time.monotonic()
            stop = self._turn.interruption()
            if stop or now - begun >= deadline_s or (self._ahead and now - last >= inter_byte_s):
                part, self._ahead = bytes(self._ahead), bytearray()
                came = f"only {part!r} came" if part else "nothing came"
                if stop:
                    raise Interrupted(
                        f"port {self.name}: {stop}; {came} in the {now - begun:.2f} s before"
                    )
                self._count(SILENT, came)
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

    def _clear_line(self) -> None:
        """Forget what arrived unasked since the last answer, so that it can not pass for the next
        one; a stop also waits a moment for the rest of an answer that it has cut short."""
        if not self._turn.urgent:
            self._drop_stale()
            return
        try:
            if self._answer_awaited:
                self._drain(STOP_QUIET_S, STOP_WAITS_S, since_s=self._traffic_s)
            self._drop_stale()
        except InstrumentError:  # lost, unnoticed until now
            self._be_open(alone=True)

    def _drop_stale(self) -> None:
        stale, self._ahead = bytearray(self._ahead), bytearray()
        try:
            while still_open(self._port).in_waiting and len(stale) < LONGEST_ANSWER:
                piece = self._port.read(1)
                if not piece:
                    break
                stale += piece
        except LOST as trouble:
            raise NotSent(f"{self._lose('idle', trouble)}; nothing was sent") from trouble
        if stale:
            self._recorder.bytes(self.name, "dropped", bytes(stale))

    def _drain(self, quiet_s: float, limit_s: float, since_s: float) -> bytes:
        """Forget what comes until ``quiet_s`` after the last byte (``since_s`` where none comes)."""
        gone, self._ahead = bytearray(self._ahead), bytearray()
        begun, last = time.monotonic(), since_s
        try:
            while (now := time.monotonic()) - last < quiet_s and now - begun < limit_s:
                if self._turn.interruption():
                    raise Interrupted(f"port {self.name}: a stop came while its line was drained")
                if piece := self._read():
                    last = time.monotonic()
                    gone += piece
            self._answer_awaited = False
        finally:
            if gone:
                self._recorder.bytes(self.name, "dropped", bytes(gone))
        return bytes(gone)

    def _write(self, data: bytes) -> None:
        """Write in pieces that the line takes in half of the limit, so that only a device which
        takes nothing runs into it."""
        piece = max(1, min(256, int(self._settings.baudrate / 10 * WRITE_LIMIT_S / 2)))
        with self._writing:
            try:
                # no flush: it waits for the line without a deadline, and the answer is waited for anyway
                for at in range(0, len(data), piece):
                    still_open(self._port).write(data[at : at + piece])
            except LOST as trouble:
                raise InstrumentError(
                    f"{self._lose('sending', trouble)}; part of {data!r} may have gone out"
                ) from trouble
            finally:
                self._traffic_s = time.monotonic()

    def _read(self) -> bytes:
        """Return at least one byte, or nothing after `POLL_S`."""
        try:
            port = still_open(self._port)
            first: bytes = port.read(1)
            more = port.in_waiting if first else 0
            piece = first + (port.read(more) if more else b"")
        except LOST as trouble:
            raise InstrumentError(self._lose("reading", trouble)) from trouble
        if piece:
            self._traffic_s = time.monotonic()
        return piece

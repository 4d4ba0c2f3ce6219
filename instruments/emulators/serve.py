"""Byte servers: emulated devices on TCP loopback and, where the system has them, on ptys.

Belongs here: sockets, ptys, one loop that serves them all. Not here: what a device answers.

One thread runs everything, so whatever is served needs no lock. Answers leave only after
``before_send`` has run: a state saved there is never behind what a client has heard. A device talks
to one TCP client at a time; the next one waits until the first has left.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

try:
    import pty
    import tty
except ImportError:  # Windows has no ptys
    HAS_PTYS = False
else:
    HAS_PTYS = True

LOOPBACK = "127.0.0.1"
CHUNK = 65_536
MOST_WAITING_BYTES = 4_000_000
"""Output that nobody reads is dropped beyond this."""
LONGEST_REQUEST = 10_000_000


class Wire(Protocol):
    """What can be served: a device behind a wire, see ``faults.FaultyWire``."""

    @property
    def unplugged(self) -> bool:
        """True while nobody can reach the device."""

    def receive(self, data: bytes) -> bytes:
        """Take bytes; return the answer."""

    def poll(self) -> bytes:
        """Let time act; return what the device sends of itself."""


@dataclass(frozen=True)
class Address:
    """Where a device can be reached."""

    tcp: str
    """A pyserial URL, ``socket://127.0.0.1:port``."""
    pty: str | None
    """Path of the pty; None where the system has none."""


class _Line:
    """One open connection: a socket or the far end of a pty."""

    def __init__(self, descriptor: socket.socket | int) -> None:
        self.descriptor = descriptor
        self.out = bytearray()
        self.partial = bytearray()

    def read(self) -> bytes | None:
        """Return what has come, ``b""`` for nothing, None at the end of the connection."""
        try:
            if isinstance(self.descriptor, int):
                return os.read(self.descriptor, CHUNK) or None
            return self.descriptor.recv(CHUNK) or None
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError:
            return None

    def say(self, data: bytes) -> None:
        if len(self.out) < MOST_WAITING_BYTES:
            self.out += data

    def flush(self) -> None:
        try:
            while self.out:
                if isinstance(self.descriptor, int):
                    sent = os.write(self.descriptor, self.out)
                else:
                    sent = self.descriptor.send(self.out)
                del self.out[:sent]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.out.clear()

    def close(self) -> None:
        if isinstance(self.descriptor, int):
            os.close(self.descriptor)
        else:
            self.descriptor.close()


class _DevicePort:
    """One device with its listener, its pty and whoever is connected."""

    def __init__(self, wire: Wire, with_pty: bool, tcp_port: int) -> None:
        self.wire = wire
        self.listener = _listen(tcp_port)
        self.client: _Line | None = None
        self.with_pty = with_pty and HAS_PTYS
        self.pty: _Line | None = None
        self.pty_path: str | None = None
        self.client_end: int | None = None
        self.heard_from: _Line | None = None

    def open_pty(self) -> None:
        """Open a pty in raw mode; our copy of the client's end keeps it alive between clients."""
        far_end, self.client_end = pty.openpty()
        tty.setraw(self.client_end)
        os.set_blocking(far_end, False)
        self.pty, self.pty_path = _Line(far_end), os.ttyname(self.client_end)

    def close_pty(self) -> None:
        if self.pty is not None and self.client_end is not None:
            self.pty.close()
            os.close(self.client_end)
        self.pty = self.pty_path = self.client_end = None


class Switchboard:
    """Serves devices and line-based requests, all in the one thread that calls ``run``."""

    def __init__(
        self, before_send: Callable[[], None] = lambda: None, tick_s: float = 0.02
    ) -> None:
        self._before_send, self._tick_s = before_send, tick_s
        self._selector = selectors.DefaultSelector()
        self._ports: dict[str, _DevicePort] = {}
        self._requests: list[tuple[socket.socket, Callable[[str], str]]] = []
        self._request_lines: dict[_Line, Callable[[str], str]] = {}
        self._stopping = False
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ, self._heard_bell)

    def add_device(
        self, name: str, wire: Wire, with_pty: bool = True, tcp_port: int = 0
    ) -> Address:
        """Serve a device on a TCP port (0: a free one) and, where there are ptys, on one of them.

        OSError where the TCP port is taken.
        """
        port = self._ports[name] = _DevicePort(wire, with_pty, tcp_port)
        self._watch(port.listener, lambda: self._accept_device(port))
        if port.with_pty:
            self._open_pty(port)
        return self.address(name)

    def address(self, name: str) -> Address:
        """Return where a device is now; a pty has a new path after it was plugged in again."""
        port = self._ports[name]
        return Address(f"socket://{LOOPBACK}:{port.listener.getsockname()[1]}", port.pty_path)

    def add_requests(self, answer: Callable[[str], str]) -> tuple[str, int]:
        """Serve one answer line per request line, to any number of clients; return the address."""
        listener = _listen()
        self._requests.append((listener, answer))
        self._watch(listener, lambda: self._accept_requests(listener, answer))
        return LOOPBACK, listener.getsockname()[1]

    def run(self) -> None:
        """Serve until ``stop``; then finish every byte that has already arrived."""
        while not self._stopping:
            for key, _ in self._selector.select(self._tick_s):
                key.data()
            self._let_time_act()
            self._send()
        self._drain()

    def stop(self) -> None:
        """Make ``run`` return; may be called from any thread and from a signal handler."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._bell.send(b"\0")

    def close(self) -> None:
        """Close every port."""
        for port in self._ports.values():
            port.listener.close()
            port.close_pty()
            if port.client is not None:
                port.client.close()
        for line in self._request_lines:
            line.close()
        for listener, _ in self._requests:
            listener.close()
        self._selector.close()
        self._ear.close()
        self._bell.close()

    # --- what the loop does

    def _watch(self, source: socket.socket | int, act: Callable[[], object]) -> None:
        self._selector.register(source, selectors.EVENT_READ, act)

    def _heard_bell(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(CHUNK)

    def _open_pty(self, port: _DevicePort) -> None:
        port.open_pty()
        line = port.pty
        assert line is not None
        self._watch(line.descriptor, lambda: self._serve_device(port, line))

    def _accept_device(self, port: _DevicePort) -> bool:
        """Take the next client of a device; False where none is waiting."""
        line = _accept(port.listener)
        if line is None:
            return False
        if port.wire.unplugged:
            line.close()
            return True
        port.client = line
        self._selector.unregister(port.listener)
        self._watch(line.descriptor, lambda: self._serve_device(port, line))
        return True

    def _serve_device(self, port: _DevicePort, line: _Line) -> None:
        data = line.read()
        if data is None:
            self._hang_up(port, line)
        elif data:
            port.heard_from = line
            line.say(port.wire.receive(data))

    def _hang_up(self, port: _DevicePort, line: _Line) -> None:
        self._selector.unregister(line.descriptor)
        if port.heard_from is line:
            port.heard_from = None
        if line is port.pty:
            port.close_pty()
        else:
            line.close()
            port.client = None
            self._watch(port.listener, lambda: self._accept_device(port))

    def _accept_requests(self, listener: socket.socket, answer: Callable[[str], str]) -> None:
        line = _accept(listener)
        if line is not None:
            self._request_lines[line] = answer
            self._watch(line.descriptor, lambda: self._serve_requests(line))

    def _serve_requests(self, line: _Line) -> None:
        data = line.read()
        line.partial += data or b""
        *whole, rest = bytes(line.partial).split(b"\n")
        line.partial = bytearray(rest)
        for request in whole:
            answer = self._request_lines[line](request.decode("utf-8", "replace"))
            line.say(answer.encode() + b"\n")
        if data is None or len(rest) > LONGEST_REQUEST:
            self._before_send()
            line.flush()
            self._selector.unregister(line.descriptor)
            del self._request_lines[line]
            line.close()

    def _let_time_act(self) -> None:
        for port in self._ports.values():
            unasked = port.wire.poll()
            if unasked and port.heard_from is not None:
                port.heard_from.say(unasked)
            if port.wire.unplugged:
                for line in (port.client, port.pty):
                    if line is not None:
                        self._hang_up(port, line)
            elif port.with_pty and port.pty is None:
                self._open_pty(port)

    def _send(self) -> None:
        self._before_send()
        for line in self._lines():
            if line.out:
                line.flush()

    def _lines(self) -> list[_Line]:
        device_lines = [line for port in self._ports.values() for line in (port.client, port.pty)]
        return [line for line in (*device_lines, *self._request_lines) if line is not None]

    def _drain(self) -> None:
        """Finish what has arrived: bytes unread, and clients that nobody has answered yet."""
        for port in self._ports.values():
            if port.pty is not None:
                self._serve_device(port, port.pty)
            while port.client is not None or self._accept_device(port):
                if port.client is not None and not self._read_once(port, port.client):
                    break
        for listener, answer in self._requests:
            self._accept_requests(listener, answer)
        for line in list(self._request_lines):
            self._serve_requests(line)
        self._let_time_act()
        deadline_s = time.monotonic() + 0.2
        self._send()
        while any(line.out for line in self._lines()) and time.monotonic() < deadline_s:
            time.sleep(0.005)
            self._send()

    def _read_once(self, port: _DevicePort, line: _Line) -> bool:
        """Read what a client has sent; False once it is silent but still there."""
        data = line.read()
        if data is None:
            self._hang_up(port, line)
        elif data:
            port.heard_from = line
            line.say(port.wire.receive(data))
        return data != b""


@contextlib.contextmanager
def in_background(board: Switchboard) -> Iterator[Switchboard]:
    """Run a switchboard in a thread of its own; stop and close it at the end."""
    thread = threading.Thread(target=board.run, name="switchboard", daemon=True)
    thread.start()
    try:
        yield board
    finally:
        board.stop()
        thread.join(timeout=5)
        board.close()


def _listen(tcp_port: int = 0) -> socket.socket:
    listener = socket.create_server((LOOPBACK, tcp_port), backlog=16)
    listener.setblocking(False)
    return listener


def _accept(listener: socket.socket) -> _Line | None:
    try:
        connection, _ = listener.accept()
    except OSError:
        return None
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _Line(connection)

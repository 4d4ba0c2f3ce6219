"""Byte servers: TCP and pty, one client after another, answers only after what must come before."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
import serial

from instruments.emulators.faults import Fault, FaultyWire
from instruments.emulators.ne1000 import Ne1000, Ne1000Settings
from instruments.emulators.serve import HAS_PTYS, Address, Switchboard, in_background

VERSION = b"\x0200SNE1000V3.61\x03"


class Bench:
    """One pump on a switchboard that runs."""

    def __init__(self) -> None:
        self.pump = Ne1000(Ne1000Settings(), lambda: 0.0, time.monotonic)
        self.pump.receive(b"0\r")
        self.wire = FaultyWire(self.pump, time.monotonic)
        self.saved: list[int] = []
        self.board = Switchboard(before_send=lambda: self.saved.append(self.pump.revision))
        self.address: Address = self.board.add_device("pump", self.wire)
        self.requests = self.board.add_requests(str.upper)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    with in_background(made.board):
        yield made


def ask(url: str, sent: bytes, length: int) -> bytes:
    with serial.serial_for_url(url, timeout=3) as port:
        port.write(sent)
        return bytes(port.read(length))


def test_device_answers_over_tcp_to_one_client_after_another(bench: Bench) -> None:
    for _ in range(5):
        assert ask(bench.address.tcp, b"0VER\r", len(VERSION)) == VERSION


@pytest.mark.skipif(not HAS_PTYS, reason="this system has no ptys")
def test_device_answers_over_a_pty_to_one_client_after_another(bench: Bench) -> None:
    assert bench.address.pty is not None
    for _ in range(3):
        assert ask(bench.address.pty, b"0VER\r", len(VERSION)) == VERSION
    assert ask(bench.address.tcp, b"0VER\r", len(VERSION)) == VERSION


def test_second_client_waits_until_the_first_has_left(bench: Bench) -> None:
    with serial.serial_for_url(bench.address.tcp, timeout=3) as first:
        first.write(b"0VER\r")
        assert first.read(len(VERSION)) == VERSION
        second = serial.serial_for_url(bench.address.tcp, timeout=0.2)
        second.write(b"0\r")
        assert second.read(5) == b""
    second.timeout = 3
    assert second.read(5) == b"\x0200S\x03"
    second.close()


def test_state_is_saved_before_the_answer_leaves(bench: Bench) -> None:
    ask(bench.address.tcp, b"0VOL 5\r", 5)
    assert bench.pump.revision in bench.saved


def test_unplugged_device_hangs_up_and_answers_again_when_plugged_in(bench: Bench) -> None:
    bench.wire.arm(Fault("unplug", seconds=0.3))
    host, port = bench.address.tcp.removeprefix("socket://").split(":")
    with socket.create_connection((host, int(port)), timeout=3) as client:
        client.sendall(b"0VER\r")
        assert client.recv(100) == b""
    time.sleep(0.4)
    assert ask(bench.address.tcp, b"0VER\r", len(VERSION)) == VERSION


@pytest.mark.skipif(not HAS_PTYS, reason="this system has no ptys")
def test_unplugged_pty_is_gone_for_its_client_and_comes_back_as_a_new_one(bench: Bench) -> None:
    assert bench.address.pty is not None
    with serial.serial_for_url(bench.address.pty, timeout=3) as port:
        bench.wire.unplug(0.2)
        with pytest.raises(serial.SerialException):
            port.read(1)
    time.sleep(0.4)
    path = bench.board.address("pump").pty
    assert path is not None
    assert ask(path, b"0VER\r", len(VERSION)) == VERSION


def test_late_bytes_reach_the_client(bench: Bench) -> None:
    bench.wire.arm(Fault("split", at_byte=4, seconds=0.1))
    assert ask(bench.address.tcp, b"0VER\r", len(VERSION)) == VERSION


def test_requests_are_answered_line_by_line_to_several_clients(bench: Bench) -> None:
    with (
        socket.create_connection(bench.requests, timeout=3) as one,
        socket.create_connection(bench.requests, timeout=3) as two,
    ):
        two.sendall(b"second\n")
        assert two.recv(100) == b"SECOND\n"
        one.sendall(b"a\nb")
        assert one.recv(100) == b"A\n"
        one.sendall(b"c\n")
        assert one.recv(100) == b"BC\n"


def test_bytes_that_have_arrived_are_finished_when_serving_ends() -> None:
    bench = Bench()
    host, port = bench.address.tcp.removeprefix("socket://").split(":")
    with (
        socket.create_connection((host, int(port))) as first,
        socket.create_connection((host, int(port))) as second,
    ):
        first.sendall(b"0VOL 5\r")
        first.shutdown(socket.SHUT_WR)
        second.sendall(b"0RAT 7 UH\r")
        second.shutdown(socket.SHUT_WR)
        bench.board.stop()
        bench.board.run()
        bench.board.close()
    assert bench.pump.receive(b"0VOL\r0RAT\r") == b"\x0200S5.000ML\x03\x0200S7.000UH\x03"

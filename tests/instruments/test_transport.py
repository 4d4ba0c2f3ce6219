"""Ports: deadlines, owners, records, lost cables, and whose turn it is."""

import errno
import json
import os
import socket
import threading
import time
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import pytest
import serial
from serial import rfc2217
from serial.rfc2217 import PortManager
from serial.urlhandler import protocol_socket

from chiploop.record.disk import DiskFull
from instruments import port_identity
from instruments.errors import (
    FrameError,
    InstrumentError,
    Interrupted,
    PortInUse,
    PortMissing,
    TransportTimeout,
)
from instruments.port_lock import PortLock, lock_name
from instruments.transport import NotSent, PortSettings, SerialTransport
from instruments.wire_recorder import WireRecorder
from instruments.wire_troubles import TroubleBook
from tests.instruments.tcp_device import device

try:
    import tty
except ImportError:  # Windows has none
    pass


def line_length(received: bytes) -> int | None:
    return received.find(b"\n") + 1 or None


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Open a transport on a URL; everything is closed afterwards."""
    ports = []
    for client in (protocol_socket, rfc2217):  # they sleep 0.3 s whenever they are closed
        quick = SimpleNamespace(time=time.time, sleep=lambda s: time.sleep(min(s, 0.01)))
        monkeypatch.setattr(client, "time", quick)

    def open_port(url, lock_dir=tmp_path / "locks", **more):
        recorder = WireRecorder(tmp_path / "wire.jsonl")
        ports.append(recorder)
        transport = SerialTransport(
            url, settings=PortSettings(9600), recorder=recorder, lock_dir=lock_dir, **more
        )
        ports.insert(0, transport)
        return transport

    yield open_port
    for port in ports:
        port.close()


def wire_of(tmp_path):
    return [json.loads(line) for line in (tmp_path / "wire.jsonl").read_text().splitlines()]


def test_answer_that_comes_in_pieces_is_whole_and_every_byte_is_on_record(opened, tmp_path):
    with device(lambda piece: [b"he", b"llo\n"]) as url:
        answer = opened(url).exchange(b"hi\r", line_length, deadline_s=2, inter_byte_s=1)
    assert answer == b"hello\n"
    entries = [entry for entry in wire_of(tmp_path) if "hex" in entry]
    assert entries[0]["direction"] == "sent" and entries[0]["hex"] == b"hi\r".hex()
    assert bytes.fromhex("".join(e["hex"] for e in entries[1:])) == b"hello\n"
    assert all({"monotonic_s", "wall", "port"} <= set(entry) for entry in entries)


def test_silent_device_is_given_up_at_the_deadline(opened):
    with device(lambda piece: None) as url:
        port = opened(url)
        begun = time.monotonic()
        with pytest.raises(TransportTimeout, match="nothing came"):
            port.exchange(b"hi\r", line_length, deadline_s=0.3, inter_byte_s=1)
    assert 0.3 <= time.monotonic() - begun < 1.0


def test_device_that_stops_in_the_middle_is_given_up_after_the_limit_between_bytes(opened):
    with device(lambda piece: [b"hel"]) as url:
        port = opened(url)
        begun = time.monotonic()
        with pytest.raises(TransportTimeout, match="only b'hel' came"):
            port.exchange(b"hi\r", line_length, deadline_s=10, inter_byte_s=0.2)
    assert time.monotonic() - begun < 2.0


def test_late_answer_does_not_pass_for_the_next_one(opened, tmp_path):
    answers = iter([[b"late\n", b"again\n"], [b"second\n"]])
    with device(lambda piece: next(answers)) as url:
        port = opened(url)
        assert port.exchange(b"1\r", line_length, deadline_s=2, inter_byte_s=1) == b"late\n"
        time.sleep(0.1)
        assert port.exchange(b"2\r", line_length, deadline_s=2, inter_byte_s=1) == b"second\n"
    dropped = [entry for entry in wire_of(tmp_path) if entry["direction"] == "dropped"]
    assert [bytes.fromhex(entry["hex"]) for entry in dropped] == [b"again\n"]


def test_silence_a_bad_answer_and_a_lost_port_are_counted_and_nothing_else(opened):
    book = TroubleBook()
    count = partial(book.count, "pumps")
    with device(lambda piece: [b"hello\n"] if piece == b"hi\r" else []) as url:
        port = opened(url, count=count)
        port.exchange(b"hi\r", line_length, deadline_s=2, inter_byte_s=1)
        assert book.take() == ()
        with pytest.raises(TransportTimeout) as silent:
            port.exchange(b"?\r", line_length, deadline_s=0.05, inter_byte_s=1)
        for trouble in (silent.value, FrameError("'hxllo'"), FrameError("'hyllo'")):
            port.garbled(trouble)
    with pytest.raises(InstrumentError):
        port.exchange(b"hi\r", line_length, deadline_s=2, inter_byte_s=1)
    found = {one.kind: (one.port, one.times, one.last) for one in book.take()}
    assert found["no answer"] == ("pumps", 1, "nothing came")
    assert found["garbled"] == ("pumps", 2, "'hyllo'")
    assert found["port lost"][:2] == ("pumps", 1)
    assert book.take() == ()


def test_drain_returns_what_still_comes_until_the_line_is_quiet(opened):
    with device(lambda piece: [b"a\n", b"b", b"c"]) as url:
        port = opened(url)
        port.exchange(b"1\r", line_length, deadline_s=2, inter_byte_s=1)
        assert port.drain(quiet_s=0.6, limit_s=3) == b"bc"


def test_device_that_hangs_up_is_an_instrument_error_and_can_be_reopened(opened):
    answers = iter(["hang up", [b"back\n"]])
    with device(lambda piece: next(answers)) as url:
        port = opened(url)
        with pytest.raises(InstrumentError, match="lost"):
            port.exchange(b"1\r", line_length, deadline_s=2, inter_byte_s=1)
        port.reopen()
        assert port.exchange(b"2\r", line_length, deadline_s=2, inter_byte_s=1) == b"back\n"


def test_port_that_does_not_exist_says_its_name_and_that_nothing_was_sent(opened):
    for url in ("/dev/does-not-exist", "socket://127.0.0.1:1", "nonsense://x"):
        with pytest.raises(PortMissing, match="nothing was sent") as told:
            opened(url)
        assert url in str(told.value)


def test_second_owner_of_a_port_in_the_same_process_is_refused(opened):
    with device(lambda piece: None) as url:
        opened(url)
        with pytest.raises(PortInUse, match="nothing was sent") as told:
            opened(url)
    assert url in str(told.value)
    assert f"process {os.getpid()}" in str(told.value)


def test_lock_is_given_back_when_the_port_can_not_be_opened(opened, tmp_path):
    for _ in range(2):
        with pytest.raises(PortMissing):
            opened("/dev/does-not-exist")


def test_nothing_is_sent_where_it_can_not_be_recorded_but_a_stop_is(opened, tmp_path):
    received = []

    def answer(piece):
        received.append(piece)
        return [b"ok\n"]

    with device(answer) as url:
        port = opened(url)
        port._recorder.trouble = "no space left on device"
        with pytest.raises(NotSent, match="no space left"):
            port.exchange(b"RUN\r", line_length, deadline_s=2, inter_byte_s=1)
        with port.owned(urgent=True):
            port.exchange(b"STP\r", line_length, deadline_s=2, inter_byte_s=1)
    assert received == [b"STP\r"]


def test_on_a_full_disk_the_disk_is_named_and_not_the_device_and_a_stop_goes_all_the_same(opened):
    received = []

    def answer(piece):
        received.append(piece)
        return [b"ok\n"]

    class Full:
        def write(self, line):
            raise OSError(errno.ENOSPC, "No space left on device")

    with device(answer) as url:
        port = opened(url)
        file, port._recorder._file = port._recorder._file, Full()
        with pytest.raises(DiskFull, match="could not be written"):
            port.exchange(b"RUN\r", line_length, deadline_s=2, inter_byte_s=1)
        with port.owned(urgent=True):
            port.exchange(b"STP\r", line_length, deadline_s=2, inter_byte_s=1)
        port._recorder._file = file
        port.exchange(b"DIS\r", line_length, deadline_s=2, inter_byte_s=1)
    assert received == [b"STP\r", b"DIS\r"]


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo terminals on this system")
def test_device_path_carries_binary_and_tells_an_unplugged_cable(opened):
    master, slave = os.openpty()
    port = opened(os.ttyname(slave))
    os.close(slave)
    os.write(master, bytes([0x11, 0x13, 0x0D, 0x03, 0x0A]))
    assert port.read_answer(line_length, deadline_s=2, inter_byte_s=1) == b"\x11\x13\r\x03\n"
    os.close(master)
    with pytest.raises(InstrumentError, match="lost"):
        port.exchange(b"hi\r", line_length, deadline_s=1, inter_byte_s=1)


# --- a stop jumps the queue


@contextmanager
def pending(port, seconds=20.0):
    """Wait for an answer in another thread; yields what becomes of it."""
    became = []

    def wait():
        try:
            became.append(
                port.exchange(b"READ\r", line_length, deadline_s=seconds, inter_byte_s=seconds)
            )
        except InstrumentError as trouble:
            became.append(trouble)

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield became
    finally:
        thread.join(5)
        assert not thread.is_alive()


class Answering:
    """A device that answers STP and VER, and nothing else; keeps what came and when."""

    def __init__(self, to_read=()):
        self.received, self.to_read = [], to_read

    def __call__(self, piece):
        self.received.append((time.monotonic(), piece))
        return {b"STP\r": [b"stopped\n"], b"VER\r": [b"1.0\n"]}.get(piece, self.to_read)

    def heard(self, data):
        return [at_s for at_s, piece in self.received if piece == data]

    def wait_for(self, data):
        while not self.heard(data):
            time.sleep(0.001)


def ask(port, sent):
    return port.exchange(sent, line_length, deadline_s=2, inter_byte_s=1)


def test_stop_interrupts_an_awaited_answer_within_20_ms(opened):
    took_s, became_of_all = [], []
    with device(bus := Answering()) as url:
        port = opened(url)
        for _ in range(5):
            bus.received.clear()
            with pending(port) as became:
                bus.wait_for(b"READ\r")
                time.sleep(0.05)
                asked_s = time.monotonic()
                with port.owned(urgent=True):
                    had_s = time.monotonic()
                    assert ask(port, b"STP\r") == b"stopped\n"
            took_s.append((had_s - asked_s, bus.heard(b"STP\r")[0] - asked_s))
            became_of_all += became
    assert min(had for had, _ in took_s) < 0.02 and min(sent for _, sent in took_s) < 0.04
    assert max(sent for _, sent in took_s) < 0.5  # on a computer that does other things too
    assert all(isinstance(became, Interrupted) for became in became_of_all)
    assert "a stop takes the port" in str(became_of_all[0])


def test_stop_waits_a_moment_for_the_answer_that_it_cut_short(opened, tmp_path):
    bus = Answering(to_read=[b"lo", b"ng", b" ans", b"wer\n"])
    with device(bus) as url:
        port = opened(url)
        with pending(port):
            bus.wait_for(b"READ\r")
            with port.owned(urgent=True):
                assert ask(port, b"STP\r") == b"stopped\n"
    gone = b"".join(
        bytes.fromhex(e["hex"]) for e in wire_of(tmp_path) if e["direction"] in ("dropped",)
    )
    assert gone and b"long answer\n".endswith(gone)


def test_block_that_a_stop_broke_sends_nothing_more_also_after_the_stop(opened):
    bus = Answering()
    told = []
    with device(bus) as url:
        port = opened(url)
        in_block, stopped = threading.Event(), threading.Event()

        def start():
            with port.owned():
                ask(port, b"VER\r")
                in_block.set()
                stopped.wait(5)
                for attempt in (lambda: ask(port, b"RUN\r"), lambda: port.owned().__enter__()):
                    with pytest.raises(NotSent, match="a stop came between"):
                        attempt()
                with pytest.raises(Interrupted):  # what was asked for before is no "not sent"
                    port.read_answer(line_length, deadline_s=1, inter_byte_s=1)
                with port.owned(urgent=True):
                    told.append(ask(port, b"STP\r"))
            told.append(ask(port, b"VER\r"))

        thread = threading.Thread(target=start)
        thread.start()
        assert in_block.wait(5)
        with port.owned(urgent=True):  # at once, though the block is still open
            ask(port, b"STP\r")
        stopped.set()
        thread.join(5)
    assert told == [b"stopped\n", b"1.0\n"]
    assert [piece for _, piece in bus.received] == [b"VER\r", b"STP\r", b"STP\r", b"VER\r"]


def test_refused_port_sends_only_what_is_urgent_until_it_is_free_again(opened):
    bus = Answering()
    with device(bus) as url:
        port = opened(url)
        with pending(port) as became:
            bus.wait_for(b"READ\r")
            port.refuse("stopped by a person")
        with pytest.raises(NotSent, match="stopped by a person; nothing was sent"):
            ask(port, b"VER\r")
        with port.owned(urgent=True):
            assert ask(port, b"STP\r") == b"stopped\n"
        port.refuse(None)
        assert ask(port, b"VER\r") == b"1.0\n"
    assert isinstance(became[0], Interrupted) and "stopped by a person" in str(became[0])


def test_first_of_two_stops_is_not_interrupted_by_the_second(opened):
    bus = Answering()
    with device(bus) as url:
        port = opened(url)
        answers = []

        def stop():
            with port.owned(urgent=True):
                answers.extend(ask(port, b"STP\r") for _ in range(3))

        threads = [threading.Thread(target=stop) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
    assert answers == [b"stopped\n"] * 9


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo terminals on this system")
def test_device_that_takes_nothing_is_given_up_and_what_was_queued_is_forgotten(opened):
    master, slave = os.openpty()
    tty.setraw(slave)
    port = opened(os.ttyname(slave))
    begun = time.monotonic()
    with pytest.raises(InstrumentError, match="part of .* may have gone out"):
        port.exchange(b"x" * 100_000, line_length, deadline_s=60, inter_byte_s=1)
    assert time.monotonic() - begun < 1.5
    os.close(slave)
    os.close(master)


# --- ports that are lost and come back


def test_lost_port_is_opened_again_by_the_next_exchange_and_nothing_is_sent_twice(opened, tmp_path):
    answers = iter(["hang up", [b"back\n"]])
    received = []

    def answer(piece):
        received.append(piece)
        return next(answers)

    with device(answer) as url:
        port = opened(url)
        with pytest.raises(InstrumentError, match="lost") as told:
            ask(port, b"1\r")
        assert not isinstance(told.value, NotSent)
        assert port.generation == 0
        assert ask(port, b"2\r") == b"back\n"
        assert port.generation == 1
    assert received == [b"1\r", b"2\r"]
    notes = [entry["text"] for entry in wire_of(tmp_path) if entry["direction"] == "note"]
    assert [text.split()[0] for text in notes] == ["record", "opened", "lost", "opened"]


def test_block_in_which_a_port_is_lost_sends_nothing_more_and_the_next_one_sees_the_generation(
    opened,
):
    received = []

    def answer(piece):
        received.append(piece)
        return "hang up" if piece == b"1\r" else [b"ok\n"]

    with device(answer) as url:
        port = opened(url)
        with port.owned():
            with pytest.raises(InstrumentError, match="lost"):
                ask(port, b"1\r")
            with pytest.raises(NotSent, match="nothing more was sent"):
                ask(port, b"RUN\r")
        with port.owned():
            assert port.generation == 1
            assert ask(port, b"2\r") == b"ok\n"
    assert received == [b"1\r", b"2\r"]


def test_port_that_stays_away_is_tried_once_a_second_and_named(opened, monkeypatch):
    with device(lambda piece: "hang up") as url:
        port = opened(url)
        with pytest.raises(InstrumentError, match="lost"):
            ask(port, b"1\r")
    tries = []

    def not_there(*arguments, **options):
        tries.append(time.monotonic())
        raise serial.SerialException("no such device")

    monkeypatch.setattr(serial, "serial_for_url", not_there)
    until = time.monotonic() + 1.3
    while time.monotonic() < until:
        for attempt in (lambda: ask(port, b"2\r"), lambda: port.owned().__enter__()):
            with pytest.raises(NotSent, match=url):
                attempt()
        time.sleep(0.02)
    assert len(tries) == 2 and tries[1] - tries[0] >= 1.0
    assert port.generation == 0
    with port.owned(urgent=True), pytest.raises(NotSent):  # a stop tries at once
        ask(port, b"STP\r")
    assert len(tries) == 3


def test_stop_opens_a_port_whose_loss_nobody_had_noticed(opened):
    connections = []

    def answer(piece):
        connections.append(piece)
        return "hang up" if piece == b"bye\r" else [b"stopped\n"]

    with device(answer) as url:
        port = opened(url)
        port.send_now(b"bye\r")
        time.sleep(0.1)
        with port.owned(urgent=True):
            assert ask(port, b"STP\r") == b"stopped\n"
    assert port.generation == 1


def test_closed_port_is_not_opened_again(opened):
    with device(lambda piece: [b"ok\n"]) as url:
        port = opened(url)
        port.close()
        port.close()
        for urgent in (False, True):
            with pytest.raises(NotSent, match="closed"), port.owned(urgent=urgent):
                ask(port, b"1\r")


def test_adapter_on_another_path_keeps_its_identity_and_takes_its_lock_along(
    opened, monkeypatch, tmp_path
):
    with device(lambda piece: "hang up") as first, device(lambda piece: [b"ok\n"]) as second:
        at = [first]
        monkeypatch.setattr(port_identity, "resolve", lambda url: at[0])
        port = opened("usb://0403:6001:A5XK3RJT")
        assert port.lock_name == lock_name(first)
        with pytest.raises(InstrumentError, match="usb://0403:6001:A5XK3RJT was lost"):
            ask(port, b"1\r")
        at[0] = second
        assert ask(port, b"2\r") == b"ok\n"
        assert port.lock_name == lock_name(second)
        with pytest.raises(PortInUse):
            opened(second)
        PortLock(first, tmp_path / "locks").release()


@contextmanager
def rfc2217_server():
    """Serve an echo behind pyserial's own RFC 2217 server; yields its URL."""
    server = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve():
        connection, _ = server.accept()
        connection.settimeout(0.02)
        inner = serial.serial_for_url("loop://", timeout=0)
        telnet = PortManager(inner, SimpleNamespace(write=connection.sendall))
        with connection, inner:
            while not ended.is_set():
                if waiting := inner.read(inner.in_waiting):
                    connection.sendall(b"".join(telnet.escape(waiting)))
                try:
                    came = connection.recv(1000)
                except TimeoutError:
                    continue
                if not came:
                    return
                inner.write(b"".join(telnet.filter(came)))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"rfc2217://127.0.0.1:{server.getsockname()[1]}"
    finally:
        ended.set()
        thread.join()
        server.close()


def test_remote_port_carries_every_byte_and_tells_that_it_was_lost(opened):
    every = bytes(range(256)) + b"\n"
    with rfc2217_server() as url:
        port = opened(url)
        line = port.exchange(
            every,
            lambda b: len(every) if len(b) >= len(every) else None,
            deadline_s=5,
            inter_byte_s=1,
        )
        assert line == every
        with pytest.raises(TransportTimeout):
            port.read_answer(line_length, deadline_s=0.1, inter_byte_s=1)
    with pytest.raises(InstrumentError, match="lost"):
        port.read_answer(line_length, deadline_s=2, inter_byte_s=1)

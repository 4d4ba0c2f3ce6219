"""Ports: deadlines, owners, records, lost cables, and whose turn it is."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from instruments.errors import InstrumentError, PortInUse, PortMissing, TransportTimeout
from instruments.port_lock import PortLock, port_key
from instruments.transport import NotSent, PortTurn, SerialTransport
from instruments.wire_recorder import WireRecorder
from tests.instruments.tcp_device import device

PROJECT = Path(__file__).resolve().parents[2]


def line_length(received: bytes) -> int | None:
    return received.find(b"\n") + 1 or None


@pytest.fixture
def opened(tmp_path):
    """Open a transport on a URL; everything is closed afterwards."""
    ports = []

    def open_port(url, lock_dir=tmp_path / "locks"):
        recorder = WireRecorder(tmp_path / "wire.jsonl")
        ports.append(recorder)
        transport = SerialTransport(url, baudrate=9600, recorder=recorder, lock_dir=lock_dir)
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


def test_drain_returns_what_still_comes_until_the_line_is_quiet(opened):
    with device(lambda piece: [b"a\n", b"b", b"c"]) as url:
        port = opened(url)
        port.exchange(b"1\r", line_length, deadline_s=2, inter_byte_s=1)
        assert port.drain(quiet_s=0.2, limit_s=2) == b"bc"


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


def test_second_owner_in_another_process_is_refused_until_the_first_is_killed(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from instruments.port_lock import PortLock\n"
        "lock = PortLock(sys.argv[1], Path(sys.argv[2])); print('held', flush=True); time.sleep(60)"
    )
    url = "socket://localhost:40999"
    other = subprocess.Popen(
        [sys.executable, "-c", script, url, str(tmp_path)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(PortInUse, match=f"process {other.pid}"):
            PortLock("socket://127.0.0.1:40999", tmp_path)
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    PortLock(url, tmp_path).release()


def test_every_spelling_of_a_port_is_one_key(tmp_path):
    assert port_key("socket://localhost:4001") == port_key("rfc2217://127.0.0.1:4001")
    (tmp_path / "tty").write_text("")
    (tmp_path / "by-id").symlink_to(tmp_path / "tty")
    assert port_key(str(tmp_path / "by-id")) == port_key(str(tmp_path / "tty"))


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


def test_urgent_thread_gets_the_turn_before_those_who_waited_longer():
    turn, order, waiting = PortTurn(), [], []

    def take(name, urgent):
        waiting.append(name)
        with turn.taken(urgent):
            order.append(name)

    threads = [
        threading.Thread(target=take, args=args)
        for args in (("query 1", False), ("query 2", False), ("stop", True))
    ]
    with turn.taken(), turn.taken():
        for thread in threads:
            thread.start()
            while len(waiting) < threads.index(thread) + 1:
                time.sleep(0.001)
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert order[0] == "stop"
    assert sorted(order) == ["query 1", "query 2", "stop"]


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

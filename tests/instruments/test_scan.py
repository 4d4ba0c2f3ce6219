"""Which ports there are, who holds them, and what answers to queries that change nothing."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from serial.tools import list_ports
from serial.urlhandler import protocol_socket

from chiploop.errors import FileNotValid
from instruments import scan
from instruments.drivers import DRIVERS, load_lab_settings
from instruments.emulators.catalogue import EMULATORS
from instruments.emulators.faults import FaultyWire
from instruments.emulators.serve import Address, Switchboard, in_background
from instruments.make import Make
from instruments.port_lock import PortLock
from instruments.scan import Asked, ask_port, holder, is_held, lab_snippet, named_port, serial_ports
from instruments.wire_recorder import read_wire
from tests.instruments.tcp_device import device

PROBED = {name: make for name, make in DRIVERS.items() if make.probe is not None}


@pytest.fixture(autouse=True)
def quick_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """pyserial sleeps 0.3 s whenever it closes a socket."""
    quick = SimpleNamespace(time=time.time, sleep=lambda s: None)
    monkeypatch.setattr(protocol_socket, "time", quick)


class Counting:
    """An emulated device that remembers what it was sent."""

    def __init__(self, make: str) -> None:
        self.received = b""
        self._device = EMULATORS[make].build(lambda: 0.0, time.monotonic)

    def receive(self, data: bytes) -> bytes:
        self.received += data
        return self._device.receive(data)

    def poll(self) -> bytes:
        return self._device.poll()

    def power_cycle(self) -> None:
        self._device.power_cycle()


def ask(url: str, tmp_path: Path, makes: dict[str, Make] | None = None, **more: float) -> Asked:
    how = {"answer_s": 0.05, **more}
    locks = tmp_path / "locks"
    return ask_port(url, makes or DRIVERS, tmp_path / "scan.jsonl", lock_dir=locks, **how)


def served(emulated: Counting) -> tuple[Switchboard, Address]:
    board = Switchboard()
    return board, board.add_device("it", FaultyWire(emulated, time.monotonic))


@pytest.mark.parametrize("name", sorted(set(PROBED) & set(EMULATORS)))
def test_a_device_is_recognised_whatever_else_was_asked_before(name: str, tmp_path: Path) -> None:
    emulated = Counting(name)
    board, address = served(emulated)
    with in_background(board):
        asked = ask(address.tcp, tmp_path)
    assert asked.found is not None, asked
    assert asked.found.make == name
    assert asked.found.says


@pytest.mark.skipif(os.name == "nt", reason="no ptys")
@pytest.mark.parametrize("name", ["protocol_11", "emstat_pico"])
def test_the_fastest_is_found_behind_the_queries_of_the_slower(name: str, tmp_path: Path) -> None:
    board, address = served(Counting(name))
    with in_background(board):
        asked = ask(str(address.pty), tmp_path)
    assert asked.found is not None and asked.found.make == name
    rates = [PROBED[make].port.baudrate for make in asked.asked_for]
    assert rates == sorted(rates)


def test_a_make_without_a_probe_is_never_asked_for(tmp_path: Path) -> None:
    emulated = Counting("new_era_ne1000")
    board, address = served(emulated)
    with in_background(board):
        only = {"new_era_ne1000": DRIVERS["new_era_ne1000"]}
        asked = ask(address.tcp, tmp_path, only)
    assert asked == Asked(None)
    assert emulated.received == b""


def test_only_the_probes_go_out_each_at_most_twice_and_all_is_on_record(tmp_path: Path) -> None:
    emulated = Counting("new_era_ne1000")
    board, address = served(emulated)
    with in_background(board):
        asked = ask(address.tcp, tmp_path)
    assert asked.found is None
    assert set(asked.asked_for) == set(PROBED)
    sent = [e["hex"] for e in read_wire(tmp_path / "scan.jsonl") if e["direction"] == "sent"]
    assert "".join(sent) == emulated.received.hex()
    queries = {make.probe.query.hex() for make in PROBED.values() if make.probe}
    assert set(sent) == queries
    assert max(map(sent.count, sent)) <= 2


def test_a_silent_port_is_asked_once_per_make_and_a_babbling_one_is_told(tmp_path: Path) -> None:
    with device(lambda data: []) as url:
        silent = ask(url, tmp_path, answer_s=0.01)
    assert (silent.found, silent.something) == (None, False)
    sent = [e for e in read_wire(tmp_path / "scan.jsonl") if e["direction"] == "sent"]
    assert len(sent) == len(PROBED)
    with device(lambda data: [b"\x00\xff" * 20]) as url:
        babble = ask(url, tmp_path, answer_s=0.01)
    assert (babble.found, babble.something) == (None, True)


def test_no_port_takes_longer_than_it_may(tmp_path: Path) -> None:
    begun_s = time.monotonic()
    with device(lambda data: []) as url:
        asked = ask(url, tmp_path, answer_s=5.0, longest_s=0.2)
    assert time.monotonic() - begun_s < 2.0
    assert "longer than 0.2 s" in asked.trouble


def test_a_held_port_is_known_and_gets_no_byte(tmp_path: Path) -> None:
    emulated = Counting("spectramax")
    board, address = served(emulated)
    locks = tmp_path / "locks"
    with in_background(board):
        assert holder(address.tcp, locks) is None and not is_held(address.tcp, locks)
        lock = PortLock(address.tcp, locks, {"run": "/runs/one"})
        held = holder(address.tcp, locks)
        assert held is not None and held.pid == os.getpid()
        assert scan.told_holder(held) == f"process {os.getpid()}, run one"
        assert is_held(address.tcp, locks)
        asked = ask(address.tcp, tmp_path)
        lock.release()
    assert asked.found is None and "is held by" in asked.trouble
    assert emulated.received == b""


def test_a_port_that_is_not_there_is_told(tmp_path: Path) -> None:
    asked = ask(str(tmp_path / "ttyNONE"), tmp_path)
    assert asked.found is None and "can not be opened" in asked.trouble


def test_ports_are_listed_by_what_stays_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usb = SimpleNamespace(
        device="/dev/ttyUSB0", vid=0x0403, pid=0x6001, serial_number="A5", product="FT232R",
        description="FT232R",
    )  # fmt: skip
    no_serial = SimpleNamespace(**{**vars(usb), "device": "/dev/ttyUSB1", "serial_number": None})
    old = SimpleNamespace(
        device="/dev/ttyS0", vid=None, pid=None, serial_number=None, product=None, description="n/a"
    )
    monkeypatch.setattr(list_ports, "comports", lambda: [old, no_serial, usb])
    monkeypatch.setattr(scan, "_by_id", lambda: {"/dev/ttyUSB1": "/dev/serial/by-id/one"})
    found = serial_ports()
    assert [port.url for port in found] == [
        "usb://0403:6001:A5",
        "/dev/serial/by-id/one",
        "/dev/ttyS0",
    ]
    assert found[1].usb == "usb://0403:6001"
    assert found[2].product == ""
    for name in ("/dev/ttyUSB0", "usb://0403:6001:a5"):
        assert named_port(name, found) == found[0]
    assert named_port("socket://h:1", found).device == "socket://h:1"


@pytest.mark.parametrize("name", sorted(DRIVERS))
def test_the_snippet_of_a_found_device_says_what_is_still_to_be_filled_in(
    name: str, tmp_path: Path
) -> None:
    make = DRIVERS[name]
    if not scan.is_on_a_port(make):
        return
    text = lab_snippet(name, make, "/dev/x", name="one", says="it")
    lab = tmp_path / "lab.toml"
    lab.write_text(text, encoding="utf-8")
    fields = make.entry.model_fields
    wanted = {key for key, f in fields.items() if f.is_required()} - {"make", "bus", "url"}
    assert all(key in text for key in wanted)
    if not wanted:
        load_lab_settings(lab)
        return
    with pytest.raises(FileNotValid) as problem:
        load_lab_settings(lab)
    assert all(key in str(problem.value) for key in wanted)
    assert replace(make).title in text

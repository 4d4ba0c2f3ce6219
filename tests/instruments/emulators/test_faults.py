"""Faults on a wire: what reaches the device, what comes back, and when."""

from __future__ import annotations

import pytest

from instruments.emulators.faults import FAULTS, Fault, FaultyWire
from instruments.emulators.ne1000 import Ne1000
from tests.instruments.emulators.bench_clock import Clocks, tell

VERSION = b"\x0200SNE1000V3.61\x03"


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def pump(clocks: Clocks) -> Ne1000:
    pump = clocks.ready_pump()
    tell(pump, "RAT 180 UH", "VOL UL", "VOL 360")
    return pump


@pytest.fixture
def wire(clocks: Clocks, pump: Ne1000) -> FaultyWire:
    return FaultyWire(pump, lambda: clocks.wall_s)


def test_a_wire_without_faults_only_passes_bytes_on(wire: FaultyWire) -> None:
    assert wire.receive(b"0VER\r") == VERSION


@pytest.mark.parametrize(
    ("fault", "starts", "answer"),
    [
        (Fault("drop_command"), 0, b""),
        (Fault("drop_reply"), 1, b""),
        (Fault("duplicate_command"), 1, b"\x0200I\x03\x0200I?NA\x03"),
        (Fault("duplicate_reply"), 1, b"\x0200I\x03\x0200I\x03"),
        (Fault("garbage_before", garbage=b"\xff\x00"), 1, b"\xff\x00\x0200I\x03"),
        (Fault("flip_bit", at_byte=3, bit=1), 1, b"\x0200K\x03"),
        (Fault("flip_command_bit", at_byte=1, bit=0), 0, b"\x0200S?\x03"),
        (Fault("truncate", at_byte=2), 1, b"\x020"),
        (Fault("truncate_command", at_byte=2), 0, b""),
        (Fault("wedge_before"), 0, b""),
        (Fault("wedge"), 1, b""),
        (Fault("unplug"), 1, b""),
        (Fault("power_cut_before"), 0, b""),
        (Fault("power_cut_after"), 1, b""),
        (Fault("delay", seconds=2.0), 1, b""),
        (Fault("split", at_byte=2, seconds=2.0), 1, b"\x020"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
def test_each_fault_at_the_start_of_a_dose(
    wire: FaultyWire, pump: Ne1000, fault: Fault, starts: int, answer: bytes
) -> None:
    wire.arm(fault)
    assert wire.receive(b"0RUN\r") == answer
    assert pump.starts == starts


def test_every_fault_is_tried_above() -> None:
    marks = test_each_fault_at_the_start_of_a_dose.pytestmark  # type: ignore[attr-defined]
    assert {case[0].kind for case in marks[0].args[1]} == set(FAULTS)


def test_late_bytes_come_late(wire: FaultyWire, clocks: Clocks) -> None:
    wire.arm(Fault("split", at_byte=1, seconds=2.0))
    assert wire.receive(b"0\r") == b"\x02"
    clocks.wall_s = 1.9
    assert wire.poll() == b""
    clocks.wall_s = 2.0
    assert wire.poll() == b"00S\x03"


def test_a_fault_waits_for_its_exchange_and_happens_so_often(wire: FaultyWire) -> None:
    wire.arm(Fault("drop_reply", matching=b"VER", skip=1, times=2))
    answers = [wire.receive(sent) for sent in (b"0\r", *[b"0VER\r"] * 4)]
    assert answers == [b"\x0200S\x03", VERSION, b"", b"", VERSION]


def test_an_unplugged_device_runs_on(wire: FaultyWire, pump: Ne1000, clocks: Clocks) -> None:
    wire.arm(Fault("unplug", seconds=5.0))
    wire.receive(b"0RUN\r")
    assert wire.unplugged
    assert wire.receive(b"0\r") == b""
    clocks.physics_h, clocks.wall_s = 1.0, 5.0
    assert not wire.unplugged
    assert wire.receive(b"0DIS\r") == b"\x0200II180.0W0.000UL\x03"


def test_a_wedged_link_is_silent_until_its_power_is_cycled(wire: FaultyWire, pump: Ne1000) -> None:
    wire.arm(Fault("wedge"))
    wire.receive(b"0RUN\r")
    assert wire.receive(b"0\r") == b"" and wire.poll() == b""
    assert pump.moving
    wire.power_cycle()
    assert wire.receive(b"0\r") == b"\x0200A?R\x03"


@pytest.mark.parametrize(
    "fault", [Fault("gremlin"), Fault("delay", times=0), Fault("flip_bit", bit=8)]
)
def test_a_fault_that_can_not_happen_is_refused(wire: FaultyWire, fault: Fault) -> None:
    with pytest.raises(ValueError):
        wire.arm(fault)


def test_a_wire_counts_what_went_wrong_on_it(wire: FaultyWire, clocks: Clocks) -> None:
    wire.receive(b"0VER\r")
    wire.arm(Fault("drop_reply", times=2))
    for _ in range(3):
        wire.receive(b"0VER\r")
    wire.unplug(1.0)
    wire.receive(b"0VER\r")
    clocks.wall_s += 1.0
    assert wire.receive(b"0VER\r") == VERSION
    assert wire.met == {"drop_reply": 2, "unplugged": 1}


def test_an_exchange_that_two_faults_meet_is_one(wire: FaultyWire) -> None:
    wire.arm(Fault("drop_reply"))
    wire.arm(Fault("flip_bit"))
    wire.arm(Fault("drop_reply"))
    wire.receive(b"0VER\r")
    assert wire.met == {"drop_reply+flip_bit": 1}

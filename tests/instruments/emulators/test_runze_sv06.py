"""Runze SV-06 emulator: the manual's frames, moving, refusals, stall, power cuts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruments.emulators.runze_sv06 import RunzeSv06, RunzeSv06Settings
from tests.instruments.emulators.bench_clock import Clocks


def frame(address: int, second: int, low: int = 0, high: int = 0) -> bytes:
    body = bytes([0xCC, address, second, low, high, 0xDD])
    return body + bytes([sum(body) & 0xFF, sum(body) >> 8])


def valve(clocks: Clocks | None = None, **changes: object) -> RunzeSv06:
    link = clocks or Clocks()
    asked = RunzeSv06Settings(**changes)  # type: ignore[arg-type]
    return RunzeSv06(asked, lambda: link.physics_h, lambda: link.wall_s)


def status(answer: bytes) -> int:
    assert len(answer) == 8 and answer == frame(answer[1], *answer[2:5])
    return answer[2]


MANUAL_QUERY, MANUAL_ANSWER = bytes.fromhex("cc004a0000ddf301"), bytes.fromhex("cc00000000dda901")
"""Motor query and an answer of status 00, as the manual's worked traces have them."""
MANUAL_FACTORY = bytes.fromhex("cc0001ffeebbaa04000000dd0005")
"""Set the baud rate of RS-232."""


def test_frames_of_the_manual_whole_and_one_byte_at_a_time() -> None:
    assert valve().receive(MANUAL_QUERY) == MANUAL_ANSWER
    device = valve()
    assert b"".join(device.receive(bytes([b])) for b in MANUAL_QUERY) == MANUAL_ANSWER


def test_a_factory_frame_is_read_whole_and_changes_nothing() -> None:
    answer = valve().receive(MANUAL_FACTORY + MANUAL_QUERY)
    assert status(answer[:8]) == 0x02
    assert answer[8:] == MANUAL_ANSWER


@pytest.mark.parametrize("moving", [0x04, 0xFE])
def test_a_move_is_accepted_at_once_and_busy_until_the_rotor_stands(moving: int) -> None:
    clocks = Clocks()
    device = valve(clocks, moving_status=moving, seconds_per_port=1.0)
    assert device.receive(frame(0, 0x44, 4)) == frame(0, 0xFE)
    clocks.wall_s = 2.9
    assert device.moving and device.port is None
    assert device.receive(frame(0, 0x4A)) == frame(0, moving)
    assert status(device.receive(frame(0, 0x3E))) == moving
    clocks.wall_s = 3.0
    assert device.receive(frame(0, 0x4A)) == frame(0, 0x00)
    assert device.receive(frame(0, 0x3E)) == frame(0, 0x00, 4)
    assert (device.port, device.moves) == (4, 1)


def test_the_shortest_way_is_taken_unless_a_neighbour_says_otherwise() -> None:
    clocks = Clocks()
    device = valve(clocks, seconds_per_port=1.0)
    device.receive(frame(0, 0x44, 6))
    clocks.wall_s = 1.0
    assert device.port == 6
    device.receive(frame(0, 0xA4, 2, 1))
    clocks.wall_s = 5.9
    assert device.moving
    clocks.wall_s = 6.0
    assert device.port == 1


def test_another_move_is_refused_while_the_rotor_turns() -> None:
    clocks = Clocks()
    device = valve(clocks)
    device.receive(frame(0, 0x44, 3))
    for function in (0x44, 0x45, 0x4F, 0xA4):
        assert status(device.receive(frame(0, function, 2, 1))) == 0x04
    clocks.wall_s = 9.0
    assert device.port == 3


@pytest.mark.parametrize(("low", "high"), [(0, 0), (7, 0), (2, 1), (255, 255)])
def test_a_port_that_the_valve_has_not_is_a_parameter_error(low: int, high: int) -> None:
    device = valve()
    assert status(device.receive(frame(0, 0x44, low, high))) == 0x02
    assert (device.port, device.moves) == (1, 0)


def test_a_wrong_checksum_and_a_wrong_end_are_frame_errors_and_move_nothing() -> None:
    good = frame(0, 0x44, 4)
    device = valve()
    for at in (3, 5, 6, 7):
        broken = bytearray(good)
        broken[at] ^= 0x01
        assert status(device.receive(bytes(broken))) == 0x01
    assert device.port == 1 and not device.moving


def test_a_frame_for_another_address_is_not_answered() -> None:
    device = valve(address=3)
    assert device.receive(frame(0, 0x4A)) == b""
    assert device.receive(frame(3, 0x4A)) == frame(3, 0x00)


def test_an_unknown_function_is_an_unknown_error() -> None:
    assert status(valve().receive(frame(0, 0x99))) == 0xFF


def test_a_partial_frame_is_dropped_after_a_while() -> None:
    clocks = Clocks()
    device = valve(clocks)
    device.receive(MANUAL_QUERY[:5])
    clocks.wall_s = 1.0
    assert device.receive(MANUAL_QUERY) == MANUAL_ANSWER


def test_a_blocked_rotor_stalls_and_the_position_is_lost_until_it_moves_again() -> None:
    clocks = Clocks()
    device = valve(clocks, seconds_per_port=1.0)
    device.receive(frame(0, 0x44, 3))
    clocks.wall_s = 0.5
    device.block()
    assert status(device.receive(frame(0, 0x4A))) == 0x05
    assert status(device.receive(frame(0, 0x3E))) == 0x05
    assert device.port is None
    assert status(device.receive(frame(0, 0x45))) == 0xFE
    assert status(device.receive(frame(0, 0x4A))) == 0x05
    device.free()
    assert status(device.receive(frame(0, 0x45))) == 0xFE
    clocks.wall_s = 30.0
    assert device.receive(frame(0, 0x3E)) == frame(0, 0x00, 1)
    assert device.moves == 1


def test_stopping_on_the_way_leaves_an_unknown_position() -> None:
    clocks = Clocks()
    device = valve(clocks, seconds_per_port=1.0)
    device.receive(frame(0, 0x44, 3))
    assert status(device.receive(frame(0, 0x49))) == 0x00
    assert device.receive(frame(0, 0x3E)) == frame(0, 0x06)
    assert (device.port, device.moving, device.moves) == (None, False, 0)


def test_the_dialect_that_answers_when_the_rotor_stands() -> None:
    clocks = Clocks()
    device = valve(clocks, answers_when_done=True, seconds_per_port=1.0)
    assert device.receive(frame(0, 0x44, 2)) == b""
    assert device.poll() == b""
    clocks.wall_s = 1.0
    assert device.poll() == frame(0, 0x00)
    assert device.poll() == b""


@pytest.mark.parametrize(("homes", "answer"), [(True, frame(0, 0, 1)), (False, frame(0, 6))])
def test_a_power_cut_forgets_the_position_or_homes(homes: bool, answer: bytes) -> None:
    clocks = Clocks()
    device = valve(clocks, homes_at_power_up=homes)
    device.receive(frame(0, 0x44, 5))
    clocks.wall_s = 9.0
    assert device.receive(frame(0, 0x3E)) == frame(0, 0x00, 5)
    device.power_cycle()
    assert device.receive(frame(0, 0x3E)) == answer


def test_only_port_counts_that_are_sold() -> None:
    with pytest.raises(ValueError, match="7"):
        valve(ports=7)


FRAMES = st.builds(
    frame, st.just(0), st.sampled_from([0x3E, 0x44, 0x45, 0x49, 0x4A, 0xA4]), st.integers(0, 8)
)


@settings(max_examples=100, deadline=None)
@given(chunks=st.lists(st.one_of(st.binary(max_size=20), FRAMES), max_size=20))
def test_no_bytes_whatever_make_the_valve_raise(chunks: list[bytes]) -> None:
    clocks = Clocks()
    device = valve(clocks)
    for chunk in chunks:
        device.receive(chunk)
        clocks.wall_s += 0.07
        device.poll()
        other = valve(clocks)
        other.restore(json.loads(json.dumps(device.state())))
        assert other.port is None or 1 <= other.port <= 6
    clocks.wall_s += 10
    device.poll()
    answer = device.receive(MANUAL_QUERY)
    assert len(answer) == 8

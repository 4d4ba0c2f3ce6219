"""The Runze SV-06 driver against played-back exchanges; its bytes are written by hand."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from instruments.errors import (
    ChecksumError,
    DeviceAlarm,
    DeviceRejected,
    FrameError,
    InstrumentError,
    Interrupted,
    TransportTimeout,
)
from instruments.transport import NotSent, PortSettings
from instruments.valves import runze_sv06
from instruments.valves.runze_sv06 import (
    Answer,
    RunzeSV06,
    RunzeSV06Entry,
    answer_length,
    decode_answer,
    encode_command,
)
from tests.instruments.plate_readers.test_biotek import NoiseTransport
from tests.instruments.replay import ReplayTransport
from tests.instruments.serial_rows import one_at_a_time

WHERE = bytes.fromhex("cc 01 3e 00 00 dd e8 01")


def go(position):
    return encode_command(1, 0x44, position)


def answer(status, parameter=0):
    begin = bytes([0xCC, 1, status, parameter, 0, 0xDD])
    total = sum(begin)
    return begin + bytes([total & 0xFF, total >> 8])


def at(position):
    return WHERE, answer(0x00, position)


def turned(position, status=0x00):
    return go(position), answer(status, position)


TURNING, BUSY, LOST = (WHERE, answer(0xFE)), (WHERE, answer(0x04)), (WHERE, answer(0x06))


def valve(pairs, *, one_at_a_time=False, **options):
    waits = []
    wire = ReplayTransport(pairs, one_at_a_time=one_at_a_time)
    return RunzeSV06("v1", wire, positions=12, pause_s=waits.append, **options), wire, waits


def test_commands_are_8_bytes_with_the_sum_of_the_first_6():
    assert encode_command(1, 0x3E) == WHERE
    assert encode_command(1, 0x44, 6) == bytes.fromhex("cc 01 44 06 00 dd f4 01")
    assert encode_command(2, 0x44, 300) == bytes.fromhex("cc 02 44 2c 01 dd 1c 02")


@pytest.mark.parametrize("status", [0x00, 0x05, 0xFE])
def test_answers_are_met_also_byte_by_byte(status):
    frame = answer(status, 7)
    assert one_at_a_time(answer_length, frame) == 8
    assert decode_answer(frame, 1) == Answer(status, 7)


def test_any_changed_bit_of_an_answer_is_refused():
    frame = answer(0x00, 7)
    for place in range(8):
        for bit in range(8):
            broken = bytearray(frame)
            broken[place] ^= 1 << bit
            with pytest.raises(FrameError):
                decode_answer(bytes(broken), 1)
    with pytest.raises(ChecksumError):
        decode_answer(frame[:-2] + b"\x00\x00", 1)
    with pytest.raises(FrameError, match="address 1 came where 2 is due"):
        decode_answer(frame, 2)


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_valve_turns_and_confirms_where_it_stands(one_at_a_time):
    device, wire, waits = valve(
        [at(3), at(3), turned(5), TURNING, BUSY, at(5), at(5)], one_at_a_time=one_at_a_time
    )
    device.open()
    device.go_to(5)
    assert device.position() == 5 and device.positions == 12
    assert waits == [0.2, 0.2, 0.2]
    wire.close()


def test_valve_that_stands_there_is_not_turned():
    device, wire, _ = valve([at(5)])
    device.go_to(5)
    wire.close()


@pytest.mark.parametrize("position", [0, 13, -1])
def test_position_that_the_valve_has_not_is_refused_before_any_byte_is_sent(position):
    device, wire, _ = valve([])
    with pytest.raises(ValueError, match="outside 1..12 of v1"):
        device.go_to(position)
    assert not wire.sent


@pytest.mark.parametrize("received", [None, answer(0x00, 5)[:5], b"\x00\xff", answer(0x01)])
def test_lost_answer_to_a_move_is_settled_by_a_look(received):
    device, wire, _ = valve([at(3), (go(5), received), TURNING, at(5)])
    device.go_to(5)
    wire.close()
    device, wire, _ = valve([at(3), (go(5), received), at(3), turned(5), at(5)])
    device.go_to(5)
    wire.close()


def test_move_is_sent_at_most_twice_and_then_given_up():
    device, wire, waits = valve(
        [at(3), (go(5), None), at(3), (go(5), None), *[at(3)] * 6], move_limit_s=1.0
    )
    with pytest.raises(TransportTimeout, match="stands at 3 .* turned to 5"):
        device.go_to(5)
    assert wire.sent.count(go(5)) == 2 and sum(waits) >= 1.0


def test_accepted_move_that_leads_nowhere_is_given_up_and_not_sent_again():
    device, wire, _ = valve([at(3), turned(5, 0xFE), *[TURNING] * 7], move_limit_s=1.0)
    with pytest.raises(TransportTimeout, match="v1 turns"):
        device.go_to(5)
    assert wire.sent.count(go(5)) == 1


def test_turning_valve_is_awaited_before_it_is_turned():
    device, wire, _ = valve([TURNING, at(2), turned(5, 0x04), at(2), turned(5), at(5)])
    device.go_to(5)
    wire.close()


def test_valve_that_does_not_know_where_it_stands_is_met_and_can_be_turned():
    device, wire, _ = valve([LOST, LOST, LOST, turned(5), LOST, at(5)])
    device.open()
    with pytest.raises(DeviceRejected, match="does not know"):
        device.position()
    device.go_to(5)
    wire.close()


def test_stall_is_an_alarm_and_nothing_is_sent_after_it():
    device, wire, _ = valve([at(3), turned(5), (WHERE, answer(0x05))])
    with pytest.raises(DeviceAlarm, match="motor stalled") as told:
        device.go_to(5)
    assert told.value.kind == "stall"
    wire.close()
    device, wire, _ = valve([(WHERE, answer(0x05))])
    with pytest.raises(DeviceAlarm):
        device.go_to(5)
    wire.close()


@pytest.mark.parametrize("status", [0x02, 0x03, 0x06, 0xFF, 0x77])
def test_refusal_of_a_move_is_told_with_its_meaning(status):
    device, wire, _ = valve([at(3), turned(5, status)])
    with pytest.raises(DeviceRejected, match=f"position 5: status {status:02X} "):
        device.go_to(5)
    wire.close()


def test_valve_with_more_positions_than_lab_toml_says_is_refused():
    device, _, _ = valve([at(14)])
    with pytest.raises(DeviceRejected, match="stands at 14, but lab.toml gives it 12"):
        device.open()


def test_garbled_query_is_asked_once_more():
    device, wire, _ = valve([(WHERE, b"\x00" + answer(0, 3)), at(3)])
    assert device.position() == 3
    device, wire, _ = valve([(WHERE, None), (WHERE, None)])
    with pytest.raises(TransportTimeout):
        device.position()
    wire.close()


def test_interruption_and_nothing_sent_are_told_as_they_are():
    for trouble in (Interrupted("a stop"), NotSent("nothing")):
        for pairs in ([(WHERE, trouble)], [at(3), (go(5), trouble)]):
            device, wire, _ = valve(pairs)
            with pytest.raises(type(trouble), match=str(trouble)):
                device.go_to(5)
            wire.close()


def test_make_names_port_probe_and_settings():
    make = runze_sv06.MAKE
    assert make.port == PortSettings(57_600)
    assert make.probe.query == WHERE
    assert make.probe.recognise(answer(0, 4)) == "Runze valve, position 4"
    assert make.probe.recognise(answer(0x06)) == "Runze valve"
    assert make.probe.recognise(b"OK\r\n>   ") is None
    settings_ = {"make": "runze_sv06", "url": "COM3", "positions": 8, "address": 2}
    entry = RunzeSV06Entry.model_validate(settings_)
    device = make.build("v1", ReplayTransport([]), entry, lambda seconds: None)
    assert (device.name, device.positions) == ("v1", 8)
    with pytest.raises(ValueError):
        RunzeSV06Entry.model_validate({**settings_, "positions": 7})


ANSWERS = st.one_of(
    st.binary(max_size=12),
    st.builds(answer, st.integers(0, 255), st.integers(0, 17)),
    st.sampled_from([answer(0, 3), answer(0, 5), answer(0xFE), answer(0x06)]),
)


@given(st.lists(ANSWERS, max_size=12))
@example([answer(0, 3), answer(0, 5), answer(0, 0)])
@settings(max_examples=150, deadline=None)
def test_arbitrary_answers_raise_nothing_but_instrument_errors(answers):
    wire = NoiseTransport(answers)
    device = RunzeSV06("v1", wire, positions=12, move_limit_s=1.0, pause_s=lambda seconds: None)
    for act in (device.open, device.position, lambda: device.go_to(5)):
        try:
            act()
        except InstrumentError:
            pass
    assert len(wire.sent) < 40
    assert wire.sent.count(go(5)) <= 2

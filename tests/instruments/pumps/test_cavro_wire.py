"""Cavro and TriContinent frames, status bytes and commands against published bytes, both ways."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from instruments.errors import ChecksumError, FrameError, InstrumentError
from instruments.pumps import cavro_wire as wire
from instruments.pumps.cavro_wire import Answer
from tests.instruments.serial_rows import one_at_a_time, rows

DT_COMMANDS = {
    b"/1ZR\r": "ZR",
    b"/1Q\r": "Q",
    b"/1A3000R\r": "A3000R",
    b"/1?\r": "?",
}
NEVER_SENT = {b"/1QQQ\r": "no command of the table; it shows how a module refuses"}
DT_ANSWERS = {
    b"/0@\x03\r\n": Answer(busy=True, error=0),
    b"/0`\x03\r\n": Answer(busy=False, error=0),
    b"/0`3000\x03\r\n": Answer(busy=False, error=0, data="3000"),
    b"/0i\x03\r\n": Answer(busy=False, error=9),
    b"/0g\x03\r\n": Answer(busy=False, error=7),
    b"/0b\x03\r\n": Answer(busy=False, error=2),
}
OEM_COMMANDS = {
    b"\xff\x0211Q\x03P": (0, 1, "Q", False),
    b"\xff\x0219Q\x03X": (0, 1, "Q", True),
}


def oem_answer(text: str) -> bytes:
    """Return an OEM answer with the checksum worked out here, byte by byte."""
    block = b"\x02" + text.encode("latin-1") + b"\x03"
    total = 0
    for byte in block:
        total ^= byte
    return block + bytes([total])


def test_every_published_dt_exchange_is_met_in_both_directions_also_byte_by_byte(shared_data):
    for sent, received, meaning in rows(shared_data, "TriContinent/Cavro DT"):
        if sent in NEVER_SENT:
            with pytest.raises(ValueError, match="is no command"):
                wire.encode_dt(0, sent[2:-1].decode())
        else:
            assert wire.encode_dt(0, DT_COMMANDS[sent]) == sent, meaning
        assert one_at_a_time(wire.answer_length_dt, received) == len(received), meaning
        assert wire.decode_dt(received) == DT_ANSWERS[received], meaning


def test_every_published_oem_command_is_met(shared_data):
    for sent, received, meaning in rows(shared_data, "TriContinent/Cavro OEM"):
        address, number, text, repeat = OEM_COMMANDS[sent]
        assert wire.encode_oem(address, number, text, repeat=repeat) == sent, meaning
        assert not received, meaning  # only commands are published


@pytest.mark.parametrize(("received", "answer"), DT_ANSWERS.items())
def test_oem_answer_says_the_same_as_the_dt_answer(received, answer):
    frame = oem_answer(received[1:-3].decode())
    for synchronised in (frame, b"\xff" + frame):
        assert one_at_a_time(wire.answer_length_oem, synchronised) == len(synchronised)
        assert wire.decode_oem(synchronised) == answer


def test_checksum_of_an_answer_may_be_any_byte():
    for data in ("1", "12", "3000", "23"):
        frame = oem_answer("0`" + data)
        assert wire.answer_length_oem(frame + b"\x02rest") == len(frame)
        spoiled = frame[:-1] + bytes([frame[-1] ^ 0x10])
        with pytest.raises(ChecksumError):
            wire.decode_oem(spoiled)


@pytest.mark.parametrize("number", [0, 8, -1])
def test_sequence_number_outside_1_to_7_is_refused(number):
    with pytest.raises(ValueError, match="outside 1..7"):
        wire.encode_oem(0, number, "Q")


def test_repeat_changes_the_sequence_byte_and_the_checksum_only():
    once = wire.encode_oem(3, 5, "A120R")
    again = wire.encode_oem(3, 5, "A120R", repeat=True)
    assert (once[3], again[3]) == (0x35, 0x3D)
    assert once[:3] == again[:3] == b"\xff\x024"
    assert once[4:-1] == again[4:-1] == b"A120R\x03"


@pytest.mark.parametrize("text", ["P100R", "D100R", "A10", "A10RA0R", "A-1R", "", "V10", "R", "X"])
def test_relative_moves_and_whatever_is_not_in_the_table_are_never_sent(text):
    for encode in (lambda: wire.encode_dt(0, text), lambda: wire.encode_oem(0, 1, text)):
        with pytest.raises(ValueError, match="is no command"):
            encode()


def test_what_moves_the_plunger_is_not_asked_again_as_a_new_command():
    assert {wire.retry_of(text) for text in ("A0R", "ZR", "YR", "Z0,1,3R")} == {"never"}
    assert {wire.retry_of(text) for text in ("Q", "?", "?6", "?19", "T", "V20R", "O2R")} == {"safe"}


@pytest.mark.parametrize("address", [-1, 15])
def test_address_switch_outside_its_places_is_refused(address):
    with pytest.raises(ValueError, match="outside 0..14"):
        wire.encode_dt(address, "Q")


@pytest.mark.parametrize(
    "frame",
    [
        b"/0\x03\r\n",  # no status
        b"/1`\x03\r\n",  # not to the master
        b"/0 \x03\r\n",  # no status byte
        b"/0h\x03\r\n",  # an error that no table has
        b"/0`\x03\n\r",
        b"/0`3\x000\x03\r\n",
    ],
)
def test_frame_that_is_not_an_answer_is_refused(frame):
    with pytest.raises(FrameError):
        wire.decode_dt(frame)


@pytest.mark.parametrize(
    ("data", "place"), [("i", "i"), ("O", "o"), ("3", "3"), ("o12", "12"), ("b", "b")]
)
def test_place_of_a_valve_is_a_letter_or_a_number(data, place):
    assert wire.decode_valve(data) == place


@pytest.mark.parametrize(("port", "place"), [("I", "i"), ("O", "o"), ("I3", "3"), ("O12", "12")])
def test_port_is_told_and_read_back_in_two_spellings(port, place):
    assert wire.valve_place(port) == place


@pytest.mark.parametrize(("data", "value"), [("0", 0), ("1", 1), (" 1", 1), ("y", 1), ("", None)])
def test_report_of_initialisation_is_no_only_where_it_says_no(data, value):
    assert wire.decode_initialised(data) == value


@given(st.binary(max_size=200))
@example(b"\xff" * 120)
@example(b"\x02" + b"x" * 120)
@example(b"/0" + b"x" * 120)
@example(b"\x02\x03\x03")
def test_arbitrary_bytes_are_an_answer_or_a_frame_error(received):
    for answer_length, decode in (
        (wire.answer_length_oem, wire.decode_oem),
        (wire.answer_length_dt, wire.decode_dt),
    ):
        length = answer_length(received) if received else None
        assert length is None or 0 < length <= len(received)
        assert length is not None or len(received) <= 100
        for part in (received, received[:length]):
            try:
                answer = decode(part)
                wire.decode_initialised(answer.data)
                wire.decode_position(answer.data)
                wire.decode_valve(answer.data)
            except InstrumentError:
                pass

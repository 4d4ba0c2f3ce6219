"""NE-1000 frames, numbers and answers against published bytes, in both directions."""

import math
from decimal import ROUND_DOWN, ROUND_HALF_EVEN

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from instruments.errors import ChecksumError, FrameError, InstrumentError
from instruments.pumps import new_era_wire as wire
from instruments.pumps.new_era_wire import Answer, Dispensed
from tests.instruments.serial_rows import one_at_a_time, rows

COMMANDS = {  # the bytes of every published command -> what encodes them
    b"\x02\x08SAF0UC\x03": (None, "SAF0", True),
    b"\x02\x0506S\x03": (0, "", True),
    b"\x02\x080DIS0F\x03": (0, "DIS", True),
    b"\x02\x080RUND\x07\x03": (0, "RUN", True),
    b"\x02\n0SAF10c\xbe\x03": (0, "SAF10", True),
    b"0\r": (0, "", False),
    b"0VER\r": (0, "VER", False),
    b"0DIA 26.59\r": (0, f"DIA {wire.format_number(26.59, ROUND_HALF_EVEN)}", False),
    b"0DIA\r": (0, "DIA", False),
    b"0RAT 500 UM\r": (0, "RAT 500 UM", False),
    b"0RAT\r": (0, "RAT", False),
    b"0VOL ML\r": (0, f"VOL {wire.format_volume(1000.0)[1]}", False),
    b"0VOL 1.000\r": (0, f"VOL {wire.format_volume(1000.0)[0]}", False),
    b"0DIR INF\r": (0, "DIR INF", False),
    b"0DIR\r": (0, "DIR", False),
    b"0RUN\r": (0, "RUN", False),
    b"0STP\r": (0, "STP", False),
    b"0DIS\r": (0, "DIS", False),
    b"0CLD INF\r": (0, "CLD INF", False),
    b"0RAT 9999 MM\r": (0, "RAT 9999 MM", False),
    b"0XYZ\r": (0, "XYZ", False),
}
ANSWERS = {
    b"\x02\x0700S\xaa\xa6\x03": Answer(0, "S", safe=True),
    b"\x02\x0700I\x19\xdd\x03": Answer(0, "I", safe=True),
    b"\x0200S\x03": Answer(0, "S"),
    b"\x0200I\x03": Answer(0, "I"),
    b"\x0200P\x03": Answer(0, "P"),
    b"\x0200SNE1000V3.61\x03": Answer(0, "S", "NE1000V3.61"),
    b"\x0200S26.59\x03": Answer(0, "S", "26.59"),
    b"\x0200S500.0UM\x03": Answer(0, "S", "500.0UM"),
    b"\x0200SINF\x03": Answer(0, "S", "INF"),
    b"\x0200SI0.500W0.000ML\x03": Answer(0, "S", "I0.500W0.000ML"),
    b"\x0200S?OOR\x03": Answer(0, "S", error="OOR"),
    b"\x0200S?\x03": Answer(0, "S", error=""),
    b"\x0200I?NA\x03": Answer(0, "I", error="NA"),
    b"\x0200A?R\x03": Answer(0, "A", alarm="reset"),
    b"\x0200A?S\x03": Answer(0, "A", alarm="stall"),
    b"\x0200A?T\x03": Answer(0, "A", alarm="timeout"),
}


def test_every_published_exchange_is_met_in_both_directions_also_byte_by_byte(shared_data):
    for sent, received, meaning in rows(shared_data, "NE-1000"):
        if sent:
            assert wire.encode_command(*COMMANDS[sent]) == sent, meaning
        if received:
            assert wire.decode_answer(received) == ANSWERS[received], meaning
            assert one_at_a_time(wire.answer_length, received) == len(received), meaning


@pytest.mark.parametrize(("sent", "asked"), COMMANDS.items())
def test_command_has_its_published_bytes(sent, asked):
    assert wire.encode_command(*asked) == sent


@pytest.mark.parametrize(("received", "answer"), ANSWERS.items())
def test_answer_is_taken_from_its_published_bytes(received, answer):
    assert wire.decode_answer(received) == answer


def test_payload_of_an_answer_is_taken_apart_at_its_own_precision():
    assert wire.decode_dispensed("I0.500W0.000ML") == Dispensed(500.0, 0.0, 1.0)
    assert wire.decode_dispensed("I12.34W0.000ML") == Dispensed(12340.0, 0.0, 10.0)
    assert wire.decode_dispensed("I123.4W0.000UL") == Dispensed(123.4, 0.0, 0.1)
    assert wire.decode_rate("500.0UM") == (500, "UM")
    assert wire.decode_volume("1.000ML") == (1, "ML")
    assert wire.decode_version("NE1000V3.61") == "NE1000V3.61"


def test_safe_packet_whose_crc_holds_framing_bytes_is_read_by_its_length():
    seen = set()
    for address in range(100):
        for data in ("S", "I", "SI1.234W0.000ML", "S26.59", *(f"S{n}UH" for n in range(40))):
            payload = f"{address:02d}{data}".encode()
            crc = wire.binascii.crc_hqx(payload, 0).to_bytes(2, "big")
            frame = bytes([2, len(payload) + 4]) + payload + crc + b"\x03"
            seen |= set(crc) & {0x02, 0x03, 0x0D}
            assert one_at_a_time(wire.answer_length, frame + b"\x02") == len(frame)
            assert wire.decode_answer(frame).address == address
    assert seen == {0x02, 0x03, 0x0D}


def test_any_flipped_bit_of_a_safe_answer_is_refused():
    frame = b"\x02\x0700I\x19\xdd\x03"
    for bit in range(8 * len(frame)):
        garbled = bytearray(frame)
        garbled[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FrameError):
            wire.decode_answer(bytes(garbled))


def test_wrong_crc_is_told_as_such():
    with pytest.raises(ChecksumError, match="CRC"):
        wire.decode_answer(b"\x02\x0700S\xaa\xa7\x03")


@pytest.mark.parametrize(
    ("value", "rounding", "text"),
    [
        (0.1 + 0.2, ROUND_DOWN, "0.300"),
        (60.3 * 48, ROUND_DOWN, "2894"),
        (9.9996, ROUND_HALF_EVEN, "10.00"),
        (9.9996, ROUND_DOWN, "9.999"),
        (999.96, ROUND_HALF_EVEN, "1000"),
        (1234.9, ROUND_DOWN, "1234"),
        (0.001, ROUND_DOWN, "0.001"),
        (9999, ROUND_DOWN, "9999"),
    ],
)
def test_number_has_at_most_4_digits_and_3_decimals(value, rounding, text):
    assert wire.format_number(value, rounding) == text


@pytest.mark.parametrize("value", [0, 0.0004, 1e-9, -1, 10000, 1e12])
def test_number_that_would_be_zero_or_too_long_is_refused(value):
    with pytest.raises(ValueError, match="does not fit"):
        wire.format_number(value, ROUND_DOWN)


@pytest.mark.parametrize(
    ("volume_ul", "held"),
    [
        (720.0, ("720.0", "UL")),
        (180.57, ("180.5", "UL")),
        (999.99, ("999.9", "UL")),
        (1000.0, ("1.000", "ML")),
        (8640.9, ("8.640", "ML")),
        (12345.0, ("12.34", "ML")),
    ],
)
def test_volume_is_rounded_down_in_a_unit_that_keeps_its_digits(volume_ul, held):
    assert wire.format_volume(volume_ul) == held


@pytest.mark.parametrize(
    ("rate", "held"),
    [(180.0, ("180.0", "UH")), (3.14159, ("3.142", "UH")), (12345.0, ("12.34", "MH"))],
)
def test_rate_goes_to_the_nearest_that_the_pump_can_hold(rate, held):
    assert wire.format_rate(rate) == held


@given(st.floats(min_value=0.001, max_value=9.9e6))
@example(9999.4)
@example(999.9999999)
def test_number_on_the_wire_has_no_exponent_and_few_digits(value):
    for text, _ in (wire.format_rate(value), wire.format_volume(value)):
        whole, _, decimals = text.partition(".")
        assert text.replace(".", "").isdigit()
        assert len(decimals) <= 3
        assert len(whole) + len(decimals) <= 4
    volume, unit = wire.format_volume(value)
    held = float(volume) * float(wire.UL_PER[unit])
    assert held <= value * (1 + 1e-9)
    assert held >= value * 0.998 or value - held < 0.0011


@given(st.binary(max_size=80))
@example(b"\x02\x0700S\xaa\xa6\x03")
@example(b"\x02\x05\x03\x03\x03")
@example(b"\x02\x00")
def test_arbitrary_bytes_raise_nothing_but_instrument_errors(received):
    if received:
        length = wire.answer_length(received)
        assert length is None or 0 < length <= len(received)
    for text in (received.decode("latin-1"), received.decode("latin-1")[3:-1]):
        for decode in (
            wire.decode_number,
            wire.decode_rate,
            wire.decode_volume,
            wire.decode_dispensed,
            wire.decode_version,
        ):
            try:
                decode(text)
            except InstrumentError:
                pass
    try:
        answer = wire.decode_answer(received)
    except InstrumentError:
        return
    assert 0 <= answer.address <= 99
    assert not math.isnan(answer.address)

"""Reglo ICC commands, answers, events and numbers against published bytes, in both directions."""

import re
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from instruments.errors import FrameError, InstrumentError
from instruments.pumps import reglo_icc_wire as wire
from instruments.pumps.reglo_icc_wire import Answer, Dispensed, Event
from tests.instruments.serial_rows import one_at_a_time, rows

COMMANDS = {  # the bytes of every published command that is ever sent -> what encodes them
    b"0x!\r": (0, "x!", ""),
    b"0xE1\r": (0, "xE", "1"),
    b"3I\r": (3, "I", ""),
    b"1J\r": (1, "J", ""),
    b"4f\r": (4, "f", ""),
    b"2v\r": (2, "v", ""),
    b"2+\r": (2, "+", ""),
    b"0(\r": (0, "(", ""),
    b"0xA\r": (0, "xA", ""),
    b"3xC\r": (3, "xC", ""),
    b"3xJ\r": (3, "xJ", ""),
    b"1#\r": (1, "#", ""),
    b"1xe\r": (1, "xe", ""),
}
NEVER_SENT = {
    b"4N\r": "mode time: doses are volumes",
    b"4S\r": "speed in rpm: rates are flow rates",
    b"1%0000\r": "backsteps are set at the pump",
    b"4xU1000+2\r": "calibration is a person's act at the pump",
    b"2xY\r": "calibration is a person's act at the pump, and it moves liquid",
}
DATA = {  # the data of every published answer -> what decodes them, and to what
    "2": (wire.decode_count, 2),
    "12.30": (str, "12.30"),
    "3250E+1": (wire.decode_volume, Decimal("32.5")),
    "1300E-3": (wire.decode_volume, Decimal("0.0013")),
    "3.17 mm": (wire.decode_tubing, Decimal("3.17")),
    "1000E+2": (wire.decode_volume, Decimal(100)),
    "0114": (wire.decode_count, 114),
    "3": (wire.decode_count, 3),
    "0000001511": (wire.decode_count, 1511),
    "REGLO ICC 0208 306": (wire.decode_name, "REGLO ICC 0208 306"),
    "C 0000E+1": (wire.decode_reason, "cycle count is 0"),
}


def test_every_published_exchange_is_met_in_both_directions_also_byte_by_byte(shared_data):
    for sent, received, meaning in rows(shared_data, "Reglo ICC"):
        if sent in NEVER_SENT:
            digit, verb, parameter = re.fullmatch(r"(\d)(x?\D)(.*)\r", sent.decode()).groups()
            with pytest.raises(ValueError):
                wire.encode_command(int(digit), verb, parameter)
        elif sent:
            assert wire.encode_command(*COMMANDS[sent]) == sent, meaning
        if received.startswith(b"^"):
            assert wire.events_in(received) == [Event(3, "pumping")], meaning
            continue
        assert one_at_a_time(wire.answer_length, received) == len(received), meaning
        answer = wire.decode_answer(received)
        if received == b"*":
            assert answer == Answer(status="*"), meaning
        else:
            decode, value = DATA[answer.data]
            assert decode(answer.data) == value, meaning


@pytest.mark.parametrize(("sent", "asked"), COMMANDS.items())
def test_command_has_its_published_bytes(sent, asked):
    assert wire.encode_command(*asked) == sent


def test_no_string_that_can_be_sent_resets_a_channel():
    parameters = ["", "0", "1", "0000", "0317", "1300-3", "10", "01", "9999+9"]
    for digit, verb, parameter in product(range(-1, 12), [*wire.VERBS, "0", "1", ""], parameters):
        try:
            sent = wire.encode_command(digit, verb, parameter)
        except ValueError:
            continue
        assert re.fullmatch(rb"[0-8][^0-9\s][^\r]*\r", sent), sent
        assert not re.fullmatch(rb"[0-9]+\r", sent)


@given(st.integers(), st.text(max_size=3), st.text(max_size=7))
@example(1, "0", "")
@example(1, "", "0")
@example(10, "H", "")
@example(1, "I", "0\r10")
@example(1, "f", "1000+0\n")
def test_whatever_is_put_together_only_listed_commands_come_out(digit, verb, parameter):
    try:
        sent = wire.encode_command(digit, verb, parameter)
    except ValueError:
        return
    assert verb in wire.VERBS
    assert sent.count(b"\r") == 1 and b"\n" not in sent


def test_verbs_that_move_save_or_forget_are_not_sent_blindly():
    assert wire.VERBS["H"][0] == "never"
    assert wire.VERBS["W"][0] == "verify"
    assert not {"0", "*", "@", "xY", "L", "M", "G", "N", "P", "S", "xI"} & set(wire.VERBS)


STOPPED = b"^X2|A\r\n"
PUMPING = b"^U3|A|0000000000|0000100000|0000\r\n"


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        (b"*", Answer("*")),
        (b"-", Answer("-")),
        (STOPPED + b"*", Answer("*", events=(Event(2, "stopped", "target reached"),))),
        (
            STOPPED + PUMPING + b"4.983 ml\r\n",
            Answer(
                data="4.983 ml",
                events=(Event(2, "stopped", "target reached"), Event(3, "pumping")),
            ),
        ),
        (
            b"4.9" + PUMPING + b"83 ml\r\n",
            Answer(data="4.983 ml", events=(Event(3, "pumping"),)),
        ),
        (b"^X9|?\r\n+", Answer("+")),  # an event that nobody can read
    ],
)
def test_events_before_and_inside_an_answer_are_taken_out_of_it(frame, answer):
    assert one_at_a_time(wire.answer_length, frame) == len(frame)
    assert wire.answer_length(frame + b"*more") == len(frame)
    assert wire.decode_answer(frame) == answer


@pytest.mark.parametrize("begun", [b"^X2|A\r\n", b"^X2|", b"4.983 ml\r", b"REGLO"])
def test_answer_that_has_not_come_to_its_end_is_waited_for(begun):
    assert wire.answer_length(begun) is None
    with pytest.raises(FrameError):
        wire.decode_answer(begun)


@pytest.mark.parametrize(
    ("code", "event"),
    [
        (b"^X1|B\r\n", Event(1, "stopped", "calibration done")),
        (b"^X1|1\r\n", Event(1, "stopped", "stopped by hand")),
        (b"^X4|2\r\n", Event(4, "stopped", "over-temperature")),
        (b"^X1|3\r\n", Event(1, "stopped", "over-current")),
        (b"^U1|B|0000000012|0000100000|0001\r\n", Event(1, "paused")),
        (b"^U1|C|0000000000|0000000000|0000\r\n", Event(1, "stopped")),
    ],
)
def test_event_says_of_which_channel_it_is(code, event):
    assert wire.events_in(b"\x00*" + code + b"12") == [event]


@pytest.mark.parametrize(
    ("value", "rounding", "text"),
    [
        ("0.0013", ROUND_DOWN, "1300-3"),
        ("100", ROUND_DOWN, "1000+2"),
        ("0.0013999", ROUND_DOWN, "1399-3"),
        ("0.0013999", ROUND_HALF_EVEN, "1400-3"),
        ("9.9999", ROUND_HALF_EVEN, "1000+1"),
        ("9.9999", ROUND_DOWN, "9999+0"),
    ],
)
def test_number_is_four_digits_and_an_exponent(value, rounding, text):
    assert wire.format_volume(Decimal(value), rounding) == text
    assert re.fullmatch(wire.VERBS["v"][1], text)


@pytest.mark.parametrize("value", ["0", "-1", "1E-10", "1E+10", "NaN", "Infinity"])
def test_number_that_the_wire_can_not_hold_is_refused(value):
    with pytest.raises(ValueError, match="does not fit"):
        wire.format_volume(Decimal(value), ROUND_DOWN)


@given(st.floats(1e-3, 1e7))
def test_volume_goes_down_and_rate_to_the_nearest(value):
    target_ul = wire.decode_volume(wire.format_target(value)) * 1000
    assert 0.999 * value <= target_ul <= value * (1 + 1e-9)
    rate_ul_h = wire.decode_volume(wire.format_rate(value)) * 60_000
    assert abs(float(rate_ul_h) - value) <= 0.000_501 * value


def test_rate_is_told_in_ml_min_and_volume_in_ml():
    assert wire.format_rate(60.0) == "1000-3"
    assert wire.format_target(1.3) == "1300-3"


@pytest.mark.parametrize(
    ("data", "counter"),
    [
        ("4.983 ml", Dispensed(4983.0, 1.0)),
        ("12.34 mL", Dispensed(12340.0, 10.0)),
        ("983 ul", Dispensed(983.0, 1.0)),
        ("0.5 ul", Dispensed(0.5, 0.1)),
        ("1.2 l", Dispensed(1_200_000.0, 100_000.0)),
    ],
)
def test_counter_is_read_with_its_unit_and_the_step_of_its_digits(data, counter):
    assert wire.decode_dispensed(data) == counter


@pytest.mark.parametrize(("mm", "text"), [(3.17, "0317"), (0.13, "0013"), (1.02, "0102")])
def test_tubing_is_told_in_hundredths(mm, text):
    assert wire.format_tubing(mm) == text


@pytest.mark.parametrize("mm", [0.12, 3.18, 1.025, float("nan"), float("inf")])
def test_tubing_that_no_pump_has_is_refused(mm):
    with pytest.raises(ValueError):
        wire.format_tubing(mm)


@pytest.mark.parametrize(
    ("reason", "said"), [("R 1380E-1", "mL/min 0.138"), ("V 9999E+2", "mL 999.9")]
)
def test_reason_is_told_with_its_limit(reason, said):
    assert wire.decode_reason(reason).endswith(said)


@given(st.binary(max_size=400))
@example(b"^" * 400)
@example(b"\xff" * 100)
def test_arbitrary_bytes_are_an_answer_or_a_frame_error(received):
    length = wire.answer_length(received) if received else None
    assert length is None or 0 < length <= len(received)
    wire.events_in(received)
    for decode in (
        wire.decode_answer,
        *(
            lambda frame, reader=reader: reader(frame.decode("latin-1"))
            for reader, _ in DATA.values()
        ),
        lambda frame: wire.decode_dispensed(frame.decode("latin-1")),
        lambda frame: wire.decode_letter(frame.decode("latin-1")),
    ):
        try:
            decode(received)
        except InstrumentError:
            pass


def test_device_that_babbles_is_cut_off():
    assert wire.answer_length(b"x" * 100) is not None
    assert wire.answer_length(b"^" + b"x" * 400) is not None


@pytest.mark.parametrize("cycles", ["1", "0001", "00000", "0000|"])
def test_no_cycles_are_the_only_ones_that_are_ever_set(cycles):
    assert wire.encode_command(1, '"', "0000") == b'1"0000\r'
    with pytest.raises(ValueError, match="no command that is ever sent"):
        wire.encode_command(1, '"', cycles)

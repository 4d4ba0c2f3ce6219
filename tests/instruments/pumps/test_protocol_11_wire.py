"""Protocol 11 commands, answers and numbers against recorded and documented bytes, in both
directions."""

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from instruments.errors import FrameError, InstrumentError
from instruments.pumps import protocol_11_wire as wire
from instruments.pumps.protocol_11_wire import DIALECTS, Answer, Volume
from tests.instruments.serial_rows import one_at_a_time, rows

LEGATO, ELITE, PHD = DIALECTS["legato"], DIALECTS["elite"], DIALECTS["phd_ultra"]
RATE = " ".join(wire.format_rate(11969.4))  # 199.49 ul/min, which a pump may also show so

ANSWERS = {  # the bytes of every recorded or documented answer -> what they say
    b"\n:\x11": Answer(":"),
    b"\n>\x11": Answer(">"),
    b"\n0 ul\r\n:\x11": Answer(":", ("0 ul",)),
    b"\n15%\r\n:\x11": Answer(":", ("15%",)),
    b"\nPump address set to 0\r\n:\x11": Answer(":", ("Pump address set to 0",)),
    b"\nQuick Start - Infuse Only (qs i)\r\n:\x11": Answer(
        ":", ("Quick Start - Infuse Only (qs i)",)
    ),
    b"\nQuick Start - Infuse/Withdraw (qs iw)\r\n:\x11": Answer(
        ":", ("Quick Start - Infuse/Withdraw (qs iw)",)
    ),
    b"\n1 ml/min\r\n:\x11": Answer(":", ("1 ml/min",)),
    b"\n199.49 ul/min\r\n:\x11": Answer(":", ("199.49 ul/min",)),
    b"\n25.0404 nl/min to 26.0035 ml/min\r\n:\x11": Answer(
        ":", ("25.0404 nl/min to 26.0035 ml/min",)
    ),
    b"\n110 ul/min to 417 ul/min in 7.036 seconds\r\n:\x11": Answer(
        ":", ("110 ul/min to 417 ul/min in 7.036 seconds",)
    ),
    b"\nRamp not set up.\r\n:\x11": Answer(":", ("Ramp not set up.",)),
    b"\n8.6284 ml\r\n:\x11": Answer(":", ("8.6284 ml",)),
    b"\n7.2620 mm\r\n:\x11": Answer(":", ("7.2620 mm",)),
    b"\n"
    + b"".join(f"{ml} ml\r\n".encode() for ml in (1, 2, 3, 5, 10, 20, 30, 50, 100))
    + b":\x11": (Answer(":", tuple(f"{ml} ml" for ml in (1, 2, 3, 5, 10, 20, 30, 50, 100)))),
    b"\nHoshi, 20 ml, 20.45 mm\r\n:\x11": Answer(":", ("Hoshi, 20 ml, 20.45 mm",)),
    b"\n30 seconds\r\n:\x11": Answer(":", ("30 seconds",)),
    b"\n01:30:00\r\n:\x11": Answer(":", ("01:30:00",)),
    b"\nTarget time not set\r\n:\x11": Answer(":", ("Target time not set",)),
    b"\nTarget volume not set\r\n:\x11": Answer(":", ("Target volume not set",)),
    b"\n1 ml\r\n:\x11": Answer(":", ("1 ml",)),
    b"\nArgument error: 2\r\n   Target volume out of range\r\n:\x11": Answer(
        ":", ("Argument error: 2", "Target volume out of range"), refused=True
    ),
    b"T*": Answer("T*", polled=False),
    b">*": Answer(">*", polled=False),
    b"\n11 ELITE I/W Single 3.0.4\r\n:": Answer(":", ("11 ELITE I/W Single 3.0.4",), polled=False),
    b"\n25.0404 nl/min to 26.0035 ml/min\r\n:": Answer(
        ":", ("25.0404 nl/min to 26.0035 ml/min",), polled=False
    ),
}
NOT_SENT = {  # the driver has no use for these; their bytes are only built, their answers decoded
    b"@cwvolume\r\n", b"@force\r\n", b"@addr 0\r\n", b"@load qs iw\r\n", b"@irate lim\r\n",
    b"@iramp\r\n", b"@wrate\r\n", b"@wrate 1 ml/min\r\n", b"@wramp 110 ul/min 417 ul/min 7.036\r\n",
    b"@wramp\r\n", b"@svolume\r\n", b"@syrmanu HOSHI ?\r\n", b"@syrmanu\r\n", b"@wvolume\r\n",
    b"@tvolume 2 l\r\n", b"@dim 15\r\n", b"@irate 199.49 ul/min\r\n", b"0irate lim\r\n",
    b"0VER \r\n",
}  # fmt: skip


@pytest.mark.parametrize(
    ("device", "dialect"), [("KDS Legato 101", LEGATO), ("Pump 11 Elite", ELITE)]
)
def test_every_recorded_exchange_is_met_in_both_directions_also_byte_by_byte(
    shared_data, device, dialect
):
    for sent, received, meaning in rows(shared_data, device):
        if sent:
            text = sent.decode().removeprefix("@" if dialect is LEGATO else "0").rstrip("\r\n")
            assert wire.encode_command(dialect, 0, text) == sent, meaning
            assert sent in NOT_SENT or text.split()[0] in wire.RETRY, meaning
        assert wire.decode_answer(received, 0) == ANSWERS[received], meaning
        complete = len(received) if received.endswith(b"\x11") else None
        assert one_at_a_time(wire.answer_length, received) == complete, meaning


@pytest.mark.parametrize(("received", "answer"), ANSWERS.items())
def test_answer_is_taken_from_its_recorded_bytes(received, answer):
    assert wire.decode_answer(received, 0) == answer


@pytest.mark.parametrize(
    ("dialect", "address", "text", "sent"),
    [
        (LEGATO, 0, "irun", b"@irun\r\n"),
        (LEGATO, 2, "irun", b"2irun\r\n"),
        (ELITE, 0, "irun", b"0irun\r\n"),
        (ELITE, 12, "irun", b"12irun\r\n"),
        (PHD, 0, "irate 3.2 ul/min", b"irate 3.2 ul/min\r\n"),
        (PHD, 12, "irat 3.2 ul/min", b"12:irat 3.2 ul/min\r\n"),
    ],
)
def test_address_stands_before_a_command_as_its_dialect_writes_it(dialect, address, text, sent):
    assert wire.encode_command(dialect, address, text) == sent


@pytest.mark.parametrize(
    ("received", "address", "answer"),
    [
        (b"\nPump address set to 2\r\n02:\x11", 2, Answer(":", ("Pump address set to 2",))),
        (b"\n02:1 ml/min\r\n02>\x11", 2, Answer(">", ("1 ml/min",))),
        (b"\n02:01:30:00\r\n02:\x11", 2, Answer(":", ("01:30:00",))),
        (b"\n02T*\x11", 2, Answer("T*")),
        (b"\n00:7.2620 mm\r\n00:\x11", 0, Answer(":", ("7.2620 mm",))),
        (b"\n00T*7.2620 mm\r\n00T*\x11", 0, Answer("T*", ("7.2620 mm",))),
        (b"\n*\x11", 0, Answer("*")),
        (b"\n<\x11", 0, Answer("<")),
        (b"\n<*\x11", 0, Answer("<*")),
        (b"\nUnknown command\r\n:\x11", 0, Answer(":", ("Unknown command",), refused=True)),
        (b"\nCommand error: x\r\n:\x11", 0, Answer(":", ("Command error: x",), refused=True)),
        (b"\nOut of range\r\n:\x11", 0, Answer(":", ("Out of range",), refused=True)),
    ],
)
def test_address_and_prompt_are_taken_off_an_answer(received, address, answer):
    assert wire.decode_answer(received, address) == answer


@pytest.mark.parametrize(
    "received",
    [b"T*\n0 ul\r\n:\x11", b"\nT*0 ul\r\n:\x11", b"\nT*\n0 ul\r\n:\x11", b"T*0 ul\r\n:\x11"],
)
def test_target_prompt_leaking_in_front_of_the_first_line_is_passed_over(received):
    assert wire.decode_answer(received, 0) == Answer(":", ("0 ul",))


@pytest.mark.parametrize(
    "received",
    [
        b"", b"\x11", b"\n\x11", b"0 ul\r\n:\x11", b"xx\n:\x11\x11", b"\n0 ul\r\n\x11",
        b"\n0 ul\r\n;\x11", b"\n\x000 ul\r\n:\x11", b"\n02:\x11", b"\n0 ul\r\n01:\x11",
    ],
)  # fmt: skip
def test_answer_that_is_not_whole_or_not_of_this_pump_is_refused(received):
    with pytest.raises(FrameError):
        wire.decode_answer(received, 0)


def test_pump_with_an_address_that_does_not_tell_it_is_refused():
    with pytest.raises(FrameError, match="address 0, not 3"):
        wire.decode_answer(b"\n:\x11", 3)


def test_value_is_read_in_the_unit_that_the_pump_chose():
    assert wire.decode_volume(("1.69023 ul",)) == Volume(Decimal("1.69023"), Decimal("0.00001"))
    assert wire.decode_volume(("720 ul",)) == Volume(Decimal(720), Decimal("0.001"))
    assert wire.decode_volume(("0 ul",)) == Volume(Decimal(0), Decimal("0.00001"))
    assert wire.decode_volume(("12.5 ml",)) == Volume(Decimal(12500), Decimal("0.1"))
    assert wire.decode_volume(("250 nl",)) == Volume(Decimal("0.25"), Decimal("0.000001"))
    assert wire.decode_rate(("199.49 ul/min",)) == Decimal("11969.4")
    assert wire.decode_rate(("1 ml/min",)) == wire.decode_rate(("1 ml/m",))
    assert wire.decode_rate(("2 nl/s",)) == Decimal("7.2")
    assert wire.decode_diameter(("7.2620 mm",)) == Decimal("7.262")
    assert wire.decode_time_s(("30 seconds",)) == 30
    assert wire.decode_time_s(("01:30:00",)) == 5400
    assert wire.decode_time_s(("Target time not set",)) is None
    assert wire.decode_target_volume(("Target volume not set",)) is None
    assert wire.decode_target_volume(("1 ml",)) == 1000
    assert wire.decode_infuses(("Quick Start - Infuse Only (qs i)",))
    assert wire.decode_infuses(("Quick Start - Infuse/Withdraw (qs iw)",))
    assert not wire.decode_infuses(("Quick Start - Withdraw Only (qs w)",))
    assert wire.decode_identity(("11 ELITE I/W Single 3.0.4",)) == "11 ELITE I/W Single 3.0.4"
    version = ("Firmware:      v3.0.6", "Pump address:  0", "Serial number: D101754")
    assert wire.decode_identity(version) == "v3.0.6 serial D101754"


@pytest.mark.parametrize(
    ("received", "is_on"),
    [
        (b"\nOff\r\n:", False),
        (b"\n OFF\r\n:", False),
        (b"\n02:Off\r\n02:", False),
        (b"\nOn\r\n:\x11", True),
    ],
)
def test_polling_mode_is_read_with_and_without_its_xon(received, is_on):
    assert one_at_a_time(wire.poll_answer_length, received) == len(received)
    answer = wire.decode_answer(received, 2 if b"02" in received else 0)
    assert wire.decode_poll(answer.lines) is is_on


@pytest.mark.parametrize(
    ("value", "rounding", "text"),
    [
        (0.1 + 0.2, ROUND_DOWN, "0.3"),
        (60.3 * 48, ROUND_DOWN, "2894.4"),
        (199.49, ROUND_HALF_EVEN, "199.49"),
        (9.9999996, ROUND_HALF_EVEN, "10"),
        (9.9999996, ROUND_DOWN, "9.99999"),
        (999999.6, ROUND_DOWN, "999999"),
        (0.00001, ROUND_DOWN, "0.00001"),
        (100000, ROUND_DOWN, "100000"),
    ],
)
def test_number_has_at_most_six_digits_and_no_exponent(value, rounding, text):
    assert wire.format_number(value, rounding) == text


@pytest.mark.parametrize("value", [0, 1e-6, -1, 1e6, float("nan"), float("inf")])
def test_number_that_would_be_zero_or_too_long_is_refused(value):
    with pytest.raises(ValueError, match="does not fit"):
        wire.format_number(value, ROUND_DOWN)


def test_unit_is_chosen_so_that_digits_are_kept():
    assert wire.format_rate(60.0) == ("60", "ul/hr")
    assert wire.format_rate(0.5) == ("500", "nl/hr")
    assert wire.format_rate(12345.67) == ("12.3457", "ml/hr")
    assert wire.format_volume(719.99999) == ("719.999", "ul")
    assert wire.format_volume(12345.67) == ("12.3456", "ml")
    assert wire.format_time(5400) == "01:30:00"
    assert wire.decode_rate((RATE,)) == Decimal("11969.4")


@given(st.floats(min_value=0.001, max_value=9.9e6))
@example(999.9999999)
@example(0.9999999)
def test_written_volume_is_never_above_the_asked_and_reads_back_as_itself(value):
    volume = " ".join(wire.format_volume(value))
    held = wire.decode_volume((volume,)).ul
    assert float(held) <= value * (1 + 1e-9)
    assert float(held) >= value * 0.9999
    rate = wire.decode_rate((" ".join(wire.format_rate(value)),))
    assert abs(float(rate) / value - 1) < 1e-5


@given(st.binary(max_size=80), st.sampled_from([0, 2]))
@example(b"\n1e99 ml\r\n:\x11", 0)
@example(b"\nFirmware:\r\n:\x11", 0)
def test_arbitrary_bytes_raise_nothing_but_instrument_errors(received, address):
    for length in (wire.answer_length, wire.poll_answer_length, wire.probe_answer_length):
        if received and (end := length(received)) is not None:
            assert 0 < end <= len(received)
    try:
        lines = wire.decode_answer(received, address).lines
    except InstrumentError:
        lines = tuple(received.decode("latin-1").splitlines())
    for decode in (
        wire.decode_nothing, wire.decode_volume, wire.decode_target_volume, wire.decode_rate,
        wire.decode_diameter, wire.decode_time_s, wire.decode_infuses, wire.decode_poll,
        wire.decode_identity,
    ):  # fmt: skip
        try:
            decode(lines)
        except InstrumentError:
            pass

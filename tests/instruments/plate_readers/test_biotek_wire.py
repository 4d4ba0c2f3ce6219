"""BioTek answers and bodies against the recorded bytes, and against bodies damaged on purpose."""

import math
import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from instruments.errors import ChecksumError, DeviceRejected, FrameError, InstrumentError
from instruments.plate_readers import biotek_wire as wire
from tests.instruments.serial_rows import one_at_a_time, rows

DEFINITION_580 = b"004701010108120001200100001100100000106000080580113\x03"
"""As PyLabRobot's recording has it; see `NOT_JUDGED`."""
NOT_JUDGED = {
    b"004701010108120001200001100001100000106000080580113\x03": (
        "two digits of this row stand elsewhere than in the recording that it names as its source; "
        "that recording and the fluorescence row agree on 0001200100001100100000"
    ),
    b"621720\x03": "focus of a luminescence or fluorescence read, which this driver never sends",
}
"""Commands of rows that are not compared, with the reason; their answers are."""
DEFINITIONS = [
    # of the same recordings: luminescence of parts of a plate, the last without ETX
    b"008401010107010001200100001100100000123000020200200-001000-00300000000000000000001351086",
    b"008401020207030001200100001100100000123000020200200-001000-00300000000000000000001351090",
    b"008401040406040001200100001100100000123000020200200-001000-00300000000000000000001351094",
]


def body(values, status="0000", checksum=None):
    """Write a body by hand: serpentine rows of the values, with the trailer of the rule."""
    lines = []
    for row in range(8):
        columns = range(12) if row % 2 == 0 else range(11, -1, -1)
        lines.append(",".join(f"{row + 1:02d},{c + 1:02d},{values[row][c]}" for c in columns))
    text = "000:00:00.0,228," + "\r\n,".join(lines) + "\r\n228\x1a"
    total = sum(text.encode()) % 256 if checksum is None else checksum
    return f"01,1,\r{text}{total:03d}\x1a{status}\x03".encode()


PLATE = [[f"+{0.01 * (12 * row + column):.4f}" for column in range(12)] for row in range(8)]


def recorded_bodies(shared_data):
    found = [received for _, received, _ in rows(shared_data, "BioTek") if b"\x1a" in received]
    assert len(found) == 3
    return found


def test_every_recorded_exchange_is_met_in_both_directions_also_byte_by_byte(shared_data):
    judged = 0
    for sent, received, meaning in rows(shared_data, "BioTek"):
        length = one_at_a_time(wire.answer_length, received)
        assert length == len(received), meaning
        judged += 1
        if received.startswith(b"01,1,"):
            continue  # judged below
        parameter = len(sent) > 1
        payload = wire.decode_answer(received, to_parameter=parameter)
        if sent == b"e":
            assert payload.split() == ["1650200", "Version", "1.04"]
        elif sent == b"h":
            assert wire.decode_temperature_c(payload) == 23.6
        elif sent == b"O":
            assert payload == ""
        elif sent.startswith(b"0084"):  # fluorescence: never sent, but of the same checksum rule
            assert_checksum(sent)
        else:
            assert sent in NOT_JUDGED and (payload.isdigit() or not payload)
    assert judged == 9


def assert_checksum(definition):
    text = definition.removesuffix(b"\x03")
    assert int(text[:4]) == len(text) - 4
    assert int(text[-3:]) == wire.definition_checksum(text[4:-3])


def test_read_definition_is_the_recorded_one_and_its_checksum_that_of_all_recorded():
    assert wire.encode_read_definition(580) == DEFINITION_580
    for definition in [DEFINITION_580, *DEFINITIONS, *NOT_JUDGED][:5]:
        assert_checksum(definition)
    for wavelength_nm in range(230, 1000):
        definition = wire.encode_read_definition(wavelength_nm)
        assert_checksum(definition)
        assert int(definition[-3:-1]) == sum(definition[:-3]) % 100  # PyLabRobot's rule


def test_recorded_absorbance_body_gives_its_96_wells(shared_data):
    values, flags = wire.decode_absorbance(wire.decode_body(recorded_bodies(shared_data)[0]))
    assert values.shape == (8, 12) and not flags
    assert (values[0, 0], values[0, 11]) == (0.1917, 0.2105)
    assert (values[1, 0], values[1, 11]) == (0.0802, 0.1986)  # read from right to left
    assert (values[7, 0], values[7, 11]) == (0.1427, 0.1316)


def test_recorded_bodies_of_counts_meet_the_checksum_and_are_no_absorbance(shared_data):
    _, fluorescence, luminescence = recorded_bodies(shared_data)
    counts = wire.decode_body(fluorescence)
    assert (counts.temperature_c, counts.wells[1, 1], counts.wells[8, 1]) == (
        22.7,
        "0000427",
        "0001118",
    )
    with pytest.raises(FrameError, match="A1 holds '0000427', which is not an absorbance"):
        wire.decode_absorbance(counts)
    partial = wire.decode_body(luminescence)
    assert list(partial.wells) == [(row, 1) for row in range(1, 8)]
    with pytest.raises(FrameError, match="7 wells"):
        wire.decode_absorbance(partial)


def test_any_changed_digit_of_a_recorded_body_is_refused(shared_data):
    whole = recorded_bodies(shared_data)[0]
    for place in range(6, whole.index(b"\x1a")):
        if whole[place : place + 1].isdigit():
            digit = b"%d" % ((int(whole[place : place + 1]) + 1) % 10)
            with pytest.raises(ChecksumError):
                wire.decode_body(whole[:place] + digit + whole[place + 1 :])


def test_every_cut_of_a_recorded_body_is_refused(shared_data):
    whole = recorded_bodies(shared_data)[0]
    for end in range(len(whole)):
        with pytest.raises(FrameError):
            wire.decode_body(whole[:end])


def test_asterisks_are_no_number_and_a_sign_is_part_of_one():
    values = [list(row) for row in PLATE]
    values[1][2], values[7][11] = "*******", "-0.0031"
    measured, flags = wire.decode_absorbance(wire.decode_body(body(values)))
    assert math.isnan(measured[1, 2]) and flags == {"B3": "no number"}
    assert measured[7, 11] == -0.0031
    assert np.isfinite(np.delete(measured, 14)).all()


@pytest.mark.parametrize(
    "value",
    ["+0.19.7", "0000427", "+++++++", " 0.1917", "+0.191", "+0.19171", "1e-0003", "OVRFLW "],
)
def test_word_that_is_no_absorbance_is_refused(value):
    values = [list(row) for row in PLATE]
    values[0][0] = value
    with pytest.raises(FrameError):
        wire.decode_absorbance(wire.decode_body(body(values)))


def resummed(frame):
    total = wire.body_checksum(frame)
    return re.sub(rb"\x1a[0-9]{3}\x1a", b"\x1a%03d\x1a" % total, frame)


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.replace(b"\r\n,08,", b"\r\n,09,", 1),
        lambda b: b.replace(b"01,02,+", b"01,01,+", 1),
        lambda b: b.replace(b",01,02,+0.0100", b"", 1),
        lambda b: b.replace(b",01,02,+0.0100", b",01,+0.0100", 1),
        lambda b: b.replace(b"01,1,\r", b"02,1,\r", 1),
        lambda b: b.replace(b"000:00:00.0", b"000:00:00", 1),
        lambda b: b.replace(b"228\x1a", b"\x1a", 1),
        lambda b: b + b"\x03",
    ],
)
def test_body_with_a_well_missing_doubled_or_misplaced_is_refused_also_with_a_good_sum(change):
    with pytest.raises(FrameError):
        wire.decode_absorbance(wire.decode_body(resummed(change(body(PLATE)))))


def test_status_of_body_and_answer_is_told():
    with pytest.raises(DeviceRejected, match="4B01"):
        wire.decode_body(body(PLATE, status="4B01"))
    with pytest.raises(DeviceRejected, match="2005"):
        wire.decode_answer(b"\x062005\x03")
    with pytest.raises(FrameError):
        wire.decode_answer(b"0000\x03")
    with pytest.raises(FrameError):
        wire.decode_answer(b"\x060000\x03", to_parameter=True)


def test_read_definition_changes_only_wavelength_and_checksum():
    assert wire.encode_read_definition(450)[:44] == wire.encode_read_definition(580)[:44]
    assert wire.encode_read_definition(450)[44:] == b"0450109\x03"
    assert len(wire.encode_read_definition(450)) == len(DEFINITION_580)


@given(st.binary(max_size=200), st.integers(0, 1500))
@example(b"01,1,\r000:00:00.0,228,\xb2\xb3,01,+0.1917\r\n228\x1a041\x1a0000\x03", 0)
def test_arbitrary_bytes_raise_nothing_but_instrument_errors(received, place):
    spoiled = body(PLATE)[:place] + received + body(PLATE)[place:]
    for length in (wire.answer_length(received), wire.ack_length(received)):
        assert length is None or 0 < length <= len(received)
    for decode in (
        lambda: wire.decode_ack(received),
        lambda: wire.decode_answer(received),
        lambda: wire.decode_answer(received, to_parameter=True),
        lambda: wire.decode_temperature_c(received.decode("latin-1")),
        lambda: wire.decode_absorbance(wire.decode_body(received)),
        lambda: wire.decode_absorbance(wire.decode_body(resummed(spoiled))),
    ):
        try:
            decode()
        except InstrumentError:
            pass

"""SpectraMax answers and transfers against published bytes and plates written by hand."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from instruments.errors import DeviceRejected, FrameError, InstrumentError
from instruments.plate_readers import spectramax_wire as wire
from tests.instruments.serial_rows import one_at_a_time, rows


def prompts_of(text):
    return 2 if text.split(" ")[0] in wire.TWO_PROMPTS else 1


def body(values, wavelengths=(450,), header="12.5\t25.1\t96-well"):
    """Write a transfer by hand: a list of wavelengths, then blocks of columns."""
    lines = [header, "L:\t" + "\t".join(str(nm) for nm in wavelengths)]
    for nm in wavelengths:
        lines.append(f"L:\t{nm}")
        lines += [f"{c + 1}:\t" + "\t".join(column) for c, column in enumerate(values)]
    return "\r\n".join(lines) + "\r\n"


PLATE = [[f"{0.01 * (8 * column + row):.4f}" for row in range(8)] for column in range(12)]


def test_every_published_exchange_is_met_in_both_directions_also_byte_by_byte(shared_data):
    for sent, received, meaning in rows(shared_data, "SpectraMax"):
        text, end = sent[1:-1].decode(), sent[-1:].decode()
        assert wire.encode_command(text, end) == sent
        prompts = prompts_of(text)
        length = one_at_a_time(lambda got, n=prompts: wire.answer_length(got, n), received)
        assert length is not None and not received[length:].strip(), meaning
        if "FAIL" in received.decode():
            with pytest.raises(DeviceRejected, match="107 .no data"):
                wire.decode_answer(received, prompts)
            continue
        note, data = wire.decode_answer(received, prompts)
        assert bool(note) == ("Warning" in received.decode())
        if text == "STATUS":
            assert wire.decode_status(data) == wire.ReaderStatus(idle=True, drawer_open=True)
        if text == "TRANSFER":
            plate = wire.decode_transfer(data, (260,), n_rows=2, n_columns=2)
            assert plate.temperature_c == 25.1
            np.testing.assert_array_equal(plate.absorbance[260], [[0.1, 0.3], [0.2, 0.4]])


@pytest.mark.parametrize("received", [b"OK>\r\n", b"OK\r\n>", b"OK\t\r\n>", b"\r\n>OK\r\n>"])
def test_both_prompt_shapes_are_taken_also_behind_a_late_prompt(received):
    length = one_at_a_time(lambda got: wire.answer_length(got, 1), received)
    assert wire.decode_answer(received[:length], 1) == ("", "")


@pytest.mark.parametrize("received", [b"FAIL\t 105\r\n>", b"FAIL\t105>", b"OK\r\n>FAIL\t 105\r\n>"])
def test_failure_in_either_part_is_told_by_its_meaning(received):
    assert one_at_a_time(lambda got: wire.answer_length(got, 2), received) is not None
    with pytest.raises(DeviceRejected, match="105 .busy"):
        wire.decode_answer(received, 2)


def test_status_is_read_by_its_words_wherever_they_stand():
    assert wire.decode_status("OPEN\r\nIDLE").idle
    assert wire.decode_status("IDLE CLOSED") == wire.ReaderStatus(idle=True, drawer_open=False)
    assert not wire.decode_status("CLOSED\r\nMEASURING").idle
    assert not wire.decode_status("AIR CAL").idle
    with pytest.raises(FrameError):
        wire.decode_status("CLOSED")


def test_rows_of_a_transfer_are_plate_columns():
    plate = wire.decode_transfer(body(PLATE, (450, 570)), (450, 570))
    assert plate.absorbance[570].shape == (8, 12)
    assert plate.absorbance[450][7, 0] == pytest.approx(0.07)
    assert plate.absorbance[450][0, 11] == pytest.approx(0.88)
    assert not plate.flags


def test_negative_absorbance_is_a_number_and_saturation_a_typed_flag():
    values = [list(column) for column in PLATE]
    values[0][0], values[1][2], values[11][7] = "-0.003", "#SAT", "***"
    plate = wire.decode_transfer(body(values), (450,))
    assert plate.absorbance[450][0, 0] == -0.003
    assert np.isnan(plate.absorbance[450][2, 1]) and np.isnan(plate.absorbance[450][7, 11])
    assert plate.flags == {(450, "C2"): "saturated", (450, "H12"): "no number"}


@pytest.mark.parametrize(
    "broken",
    [
        body(PLATE[:11]),
        body([*PLATE[:11], PLATE[11][:7]]),
        body([*PLATE, PLATE[0]]),
        body(PLATE, (570,)),
        body(PLATE).replace("2:\t", "3:\t", 1),
        body(PLATE) + "L:\t450\r\n",
        body(PLATE).replace("L:\t450\r\nL:\t450", "L:\t450", 1),
        "",
        "12.5\t25.1\t96-well",
    ],
)
def test_transfer_with_anything_missing_or_too_much_is_refused_never_padded(broken):
    with pytest.raises(FrameError):
        wire.decode_transfer(broken, (450,))


@given(st.binary(max_size=120))
@example(b"OK\r\n>FAIL")
@example(b"FAIL\t 9999>")
def test_arbitrary_bytes_raise_nothing_but_instrument_errors(received):
    text = received.decode("latin-1")
    for prompts in (1, 2):
        length = wire.answer_length(received, prompts)
        assert length is None or 0 < length <= len(received)
        for decode in (
            lambda n=prompts: wire.decode_answer(received, n),
            lambda: wire.decode_status(text),
            lambda: wire.decode_transfer(text, (450,)),
            lambda: wire.decode_transfer(body([[text] * 8] * 12), (450,)),
        ):
            try:
                decode()
            except InstrumentError:
                pass

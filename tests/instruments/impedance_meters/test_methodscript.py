"""MethodSCRIPT scripts and streams against the bytes that PalmSens publishes."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from instruments.errors import DeviceRejected, FrameError, InstrumentError
from instruments.impedance_meters import methodscript as wire
from tests.instruments.serial_rows import one_at_a_time, rows


def test_every_published_exchange_is_met_also_byte_by_byte(shared_data):
    exchanges = {
        meaning: (sent, received) for sent, received, meaning in rows(shared_data, "EmStat Pico")
    }
    assert len(exchanges) == 4
    for meaning, (_sent, received) in exchanges.items():
        if "LSV" in meaning:
            assert one_at_a_time(wire.stream_length, received) == len(received)
            first, *rest = wire.decode_stream(received)
            assert [variable.kind for variable in first] == ["da", "ba"]
            assert first[0].value == pytest.approx(-0.499905, rel=1e-12)
            assert first[1].value == pytest.approx(-5.7847747e-05, rel=1e-7)
            assert len(rest) == 3
        elif "EIS" in meaning:
            point = wire.decode_package(received.decode())
            assert [variable.kind for variable in point] == ["dc", "cc", "cd"]
            assert [variable.value for variable in point] == pytest.approx(
                [99.999732, 9885.956, 2.9945999], rel=1e-7
            )
            assert not any(variable.status for variable in point)
        elif "nothing running" in meaning:
            assert one_at_a_time(wire.line_length, received) == len(received)
            with pytest.raises(DeviceRejected, match="0x0006"):
                raise wire.decode_error(received.decode())
        else:
            assert one_at_a_time(wire.line_length, received) == len(received)


def test_sweep_script_has_whole_numbers_and_always_switches_the_cell_off():
    script = wire.sweep_script(wire.Sweep(), gpio_value=5, gpio_mask=15).decode()
    assert script.startswith("e\n")
    assert "set_gpio_cfg 15i 1\nset_gpio 5i\n" in script
    assert "meas_loop_eis f r j 10m 100k 10 21 0m\n" in script
    assert script.endswith("endloop\non_finished:\ncell_off\n\n")
    assert script.count("\n\n") == 1
    assert "." not in script
    assert "gpio" not in wire.sweep_script(wire.Sweep(), None).decode()


@pytest.mark.parametrize(
    ("value", "text"), [(10, "10"), (200_000, "200k"), (1500, "1500"), (2_000_000, "2M")]
)
def test_number_of_a_script_is_whole_with_a_prefix(value, text):
    assert wire.format_si(value) == text


@pytest.mark.parametrize(
    "wrong", [{"start_hz": 300_000}, {"end_hz": 0}, {"points": 1}, {"amplitude_mv": 0}]
)
def test_sweep_that_the_meter_can_not_do_is_refused(wrong):
    with pytest.raises(ValueError):
        wire.Sweep(**wrong)


@pytest.mark.parametrize("head", ["e\nM000D\n", "eM000D\n"])
def test_both_echo_shapes_are_taken(head):
    stream = (head + "PdcDF5DFF4u;cc896D904m,10,287;cd82DB1A8u,10,287\n*\n\n").encode()
    assert len(wire.decode_stream(stream)) == 1


def test_status_bits_and_missing_numbers_are_kept_with_their_value():
    point = wire.decode_package("Pcc896D904m,12,287,40;cd     nan;dc8000000 ,14")
    assert [variable.status for variable in point] == [2, wire.NOT_A_NUMBER, 4]
    assert math.isnan(point[1].value) and point[2].value == 0.0
    assert wire.describe_status(2 | 16) == "overload, no number"


def test_error_of_a_script_is_told_with_its_place():
    stream = b"e!4001: Line 3, Col 5\n"
    assert one_at_a_time(wire.stream_length, stream) == len(stream)
    with pytest.raises(DeviceRejected, match="0x4001 at line 3, column 5"):
        wire.decode_stream(stream)


@pytest.mark.parametrize(
    "stream",
    [b"e\nM000D\nPdcDF5DFF4u\n*\n", b"e\nhello\n\n", b"e\nPdcDF5DFF\n\n", b"e\nPdcDF5DFF4x\n\n"],
)
def test_stream_that_breaks_off_or_leaves_the_grammar_is_refused(stream):
    with pytest.raises(FrameError):
        wire.decode_stream(stream)


@given(st.one_of(st.binary(max_size=100), st.text("PMe!\n*cd8Fk ,;na", max_size=60)))
@example("e\nPcd     nan\n\n")
def test_arbitrary_bytes_raise_nothing_but_instrument_errors(received):
    received = received.encode() if isinstance(received, str) else received
    for framing in (wire.stream_length, wire.line_length, wire.version_length):
        length = framing(received)
        assert length is None or 0 < length <= len(received)
    for decode in (wire.decode_stream, lambda got: wire.decode_package(got.decode("latin-1"))):
        try:
            decode(received)
        except InstrumentError:
            pass

"""MethodSCRIPT scripts and streams against the bytes that PalmSens publishes."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from instruments.errors import DeviceRejected, FrameError, InstrumentError
from instruments.impedance_meters import methodscript as wire
from instruments.impedance_meters.emstat import ABORT
from tests.instruments.serial_rows import one_at_a_time, rows


def test_every_published_exchange_is_met_also_byte_by_byte(shared_data):
    exchanges = {
        meaning: (sent, received) for sent, received, meaning in rows(shared_data, "EmStat Pico")
    }
    assert len(exchanges) == 4
    # What is sent: the abort as published; the script of the linear sweep is not one of ours.
    assert {sent for sent, _ in exchanges.values() if sent} == {ABORT, b"e...\n\n"}
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
            assert one_at_a_time(wire.abort_length, received) == len(received)
            with pytest.raises(DeviceRejected, match="0x0006"):
                raise wire.decode_error(received.decode())
        else:
            assert one_at_a_time(wire.abort_length, received) == len(received)


MEASUREMENTS = (
    wire.Sweep(),
    wire.Sweep(200_000, 1, 1000, 250),
    wire.SingleFrequency(12),
    wire.SingleFrequency(200_000, 1),
)
EVERY_SCRIPT = [
    wire.measure_script(measurement, dialect.lines(channel, highest), autoranging)
    for measurement in MEASUREMENTS
    for dialect in wire.MULTIPLEXERS.values()
    for highest in (0, dialect.highest_channel)
    for channel in {0, highest}
    for autoranging in wire.AUTORANGING
]


@pytest.mark.parametrize("script", EVERY_SCRIPT)
def test_every_script_switches_the_cell_off_however_it_ends(script):
    lines = script.decode("ascii").split("\n")
    assert lines[0] == "e"
    assert lines[-5:] == ["endloop", "on_finished:", "cell_off", "", ""]
    assert lines.count("") == 2, "an empty line ends a script: only the last may be one"
    assert lines.count("cell_on") == lines.count("cell_off") == lines.count("on_finished:") == 1
    assert "." not in script.decode()


def test_a_sweep_and_a_single_frequency_are_written_out():
    script = wire.measure_script(wire.Sweep(), ("set_gpio_cfg 15i 1", "set_gpio 5i")).decode()
    assert "set_gpio_cfg 15i 1\nset_gpio 5i\nset_pgstat_chan 0\nset_pgstat_mode 3\n" in script
    assert "set_autoranging ba 1u 1\n" in script
    assert "meas_loop_eis f r j 10m 100k 10 21 0m\n" in script
    single = wire.measure_script(wire.SingleFrequency(1500), (), "1p").decode()
    assert "set_autoranging ba 1p 1\n" in single
    assert "meas_loop_eis f r j 10m 1500 1500 1 0m\n" in single
    assert "gpio" not in single and "mux" not in single


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


@pytest.mark.parametrize("wrong", [(0, 10), (200_001, 10), (100, 0), (100, 251)])
def test_single_frequency_that_the_meter_can_not_do_is_refused(wrong):
    with pytest.raises(ValueError):
        wire.SingleFrequency(*wrong)


@pytest.mark.parametrize("name", ["espico1201#Apr 16 2019 10:53:42", "es4_hr1100#x"])
def test_version_is_read_whole_and_only_from_its_own_family(name):
    answer = f"t{name}\nR*\n".encode()
    assert one_at_a_time(wire.version_length, answer) == len(answer)
    assert wire.decode_version(answer, ("espico", "es4_")) == name
    for other in (answer[1:], answer.replace(b"*", b""), b"x" + answer):
        with pytest.raises(FrameError):
            wire.decode_version(other, ("espico", "es4_"))
    with pytest.raises(DeviceRejected, match="0x0003"):
        wire.decode_version(b"t!0003\n", ("espico",))


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
    for framing in (wire.stream_length, wire.abort_length, wire.rest_length, wire.version_length):
        length = framing(received)
        assert length is None or 0 < length <= len(received)
    for decode in (
        wire.decode_stream,
        lambda got: wire.decode_package(got.decode("latin-1")),
        lambda got: wire.decode_version(got, ("espico",)),
    ):
        try:
            decode(received)
        except InstrumentError:
            pass

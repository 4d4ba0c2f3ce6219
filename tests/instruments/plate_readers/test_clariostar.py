"""The CLARIOstar driver against played-back exchanges."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruments.errors import (
    ChecksumError,
    DeviceRejected,
    FrameError,
    InstrumentError,
    Interrupted,
    TransportTimeout,
)
from instruments.lab_settings import PlateReaderEntry
from instruments.plate_readers import clariostar
from instruments.plate_readers import clariostar_wire as frames
from instruments.plate_readers.clariostar import Clariostar
from instruments.transport import NotSent, PortSettings
from tests.instruments.plate_readers.test_biotek import NoiseTransport
from tests.instruments.plate_readers.test_clariostar_wire import data
from tests.instruments.replay import ReplayTransport

ASK = frames.encode_frame(frames.STATUS)


def status(flags):
    return ASK, frames.encode_frame(bytes.fromhex(flags) + bytes(11) + b"\xc0")


READY, EMPTY = status("01050022"), status("01050020")
BUSY, DRAWER_OUT, COLD = status("01350c2e"), status("01050021"), status("01050002")
STILL_BUSY = (  # as recorded: measured, and busy all the same
    ASK,
    bytes.fromhex("0200180c0125042e0000040100000300000000c00001460d"),
)
ACCEPTED = frames.encode_frame(b"\x03" + bytes(44))
OD = np.linspace(-0.01, 2.5, 192).reshape(2, 96)
RUN = (frames.encode_frame(frames.encode_run((450, 570))), ACCEPTED)
DATA = (frames.encode_frame(frames.DATA), frames.encode_frame(data(OD)))


def so_far(written):
    whole = bytearray(data(OD))
    whole[9:11] = written.to_bytes(2, "big")
    return frames.encode_frame(frames.DATA_SO_FAR), frames.encode_frame(bytes(whole))


DONE = [READY, so_far(490)]


def reader(pairs, *, one_at_a_time=False, **options):
    waits = []
    wire = ReplayTransport(pairs, one_at_a_time=one_at_a_time)
    return Clariostar("reader", wire, wait_s=waits.append, **options), wire, waits


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_plate_is_read_at_both_wavelengths_in_one_run(one_at_a_time):
    device, wire, waits = reader(
        [READY, RUN, BUSY, so_far(0), BUSY, so_far(300), READY, DATA], one_at_a_time=one_at_a_time
    )
    plate = device.read_absorbance("P1", (450, 570), 48.0)
    assert (plate.plate_id, plate.time_h, plate.temperature_c) == ("P1", 48.0, 37.1)
    np.testing.assert_allclose(plate.absorbance[570], OD[1].reshape(8, 12), atol=1e-3)
    assert plate.raw_sha256 == hashlib.sha256(DATA[1]).hexdigest()
    assert waits == [0.1, 0.2]
    wire.close()


def test_reader_that_stays_busy_with_all_values_written_is_done():
    device, wire, _ = reader([READY, RUN, STILL_BUSY, so_far(490), DATA])
    assert device.read_absorbance("P1", (450, 570), 0.0).absorbance[450].shape == (8, 12)
    wire.close()


def test_reader_that_is_not_busy_yet_is_not_taken_for_done():
    device, wire, _ = reader([READY, RUN, READY, so_far(0), BUSY, so_far(3), READY, DATA])
    device.read_absorbance("P1", (450, 570), 0.0)
    wire.close()


def test_run_that_ends_without_its_data_is_refused():
    lost = (DATA[0], frames.encode_frame(bytes(frames.decode_frame(so_far(80)[1]))))
    device, wire, _ = reader([READY, RUN, BUSY, so_far(80), READY, lost])
    with pytest.raises(FrameError, match="80 of 490 values"):
        device.read_absorbance("P1", (450, 570), 0.0)
    wire.close()


def test_reader_just_switched_on_is_initialised_before_its_first_read():
    begin = (frames.encode_frame(frames.INITIALISE), BUSY[1])
    device, wire, _ = reader([COLD, COLD, begin, BUSY, READY, RUN, *DONE, DATA])
    device.open()
    assert wire.sent == [ASK]
    device.read_absorbance("P1", (450, 570), 0.0)
    wire.close()


def test_initialisation_is_not_sent_again_where_its_answer_is_lost():
    begin = (frames.encode_frame(frames.INITIALISE), None)
    device, wire, _ = reader([COLD, begin, BUSY, READY, RUN, *DONE, DATA])
    device.read_absorbance("P1", (450, 570), 0.0)
    wire.close()


@pytest.mark.parametrize(("seen", "why"), [(BUSY, "busy"), (DRAWER_OUT, "drawer.*open")])
def test_reader_that_is_busy_or_open_is_not_started(seen, why):
    device, wire, _ = reader([seen])
    with pytest.raises(DeviceRejected, match=why):
        device.read_absorbance("P1", (450,), 0.0)
    wire.close()


def test_reader_that_sees_no_plate_says_so_and_reads(caplog):
    device, _, _ = reader([EMPTY, RUN, *DONE, DATA])
    device.read_absorbance("P1", (450, 570), 0.0)
    assert "sees no plate" in caplog.text


@pytest.mark.parametrize(
    "wavelengths", [(), (450, 450), (219,), (1001,), tuple(range(400, 490, 10))]
)
def test_wavelengths_that_no_run_can_have_are_refused_before_any_byte_is_sent(wavelengths):
    device, wire, _ = reader([])
    with pytest.raises(ValueError):
        device.read_absorbance("P1", wavelengths, 0.0)
    assert not wire.sent


def test_run_that_is_not_accepted_is_told_with_the_answer():
    device, wire, _ = reader([READY, (RUN[0], DRAWER_OUT[1])])
    with pytest.raises(DeviceRejected, match="did not accept.*01 05 00 21"):
        device.read_absorbance("P1", (450, 570), 0.0)
    wire.close()


def test_lost_answer_to_a_run_is_not_asked_again_but_a_status_is():
    device, wire, _ = reader([(ASK, READY[1][:-1]), READY, (RUN[0], None)])
    with pytest.raises(TransportTimeout, match="on run"):
        device.read_absorbance("P1", (450, 570), 0.0)
    assert wire.drains == 2
    wire.close()


def test_data_with_a_wrong_sum_are_asked_for_once_more():
    broken = bytearray(DATA[1])
    broken[100] ^= 1
    device, wire, _ = reader([READY, RUN, *DONE, (DATA[0], bytes(broken)), DATA])
    device.read_absorbance("P1", (450, 570), 0.0)
    wire.close()
    device, wire, _ = reader([READY, RUN, *DONE, *[(DATA[0], bytes(broken))] * 2])
    with pytest.raises(ChecksumError):
        device.read_absorbance("P1", (450, 570), 0.0)
    wire.close()


def test_data_of_another_number_of_wavelengths_are_refused_with_the_plate():
    device, _, _ = reader([READY, RUN, *DONE, (DATA[0], frames.encode_frame(data(OD[:1])))])
    with pytest.raises(FrameError, match="plate P1"):
        device.read_absorbance("P1", (450, 570), 0.0)


def test_read_that_never_ends_is_given_up():
    device, _, waits = reader([READY, RUN, *[BUSY, so_far(7)] * 20], read_limit_s=2.0)
    with pytest.raises(TransportTimeout, match="still reads plate P1"):
        device.read_absorbance("P1", (450, 570), 0.0)
    assert sum(waits) >= 2.0


def test_wells_without_light_are_flagged():
    dark = bytearray(data(OD))
    dark[36:40] = bytes(4)
    device, _, _ = reader([READY, RUN, *DONE, (DATA[0], frames.encode_frame(bytes(dark)))])
    plate = device.read_absorbance("P1", (450, 570), 0.0)
    assert plate.flags == {(450, "A1"): "saturated"} and np.isnan(plate.absorbance[450][0, 0])


def test_drawer_moves_until_the_status_says_so():
    out = (frames.encode_frame(frames.DRAWER_OUT), BUSY[1])
    back = (frames.encode_frame(frames.DRAWER_IN), None)
    device, wire, _ = reader([out, BUSY, READY, DRAWER_OUT, back, DRAWER_OUT, READY])
    device.open_drawer()
    device.close_drawer()
    wire.close()
    device, _, _ = reader([out, *[READY] * 30], move_limit_s=3.0)
    with pytest.raises(TransportTimeout, match="drawer"):
        device.open_drawer()


def test_port_that_is_opened_anew_during_a_read_gives_no_data():
    device, wire, waits = reader([READY, RUN, BUSY, so_far(7), READY])
    device._wait_s = lambda seconds: setattr(wire, "generation", wire.generation + 1)
    with pytest.raises(InstrumentError, match="opened again during a read"):
        device.read_absorbance("P1", (450, 570), 0.0)
    wire.close()
    wire.pairs = [READY, RUN, *DONE, DATA]
    device.read_absorbance("P1", (450, 570), 0.0)


def test_stop_gives_up_a_running_read_and_returns_once_it_stands_still():
    device, wire, _ = reader([READY, RUN, BUSY, so_far(7), BUSY, BUSY, BUSY, READY, READY])
    device._wait_s = lambda seconds: device.stop()
    with pytest.raises(InstrumentError, match="stopped"):
        device.read_absorbance("P1", (450, 570), 0.0)
    assert wire.sent_now == [frames.encode_frame(frames.STOP)]
    wire.close()


def test_stop_of_a_reader_at_rest_sends_no_stop_and_one_that_runs_on_is_told():
    device, wire, _ = reader([READY])
    device.stop()
    assert not wire.sent_now
    device, wire, _ = reader([BUSY] * 41)
    with pytest.raises(InstrumentError, match="still runs"):
        device.stop()
    wire.close()


def test_stop_goes_out_also_where_no_status_comes():
    device, wire, _ = reader([(ASK, None), (ASK, None), READY])
    device.stop()
    assert len(wire.sent_now) == 1
    wire.close()


def test_interruption_and_nothing_sent_are_told_as_they_are():
    for trouble in (Interrupted("a stop"), NotSent("nothing")):
        for pairs in ([(ASK, trouble)], [COLD, (frames.encode_frame(frames.INITIALISE), trouble)]):
            device, wire, _ = reader(pairs)
            with pytest.raises(type(trouble), match=str(trouble)):
                device.read_absorbance("P1", (450,), 0.0)
            wire.close()


def test_make_names_port_probe_and_settings():
    make = clariostar.MAKE
    assert make.port == PortSettings(125_000)
    assert make.probe.query == ASK
    assert make.probe.recognise(READY[1]) == "CLARIOstar, initialised"
    assert make.probe.recognise(b"OK\r\n>") is None
    entry = PlateReaderEntry.model_validate({"make": "clariostar", "url": "COM3"})
    assert make.build("reader", ReplayTransport([]), entry, lambda seconds: None).name == "reader"


ANSWERS = st.one_of(
    st.binary(max_size=40),
    st.binary(min_size=1, max_size=40).map(frames.encode_frame),
    st.sampled_from([READY[1], BUSY[1], COLD[1], ACCEPTED, DATA[1], so_far(490)[1]]),
)


@given(st.lists(ANSWERS, max_size=12))
@settings(max_examples=150, deadline=None)
def test_arbitrary_answers_raise_nothing_but_instrument_errors(answers):
    wire = NoiseTransport(answers)
    device = Clariostar("reader", wire, read_limit_s=1.0, move_limit_s=1.0, wait_s=lambda s: None)
    for act in (
        device.open,
        lambda: device.read_absorbance("P1", (450, 570), 0.0),
        device.close_drawer,
        device.stop,
    ):
        try:
            act()
        except InstrumentError:
            pass
    assert len(wire.sent) < 150

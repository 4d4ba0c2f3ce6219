"""The BioTek driver against played-back exchanges."""

import hashlib
import threading
from contextlib import contextmanager

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
from instruments.plate_readers import biotek
from instruments.plate_readers.biotek import BioTek, BioTekEntry
from instruments.plate_readers.biotek_wire import encode_read_definition
from instruments.transport import NotSent, PortSettings
from tests.instruments.plate_readers.test_biotek_wire import PLATE, body, recorded_bodies
from tests.instruments.replay import ReplayTransport

SERIAL = (b"C", b"\x0600000000        0000\x03")
FIRMWARE = (b"e", b"\x061650200  Version 1.04   0000\x03")
WARM = (b"h", b"\x062360000\x03")
OPENING = [SERIAL, FIRMWARE, WARM]
RUN = (b"O", b"\x060000\x03")


def define(wavelength_nm):
    answer = b"0350000000000000010000000000490300000\x03"
    return [(b"D", b"\x06"), (encode_read_definition(wavelength_nm), answer)]


def reader(pairs, *, one_at_a_time=False, pushed=(), **options):
    """Return a driver on a wire that pushes the bodies of `pushed`, each while the driver waits."""
    wire = ReplayTransport(pairs, one_at_a_time=one_at_a_time)
    waiting, waits = list(pushed), []

    def wait(seconds):
        waits.append(seconds)
        if waiting and len(waits) % 3 == 0:
            wire._ahead += waiting.pop(0)

    options = {"other_wavelengths": True, **options}
    return BioTek("reader", wire, wait_s=wait, **options), wire, waits


def opened(pairs, **options):
    device, wire, waits = reader([*OPENING, *pairs], **options)
    device.open()
    return device, wire, waits


def test_opening_asks_who_is_there_and_nothing_more():
    device, wire, _ = opened([])
    assert device.identity == "serial number 00000000, firmware 1650200 Version 1.04"
    wire.close()


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_recorded_read_gives_the_plate(one_at_a_time, shared_data):
    recorded = recorded_bodies(shared_data)[0]
    device, wire, waits = opened(
        [WARM, *define(580), RUN], one_at_a_time=one_at_a_time, pushed=[recorded]
    )
    plate = device.read_absorbance("P1", (580,), 48.0)
    assert (plate.plate_id, plate.time_h, plate.temperature_c) == ("P1", 48.0, 23.6)
    assert plate.absorbance[580].shape == (8, 12)
    assert plate.absorbance[580][1, 11] == 0.1986
    assert plate.raw_sha256 == hashlib.sha256(recorded).hexdigest()
    assert waits == [0.1, 0.2, 0.4]
    wire.close()


def test_each_wavelength_is_defined_and_run_by_itself():
    values = [list(row) for row in PLATE]
    values[2][3] = "*******"
    bodies = [body(PLATE), body(values)]
    device, wire, _ = opened([WARM, *define(450), RUN, *define(570), RUN], pushed=bodies)
    plate = device.read_absorbance("P1", (450, 570), 0.0)
    assert list(plate.absorbance) == [450, 570]
    assert np.isnan(plate.absorbance[570][2, 3]) and np.isfinite(plate.absorbance[450]).all()
    assert plate.flags == {(570, "C4"): "no number"}
    assert plate.raw_sha256 == hashlib.sha256(b"".join(bodies)).hexdigest()
    wire.close()


def test_standard_plate_is_told_only_where_lab_toml_asks_for_it():
    geometry = b"0812011240742401438113380854812776" + b"1435\x03"
    device, wire, _ = opened(
        [WARM, (b"y", b"\x06"), (geometry, b"0000\x03"), *define(450), RUN],
        plate_geometry="slas_96",
        pushed=[body(PLATE)],
    )
    device.read_absorbance("P1", (450,), 0.0)
    wire.close()


@pytest.mark.parametrize("wavelengths", [(), (450, 450), (229,), (1000,)])
def test_wavelength_that_the_reader_has_not_is_refused_before_any_byte_is_sent(wavelengths):
    device, wire, _ = reader([])
    with pytest.raises(ValueError):
        device.read_absorbance("P1", wavelengths, 0.0)
    assert not wire.sent


def test_read_that_never_ends_is_given_up():
    device, wire, waits = opened([WARM, *define(450), RUN], read_limit_s=5.0)
    with pytest.raises(TransportTimeout, match="gave nothing"):
        device.read_absorbance("P1", (450,), 0.0)
    assert 2.0 < sum(waits) < 10.0
    wire.close()


def test_body_that_breaks_off_is_a_timeout():
    device, _, _ = opened([WARM, *define(450), RUN], pushed=[body(PLATE)[:700]])
    with pytest.raises(TransportTimeout):
        device.read_absorbance("P1", (450,), 0.0)


@pytest.mark.parametrize(
    ("pushed", "kind"),
    [
        (body(PLATE, checksum=0), ChecksumError),
        (body(PLATE, status="4B01"), DeviceRejected),
        (b"\x062D06\x03", FrameError),
        (body([[word.replace("+0.", "0000") for word in row] for row in PLATE]), FrameError),
    ],
)
def test_spoiled_body_is_told_with_plate_and_wavelength_and_not_read_again(pushed, kind):
    device, wire, _ = opened([WARM, *define(450), RUN], pushed=[pushed])
    with pytest.raises(kind, match="plate P1 at 450 nm"):
        device.read_absorbance("P1", (450,), 0.0)
    wire.close()


def test_refusal_to_run_is_told_with_its_status():
    device, wire, _ = opened([WARM, *define(450), (b"O", b"\x062D06\x03")])
    with pytest.raises(DeviceRejected, match="refused O: status 2D06 .read definition refused"):
        device.read_absorbance("P1", (450,), 0.0)
    wire.close()


@pytest.mark.parametrize(
    "pairs",
    [
        [(b"D", None)],
        [(b"D", b"\x15")],
        [define(450)[0], (encode_read_definition(450), None)],
        [*define(450), (b"O", None)],
        [*define(450), (b"O", b"\x060")],
    ],
)
def test_definition_and_run_are_sent_once_whatever_is_lost(pairs):
    device, wire, _ = opened([WARM, *pairs])
    with pytest.raises((TransportTimeout, FrameError)):
        device.read_absorbance("P1", (450,), 0.0)
    wire.close()


def test_query_is_asked_once_more_behind_a_late_body():
    device, wire, _ = opened([(b"h", body(PLATE)), WARM, *define(450), RUN], pushed=[body(PLATE)])
    assert device.read_absorbance("P1", (450,), 0.0).temperature_c == 23.6
    assert wire.drains == 1
    wire.close()


def test_reader_without_a_temperature_reads_all_the_same():
    no = (b"h", b"\x064C05\x03")
    device, wire, _ = reader([SERIAL, FIRMWARE, no, no, *define(450), RUN], pushed=[body(PLATE)])
    device.open()
    assert np.isnan(device.read_absorbance("P1", (450,), 0.0).temperature_c)
    wire.close()


def test_port_that_was_lost_meets_the_same_reader_again_and_no_other():
    device, wire, _ = opened([SERIAL, WARM, *define(450), RUN], pushed=[body(PLATE)])
    wire.generation += 1
    device.read_absorbance("P1", (450,), 0.0)
    wire.close()
    device, wire, _ = opened(
        [WARM, *define(450), RUN, SERIAL, *define(570), RUN], pushed=[body(PLATE), body(PLATE)]
    )
    wait = device._wait_s
    device._wait_s = lambda seconds: (setattr(wire, "generation", 1), wait(seconds))
    device.read_absorbance("P1", (450, 570), 0.0)
    wire.close()
    device, wire, _ = opened([(b"C", b"\x0600000001        0000\x03")])
    wire.generation += 1
    with pytest.raises(InstrumentError, match="00000000 and is now 00000001"):
        device.read_absorbance("P1", (450,), 0.0)
    wire.close()


def test_stop_gives_up_a_running_read():
    device, wire, _ = opened([WARM, *define(450), RUN])
    device._wait_s = lambda seconds: device.stop()
    with pytest.raises(InstrumentError, match="stopped"):
        device.read_absorbance("P1", (450,), 0.0)
    assert wire.sent_now == [b"x"]
    wire.close()


def test_stop_from_another_thread_finds_the_port_free_while_a_body_is_awaited():
    device, wire, _ = opened([WARM, *define(450), RUN])
    turn, waiting = threading.RLock(), threading.Event()
    free = []

    @contextmanager
    def owned(*, urgent=False):
        with turn:
            yield

    def wait(seconds):
        waiting.set()
        stopper.join(5)
        free.append(not stopper.is_alive())

    wire.owned = owned
    device._wait_s = wait
    stopper = threading.Thread(target=lambda: (waiting.wait(5), device.stop()))
    stopper.start()
    with pytest.raises(InstrumentError, match="stopped"):
        device.read_absorbance("P1", (450,), 0.0)
    assert free == [True] and wire.sent_now == [b"x"]


def test_interruption_and_nothing_sent_are_told_as_they_are():
    for trouble in (Interrupted("a stop"), NotSent("nothing")):
        device, wire, _ = opened([(b"h", trouble)])
        with pytest.raises(type(trouble), match=str(trouble)):
            device.read_absorbance("P1", (450,), 0.0)
        wire.close()


def test_make_names_port_probe_and_settings():
    make = biotek.MAKE
    assert make.port == PortSettings(9600, stopbits=2, rtscts=True)
    assert make.probe.query == b"C"
    assert make.probe.recognise(SERIAL[1]) == "BioTek reader, serial number 00000000"
    assert make.probe.recognise(b"OK\x03") is None
    entry = BioTekEntry.model_validate({"make": "biotek", "url": "COM3"})
    device = make.build("reader", ReplayTransport([]), entry, lambda seconds: None)
    assert device.name == "reader"
    with pytest.raises(ValueError):
        BioTekEntry.model_validate({"make": "biotek", "url": "COM3", "mode": "fluorescence"})


class NoiseTransport(ReplayTransport):
    """A device that answers whatever is asked with the next of its arbitrary bytes."""

    def __init__(self, answers):
        super().__init__([])
        self.answers = list(answers)

    def exchange(self, sent, answer_length, *, deadline_s, inter_byte_s):
        self._buffer, self._ahead = b"", self.answers.pop(0) if self.answers else b""
        self.sent.append(sent)
        return self.read_answer(answer_length, deadline_s=deadline_s, inter_byte_s=inter_byte_s)


ANSWERS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([SERIAL[1], WARM[1], b"\x06", b"0000\x03", b"\x060000\x03", body(PLATE)]),
)


@given(st.lists(ANSWERS, max_size=14))
@settings(max_examples=150, deadline=None)
def test_arbitrary_answers_raise_nothing_but_instrument_errors(answers):
    wire = NoiseTransport(answers)
    device = BioTek("reader", wire, read_limit_s=1.0, wait_s=lambda seconds: None)
    for act in (
        device.open,
        lambda: device.read_absorbance("P1", (580,), 0.0),
        device.stop,
    ):
        try:
            act()
        except InstrumentError:
            pass
    assert len(wire.sent) < 20


def test_wavelength_that_was_never_recorded_is_refused_unless_lab_toml_says_so():
    device, wire, _ = reader([], other_wavelengths=False)
    with pytest.raises(ValueError, match="recorded at 580 nm only.*other_wavelengths"):
        device.read_absorbance("P1", (450,), 0.0)
    wire.close()

"""The reader behind PyLabRobot: with stand-ins, and with PyLabRobot itself where it is installed."""

import asyncio
import math
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruments.errors import FrameError, InstrumentError, PortInUse, TransportTimeout
from instruments.plate_readers import pylabrobot_reader
from instruments.plate_readers.pylabrobot_reader import (
    READERS,
    PyLabRobotEntry,
    PyLabRobotReader,
    Wrapped,
    decode_result,
)
from tests.instruments.plate_readers.test_biotek_wire import DEFINITION_580, recorded_bodies

OD = [[round(0.01 * (12 * row + column), 2) for column in range(12)] for row in range(8)]


def measured(wavelength=450, data=OD, temperature=25.5):
    return [{"wavelength": wavelength, "data": data, "temperature": temperature, "time": 0.0}]


class StandIn:
    """A backend with the calls of PyLabRobot's contract."""

    def __init__(self, read=None):
        self.calls, self.cleaned, self.threads = [], False, set()
        self._read = read

    async def setup(self):
        self.calls.append("setup")
        self.threads.add(threading.current_thread().name)

    async def stop(self):
        self.calls.append("stop")

    async def read_absorbance(self, plate, wells, wavelength):
        self.calls.append(wavelength)
        self.threads.add(threading.current_thread().name)
        try:
            return await self._read(wavelength) if self._read else measured(wavelength)
        finally:
            self.cleaned = True


class StandInPlate:
    def __init__(self, plate_id):
        self.plate_id = plate_id

    def get_all_items(self):
        return ["A1"]


@pytest.fixture
def make_reader(tmp_path):
    opened = []

    def make(backend, **options):
        wrapped = Wrapped(lambda device_id: backend, (230, 999), options.pop("ceiling", math.inf))
        options = {"plate": StandInPlate, "lock_dir": tmp_path, **options}
        reader = PyLabRobotReader("reader", wrapped, **options)
        opened.append(reader)
        reader.open()
        return reader

    yield make
    for reader in opened:
        reader.close()


def test_plate_is_read_at_each_wavelength_on_a_thread_of_its_own(make_reader):
    backend = StandIn()
    plate = make_reader(backend).read_absorbance("P1", (450, 570), 48.0)
    assert (plate.plate_id, plate.time_h, plate.temperature_c) == ("P1", 48.0, 25.5)
    np.testing.assert_array_equal(plate.absorbance[570], OD)
    assert plate.raw_sha256 == "" and not plate.flags
    assert backend.calls == ["setup", 450, 570]
    assert backend.threads == {"pylabrobot reader"}


def test_wells_without_a_number_are_flagged(make_reader):
    data = [list(row) for row in OD]
    data[0][1], data[1][0], data[7][11] = None, math.nan, 4.0

    async def read(wavelength):
        return measured(wavelength, data, None)

    plate = make_reader(StandIn(read), ceiling=4.0).read_absorbance("P1", (450,), 0.0)
    assert plate.flags == {
        (450, "A2"): "no number",
        (450, "B1"): "no number",
        (450, "H12"): "saturated",
    }
    assert np.isnan(plate.absorbance[450]).sum() == 3 and math.isnan(plate.temperature_c)


@pytest.mark.parametrize("wavelengths", [(), (450, 450), (229,), (1000,)])
def test_wavelength_that_the_reader_has_not_is_refused_before_any_call(make_reader, wavelengths):
    backend = StandIn()
    with pytest.raises(ValueError):
        make_reader(backend).read_absorbance("P1", wavelengths, 0.0)
    assert backend.calls == ["setup"]


@pytest.mark.parametrize(
    "given",
    [
        None,
        [],
        [*measured(), *measured()],
        measured(570),
        measured(data=None),
        measured(data=[list(column) for column in zip(*OD, strict=True)]),
        measured(data=OD[:7]),
        measured(data=[*OD[:7], OD[7][:11]]),
        measured(data=[*OD[:7], [*OD[7][:11], "0.1"]]),
        measured(data=[*OD[:7], [*OD[7][:11], True]]),
    ],
)
def test_result_that_is_not_one_whole_plate_row_by_row_is_refused(given):
    with pytest.raises(FrameError):
        decode_result(given, 450)


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=13) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=30,
)


@given(VALUES, st.integers(0, 7), st.integers(0, 11))
def test_arbitrary_results_raise_nothing_but_instrument_errors(value, row, column):
    spoiled = [list(wells) for wells in OD]
    spoiled[row][column] = value
    for result in (value, measured(data=value), measured(data=spoiled), measured(value)):
        try:
            values, flags, _ = decode_result(result, 450)
        except InstrumentError:
            continue
        assert np.isnan(values).sum() == len(flags)


@pytest.mark.parametrize("trouble", [RuntimeError("usb gone"), AssertionError(), OSError("lost")])
def test_trouble_of_pylabrobot_is_told_by_its_name_and_the_next_read_connects_anew(
    make_reader, trouble
):
    troubles = [trouble]

    async def read(wavelength):
        if troubles:
            raise troubles.pop()
        return measured(wavelength)

    backend = StandIn(read)
    reader = make_reader(backend)
    with pytest.raises(InstrumentError, match=f"plate P1 at 450 nm: {type(trouble).__name__}"):
        reader.read_absorbance("P1", (450,), 0.0)
    reader.read_absorbance("P1", (450,), 0.0)
    assert backend.calls == ["setup", 450, "stop", "setup", 450]


def test_read_that_never_ends_is_given_up_and_cleaned_up(make_reader):
    async def read(wavelength):
        await asyncio.sleep(60)

    backend = StandIn(read)
    reader = make_reader(backend, read_limit_s=0.1)
    with pytest.raises(TransportTimeout, match="allowed were 0.1 s"):
        reader.read_absorbance("P1", (450,), 0.0)
    assert backend.cleaned


def test_call_that_blocks_its_thread_is_given_up_too(make_reader, monkeypatch):
    monkeypatch.setattr(pylabrobot_reader, "GIVE_UP_S", 0.1)
    going_on = threading.Event()

    async def read(wavelength):
        going_on.wait(5)

    reader = make_reader(StandIn(read), read_limit_s=0.1)
    with pytest.raises(TransportTimeout):
        reader.read_absorbance("P1", (450,), 0.0)
    going_on.set()


def test_stop_gives_up_a_running_read_from_another_thread(make_reader):
    begun = threading.Event()

    async def read(wavelength):
        begun.set()
        await asyncio.sleep(60)

    reader = make_reader(StandIn(read))
    stopper = threading.Thread(target=lambda: (begun.wait(5), reader.stop()))
    stopper.start()
    before = time.monotonic()
    with pytest.raises(InstrumentError, match="stopped"):
        reader.read_absorbance("P1", (450, 570), 0.0)
    stopper.join()
    assert time.monotonic() - before < 5
    reader.stop()


def test_stop_between_two_wavelengths_is_heeded(make_reader):
    async def read(wavelength):
        reader._loop._given_up = True  # as a stop that comes just too late for this call
        return measured(wavelength)

    backend = StandIn(read)
    reader = make_reader(backend)
    with pytest.raises(InstrumentError, match="at 570 nm: stopped"):
        reader.read_absorbance("P1", (450, 570), 0.0)
    assert backend.calls == ["setup", 450]


def test_reader_is_held_by_a_lock_also_on_its_serial_port(make_reader, tmp_path):
    entry = PyLabRobotEntry.model_validate(
        {"make": "pylabrobot", "reader": "cytation", "device_id": "A1", "port": "/dev/ttyUSB7"}
    )
    assert entry.locks() == ("pylabrobot://cytation.A1", "/dev/ttyUSB7")
    make_reader(StandIn(), locks=entry.locks())
    for lock in entry.locks():
        with pytest.raises(PortInUse):
            make_reader(StandIn(), locks=(lock,))


def test_failed_opening_leaves_no_lock_and_no_thread(make_reader, tmp_path):
    class Unplugged(StandIn):
        async def setup(self):
            raise RuntimeError("no device")

    for _ in range(2):
        with pytest.raises(InstrumentError, match="opening: RuntimeError: no device"):
            make_reader(Unplugged(), locks=("pylabrobot://cytation.only",))
    assert "pylabrobot reader" not in {thread.name for thread in threading.enumerate()}


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pylabrobot", None)
    monkeypatch.setitem(sys.modules, "pylabrobot.plate_reading", None)
    entry = PyLabRobotEntry.model_validate(
        {"make": "pylabrobot", "reader": "synergy_h1", "device_id": "A1"}
    )
    reader = pylabrobot_reader.MAKE.build("reader", None, entry, lambda seconds: None)
    with pytest.raises(InstrumentError, match=r"chiploop\[pylabrobot\]"):
        reader.open()
    with pytest.raises(InstrumentError, match="not open"):
        reader.read_absorbance("P1", (450,), 0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"reader": "chatterbox"},
        {"reader": "cytation", "device_id": "A1", "url": "COM3"},
        {"reader": "cytation"},
        {"reader": "cytation", "device_id": "a b"},
        {"reader": "tecan_infinite_200_pro", "device_id": "A1"},
        {},
    ],
)
def test_settings_that_no_reader_has_are_refused(wrong):
    with pytest.raises(ValueError):
        PyLabRobotEntry.model_validate({"make": "pylabrobot", **wrong})


class RecordedFtdi:
    """The bytes of PyLabRobot's own recording behind its FTDI calls."""

    def __init__(self, body):
        self.written, self._waiting = [], b""
        self._answers = {
            b"e": b"\x061650200  Version 1.04   0000\x03",
            b"h": b"\x062360000\x03",
            b"y": b"\x06",
            b"D": b"\x06",
            DEFINITION_580: b"0350000000000000010000000000490300000\x03",
            b"O": b"\x060000\x03" + body,
        }

    async def write(self, data):
        self.written.append(data)
        self._waiting += self._answers.get(data, b"0000\x03")

    async def read(self, count):
        piece, self._waiting = self._waiting[:1], self._waiting[1:]
        return piece

    async def usb_purge_rx_buffer(self):
        return

    setup = stop = usb_reset = usb_purge_tx_buffer = usb_purge_rx_buffer

    async def set_anything(self, *values):
        return

    set_latency_timer = set_baudrate = set_line_property = set_flowctrl = set_rts = set_anything


@pytest.fixture
def plate_reading():
    return pytest.importorskip(
        "pylabrobot.plate_reading", reason="needs the extra chiploop[pylabrobot]"
    )


def test_pylabrobot_gives_rows_and_columns_as_they_stand_on_the_plate(
    plate_reading, make_reader, capsys
):
    backend = plate_reading.PlateReaderChatterboxBackend()
    backend.dummy_absorbance = OD
    reader = make_reader(backend, plate=pylabrobot_reader.flat_96_well_plate)
    plate = reader.read_absorbance("P1", (450,), 0.0)
    np.testing.assert_array_equal(plate.absorbance[450], OD)


def test_pylabrobot_s_own_recording_gives_the_same_plate_as_our_driver(
    plate_reading, make_reader, request, monkeypatch
):
    recorded = recorded_bodies(request.getfixturevalue("shared_data"))[0]
    ftdi = RecordedFtdi(recorded)
    monkeypatch.setattr(
        "pylabrobot.plate_reading.agilent.biotek_backend.FTDI", lambda **options: ftdi
    )
    backend = READERS["cytation"].backend("A1")
    reader = make_reader(backend, plate=pylabrobot_reader.flat_96_well_plate)
    plate = reader.read_absorbance("P1", (580,), 0.0)
    assert plate.temperature_c == 23.6
    assert plate.absorbance[580][0, 0] == 0.1917 and plate.absorbance[580][1, 11] == 0.1986
    assert DEFINITION_580 in ftdi.written


def test_every_reader_on_offer_exists_in_pylabrobot(plate_reading):
    for name, wrapped in READERS.items():
        try:
            backend = wrapped.backend("")
        except (RuntimeError, InstrumentError) as missing:
            assert "not installed" in str(missing), name
        else:
            assert isinstance(backend, plate_reading.backend.PlateReaderBackend)

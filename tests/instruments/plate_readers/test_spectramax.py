"""The SpectraMax driver against played-back exchanges."""

import numpy as np
import pytest

from instruments.errors import DeviceRejected, FrameError, InstrumentError, TransportTimeout
from instruments.plate_readers.spectramax import SpectraMax
from tests.instruments.plate_readers.test_spectramax_wire import PLATE, body
from tests.instruments.replay import ReplayTransport

IDLE = (b"!STATUS\r", b"OK\r\n>\r\nCLOSED\r\nIDLE\r\n\r\n>")
BUSY = (b"!STATUS\r", b"OK\r\n>\r\nCLOSED\r\nMEASURING\r\n\r\n>")
SCRIPT = [
    (b"!CLEAR DATA\r", b"OK\r\n>"),
    (b"!XPOS 14.380 9.000 12\r", b"OK\r\n>"),
    (b"!YPOS 11.240 9.000 8\r", b"OK\r\n>"),
    (b"!STRIP 1 12\r", b"OK\r\n>"),
    (b"!CSPEED 8\r", b"OK\r\n>"),
    (b"!SHAKE OFF\r", b"OK\r\n>"),
    (b"!WAVELENGTH 450 570\r", b"OK\r\n>"),
    (b"!CALIBRATE ONCE\r", b"OK\r\n>"),
    (b"!MODE ENDPOINT\r", b"OK\r\n>"),
    (b"!ORDER COLUMN\r", b"OK\r\n>"),
    (b"!SPEED OFF\r", b"OK\r\n>\r\n>"),
    (b"!TAG OFF\r", b"OK\tWarning: tag>\r\n"),
    (b"!NVRAM CARCOL 100\r", b"OK\r\n>"),
    (b"!READTYPE ABSPLA\r", b"OK\r\n>\r\n>"),
    (b"!READ\r", b"OK\r\n>"),
]
TRANSFER = (b"!TRANSFER\r", b"OK\r\n>" + body(PLATE, (450, 570)).encode() + b">")


def reader(pairs, **options):
    waits = []
    wire = ReplayTransport(pairs, one_at_a_time=options.pop("one_at_a_time", False))
    return SpectraMax("reader", wire, wait_s=waits.append, **options), wire, waits


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_plate_is_read_at_both_wavelengths(one_at_a_time):
    device, wire, waits = reader(
        [IDLE, *SCRIPT, BUSY, BUSY, IDLE, TRANSFER], one_at_a_time=one_at_a_time
    )
    plate = device.read_absorbance("P1", (450, 570), 48.0)
    assert (plate.plate_id, plate.time_h, plate.temperature_c) == ("P1", 48.0, 25.1)
    assert plate.absorbance[570].shape == (8, 12)
    assert len(plate.raw_sha256) == 64
    assert waits == [0.1, 0.2]
    wire.close()


def test_read_that_never_ends_is_given_up():
    device, _, waits = reader([IDLE, *SCRIPT, *[BUSY] * 10], read_limit_s=1.0)
    with pytest.raises(TransportTimeout, match="still reads"):
        device.read_absorbance("P1", (450, 570), 0.0)
    assert sum(waits) >= 1.0


def test_busy_reader_is_not_started():
    device, wire, _ = reader([BUSY])
    with pytest.raises(DeviceRejected, match="busy"):
        device.read_absorbance("P1", (450,), 0.0)
    wire.close()


@pytest.mark.parametrize("wavelengths", [(), (450, 450), (189,), (1001,)])
def test_wavelength_that_the_reader_has_not_is_refused_before_any_byte_is_sent(wavelengths):
    device, wire, _ = reader([])
    with pytest.raises(ValueError):
        device.read_absorbance("P1", wavelengths, 0.0)
    assert not wire.sent


def test_lost_answer_to_a_read_is_not_asked_again_but_a_status_is():
    device, wire, _ = reader([IDLE, *SCRIPT[:-1], (b"!READ\r", None)])
    with pytest.raises(TransportTimeout, match="!READ"):
        device.read_absorbance("P1", (450, 570), 0.0)
    wire.close()
    device, wire, _ = reader([(b"!\r", b"OK\r\n>"), (b"!STATUS\r", b"OK\r\n"), IDLE])
    device.open()
    wire.close()


def test_refusal_names_the_command_and_the_meaning_of_its_code():
    device, _, _ = reader([IDLE, *SCRIPT, IDLE, (b"!TRANSFER\r", b"OK\t\r\n>FAIL\t 107")])
    with pytest.raises(DeviceRejected, match="!TRANSFER.*107.*no data"):
        device.read_absorbance("P1", (450, 570), 0.0)


def test_plate_with_a_missing_row_is_refused():
    short = b"OK\r\n>" + body(PLATE[:11], (450, 570)).encode() + b">"
    device, _, _ = reader([IDLE, *SCRIPT, IDLE, *[(b"!TRANSFER\r", short)]])
    with pytest.raises(FrameError):
        device.read_absorbance("P1", (450, 570), 0.0)


def test_stop_gives_up_a_running_read():
    device, wire, _ = reader([IDLE, *SCRIPT, BUSY, (b"!CANCEL\r", b"OK\r\n>"), IDLE])
    device._wait_s = lambda seconds: device.stop()
    with pytest.raises(InstrumentError, match="stopped"):
        device.read_absorbance("P1", (450, 570), 0.0)
    wire.close()


def test_stop_of_a_reader_at_rest_is_no_trouble():
    device, wire, _ = reader([(b"!CANCEL\r", b"FAIL\t 100\r\n>")])
    device.stop()
    wire.close()


def test_empty_wells_and_plates_are_arrays_of_numbers():
    device, _, _ = reader([IDLE, *SCRIPT, IDLE, TRANSFER])
    plate = device.read_absorbance("P1", (450, 570), 0.0)
    assert all(np.isfinite(values).all() for values in plate.absorbance.values())

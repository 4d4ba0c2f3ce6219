"""Ports by what the adapter says of itself."""

from types import SimpleNamespace

import pytest
from serial.tools import list_ports

from instruments.errors import PortMissing
from instruments.port_identity import UsbIdentity, parse_usb, resolve, usb_ports


def adapter(device, vid, pid, serial_number=None, product="FT232R"):
    return SimpleNamespace(
        device=device,
        vid=vid,
        pid=pid,
        serial_number=serial_number,
        product=product,
        description="n/a",
    )


@pytest.fixture(autouse=True)
def computer(monkeypatch):
    """A computer with three adapters and a port that is not on USB."""
    ports = [
        adapter("/dev/ttyUSB1", 0x0403, 0x6001, "A5XK3RJT"),
        adapter("/dev/ttyUSB0", 0x0403, 0x6001, "A5XK3RJU"),
        adapter("COM7", 0x067B, 0x2303, None, "PL2303"),
        adapter("/dev/ttyS0", None, None),
    ]
    monkeypatch.setattr(list_ports, "comports", lambda: ports)
    return ports


@pytest.mark.parametrize(
    ("url", "device"),
    [
        ("usb://0403:6001:A5XK3RJT", "/dev/ttyUSB1"),
        ("USB://403:6001:a5xk3rju", "/dev/ttyUSB0"),
        ("usb://067b:2303", "COM7"),
        ("/dev/ttyUSB0", "/dev/ttyUSB0"),
        ("COM3", "COM3"),
        ("socket://10.0.0.4:4001", "socket://10.0.0.4:4001"),
        ("rfc2217://10.0.0.4:4001", "rfc2217://10.0.0.4:4001"),
    ],
)
def test_identity_is_found_wherever_it_is_plugged_in_and_other_names_are_left_alone(url, device):
    assert resolve(url) == device


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("usb://0403:6001", "ambiguous: /dev/ttyUSB0, /dev/ttyUSB1"),
        ("usb://0403:6001:ZZZ", "not on this computer"),
        ("usb://1111:2222", "COM7 is usb://067B:2303 PL2303"),
        ("usb://067b:2303:X", "not on this computer"),
        ("usb://ftdi", "is no usb://VID:PID"),
    ],
)
def test_absent_ambiguous_or_malformed_identity_names_what_was_found(url, told):
    with pytest.raises(PortMissing, match=told):
        resolve(url)


def test_computer_without_usb_ports_says_so(computer):
    del computer[:3]
    with pytest.raises(PortMissing, match="no serial port"):
        resolve("usb://0403:6001")


def test_identity_reads_back_as_it_is_written():
    assert parse_usb("usb://403:6001:A:B") == UsbIdentity(0x403, 0x6001, "A:B")
    for port in usb_ports():
        assert parse_usb(str(port.identity)) == port.identity


def test_moved_adapter_is_found_at_its_new_place(computer):
    computer[0].device = "/dev/ttyUSB9"
    assert resolve("usb://0403:6001:A5XK3RJT") == "/dev/ttyUSB9"

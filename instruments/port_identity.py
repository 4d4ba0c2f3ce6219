"""Which device path a port of lab.toml has now.

Belongs here: ``usb://VID:PID`` and ``usb://VID:PID:SERIAL`` (hexadecimal, as ``chiploop instruments
scan`` shows them), which stay the same when an adapter is plugged in elsewhere. Not here: opening.
Every other spelling is passed on as it is. An adapter without a serial number of its own can only
be told by VID and PID: two of them on one computer are ambiguous, and refused.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from typing import Final

from serial.tools import list_ports

from instruments.errors import InstrumentError, PortMissing
from instruments.port_lock import lock_name

USB: Final = "usb://"
_FORM = re.compile(r"usb://([0-9a-f]{1,4}):([0-9a-f]{1,4})(?::(.+))?", re.IGNORECASE)


@dataclass(frozen=True)
class UsbIdentity:
    """What an adapter says of itself, wherever it is plugged in."""

    vid: int
    pid: int
    serial: str | None
    """None takes any; compared without case, which Windows changes."""

    def __str__(self) -> str:
        serial = f":{self.serial}" if self.serial else ""
        return f"{USB}{self.vid:04X}:{self.pid:04X}{serial}"


@dataclass(frozen=True)
class UsbPort:
    """One serial port of this computer that is on USB."""

    device: str
    """Its path now, or ``COM3``."""
    identity: UsbIdentity
    product: str


def parse_usb(url: str) -> UsbIdentity:
    """Return the identity in ``usb://VID:PID[:SERIAL]``; ValueError where it is none."""
    found = _FORM.fullmatch(url)
    if found is None:
        raise ValueError(
            f"{url} is no usb://VID:PID or usb://VID:PID:SERIAL with VID and PID in hexadecimal, "
            "such as usb://0403:6001:A5XK3RJT"
        )
    return UsbIdentity(int(found[1], 16), int(found[2], 16), found[3])


def usb_ports() -> list[UsbPort]:
    """Return every serial port on USB that this computer has now."""
    return [
        UsbPort(
            port.device,
            UsbIdentity(port.vid, port.pid, port.serial_number or None),
            port.product or port.description or "",
        )
        for port in sorted(list_ports.comports(), key=lambda port: str(port.device))
        if port.vid is not None and port.pid is not None
    ]


def resolve(url: str) -> str:
    """Return what to open for a port of lab.toml now.

    `PortMissing` where an identity is on no port of this computer, or on several.
    """
    if not url.lower().startswith(USB):
        return url
    try:
        wanted = parse_usb(url)
    except ValueError as problem:
        raise PortMissing(f"port {problem}; nothing was sent") from problem
    ports = usb_ports()
    fitting = [port for port in ports if _fits(port.identity, wanted)]
    if len(fitting) == 1:
        return fitting[0].device
    told = "; ".join(f"{port.device} is {port.identity} {port.product}".strip() for port in ports)
    if fitting:
        raise PortMissing(
            f"port {url} is ambiguous: {', '.join(port.device for port in fitting)} all are that; "
            f"add the serial number. Found: {told}. Nothing was sent"
        )
    raise PortMissing(
        f"port {url} is not on this computer; look at cable and power. Found on USB: "
        f"{told or 'no serial port'}. Nothing was sent"
    )


def _fits(identity: UsbIdentity, wanted: UsbIdentity) -> bool:
    if (identity.vid, identity.pid) != (wanted.vid, wanted.pid):
        return False
    if wanted.serial is None:
        return True
    return (identity.serial or "").casefold() == wanted.serial.casefold()


def lock_name_now(url: str) -> str:
    """Return the lock of a port as it is plugged in now; of its name where it is not there."""
    try:
        return lock_name(resolve(url))
    except InstrumentError:
        return lock_name(url)


def device_at(url: str) -> str:
    """Return one name for the device behind a port, in all programs: of the computer, and of the port as it is
    plugged in now."""
    return f"{platform.node()}/{lock_name_now(url)}"

"""Opening and closing a pyserial port so that nothing on it waits without a limit.

Belongs here: what pyserial needs to be told on each kind of port, and what it gets wrong. Not here:
turns, records, answers (transport).
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

import serial
from serial.urlhandler import protocol_socket

from instruments.errors import InstrumentError, PortInUse, PortMissing

POLL_S: Final = 0.01
"""Longest single wait inside a read; deadlines are met, and stops noticed, to within this."""
WRITE_LIMIT_S: Final = 0.5
"""Longest time that a piece of a command may wait for a device that does not take it."""

protocol_socket.POLL_TIMEOUT = 2
"""How long pyserial waits for a serial server that does not answer, s; 5 as it comes. A stop may
have to wait for that."""

_NOT_OPENED: Final = (serial.SerialException, OSError, ValueError, NotImplementedError)
LOST: Final = (serial.SerialException, OSError, TypeError, AttributeError)
"""What reading and writing raise once the port is gone; the last two come from pyserial where a
port that was closed meanwhile has no handle left."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PortSettings:
    """How the bytes of a port are clocked; a serial server behind a socket keeps its own."""

    baudrate: int
    bytesize: Literal[7, 8] = 8
    parity: Literal["N", "E", "O"] = "N"
    stopbits: float = 1
    rtscts: bool = False


def open_port(url: str, where: str, settings: PortSettings) -> Any:
    """Return an opened pyserial port whose reads and writes are bounded.

    ``url`` is its name for people, ``where`` what is opened. `PortMissing` or `PortInUse`.
    """
    try:
        return _serial_port(where, settings)
    except _NOT_OPENED as trouble:
        raise _not_opened(url, trouble) from trouble


def _serial_port(where: str, settings: PortSettings) -> Any:
    remote = where.lower().startswith("rfc2217://")  # its client takes no write_timeout
    with warnings.catch_warnings():
        if remote:  # pyserial 3.5 starts its thread in a way that Python has deprecated
            warnings.simplefilter("ignore", DeprecationWarning)
        port = serial.serial_for_url(
            where,
            baudrate=settings.baudrate,
            bytesize=settings.bytesize,
            parity=settings.parity,
            stopbits=settings.stopbits,
            rtscts=settings.rtscts,
            timeout=POLL_S,
            write_timeout=None if remote else WRITE_LIMIT_S,
            exclusive=True,
        )
    if remote and (link := _link(port)):
        link.settimeout(WRITE_LIMIT_S)
    return port


def _link(port: Any) -> socket.socket | None:
    """Return the socket below ``socket://`` and ``rfc2217://``, which pyserial keeps to itself."""
    link = getattr(port, "_socket", None)
    return link if isinstance(link, socket.socket) else None


def still_open(port: Any | None) -> Any:
    """Return the port; one of ``LOST`` where there is none any more."""
    if port is None:
        raise serial.PortNotOpenError
    return port


def give_up_port(port: Any) -> None:
    """Close a port that failed, and see to it that nothing which is still queued goes out later."""
    if link := _link(port):  # not through pyserial: its remote ports wait 3 s for an answer
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        with suppress(OSError):
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    else:
        with suppress(Exception):  # whatever a broken port says while it is given up
            port.reset_output_buffer()
    close_port(port)


def close_port(port: Any) -> None:
    """Close a port, whatever it says to that."""
    link = _link(port)
    try:
        port.close()
    except Exception as trouble:  # a port that can not even be closed is gone all the same
        _log.warning("closing %s failed: %s", port.name, trouble)
    if link:
        link.close()  # pyserial leaves it open where the other end has hung up


def _not_opened(url: str, trouble: Exception) -> InstrumentError:
    in_use = getattr(trouble, "errno", None) in (errno.EBUSY, errno.EAGAIN, errno.EACCES) or any(
        word in str(trouble).lower() for word in ("access is denied", "exclusively lock", "busy")
    )
    if in_use and getattr(trouble, "errno", None) != errno.EACCES:
        return PortInUse(
            f"port {url} is held by another program ({trouble}); end it; nothing was sent"
        )
    if in_use:
        return PortInUse(
            f"port {url} may not be opened by this user or is held by another program "
            f"({trouble}); nothing was sent"
        )
    return PortMissing(
        f"port {url} can not be opened ({trouble}); check its name in lab.toml, the cable and "
        "that the device "
        "is switched on; nothing was sent"
    )

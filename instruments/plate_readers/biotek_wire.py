"""Wire format of BioTek Synergy and Cytation readers, as recorded bytes in PyLabRobot (MIT) show it.

Belongs here: verbs, answers, the one recorded read definition and the body of a read, as pure
functions. Not here: moving bytes (`biotek`). A verb is one letter; its answer is ACK, a payload, a
status of 4 characters (``0000`` is good), ETX. A verb with a parameter is acknowledged by a single
ACK first, and the answer to the parameter has none. A body of a read is::

    01,1,\\r 000:00:00.0,228, 01,01,+0.1917, ...12 wells... \\r\\n, ...8 rows... \\r\\n
    228 SUB 041 SUB 0000 ETX

Both a read definition and a body carry a checksum: 3 decimal digits, the sum of their bytes modulo
256, of a definition behind its 4 digits of length, of a body behind its first 6 bytes up to and
including the first SUB. That rule is computed here from the recorded bytes and holds for every
recorded definition (absorbance, fluorescence, luminescence) and body. PyLabRobot takes the first
digit of a definition as a constant 1 and the others modulo 100, which is the same for A1 to H12 at
every wavelength.

Unconfirmed: what other statuses than ``0000`` mean, besides 2D06 which owners met on a definition
with a wrong checksum; that ``*******`` is the only way to say "no number".
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from instruments.errors import ChecksumError, DeviceRejected, FrameError

ACK, END, SUB = b"\x06", b"\x03", b"\x1a"
GOOD: Final = "0000"
WAVELENGTHS_NM: Final = (230, 999)
"""Range of the absorbance monochromator of a Synergy H1 or Cytation."""
NO_NUMBER: Final = "no number"
ROWS_96: Final = "ABCDEFGH"
COLUMNS_96: Final = 12

ABSORBANCE_A1_H12: Final = "0101010812000120010000110010000010600008{wavelength:04d}"
"""The recorded end-point absorbance of wells A1 to H12, without its length and checksum."""
STATUSES: Final = {"2D06": "read definition refused"}
SLAS_96: Final = "0812" + "01124" + "07424" + "01438" + "11338" + "08548" + "12776" + "1435"
"""Parameter of ``y``: 8 rows, 12 columns, then in 0.01 mm A1 y, H12 y, A1 x, H12 x, width, length,
height of a plate by ANSI SLAS 1, 2 and 4."""

_BODY_HEAD: Final = b"01,1,\r"
_TRAILER: Final = re.compile(
    rb"\r\n(?P<number>[0-9]{3})\x1a(?P<sum>[0-9]{3})\x1a(?P<status>[0-9A-Za-z]{4})\x03"
)
_FIRST: Final = re.compile(
    r"[0-9]{3}:[0-9]{2}:[0-9]{2}\.[0-9],(?P<temperature>[0-9]{3}),(?P<rows>.*)", re.DOTALL
)


@dataclass(frozen=True)
class ReadBody:
    """What one read gave, as the reader wrote it."""

    temperature_c: float
    """The number in the head of the body, taken as 0.1 deg C."""
    wells: dict[tuple[int, int], str]
    """(row, column), both from 1 -> 7 characters, in the order in which they were read."""


def encode_read_definition(wavelength_nm: int) -> bytes:
    """Return the parameter of ``D`` for absorbance of A1 to H12 at one wavelength."""
    text = ABSORBANCE_A1_H12.format(wavelength=wavelength_nm)
    return f"{len(text) + 3:04d}{text}{definition_checksum(text.encode()):03d}".encode() + END


def definition_checksum(text: bytes) -> int:
    """Return the checksum of a read definition, of the bytes between its length and its
    checksum."""
    return sum(text) % 256


def answer_length(received: bytes) -> int | None:
    """Return the length of the first answer or body: both end with ETX, which no text holds."""
    return received.find(END) + 1 or None


def ack_length(received: bytes) -> int | None:
    """Return the length of the acknowledgement of a verb that takes a parameter."""
    return 1 if received else None


def decode_ack(frame: bytes) -> None:
    """Raise `FrameError` unless the reader wants the parameter now."""
    if frame != ACK:
        raise FrameError(f"answer {frame!r} is not the acknowledgement of a verb")


def decode_answer(frame: bytes, *, to_parameter: bool = False) -> str:
    """Return the payload; `DeviceRejected` for a status other than ``0000``."""
    begin = "" if to_parameter else ACK.decode()
    matched = re.fullmatch(
        f"{begin}([ -~]*)([0-9A-Za-z]{{4}}){END.decode()}", frame.decode("latin-1")
    )
    if not matched:
        raise FrameError(f"answer {frame[:80]!r} is not of this reader")
    _demand_good(matched[2])
    return matched[1]


def decode_temperature_c(payload: str) -> float:
    """Return the temperature of the answer to ``h``; the reader counts 0.1 deg C."""
    if not re.fullmatch(r"[0-9]{1,4}", payload):
        raise FrameError(f"temperature {payload!r} is not a number of 0.1 deg C")
    return int(payload) / 10


def body_checksum(frame: bytes) -> int:
    """Return the checksum that a body with this content must carry."""
    return sum(frame[len(_BODY_HEAD) : frame.find(SUB) + 1]) % 256


def decode_body(frame: bytes) -> ReadBody:
    """Return the wells of a body; nothing is padded.

    `ChecksumError` or `FrameError` where it is damaged, `DeviceRejected` for its status.
    """
    end = _TRAILER.search(frame)
    if not frame.startswith(_BODY_HEAD) or not end or end.end() != len(frame):
        raise FrameError(f"body {frame[:40]!r}...{frame[-30:]!r} has no head or no trailer")
    if int(end["sum"]) != body_checksum(frame):
        raise ChecksumError(
            f"body carries checksum {end['sum'].decode()}, its bytes give {body_checksum(frame):03d}"
        )
    _demand_good(end["status"].decode())
    head = _FIRST.fullmatch(frame[len(_BODY_HEAD) : end.start()].decode("latin-1"))
    if not head:
        raise FrameError(f"body {frame[:40]!r} does not begin with time and temperature")
    wells: dict[tuple[int, int], str] = {}
    for line in head["rows"].split("\r\n,"):
        words = line.split(",")
        if len(words) % 3:
            raise FrameError(f"line {line[:80]!r} of a body is not row, column, value")
        for row, column, value in zip(words[0::3], words[1::3], words[2::3], strict=True):
            if not re.fullmatch(r"[0-9]{2}\.[0-9]{2}\.[-+.0-9*]{7}", f"{row}.{column}.{value}"):
                raise FrameError(f"{row!r}, {column!r}, {value!r} in a body is not a well")
            if wells.setdefault((int(row), int(column)), value) is not value:
                raise FrameError(f"well {row}, {column} stands twice in a body")
    return ReadBody(int(head["temperature"]) / 10, wells)


def decode_absorbance(body: ReadBody) -> tuple[np.ndarray, dict[str, str]]:
    """Return ((8, 12) OD, flag of each well that has no number).

    `FrameError` unless the body holds exactly the 96 wells and nothing but absorbances: counts of
    fluorescence or luminescence have no point and no sign.
    """
    rows, columns = len(ROWS_96), COLUMNS_96
    wanted = {(row, column) for row in range(1, rows + 1) for column in range(1, columns + 1)}
    if set(body.wells) != wanted:
        raise FrameError(f"body holds {len(body.wells)} wells that are not the 96 of A1 to H12")
    values = np.full((rows, columns), math.nan)
    flags: dict[str, str] = {}
    for (row, column), word in body.wells.items():
        well = f"{ROWS_96[row - 1]}{column}"
        if word == "*" * 7:
            flags[well] = NO_NUMBER
        elif re.fullmatch(r"[+-][0-9]+\.[0-9]+", word):
            values[row - 1, column - 1] = float(word)
        else:
            raise FrameError(f"well {well} holds {word!r}, which is not an absorbance")
    return values, flags


def _demand_good(status: str) -> None:
    if status != GOOD:
        meaning = STATUSES.get(status, f"only {GOOD} is known to be good")
        raise DeviceRejected(f"status {status} ({meaning})")

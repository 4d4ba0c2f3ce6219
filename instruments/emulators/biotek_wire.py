"""Bytes of BioTek Synergy and Cytation readers, as the reader reads and writes them.

Belongs here: read definitions to what they ask for, values to the body of a read. Not here: when a
reader answers (biotek).

Source: recorded exchanges of a Cytation 5. The checksum of a body (every byte after its first line
up to and including the first SUB, modulo 256) holds for all recorded bodies. A definition's two
last digits are the sum of its characters modulo 100, and 7 more for fluorescence, 8 more for
luminescence: the real rule is not known, so only definitions of the recorded shapes are read.
UNCONFIRMED: that a rectangle's first row is read left to right whichever row it is (so in the one
recorded case), how an OD from 10 or below -10 is written.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

Mode = Literal["absorbance", "fluorescence", "luminescence"]

ACK, NAK, END = b"\x06", b"\x15", b"\x03"
FIRST_LINE = b"01,1,\r"
SUB = b"\x1a"
NO_VALUE = "*******"
"""Overflow, or a well that was not measured."""
ROWS, COLUMNS = 8, 12
WAVELENGTHS_NM = (230, 999)
BRIGHTEST_OD = 4.0
"""Above this the detector sees no light that could be told from none."""
MOST_COUNTS = 9_999_999


@dataclass(frozen=True)
class Definition:
    """What a read is to measure."""

    mode: Mode
    wavelength_nm: int
    """Of the light that is measured (fluorescence: emission); 0 for luminescence."""
    first: tuple[int, int]
    """Row and column of the rectangle's top left well, from 1."""
    last: tuple[int, int]
    """Row and column of its bottom right well."""


_WELLS = r"(\d\d)(\d\d)(\d\d)(\d\d)"
_SHAPES: dict[Mode, tuple[re.Pattern[str], int]] = {
    "absorbance": (
        re.compile(rf"004701{_WELLS}000120010000110010000010600008(?P<nm>\d{{4}})1"),
        0,
    ),
    "fluorescence": (
        re.compile(
            rf"008401{_WELLS}0001200100001100100000135000100200200\d{{4}}000(?P<nm>\d{{4}})"
            r"000000000000000000210011"
        ),
        7,
    ),
    "luminescence": (
        re.compile(
            rf"008401{_WELLS}000120010000110010000012300\d{{4}}200200-001000-003"
            r"000000000000000000013510(?P<nm>)"
        ),
        8,
    ),
}
"""Mode -> its definition without the checksum, and what is added to the sum of its characters."""


def read_definition(text: str) -> Definition | None:
    """Return what a definition asks for; None where the shape or the checksum is not known."""
    body, checksum = text[:-2], text[-2:]
    for mode, (shape, added) in _SHAPES.items():
        match = shape.fullmatch(body)
        if match is None or checksum != f"{(sum(body.encode('latin-1')) + added) % 100:02d}":
            continue
        top, left, bottom, right = (int(match[at]) for at in range(1, 5))
        inside = 1 <= top <= bottom <= ROWS and 1 <= left <= right <= COLUMNS
        nm = int(match["nm"] or 0)
        shortest, longest = WAVELENGTHS_NM
        if inside and (mode == "luminescence" or shortest <= nm <= longest):
            return Definition(mode, nm, (top, left), (bottom, right))
    return None


def shown(value: float, mode: Mode) -> str:
    """Return a value as a body has it: ``+0.1917`` or seven digits; asterisks for no value."""
    if mode == "absorbance":
        if not math.isfinite(value) or value > BRIGHTEST_OD or value <= -10:
            return NO_VALUE
        return f"{value:+.4f}"
    if not math.isfinite(value) or not 0 <= round(value) <= MOST_COUNTS:
        return NO_VALUE
    return f"{round(value):07d}"


def body(
    values: np.ndarray, definition: Definition, temperatures_c: tuple[float, float], status: str
) -> bytes:
    """Return the body of a read.

    Parameters
    ----------
    values : of the whole plate, (8, 12)
    temperatures_c : as the read begins and as it ends
    status : four digits
    """
    (top, left), (bottom, right) = definition.first, definition.last
    began_c, ended_c = temperatures_c
    rows = []
    for row in range(top, bottom + 1):
        columns = list(range(left, right + 1))
        if (row - top) % 2:
            columns.reverse()
        rows.append(
            ",".join(
                f"{row:02d},{column:02d},{shown(values[row - 1, column - 1], definition.mode)}"
                for column in columns
            )
        )
    text = f"000:00:00.0,{tenths(began_c)}," + "\r\n,".join(rows) + f"\r\n{tenths(ended_c)}"
    summed = text.encode("latin-1") + SUB
    return FIRST_LINE + summed + f"{sum(summed) % 256:03d}".encode() + SUB + status.encode() + END


def tenths(temperature_c: float) -> str:
    """Return a temperature in tenths of a degree, three digits."""
    return f"{round(temperature_c * 10):03d}"

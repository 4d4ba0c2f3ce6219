"""MethodSCRIPT of PalmSens instruments: an impedance measurement as a script, and the stream that
comes back.

Belongs here: scripts, packages and errors as pure functions, after PalmSens' published MethodSCRIPT
examples (MSExample001, 007, 018, 032, Example_C, Example_Python). Not here: moving bytes (`emstat`).
Unconfirmed: the sign of ``cd`` (see `ZIM_SIGN`), and the lines that make a multiplexer choose a
chip (see `MULTIPLEXERS`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from instruments.errors import DeviceRejected, FrameError

FREQUENCY, Z_REAL, Z_IMAGINARY = "dc", "cc", "cd"
PREFIXES: Final[dict[str, float]] = {
    "a": 1e-18, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, " ": 1.0, "i": 1.0,
    "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
}  # fmt: skip
OFFSET: Final = 1 << 27
"""A value is sent as an unsigned 28-bit number with this offset."""
STATUS_BITS: Final = {1: "timing not met", 2: "overload", 4: "underload", 8: "overload warning"}
NOT_A_NUMBER: Final = 16
"""Our own status bit, beside the device's four: the meter sent ``nan``."""
ZIM_SIGN: Final[dict[str, float]] = {"as_reported": 1.0, "negated": -1.0}
"""Z = Zre + j * sign * cd. Which of the two a firmware means is unconfirmed: a capacitive sample
must come out with a
negative imaginary part."""
AUTORANGING: Final[dict[str, str]] = {"1u": "ba 1u 1", "1p": "ba 1p 1"}
"""Dialect -> the limits within which the meter chooses its current range: as older examples write
them, and as newer ones do."""


@dataclass(frozen=True)
class Sweep:
    """One impedance sweep, from high to low frequency, logarithmic."""

    start_hz: int = 100_000
    end_hz: int = 10
    points: int = 21
    amplitude_mv: int = 10

    def __post_init__(self) -> None:
        """Raise ValueError for a sweep that the meter can not do."""
        if not 1 <= self.end_hz < self.start_hz <= 200_000:
            raise ValueError(
                f"sweep {self.start_hz}..{self.end_hz} Hz does not fall within 200000..1 Hz"
            )
        if not 2 <= self.points <= 1000 or not 1 <= self.amplitude_mv <= 250:
            raise ValueError(
                f"sweep of {self.points} points at {self.amplitude_mv} mV: 2..1000 points, 1..250 "
                "mV"
            )


@dataclass(frozen=True)
class SingleFrequency:
    """Impedance at one frequency: a sweep whose ends meet, with one point."""

    frequency_hz: int
    amplitude_mv: int = 10

    def __post_init__(self) -> None:
        """Raise ValueError for a frequency that the meter can not do."""
        if not 1 <= self.frequency_hz <= 200_000 or not 1 <= self.amplitude_mv <= 250:
            raise ValueError(
                f"{self.frequency_hz} Hz at {self.amplitude_mv} mV: 1..200000 Hz, 1..250 mV"
            )

    @property
    def start_hz(self) -> int:
        """The frequency."""
        return self.frequency_hz

    @property
    def end_hz(self) -> int:
        """The frequency."""
        return self.frequency_hz

    @property
    def points(self) -> int:
        """One."""
        return 1


@dataclass(frozen=True)
class Multiplexer:
    """One way in which a script makes a multiplexer choose a chip."""

    highest_channel: int
    lines: Callable[[int, int], tuple[str, ...]]
    """(channel, highest channel in use), both from 0 -> lines before the measurement."""


def _pins(value_of: Callable[[int], int]) -> Callable[[int, int], tuple[str, ...]]:
    def lines(channel: int, highest: int) -> tuple[str, ...]:
        mask = (1 << value_of(highest).bit_length()) - 1 or 1
        return f"set_gpio_cfg {mask}i 1", f"set_gpio {value_of(channel)}i"

    return lines


MULTIPLEXERS: Final[dict[str, Multiplexer]] = {
    "none": Multiplexer(255, lambda channel, highest: ()),
    "gpio": Multiplexer(255, _pins(lambda channel: channel)),
    "mux16": Multiplexer(15, _pins(lambda channel: channel << 4 | channel)),
    "pico_mux16": Multiplexer(
        15,
        lambda channel, highest: (
            "set_gpio_cfg 0x3FFi 1",
            "mux_config 4i 0x0000",
            f"mux_set_channel {channel + 1}i",
        ),
    ),
    "mux8r2": Multiplexer(
        127,
        lambda channel, highest: ("mux_config 3i 0x0020", f"mux_set_channel {channel + 1}i"),
    ),
}
"""Dialect -> how a chip is chosen; none of them tried on a device.

``none`` one chip, wired directly. ``gpio`` the pins show the plain number (MSExample001). ``mux16``
the pins show working and counter electrode together, the enabling bits 8 and 9 low.
``pico_mux16`` the board that MSExample007 drives, ``mux8r2`` the box that MSExample032 drives:
both count from 1."""


@dataclass(frozen=True)
class Variable:
    """One value of a package."""

    kind: str
    """Two letters, e.g. ``dc`` for frequency."""
    value: float
    status: int
    """Bits of `STATUS_BITS`, and `NOT_A_NUMBER`."""


def format_si(value: int) -> str:
    """Return a whole number as MethodSCRIPT writes it, e.g. ``100k``; there are no decimals."""
    for factor, prefix in ((1_000_000, "M"), (1000, "k")):
        if value and value % factor == 0:
            return f"{value // factor}{prefix}"
    return str(value)


def measure_script(
    measurement: Sweep | SingleFrequency, choose: tuple[str, ...] = (), autoranging: str = "1u"
) -> bytes:
    """Return the script of one measurement; however it ends, the cell is switched off.

    ``choose`` are the lines that make the multiplexer choose a chip.
    """
    lines = (
        "e",
        "var f",
        "var r",
        "var j",
        *choose,
        "set_pgstat_chan 0",
        "set_pgstat_mode 3",
        f"set_autoranging {AUTORANGING[autoranging]}",
        "cell_on",
        f"meas_loop_eis f r j {measurement.amplitude_mv}m {format_si(measurement.start_hz)} "
        f"{format_si(measurement.end_hz)} {measurement.points} 0m",
        "pck_start",
        "pck_add f",
        "pck_add r",
        "pck_add j",
        "pck_end",
        "endloop",
        "on_finished:",
        "cell_off",
        "",
    )
    return ("\n".join(lines) + "\n").encode("ascii")


def stream_length(received: bytes) -> int | None:
    """Return the length of a script's whole stream: up to its empty line, or up to the line of an
    error."""
    ends = [
        found.end()
        for found in (re.search(rb"\n\n", received), re.search(rb"![^\n]*\n", received))
        if found
    ]
    return min(ends, default=None)


def abort_length(received: bytes) -> int | None:
    """Return the length up to and with the line that answers ``Z``; what a script still said stands
    before it."""
    found = re.search(rb"(?:\A|\n)Z[^\n]*\n", received)
    return found.end() if found else None


def rest_length(received: bytes) -> int | None:
    """Return the length up to and with the empty line that a script ends with."""
    found = re.search(rb"(?:\A|\n)\n", received)
    return found.end() if found else None


def version_length(received: bytes) -> int | None:
    """Return the length of the answer to ``t``: up to the line that ends with ``*``, or an error
    line."""
    found = re.search(rb"\*\n|![^\n]*\n", received)
    return found.end() if found else None


def decode_version(answer: bytes, identities: tuple[str, ...]) -> str:
    """Return what a meter calls itself, e.g. ``espico1201#Apr 16 2019 10:53:42``.

    `FrameError` where it is not one of ``identities`` (the beginnings of its first line).
    """
    text = answer.decode("latin-1")
    if re.search(r"!", text):
        raise decode_error(text.strip())
    found = re.fullmatch(r"t([^\n]+)\n[^\n]*\*\n", text)
    if not found or not found[1].startswith(identities):
        raise FrameError(f"it calls itself {text!r}, which is none of {', '.join(identities)}")
    return found[1]


def decode_stream(stream: bytes) -> tuple[tuple[Variable, ...], ...]:
    """Return the packages of a script's stream, in order, whatever loops they stand in.

    `DeviceRejected` for an error of the script (``!XXXX``, with line and column where told);
    `FrameError` for a line outside the grammar or a stream without its closing empty line. Takes
    both ``e\\nM0000`` and ``eM0000``.
    """
    text = stream.decode("latin-1")
    packages = []
    for line in text.split("\n"):
        if "!" in line:
            raise decode_error(line)
        if line.startswith("P"):
            packages.append(decode_package(line))
        elif not re.fullmatch(r"|e?(M[0-9A-Fa-f]{4})?|L|C[0-9A-Fa-f]{4}|[*+\-]|Z|T.*", line):
            raise FrameError(f"line {line!r} of the stream is not MethodSCRIPT")
    if not text.endswith("\n\n"):
        raise FrameError(f"stream ends with {text[-20:]!r}, not with an empty line")
    return tuple(packages)


def decode_error(line: str) -> DeviceRejected | FrameError:
    """Return the exception for a line like ``Z!0006`` or ``e!4001: Line 3, Col 5``."""
    found = re.fullmatch(
        r"[A-Za-z]?!([0-9A-Fa-f]{4})(?:: *Line ([0-9]+), *Col ([0-9]+))?", line.strip()
    )
    if not found:
        return FrameError(f"line {line!r} is not a MethodSCRIPT error")
    place = f" at line {found[2]}, column {found[3]} of the script" if found[2] else ""
    return DeviceRejected(f"the meter reports error 0x{found[1].upper()}{place}")


def decode_package(line: str) -> tuple[Variable, ...]:
    """Return the values of one package line ``Pdc...;cc...``; `FrameError` otherwise."""
    return tuple(_variable(part, line) for part in line.removeprefix("P").rstrip("\n").split(";"))


def _variable(part: str, line: str) -> Variable:
    head, *metadata = part.split(",")
    found = re.fullmatch(r"([a-z]{2})(?:([0-9A-Fa-f]{7})([afpnum ikMGTPE])|     nan)", head)
    if not found:
        raise FrameError(f"value {part!r} in {line!r} is not type, 7 hex digits and a prefix")
    status = 0
    for item in metadata:
        if not re.fullmatch(r"1[0-9A-Fa-f]|2[0-9A-Fa-f]{2}|[3-9][0-9A-Fa-f]+", item):
            raise FrameError(f"metadata {item!r} in {line!r} is not known")
        if item.startswith("1"):
            status |= int(item[1:], 16)
    if found[2] is None:
        return Variable(found[1], math.nan, status | NOT_A_NUMBER)
    return Variable(found[1], (int(found[2], 16) - OFFSET) * PREFIXES[found[3]], status)


def describe_status(bits: int) -> str:
    """Return the reasons behind status bits in words; empty for a good point."""
    names = {**STATUS_BITS, NOT_A_NUMBER: "no number"}
    return ", ".join(word for bit, word in names.items() if bits & bit)

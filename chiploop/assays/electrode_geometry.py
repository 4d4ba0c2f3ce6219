"""What the field between the electrodes makes of a barrier: apparent resistance and its inverse.

Belongs here: geometries and their equations. Not here: circuits and fits (barrier_circuit), blanks and
readouts (teer).

Two channels face each other across the barrier; the electrodes stand where the channels begin. Medium
in a shallow channel resists too, so the current crosses a weak barrier close to the electrodes and
leaves the rest of it unused. One-dimensional and exact, for an impedance Zb of the whole barrier
(TEER / area where it is ohmic):

    Z = Zb x coth(x),   x = L / lambda = sqrt(k / Zb),   k = r L,   r = 2 rho / (width height)

which is r lambda coth(L / lambda) with lambda = sqrt(TEER / (width r)). Apparent over true is
x coth(x). Electrodes at both ends, or in the middle, serve half the length each: k / 4. With k = 0
(electrodes along the whole channel) this is the area rule. It is exact at every frequency, since Zb
may be complex: a lumped circuit is another curve.

What no formula covers comes as a table of a finite-element run, TEER against the resistance between
the electrodes at frequency zero.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from chiploop.errors import FileNotValid
from chiploop.exports.cells import plain_number
from chiploop.exports.decoding import decode

Position = Literal["one_end", "both_ends", "middle", "full_length"]
PATHS: Final[dict[Position, float]] = {
    "one_end": 1.0,
    "both_ends": 0.25,
    "middle": 0.25,
    "full_length": 0.0,
}
"""Where the electrodes stand -> part of r L that stands in k."""
NOT_CORRECTED: Final = "geometry not corrected: area rule"
TABLE_HEADER: Final = ("teer_ohm_cm2", "resistance_ohm")
LEAST_ROWS: Final = 4


def field_factor(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return x coth(x) and d(Zb x coth x) / dZb, for complex x with a real part of 0 or above."""
    x = np.asarray(x, dtype=complex)
    small = np.abs(x) < 1e-4
    y = np.where(small, 1.0, x)
    decay = np.exp(-2.0 * y)
    less = -np.expm1(-2.0 * y)
    factor = y * (1.0 + decay) / less
    slope = 0.5 * (factor + 4.0 * y**2 * decay / less**2)
    return np.where(small, 1.0 + x**2 / 3.0, factor), np.where(small, 1.0, slope)


@dataclass(frozen=True)
class ChannelElectrodes:
    """Electrodes of two facing channels of one length, width and height."""

    position: Position
    length_mm: float
    width_mm: float
    height_mm: float
    resistivity_ohm_cm: float
    """Of the medium at the temperature of the measurement."""

    def __post_init__(self) -> None:
        """Raise ValueError for a size that is not above zero."""
        if self.position not in PATHS:
            raise ValueError(f"electrodes at {self.position!r}; allowed are {', '.join(PATHS)}")
        for name in ("length_mm", "width_mm", "height_mm", "resistivity_ohm_cm"):
            value = getattr(self, name)
            if not (value > 0.0 and math.isfinite(value)):
                raise ValueError(f"{name} {value}: a channel's is above 0")

    @property
    def area_cm2(self) -> float:
        """Return the area that the channels share."""
        return self.length_mm * self.width_mm / 100.0

    @property
    def channel_ohm(self) -> float:
        """Return k."""
        section_cm2 = self.width_mm * self.height_mm / 100.0
        both = 2.0 * self.resistivity_ohm_cm * self.length_mm / 10.0 / section_cm2
        return PATHS[self.position] * both

    @property
    def told(self) -> str:
        """Return what a method says of it."""
        return (
            f"field of electrodes at {self.position.replace('_', ' ')} of a channel "
            f"{self.length_mm:g} x {self.width_mm:g} x {self.height_mm:g} mm, "
            f"{self.resistivity_ohm_cm:g} ohm cm"
        )

    def apparent_ohm(self, barrier_ohm: float) -> float:
        """Return the resistance between the electrodes for one of the whole barrier."""
        return apparent_ohm(barrier_ohm, self.channel_ohm)

    def barrier_ohm(self, apparent: float) -> tuple[float, float]:
        """Return the resistance of the barrier and its derivative by the apparent one."""
        return barrier_ohm(apparent, self.channel_ohm)


def apparent_ohm(barrier: float, channel_ohm: float) -> float:
    """Return Zb x coth(x) of a real barrier; ValueError below zero."""
    if not barrier >= 0.0:
        raise ValueError(f"a barrier of {barrier} ohm; 0 or above")
    if barrier == 0.0:
        return 0.0
    x = math.sqrt(channel_ohm / barrier)
    return barrier * float(field_factor(np.array(x))[0].real)


def barrier_ohm(apparent: float, channel_ohm: float) -> tuple[float, float]:
    """Return the barrier with this apparent resistance, and d barrier / d apparent.

    Apparent resistance rises from 0 with the barrier's, without end: every value above zero has one
    answer. It lies between apparent - k/3 and apparent, since 1 <= x coth(x) <= 1 + x^2/3.
    """
    if not (apparent > 0.0 and math.isfinite(apparent)):
        raise ValueError(f"an apparent resistance of {apparent} ohm; above 0")
    if channel_ohm == 0.0:
        return apparent, 1.0
    # x coth x >= x as well: barrier <= apparent^2 / k
    high = min(apparent, apparent**2 / channel_ohm)
    low = max(apparent - channel_ohm / 3.0, 1e-3 * high)
    while low > 0.0 and apparent_ohm(low, channel_ohm) > apparent:
        low /= 2.0
    low, high = low * (1.0 - 1e-9), high * (1.0 + 1e-9)  # rounding stays within
    found = float(
        brentq(
            lambda ln: math.log(apparent_ohm(math.exp(ln), channel_ohm) / apparent),
            math.log(low),
            math.log(high),
            xtol=1e-14,
            rtol=8.9e-16,
        )
    )
    value = math.exp(found)
    slope = float(field_factor(np.array(math.sqrt(channel_ohm / value)))[1].real)
    return value, 1.0 / slope


@dataclass(frozen=True)
class GeometryTable:
    """Resistance between the electrodes against TEER, as a finite-element run gave it."""

    teer_ohm_cm2: tuple[float, ...]
    """Ascending."""
    resistance_ohm: tuple[float, ...]
    """At frequency zero, medium included; ascending."""
    origin: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for a table that has no inverse."""
        teer, ohm = np.array(self.teer_ohm_cm2), np.array(self.resistance_ohm)
        if teer.size != ohm.size or teer.size < LEAST_ROWS:
            raise ValueError(f"{teer.size} rows; a table needs at least {LEAST_ROWS}")
        if not (np.all(np.isfinite(teer)) and np.all(np.isfinite(ohm)) and np.all(ohm > 0.0)):
            raise ValueError("a table has finite numbers, and resistances above 0")
        if not teer[0] >= 0.0:
            raise ValueError(f"TEER {teer[0]:g} ohm cm2; 0 or above")
        for name, column in (("TEER", teer), ("resistance", ohm)):
            falls = np.flatnonzero(np.diff(column) <= 0.0)
            if falls.size:
                i = int(falls[0])
                raise ValueError(
                    f"row {i + 2} of the table: {name} {column[i + 1]:g} does not rise above {column[i]:g}; "
                    "a table rises in both columns, else it has no inverse"
                )

    @property
    def told(self) -> str:
        """Return what a method says of it."""
        return f"geometry by table {self.origin or 'without a name'}"

    def teer(self, resistance: float) -> tuple[float, float]:
        """Return TEER and its derivative by the resistance, by a monotone cubic.

        Raises
        ------
        ValueError : outside of the table; it is not extrapolated.
        """
        ohm = self.resistance_ohm
        if not ohm[0] <= resistance <= ohm[-1]:
            raise ValueError(
                f"{resistance:g} ohm is outside of the table of {self.origin or 'the geometry'}, "
                f"{ohm[0]:g} to {ohm[-1]:g} ohm; it is not extrapolated"
            )
        curve = PchipInterpolator(ohm, self.teer_ohm_cm2)
        return float(curve(resistance)), float(curve.derivative()(resistance))


def read_geometry_table(data: bytes, name: str) -> GeometryTable:
    """Return the table of a CSV file ``teer_ohm_cm2,resistance_ohm``.

    Raises
    ------
    FileNotValid : another header, a row that is no two numbers, a table that does not rise.
    """
    text = decode(data, name).text
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except csv.Error as trouble:
        raise FileNotValid(f"{name}: {trouble}; a table with commas is needed") from None
    header = tuple(cell.strip() for cell in lines[0]) if lines else ()
    if header != TABLE_HEADER:
        raise FileNotValid(
            f"{name}, line 1: read {','.join(header)[:60]!r}; the header is {','.join(TABLE_HEADER)}"
        )
    rows: list[tuple[float, float]] = []
    for i, cells in enumerate(lines[1:], start=2):
        numbers = [plain_number(cell.strip()) for cell in cells]
        if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
            raise FileNotValid(
                f"{name}, line {i}: read {','.join(cells)[:60]!r}; two numbers with a decimal point "
                "are needed"
            )
        rows.append((numbers[0], numbers[1]))
    try:
        return GeometryTable(tuple(a for a, _ in rows), tuple(b for _, b in rows), name)
    except ValueError as trouble:
        raise FileNotValid(f"{name}: {trouble}") from None

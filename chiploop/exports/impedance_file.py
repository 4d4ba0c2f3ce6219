"""What an impedance file holds once it is read, and the table in the middle of it.

Belongs here: the shape of a read spectrum and of its lines. Not here: any one format, the rules that
all formats share (impedance_points), opening a file (impedance_readers).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from chiploop.exports.csv_lines import TableLine
from chiploop.measurement import ImpedanceSpectrum

Role = Literal["frequency", "real", "imaginary", "modulus", "phase"]

NO_NUMBER = 1
"""Status bit of a point whose impedance is no number in the file."""
MARKED_BAD = 2
"""Status bit of a point that the meter's program marked."""


@dataclass(frozen=True)
class Column:
    """Where one quantity stands in a table of points."""

    role: Role
    index: int
    title: str
    """As the file writes it."""
    factor: float = 1.0
    """To Hz, ohm or degrees; below zero where the column holds the negative."""
    sign_by_phase: bool = False
    """True where a program is known to write the negative under this heading: the phase decides."""


@dataclass(frozen=True)
class PointTable:
    """The lines of a file that hold points, and what the file says beside them."""

    header_line: int
    columns: tuple[Column, ...]
    n_cells: int
    """Cells that every line has at least."""
    lines: tuple[TableLine, ...]
    marked: tuple[int, ...] = ()
    """Lines that the program marked as bad."""
    expected_points: int | None = None
    """As the file declares; None where it does not."""
    expected_last_hz: float | None = None
    area_cm2: float | None = None
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    """What makes the spectrum doubtful, such as an aborted run."""
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ImpedanceFile:
    """One spectrum, read to the file's last line."""

    file: str
    sha256: str
    format: str
    """Key of ``IMPEDANCE_READERS``."""
    encoding: str
    frequency_hz: np.ndarray
    """(n_freq,), in the order measured."""
    impedance_ohm: np.ndarray
    """(n_freq,), complex; NaN where the file has no number."""
    status: tuple[int, ...]
    """(n_freq,); 0 is a good point."""
    lines: tuple[int, ...]
    """(n_freq,) line of the file, from 1."""
    area_cm2: float | None
    """As the file declares; never used unasked, since programs fill in a default."""
    notes: tuple[str, ...]
    """What a person should know of the file; a file with notes is valid."""
    flags: tuple[str, ...]
    metadata: tuple[tuple[str, str], ...]

    def spectrum(self, chip_id: str = "", time_h: float = 0.0) -> ImpedanceSpectrum:
        """Return the spectrum as the assays take it."""
        return ImpedanceSpectrum(
            chip_id or self.file, time_h, self.frequency_hz, self.impedance_ohm, self.status
        )

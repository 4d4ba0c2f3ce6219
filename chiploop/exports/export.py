"""What a vendor file holds once it is read: tidy rows, one number (or its typed absence) each.

Belongs here: the shape of a read export. Not here: how one format is read, or what a number means
for a chip.
"""

from __future__ import annotations

from dataclasses import dataclass

from chiploop.exports.times import DateOrder, ExportTime, FileTime
from chiploop.measurement import WellReadout


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One cell of a vendor file that holds, or should hold, a number."""

    plate: str
    """Name of the plate in the file; empty where the file names none."""
    statistic: str
    """Which of the file's tables it stands in: ``Raw``, ``Reduced``, ``Median``, ``Group
    Standards``.
    """
    line: int
    """Line of the file, from 1."""
    column: int
    """Cell in that line, from 1."""
    readout: WellReadout
    """``well`` is empty for a number that belongs to a sample (a mean of wells), not to one well.
    """
    wavelength_nm: int | None = None
    """Of the light measured; None where the number has no wavelength."""


@dataclass(frozen=True)
class PlateShape:
    """A plate as the file declares it."""

    name: str
    wells: int
    rows: int
    columns: int
    wavelengths_nm: tuple[int, ...] = ()
    temperature_c: float = float("nan")
    read_mode: str = ""
    unit: str = ""
    barcode: str = ""
    """As the file names it; empty where it names none."""


@dataclass(frozen=True, slots=True)
class WellType:
    """What a file itself says stands in a well, in the program's own word: ``S1``, ``U3``."""

    plate: str
    well: str
    text: str


@dataclass(frozen=True)
class FileRows:
    """What one format's reader returns: the content, without the file around it."""

    rows: tuple[ExportRow, ...]
    plates: tuple[PlateShape, ...]
    metadata: tuple[tuple[str, str], ...] = ()
    """What the file says beside its numbers, as (name, text), in the order of the file."""
    notes: tuple[str, ...] = ()
    times: tuple[FileTime, ...] = ()
    date_order: DateOrder | None = None
    """Of the file's dates, where it tells itself."""
    well_types: tuple[WellType, ...] = ()
    """Of formats that give a well a type beside its sample's name."""


@dataclass(frozen=True)
class Export:
    """One vendor file, read to its last line."""

    file: str
    """File name without its folder."""
    sha256: str
    format: str
    """Key of ``READERS``."""
    encoding: str
    rows: tuple[ExportRow, ...]
    plates: tuple[PlateShape, ...]
    metadata: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    """What a person should know of the file; a file with notes is valid."""
    times: tuple[ExportTime, ...] = ()
    well_types: tuple[WellType, ...] = ()

    @property
    def readouts(self) -> tuple[WellReadout, ...]:
        """Return the rows' readouts, in the order of the file."""
        return tuple(row.readout for row in self.rows)

"""Impedance files of several programs to one spectrum: the table of formats and the one door.

Belongs here: one line per format, opening a file. Not here: any one format, the rules that all share
(impedance_points).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from chiploop.errors import FileNotValid
from chiploop.exports import (
    impedance_biologic,
    impedance_csv,
    impedance_gamry,
    impedance_pstrace,
    impedance_zplot,
)
from chiploop.exports.decoding import DecodedText, decode, opening, split_mark
from chiploop.exports.impedance_file import ImpedanceFile, PointTable
from chiploop.exports.impedance_points import points_of
from chiploop.exports.trouble import ExportIncomplete, FormatNotKnown

LARGEST_FILE_BYTES = 4_000_000
"""A sweep is below 100 kB."""
Imaginary = Literal["as-named", "negated"]


@dataclass(frozen=True)
class ImpedanceReader:
    """How files of one program are recognised and read."""

    title: str
    recognises: Callable[[str], bool]
    read: Callable[[DecodedText, str], PointTable]
    untried: bool
    """True where no real file was at hand: every read says so."""
    default_code_page: str | None = "cp1252"
    """What the program writes where it writes no UTF."""


IMPEDANCE_READERS: Final[dict[str, ImpedanceReader]] = {
    "gamry": ImpedanceReader(
        "Gamry DTA", impedance_gamry.recognises, impedance_gamry.read, untried=True
    ),
    "biologic": ImpedanceReader(
        "BioLogic EC-Lab mpt", impedance_biologic.recognises, impedance_biologic.read, untried=True
    ),
    "zplot": ImpedanceReader(
        "ZPlot z", impedance_zplot.recognises, impedance_zplot.read, untried=True
    ),
    "pstrace": ImpedanceReader(
        "PalmSens PSTrace text", impedance_pstrace.recognises, impedance_pstrace.read, untried=True
    ),
    "csv": ImpedanceReader(
        "plain CSV (frequency_hz,z_real_ohm,z_imag_ohm)",
        impedance_csv.recognises,
        impedance_csv.read,
        untried=False,
        default_code_page=None,
    ),
}
"""Key of formats; the first that recognises a file reads it."""


def read_impedance(
    path: Path, code_page: str | None = None, imaginary: Imaginary = "as-named"
) -> ImpedanceFile:
    """Return the spectrum of a file; parameters and errors as `read_impedance_bytes`."""
    allowed = ", ".join(reader.title for reader in IMPEDANCE_READERS.values())
    if path.is_dir():
        raise FileNotValid(f"{path} is a folder; name one file ({allowed}).")
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise FileNotValid(
                f"{path.name}: {path.stat().st_size} bytes; at most {LARGEST_FILE_BYTES} are read."
            )
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise FileNotValid(f"{path}: there is no such file.") from error
    except (OSError, ValueError) as error:
        raise FileNotValid(f"{path}: can not be read ({error}).") from error
    return read_impedance_bytes(data, path.name, code_page, imaginary)


def read_impedance_bytes(
    data: bytes, name: str, code_page: str | None = None, imaginary: Imaginary = "as-named"
) -> ImpedanceFile:
    """Return the spectrum of a file from its bytes.

    Parameters
    ----------
    code_page : used only where the file is neither marked nor valid UTF-8.
    imaginary : ``negated`` where the column holds the other sign than its heading says.

    Raises
    ------
    FileNotValid : empty, binary, of an unknown format, cut, contradictory, with another sign than a
        barrier can have, or with a cell that is not understood; with the place.
    """
    allowed = ", ".join(reader.title for reader in IMPEDANCE_READERS.values())
    if not data:
        raise ExportIncomplete(f"{name}: the file is empty. Allowed: {allowed}.")
    if len(data) > LARGEST_FILE_BYTES:
        raise FileNotValid(f"{name}: {len(data)} bytes; at most {LARGEST_FILE_BYTES} are read.")
    marked, body = split_mark(data)
    if marked is None and b"\x00" in body:
        raise FormatNotKnown(f"{name}: a binary file, not text. Allowed: {allowed}.")
    start = opening(data)
    key = next((k for k, one in IMPEDANCE_READERS.items() if one.recognises(start)), None)
    if key is None:
        first = next((line for line in start.lstrip("\ufeff").splitlines() if line.strip()), "")
        raise FormatNotKnown(
            f"{name}: not a format that is read; its first line is {first[:60]!r}. Allowed: {allowed}."
        )
    reader = IMPEDANCE_READERS[key]
    decoded = decode(data, name, code_page, reader.default_code_page)
    table = reader.read(decoded, name)
    flags = table.flags
    if imaginary == "negated":
        role = "imaginary" if any(c.role == "imaginary" for c in table.columns) else "phase"
        table = replace(
            table,
            columns=tuple(
                replace(c, factor=-c.factor) if c.role == role else c for c in table.columns
            ),
        )
        flags = (*flags, f"the {role} column was read with the other sign than its heading says")
    hz, z, status, notes, found = points_of(table, name)
    untried = (
        f"untried: no real file of {reader.title} has been read yet; compare the numbers with the "
        "program's own table"
    )
    return ImpedanceFile(
        file=name,
        sha256=hashlib.sha256(data).hexdigest(),
        format=key,
        encoding=decoded.encoding,
        frequency_hz=hz,
        impedance_ohm=z,
        status=status,
        lines=tuple(line.number for line in table.lines),
        area_cm2=table.area_cm2,
        notes=((untried,) if reader.untried else ()) + (*decoded.notes, *table.notes, *notes),
        flags=(*flags, *found),
        metadata=table.metadata,
    )

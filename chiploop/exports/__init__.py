"""Vendor files (plate readers, multiplex readers) to tidy rows.

Belongs here: the table of readers and the one door, ``read_export``. Not here: any one format.
A file is read to its last line or refused; nothing is repaired in silence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chiploop.errors import FileNotValid
from chiploop.exports import luminex_xponent, softmax_pro
from chiploop.exports.decoding import DecodedText, decode, opening, split_mark
from chiploop.exports.export import Export, FileRows

LARGEST_FILE_BYTES = 100_000_000
"""An export of one plate is below 1 MB; what is larger is no export."""


@dataclass(frozen=True)
class ExportReader:
    """How files of one program are recognised and read."""

    title: str
    recognises: Callable[[str], bool]
    """True for the first characters of a file of this format."""
    read: Callable[[DecodedText, str], FileRows]
    """(text, file name) -> content; raises FileNotValid."""
    default_code_page: str | None
    """What the program writes where it writes no UTF."""


READERS: dict[str, ExportReader] = {
    "softmax_pro": ExportReader(
        "SoftMax Pro text export", softmax_pro.recognises, softmax_pro.read, "cp1252"
    ),
    "luminex_xponent": ExportReader(
        "Luminex xPONENT CSV export", luminex_xponent.recognises, luminex_xponent.read, "cp1252"
    ),
}


def read_export(path: Path | str, code_page: str | None = None) -> Export:
    """Return the content of a vendor file.

    Parameters
    ----------
    path : the file.
    code_page : used only where the file is neither marked nor valid UTF-8; each format has a
        default.

    Raises
    ------
    FileNotValid : not there, not a file, empty, binary, of an unknown format, cut short,
        contradictory, with a decimal comma, or with a cell that is not understood.
    """
    path = Path(path)
    name = path.name or str(path)
    data = _bytes_of(path, name)
    start = opening(data)
    chosen = [key for key, reader in READERS.items() if reader.recognises(start)]
    allowed = ", ".join(reader.title for reader in READERS.values())
    if not chosen:
        first_line = next(
            (line for line in start.lstrip("\ufeff").splitlines() if line.strip()), ""
        )[:60]
        raise FileNotValid(
            f"{name}: not a format that is read; its first line is {first_line!r}. Allowed are: "
            f"{allowed}."
        )
    reader = READERS[chosen[0]]
    decoded = decode(data, name, code_page, reader.default_code_page)
    content = reader.read(decoded, name)
    return Export(
        file=name,
        sha256=hashlib.sha256(data).hexdigest(),
        format=chosen[0],
        encoding=decoded.encoding,
        rows=content.rows,
        plates=content.plates,
        metadata=content.metadata,
        notes=(*decoded.notes, *content.notes),
    )


def _bytes_of(path: Path, name: str) -> bytes:
    allowed = ", ".join(reader.title for reader in READERS.values())
    if path.is_dir():
        raise FileNotValid(f"{path} is a folder; name one export file ({allowed}).")
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise FileNotValid(
                f"{name}: {path.stat().st_size} bytes; an export of at most "
                f"{LARGEST_FILE_BYTES} bytes is read ({allowed})."
            )
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise FileNotValid(f"{path}: there is no such file.") from error
    except OSError as error:
        raise FileNotValid(f"{path}: can not be read ({error.strerror or error}).") from error
    if not data:
        raise FileNotValid(
            f"{name}: the file is empty; the export may not be finished. Allowed: {allowed}."
        )
    if data.startswith(b"PK\x03\x04"):
        raise FileNotValid(
            f"{name}: a zip or spreadsheet workbook; export as text or CSV instead. Allowed: "
            f"{allowed}."
        )
    marked, body = split_mark(data)
    if marked is None and b"\x00" in body:
        raise FileNotValid(f"{name}: a binary file, not text. Allowed: {allowed}.")
    return data

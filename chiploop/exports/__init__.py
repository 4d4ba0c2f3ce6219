"""Vendor files (plate readers, multiplex readers) to tidy rows.

Belongs here: the one door, ``read_export``. Not here: any one format (the table is in ``readers``).
A file is read to its last line or refused; nothing is repaired in silence.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from zoneinfo import ZoneInfo

from chiploop.errors import FileNotValid
from chiploop.exports.decoding import DecodedText, decode, opening, split_mark
from chiploop.exports.export import Export, FileRows
from chiploop.exports.readers import READERS, WORKBOOK_READERS, ExportReader, WorkbookReader
from chiploop.exports.times import DateOrder, resolve
from chiploop.exports.trouble import ExportIncomplete, FormatNotKnown
from chiploop.exports.workbook import ZIP_MARK, read_workbook

__all__ = ["LARGEST_FILE_BYTES", "READERS", "bytes_of", "read_export", "read_export_bytes"]

LARGEST_FILE_BYTES = 8_000_000
"""An export of one plate is below 1 MB, one of 384 wells and 80 analytes some 6 MB; a larger file is
refused before it is opened. docs/exports.md states how much memory a byte of a file may take."""


def read_export(
    path: Path | str,
    code_page: str | None = None,
    time_zone: ZoneInfo | None = None,
    date_order: DateOrder | None = None,
) -> Export:
    """Return the content of a vendor file.

    Parameters
    ----------
    path : the file.
    code_page : used only where the file is neither marked nor valid UTF-8; each format has a
        default.
    time_zone : of the clock in the laboratory; without it the file's times stay text.
    date_order : used only where no date of the file tells day and month apart.

    Raises
    ------
    FileNotValid : not there, not a file, empty, binary, of an unknown format, cut short,
        contradictory, with a decimal comma, or with a cell that is not understood.
    """
    path = Path(path)
    name = path.name or str(path)
    return read_export_bytes(bytes_of(path), name, code_page, time_zone, date_order)


def read_export_bytes(
    data: bytes,
    name: str,
    code_page: str | None = None,
    time_zone: ZoneInfo | None = None,
    date_order: DateOrder | None = None,
) -> Export:
    """Return the content of a vendor file from its bytes; parameters and errors as `read_export`."""
    _refuse_size(data, name)
    reader: ExportReader | WorkbookReader
    if data.startswith(ZIP_MARK):
        key, reader, content = _from_workbook(data, name)
        decoded = DecodedText("", "xlsx")
    else:
        key, reader, decoded, content = _from_text(data, name, code_page)
    untried = (
        f"untried: no real file of {reader.title} has been read yet; compare the numbers with the "
        "program's own table"
    )
    return Export(
        file=name,
        sha256=hashlib.sha256(data).hexdigest(),
        format=key,
        encoding=decoded.encoding,
        rows=content.rows,
        plates=content.plates,
        metadata=content.metadata,
        notes=((untried,) if reader.untried else ()) + (*decoded.notes, *content.notes),
        times=resolve(content.times, time_zone, content.date_order or date_order),
        well_types=content.well_types,
    )


def _from_text(
    data: bytes, name: str, code_page: str | None
) -> tuple[str, ExportReader, DecodedText, FileRows]:
    _refuse_binary(data, name)
    start = opening(data)
    for key, reader in READERS.items():
        if reader.recognises(start):
            decoded = decode(data, name, code_page, reader.default_code_page)
            return key, reader, decoded, reader.read(decoded, name)
    lines = start.lstrip("\ufeff").splitlines()
    first_line = next((line for line in lines if line.strip()), "")[:60]
    raise FormatNotKnown(
        f"{name}: not a format that is read; its first line is {first_line!r}. Allowed are: "
        f"{_allowed()}."
    )


def _from_workbook(data: bytes, name: str) -> tuple[str, WorkbookReader, FileRows]:
    sheets = read_workbook(data, name)
    for key, reader in WORKBOOK_READERS.items():
        if reader.recognises(sheets):
            return key, reader, reader.read(sheets, name)
    raise FormatNotKnown(
        f"{name}: a workbook of no program that is read; its sheets are "
        f"{', '.join(sheets)[:200]}. Allowed are: {_allowed()}."
    )


def _allowed() -> str:
    titles = [reader.title for reader in READERS.values()]
    titles += [reader.title for reader in WORKBOOK_READERS.values()]
    return ", ".join(titles)


def bytes_of(path: Path) -> bytes:
    """Return the bytes of a file that is not too large; FileNotValid where it can not be read."""
    name = path.name or str(path)
    allowed = _allowed()
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
    return data


def _refuse_size(data: bytes, name: str) -> None:
    if len(data) > LARGEST_FILE_BYTES:
        raise FileNotValid(
            f"{name}: {len(data)} bytes; an export of at most {LARGEST_FILE_BYTES} bytes is read."
        )
    if not data:
        raise ExportIncomplete(
            f"{name}: the file is empty; the export may not be finished. Allowed: {_allowed()}."
        )


def _refuse_binary(data: bytes, name: str) -> None:
    marked, body = split_mark(data)
    if marked is None and b"\x00" in body:
        raise FormatNotKnown(f"{name}: a binary file, not text. Allowed: {_allowed()}.")

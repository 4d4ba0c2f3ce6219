"""Sheets of a spreadsheet workbook (xlsx) as rows of text; needs ``chiploop[xlsx]``.

Belongs here: opening a workbook that may be damaged or hostile, and its cells. Not here: what a sheet
means. Sizes are looked at before anything is unpacked: a workbook of a few kB can claim 17 billion cells.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from datetime import date, datetime
from typing import Final

from chiploop.errors import FileNotValid
from chiploop.exports.trouble import FormatNotKnown, LibraryMissing

MOST_MEMBERS: Final = 500
MOST_BYTES: Final = 64_000_000
"""Unpacked, all parts together; exports of a plate have below 2 MB."""
MOST_ROWS, MOST_COLUMNS = 20_000, 200
REFERENCE: Final = re.compile(rb'\br="([A-Z]{1,4})([0-9]{1,9})"')
ZIP_MARK: Final = b"PK\x03\x04"

Sheets = dict[str, list[list[str]]]
"""Title -> rows of cells; row and column 0 of every sheet are its A1."""


def read_workbook(data: bytes, name: str) -> Sheets:
    """Return the sheets of a workbook.

    Raises
    ------
    LibraryMissing : the extra ``xlsx`` is not installed.
    FormatNotKnown : a zip that is no workbook.
    FileNotValid : damaged, encrypted, or larger than any export.
    """
    _check_parts(data, name)
    try:
        import python_calamine
    except ImportError as missing:
        raise LibraryMissing(
            f"{name} is a workbook; reading one needs python-calamine. Install it with: "
            "pip install 'chiploop[xlsx]'"
        ) from missing
    try:
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        return {
            title: [
                [_text(cell) for cell in row]
                for row in book.get_sheet_by_name(title).to_python(skip_empty_area=False)
            ]
            for title in book.sheet_names
        }
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as trouble:  # a panic of the library is no Exception
        raise FileNotValid(
            f"{name}: a damaged workbook ({str(trouble)[:100]}); export it again."
        ) from trouble


def _check_parts(data: bytes, name: str) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            members = parts.infolist()
            names = {member.filename for member in members}
            if "xl/workbook.xml" not in names:
                raise FormatNotKnown(f"{name}: a zip file that is no xlsx workbook.")
            total = sum(member.file_size for member in members)
            if len(members) > MOST_MEMBERS or total > MOST_BYTES:
                raise FileNotValid(
                    f"{name}: {len(members)} parts of {total} bytes unpacked; at most "
                    f"{MOST_MEMBERS} of {MOST_BYTES} are read."
                )
            for member in members:
                if member.flag_bits & 1:
                    raise FileNotValid(f"{name}: an encrypted workbook; save it without password.")
                if member.filename.endswith((".xml", ".rels")):
                    _check_part(parts, member, name)
    except (
        zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError,
        RuntimeError,
    ) as trouble:  # fmt: skip
        raise FileNotValid(f"{name}: a damaged workbook ({trouble}); copy it again.") from trouble


def _check_part(parts: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> None:
    with parts.open(member) as file:
        content = file.read(MOST_BYTES + 1)  # the declared size may be a lie
    if len(content) != member.file_size or b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise FileNotValid(
            f"{name}: part {member.filename} is not what it declares; the workbook is damaged."
        )
    if not member.filename.startswith("xl/worksheets/"):
        return
    for letters, digits in REFERENCE.findall(content):
        column = 0
        for letter in letters:
            column = column * 26 + letter - ord("A") + 1
        if column > MOST_COLUMNS or int(digits) > MOST_ROWS:
            raise FileNotValid(
                f"{name}: a cell {letters.decode()}{digits.decode()}; exports have at most "
                f"{MOST_COLUMNS} columns and {MOST_ROWS} rows."
            )


def _text(cell: object) -> str:
    """Return a cell as the readers of text files would meet it."""
    if isinstance(cell, bool):
        return str(cell)
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ")
    if isinstance(cell, date):
        return cell.isoformat()
    return str(cell)

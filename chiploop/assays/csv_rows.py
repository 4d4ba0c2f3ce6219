"""Header and rows of a person's CSV, and its numbers; nothing is repaired.

Belongs here: what every table of points has. Not here: which columns a command reads (curve_table,
permeability_table), exports of instruments (exports).
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

from chiploop.errors import FileNotValid

LARGEST_FILE_BYTES = 50_000_000
SEPARATORS = (",", ";", "\t")
NUMBERS = "numbers with a decimal point, such as 0.125 or 1e-3"


def bytes_of(path: Path) -> bytes:
    """Return what stands in a file; FileNotValid for one that is missing, empty or too large."""
    if path.is_dir():
        raise FileNotValid(f"{path} is a folder; name a CSV file")
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise FileNotValid(f"{path.name}: more than {LARGEST_FILE_BYTES} bytes are not read")
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotValid(f"{path}: there is no such file") from None
    except OSError as error:
        raise FileNotValid(f"{path}: can not be read ({error.strerror or error})") from None
    if not data.strip():
        raise FileNotValid(f"{path.name}: the file is empty; a header and rows are needed")
    return data


def rows_of(text: str, file: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header and (row number from 1, cells); rows without any text are left out."""
    first = text.split("\n", 1)[0]
    separator = max(SEPARATORS, key=first.count)
    try:
        table = list(csv.reader(text.splitlines(), delimiter=separator, strict=True))
    except csv.Error as error:
        raise FileNotValid(f"{file}: not a CSV file ({error})") from None
    header = [cell.strip() for cell in table[0]]
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise FileNotValid(f"{file}: column '{twice[0]}' stands in the header more than once")
    rows = []
    for number, cells in enumerate(table[1:], start=1):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise FileNotValid(
                f"{file}, row {number}: {len(cells)} cells, the header has {len(header)}"
                + ("; is it a decimal comma?" if separator == "," else "")
            )
        rows.append((number, cells))
    return header, rows


def number_in(cell: str, at: str, column: str) -> float:
    """Return the number of a cell; FileNotValid with its place for anything else."""
    written = cell.strip()
    try:
        value = float(written) if "_" not in written else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        hint = "; a decimal comma is not read" if "," in written else ""
        said = f"'{written}' is not a number" if written else "the cell is empty"
        raise FileNotValid(f"{at}, column '{column}': {said}; allowed are {NUMBERS}{hint}")
    return value

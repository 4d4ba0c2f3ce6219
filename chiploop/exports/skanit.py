"""Thermo SkanIt workbook (xlsx). UNTRIED: no real file was at hand.

Belongs here: the sheets of this file, as known from what another open program looks for in it. Not here:
opening a workbook.
A sheet of results ("Absorbance 1") is: name of the session, time, then per plate and wavelength a line
"Plate 1", a line "Wavelength: 450 nm" and a table whose corner is Abs, RLU or RFU; a table with the
corner Sample names the wells. It has no end mark: rows and columns are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from chiploop.errors import FileNotValid
from chiploop.exports.cells import Cell, number_style, read_cell
from chiploop.exports.export import ExportRow, FileRows, PlateShape
from chiploop.exports.times import FileTime
from chiploop.exports.trouble import ExportIncomplete
from chiploop.exports.wells import PLATE_SHAPES, row_label, well_name
from chiploop.exports.workbook import Sheets
from chiploop.measurement import WellReadout

CORNERS: Final = {"Abs": "OD", "RFU": "RFU", "RLU": "RLU"}
MODES: Final = ("Absorbance", "Fluorescence", "Luminescence")
PLATE: Final = re.compile(r"Plate\s*([0-9]{1,4})")
WAVELENGTH: Final = re.compile(r"Wavelength:\s*([0-9]{2,4})\s*nm")


@dataclass(frozen=True)
class _Table:
    sheet: str
    plate: str
    wavelength_nm: int | None
    corner: str
    row: int
    """Of the corner in its sheet, from 1."""
    columns: int
    cells: tuple[tuple[str, ...], ...]


def recognises(sheets: Sheets) -> bool:
    """Return True for the sheets of a SkanIt workbook."""
    corners = {*CORNERS, "Sample"}
    return any(
        title.startswith(MODES) and any(row and row[0].strip() in corners for row in rows)
        for title, rows in sheets.items()
    )


def read(sheets: Sheets, name: str) -> FileRows:
    """Return every number of the workbook.

    Raises
    ------
    FileNotValid : see ``chiploop.exports.read_export``.
    """
    used = {title: rows for title, rows in sheets.items() if title.startswith(MODES)}
    tables = [table for title, rows in used.items() for table in _tables(title, rows, name)]
    numbers = [table for table in tables if table.corner in CORNERS]
    if not numbers:
        raise ExportIncomplete(f"{name}: incomplete: no table of results in {', '.join(used)}.")
    style = number_style(
        (
            Cell(table.row + i + 1, j + 2, text)
            for table in numbers
            for i, row in enumerate(table.cells)
            for j, text in enumerate(row[1:])
        ),
        name,
    )
    plates: dict[str, PlateShape] = {}
    rows: list[ExportRow] = []
    notes: list[str] = []
    seen: set[tuple[str, str, int | None]] = set()
    for table in numbers:
        key = (table.sheet, table.plate, table.wavelength_nm)
        if key in seen:
            raise FileNotValid(f"{name}, {table.sheet}: {table.plate} stands there twice.")
        seen.add(key)
        mode = next(mode for mode in MODES if table.sheet.startswith(mode))
        shape = _shape(table, mode, name)
        before = plates.setdefault(table.plate, shape)
        if before.wells != shape.wells:
            raise FileNotValid(f"{name}: {table.plate} has {before.wells} and {shape.wells} wells.")
        if len(table.cells) != shape.rows:
            notes.append(
                f"{table.sheet}, {table.plate}: {len(table.cells)} of {shape.rows} rows: a part of "
                "a plate"
            )
        samples = _samples(tables, table)
        for i, row in enumerate(table.cells):
            for j, text in enumerate(row[1 : table.columns + 1]):
                value = read_cell(Cell(table.row + i + 1, j + 2, text), name, style)
                wavelength = table.wavelength_nm
                rows.append(
                    ExportRow(
                        table.plate,
                        table.sheet,
                        table.row + i + 1,
                        j + 2,
                        WellReadout(
                            well_name(i, j),
                            samples.get((i, j), ""),
                            f"{table.corner}{wavelength or ''}",
                            value.value,
                            CORNERS[table.corner],
                            value.censoring,
                            value.lower,
                            value.upper,
                            value.qc,
                            value.reasons,
                        ),
                        wavelength,
                    )
                )
    if style == "comma":
        notes.append("numbers are written with a decimal comma, in the whole file")
    heads = [row[0].strip() for row in next(iter(used.values()))[:2] if row]
    times = (FileTime("read", heads[1]),) if len(heads) > 1 and heads[1] else ()
    return FileRows(tuple(rows), tuple(plates.values()), (), tuple(notes), times)


def _tables(title: str, rows: list[list[str]], name: str) -> Iterator[_Table]:
    plate, wavelength = "Plate 1", None
    i = 0
    while i < len(rows):
        first = rows[i][0].strip() if rows[i] else ""
        if found := WAVELENGTH.search(first):
            wavelength = int(found[1])
        if found := PLATE.search(first):
            plate = found[0]
        i += 1
        if first not in CORNERS and first != "Sample":
            continue
        labels = [cell.strip() for cell in rows[i - 1][1:]]
        while labels and not labels[-1]:
            labels.pop()
        if labels != [str(j + 1) for j in range(len(labels))] or not labels:
            raise FileNotValid(
                f"{name}, {title}, row {i}: the columns are {', '.join(labels)[:100]}; 1, 2, 3, ... "
                "are read."
            )
        begin = i
        while i < len(rows) and rows[i] and rows[i][0].strip():
            label, expected = rows[i][0].strip(), row_label(min(i - begin, 31))
            if label != expected:
                raise FileNotValid(
                    f"{name}, {title}, row {i + 1}: '{label}' where row '{expected}' is expected; "
                    "a row is missing, doubled or moved."
                )
            if any(cell.strip() for cell in rows[i][len(labels) + 1 :]):
                raise FileNotValid(f"{name}, {title}, row {i + 1}: more values than columns.")
            i += 1
        cells = tuple(tuple(row) for row in rows[begin:i])
        yield _Table(title, plate, wavelength, first, begin, len(labels), cells)
        if first in CORNERS:
            wavelength = None


def _shape(table: _Table, mode: str, name: str) -> PlateShape:
    for wells, (rows, columns) in PLATE_SHAPES.items():
        if columns == table.columns and 0 < len(table.cells) <= rows:
            return PlateShape(
                table.plate, wells, rows, columns, read_mode=mode, unit=CORNERS[table.corner]
            )
    raise FileNotValid(
        f"{name}, {table.sheet}, row {table.row}: {len(table.cells)} rows of {table.columns} "
        "columns, which no plate has."
    )


def _samples(tables: list[_Table], table: _Table) -> dict[tuple[int, int], str]:
    return {
        (i, j): text.strip()
        for other in tables
        if other.corner == "Sample" and (other.sheet, other.plate) == (table.sheet, table.plate)
        for i, row in enumerate(other.cells)
        for j, text in enumerate(row[1:])
    }

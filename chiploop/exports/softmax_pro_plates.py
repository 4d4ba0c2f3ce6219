"""Plate tables of a SoftMax Pro text export: header, raw table, reduced table.

Belongs here: the plate block. Not here: blocks and groups (softmax_pro, softmax_pro_groups).
The header declares rows, columns, wells and wavelengths; the tables are counted against it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from chiploop.errors import FileNotValid
from chiploop.exports.cells import Cell, CellValue, read_cell, whole_number
from chiploop.exports.export import ExportRow, PlateShape
from chiploop.exports.softmax_pro_lines import Block, Line
from chiploop.measurement import WellReadout

PLATE_SIZES: dict[int, tuple[int, int]] = {
    6: (2, 3), 12: (3, 4), 24: (4, 6), 48: (6, 8), 96: (8, 12), 384: (16, 24)
}  # fmt: skip
"""Wells -> (rows, columns)."""


@dataclass(frozen=True)
class HeaderLayout:
    """Where a "Plate:" line says what, by read mode; cells counted from 0."""

    unit: str
    analyte: str
    """Format of the analyte's name from the wavelengths."""
    n_reads: int
    n_wavelengths: int
    wavelengths: int
    n_columns: int
    wells: int
    first_row: int
    n_rows: int
    excitation: int | None = None


HEADERS: dict[str, HeaderLayout] = {
    "Absorbance": HeaderLayout("OD", "A{0}", 8, 14, 15, 17, 18, 19, 20),
    "Fluorescence": HeaderLayout("RFU", "F{1}/{0}", 9, 15, 16, 18, 19, 29, 30, excitation=20),
}


def _integer(cells: tuple[str, ...], position: int, what: str, line: Line, name: str) -> int:
    text = cells[position].strip() if position < len(cells) else ""
    number = whole_number(text)
    if not number:
        raise FileNotValid(
            f"{name}, line {line.number}, column {position + 1}: {what} is '{text}', not a whole "
            "number above 0; "
            "this is not the plate header of export version 1.3."
        )
    return number


def read_plate(block: Block, name: str) -> tuple[PlateShape, list[ExportRow]]:
    """Return one plate as declared and all its numbers.

    Raises
    ------
    FileNotValid : another kind of read, or tables that do not match the header.
    """
    line = block.lines[0]
    cells = line.cells
    said = tuple(cell.strip() for cell in cells[2:6])
    if len(said) < 4 or said[1] != "PlateFormat" or said[2] != "Endpoint" or said[3] not in HEADERS:
        raise FileNotValid(
            f"{name}, {block.place}: a plate of layout, read and mode {' / '.join(said[1:])}; "
            "read are "
            f"PlateFormat / Endpoint / {' or '.join(HEADERS)}."
        )
    layout = HEADERS[said[3]]
    n_wavelengths = _integer(cells, layout.n_wavelengths, "the number of wavelengths", line, name)
    n_columns = _integer(cells, layout.n_columns, "the number of columns", line, name)
    n_rows = _integer(cells, layout.n_rows, "the number of rows", line, name)
    first_row = _integer(cells, layout.first_row, "the first row", line, name)
    wells = _integer(cells, layout.wells, "the number of wells", line, name)
    wavelengths = _wavelengths(cells[layout.wavelengths], n_wavelengths, line, name)
    excitation = (
        _wavelengths(cells[layout.excitation], n_wavelengths, line, name)
        if layout.excitation
        else None
    )
    if _integer(cells, layout.n_reads, "the number of reads", line, name) != 1:
        raise FileNotValid(f"{name}, {block.place}: more than one read; end point plates have one.")
    if wells not in PLATE_SIZES or first_row - 1 + n_rows > PLATE_SIZES[wells][0]:
        raise FileNotValid(
            f"{name}, {block.place}: {n_rows} rows from row {first_row} on a plate of {wells} "
            "wells; "
            f"plates of {sorted(PLATE_SIZES)} wells are read."
        )
    tables = _tables(block, n_rows, n_columns, n_wavelengths, wells, name)
    temperature = read_cell(
        Cell(tables[0].lines[0].number, 2, tables[0].lines[0].cell(1)), name
    ).value
    shape = PlateShape(
        cells[1].strip(), wells, *PLATE_SIZES[wells], wavelengths, temperature, said[3], layout.unit
    )
    rows: list[ExportRow] = []
    for i in range(n_wavelengths):
        analyte = layout.analyte.format(wavelengths[i], excitation[i] if excitation else "")
        rows.extend(
            _table_rows(
                tables[0], i, first_row, shape, "Raw", analyte, layout.unit, wavelengths[i], name
            )
        )
    for table in tables[1:]:
        rows.extend(
            _table_rows(table, 0, first_row, shape, "Reduced", "reduced", "as exported", None, name)
        )
    return shape, rows


def _wavelengths(text: str, count: int, line: Line, name: str) -> tuple[int, ...]:
    words = text.split()
    if (
        len(words) != count
        or not all(whole_number(word) for word in words)
        or len(set(words)) != count
    ):
        raise FileNotValid(
            f"{name}, line {line.number}: {count} wavelengths are declared and '{text.strip()}' "
            "is listed."
        )
    return tuple(int(word) for word in words)


@dataclass(frozen=True)
class _PlateTable:
    labels: tuple[int, ...]
    """Column numbers of the plate, as printed over the table."""
    lines: tuple[Line, ...]


def _tables(
    block: Block, n_rows: int, n_columns: int, n_wavelengths: int, wells: int, name: str
) -> list[_PlateTable]:
    """Return the raw table and, where the file has one, the reduced table; each counted against the
    header.
    """
    parts: list[list[Line]] = [[]]
    for line in block.lines[1:]:
        if line.text.strip():
            parts[-1].append(line)
        elif parts[-1]:
            parts.append([])
    parts = [part for part in parts if part]
    if not 1 <= len(parts) <= 2:
        raise FileNotValid(
            f"{name}, {block.place}: {len(parts)} tables; a raw and at most a reduced one."
        )
    tables = []
    for part, repeats in zip(parts, (n_wavelengths, 1), strict=False):
        labels = tuple(cell.strip() for cell in part[0].cells[2:])
        while labels and not labels[-1]:
            labels = labels[:-1]
        one = labels[:n_columns]
        whole = len(one) == n_columns and labels == ((*one, "") * repeats)[:-1]
        if not whole or not all(whole_number(label) for label in one):
            raise FileNotValid(
                f"{name}, line {part[0].number}: the columns over the table are not {repeats} "
                "time(s) the "
                f"{n_columns} columns that the plate header declares."
            )
        numbers = tuple(int(label) for label in one)
        if list(numbers) != sorted(set(numbers)) or numbers[-1] > PLATE_SIZES[wells][1]:
            raise FileNotValid(
                f"{name}, line {part[0].number}: columns {numbers} of {wells} wells."
            )
        if len(part) - 1 != n_rows:
            raise FileNotValid(
                f"{name}, line {part[0].number}: {len(part) - 1} rows in the table where the "
                "plate header "
                f"declares {n_rows}. A row is missing or doubled; the export is not used."
            )
        width = 2 + repeats * (n_columns + 1) - 1
        for line in part[1:]:
            if len(line.cells) < width or any(cell.strip() for cell in line.cells[width:]):
                raise FileNotValid(
                    f"{name}, line {line.number}: {len(line.cells)} cells where {width} are "
                    "declared."
                )
            gaps = [line.cell(1 + i * (n_columns + 1)) for i in range(1, repeats)]
            if any(gap.strip() for gap in (line.cell(0) if repeats == 1 else "", *gaps)):
                raise FileNotValid(
                    f"{name}, line {line.number}: a value outside the plate's columns."
                )
        tables.append(_PlateTable(numbers, tuple(part[1:])))
    return tables


def _table_rows(
    table: _PlateTable,
    block_of_columns: int,
    first_row: int,
    shape: PlateShape,
    statistic: str,
    analyte: str,
    unit: str,
    wavelength_nm: int | None,
    name: str,
) -> Iterator[ExportRow]:
    offset = 2 + block_of_columns * (len(table.labels) + 1)
    found: list[tuple[str, Cell, CellValue]] = []
    for i, line in enumerate(table.lines):
        for j, label in enumerate(table.labels):
            cell = Cell(line.number, offset + j + 1, line.cell(offset + j))
            found.append(
                (f"{chr(ord('A') + first_row - 1 + i)}{label}", cell, read_cell(cell, name))
            )
    highest = max(
        (said.value for _, _, said in found if math.isfinite(said.value)), default=-math.inf
    )
    for well, cell, said in found:
        lower = said.lower
        if "saturated" in said.reasons:
            # No number is printed: all that is known is that it lies above what this read could
            # still tell.
            lower = highest
        yield ExportRow(
            shape.name,
            statistic,
            cell.line,
            cell.column,
            WellReadout(
                well,
                "",
                analyte,
                said.value,
                unit,
                said.censoring,
                lower,
                said.upper,
                said.qc,
                said.reasons,
            ),
            wavelength_nm,
        )

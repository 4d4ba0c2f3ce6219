"""BMG LABTECH MARS text export in plate layout. UNTRIED: no real file is among the tests.

Belongs here: the lines of this file, as known from public examples. Not here: what a signal means.
A file is: user, path and run; test, date and time; names (ID1, ...); the mode; for every channel a
title ("Raw Data (580/620)") and a table of all rows and columns. It has no end mark: the tables are
counted against the plate that their columns are of. Some versions leave out separators at line ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from chiploop.errors import FileNotValid
from chiploop.exports.cells import Cell, NumberStyle, number_style, read_cell
from chiploop.exports.decoding import DecodedText, refuse_open_end
from chiploop.exports.export import ExportRow, FileRows, PlateShape
from chiploop.exports.times import FileTime
from chiploop.exports.trouble import ExportIncomplete
from chiploop.exports.wells import PLATE_SHAPES, row_label, well_name
from chiploop.measurement import WellReadout

FIRST_LINE: Final = re.compile(r"User: .*Path: .*Test run no\.: *([0-9]+).*")
MODES: Final = {"Absorbance": "OD", "Fluorescence": "RFU", "Luminescence": "RLU"}
Line = tuple[int, list[str]]


def recognises(start: str) -> bool:
    """Return True for the first characters of a MARS export in plate layout."""
    first = start.lstrip("\ufeff").split("\n", 1)[0].replace('"', "")
    return first.startswith("User: ") and "Test run no.:" in first


def read(decoded: DecodedText, name: str) -> FileRows:
    """Return every number of the file.

    Raises
    ------
    FileNotValid : see ``chiploop.exports.read_export``.
    """
    refuse_open_end(decoded, name)
    texts = decoded.text.lstrip("\ufeff").replace("\r\n", "\n").split("\n")
    separator = ";" if texts[0].count(";") > texts[0].count(",") else ","
    lines: list[Line] = [
        (i + 1, [cell.strip().strip('"') for cell in text.split(separator)])
        for i, text in enumerate(texts)
    ]
    tables = _tables(lines, name)
    before = lines[: tables[0][0][0] - 1]
    named = _named(before)
    mode, unit = _mode(before, name)
    style = number_style(
        (
            Cell(number, j + 2, text)
            for _, _, rows in tables
            for number, cells in rows
            for j, text in enumerate(cells[1:])
        ),
        name,
    )
    titles = [title for _, title, _ in tables]
    columns = {len(_labels(header)) for header, _, _ in tables}
    if len(set(titles)) != len(titles) or len(columns) != 1:
        raise FileNotValid(
            f"{name}: tables {', '.join(titles)} of {sorted(columns)} columns; every title stands "
            "once, and all are of one plate."
        )
    n_columns = columns.pop()
    shape = _shape(n_columns, named.get("ID1", ""), mode, unit, name)
    rows: list[ExportRow] = []
    notes: list[str] = []
    for header, title, grid in tables:
        rows.extend(_rows(header, title, grid, shape, style, notes, name))
    if style == "comma":
        notes.append("numbers are written with a decimal comma, in the whole file")
    times = (FileTime("read", f"{named.get('Date', '')} {named.get('Time', '')}".strip()),)
    return FileRows(tuple(rows), (shape,), tuple(named.items()), tuple(notes), times)


def _labels(header: Line) -> list[str]:
    labels = header[1][1:]
    while labels and not labels[-1]:
        labels = labels[:-1]
    return labels


def _is_header(line: Line) -> bool:
    return not line[1][0] and line[1][1:2] == ["1"]


def _tables(lines: Sequence[Line], name: str) -> list[tuple[Line, str, list[Line]]]:
    """Return (header, title, rows) of every table."""
    tables: list[tuple[Line, str, list[Line]]] = []
    title = ""
    for line in lines:
        text = [cell for cell in line[1] if cell]
        if _is_header(line):
            if not title:
                raise FileNotValid(f"{name}, line {line[0]}: a table without a title.")
            tables.append((line, title, []))
            title = ""
        elif len(text) == 1 and line[1][0] and not re.fullmatch(r"[A-Z]{1,2}", line[1][0]):
            title = text[0]
        elif tables and text:
            if title:
                raise FileNotValid(f"{name}, line {line[0]}: '{title}' is followed by no table.")
            tables[-1][2].append(line)
    if not tables or title:
        raise ExportIncomplete(
            f"{name}: incomplete: the file ends at line {lines[-1][0]} before its table of wells."
        )
    return tables


def _named(lines: Sequence[Line]) -> dict[str, str]:
    named = {}
    for _, cells in lines:
        for cell in cells:
            key, colon, text = cell.partition(": ")
            if colon:
                named[key] = text.strip()
    return named


def _mode(lines: Sequence[Line], name: str) -> tuple[str, str]:
    texts = [text for _, cells in lines for text in cells]
    found = [mode for mode in MODES if any(text.split(" ")[0] == mode for text in texts)]
    if len(found) != 1:
        raise FileNotValid(
            f"{name}: the mode is {' and '.join(found) or 'not named'}; one of {', '.join(MODES)} "
            "is read."
        )
    return found[0], MODES[found[0]]


def _shape(n_columns: int, title: str, mode: str, unit: str, name: str) -> PlateShape:
    for wells, (rows, columns) in PLATE_SHAPES.items():
        if columns == n_columns:
            return PlateShape(title, wells, rows, columns, read_mode=mode, unit=unit)
    raise FileNotValid(f"{name}: {n_columns} columns, which no plate has.")


def _rows(
    header: Line,
    title: str,
    grid: Sequence[Line],
    shape: PlateShape,
    style: NumberStyle,
    notes: list[str],
    name: str,
) -> Iterator[ExportRow]:
    if _labels(header) != [str(j + 1) for j in range(shape.columns)]:
        raise FileNotValid(f"{name}, line {header[0]}: columns are not 1 to {shape.columns}.")
    found = [cells[0] for _, cells in grid]
    if found != [row_label(i) for i in range(shape.rows)]:
        raise ExportIncomplete(
            f"{name}: incomplete: '{title}' has the rows {', '.join(found)[:200]}; A to "
            f"{row_label(shape.rows - 1)}, each once, are expected of {shape.wells} wells."
        )
    for i, (number, cells) in enumerate(grid):
        values = cells[1:]
        if any(values[shape.columns :]):
            raise FileNotValid(f"{name}, line {number}: more values than {shape.columns} columns.")
        if len(values) < shape.columns:
            notes.append(
                f"line {number}: row {cells[0]} of '{title}' ends after {len(values)} of "
                f"{shape.columns} cells; the others are missing"
            )
        for j in range(shape.columns):
            cell = Cell(number, j + 2, values[j] if j < len(values) else "")
            value = read_cell(cell, name, style)
            yield ExportRow(
                shape.name,
                "Raw",
                number,
                j + 2,
                WellReadout(
                    well_name(i, j),
                    "",
                    title,
                    value.value,
                    shape.unit,
                    value.censoring,
                    value.lower,
                    value.upper,
                    value.qc,
                    value.reasons,
                ),
            )

"""Tecan Magellan workbook (xlsx), one line a well. UNTRIED: no real file was at hand.

Belongs here: the sheet of this file, as known from what another open program looks for in it. Not here:
opening a workbook.
The sheet is: a header with "Well positions" and one column per measurement or calculation; one line per
well; then lines of text from "Date of measurement" on, with one "Meas. temperature: <label>: <n> °C" for
every measurement. These lines are the end mark; their labels are the read list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from chiploop.errors import FileNotValid
from chiploop.exports.cells import NUMBER, TOKENS, Cell, number_style, read_cell
from chiploop.exports.export import ExportRow, FileRows, PlateShape
from chiploop.exports.times import FileTime
from chiploop.exports.trouble import ExportIncomplete
from chiploop.exports.wells import PLATE_SHAPES, same_well, well_index
from chiploop.exports.workbook import Sheets
from chiploop.measurement import WellReadout

WELLS: Final = "Well positions"
PLATE: Final = "Plate"
DATE: Final = re.compile(r"Date of measurement:\s*(\S+?)/Time of measurement:\s*(\S+).*")
TEMPERATURE: Final = re.compile(r"Meas\. temperature: (.+): ([0-9.,]+) ?°C")


def recognises(sheets: Sheets) -> bool:
    """Return True for the sheets of a Magellan workbook."""
    first = next(iter(sheets.values()), [])
    return bool(first) and WELLS in [cell.strip() for cell in first[0]]


def read(sheets: Sheets, name: str) -> FileRows:
    """Return every number of the workbook.

    Raises
    ------
    FileNotValid : see ``chiploop.exports.read_export``.
    """
    rows = next(iter(sheets.values()))
    header = [cell.strip() for cell in rows[0]]
    named = [title for title in header if title]
    if len(set(named)) != len(named):
        raise FileNotValid(f"{name}, row 1: a column is there twice: {', '.join(named)}.")
    end = next(
        (i for i, row in enumerate(rows) if row and row[0].startswith("Date of measurement")), None
    )
    if end is None:
        raise ExportIncomplete(
            f"{name}: incomplete: after the wells the line 'Date of measurement' is expected (the "
            f"sheet ends at row {len(rows)}). Export it again."
        )
    said = [row[0].strip() for row in rows[end:] if row and row[0].strip()]
    labels = [match[1] for text in said if (match := TEMPERATURE.fullmatch(text))]
    if not labels:
        raise ExportIncomplete(f"{name}: incomplete: no 'Meas. temperature' after the wells.")
    lacking = [label for label in labels if label not in header]
    body = [
        (i + 1, row) for i, row in enumerate(rows[1:end], start=1) if any(c.strip() for c in row)
    ]
    numeric, notes = _numeric(header, labels, body)
    notes += [f"'{label}' was measured, and its column is not in the sheet" for label in lacking]
    style = number_style((Cell(line, j + 1, row[j]) for line, row in body for j in numeric), name)
    found, plates = _rows(header, numeric, body, style, name)
    for plate, (wells, read_wells) in plates.items():
        if len(read_wells) != wells:
            notes.append(f"plate {plate or '(no name)'}: {len(read_wells)} of {wells} wells")
    if style == "comma":
        notes.append("numbers are written with a decimal comma, in the whole file")
    shapes = [
        PlateShape(plate, wells, *PLATE_SHAPES[wells], read_mode="Absorbance", unit="as exported")
        for plate, (wells, _) in plates.items()
    ]
    date = DATE.match(said[0])
    times = (FileTime("read", f"{date[1]} {date[2]}"),) if date else ()
    metadata = tuple(("Magellan", text) for text in said)
    return FileRows(tuple(found), tuple(shapes), metadata, tuple(notes), times)


def _numeric(
    header: Sequence[str], labels: Sequence[str], body: Sequence[tuple[int, list[str]]]
) -> tuple[list[int], list[str]]:
    """Return the columns of numbers: every measured one, and others that hold nothing but numbers."""
    numeric, notes = [], []
    for j, title in enumerate(header):
        if not title or title in (WELLS, PLATE):
            continue
        texts = [row[j].strip() for _, row in body if row[j].strip()]
        numbers = [text for text in texts if NUMBER.fullmatch(text.replace(",", "."))]
        known = len(numbers) + sum(text.lower() in TOKENS for text in texts)
        if title in labels or (numbers and known == len(texts)):
            numeric.append(j)
        else:
            notes.append(f"column '{title}' holds text; it is not read")
    return numeric, notes


def _rows(
    header: Sequence[str],
    numeric: Sequence[int],
    body: Sequence[tuple[int, list[str]]],
    style: str,
    name: str,
) -> tuple[list[ExportRow], dict[str, tuple[int, set[str]]]]:
    place = header.index(WELLS)
    of_plate = header.index(PLATE) if PLATE in header else None
    indices = [index for _, row in body if (index := well_index(row[place])) is not None]
    high = max((row for row, _ in indices), default=0)
    wide = max((column for _, column in indices), default=0)
    wells = next(
        (n for n in (96, 384, 1536) if high < PLATE_SHAPES[n][0] and wide < PLATE_SHAPES[n][1]), 0
    )
    if not body or not wells:
        raise FileNotValid(f"{name}: no line of a well, or wells that no plate has.")
    rows: list[ExportRow] = []
    seen: dict[tuple[str, str], int] = {}
    plates: dict[str, tuple[int, set[str]]] = {}
    for line, row in body:
        well = same_well(row[place], wells, f"{name}, row {line}")
        plate = row[of_plate].strip() if of_plate is not None else ""
        if (plate, well) in seen:
            raise FileNotValid(
                f"{name}, row {line}: well {well} is in row {seen[plate, well]} already. Duplicate "
                "rows are refused."
            )
        seen[plate, well] = line
        plates.setdefault(plate, (wells, set()))[1].add(well)
        for j in numeric:
            value = read_cell(
                Cell(line, j + 1, row[j]), name, "comma" if style == "comma" else "point"
            )
            rows.append(
                ExportRow(
                    plate,
                    "Results",
                    line,
                    j + 1,
                    WellReadout(
                        well,
                        "",
                        header[j],
                        value.value,
                        "as exported",
                        value.censoring,
                        value.lower,
                        value.upper,
                        value.qc,
                        value.reasons,
                    ),
                )
            )
    return rows, plates

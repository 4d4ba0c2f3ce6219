"""MSD Methodical Mind text export. Seen: version MMPR 1.0.38, two plates of 96 wells, one spot each.

Belongs here: the sections of this file. Not here: what a count means for a chip.
A file is, for every plate: named values ("Stack ID" to "Orient"), then the sections Data, Processing,
Statistics, Camera Status and Waveform/Current. Statistics repeats the mean and the CV of every
sector and of the plate: a number that was altered, or a column that moved to another sector, is seen.
The file does not say how many plates it holds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Final

from chiploop.errors import FileNotValid
from chiploop.exports.cells import Cell, NumberStyle, number_style, read_cell
from chiploop.exports.decoding import DecodedText, refuse_open_end
from chiploop.exports.export import ExportRow, FileRows, PlateShape
from chiploop.exports.times import DateOrder, FileTime
from chiploop.exports.trouble import ExportIncomplete
from chiploop.exports.wells import PLATE_SHAPES, row_label, well_name
from chiploop.measurement import WellReadout

SECTION: Final = re.compile(r"=+([A-Za-z/ ]+?)=+")
SECTIONS: Final = ("Data", "Processing", "Statistics", "Camera Status", "Waveform/Current")
LAST_LINE: Final = {
    "Processing": "Angle",
    "Statistics": "CV (%)",
    "Camera Status": "Temp.Val.",
    "Waveform/Current": "Peak Vltg",
}
"""Section -> the line that ends it."""
BARCODE: Final = re.compile(r"<\*?(.*?)\*?>")
SECTOR_SHAPES: Final = {96: (4, 4)}
"""Wells of a plate -> rows and columns of one sector, where that was seen."""


@dataclass(frozen=True)
class _Line:
    number: int
    key: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class _Plate:
    named: dict[str, str]
    sections: dict[str, tuple[_Line, ...]]
    line: int


def recognises(start: str) -> bool:
    """Return True for the first characters of a Methodical Mind export."""
    text = start.lstrip("\ufeff").lstrip()
    return text.startswith("FileName :") and "Stack ID :" in text


def read(decoded: DecodedText, name: str) -> FileRows:
    """Return every number of the file.

    Raises
    ------
    FileNotValid : see ``chiploop.exports.read_export``.
    """
    refuse_open_end(decoded, name)
    head, plates = _plates(_lines(decoded.text), name)
    style = number_style(_number_cells(plates), name)
    rows: list[ExportRow] = []
    shapes: list[PlateShape] = []
    metadata = [("FileName", head)]
    times: list[FileTime] = []
    for plate in plates:
        found, shape = _plate_rows(plate, style, name)
        if shape.name in [other.name for other in shapes]:
            raise FileNotValid(
                f"{name}, line {plate.line}: plate '{shape.name}' stands in the file twice."
            )
        shapes.append(shape)
        rows.extend(found)
        metadata += [(f"{shape.name}: {key}", text) for key, text in plate.named.items()]
        if plate.named.get("Read Time"):
            times.append(FileTime(f"read of {shape.name}", plate.named["Read Time"]))
    notes = [
        f"{len(shapes)} plate(s); the file does not say how many it should hold: "
        + ", ".join(shape.name for shape in shapes)
    ]
    if style == "comma":
        notes.append("numbers are written with a decimal comma, in the whole file")
    order = _date_order(head, times[0].text) if times else None
    return FileRows(tuple(rows), tuple(shapes), tuple(metadata), tuple(notes), tuple(times), order)


def _date_order(file_name: str, read_time: str) -> DateOrder | None:
    """Return the order of dates where the file's own name repeats the first one as 2023-09-08."""
    named = re.search(r"([0-9]{4})-([0-9]{2})-([0-9]{2})-([0-9]{6})", file_name)
    read = re.match(r"([0-9]{2})/([0-9]{2})/([0-9]{4}) ([0-9:]{8})", read_time)
    if named is None or read is None or read[4].replace(":", "") != named[4]:
        return None
    if (named[1], named[2], named[3]) == (read[3], read[1], read[2]):
        return "month-day"
    same = (named[1], named[3], named[2]) == (read[3], read[1], read[2])
    return "day-month" if same else None


def _lines(text: str) -> list[_Line]:
    lines = []
    for i, line in enumerate(text.replace("\r\n", "\n").split("\n")):
        # One version writes a backslash and a t where the others write a tab.
        cells = line.replace(":\\t", ":\t").split("\t")
        key = cells[0].strip()
        lines.append(_Line(i + 1, key.rstrip(":").strip(), tuple(cells)))
    return lines


def _plates(lines: Sequence[_Line], name: str) -> tuple[str, list[_Plate]]:
    starts = [i for i, line in enumerate(lines) if line.key == "Stack ID"]
    before = [line for line in lines[: starts[0] if starts else None] if line.key]
    if not starts or [line.key for line in before] != ["FileName"]:
        raise FileNotValid(f"{name}: 'FileName' and then 'Stack ID' are expected at the beginning.")
    plates = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        plates.append(_plate(lines[start:end], name))
    return " ".join(before[0].cells[1:]).strip(), plates


def _plate(lines: Sequence[_Line], name: str) -> _Plate:
    named: dict[str, str] = {}
    sections: dict[str, list[_Line]] = {}
    current: list[_Line] | None = None
    for line in lines:
        opening = SECTION.fullmatch(line.key)
        if opening:
            if len(sections) >= len(SECTIONS) or opening[1] != SECTIONS[len(sections)]:
                raise FileNotValid(
                    f"{name}, line {line.number}: section '{opening[1]}'; a plate has "
                    f"{', '.join(SECTIONS)}, once and in this order."
                )
            current = sections.setdefault(opening[1], [])
        elif current is not None:
            if any(cell.strip() for cell in line.cells):
                current.append(line)
        elif line.key:
            if line.key in named:
                raise FileNotValid(f"{name}, line {line.number}: '{line.key}' is there twice.")
            named[line.key] = " ".join(cell.strip() for cell in line.cells[1:] if cell.strip())
    for section in SECTIONS:
        found = sections.get(section, [])
        last = LAST_LINE.get(section)
        if not found or (last is not None and found[-1].key != last):
            raise ExportIncomplete(
                f"{name}: incomplete: the plate of line {lines[0].number} has no whole section "
                f"'{section}' (the file ends at line {lines[-1].number}). The copy or the export "
                "was cut short; export it again."
            )
        widths = {len([c for c in line.cells[1:] if c.strip()]) for line in found}
        if section in ("Processing", "Camera Status", "Waveform/Current") and len(widths) > 1:
            raise FileNotValid(
                f"{name}, line {found[0].number}: the lines of '{section}' have {sorted(widths)} "
                "values; one for each sector is expected."
            )
    return _Plate(named, {key: tuple(value) for key, value in sections.items()}, lines[0].number)


def _number_cells(plates: Sequence[_Plate]) -> Iterator[Cell]:
    for plate in plates:
        for section in ("Data", "Processing", "Statistics"):
            for line in plate.sections[section]:
                for i, text in enumerate(line.cells[1:]):
                    yield Cell(line.number, i + 2, text)


def _plate_rows(plate: _Plate, style: NumberStyle, name: str) -> tuple[list[ExportRow], PlateShape]:
    said = {
        key: plate.named.get(key, "")
        for key in ("Type", "Wells Per Row", "Wells Per Col", "Spots Per Well", "Orient")
    }
    wells = int(said["Type"]) if said["Type"].isdecimal() and len(said["Type"]) < 5 else 0
    rows, columns = PLATE_SHAPES.get(wells, (0, 0))
    if (said["Wells Per Col"], said["Wells Per Row"]) != (str(rows), str(columns)) or not rows:
        raise FileNotValid(
            f"{name}, line {plate.line}: a plate of type '{said['Type']}' with "
            f"{said['Wells Per Col']} x {said['Wells Per Row']} wells; plates of "
            f"{', '.join(map(str, PLATE_SHAPES))} wells are read."
        )
    if said["Spots Per Well"] != "1":
        raise FileNotValid(
            f"{name}, line {plate.line}: '{said['Spots Per Well']}' spots per well; the layout of "
            "one spot per well is known. Export the table of Discovery Workbench instead."
        )
    if said["Orient"] != "Normal":
        raise FileNotValid(
            f"{name}, line {plate.line}: orientation '{said['Orient']}'; a plate that was read "
            "turned round is not used."
        )
    code = BARCODE.fullmatch(plate.named.get("Barcode1", ""))
    barcode = code[1] if code else ""
    title = barcode or f"plate {plate.named.get('Plate #', '')}".strip()
    shape = PlateShape(title, wells, rows, columns, read_mode="ECL", unit="counts", barcode=barcode)
    found = list(_grid(plate.sections["Data"], shape, style, name))
    _check_statistics(plate.sections["Statistics"], found, shape, style, name)
    return found, shape


def _grid(
    lines: Sequence[_Line], shape: PlateShape, style: NumberStyle, name: str
) -> Iterator[ExportRow]:
    labels = [cell.strip() for cell in lines[0].cells[1:] if cell.strip()]
    if labels != [str(i + 1) for i in range(shape.columns)]:
        raise FileNotValid(
            f"{name}, line {lines[0].number}: the columns are {', '.join(labels)}; 1 to "
            f"{shape.columns} are declared."
        )
    if [line.key for line in lines[1:]] != [row_label(i) for i in range(shape.rows)]:
        raise FileNotValid(
            f"{name}, line {lines[0].number}: the rows are "
            f"{', '.join(line.key for line in lines[1:])}; A to {row_label(shape.rows - 1)} are "
            "declared. A row is missing, doubled or moved; the export is not used."
        )
    for i, line in enumerate(lines[1:]):
        extra = [cell for cell in line.cells[shape.columns + 1 :] if cell.strip()]
        if len(line.cells) < shape.columns + 1 or extra:
            raise FileNotValid(
                f"{name}, line {line.number}: {len(line.cells) - 1} values where "
                f"{shape.columns} are declared; the line is cut."
            )
        for j in range(shape.columns):
            value = read_cell(Cell(line.number, j + 2, line.cells[j + 1]), name, style)
            yield ExportRow(
                shape.name,
                "Data",
                line.number,
                j + 2,
                WellReadout(
                    well_name(i, j),
                    "",
                    "signal",
                    value.value,
                    "counts",
                    value.censoring,
                    value.lower,
                    value.upper,
                    value.qc,
                    value.reasons,
                ),
            )


def _check_statistics(
    lines: Sequence[_Line],
    rows: Sequence[ExportRow],
    shape: PlateShape,
    style: NumberStyle,
    name: str,
) -> None:
    """Raise FileNotValid where the printed means and CVs are not those of the wells."""
    printed = {line.key: [cell for cell in line.cells[1:] if cell.strip()] for line in lines}
    high, wide = SECTOR_SHAPES.get(shape.wells, (shape.rows, shape.columns))
    sectors = [
        [
            rows[i * shape.columns + j].readout.value
            for i in range(top, top + high)
            for j in range(left, left + wide)
        ]
        for top in range(0, shape.rows, high)
        for left in range(0, shape.columns, wide)
    ]
    everything = [row.readout.value for row in rows]
    groups = [*sectors, everything] if shape.wells in SECTOR_SHAPES else [everything]
    for key, statistic in (("Average", fmean), ("CV (%)", _cv)):
        cells = printed.get(key, [])
        if len(cells) < len(groups):
            raise FileNotValid(
                f"{name}, line {lines[0].number}: {len(cells)} values of '{key}' where "
                f"{len(groups)} are expected (sectors and plate)."
            )
        line = next(one for one in lines if one.key == key)
        for cell, values in zip(cells[-len(groups) :], groups, strict=True):
            said = read_cell(Cell(line.number, 2, cell), name, style).value
            if not all(math.isfinite(value) for value in values):
                continue
            found = statistic(values)
            if math.isnan(found):
                continue
            digits = len(cell.strip().replace(",", ".").partition(".")[2])
            if not abs(said - found) <= 0.5000001 * 10.0**-digits:
                raise FileNotValid(
                    f"{name}, line {line.number}: '{key}' is {cell.strip()}, and the wells of "
                    f"{shape.name} give {found:.{digits + 2}f}. A number is missing or altered; "
                    "the export contradicts itself."
                )


def _cv(values: Sequence[float]) -> float:
    mean = fmean(values)
    return 100.0 * stdev(values) / mean if mean else math.nan

"""MSD Discovery Workbench CSV export: one line a spot. Seen: one plate of 96 wells, one spot each.

Belongs here: the columns of this file and what must agree in it. Not here: curves (assays).
A file is, for every plate: a line "Plate_<barcode>", the header, one line per well and spot. It
declares neither a number of lines nor an end: what shows a line that is missing is the mean that
every replicate repeats, the plate that is not full, and a last line without its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chiploop.errors import FileNotValid
from chiploop.exports.cells import Cell, demand_decimal_point, read_cell
from chiploop.exports.csv_lines import TableLine, read_lines
from chiploop.exports.decoding import DecodedText, refuse_open_end
from chiploop.exports.export import ExportRow, FileRows, PlateShape
from chiploop.exports.ladder import flag_ladder
from chiploop.exports.msd_workbench_checks import check_replicates
from chiploop.exports.wells import PLATE_SHAPES, same_well, well_index
from chiploop.measurement import WellReadout

SIZES: Final = (96, 384)
TEXTS: Final = ("Sample", "Assay", "Well", "Spot")
UNITS: Final[dict[str, str]] = {
    "Dilution": "1",
    "Concentration": "as exported",
    "Signal": "counts",
    "Adjusted Signal": "counts",
    "Mean": "counts",
    "Adj. Sig. Mean": "counts",
    "CV": "%",
    "% Recovery": "%",
    "% Recovery Mean": "%",
    "Calc. Concentration": "as exported",
    "Calc. Conc. Mean": "as exported",
    "Calc. Conc. CV": "%",
}
"""Column of numbers -> unit, in the order of the program."""
OF_STANDARDS: Final = frozenset({"Concentration", "% Recovery", "% Recovery Mean"})


@dataclass(frozen=True)
class _Plate:
    name: str
    header: tuple[str, ...]
    lines: tuple[TableLine, ...]


def recognises(start: str) -> bool:
    """Return True for the first characters of a Workbench export, whatever its list separator."""
    lines = start.lstrip("\ufeff").split("\n", 2)
    header = lines[1].replace('"', "").replace(";", ",").replace("\t", ",") if lines[1:] else ""
    return header.startswith("Sample,Assay,Well,Spot") or (
        lines[0].startswith("Plate_") and header.startswith("Sample,")
    )


def read(decoded: DecodedText, name: str) -> FileRows:
    """Return every number of the file.

    Raises
    ------
    FileNotValid : see ``chiploop.exports.read_export``.
    """
    refuse_open_end(decoded, name)
    header_line = decoded.text.lstrip("\ufeff").split("\n", 2)[1]
    if ";" in header_line or "\t" in header_line:
        raise FileNotValid(
            f"{name}, line 2: cells are not separated by ','; only ',' between cells and '.' in "
            "numbers are read. Export again with English number format."
        )
    plates = _plates(read_lines(decoded.text, name), name)
    demand_decimal_point(
        (
            Cell(line.number, i + 1, line.cells[i])
            for plate in plates
            for line in plate.lines
            for i, column in enumerate(plate.header[: len(line.cells)])
            if column in UNITS
        ),
        name,
    )
    rows: list[ExportRow] = []
    shapes: list[PlateShape] = []
    notes: list[str] = []
    for plate in plates:
        found, shape, said = _plate_rows(plate, name)
        rows.extend(found)
        shapes.append(shape)
        notes.extend(said)
    return FileRows(tuple(rows), tuple(shapes), (), tuple(notes))


def _plates(lines: Sequence[TableLine], name: str) -> list[_Plate]:
    plates: list[_Plate] = []
    title = ""
    header: tuple[str, ...] | None = None
    body: list[TableLine] = []
    for line in [*lines, None]:
        opens = line is not None and line.first.startswith("Plate_")
        if header is not None and (line is None or opens):
            plates.append(_Plate(title, header, tuple(body)))
            header, body = None, []
        if line is None or line.is_blank:
            continue
        if opens:
            title = line.first
            if any(cell.strip() for cell in line.cells[1:]):
                raise FileNotValid(f"{name}, line {line.number}: text beside the plate's name.")
        elif header is None:
            header = _header(line, name)
        else:
            body.append(line)
    names = [plate.name for plate in plates]
    twice = next((plate for plate in names if names.count(plate) > 1), None)
    if twice is not None or not plates or not all(plate.lines for plate in plates):
        raise FileNotValid(
            f"{name}: plate '{twice}' stands in the file twice."
            if twice is not None
            else f"{name}: a plate without its header or without any line of numbers."
        )
    return plates


def _header(line: TableLine, name: str) -> tuple[str, ...]:
    header = tuple(cell.strip() for cell in line.cells)
    while header and not header[-1]:
        header = header[:-1]
    known = (*TEXTS, *UNITS)
    if (
        header[:4] != TEXTS
        or "Signal" not in header
        or header != tuple(column for column in known if column in header)
    ):
        raise FileNotValid(
            f"{name}, line {line.number}: the columns are {', '.join(header)[:300]}; read are "
            f"{', '.join(known)}, in this order (some may be left out). Export it again with the "
            "columns in their first order."
        )
    return header


def _plate_rows(plate: _Plate, name: str) -> tuple[list[ExportRow], PlateShape, tuple[str, ...]]:
    notes: list[str] = []
    wells = _size(plate, name)
    seen: dict[tuple[str, str, str], TableLine] = {}
    rows: list[ExportRow] = []
    for line in plate.lines:
        if len(line.cells) < len(plate.header) or any(line.cells[len(plate.header) :]):
            raise FileNotValid(
                f"{name}, line {line.number}: {len(line.cells)} cells where the header has "
                f"{len(plate.header)}; the line is cut, or a number is written with a comma."
            )
        sample, assay, place, spot = (cell.strip() for cell in line.cells[:4])
        well = same_well(place, wells, f"{name}, line {line.number}")
        if not sample or not assay or not spot.isdecimal():
            raise FileNotValid(
                f"{name}, line {line.number}: sample '{sample}', assay '{assay}', spot '{spot}'; "
                "a name, a name and a whole number are needed."
            )
        other = seen.setdefault((well, assay, spot), line)
        if other is not line:
            if other.cells != line.cells:
                raise FileNotValid(
                    f"{name}, line {line.number}: well {well}, {assay}, spot {spot} is in line "
                    f"{other.number} already, with other content. Duplicate rows are refused."
                )
            notes.append(
                f"line {line.number} repeats line {other.number} to the last character (well "
                f"{well}); it is read once"
            )
            continue
        rows.extend(_line_rows(line, plate, well, (sample, assay, spot), name))
    read_wells = {well for well, _, _ in seen}
    if len(read_wells) != wells:
        notes.append(
            f"{plate.name}: {len(read_wells)} of {wells} wells; the file does not say how many "
            "it should hold, compare with the plate map"
        )
    if len({(assay, spot) for _, assay, spot in seen}) * len(read_wells) != len(seen):
        notes.append(f"{plate.name}: not every well has every assay; a line may be missing")
    decimals = {
        (line.number, i + 1): len(cell.strip().partition(".")[2])
        for line in plate.lines
        for i, cell in enumerate(line.cells)
    }
    rows, said = check_replicates(rows, decimals)
    notes += said
    for assay in dict.fromkeys(row.readout.analyte for row in rows):
        part = [row for row in rows if row.readout.analyte == assay]
        standards = [row.readout.sample for row in part if row.statistic == "Concentration"]
        part, doubts = flag_ladder(
            part,
            ("Concentration", assay),
            ("Calc. Concentration", assay),
            _in_order(dict.fromkeys(standards)),
        )
        notes += doubts
        rows = [row for row in rows if row.readout.analyte != assay] + part
    rows.sort(key=lambda row: (row.line, row.column))
    shape = PlateShape(
        plate.name, wells, *PLATE_SHAPES[wells], read_mode="ECL", unit="counts",
        barcode=plate.name.removeprefix("Plate_"),
    )  # fmt: skip
    return rows, shape, tuple(notes)


def _in_order(samples: dict[str, None]) -> list[str]:
    """Return names by their last number: S2 before S10."""

    def number(sample: str) -> int:
        digits = sample[len(sample.rstrip("0123456789")) :]
        return int(digits[:9]) if digits else 0

    return sorted(samples, key=number)


def _size(plate: _Plate, name: str) -> int:
    """Return the smaller of MSD's plates (96, 384 wells) that has all wells of the file."""
    places = [well_index(line.cells[2]) for line in plate.lines if len(line.cells) > 2]
    rows = max((place[0] for place in places if place), default=0)
    columns = max((place[1] for place in places if place), default=0)
    for wells in SIZES:
        shape = PLATE_SHAPES[wells]
        if rows < shape[0] and columns < shape[1]:
            return wells
    raise FileNotValid(f"{name}: {plate.name} has wells outside a plate of 384.")


def _line_rows(
    line: TableLine, plate: _Plate, well: str, who: tuple[str, str, str], name: str
) -> list[ExportRow]:
    sample, assay, spot = who
    said = dict(zip(plate.header, line.cells, strict=False))
    standard = bool(said.get("Concentration", "").strip())
    rows = []
    for i, column in enumerate(plate.header):
        if column not in UNITS or (column in OF_STANDARDS and not standard):
            continue
        if column == "Dilution" and standard and not line.cells[i].strip():
            continue  # a standard has no dilution
        value = read_cell(Cell(line.number, i + 1, line.cells[i]), name)
        rows.append(
            ExportRow(
                plate.name,
                column,
                line.number,
                i + 1,
                WellReadout(
                    well,
                    sample,
                    assay if spot == "1" else f"{assay} (spot {spot})",
                    value.value,
                    UNITS[column],
                    value.censoring,
                    value.lower,
                    value.upper,
                    value.qc,
                    value.reasons,
                ),
            )
        )
    return rows

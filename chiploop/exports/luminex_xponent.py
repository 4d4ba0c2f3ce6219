"""Luminex xPONENT CSV export (FlexMAP 3D, MAGPIX, 100/200). Seen: builds 4.3.229 and 4.3.309.

Belongs here: the sections of this file. Not here: standard curves, limits of a kit.
A file is: a header of named values; "Results"; tables, each opened by "DataType:"; "-- CRC --" and
the CRC line. Tables of wells ("Location", "Sample", analytes), of samples ("Sample", analytes), of
analytes ("Analyte:") and logs. All tables of wells must list the same wells in the same order: a
row that is missing or doubled in one of them is seen. The CRC can not be recomputed (its recipe is
not published): its line is only the end mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from chiploop.errors import FileNotValid
from chiploop.exports.cells import (
    PLAIN,
    Cell,
    demand_decimal_point,
    plain_number,
    read_cell,
    whole_number,
)
from chiploop.exports.csv_lines import TableLine, numbered_cells, read_lines
from chiploop.exports.decoding import LOST_CHARACTER, DecodedText
from chiploop.exports.export import ExportRow, FileRows, PlateShape
from chiploop.exports.ladder import flag_ladder
from chiploop.exports.luminex_xponent_tables import (
    OF_SAMPLES,
    TEXT_TYPES,
    TOTAL_EVENTS,
    SamplePlace,
    XponentTable,
    analytes_of,
    is_of_wells,
    read_tables,
    sample_places,
    split_at_results,
)
from chiploop.exports.times import FileTime
from chiploop.measurement import Quality, WellReadout

UNITS: dict[str, str] = {
    "Median": "MFI",
    "Net MFI": "MFI",
    "Avg Net MFI": "MFI",
    "Mean": "MFI",
    "Peak": "MFI",
    "Trimmed Mean": "MFI",
    "Std Dev": "MFI",
    "Standard Deviation": "MFI",
    "Trimmed Std Dev": "MFI",
    "Trimmed Standard Deviation": "MFI",
    "Normalized Net Median": "MFI",
    "Avg Normalized Net Median": "MFI",
    "Count": "beads",
    "Trimmed Count": "beads",
    "%CV": "%",
    "Trimmed %CV": "%",
    "% CV of Microspheres": "%",
    "Trimmed % CV of Microspheres": "%",
    "% CV Replicates": "%",
    "%CV Replicates": "%",
    "% Recovery": "%",
    "Dilution Factor": "1",
}
"""DataType -> unit. ``Result`` and its relatives take the unit that the file's own Units table
names.
"""
RESULT_TYPES = frozenset(
    {
        "Result",
        "Avg Result",
        "Expected Result",
        "Standard Expected Concentration",
        "Control Expected Concentration",
    }
)
EXPECTED = "Standard Expected Concentration"
TIMES = {"BatchStartTime": "batch start", "BatchStopTime": "batch stop"}
SIGNAL_TYPES = frozenset({"Median", "Net MFI", "Mean", "Trimmed Mean", "Peak", "Result"})
"""Tables whose numbers rest on the beads of one well: too few beads flag them."""
WARNING_LOCATION = re.compile(r"([0-9]+),([A-P][0-9]{1,2})")
PLATE_SHAPES: dict[int, tuple[int, int]] = {96: (8, 12), 384: (16, 24)}


def recognises(start: str) -> bool:
    """Return True for the first characters of an xPONENT export, whatever its list separator."""
    first_line = start.lstrip("\ufeff").split("\n", 1)[0]
    return re.match(r'"?Program"?\s*[,;\t]\s*"?xPONENT', first_line) is not None


def read(decoded: DecodedText, name: str) -> FileRows:
    """Return every number of the file.

    Raises
    ------
    FileNotValid : see ``chiploop.exports.read_export``.
    """
    lines = read_lines(decoded.text, name)
    header, results = split_at_results(lines, name)
    tables = read_tables(results, name)
    _check_numbers(tables, name)
    shape = _declared_plate(header, name)
    places = sample_places(tables, shape, name)
    analytes = analytes_of(tables, name)
    remarks = _well_warnings(tables, name)
    few_beads = _few_beads(tables, name)
    rows: list[ExportRow] = []
    for table in tables:
        rows.extend(_rows(table, tables, places, remarks, few_beads, decoded, name))
    _refuse_duplicates(rows, name)
    rows, doubts = _check_standards(rows, tables)
    plates = tuple(
        replace(shape, name=plate) for plate in dict.fromkeys(place.plate for place in places)
    )
    metadata = _metadata(header, tables)
    notes = (*_notes(header, tables, places, analytes), *doubts)
    times = tuple(
        FileTime(what, line.cells[1].strip())
        for line in header
        for key, what in TIMES.items()
        if line.first == key and len(line.cells) > 1
    )
    return FileRows(tuple(rows), plates, metadata, notes, times)


def _check_numbers(tables: list[XponentTable], name: str) -> None:
    cells: list[Cell] = []
    for table in tables:
        if table.data_type not in TEXT_TYPES and table.header[0] in ("Location", *OF_SAMPLES):
            skipped = 2 if table.header[0] == "Location" else 1
            for line in table.lines:
                cells += [
                    Cell(line.number, i + 1, line.cells[i])
                    for i in range(skipped, len(table.header))
                    if "," in line.cells[i]
                ]
    demand_decimal_point(cells, name)


def _declared(header: list[TableLine], key: str) -> tuple[str, ...]:
    for line in header:
        if line.first == key:
            return tuple(cell.strip() for cell in line.cells[1:])
    return ()


def _declared_plate(header: list[TableLine], name: str) -> PlateShape:
    words = _declared(header, "ProtocolPlate")
    named = dict(zip(words[::2], words[1::2], strict=False))
    text = named.get("Type", "")
    wells = whole_number(text)
    if wells is None or wells not in PLATE_SHAPES:
        raise FileNotValid(
            f"{name}: ProtocolPlate says Type '{text}'; plates of {sorted(PLATE_SHAPES)} wells "
            "are read."
        )
    rows, columns = PLATE_SHAPES[wells]
    return PlateShape("", wells, rows, columns, read_mode="Luminex", unit="MFI")


def _of_analytes(tables: list[XponentTable], data_type: str, row: str) -> dict[str, str]:
    """Return analyte -> text from one row of a table of analytes; empty where the file has none."""
    for table in tables:
        if table.data_type == data_type and table.header[0] == "Analyte:":
            for line in table.lines:
                if line.first == row:
                    cells = (cell.strip() for cell in line.cells[1:])
                    return dict(zip(table.header[1:], cells, strict=False))
    return {}


def _few_beads(tables: list[XponentTable], name: str) -> dict[tuple[int, str], str]:
    """Return (row number in the table of wells, analyte) -> reason, where too few beads were
    counted.

    The limit is the file's own "Per Bead Count".
    """
    limits = _of_analytes(tables, "Per Bead Count", "Per Bead:")
    reasons: dict[tuple[int, str], str] = {}
    for table in tables:
        if table.data_type != "Count" or not is_of_wells(table):
            continue
        for i, line in enumerate(table.lines):
            for cell in numbered_cells(line, 2, len(table.header)):
                analyte = table.header[cell.column - 1]
                limit = limits.get(analyte, "")
                plain = plain_number(cell.text)
                count = read_cell(cell, name).value if plain is None else plain
                if limit.isdecimal() and not count >= float(limit):
                    reasons[i, analyte] = f"few_beads ({cell.text.strip() or 'none'} of {limit})"
    return reasons


def _well_warnings(tables: list[XponentTable], name: str) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return (plate, well) -> what the instrument said of it."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for table in tables:
        if table.data_type != "Warnings/Errors":
            continue
        for line in table.lines:
            match = WARNING_LOCATION.fullmatch(line.first)
            if match is None or len(line.cells) < 3:
                raise FileNotValid(
                    f"{name}, line {line.number}: a warning without a location of the form '1,A1'."
                )
            place = (match.group(1), match.group(2))
            said = f"instrument {line.cells[1].strip().lower()}: {line.cells[2].strip()}"
            found[place] = (*found.get(place, ()), said)
    return found


def _rows(
    table: XponentTable,
    tables: list[XponentTable],
    places: list[SamplePlace],
    remarks: dict[tuple[str, str], tuple[str, ...]],
    few_beads: dict[tuple[int, str], str],
    decoded: DecodedText,
    name: str,
) -> Iterator[ExportRow]:
    if table.data_type in TEXT_TYPES or table.header[0] == "Analyte:":
        return
    of_wells = is_of_wells(table)
    first = 2 if of_wells else 1
    units = _units_of(table, tables)
    signal = table.data_type in SIGNAL_TYPES
    doubtful = decoded.by_code_page or LOST_CHARACTER in decoded.text
    for i, line in enumerate(table.lines):
        place = places[i] if of_wells else SamplePlace(0, "", "", line.first)
        remark = remarks.get((place.plate, place.well), ())
        for column in range(first, len(table.header)):
            analyte = table.header[column]
            said = PLAIN
            value = plain_number(line.cells[column])
            if value is None:
                said = read_cell(Cell(line.number, column + 1, line.cells[column]), name)
                value = said.value
            flags = remark
            if signal and (i, analyte) in few_beads:
                flags = (few_beads[i, analyte], *flags)
            if doubtful:
                flags = (*_doubtful_names((place.sample, analyte), decoded), *flags)
            qc: Quality = "warn" if flags and said.qc == "ok" else said.qc
            yield ExportRow(
                place.plate,
                table.data_type,
                line.number,
                column + 1,
                WellReadout(
                    place.well,
                    place.sample,
                    analyte,
                    value,
                    units[column],
                    said.censoring,
                    said.lower,
                    said.upper,
                    qc,
                    (*said.reasons, *flags) if flags else said.reasons,
                ),
            )


def _units_of(table: XponentTable, tables: list[XponentTable]) -> list[str]:
    """Return the unit of every column of a table."""
    named = _of_analytes(tables, "Units", "Units:") if table.data_type in RESULT_TYPES else {}
    usual = UNITS.get(table.data_type, "as exported")
    return [
        "events" if heading == TOTAL_EVENTS else named.get(heading) or usual
        for heading in table.header
    ]


def _doubtful_names(names: tuple[str, ...], decoded: DecodedText) -> tuple[str, ...]:
    text = "".join(names)
    reasons = []
    if LOST_CHARACTER in text:
        reasons.append("character lost in a name")
    if decoded.by_code_page and not text.isascii():
        reasons.append(f"name read with code page {decoded.encoding}")
    return tuple(reasons)


def _check_standards(
    rows: list[ExportRow], tables: list[XponentTable]
) -> tuple[list[ExportRow], tuple[str, ...]]:
    """Flag the standards of every analyte that stand off their ladder; see ``ladder``."""
    table = next((one for one in tables if one.data_type == EXPECTED), None)
    if table is None:
        return rows, ()
    notes: list[str] = []
    standards = [line.first for line in table.lines]
    by_analyte: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        by_analyte.setdefault(row.readout.analyte, []).append(i)
    for analyte in table.header[1:]:
        places = by_analyte.get(analyte, [])
        part, said = flag_ladder(
            [rows[i] for i in places], (EXPECTED, analyte), ("Result", analyte), standards
        )
        for i, row in zip(places, part, strict=True):
            rows[i] = row
        notes += [f"{analyte}: {one}" for one in said]
    return rows, tuple(notes)


def _refuse_duplicates(rows: list[ExportRow], name: str) -> None:
    seen: dict[tuple[str, str, str, str, str], int] = {}
    for row in rows:
        one = row.readout
        sample = "" if one.well else one.sample
        key = (row.plate, row.statistic, one.well, sample, one.analyte)
        if key in seen:
            raise FileNotValid(
                f"{name}, line {row.line}: {one.analyte} of {one.well or one.sample} stands in "
                f"'{row.statistic}' twice (first in line {seen[key]}). Duplicate rows are refused."
            )
        seen[key] = row.line


def _metadata(header: list[TableLine], tables: list[XponentTable]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for line in header:
        if not line.is_blank:
            pairs.append((line.first, " | ".join(c.strip() for c in line.cells[1:] if c.strip())))
    for table in tables:
        if table.data_type in TEXT_TYPES or table.header[0] == "Analyte:":
            for line in table.lines:
                said = " | ".join(c.strip() for c in line.cells if c.strip())
                pairs.append((table.data_type, said))
    return tuple(pairs)


def _notes(
    header: list[TableLine],
    tables: list[XponentTable],
    places: list[SamplePlace],
    analytes: tuple[str, ...],
) -> tuple[str, ...]:
    notes = []
    samples = (_declared(header, "Samples") or ("",))[0]
    if whole_number(samples) not in (None, len(places)):
        notes.append(
            f"the header declares {samples} samples and every table holds {len(places)}: a part "
            "of a plate"
        )
    beads = _declared(header, "ProtocolMicrosphere")
    declared = dict(zip(beads[::2], beads[1::2], strict=False)).get("Count", "")
    if whole_number(declared) not in (None, len(analytes)):
        notes.append(
            f"the protocol declares {declared} bead regions and the tables hold {len(analytes)}"
        )
    for table in tables:
        numeric = table.data_type not in TEXT_TYPES and table.header[0] != "Analyte:"
        if numeric and table.data_type not in UNITS and table.data_type not in RESULT_TYPES:
            notes.append(
                f"'{table.data_type}' has no unit known here; its numbers stand as exported"
            )
    return tuple(notes)

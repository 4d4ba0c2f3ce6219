"""Lines and tables of an xPONENT export, and whether they are whole.

Belongs here: where a table begins and ends, which wells it lists. Not here: what its numbers mean
(luminex_xponent). All tables of wells must list the same wells in the same order: a row that is
missing or doubled in one of them is seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from chiploop.errors import FileNotValid
from chiploop.exports.csv_lines import TableLine
from chiploop.exports.export import PlateShape
from chiploop.exports.trouble import ExportIncomplete

TEXT_TYPES = frozenset({"Comments", "Test Result", "Audit Logs", "Warnings/Errors"})
OF_SAMPLES = ("Sample", "Reagent")
"""First column of a table that has one row per sample; "Reagent" (standards and controls) was not
in any file at hand and is known from the names that other programs look for."""
TOTAL_EVENTS = "Total Events"
LOCATION = re.compile(r"([0-9]{1,6})\(([0-9]{1,6}),([A-P][0-9]{1,2})\)")
CRC_MARK = "-- CRC --"
CRC_LINE = re.compile(r"CRC[0-9]*:\s*[0-9A-Fa-f]{1,8}")


@dataclass(frozen=True)
class XponentTable:
    """One table, opened by a DataType line."""

    data_type: str
    line: int
    header: tuple[str, ...]
    lines: tuple[TableLine, ...]


@dataclass(frozen=True)
class SamplePlace:
    """Where one sample was read."""

    order: int
    plate: str
    well: str
    sample: str


def split_at_results(lines: list[TableLine], name: str) -> tuple[list[TableLine], list[TableLine]]:
    """Return header and results; FileNotValid where the end mark is missing or not last."""
    marks = [i for i, line in enumerate(lines) if line.first == CRC_MARK]
    ends = [i for i, line in enumerate(lines) if CRC_LINE.fullmatch(line.first)]
    if not marks or not ends or ends[0] < marks[0]:
        last = lines[-1].number if lines else 0
        raise ExportIncomplete(
            f"{name}: incomplete: the file ends at line {last} without its end mark "
            f"('{CRC_MARK}' and the "
            "CRC line). The copy or the export was cut short; export it again."
        )
    after = [line for line in lines[ends[0] + 1 :] if not line.is_blank]
    if after or len(marks) > 1:
        extra = after[0].number if after else lines[marks[1]].number
        raise FileNotValid(
            f"{name}, line {extra}: text after the end mark; one export per file is read."
        )
    starts = [i for i, line in enumerate(lines) if line.first == "Results"]
    if len(starts) != 1 or starts[0] > marks[0]:
        raise FileNotValid(f"{name}: {len(starts)} lines say 'Results'; an xPONENT export has one.")
    return lines[: starts[0]], lines[starts[0] + 1 : marks[0]]


def read_tables(lines: list[TableLine], name: str) -> list[XponentTable]:
    """Return the tables after "Results", each as wide in every row as its header."""
    starts = [i for i, line in enumerate(lines) if line.first == "DataType:"]
    before = [line for line in lines[: starts[0] if starts else None] if not line.is_blank]
    if before or not starts:
        where = f", line {before[0].number}" if before else ""
        raise FileNotValid(f"{name}{where}: after 'Results' a line 'DataType:' is expected.")
    tables = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        opening = lines[start]
        body = [line for line in lines[start + 1 : end] if not line.is_blank]
        data_type = opening.cells[1].strip() if len(opening.cells) > 1 else ""
        if not data_type or not body:
            raise FileNotValid(
                f"{name}, line {opening.number}: a DataType without a name or a header."
            )
        header = tuple(cell.strip() for cell in body[0].cells)
        while header and not header[-1]:
            header = header[:-1]
        if data_type not in TEXT_TYPES:
            for line in body[1:]:
                _check_width(line, len(header), data_type, name)
            if len(set(header)) != len(header):
                raise FileNotValid(
                    f"{name}, line {body[0].number}: '{data_type}' names a column twice: {header}."
                )
        tables.append(XponentTable(data_type, opening.number, header, tuple(body[1:])))
    types = [table.data_type for table in tables]
    for data_type in types:
        if types.count(data_type) > 1:
            raise FileNotValid(f"{name}: the table '{data_type}' stands in the file twice.")
    return tables


def _check_width(line: TableLine, width: int, data_type: str, name: str) -> None:
    extra = [cell for cell in line.cells[width:] if cell.strip()]
    if len(line.cells) < width or extra:
        raise FileNotValid(
            f"{name}, line {line.number}: {len(line.cells)} cells where '{data_type}' has "
            f"{width} columns; "
            "the row is cut, or a number is written with a comma."
        )


def _place(line: TableLine, shape: PlateShape, name: str) -> SamplePlace:
    match = LOCATION.fullmatch(line.first)
    if match is None:
        raise FileNotValid(
            f"{name}, line {line.number}, column 1: location '{line.first}' is not of the form "
            "'1(1,A1)'."
        )
    well = match.group(3)
    if ord(well[0]) - ord("A") >= shape.rows or not 1 <= int(well[1:]) <= shape.columns:
        raise FileNotValid(
            f"{name}, line {line.number}, column 1: well {well} is not on a plate of "
            f"{shape.wells} wells."
        )
    return SamplePlace(int(match.group(1)), match.group(2), well, line.cells[1].strip())


def sample_places(tables: list[XponentTable], shape: PlateShape, name: str) -> list[SamplePlace]:
    """Return the wells read, after a check that all tables of the file agree on them."""
    of_wells = [table for table in tables if is_of_wells(table)]
    if not of_wells:
        raise FileNotValid(f"{name}: no table of wells (a header that begins with 'Location').")
    reference = [_place(line, shape, name) for line in of_wells[0].lines]
    seen: dict[tuple[str, str], int] = {}
    for i, place in enumerate(reference):
        line = of_wells[0].lines[i].number
        if (place.plate, place.well) in seen:
            raise FileNotValid(
                f"{name}, line {line}: well {place.well} stands in '{of_wells[0].data_type}' "
                "twice (first "
                f"in line {seen[place.plate, place.well]}). Duplicate rows are refused."
            )
        seen[place.plate, place.well] = line
        if place.order != i + 1:
            raise FileNotValid(
                f"{name}, line {line}: location number {place.order} where {i + 1} is expected; "
                "a row is "
                f"missing from '{of_wells[0].data_type}'. The export is incomplete."
            )
    for table in of_wells[1:]:
        places = [_place(line, shape, name) for line in table.lines]
        if places != reference:
            different = next(
                (i for i, (a, b) in enumerate(zip(places, reference, strict=False)) if a != b),
                min(len(places), len(reference)),
            )
            line = (
                table.lines[min(different, len(table.lines) - 1)].number
                if table.lines
                else table.line
            )
            raise FileNotValid(
                f"{name}, line {line}: '{table.data_type}' lists {len(places)} wells and "
                f"'{of_wells[0].data_type}' {len(reference)}, or in another order (first "
                "difference at row "
                f"{different + 1}). A row is missing, doubled or moved; the export is not used."
            )
    samples = list(dict.fromkeys(place.sample for place in reference))
    for table in tables:
        if table.data_type in TEXT_TYPES or table.header[0] != "Sample":
            continue
        listed = [line.first for line in table.lines]
        if sorted(listed) != sorted(samples):
            raise FileNotValid(
                f"{name}, line {table.line}: '{table.data_type}' lists {len(listed)} samples and "
                "the tables "
                f"of wells {len(samples)}, or under other names. A row is missing or doubled; "
                "the export "
                "is not used."
            )
    return reference


def is_of_wells(table: XponentTable) -> bool:
    """Return True for a table with one row per well."""
    return table.data_type not in TEXT_TYPES and table.header[:2] == ("Location", "Sample")


def analytes_of(tables: list[XponentTable], name: str) -> tuple[str, ...]:
    """Return the analytes, after a check that all tables agree on them."""
    listed: dict[str, tuple[str, ...]] = {}
    for table in tables:
        if table.data_type in TEXT_TYPES or table.data_type == "Dilution Factor":
            continue
        if table.header[0] not in ("Location", *OF_SAMPLES, "Analyte:"):
            raise FileNotValid(
                f"{name}, line {table.line + 1}: '{table.data_type}' begins with column "
                f"'{table.header[0]}'; 'Location', 'Sample', 'Reagent' and 'Analyte:' are read."
            )
        if TOTAL_EVENTS in table.header[:-1]:
            raise FileNotValid(
                f"{name}, line {table.line + 1}: '{TOTAL_EVENTS}' is not the last column of "
                f"'{table.data_type}'; columns were moved."
            )
        skipped = 2 if table.header[0] == "Location" else 1
        listed[table.data_type] = tuple(a for a in table.header[skipped:] if a != TOTAL_EVENTS)
    reference_type, reference = next(iter(listed.items()))
    for data_type, analytes in listed.items():
        if analytes != reference:
            raise FileNotValid(
                f"{name}: '{data_type}' has the analytes {', '.join(analytes)} and "
                f"'{reference_type}' has "
                f"{', '.join(reference)}; the tables of one export must agree."
            )
    return reference

"""Luminex INTELLIFLEX CSV export: one line a well. Seen: Bundle 2.1.1015, two reporters possible.

Belongs here: the columns of this file. Not here: its end mark and rows (luminex_intelliflex_lines).
A line is: instrument and plate (the same in every line), the well, its totals, then one group of
columns for every bead region and reporter ("R25: RP1 MEDIAN"). All groups have the same columns in
the same order: headings that were exchanged are seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from chiploop.errors import FileNotValid
from chiploop.exports.cells import Cell, demand_decimal_point, read_cell
from chiploop.exports.csv_lines import TableLine, read_lines
from chiploop.exports.decoding import DecodedText
from chiploop.exports.export import ExportRow, FileRows, PlateShape, WellType
from chiploop.exports.luminex_intelliflex_lines import WellLine, well_lines
from chiploop.exports.times import FileTime
from chiploop.exports.wells import PLATE_SHAPES
from chiploop.measurement import Quality, WellReadout

GROUP: Final = re.compile(r"R([0-9]+): (RP[0-9]) (.+)")
NAME, REGION = "ANALYTE NAME", "REGION"
UNITS: Final[dict[str, str]] = {
    "MEDIAN": "MFI",
    "BACKGROUND": "MFI",
    "NET MEDIAN": "MFI",
    "NET NORMALIZED MEDIAN": "MFI",
    "MEAN": "MFI",
    "COUNT": "beads",
    "%CV": "%",
    "AVERAGE MFI": "MFI",
    "REPLICATE %CV": "%",
}
"""Column of a group -> unit, in the order of the file."""
TOTALS: Final[dict[str, str]] = {
    "DILUTION": "1",
    "TOTAL ACTIVE EVENTS": "events",
    "TOTAL CLASSIFIED EVENTS": "events",
    "TOTAL GATED EVENTS": "events",
    "TOTAL EVENTS": "events",
    "COUNT %CV": "%",
}
"""Columns of numbers that belong to the well, not to an analyte."""
TIMES: Final = ("PLATE START", "PLATE END")


@dataclass(frozen=True)
class Group:
    """The columns of one bead region and reporter."""

    region: str
    reporter: str
    start: int
    columns: tuple[str, ...]
    """Without region and reporter, in the order of the file."""


def recognises(start: str) -> bool:
    """Return True for the first characters of an INTELLIFLEX export, whatever its separator."""
    first = start.lstrip("\ufeff").split("\n", 1)[0].replace('"', "")
    return re.match(r"MODEL NAME[,;\t]INSTRUMENT TYPE[,;\t]", first) is not None


def read(decoded: DecodedText, name: str) -> FileRows:
    """Return every number of the file.

    Raises
    ------
    FileNotValid : see ``chiploop.exports.read_export``.
    """
    lines = read_lines(decoded.text, name)
    header = tuple(cell.strip() for cell in lines[0].cells)
    while header and not header[-1]:
        header = header[:-1]
    groups = _groups(header, lines[0], name)
    wells, notes = well_lines(lines, header, groups[0].start, name)
    numbers = [
        column
        for column, heading in enumerate(header)
        if heading in TOTALS
        or ((found := GROUP.fullmatch(heading)) and found[3] not in (NAME, REGION))
    ]
    demand_decimal_point((_cell(well.line, c) for well in wells for c in numbers), name)
    analytes = [_analyte(group, groups, wells, name) for group in groups]
    if len(set(analytes)) != len(analytes):
        raise FileNotValid(f"{name}: two bead regions are called by one name: {analytes}.")
    rows: list[ExportRow] = []
    for well in wells:
        rows.extend(_totals(well, header, name))
        for group, analyte in zip(groups, analytes, strict=True):
            rows.extend(_group_rows(well, group, analyte, name))
    shapes = _plates(wells, name)
    times = [
        FileTime(heading.lower(), _text(wells[0].line, header, heading))
        for heading in TIMES
        if heading in header
    ]
    times += [
        FileTime(f"read of {well.well}", _text(well.line, header, "WELL ACQUISITION END"))
        for well in wells
        if "WELL ACQUISITION END" in header
    ]
    metadata = tuple(
        (heading, wells[0].line.cells[i].strip())
        for i, heading in enumerate(header[: groups[0].start])
        if len({well.line.cells[i] for well in wells}) == 1
    )
    types = tuple(
        WellType(well.plate, well.well, _text(well.line, header, "WELL TYPE")) for well in wells
    )
    return FileRows(tuple(rows), shapes, metadata, notes, tuple(times), well_types=types)


def _groups(header: Sequence[str], line: TableLine, name: str) -> tuple[Group, ...]:
    """Return the groups of columns, after a check that all are made alike."""
    if len(set(header)) != len(header):
        twice = next(heading for heading in header if header.count(heading) > 1)
        raise FileNotValid(f"{name}, line {line.number}: column '{twice}' is there twice.")
    matches = [GROUP.fullmatch(heading) for heading in header]
    first = next((i for i, match in enumerate(matches) if match), len(header))
    groups: list[Group] = []
    for i in range(first, len(header)):
        match = matches[i]
        if match is None:
            raise FileNotValid(
                f"{name}, line {line.number}, column {i + 1}: '{header[i]}' among the bead "
                "regions; columns like 'R25: RP1 MEDIAN' are read there."
            )
        region, reporter, column = match.groups()
        if groups and (groups[-1].region, groups[-1].reporter) == (region, reporter):
            last = groups[-1]
            groups[-1] = Group(region, reporter, last.start, (*last.columns, column))
        else:
            groups.append(Group(region, reporter, i, (column,)))
    if not groups:
        raise FileNotValid(f"{name}, line {line.number}: no column of a bead region.")
    known = (NAME, REGION, *UNITS)
    for group in groups:
        if group.columns != groups[0].columns or list(group.columns) != [
            column for column in known if column in group.columns
        ]:
            raise FileNotValid(
                f"{name}, line {line.number}, column {group.start + 1}: region {group.region} "
                f"({group.reporter}) has the columns {', '.join(group.columns)}; every region "
                f"has the same, in the order {', '.join(known)}. Columns were moved or cut."
            )
    return tuple(groups)


def _plates(wells: Sequence[WellLine], name: str) -> tuple[PlateShape, ...]:
    rows, columns = PLATE_SHAPES[wells[0].plate_wells]
    return tuple(
        PlateShape(plate, wells[0].plate_wells, rows, columns, read_mode="Luminex", unit="MFI")
        for plate in dict.fromkeys(well.plate for well in wells)
    )


def _text(line: TableLine, header: Sequence[str], heading: str) -> str:
    return line.cells[header.index(heading)].strip()


def _cell(line: TableLine, column: int) -> Cell:
    return Cell(line.number, column + 1, line.cells[column])


def _row(
    well: WellLine, statistic: str, cell: Cell, analyte: str, unit: str, name: str
) -> ExportRow:
    said = read_cell(cell, name)
    flags = (well.remark,) if well.remark else ()
    qc: Quality = "warn" if flags and said.qc == "ok" else said.qc
    return ExportRow(
        well.plate,
        statistic,
        cell.line,
        cell.column,
        WellReadout(
            well.well,
            well.sample,
            analyte,
            said.value,
            unit,
            said.censoring,
            said.lower,
            said.upper,
            qc,
            (*said.reasons, *flags),
        ),
    )


def _totals(well: WellLine, header: Sequence[str], name: str) -> Iterator[ExportRow]:
    for heading, unit in TOTALS.items():
        if heading in header:
            cell = _cell(well.line, header.index(heading))
            yield _row(well, "Well", cell, heading, unit, name)


def _analyte(group: Group, groups: Sequence[Group], wells: Sequence[WellLine], name: str) -> str:
    """Return what a region measures, after a check that all lines agree on it."""
    told = set()
    for well in wells:
        for i, column in enumerate(group.columns[:2]):
            text = well.line.cells[group.start + i].strip()
            if column == REGION and text not in (group.region, "NaN"):
                raise FileNotValid(
                    f"{name}, {_cell(well.line, group.start + i).address}: region '{text}' in "
                    f"the columns of region {group.region}; columns were moved."
                )
            if column == NAME and text not in ("NaN", ""):
                told.add(text)
    if len(told) > 1:
        raise FileNotValid(
            f"{name}: region {group.region} is called {' and '.join(sorted(told))}; one region "
            "has one analyte in a plate."
        )
    analyte = told.pop() if told else f"region {group.region}"
    several = len({one.reporter for one in groups}) > 1
    return f"{analyte} {group.reporter}" if several else analyte


def _group_rows(well: WellLine, group: Group, analyte: str, name: str) -> Iterator[ExportRow]:
    for i, column in enumerate(group.columns):
        if column not in (NAME, REGION):
            cell = _cell(well.line, group.start + i)
            yield _row(well, column, cell, analyte, UNITS[column], name)

"""Group tables of a SoftMax Pro text export: samples, their wells and the values computed from
them.

Belongs here: the group block. Not here: plates, and any recomputing of concentrations (assays).
A group is: a table (one row per well; what belongs to the whole sample stands in the sample's first
row); "Group Column" with the formula of every column; "Group Summaries". A group declares no number
of rows, so three checks stand in for it: every value that repeats a well of the plate must agree
with that plate; every mean must agree with the rows that it is the mean of; and no well comes
twice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace

from chiploop.errors import FileNotValid
from chiploop.exports.cells import Cell, CellValue, read_cell
from chiploop.exports.export import ExportRow, PlateShape
from chiploop.exports.softmax_pro_checks import (
    ROLES,
    GroupColumn,
    GroupRow,
    check_means,
    check_signals,
)
from chiploop.exports.softmax_pro_lines import Block, Line
from chiploop.measurement import Quality, WellReadout

WELL = re.compile(r"([A-P])([0-9]{1,2})")


def read_group(
    block: Block,
    plates: tuple[PlateShape, ...],
    signals: dict[tuple[str, str], float],
    name: str,
) -> tuple[list[ExportRow], list[tuple[str, str]]]:
    """Return the numbers of one group and what it says beside them (formulas, summaries).

    Parameters
    ----------
    plates : the file's plates.
    signals : (plate, well) -> the plate's own value, for the cross-check.
    name : file name, for messages.

    Raises
    ------
    FileNotValid : rows that contradict each other or the plate, doubled wells, a missing section.
    """
    title = block.lines[0].text.removeprefix("Group:").strip()
    sections = _sections(block, title, name)
    columns = _columns(sections, title, name)
    rows = _rows(sections[0][1:], columns, plates, title, name)
    shared = _shared_columns(columns, rows)
    values: dict[tuple[int, int], CellValue] = {}
    for i, row in enumerate(rows):
        for column in columns:
            if column.role == "number" and (row.is_first or column.position not in shared):
                cell = Cell(row.line.number, column.position + 1, row.line.cell(column.position))
                values[i, column.position] = read_cell(cell, name)
    check_signals(columns, rows, values, signals, title, name)
    check_means(columns, rows, values, title, name)
    _resolve_out_of_range(columns, rows, values)
    found = list(_export_rows(columns, rows, values, shared, title))
    metadata = [(f"Group {title}, column {c.title}", c.formula) for c in columns]
    for line in sections[2][1:] if len(sections) > 2 else ():
        cells = [cell.strip() for cell in line.cells]
        metadata.append(
            (f"Group {title}, {cells[0]}", " | ".join(cell for cell in cells[1:] if cell))
        )
    return found, metadata


def _sections(block: Block, title: str, name: str) -> list[list[Line]]:
    sections: list[list[Line]] = [[]]
    for line in block.lines[1:]:
        if line.text.strip():
            sections[-1].append(line)
        elif sections[-1]:
            sections.append([])
    sections = [section for section in sections if section]
    heads = [section[0].cell(0).strip() for section in sections]
    if len(sections) < 2 or heads[1] != "Group Column" or len(sections[0]) < 2:
        raise FileNotValid(
            f"{name}, {block.place}: group '{title}' is not a table followed by 'Group Column'; "
            f"its parts begin with {heads}. The export is incomplete."
        )
    if len(sections) > 3 or (len(sections) == 3 and heads[2] != "Group Summaries"):
        raise FileNotValid(
            f"{name}, {block.place}: group '{title}' has the unknown parts {heads[2:]}."
        )
    return sections


def _columns(sections: list[list[Line]], title: str, name: str) -> list[GroupColumn]:
    header = sections[0][0]
    titles = [cell.strip() for cell in header.cells]
    while titles and not titles[-1]:
        titles.pop()
    described = sections[1][1:]
    if len(described) != len(titles) or len(set(titles)) != len(titles):
        raise FileNotValid(
            f"{name}, line {header.number}: group '{title}' has {len(titles)} columns and 'Group "
            "Column' "
            f"describes {len(described)}."
        )
    columns = []
    for i, line in enumerate(described):
        number, column_name, formula, precision = (line.cell(k).strip() for k in range(4))
        decimals = re.match(r"([0-9]{1,2}) decimal", precision)
        if number != str(i + 1) or not titles[i].startswith(column_name) or decimals is None:
            raise FileNotValid(
                f"{name}, line {line.number}: '{line.text.strip()}' does not describe column "
                f"{i + 1} "
                f"('{titles[i]}') of group '{title}'."
            )
        columns.append(GroupColumn(i, titles[i], column_name, formula, int(decimals.group(1))))
    return columns


def _rows(
    lines: list[Line],
    columns: list[GroupColumn],
    plates: tuple[PlateShape, ...],
    title: str,
    name: str,
) -> list[GroupRow]:
    position = {column.role: column.position for column in columns if column.role in ROLES.values()}
    names = [plate.name for plate in plates]
    rows: list[GroupRow] = []
    seen: dict[tuple[str, str], int] = {}
    samples: set[str] = set()
    for line in lines:
        if len(line.cells) < len(columns) or any(c.strip() for c in line.cells[len(columns) :]):
            raise FileNotValid(
                f"{name}, line {line.number}: {len(line.cells)} cells in group '{title}' of "
                f"{len(columns)} "
                "columns; the row is cut or has a cell too many."
            )
        given = line.cell(position["sample"]).strip() if "sample" in position else ""
        well = line.cell(position["well"]).strip() if "well" in position else ""
        plate = line.cell(position["plate"]).strip() if "plate" in position else ""
        plate = plate or (names[0] if len(names) == 1 else "")
        if plate and plate not in names:
            raise FileNotValid(
                f"{name}, line {line.number}: plate '{plate}' of group '{title}' is not in the "
                "file; "
                f"it holds {', '.join(names)}."
            )
        if "well" in position:
            _check_well(line, well, plate, plates, title, name)
            if (plate, well) in seen:
                raise FileNotValid(
                    f"{name}, line {line.number}: well {well} of plate '{plate}' stands in group "
                    f"'{title}' "
                    f"twice (first in line {seen[plate, well]}). Duplicate rows are refused."
                )
            seen[plate, well] = line.number
        if given in samples:
            raise FileNotValid(
                f"{name}, line {line.number}: sample '{given}' begins twice in group '{title}'."
            )
        if not given and not rows and "sample" in position:
            raise FileNotValid(
                f"{name}, line {line.number}: the first row of group '{title}' names no sample."
            )
        samples.update({given} - {""})
        rows.append(
            GroupRow(line, given or (rows[-1].sample if rows else ""), well, plate, bool(given))
        )
    return rows


def _check_well(
    line: Line, well: str, plate: str, plates: tuple[PlateShape, ...], title: str, name: str
) -> None:
    match = WELL.fullmatch(well)
    shape = next((one for one in plates if one.name == plate), None)
    fits = match is not None and (
        shape is None
        or (ord(match[1]) - ord("A") < shape.rows and 1 <= int(match[2]) <= shape.columns)
    )
    if not fits:
        raise FileNotValid(
            f"{name}, line {line.number}: '{well}' in group '{title}' is no well of plate "
            f"'{plate}'."
        )


def _shared_columns(columns: list[GroupColumn], rows: list[GroupRow]) -> set[int]:
    """Return the columns of one value per sample: blank in all rows but the sample's first."""
    later = [row for row in rows if not row.is_first]
    return {
        column.position
        for column in columns
        if column.role == "number"
        and later
        and all(not row.line.cell(column.position).strip() for row in later)
    }


def _resolve_out_of_range(
    columns: list[GroupColumn], rows: list[GroupRow], values: dict[tuple[int, int], CellValue]
) -> None:
    """Turn ``Range?`` into a bound, where the group's other wells tell on which side it lies.

    ``Range?`` says only that the signal is off the standard curve. Where that signal is the highest
    (or lowest) of the group's wells, the value lies beyond the value of the nearest well that has
    one.
    """
    signal = next((c for c in columns if c.formula == "!WellValues"), None)
    if signal is None:
        return
    for column in columns:
        known = sorted(
            (values[i, signal.position].value, values[i, column.position].value)
            for i in range(len(rows))
            if (i, column.position) in values
            and math.isfinite(values[i, column.position].value)
            and math.isfinite(values[i, signal.position].value)
        )
        if len(known) < 2 or column is signal or known[0][1] >= known[-1][1]:
            continue
        for i in range(len(rows)):
            said = values.get((i, column.position))
            if said is None or "out_of_range" not in said.reasons:
                continue
            here = values[i, signal.position].value
            if here > known[-1][0]:
                said = replace(said, censoring="right", lower=known[-1][1], qc="warn")
            elif here < known[0][0]:
                said = replace(said, censoring="left", upper=known[0][1], qc="warn")
            values[i, column.position] = said


def _export_rows(
    columns: list[GroupColumn],
    rows: list[GroupRow],
    values: dict[tuple[int, int], CellValue],
    shared: set[int],
    title: str,
) -> Iterator[ExportRow]:
    several = {row.sample for row in rows if not row.is_first}
    for i, row in enumerate(rows):
        remarks = tuple(
            f"{column.title}: {row.line.cell(column.position).strip()}"
            for column in columns
            if column.role == "remark" and row.line.cell(column.position).strip()
        )
        for column in columns:
            said = values.get((i, column.position))
            if said is None:
                continue
            of_sample = column.position in shared and row.sample in several
            qc: Quality = "warn" if remarks and said.qc == "ok" else said.qc
            yield ExportRow(
                _plates_of(row.sample, rows) if of_sample else row.plate,
                f"Group {title}",
                row.line.number,
                column.position + 1,
                WellReadout(
                    "" if of_sample else row.well,
                    row.sample,
                    column.title,
                    said.value,
                    "as exported",
                    said.censoring,
                    said.lower,
                    said.upper,
                    qc,
                    (*said.reasons, *remarks),
                ),
            )


def _plates_of(sample: str, rows: list[GroupRow]) -> str:
    """Return the plate of a sample; several are joined by '+', since a mean over plates is of no
    one plate.
    """
    return "+".join(dict.fromkeys(row.plate for row in rows if row.sample == sample))

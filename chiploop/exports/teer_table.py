"""A table of resistances that a person keeps: chip, time, resistance, one reading a line.

Belongs here: a strict reader of such a CSV file. Not here: what a resistance means for a barrier
(assays), where readings are kept (instruments). Nothing is guessed: a number has its unit in its
cell, in the header or in the column ``unit``; every line that can not be used is named, and then
none is used.

    chip,time,resistance              chip,time [h],resistance [kohm],blank
    C01,36 h,1.23 kohm                C01,36,1.23,no
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from chiploop.errors import FileNotValid, Problem
from chiploop.exports.decoding import decode
from chiploop.units import UnitProblem, parse_quantity

NEEDED: Final = ("chip", "time", "resistance")
OPTIONAL: Final = ("unit", "blank")
YES_NO: Final = {"": False, "no": False, "yes": True}
_HEADER = re.compile(r"([a-z]+)\s*(?:[\[(]\s*([^\])]+?)\s*[\])])?")
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+\s*(Z|[+-][0-9]{2}:?[0-9]{2})?")


@dataclass(frozen=True)
class TeerRow:
    """One reading of the table."""

    line: int
    chip: str
    time_h: float
    """Hours since the study began."""
    resistance_ohm: float
    blank: bool
    """True for a cell-free chip."""
    as_written: str
    """The resistance as the table has it, with its unit."""


class TeerTableNotValid(FileNotValid):
    """A table of resistances that can not be used; says every problem with its line."""

    def __init__(self, path: str, problems: tuple[Problem, ...]) -> None:
        told = "\n".join(
            f"  line {one.line}, {one.field}: {one.message}" + (f"; {one.hint}" if one.hint else "")
            for one in problems
        )
        super().__init__(f"{path} can not be used; nothing of it was taken:\n{told}")
        self.path = path
        self.problems = problems


def read_teer_table(
    data: bytes, name: str, chips: Collection[str], begun: datetime | None = None
) -> tuple[TeerRow, ...]:
    """Return the readings of a table, in its order.

    Parameters
    ----------
    data : the whole file.
    name : its name, for messages.
    chips : the chips of the study; a blank may name another one.
    begun : when the study began, for times of day; None where only study hours can be read.

    Raises
    ------
    FileNotValid : no table, or `TeerTableNotValid` with every line that can not be used.
    """
    text = decode(data, name).text
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        lines = [(reader.line_num, row) for row in reader]
    except csv.Error as trouble:
        raise FileNotValid(f"{name}: {trouble}; a table with commas is needed") from trouble
    while lines and not any(cell.strip() for cell in lines[-1][1]):
        lines.pop()
    if not lines:
        raise FileNotValid(f"{name} is empty; its first line is {','.join(NEEDED)}")
    columns = _columns(lines[0][1], name)
    if len(lines) < 2:
        raise FileNotValid(f"{name} has a header and no reading")
    rows: list[TeerRow] = []
    problems: list[Problem] = []
    seen: dict[tuple[str, bool, float], int] = {}
    for line, cells in lines[1:]:
        row = _row(line, cells, columns, chips, begun)
        if isinstance(row, Problem):
            problems.append(row)
            continue
        first = seen.setdefault((row.chip, row.blank, row.time_h), line)
        if first != line:
            problems.append(
                Problem(line, "chip", f"{row.chip} at this time stands in line {first} already")
            )
        rows.append(row)
    if problems:
        raise TeerTableNotValid(name, tuple(problems))
    return tuple(rows)


def _columns(header: list[str], name: str) -> dict[str, tuple[int, str]]:
    """Return column -> (place, unit of the header); FileNotValid for another header."""
    columns: dict[str, tuple[int, str]] = {}
    for place, cell in enumerate(header):
        found = _HEADER.fullmatch(cell.strip().lower())
        unit = re.search(r"[\[(]\s*(.+?)\s*[\])]", cell)
        column = found[1] if found else cell.strip()
        hint = "; a table with commas is needed" if re.search("[;\t]", cell) else ""
        if column not in NEEDED + OPTIONAL or column in columns:
            raise FileNotValid(
                f"{name}, line 1: column {cell.strip()!r} is "
                f"{'there twice' if column in columns else 'not known'}; columns: "
                f"{', '.join(NEEDED)}, and where wanted {', '.join(OPTIONAL)}{hint}"
            )
        if unit and column not in ("time", "resistance"):
            raise FileNotValid(f"{name}, line 1: {column} has no unit, read {cell.strip()!r}")
        columns[column] = (place, unit[1] if unit else "")
    if missing := [column for column in NEEDED if column not in columns]:
        raise FileNotValid(f"{name}, line 1: no column {', '.join(missing)}")
    if "unit" in columns and columns["resistance"][1]:
        raise FileNotValid(f"{name}, line 1: the unit stands in the header and in its own column")
    return columns


def _row(
    line: int,
    cells: list[str],
    columns: dict[str, tuple[int, str]],
    chips: Collection[str],
    begun: datetime | None,
) -> TeerRow | Problem:
    if len(cells) != len(columns):
        return Problem(
            line,
            "line",
            f"{len(cells)} cells, the header has {len(columns)}",
            "a decimal comma is not read: write 1.23" if len(cells) > len(columns) else "",
        )
    cell = {column: cells[place].strip() for column, (place, _) in columns.items()}
    blank = YES_NO.get(cell.get("blank", "").lower())
    if blank is None:
        return Problem(line, "blank", f"read {cell['blank']!r}; yes or no")
    if not cell["chip"] or not cell["chip"].isprintable():
        return Problem(line, "chip", f"read {cell['chip']!r}, which is no chip")
    if cell["chip"] not in chips and not blank:
        return Problem(
            line, "chip", f"{cell['chip']} is no chip of this study: {', '.join(sorted(chips))}"
        )
    if "unit" in cell and not cell["unit"]:
        return Problem(line, "unit", "is missing; a resistance is written in ohm, kohm or Mohm")
    field = "time"
    try:
        time_h = study_time_h(_with_unit(cell["time"], columns["time"][1]), begun)
        field = "resistance"
        written = _with_unit(cell["resistance"], columns["resistance"][1] or cell.get("unit", ""))
        resistance_ohm = parse_quantity(written, "resistance_ohm")
        if not resistance_ohm > 0.0:
            raise UnitProblem(f'"{written}" is not above zero')
    except UnitProblem as problem:
        return Problem(line, field, problem.message, problem.hint)
    return TeerRow(line, cell["chip"], time_h, resistance_ohm, blank, written)


def _with_unit(cell: str, unit: str) -> str:
    """Return number and unit; a time of day has none."""
    if not unit or not cell or _INSTANT.fullmatch(cell):
        return cell
    if cell[-1].isalpha():
        raise UnitProblem(f'"{cell}" has a unit, and so has the header', "write the number alone")
    return f"{cell} {unit}"


def study_time_h(text: str, begun: datetime | None) -> float:
    """Return hours since the study began, from ``36.5 h`` or ``2026-05-04T14:30+02:00``.

    Raises
    ------
    UnitProblem : neither of the two, a time of day without its offset to UTC, or one before the
        study.
    """
    instant = _INSTANT.fullmatch(text.strip())
    if instant is None and ":" in text:
        raise UnitProblem(
            f'"{text}" is no moment', 'write "2026-05-04T14:30+02:00", or study hours like "36.5 h"'
        )
    if instant is None:
        return parse_quantity(text, "time_h")
    if instant[1] is None:
        raise UnitProblem(
            f'"{text}" does not say its offset to UTC',
            f'write for example "{text.strip()}+02:00", or study hours like "36.5 h"',
        )
    if begun is None:
        raise UnitProblem(f'"{text}": only study hours can be read here', 'write like "36.5 h"')
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UnitProblem(f'"{text}" is no moment', 'write like "2026-05-04T14:30+02:00"') from None
    hours = (moment - begun).total_seconds() / 3600.0
    if hours < 0.0:
        raise UnitProblem(f'"{text}" is before the study began ({begun.isoformat()})')
    return hours

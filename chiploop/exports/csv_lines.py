"""Lines of a comma-separated vendor file.

Belongs here: text to lines of cells, with their numbers. Not here: what a line means.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from chiploop.errors import FileNotValid
from chiploop.exports.cells import Cell
from chiploop.exports.trouble import ExportIncomplete


@dataclass(frozen=True, slots=True)
class TableLine:
    """One line of the file, split into cells."""

    number: int
    cells: tuple[str, ...]

    @property
    def first(self) -> str:
        """Return the first cell."""
        return self.cells[0].strip() if self.cells else ""

    @property
    def is_blank(self) -> bool:
        """Return True for a line without text."""
        return not any(cell.strip() for cell in self.cells)


def read_lines(text: str, name: str) -> list[TableLine]:
    """Return the lines of the file; FileNotValid for another list separator or an open quote."""
    first = text.split("\n", 1)[0]
    if ";" in first and "," not in first:
        raise FileNotValid(
            f"{name}, line 1: cells are separated by ';', the list style of a comma-decimal "
            "computer. "
            "Only ',' between cells and '.' in numbers are read; export again with English "
            "number format."
        )
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines = []
    try:
        for cells in reader:
            lines.append(TableLine(reader.line_num, tuple(cells)))
    except csv.Error as error:
        raise ExportIncomplete(
            f"{name}, line {reader.line_num}: {error}; the file is incomplete or damaged. Export "
            "it again."
        ) from error
    return lines


def numbered_cells(line: TableLine, start: int, end: int) -> Iterator[Cell]:
    """Yield the cells from one position to another, with their addresses."""
    for i in range(start, end):
        yield Cell(line.number, i + 1, line.cells[i])

"""Tables of wells of a Gen5 text export: "Layout" and "Results".

Belongs here: rows, columns and labels of a table, counted against the plate. Not here: what a label
means (gen5).
A table is a line of column numbers and, for every row of the plate, one line per label; the label
stands in the last cell. Every row has the same labels in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chiploop.errors import FileNotValid
from chiploop.exports.cells import Cell
from chiploop.exports.softmax_pro_lines import Line
from chiploop.exports.trouble import ExportIncomplete
from chiploop.exports.wells import PLATE_SHAPES, row_label


@dataclass(frozen=True)
class GridLine:
    """One line of a table: one label of one row of the plate."""

    row: int
    """From 0."""
    label: str
    cells: tuple[Cell, ...]
    """One for each column of the plate."""


def read_grid(lines: Sequence[Line], wells: int, title: str, name: str) -> tuple[GridLine, ...]:
    """Return the lines of a table, all rows and columns of the plate.

    Raises
    ------
    FileNotValid : a row, a column or a label that is missing, doubled or out of order.
    """
    if not lines:
        return ()
    n_rows, n_columns = PLATE_SHAPES[wells]
    numbers = [cell.strip() for cell in lines[0].cells]
    while numbers and not numbers[-1]:
        numbers.pop()
    if numbers != ["", *(str(i + 1) for i in range(n_columns))]:
        raise FileNotValid(
            f"{name}, line {lines[0].number}: the columns of '{title}' are "
            f"{', '.join(numbers[1:])[:200]}; 1 to {n_columns} are declared by the plate."
        )
    found: list[GridLine] = []
    labels: list[list[str]] = []
    for line in lines[1:]:
        cells = list(line.numbered())
        while len(cells) > n_columns + 2 and not cells[-1].text.strip():
            cells.pop()
        if len(cells) != n_columns + 2 or not cells[-1].text.strip():
            raise FileNotValid(
                f"{name}, line {line.number}: {max(len(cells) - 2, 0)} values and a label are "
                f"read where '{title}' has {n_columns} columns; the file is cut, or the line is "
                "no part of this table."
            )
        letter = cells[0].text.strip()
        if letter:
            if len(labels) >= n_rows or letter != row_label(len(labels)):
                raise FileNotValid(
                    f"{name}, line {line.number}: row '{letter}' of '{title}' where "
                    f"'{row_label(len(labels))}' is expected; rows A to {row_label(n_rows - 1)}, "
                    "each once. A row is missing, doubled or moved."
                )
            labels.append([])
        if not labels:
            raise FileNotValid(f"{name}, line {line.number}: a line of '{title}' before row A.")
        label = cells[-1].text.strip()
        labels[-1].append(label)
        found.append(GridLine(len(labels) - 1, label, tuple(cells[1:-1])))
    if len(labels) != n_rows:
        raise ExportIncomplete(
            f"{name}: incomplete: '{title}' has {len(labels)} rows where the plate has {n_rows} "
            f"(the table ends at line {lines[-1].number}). Export the file again."
        )
    for i, one in enumerate(labels):
        if one != labels[0] or len(set(one)) != len(one):
            raise FileNotValid(
                f"{name}: row {row_label(i)} of '{title}' has the lines {', '.join(one)}, row A "
                f"{', '.join(labels[0])}; every row has the same, each once. A line is missing, "
                "doubled or moved."
            )
    return tuple(found)

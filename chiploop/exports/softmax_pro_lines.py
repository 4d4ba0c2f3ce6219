"""Lines and blocks of a SoftMax Pro text export.

Belongs here: cells of a line, lines of a block. Not here: what a block means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chiploop.exports.cells import Cell


@dataclass(frozen=True)
class Line:
    """One line and its number, from 1."""

    number: int
    text: str

    @property
    def cells(self) -> tuple[str, ...]:
        """Return the cells between tabs, blanks kept."""
        return tuple(self.text.split("\t"))

    def cell(self, position: int) -> str:
        """Return the cell at a position from 0; empty beyond the end."""
        cells = self.cells
        return cells[position] if position < len(cells) else ""

    def numbered(self) -> Iterator[Cell]:
        """Yield the cells with their addresses."""
        for i, text in enumerate(self.cells):
            yield Cell(self.number, i + 1, text)


@dataclass(frozen=True)
class Block:
    """The lines of one block, without its ``~End``."""

    kind: str
    """``Plate:``, ``Group:`` or ``Note:``."""
    lines: tuple[Line, ...]

    @property
    def place(self) -> str:
        """Return where the block begins, for a message."""
        return f"line {self.lines[0].number}"

"""Wells of a plate: sizes, names of rows, ``A1`` and ``A01`` as one.

Belongs here: names and places on plates of 6 to 1536 wells. Not here: what stands in a well.
"""

from __future__ import annotations

import re
from typing import Final

from chiploop.errors import FileNotValid

PLATE_SHAPES: Final[dict[int, tuple[int, int]]] = {
    6: (2, 3),
    12: (3, 4),
    24: (4, 6),
    48: (6, 8),
    96: (8, 12),
    384: (16, 24),
    1536: (32, 48),
}
"""Wells -> (rows, columns) of the plates in the SLAS formats."""
WELL: Final = re.compile(r"([A-Z]|A[A-F])0*([1-9][0-9]?)")


def row_label(row: int) -> str:
    """Return the letters of a row from 0: A to Z, then AA to AF."""
    return chr(ord("A") + row) if row < 26 else f"A{chr(ord('A') + row - 26)}"


def row_index(label: str) -> int:
    """Return the row from 0 of its letters."""
    return ord(label) - ord("A") if len(label) == 1 else 26 + ord(label[1]) - ord("A")


def well_name(row: int, column: int) -> str:
    """Return the name of a well by row and column from 0, without leading zeros: ``A1``."""
    return f"{row_label(row)}{column + 1}"


def well_index(text: str) -> tuple[int, int] | None:
    """Return (row, column) from 0 of a well's name in any of its forms, None where it is none."""
    match = WELL.fullmatch(text.strip())
    return (row_index(match[1]), int(match[2]) - 1) if match else None


def same_well(text: str, wells: int, place: str) -> str:
    """Return the one name of a well (``A01`` is ``A1``) on a plate of so many wells.

    Raises
    ------
    FileNotValid : no well of that plate; ``place`` begins the message.
    """
    found = well_index(text)
    rows, columns = PLATE_SHAPES[wells]
    if found is None or found[0] >= rows or found[1] >= columns:
        raise FileNotValid(
            f"{place}: '{text.strip()[:20]}' is no well of a plate of {wells} wells "
            f"(A1 to {well_name(rows - 1, columns - 1)})."
        )
    return well_name(*found)

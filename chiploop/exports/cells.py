"""One cell of a vendor file: a number, a bound, or a typed reason for having neither.

Belongs here: the tokens that plate readers write where they have no number, and the number style of
a file. Not here: where a cell stands in its file (the readers). A token that is not in the table is
an error with its address; nothing is read as zero and nothing is dropped.

The tokens were collected from public SoftMax Pro, xPONENT and Gen5 exports.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from chiploop.errors import FileNotValid
from chiploop.measurement import Censoring, Quality


@dataclass(frozen=True)
class Cell:
    """The text of one cell and where it stands."""

    line: int
    column: int
    text: str

    @property
    def address(self) -> str:
        """Return the place for a message."""
        return f"line {self.line}, column {self.column}"


@dataclass(frozen=True)
class CellValue:
    """What a cell says. ``value`` is NaN where the cell holds no number."""

    value: float
    censoring: Censoring = "none"
    lower: float = -math.inf
    upper: float = math.inf
    qc: Quality = "ok"
    reasons: tuple[str, ...] = ()


NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
BOUND = re.compile(r"([<>])\s*=?\s*(" + NUMBER.pattern + ")")
COMMA_NUMBER = re.compile(
    r"[<>]?\s*[+-]?[0-9]+(?:[.,][0-9]+)*,[0-9]+(?:[.,][0-9]+)*(?:[eE][+-]?[0-9]+)?\s*%?"
)

TOKENS: dict[str, tuple[str, Censoring]] = {
    "": ("missing", "none"),
    "nan": ("nan", "none"),
    "n/a": ("not_available", "none"),
    "na": ("not_available", "none"),
    "-": ("missing", "none"),
    "--": ("missing", "none"),
    "---": ("missing", "none"),
    "?????": ("invalid", "none"),
    "error": ("invalid", "none"),
    "#err": ("invalid", "none"),
    "masked": ("masked", "none"),
    "missing?": ("missing", "none"),
    "nofit": ("no_fit", "none"),
    "range?": ("out_of_range", "none"),
    "ovrflw": ("saturated", "right"),
    "overflow": ("saturated", "right"),
    "#sat": ("saturated", "right"),
    "saturated": ("saturated", "right"),
    "#low": ("low_signal", "left"),
    "above fit curve range": ("over", "right"),
    "below fit curve range": ("under", "left"),
}
"""Token in lower case -> (typed reason, side on which the value lies)."""


def read_cell(cell: Cell, name: str) -> CellValue:
    """Return what one cell says.

    Raises
    ------
    FileNotValid : a token that is not known, with its address.
    """
    text = cell.text.strip()
    if NUMBER.fullmatch(text):
        return CellValue(float(text))
    bound = BOUND.fullmatch(text)
    if bound:
        limit = float(bound.group(2))
        if bound.group(1) == "<":
            return CellValue(math.nan, "left", upper=limit, qc="warn", reasons=("under",))
        return CellValue(math.nan, "right", lower=limit, qc="warn", reasons=("over",))
    known = TOKENS.get(text.lower())
    if known is None:
        raise FileNotValid(
            f"{name}, {cell.address}: '{text}' is not a number and no token that is known. Known "
            "are "
            "numbers with a decimal point, '< n', '> n', and: "
            + ", ".join(repr(token) for token in TOKENS if token)
            + "."
        )
    reason, side = known
    return CellValue(math.nan, side, qc="fail" if side == "none" else "warn", reasons=(reason,))


def demand_decimal_point(cells: Iterable[Cell], name: str) -> None:
    """Raise FileNotValid where any cell of a file writes numbers with a comma.

    The style is decided once for the whole file: a comma may be a decimal sign or a thousands
    separator, and which of the two can not be known from one cell (1,234 is either).
    """
    commas = [cell for cell in cells if COMMA_NUMBER.fullmatch(cell.text.strip())]
    if commas:
        first = commas[0]
        raise FileNotValid(
            f"{name}, {first.address}: '{first.text.strip()}' has a comma ({len(commas)} such "
            "cells in the "
            "file). Only numbers with a decimal point and without thousands separators are read; "
            "export again with English number format, and do not save the file from a spreadsheet."
        )

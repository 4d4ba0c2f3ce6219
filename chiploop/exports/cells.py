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
from typing import Literal

from chiploop.errors import FileNotValid
from chiploop.measurement import Censoring, Quality


@dataclass(frozen=True, slots=True)
class Cell:
    """The text of one cell and where it stands."""

    line: int
    column: int
    text: str

    @property
    def address(self) -> str:
        """Return the place for a message."""
        return f"line {self.line}, column {self.column}"


@dataclass(frozen=True, slots=True)
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
    "#value!": ("invalid", "none"),
    "#div/0!": ("invalid", "none"),
    "#num!": ("invalid", "none"),
    "#n/a": ("not_available", "none"),
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


NumberStyle = Literal["point", "comma"]
"""What stands between whole and part in the numbers of a file."""
THOUSANDS = re.compile(r"[<>]?\s*[+-]?[0-9]{1,3}(?:,[0-9]{3})+\s*%?")


PLAIN = CellValue(math.nan)
"""What is said beside the value of a cell that holds a plain number: nothing."""


def plain_number(text: str) -> float | None:
    """Return the value of a cell that holds a number with a decimal point and nothing else.

    None for anything else, which `read_cell` tells apart; most cells of most files are plain, and
    need no address.
    """
    if NUMBER.fullmatch(text) is None:
        return None
    value = float(text)
    return None if math.isinf(value) else value


def whole_number(text: str) -> int | None:
    """Return a whole number of at most nine ASCII digits, None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def read_cell(cell: Cell, name: str, style: NumberStyle = "point") -> CellValue:
    """Return what one cell says, in the number style of its file.

    Raises
    ------
    FileNotValid : a token that is not known, with its address.
    """
    text = cell.text.strip()
    if style == "comma":
        text = text.replace(",", ".")
    if NUMBER.fullmatch(text):
        return CellValue(_finite(text, cell, name))
    bound = BOUND.fullmatch(text)
    if bound:
        limit = _finite(bound.group(2), cell, name)
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


def _finite(text: str, cell: Cell, name: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise FileNotValid(f"{name}, {cell.address}: '{text}' is larger than any number here.")
    return value


def number_style(cells: Iterable[Cell], name: str) -> NumberStyle:
    """Return the number style of a file, decided once from all its cells.

    A comma is a decimal sign only where at least one cell proves it (it can be no thousands
    separator) and no cell has a decimal point.

    Raises
    ------
    FileNotValid : points and commas side by side, or commas that may be thousands separators.
    """
    first_point: Cell | None = None
    commas: list[Cell] = []
    for cell in cells:
        text = cell.text.strip()
        if "," in text and COMMA_NUMBER.fullmatch(text):
            commas.append(cell)
        elif (
            first_point is None
            and "." in text
            and (NUMBER.fullmatch(text) or BOUND.fullmatch(text))
        ):
            first_point = cell
    if not commas:
        return "point"
    mixed = next((c for c in commas if "." in c.text or c.text.count(",") > 1), None)
    if first_point is not None or mixed is not None:
        other = mixed or first_point
        assert other is not None
        raise FileNotValid(
            f"{name}, {commas[0].address}: '{commas[0].text.strip()}' has a comma, and "
            f"{other.address} has '{other.text.strip()}': two number styles in one file. Was it "
            "saved from a spreadsheet? Export it again."
        )
    if all(THOUSANDS.fullmatch(cell.text.strip()) for cell in commas):
        raise FileNotValid(
            f"{name}, {commas[0].address}: '{commas[0].text.strip()}' may be a decimal comma or a "
            f"thousands separator, and none of the {len(commas)} such cells of the file tells "
            "which. Export again with English number format."
        )
    return "comma"


def demand_decimal_point(cells: Iterable[Cell], name: str) -> None:
    """Raise FileNotValid where any cell of a file writes numbers with a comma.

    The style is decided once for the whole file: a comma may be a decimal sign or a thousands
    separator, and which of the two can not be known from one cell (1,234 is either).
    """
    commas = [
        cell for cell in cells if "," in cell.text and COMMA_NUMBER.fullmatch(cell.text.strip())
    ]
    if commas:
        first = commas[0]
        raise FileNotValid(
            f"{name}, {first.address}: '{first.text.strip()}' has a comma ({len(commas)} such "
            "cells in the "
            "file). Only numbers with a decimal point and without thousands separators are read; "
            "export again with English number format, and do not save the file from a spreadsheet."
        )

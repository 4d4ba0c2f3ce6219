"""A CSV of calibration points, and of wells whose concentration is asked for.

Belongs here: reading such a file, and what is wrong with it, told with column and row. Not here:
fits. A row with an empty x is an unknown. Nothing is repaired: a decimal comma, a word in place of a
number, a row of another length and a column that comes twice are refused.
"""

from __future__ import annotations

import csv
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chiploop.assays.pooled_curves import PlatePoints
from chiploop.errors import FileNotValid, WrongUse
from chiploop.exports.decoding import decode

LARGEST_FILE_BYTES = 50_000_000
SEPARATORS = (",", ";", "\t")
NUMBERS = "numbers with a decimal point, such as 0.125 or 1e-3"


@dataclass(frozen=True)
class Unknown:
    """Wells of one sample whose concentration is asked for."""

    sample: str
    """Its name; ``row N`` where the file has no names."""
    rows: tuple[int, ...]
    """Rows below the header, from 1."""
    signals: tuple[float, ...]
    dilution: float = 1.0


@dataclass(frozen=True)
class CurveGroup:
    """Points and unknowns of one curve."""

    name: str
    points: PlatePoints
    unknowns: tuple[Unknown, ...]


@dataclass(frozen=True)
class CurveTable:
    """A file, read to its last row."""

    file: str
    sha256: str
    n_rows: int
    groups: tuple[CurveGroup, ...]
    """In the order of the file."""


@dataclass(frozen=True)
class Columns:
    """Names of the columns that are read."""

    x: str
    y: str
    group: str | None = None
    sample: str | None = None
    dilution: str | None = None

    @property
    def named(self) -> list[str]:
        """Return the names that must be there."""
        return [one for one in (self.x, self.y, self.group, self.sample, self.dilution) if one]


def read_curve_table(path: Path, columns: Columns, code_page: str | None = None) -> CurveTable:
    """Return the curves of a file.

    Raises
    ------
    WrongUse : a column that the file does not have. FileNotValid : everything else, with its row.
    """
    data = _bytes_of(path)
    text = decode(data, path.name, code_page).text
    header, rows = _rows_of(text, path.name)
    places = {}
    for name in columns.named:
        if name not in header:
            raise WrongUse(
                f"{path.name}: there is no column '{name}'; allowed are {', '.join(header)}"
            )
        places[name] = header.index(name)
    known: dict[str, list[tuple[float, float]]] = {}
    asked: dict[str, dict[tuple[str, float], list[tuple[int, float]]]] = {}
    for number, cells in rows:
        at = f"{path.name}, row {number}"
        group = cells[places[columns.group]].strip() if columns.group else ""
        if columns.group and not group:
            raise FileNotValid(f"{at}, column '{columns.group}': the group is empty; name one")
        y = _number(cells[places[columns.y]], at, columns.y)
        written = cells[places[columns.x]].strip()
        known.setdefault(group, [])
        asked.setdefault(group, {})
        if written:
            x = _number(written, at, columns.x)
            if x < 0.0:
                raise FileNotValid(
                    f"{at}, column '{columns.x}': {written} is below 0; allowed are concentrations "
                    "of 0 (a blank) and more, or nothing (an unknown)"
                )
            known[group].append((x, y))
            continue
        sample = cells[places[columns.sample]].strip() if columns.sample else ""
        dilution = 1.0
        if columns.dilution:
            dilution = _number(cells[places[columns.dilution]], at, columns.dilution)
            if dilution < 1.0:
                raise FileNotValid(
                    f"{at}, column '{columns.dilution}': {dilution:g}; allowed are 1 (undiluted) "
                    "and more, in times"
                )
        asked[group].setdefault((sample or f"row {number}", dilution), []).append((number, y))
    groups = tuple(_group(name, known[name], asked[name], path.name) for name in known)
    if not groups:
        raise FileNotValid(f"{path.name}: there is no row below the header; points are needed")
    return CurveTable(path.name, hashlib.sha256(data).hexdigest(), len(rows), groups)


def _group(
    name: str,
    known: list[tuple[float, float]],
    asked: dict[tuple[str, float], list[tuple[int, float]]],
    file: str,
) -> CurveGroup:
    if not known:
        said = f" of group '{name}'" if name else ""
        raise FileNotValid(
            f"{file}: no row{said} has a concentration; a curve needs standards, not unknowns alone"
        )
    points = np.array(known, dtype=float)
    unknowns = tuple(
        Unknown(
            sample, tuple(row for row, _ in wells), tuple(signal for _, signal in wells), dilution
        )
        for (sample, dilution), wells in asked.items()
    )
    return CurveGroup(name, PlatePoints(points[:, 0], points[:, 1]), unknowns)


def _bytes_of(path: Path) -> bytes:
    if path.is_dir():
        raise FileNotValid(f"{path} is a folder; name a CSV file")
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise FileNotValid(f"{path.name}: more than {LARGEST_FILE_BYTES} bytes are not read")
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotValid(f"{path}: there is no such file") from None
    except OSError as error:
        raise FileNotValid(f"{path}: can not be read ({error.strerror or error})") from None
    if not data.strip():
        raise FileNotValid(f"{path.name}: the file is empty; a header and rows are needed")
    return data


def _rows_of(text: str, file: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header and (row number from 1, cells); rows without any text are left out."""
    first = text.split("\n", 1)[0]
    separator = max(SEPARATORS, key=first.count)
    try:
        table = list(csv.reader(text.splitlines(), delimiter=separator, strict=True))
    except csv.Error as error:
        raise FileNotValid(f"{file}: not a CSV file ({error})") from None
    header = [cell.strip() for cell in table[0]]
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise FileNotValid(f"{file}: column '{twice[0]}' stands in the header more than once")
    rows = []
    for number, cells in enumerate(table[1:], start=1):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise FileNotValid(
                f"{file}, row {number}: {len(cells)} cells, the header has {len(header)}"
                + ("; is it a decimal comma?" if separator == "," else "")
            )
        rows.append((number, cells))
    return header, rows


def _number(cell: str, at: str, column: str) -> float:
    written = cell.strip()
    try:
        value = float(written) if "_" not in written else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        hint = "; a decimal comma is not read" if "," in written else ""
        said = f"'{written}' is not a number" if written else "the cell is empty"
        raise FileNotValid(f"{at}, column '{column}': {said}; allowed are {NUMBERS}{hint}")
    return value

"""A CSV of calibration points, and of wells whose concentration is asked for.

Belongs here: reading such a file, and what is wrong with it, told with column and row. Not here:
fits. A row with an empty x is an unknown. Nothing is repaired: a decimal comma, a word in place of a
number, a row of another length and a column that comes twice are refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chiploop.assays.csv_rows import bytes_of, number_in, rows_of
from chiploop.assays.pooled_curves import PlatePoints
from chiploop.errors import FileNotValid, WrongUse
from chiploop.exports.decoding import decode


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
    data = bytes_of(path)
    text = decode(data, path.name, code_page).text
    header, rows = rows_of(text, path.name)
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
        y = number_in(cells[places[columns.y]], at, columns.y)
        written = cells[places[columns.x]].strip()
        known.setdefault(group, [])
        asked.setdefault(group, {})
        if written:
            x = number_in(written, at, columns.x)
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
            dilution = number_in(cells[places[columns.dilution]], at, columns.dilution)
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

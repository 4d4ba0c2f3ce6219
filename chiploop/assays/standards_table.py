"""Concentrations of standards and controls from a kit's own table, analyte by analyte.

Belongs here: reading such a table and putting it to the wells of those names. Not here: layouts, which name
wells (plate_layout), what a file says itself (export_contents).

    sample,role,unit,IL-6,TNF              role and unit may be left out: a standard, in pg/mL
    Standard1,standard,pg/mL,2500,4000
    Control1,control,pg/mL,310,420
    Background0,blank,,0,0
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chiploop.assays.plate_contents import (
    LAYOUT_UNIT,
    Contents,
    WellContent,
    differences,
)
from chiploop.assays.plate_layout import Role
from chiploop.errors import FileNotValid
from chiploop.exports.decoding import decode
from chiploop.measurement import WellReadout

LARGEST_FILE_BYTES: Final = 1_000_000
ROLES: Final[dict[str, Role]] = {
    "": "standard", "standard": "standard", "control": "control", "blank": "blank",
}  # fmt: skip
NOT_ANALYTES: Final = ("sample", "role", "unit")


@dataclass(frozen=True)
class Standards:
    """Concentrations by name of the well."""

    levels: Mapping[str, Mapping[str, float]]
    """Sample -> analyte -> concentration; 0 is a blank."""
    roles: Mapping[str, Role]
    """Sample -> role; a standard where it is left out."""
    units: Mapping[str, str]
    """Sample -> unit; pg/mL where it is left out."""


def read_standards(path: Path) -> Standards:
    """Return the table of a CSV file.

    Raises
    ------
    FileNotValid : with line and column.
    """
    rows = _rows(path)
    header = [cell.strip() for cell in rows[0]] if rows else []
    analytes = [cell for cell in header if cell not in NOT_ANALYTES]
    if "sample" not in header or not analytes or "" in header or len({*header}) != len(header):
        raise FileNotValid(
            f"{path}, line 1: read {', '.join(header)[:200]!r}; a column 'sample' and one for each "
            "analyte are needed, each once, beside them 'role' and 'unit' may stand"
        )
    levels: dict[str, dict[str, float]] = {}
    roles: dict[str, Role] = {}
    units: dict[str, str] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            raise FileNotValid(
                f"{path}, line {number}: {len(row)} cells, the header has {len(header)}; write 1.5 "
                "with a point"
            )
        said = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
        sample, role = said["sample"], said.get("role", "").lower()
        if not sample or sample in levels or role not in ROLES:
            raise FileNotValid(
                f"{path}, line {number}: sample {sample!r}, role {role!r}; a name that comes once, "
                "and standard, control or blank are needed"
            )
        levels[sample] = {
            analyte: _number(said[analyte], f"{path}, line {number}, column {analyte!r}")
            for analyte in analytes
            if said[analyte]
        }
        roles[sample], units[sample] = ROLES[role], said.get("unit") or LAYOUT_UNIT
    if not levels:
        raise FileNotValid(f"{path}: no line of a standard")
    return Standards(levels, roles, units)


def _rows(path: Path) -> list[list[str]]:
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise FileNotValid(f"{path} is larger than {LARGEST_FILE_BYTES} bytes")
        text = decode(path.read_bytes(), path.name).text.lstrip("\ufeff")
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except OSError as trouble:
        raise FileNotValid(f"{path} can not be read: {trouble.strerror or trouble}") from trouble
    except csv.Error as trouble:
        raise FileNotValid(f"{path}: {trouble}; a table with commas is needed") from trouble


def _number(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value < 1e15:
        raise FileNotValid(f"{place}: read {text!r}; a concentration of 0 or more is needed")
    return value


def with_standards(
    contents: Contents, signals: Mapping[str, Mapping[str, WellReadout]], standards: Standards
) -> tuple[Contents, tuple[str, ...]]:
    """Return contents with the table in place of what the file says, and where the two differ.

    Raises
    ------
    FileNotValid : no well of the plate has a name of the table.
    """
    found: Contents = {}
    notes: list[str] = []
    names: set[str] = set()
    for analyte, wells in signals.items():
        of_analyte = found.setdefault(analyte, dict(contents.get(analyte, {})))
        for well, one in wells.items():
            names.add(one.sample)
            level = standards.levels.get(one.sample, {}).get(analyte)
            if level is None:
                continue
            role: Role = standards.roles.get(one.sample, "standard")
            if level == 0.0 and role == "standard":
                role = "blank"
            unit = standards.units.get(one.sample, LAYOUT_UNIT)
            asked = WellContent(role, one.sample, "", level, unit if level else "")
            told = of_analyte.get(well)
            if told is not None and told.role in ("standard", "control", "blank"):
                notes += [
                    f"{analyte}, {one.sample}: {said}".replace("layout", "table of standards")
                    for said in differences(told, asked)
                ]
            of_analyte[well] = asked
    if not names & set(standards.levels):
        raise FileNotValid(
            f"the table of standards names {', '.join(list(standards.levels)[:4])}, the file "
            f"{', '.join(sorted(name for name in names if name)[:4]) or 'no sample'}: no name is in "
            "both"
        )
    return found, tuple(dict.fromkeys(notes))

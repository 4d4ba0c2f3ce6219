"""What a vendor file itself says of its wells: standards, blanks, controls, samples, dilutions.

Belongs here: one small function per program that puts the file's own words into contents. Not here: reading
the file (exports), layouts (plate_contents). Nothing is guessed: a well of which the file says nothing has no
content, a standard without its concentration is left out and told.

Gen5 writes the dilution of a sample as its part (0.5 is diluted twice) or as times (2).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from chiploop.assays.plate_contents import UNKNOWN_UNITS, Contents, WellContent, some_wells
from chiploop.assays.plate_identity import RAW_UNITS, SIGNALS
from chiploop.assays.plate_layout import Role
from chiploop.errors import FileNotValid
from chiploop.exports.export import Export
from chiploop.measurement import WellReadout

Signals = dict[str, dict[str, WellReadout]]
"""Analyte -> well -> what the reader gave."""
NOT_ANALYTES: Final = frozenset({"Total Events", "[Concentration]"})
EXPECTED: Final = (
    "Standard Expected Concentration", "Control Expected Concentration", "Expected Result",
    "Expected Concentration",
)  # fmt: skip
"""Tables of Luminex programs with the concentrations of standards and controls."""
DILUTIONS: Final = ("dilution factor", "dilution")
BY_NAME: Final[tuple[tuple[re.Pattern[str], Role], ...]] = (
    (re.compile(r"(blank|blk|background)\b|(blank|blk|background)[ _-]?[0-9]*$", re.I), "blank"),
    (re.compile(r"(std|standard|calibrator)[ _-]?[0-9]*(\b|$)", re.I), "standard"),
    (re.compile(r"(qc|ctl|ctrl|control|pos|neg)[ _-]?[0-9]*(\b|$)", re.I), "control"),
)
"""How names of wells begin, and what they are then; anything else is a sample."""
WELL_TYPES: Final[dict[str, Role]] = {
    "S": "standard", "B": "blank", "C": "control", "U": "sample",
    "Standard": "standard", "Blank": "blank", "Control": "control", "Unknown": "sample",
}  # fmt: skip
GEN5_SERIES: Final = re.compile(r"(.+):[0-9]+")
MSD_CONTROL: Final = re.compile(r"(c[0-9]+|qc|ctrl|control)", re.I)
SOFTMAX_UNIT: Final = re.compile(r"(?:value|conc\S*)\W+(\S+/\S+)", re.I)


@dataclass(frozen=True)
class FileContents:
    """What a file says of one plate."""

    contents: Contents
    notes: tuple[str, ...] = ()


def signals_of(export: Export, plate: str) -> Signals:
    """Return the raw signals of a plate; of SoftMax Pro the reduced ones that its own groups use."""
    tables = {row.statistic for row in export.rows if row.plate == plate}
    table = SIGNALS.get(export.format)
    reduced = export.format == "softmax_pro" and "Reduced" in tables
    found: Signals = {}
    for row in export.rows:
        one = row.readout
        if (
            row.plate == plate
            and one.well
            and row.statistic == ("Reduced" if reduced else table or row.statistic)
            and (reduced or one.unit in RAW_UNITS)
            and one.analyte not in NOT_ANALYTES
            and not one.analyte.startswith("Blank ")
        ):
            found.setdefault(one.analyte, {})[one.well] = one
    return found


def beads_of(export: Export, plate: str) -> dict[tuple[str, str], float]:
    """Return (analyte, well) -> beads counted; empty where the program counts none."""
    return {
        (row.readout.analyte, row.readout.well): row.readout.value
        for row in export.rows
        if row.plate == plate and row.readout.well and row.readout.unit == "beads"
        and row.statistic.lower() == "count"
    }  # fmt: skip


def role_by_name(sample: str) -> Role:
    """Return what a well is by the words that programs begin its name with; else a sample."""
    return next((role for pattern, role in BY_NAME if pattern.match(sample)), "sample")


def contents_of_export(export: Export, plate: str, signals: Signals) -> FileContents:
    """Return what the file says of the wells of a plate.

    Raises
    ------
    FileNotValid : a dilution that is none.
    """
    found = FROM_FILE.get(export.format, _of_names)(export, plate, signals)
    for contents in found.contents.values():
        for well, one in list(contents.items()):
            level = one.concentration
            if one.role in ("standard", "control") and level is not None and not level >= 0.0:
                contents[well] = one = replace(one, concentration=None)
            if one.role == "standard" and one.concentration == 0.0:
                contents[well] = replace(one, role="blank")
            if not 0.0 < one.dilution < math.inf:
                raise FileNotValid(f"{export.file}: dilution {one.dilution:g} of well {well}")
    return found


def _gen5(export: Export, plate: str, signals: Signals) -> FileContents:
    numbers = {
        row.readout.well: row.readout.value
        for row in export.rows
        if row.statistic == "Layout" and row.readout.analyte == "Conc/Dil"
    }
    samples = {w: one.sample for wells in signals.values() for w, one in wells.items()}
    dilutions = {
        well: numbers[well]
        for well, sample in samples.items()
        if well in numbers and role_by_name(sample) == "sample"
    }
    as_parts = bool(dilutions) and min(dilutions.values()) < 1.0
    if as_parts and max(dilutions.values()) > 1.0:
        raise FileNotValid(
            f"{export.file}: Conc/Dil of samples from {min(dilutions.values()):g} to "
            f"{max(dilutions.values()):g}: parts (0.5) and times (2) can not be told apart"
        )
    contents: dict[str, WellContent] = {}
    for well, sample in samples.items():
        role = role_by_name(sample)
        number = numbers.get(well)
        series = GEN5_SERIES.fullmatch(sample)
        if role == "sample":
            times = 1.0 if number is None else number
            times = 1.0 / times if as_parts and times > 0.0 else times
            named = series[1] if series else ""
            contents[well] = WellContent(role, sample, named, dilution=times)
        else:
            level = 0.0 if role == "blank" else number
            contents[well] = WellContent(role, sample, "", level)
    said = ("Conc/Dil of samples below 1 is read as their part: 0.5 is diluted twice",)
    return FileContents({a: _at(contents, wells) for a, wells in signals.items()},
                        said if as_parts else ())  # fmt: skip


def _msd_workbench(export: Export, plate: str, signals: Signals) -> FileContents:
    found: Contents = {}
    levels = _table(export, plate, "Concentration")
    dilutions = _table(export, plate, "Dilution")
    for analyte, wells in signals.items():
        of_analyte = found.setdefault(analyte, {})
        for well, one in wells.items():
            level = levels.get((analyte, well))
            times = dilutions.get((analyte, well))
            if level is None:
                role: Role = "blank" if role_by_name(one.sample) == "blank" else "sample"
                level = WellReadout("", "", "", 0.0, "") if role == "blank" else None
            else:
                role = "control" if MSD_CONTROL.match(one.sample) else "standard"
            of_analyte[well] = WellContent(
                role,
                one.sample,
                "",
                None if level is None else level.value,
                "" if level is None else level.unit,
                1.0 if times is None else times.value,
            )
    return FileContents(found)


def _softmax_pro(export: Export, plate: str, signals: Signals) -> FileContents:
    formulas = {title: formula for title, formula in export.metadata if ", column " in title}
    level_of: dict[tuple[str, str], WellReadout] = {}
    wells: dict[str, tuple[str, str]] = {}
    for row in export.rows:
        if not row.statistic.startswith("Group "):
            continue
        one = row.readout
        if formulas.get(f"{row.statistic}, column {one.analyte}") == "!SampleDescriptor":
            level_of[row.statistic, one.sample] = one
        if row.plate == plate and one.well:
            wells.setdefault(one.well, (row.statistic, one.sample))
    several = len({group for group, _ in wells.values()}) > 1
    contents = {}
    for well, (group, sample) in wells.items():
        title = group.removeprefix("Group ").strip()
        role = _role_of_group(title)
        said = level_of.get((group, sample))
        number = None if said is None or not math.isfinite(said.value) else said.value
        unit = ""
        if said is not None:
            match = SOFTMAX_UNIT.search(said.analyte)
            unit = match[1] if match else ""
        named = (
            f"{title} {sample}" if several and role == "sample" and sample.isdecimal() else sample
        )
        times = number if role == "sample" and number is not None else 1.0
        level = 0.0 if role == "blank" else None if role == "sample" else number
        contents[well] = WellContent(role, named, "", level, unit if level else "", times)
    alone = dict.fromkeys(w for of in signals.values() for w in of if w not in contents)
    notes = (f"{plate}: in no group of the file: {some_wells(list(alone))}",) if alone else ()
    return FileContents({a: _at(contents, wells_of) for a, wells_of in signals.items()}, notes)


def _role_of_group(title: str) -> Role:
    word = title.lower()
    if word.startswith(("std", "standard", "calibrator")):
        return "standard"
    if "control" in word or word.startswith("qc"):
        return "control"
    return "blank" if word.startswith(("blank", "blk")) else "sample"


def _luminex(export: Export, plate: str, signals: Signals) -> FileContents:
    """Return contents of xPONENT, INTELLIFLEX and Bio-Plex files."""
    types = {one.well: one.text for one in export.well_types if one.plate == plate}
    known = {
        (row.readout.analyte, row.readout.sample): (row.statistic, row.readout)
        for row in export.rows
        if row.statistic in EXPECTED and math.isfinite(row.readout.value)
    }
    times = {}
    for row in export.rows:
        if row.readout.analyte.lower() in DILUTIONS and row.plate in (plate, ""):
            times[row.readout.well or row.readout.sample] = row.readout.value
    found: Contents = {}
    for analyte, wells in signals.items():
        of_analyte = found.setdefault(analyte, {})
        for well, one in wells.items():
            table, level = known.get((analyte, one.sample), ("", None))
            typed = types.get(well, "")
            role = WELL_TYPES.get(typed) or WELL_TYPES.get(typed[:1])
            if role is None:
                role = role_by_name(one.sample)
                if level is not None and role == "sample":
                    role = "control" if table.startswith("Control") else "standard"
            dilution = times.get(well, times.get(one.sample, 1.0)) if role != "standard" else 1.0
            if role == "blank":
                of_analyte[well] = WellContent(role, one.sample, "", 0.0)
            else:
                of_analyte[well] = WellContent(
                    role,
                    one.sample,
                    "",
                    level.value if level is not None and role != "sample" else None,
                    level.unit if level is not None else "",
                    dilution,
                )
    return FileContents(found)


def _of_names(export: Export, plate: str, signals: Signals) -> FileContents:
    """Return contents of a program that names its wells at most."""
    found: Contents = {}
    for analyte, wells in signals.items():
        for well, one in wells.items():
            if one.sample:
                role = role_by_name(one.sample)
                level = 0.0 if role == "blank" else None
                found.setdefault(analyte, {})[well] = WellContent(role, one.sample, "", level)
    return FileContents(found)


FROM_FILE: Final[dict[str, Callable[[Export, str, Signals], FileContents]]] = {
    "gen5": _gen5,
    "msd_workbench": _msd_workbench,
    "softmax_pro": _softmax_pro,
    "luminex_xponent": _luminex,
    "luminex_intelliflex": _luminex,
    "bioplex_manager": _luminex,
}
"""Format -> how its words are read; the others name wells at most."""


def _at(
    contents: Mapping[str, WellContent], wells: Mapping[str, WellReadout]
) -> dict[str, WellContent]:
    return {well: contents[well] for well in wells if well in contents}


def _table(export: Export, plate: str, statistic: str) -> dict[tuple[str, str], WellReadout]:
    return {
        (row.readout.analyte, row.readout.well): row.readout
        for row in export.rows
        if row.plate == plate and row.statistic == statistic and math.isfinite(row.readout.value)
    }


def unit_of(contents: Sequence[WellContent]) -> str:
    """Return the unit of concentrations; empty where nobody names it."""
    units = {one.unit for one in contents if one.concentration} - UNKNOWN_UNITS
    return units.pop() if len(units) == 1 else ""

"""A plate of 6 to 1536 wells as a person laid it out: what stands in which well, as CSV or YAML.

Belongs here: the file and its rules. Not here: maps that chiploop lays out itself (plate_map), whether
an export is of this plate (plate_identity). Every problem of a file is told at once, and then nothing
of it is used.

    well,role,sample,concentration,dilution,replicate,chip,time       plate: P7
    A1,standard,S1,500 pg/mL,,1,,                                     barcode: 22M0TALA85N
    B01,blank,,,,1,,                                                  plate_wells: 96
    C1,sample,C01-36h,,4,1,C01,36 h                                   wells:
                                                                        - {well: "A1:A3", role: blank}

A column ``anchor`` marks, by ``yes``, standards outside of the range: they help the curve and are not judged.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from chiploop.errors import FileNotValid, Problem
from chiploop.exports.decoding import decode
from chiploop.exports.ladder import Standard, off_the_ladder
from chiploop.exports.wells import PLATE_SHAPES, well_index, well_name
from chiploop.study_yaml import read_yaml
from chiploop.units import UnitProblem, parse_quantity

Role = Literal[
    "standard",
    "blank",
    "sample",
    "control",
    "max_release",
    "spontaneous",
    "untreated",
    "dead",
    "compound_blank",
    "compound_full",
    "donor",
    "empty",
]
"""``donor``: the donor side of a permeability insert."""
COLUMNS: Final = (
    "well", "role", "sample", "concentration", "dilution", "replicate", "chip", "time", "anchor",
)  # fmt: skip
NEEDED: Final = ("well", "role")
ABOUT: Final = ("plate", "barcode", "plate_wells")
"""Of the whole plate: keys of a YAML file; in a CSV file columns that say the same in every line."""
LARGEST_FILE_BYTES: Final = 1_000_000
ANCHOR_WORDS: Final = {"": False, "no": False, "false": False, "yes": True, "true": True}


@dataclass(frozen=True)
class LayoutWell:
    """Content of one well."""

    well: str
    """Without leading zeros: ``A1``."""
    role: Role
    sample: str = ""
    concentration_pg_ml: float | None = None
    """Of a standard or control; 0 in a blank."""
    dilution: float = 1.0
    """Times that the sample was diluted before it went into the well."""
    replicate: int = 1
    chip: str = ""
    time_h: float | None = None
    """Hours since the study began."""
    is_anchor: bool = False
    """A standard outside of the range."""


@dataclass(frozen=True)
class PlateLayout:
    """What stands on one plate."""

    name: str
    """Empty where the file names none."""
    barcode: str
    wells: int
    contents: tuple[LayoutWell, ...]
    notes: tuple[str, ...] = ()
    """Of standards that stand off their ladder."""


class PlateLayoutNotValid(FileNotValid):
    """A plate layout that can not be used; says every problem with its line."""

    def __init__(self, path: str, problems: tuple[Problem, ...]) -> None:
        told = "\n".join(
            f"  {f'line {one.line}, ' if one.line else ''}{one.field}: {one.message}"
            + (f"; {one.hint}" if one.hint else "")
            for one in problems
        )
        super().__init__(f"{path} can not be used as a plate layout:\n{told}")
        self.path = path
        self.problems = problems


def read_plate_layout(path: Path) -> PlateLayout:
    """Return the layout of a ``.csv``, ``.yaml`` or ``.yml`` file.

    Raises
    ------
    FileNotValid : another kind of file, or `PlateLayoutNotValid` with every problem.
    """
    if path.suffix.lower() in (".yaml", ".yml"):
        entries, about, problems = _yaml_entries(path)
    elif path.suffix.lower() == ".csv":
        entries, about, problems = _csv_entries(path)
    else:
        raise FileNotValid(f"{path}: a plate layout is a .csv or .yaml file")
    wells = _plate_wells(about, problems)
    contents: dict[str, LayoutWell] = {}
    lines: dict[str, int | None] = {}
    for line, entry in entries if wells else ():
        for one in _wells_of(line, entry, wells, problems):
            if one.well in contents:
                told = f"{one.well} stands in line {lines[one.well]} already"
                problems.append(Problem(line, "well", told))
            contents[one.well] = one
            lines[one.well] = line
    if not contents and not problems:
        problems.append(Problem(None, "wells", "no well"))
    if problems:
        raise PlateLayoutNotValid(str(path), tuple(problems))
    return PlateLayout(
        _text(about.get("plate")),
        _text(about.get("barcode")),
        wells,
        tuple(contents.values()),
        _doubtful_standards(tuple(contents.values())),
    )


Entries = list[tuple[int | None, Mapping[str, Any]]]


def _yaml_entries(path: Path) -> tuple[Entries, dict[str, Any], list[Problem]]:
    text = read_yaml(path)
    problems = list(text.problems)
    about = {key: value for key, value in text.values.items() if key in ABOUT}
    for key in text.values:
        if key not in (*ABOUT, "wells"):
            problems.append(
                Problem(text.line((key,)), key, f"not known; {', '.join(ABOUT)}, wells")
            )
    listed = text.values.get("wells", [])
    entries: Entries = []
    if not isinstance(listed, list):
        problems.append(Problem(text.line(("wells",)), "wells", "a list of wells is needed"))
        listed = []
    for i, one in enumerate(listed):
        line = text.line(("wells", i))
        if isinstance(one, dict):
            entries.append((line, one))
        else:
            problems.append(Problem(line, "wells", f"read {one!r}; {{well: A1, role: blank}}"))
    return entries, about, problems


def _csv_entries(path: Path) -> tuple[Entries, dict[str, Any], list[Problem]]:
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise FileNotValid(f"{path} is larger than {LARGEST_FILE_BYTES} bytes")
        text = decode(path.read_bytes(), path.name).text
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except OSError as trouble:
        raise FileNotValid(f"{path} can not be read: {trouble.strerror or trouble}") from trouble
    except csv.Error as trouble:
        raise FileNotValid(f"{path}: {trouble}; a table with commas is needed") from trouble
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    problems = [
        Problem(1, "header", f"column {name!r} is not known or there twice; {', '.join(COLUMNS)}")
        for i, name in enumerate(header)
        if name not in (*COLUMNS, *ABOUT) or name in header[:i]
    ]
    problems += [Problem(1, "header", f"no column {n}") for n in NEEDED if n not in header]
    entries: Entries = []
    about: dict[str, Any] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            told = f"{len(row)} cells, the header has {len(header)}"
            problems.append(Problem(number, "line", told, "write 1.5 with a point"))
            continue
        entry = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
        for key in ABOUT:
            said = entry.pop(key, None)
            if said is not None and about.setdefault(key, said) != said:
                problems.append(Problem(number, key, f"{said!r}, and {about[key]!r} before"))
        entries.append((number, entry))
    return entries, about, problems


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _plate_wells(about: Mapping[str, Any], problems: list[Problem]) -> int:
    said = _text(about.get("plate_wells")) or "96"
    wells = int(said) if said.isdecimal() and len(said) < 6 else 0
    if wells not in PLATE_SHAPES:
        allowed = ", ".join(map(str, PLATE_SHAPES))
        problems.append(Problem(None, "plate_wells", f"read {said!r}; one of {allowed}"))
        return 0
    return wells


def _wells_of(
    line: int | None, entry: Mapping[str, Any], wells: int, problems: list[Problem]
) -> list[LayoutWell]:
    before = len(problems)
    said = {str(key): _text(value) for key, value in entry.items()}
    for key in said:
        if key not in COLUMNS:
            problems.append(Problem(line, key, f"not known; {', '.join(COLUMNS)}"))
    role = said.get("role", "")
    if role not in get_args(Role):
        problems.append(Problem(line, "role", f"read {role!r}; {', '.join(get_args(Role))}"))
    places = _places(said.get("well", ""), wells)
    if not places:
        rows, columns = PLATE_SHAPES[wells]
        last = well_name(rows - 1, columns - 1)
        told = f"read {said.get('well', '')!r}; A1 to {last}, or a rectangle like A1:B3"
        problems.append(Problem(line, "well", told))
    concentration = _quantity(said, "concentration", "mass_concentration_pg_ml", line, problems)
    time_h = _quantity(said, "time", "time_h", line, problems)
    dilution = _number(said, "dilution", line, problems)
    replicate = said.get("replicate", "") or "1"
    if not replicate.isdecimal() or not 1 <= int(replicate[:6]) <= 1536:
        problems.append(Problem(line, "replicate", f"read {replicate!r}; 1, 2, ..."))
    if role == "standard" and not (concentration or 0.0) > 0.0:
        hint = 'write "500 pg/mL"; a well without analyte is a blank'
        problems.append(Problem(line, "concentration", "a standard needs one above 0", hint))
    anchor = said.get("anchor", "").lower()
    if anchor not in ANCHOR_WORDS or (ANCHOR_WORDS[anchor] and role != "standard"):
        problems.append(Problem(line, "anchor", f"read {anchor!r}; yes or no, of standards alone"))
    if role == "sample" and not (said.get("chip") or said.get("sample")):
        problems.append(Problem(line, "sample", "a sample needs its name or its chip"))
    if len(problems) > before:
        return []
    return [
        LayoutWell(
            well,
            role,  # type: ignore[arg-type]
            said.get("sample", ""),
            0.0 if role == "blank" and concentration is None else concentration,
            dilution,
            int(replicate),
            said.get("chip", ""),
            time_h,
            ANCHOR_WORDS[anchor],
        )
        for well in places
    ]


def _places(text: str, wells: int) -> list[str]:
    """Return the wells of ``A1`` or of the rectangle ``A1:B3``; none where one is off the plate."""
    first, _, last = text.partition(":")
    start, end = well_index(first), well_index(last or first)
    rows, columns = PLATE_SHAPES[wells]
    if start is None or end is None or end[0] >= rows or end[1] >= columns:
        return []
    return [
        well_name(i, j) for i in range(start[0], end[0] + 1) for j in range(start[1], end[1] + 1)
    ]


def _quantity(
    said: Mapping[str, str], key: str, kind: str, line: int | None, problems: list[Problem]
) -> float | None:
    if not said.get(key):
        return None
    try:
        return parse_quantity(said[key], kind)
    except UnitProblem as problem:
        problems.append(Problem(line, key, problem.message, problem.hint))
        return None


def _number(said: Mapping[str, str], key: str, line: int | None, problems: list[Problem]) -> float:
    text = said.get(key) or "1"
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1.0 <= value <= 1e9:
        problems.append(Problem(line, key, f"read {text!r}; a number of 1 or more"))
        return 1.0
    return value


def _doubtful_standards(contents: Sequence[LayoutWell]) -> tuple[str, ...]:
    levels: dict[float, str] = {}
    for one in contents:
        if one.role == "standard" and one.concentration_pg_ml:
            levels.setdefault(one.concentration_pg_ml, one.sample or one.well)
    ladder = [Standard(label, level) for level, label in levels.items()]
    return tuple(
        f"standard {one.label} ({one.concentration:g} pg/mL) is about 1000 times off its ladder; "
        "nothing was set right"
        for one in off_the_ladder(ladder)
    )

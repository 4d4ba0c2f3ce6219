"""BioLogic EC-Lab .mpt of an impedance sweep: a counted header, then tab text.

Belongs here: this format. Not here: rules that all share (impedance_points).

    EC-Lab ASCII FILE
    Nb header lines : 61
    ...                                     settings by position; ff is the last frequency
    freq/Hz<tab>Re(Z)/Ohm<tab>-Im(Z)/Ohm    the last line of the header
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from chiploop.errors import FileNotValid
from chiploop.exports.cells import plain_number, whole_number
from chiploop.exports.csv_lines import TableLine
from chiploop.exports.decoding import DecodedText
from chiploop.exports.impedance_file import Column, PointTable, Role
from chiploop.exports.impedance_headings import CAPITALS, UNITS, columns_of
from chiploop.exports.impedance_points import refuse_cut_line
from chiploop.exports.trouble import ExportIncomplete

SIGNATURE: Final = "EC-Lab ASCII FILE"
COUNT: Final = re.compile(r"Nb header lines\s*:\s*([0-9]+)\s*")
HEADINGS: Final[dict[str, tuple[Role, float]]] = {
    "freq": ("frequency", 1.0),
    "re(z)": ("real", 1.0),
    "im(z)": ("imaginary", 1.0),
    "-im(z)": ("imaginary", -1.0),
    "|z|": ("modulus", 1.0),
    "phase(z)": ("phase", 1.0),
}
AREA: Final = re.compile(r"Electrode surface area\s*:\s*([0-9.,Ee+-]+)\s*cm")


def recognises(start: str) -> bool:
    """Return whether a file begins as one of EC-Lab's."""
    return start.lstrip("\ufeff").startswith(SIGNATURE)


def read(decoded: DecodedText, name: str) -> PointTable:
    """Return the table of points; FileNotValid with the place."""
    lines = [
        TableLine(i, tuple(line.split("\t")))
        for i, line in enumerate(decoded.text.splitlines(), start=1)
    ]
    counted = COUNT.fullmatch("\t".join(lines[1].cells)) if len(lines) > 1 else None
    n_header = whole_number(counted[1]) if counted else None
    if n_header is None or n_header < 3:
        raise FileNotValid(
            f"{name}, line 2: no 'Nb header lines : N'; read {lines[1].first[:60] if len(lines) > 1 else ''!r}"
        )
    if len(lines) < n_header:
        raise ExportIncomplete(f"{name}: {len(lines)} lines, its header alone has {n_header}")
    header = lines[n_header - 1]
    titles = list(header.cells)
    while titles and not titles[-1].strip():
        titles.pop()
    split = [title.rsplit("/", 1) if "/" in title else [title, ""] for title in titles]
    columns = columns_of(
        [one[0] for one in split], HEADINGS, [_unit(one[1]) for one in split], name, header.number
    )
    columns = tuple(replace(one, title=titles[one.index].strip()) for one in columns)
    points: list[TableLine] = []
    resting: list[TableLine] = []
    for line in lines[n_header:]:
        if line.is_blank:
            continue
        (resting if _rests(line, columns) else points).append(line)
    notes = []
    if resting:
        notes.append(
            f"{len(resting)} lines at 0 Hz, from line {resting[0].number}: no impedance there"
        )
    settings = {
        cell: line for line in lines[2 : n_header - 1] for cell in [line.first[:20].strip()]
    }
    refuse_cut_line(decoded, tuple(points), name)
    area = AREA.search("\n".join(line.first for line in lines[:n_header]))
    return PointTable(
        header_line=header.number,
        columns=columns,
        n_cells=len(titles),
        lines=tuple(points),
        expected_last_hz=_last_hz(settings),
        area_cm2=plain_number(area[1].replace(",", ".")) if area else None,
        notes=tuple(notes),
        metadata=tuple(
            (key.strip(), value.strip())
            for line in lines[2 : n_header - 1]
            for key, found, value in [line.first.partition(" : ")]
            if found and value.strip()
        ),
    )


def _unit(text: str) -> str:
    """Return the unit of a column that is read; others have many, which nobody asks for."""
    return text if text.strip() in {"Hz", "Ohm", "deg", "kOhm", "MOhm", "kHz"} else "ohm"


def _rests(line: TableLine, columns: tuple[Column, ...]) -> bool:
    """Return whether a line is no point but a moment between two: frequency and impedance are 0."""
    numbers = [
        plain_number(line.cells[c.index].strip().replace(",", "."))
        for c in columns
        if c.role in ("frequency", "real", "imaginary") and c.index < len(line.cells)
    ]
    return len(numbers) == 3 and all(number == 0.0 for number in numbers)


def _last_hz(settings: dict[str, TableLine]) -> float | None:
    """Return ff with its unit, where the technique has a single one."""
    value, unit = settings.get("ff"), settings.get("unit ff")
    if value is None or unit is None:
        return None
    words, units = value.first.split()[1:], unit.first.split()[2:]
    if len(words) != 1 or len(units) != 1:
        return None
    number = plain_number(words[0].replace(",", "."))
    factor = CAPITALS.get(units[0], UNITS.get(units[0].lower()))
    return number * factor if number and factor and number > 0.0 else None

"""PalmSens PSTrace export of an impedance sweep (EmStat and others): a table under a few lines of text.

Belongs here: this format. Not here: rules that all share (impedance_points). PSTrace writes UTF-16.

    Measurement:,Impedance Spectroscopy
    CH 3: Fixed at 31 freqs                 the number of points, where this line is there
    freq / Hz,neg. Phase / °,Idc / uA,Z / Ohm,Z' / Ohm,Z'' / Ohm,Cs / F

Under the heading Z'' often stands -Z'': the phase decides, and it is said. Lines may be wrapped in quotes,
each as a whole. Without the line "Fixed at" a file that is cut between two lines is not told from a
shorter sweep.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from chiploop.errors import FileNotValid
from chiploop.exports.cells import whole_number
from chiploop.exports.csv_lines import TableLine
from chiploop.exports.decoding import DecodedText
from chiploop.exports.impedance_file import PointTable, Role
from chiploop.exports.impedance_headings import columns_of
from chiploop.exports.impedance_points import refuse_cut_line

MARK: Final = "freq / hz"
FIXED: Final = re.compile(r"Fixed at ([0-9]+) freqs")
SEPARATORS: Final = (",", ";", "\t")
HEADINGS: Final[dict[str, tuple[Role, float]]] = {
    "freq": ("frequency", 1.0),
    "z'": ("real", 1.0),
    "z''": ("imaginary", 1.0),
    "-z''": ("imaginary", -1.0),
    "z": ("modulus", 1.0),
    "phase": ("phase", 1.0),
    "neg. phase": ("phase", -1.0),
    "-phase": ("phase", -1.0),
}


def recognises(start: str) -> bool:
    """Return whether headings of PSTrace stand in the beginning of a file."""
    return MARK in start.lower()


def read(decoded: DecodedText, name: str) -> PointTable:
    """Return the table of points; FileNotValid with the place."""
    text = [_unwrapped(line) for line in decoded.text.splitlines()]
    starts = [i for i, line in enumerate(text) if MARK in line.lower()]
    if not starts:
        raise FileNotValid(f"{name}: no headings with 'freq / Hz'")
    if len(starts) > 1:
        raise FileNotValid(
            f"{name}, line {starts[1] + 1}: headings stand again: several measurements in one file. "
            "Export them one by one."
        )
    at = starts[0]
    separator = max(SEPARATORS, key=text[at].count)
    titles = text[at].split(separator)
    while titles and not titles[-1].strip():
        titles.pop()
    split = [title.rpartition("/") if "/" in title else (title, "", "") for title in titles]
    headings = [one[0].strip() for one in split]
    units = [one[2].strip() if one[0].strip().lower() in HEADINGS else "" for one in split]
    columns = tuple(
        replace(one, sign_by_phase=one.role == "imaginary" and one.factor > 0.0)
        for one in columns_of(headings, HEADINGS, units, name, at + 1)
    )
    lines: list[TableLine] = []
    for i, line in enumerate(text[at + 1 :], start=at + 2):
        if not line.strip(separator + " \t") or ":" in line.split(separator)[0]:
            break
        lines.append(TableLine(i, tuple(line.split(separator))))
    below = at + 1 + len(lines)
    rest = [i for i in range(below, len(text)) if text[i].strip(separator + " \t")]
    if not rest:
        refuse_cut_line(decoded, tuple(lines), name)
    fixed = FIXED.search(text[at - 1]) if at else None
    notes = (f"line {rest[0] + 1}: text below the table is not read",) if rest else ()
    return PointTable(
        header_line=at + 1,
        columns=columns,
        n_cells=len(titles),
        lines=tuple(lines),
        expected_points=whole_number(fixed[1]) if fixed else None,
        notes=notes,
    )


def _unwrapped(line: str) -> str:
    """Return a line without the quotes around it as a whole."""
    bare = line.strip()
    wrapped = len(bare) > 1 and bare[0] == bare[-1] == '"' and '"' not in bare[1:-1]
    return bare[1:-1] if wrapped else line

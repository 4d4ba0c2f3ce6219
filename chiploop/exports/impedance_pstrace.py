"""PalmSens PSTrace export of an impedance sweep (EmStat and others): a table under a few lines of text.

Belongs here: this format. Not here: rules that all share (impedance_points). PSTrace writes UTF-16.

    freq / Hz,neg. Phase / °,Idc / uA,Z / Ohm,Z' / Ohm,-Z'' / Ohm,Cs / F

Some versions write -Z'' under the heading Z''. The phase then contradicts it, and the file is refused
with that reason; ``--imaginary negated`` says that a person has looked. The file names no number of
points: a file that is cut between two lines is not told from a shorter sweep.
"""

from __future__ import annotations

from typing import Final

from chiploop.errors import FileNotValid
from chiploop.exports.csv_lines import TableLine
from chiploop.exports.decoding import DecodedText
from chiploop.exports.impedance_file import PointTable, Role
from chiploop.exports.impedance_headings import columns_of
from chiploop.exports.impedance_points import refuse_cut_line

MARK: Final = "freq / hz"
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
    text = decoded.text.splitlines()
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
    columns = columns_of(headings, HEADINGS, units, name, at + 1)
    lines = []
    for i, line in enumerate(text[at + 1 :], start=at + 2):
        if not line.strip(separator + " \t"):
            break
        lines.append(TableLine(i, tuple(line.split(separator))))
    below = at + 1 + len(lines)
    rest = [i for i in range(below, len(text)) if text[i].strip(separator + " \t")]
    if not rest:
        refuse_cut_line(decoded, tuple(lines), name)
    notes = (f"line {rest[0] + 1}: text below the table is not read",) if rest else ()
    return PointTable(
        header_line=at + 1,
        columns=columns,
        n_cells=len(titles),
        lines=tuple(lines),
        notes=notes,
    )

"""A plain CSV of an impedance sweep, with names that say unit and sign.

Belongs here: this format. Not here: rules that all share (impedance_points).

    frequency_hz,z_real_ohm,z_imag_ohm            capacitive: z_imag_ohm is below 0
    frequency_hz,z_real_ohm,neg_z_imag_ohm        capacitive: neg_z_imag_ohm is above 0
    frequency_hz,z_abs_ohm,phase_deg              capacitive: phase_deg is below 0

``time_s`` may stand there too, and ``status``, where any number but 0 marks a bad point. Lines that
begin with # are comments. ``# points: 31`` declares how many there are; without it a file that is cut
between two lines is not told from a shorter sweep.
"""

from __future__ import annotations

import re
from typing import Final

from chiploop.errors import FileNotValid
from chiploop.exports.cells import plain_number, whole_number
from chiploop.exports.csv_lines import TableLine, read_lines
from chiploop.exports.decoding import DecodedText
from chiploop.exports.impedance_file import PointTable, Role
from chiploop.exports.impedance_headings import columns_of
from chiploop.exports.impedance_points import refuse_cut_line

HEADINGS: Final[dict[str, tuple[Role, float]]] = {
    "frequency_hz": ("frequency", 1.0),
    "z_real_ohm": ("real", 1.0),
    "z_imag_ohm": ("imaginary", 1.0),
    "neg_z_imag_ohm": ("imaginary", -1.0),
    "z_abs_ohm": ("modulus", 1.0),
    "phase_deg": ("phase", 1.0),
}
BESIDE: Final = ("time_s", "status")
POINTS: Final = re.compile(r"#\s*points\s*:\s*([0-9]+)\s*")


def recognises(start: str) -> bool:
    """Return whether the first line that is no comment names frequency_hz."""
    lines = [line for line in start.lstrip("\ufeff").splitlines() if line.strip()]
    header = next((line for line in lines if not line.lstrip('" ').startswith("#")), "")
    return "frequency_hz" in re.split(r"[,;\t]", header.replace('"', "").replace(" ", "").lower())


def read(decoded: DecodedText, name: str) -> PointTable:
    """Return the table of points; FileNotValid with the place."""
    lines = [line for line in read_lines(decoded.text, name) if not line.is_blank]
    comments = [",".join(line.cells) for line in lines if line.first.startswith("#")]
    lines = [line for line in lines if not line.first.startswith("#")]
    if not lines:
        raise FileNotValid(f"{name}: no headings; they are frequency_hz,z_real_ohm,z_imag_ohm")
    header, rows = lines[0], tuple(lines[1:])
    titles = [cell.strip().lower() for cell in header.cells]
    for title in titles:
        if title not in HEADINGS and title not in BESIDE:
            raise FileNotValid(
                f"{name}, line {header.number}: column {title!r} is not known; columns: "
                f"{', '.join((*HEADINGS, *BESIDE))}"
            )
    columns = columns_of(titles, HEADINGS, [""] * len(titles), name, header.number)
    long = next((line for line in rows if len(line.cells) > len(titles)), None)
    if long is not None:
        raise FileNotValid(
            f"{name}, line {long.number}: {len(long.cells)} cells, the headings are {len(titles)}; a "
            "decimal comma is not read: write 1.23"
        )
    refuse_cut_line(decoded, rows, name)
    declared = [found for one in comments if (found := POINTS.fullmatch(one.strip()))]
    return PointTable(
        header_line=header.number,
        columns=columns,
        n_cells=len(titles),
        lines=rows,
        marked=_marked(rows, titles, name),
        expected_points=whole_number(declared[0][1]) if declared else None,
    )


def _marked(rows: tuple[TableLine, ...], titles: list[str], name: str) -> tuple[int, ...]:
    if "status" not in titles:
        return ()
    at = titles.index("status")
    marked = []
    for row in rows:
        number = plain_number(row.cells[at].strip()) if at < len(row.cells) else None
        if number is None:
            raise FileNotValid(f"{name}, line {row.number}: status is a number, 0 for a good point")
        if number != 0.0:
            marked.append(row.number)
    return tuple(marked)

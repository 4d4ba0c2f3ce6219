"""Gamry Framework .DTA of an impedance sweep: tab text, the table ZCURVE.

Belongs here: this format. Not here: rules that all share (impedance_points).

    EXPLAIN
    TAG<tab>EISPOT                          settings: name, type, value, label
    FREQFINAL<tab>QUANT<tab>2.0E-002<tab>...
    ZCURVE<tab>TABLE[<tab>number]           headings, units, then lines that begin with a tab
    EXPERIMENTABORTED<tab>TOGGLE<tab>T      behind the table, where the run was stopped
"""

from __future__ import annotations

from typing import Final

from chiploop.errors import FileNotValid
from chiploop.exports.cells import plain_number, whole_number
from chiploop.exports.csv_lines import TableLine
from chiploop.exports.decoding import DecodedText
from chiploop.exports.impedance_file import PointTable, Role
from chiploop.exports.impedance_headings import columns_of
from chiploop.exports.impedance_points import refuse_cut_line
from chiploop.exports.trouble import ExportIncomplete

HEADINGS: Final[dict[str, tuple[Role, float]]] = {
    "freq": ("frequency", 1.0),
    "zreal": ("real", 1.0),
    "zimag": ("imaginary", 1.0),
    "zmod": ("modulus", 1.0),
    "zphz": ("phase", 1.0),
}
KEPT: Final = ("TITLE", "DATE", "TIME", "PSTAT", "AREA", "VAC")


def recognises(start: str) -> bool:
    """Return whether a file begins as one of Gamry's."""
    return start.lstrip("\ufeff\r\n ").startswith("EXPLAIN")


def read(decoded: DecodedText, name: str) -> PointTable:
    """Return the table of points; FileNotValid with the place."""
    lines = [
        TableLine(i, tuple(line.split("\t")))
        for i, line in enumerate(decoded.text.splitlines(), start=1)
    ]
    starts = [i for i, line in enumerate(lines) if line.cells[:2] == ("ZCURVE", "TABLE")]
    if not starts:
        raise ExportIncomplete(
            f"{name}: no table ZCURVE in {len(lines)} lines; no impedance sweep, or the file is cut"
        )
    if len(starts) > 1:
        raise FileNotValid(
            f"{name}, line {lines[starts[1]].number}: a second table ZCURVE; one sweep a file is read"
        )
    start = starts[0]
    if len(lines) < start + 3:
        raise ExportIncomplete(f"{name}, line {start + 1}: the table ZCURVE has no headings")
    heading, unit = lines[start + 1], lines[start + 2]
    units = (*unit.cells, *[""] * max(len(heading.cells) - len(unit.cells), 0))
    columns = columns_of(heading.cells, HEADINGS, units[: len(heading.cells)], name, heading.number)
    end = start + 3
    while end < len(lines) and lines[end].cells[0] == "" and not lines[end].is_blank:
        end += 1
    points = tuple(lines[start + 3 : end])
    if end == len(lines):
        refuse_cut_line(decoded, points, name)
    settings = {line.first: line for line in lines[:start] + lines[end:] if len(line.cells) >= 3}
    aborted = settings.get("EXPERIMENTABORTED")
    flags: tuple[str, ...] = ()
    if aborted is not None and aborted.cells[2].strip() == "T":
        flags = (f"line {aborted.number}: the experiment was aborted",)
    count = lines[start].cells[2].strip() if len(lines[start].cells) > 2 else ""
    return PointTable(
        header_line=heading.number,
        columns=columns,
        n_cells=len(heading.cells),
        lines=points,
        expected_points=whole_number(count) if count else None,
        expected_last_hz=None if flags else _setting(settings, "FREQFINAL"),
        area_cm2=_setting(settings, "AREA"),
        flags=flags,
        metadata=tuple((key, settings[key].cells[2]) for key in KEPT if key in settings),
    )


def _setting(settings: dict[str, TableLine], key: str) -> float | None:
    line = settings.get(key)
    value = plain_number(line.cells[2].strip().replace(",", ".")) if line else None
    return value if value is not None and value > 0.0 else None

"""Scribner ZPlot .z of an impedance sweep, in both its forms.

Belongs here: this format. Not here: rules that all share (impedance_points).

    ZPLOT2 ASCII                            "ZPlotW Data File: Version 3.2c"
      Data Points:  56                      79
      Freq(Hz)<tab>Ampl ... Z'(a)<tab>Z''(b)  "  Freq(Hz)  Ampl  Bias  Time(Sec)  Z'(a)  Z''(b) ..."
    End Comments                            lines with commas
    lines with tabs
"""

from __future__ import annotations

import re
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
    "z'": ("real", 1.0),
    "z''": ("imaginary", 1.0),
}
END: Final = "End Comments"
SETTING: Final = re.compile(r"\s*([A-Za-z][^:]*?)\s*:\s*(\S.*?)\s*")
TITLE: Final = re.compile(r"([^()]+?)\s*(?:\(([^()]*)\))?")


def recognises(start: str) -> bool:
    """Return whether a file begins as one of ZPlot's."""
    return (
        start.lstrip("\ufeff").lstrip('"').lower().startswith(("zplot2 ascii", "zplotw data file"))
    )


def read(decoded: DecodedText, name: str) -> PointTable:
    """Return the table of points; FileNotValid with the place."""
    text = decoded.text.splitlines()
    at = next((i for i, line in enumerate(text) if "Freq(Hz)" in line), None)
    if at is None:
        raise ExportIncomplete(f"{name}: no headings with Freq(Hz); the file may be cut")
    if any("Freq(Hz)" in line for line in text[at + 1 :]):
        raise FileNotValid(f"{name}: headings stand twice; one sweep a file is read")
    quoted = text[0].lstrip("\ufeff").startswith('"')
    titles = text[at].strip().strip('"').split()
    split = [TITLE.fullmatch(title) for title in titles]
    headings = [found[1] if found else title for found, title in zip(split, titles, strict=True)]
    units = [(found[2] or "") if found and found[1].lower() in HEADINGS else "" for found in split]
    columns = columns_of(headings, HEADINGS, units, name, at + 1)
    first = at + 1
    if not quoted:
        if len(text) <= first or text[first].strip() != END:
            raise ExportIncomplete(f"{name}, line {at + 2}: no {END!r} below the headings")
        first += 1
    separator = "," if quoted else "\t"
    lines = tuple(
        TableLine(i, tuple(line.split(separator)))
        for i, line in enumerate(text[first:], start=first + 1)
        if line.strip()
    )
    refuse_cut_line(decoded, lines, name)
    settings = {found[1]: found[2] for line in text[:at] if (found := SETTING.fullmatch(line))}
    count = settings.get("Data Points", text[at - 1].strip() if quoted and at else "")
    last = plain_number(settings.get("vs Freq-Final", "").replace(",", "."))
    area = plain_number(settings.get("Surface Area", "").replace(",", "."))
    return PointTable(
        header_line=at + 1,
        columns=columns,
        n_cells=len(titles),
        lines=lines,
        marked=(),
        expected_points=whole_number(count),
        expected_last_hz=last if last and last > 0.0 else None,
        area_cm2=area if area and area > 0.0 else None,
        metadata=tuple((key, settings[key]) for key in ("Date", "Time") if key in settings),
    )

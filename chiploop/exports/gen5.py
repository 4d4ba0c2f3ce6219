"""BioTek (Agilent) Gen5 text export, tabs between cells. Seen: Gen5 3.12, end point, one plate.

Belongs here: the sections of this file and what its numbers are. Not here: its tables of wells
(gen5_tables), agreement of its numbers (gen5_checks).
A file is: named values; "Procedure Details" with every read; "Layout" (what stands where); "Results"
(a table of all wells, one line per read and row); fits of curves. It has no end mark: the tables are
counted against the plate and the reads that the procedure declares. Kinetic, spectral and area
reads, and several plates in one file, are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from chiploop.errors import FileNotValid
from chiploop.exports.cells import Cell, NumberStyle, number_style, read_cell, whole_number
from chiploop.exports.decoding import DecodedText, refuse_open_end
from chiploop.exports.export import ExportRow, FileRows, PlateShape
from chiploop.exports.gen5_checks import check_blanks, check_group_means
from chiploop.exports.gen5_tables import GridLine, read_grid
from chiploop.exports.ladder import flag_ladder
from chiploop.exports.softmax_pro_lines import Line
from chiploop.exports.times import FileTime
from chiploop.exports.trouble import ExportIncomplete
from chiploop.exports.wells import PLATE_SHAPES, well_name
from chiploop.measurement import WellReadout

PLATE_TYPE: Final = re.compile(r"([0-9]+) WELL PLATE.*", re.IGNORECASE)
MODES: Final = {"Absorbance": "OD", "Fluorescence": "RFU", "Luminescence": "RLU"}
FILTERS: Final = re.compile(r"Excitation:\s*(\S+),\s*Emission:\s*(\S+)")
WELL_ID, CONCENTRATION = "Well ID", "Conc/Dil"
STANDARD: Final = re.compile(r"STD([0-9]{1,4})")
BACK: Final = "[Concentration]"


@dataclass(frozen=True)
class Read:
    """One read of the procedure."""

    title: str
    mode: str
    wavelengths: tuple[str, ...]
    """``630``, or ``360/40,460/40`` for a pair of filters."""

    def labels(self, wavelength: str) -> tuple[str, ...]:
        """Return the labels under which one wavelength may stand in the results."""
        return tuple(f"{title}:{wavelength}" for title in (self.title,) if title) or (wavelength,)


def recognises(start: str) -> bool:
    """Return True for the first characters of a Gen5 text export."""
    text = start.lstrip("\ufeff").lstrip()
    return text.startswith("Software Version\t")


def read(decoded: DecodedText, name: str) -> FileRows:
    """Return every number of the file.

    Raises
    ------
    FileNotValid : see ``chiploop.exports.read_export``.
    """
    refuse_open_end(decoded, name)
    lines = [Line(i + 1, text) for i, text in enumerate(decoded.text.splitlines())]
    sections = _sections(lines, name)
    named = _named(sections[""], name)
    wells = _plate_size(sections["Procedure Details"], name)
    reads = _reads(sections["Procedure Details"], name)
    rows_, columns = PLATE_SHAPES[wells]
    style = number_style(
        (cell for key, part in sections.items() if key for line in part for cell in _cells(line)),
        name,
    )
    layout = read_grid(sections.get("Layout", []), wells, "Layout", name)
    results = read_grid(sections["Results"], wells, "Results", name)
    curves = [key for key in sections if key.endswith("Fitting Results")]
    if not curves and any(line.label == BACK for line in results):
        raise ExportIncomplete(
            f"{name}: incomplete: there are back-calculated concentrations, and no 'Fitting "
            f"Results' after them (the file ends at line {lines[-1].number}). Export it again."
        )
    modes = {read.mode for read in reads}
    mode = modes.pop() if len(modes) == 1 else "several"
    title = named.get("Plate Number", "")
    shape = PlateShape(
        title, wells, rows_, columns, _nanometres(reads), read_mode=mode, unit=MODES.get(mode, "")
    )
    found = [
        *_rows("Layout", [g for g in layout if g.label == CONCENTRATION], layout, (), shape, style,
               name),
        *_rows("Results", results, layout, reads, shape, style, name),
    ]  # fmt: skip
    notes = _unread(reads, results)
    check_blanks(found, name)
    check_group_means(found, name)
    standards = sorted(
        {one.sample for one in (row.readout for row in found) if STANDARD.fullmatch(one.sample)},
        key=lambda sample: int(sample[3:]),
    )
    found, said = flag_ladder(found, ("Layout", CONCENTRATION), ("Results", BACK), standards)
    notes += said
    if style == "comma":
        notes.append("numbers are written with a decimal comma, in the whole file")
    metadata = [*named.items()]
    for key in curves:
        metadata += _curve(key, sections[key], style, name)
    times = (FileTime("read", f"{named.get('Date', '')} {named.get('Time', '')}".strip()),)
    return FileRows(tuple(found), (shape,), tuple(metadata), tuple(notes), times)


def _sections(lines: Sequence[Line], name: str) -> dict[str, list[Line]]:
    """Return the lines by section; "" is what stands before the first."""
    sections: dict[str, list[Line]] = {"": []}
    current = sections[""]
    order = []
    for line in lines:
        text = line.text.strip()
        alone = text and len([cell for cell in line.cells if cell.strip()]) == 1
        flush = not line.text.startswith("\t")
        opens = text in ("Procedure Details", "Layout", "Results") or (
            text.endswith("Fitting Results") and flush
        )
        if alone and opens:
            if text in sections:
                raise FileNotValid(
                    f"{name}, line {line.number}: section '{text}' is there twice; files with one "
                    "plate are read. Export one file per plate."
                )
            current = sections.setdefault(text, [])
            order.append(text)
        elif text:
            current.append(line)
    missing = [key for key in ("Procedure Details", "Results") if key not in sections]
    if missing or not sections["Results"]:
        raise ExportIncomplete(
            f"{name}: incomplete: no section '{(missing or ['Results'])[0]}' (the file ends at "
            f"line {lines[-1].number if lines else 0}). The copy was cut short, or the export "
            "leaves it out; it is needed to count the wells."
        )
    wanted = [key for key in ("Procedure Details", "Layout", "Results") if key in sections]
    if order[: len(wanted)] != wanted:
        raise FileNotValid(f"{name}: the sections stand in the order {', '.join(order)}.")
    return sections


def _named(lines: Sequence[Line], name: str) -> dict[str, str]:
    named: dict[str, str] = {}
    for line in lines:
        key = line.cell(0).strip().rstrip(":")
        if key in named:
            raise FileNotValid(
                f"{name}, line {line.number}: '{key}' is there twice; files with one plate are "
                "read. Export one file per plate."
            )
        named[key] = " ".join(cell.strip() for cell in line.cells[1:] if cell.strip())
    return named


def _plate_size(lines: Sequence[Line], name: str) -> int:
    texts = [line.cell(1).strip() for line in lines if line.cell(0).strip() == "Plate Type"]
    match = PLATE_TYPE.fullmatch(texts[0]) if len(texts) == 1 else None
    wells = int(match[1][:6]) if match else 0
    if wells not in PLATE_SHAPES:
        raise FileNotValid(
            f"{name}: plate type {' and '.join(repr(text) for text in texts) or 'not named'}; one "
            f"plate of {', '.join(map(str, PLATE_SHAPES))} wells is read."
        )
    return wells


def _reads(lines: Sequence[Line], name: str) -> tuple[Read, ...]:
    reads: list[tuple[int, str, list[str]]] = []
    for line in lines:
        first = line.cell(0).strip()
        if first == "Read":
            reads.append((line.number, line.cell(1).strip(), []))
        elif not first and reads:
            reads[-1][2].append(" ".join(cell.strip() for cell in line.cells[1:] if cell.strip()))
        elif "kinetic" in first.lower():
            raise FileNotValid(f"{name}, line {line.number}: a kinetic read; end points are read.")
    if not reads:
        raise FileNotValid(f"{name}: the procedure has no read.")
    found = []
    for number, title, details in reads:
        kinds = [title, *details]
        kind = next((one for one in kinds if one.split(" ")[0] in MODES), "")
        mode, _, how = kind.partition(" ")
        if how != "Endpoint":
            raise FileNotValid(
                f"{name}, line {number}: a read of kind '{kind}'; end points of "
                f"{', '.join(MODES)} are read."
            )
        wavelengths: list[str] = []
        for text in details:
            if text.startswith("Wavelengths:"):
                wavelengths += [w.strip() for w in text.partition(":")[2].split(",") if w.strip()]
            filters = FILTERS.search(text)
            if filters:
                wavelengths.append(f"{filters[1]},{filters[2]}")
        found.append(Read("" if title == kind else title, mode, tuple(wavelengths)))
    return tuple(found)


def _cells(line: Line) -> Iterator[Cell]:
    for cell in line.numbered():
        if cell.column > 1 and ":" not in cell.text:
            yield cell


def _nanometres(reads: Sequence[Read]) -> tuple[int, ...]:
    return tuple(int(w) for read in reads for w in read.wavelengths if whole_number(w))


def _unread(reads: Sequence[Read], results: Sequence[GridLine]) -> list[str]:
    labels = {line.label for line in results}
    return [
        f"the procedure reads {read.labels(w)[0]}, and its numbers are not in the file"
        for read in reads
        for w in read.wavelengths
        if not labels & {*read.labels(w), w}
    ]


def _rows(
    statistic: str,
    lines: Sequence[GridLine],
    layout: Sequence[GridLine],
    reads: Sequence[Read],
    shape: PlateShape,
    style: NumberStyle,
    name: str,
) -> Iterator[ExportRow]:
    names = {
        well_name(line.row, j): cell.text.strip()
        for line in layout
        if line.label == WELL_ID
        for j, cell in enumerate(line.cells)
    }
    units: dict[str, tuple[str, int | None]] = {}
    for one in reads:
        for wavelength in one.wavelengths:
            nanometres = whole_number(wavelength)
            for label in (*one.labels(wavelength), wavelength):
                units[label] = (MODES[one.mode], nanometres)
                units[f"Blank {label}"] = (MODES[one.mode], None)
    for line in lines:
        unit, nanometres = units.get(line.label, ("as exported", None))
        for j, cell in enumerate(line.cells):
            if statistic == "Layout" and not cell.text.strip():
                continue  # a blank has no concentration
            value = read_cell(cell, name, style)
            well = well_name(line.row, j)
            yield ExportRow(
                shape.name,
                statistic,
                cell.line,
                cell.column,
                WellReadout(
                    well,
                    names.get(well, ""),
                    line.label,
                    value.value,
                    unit,
                    value.censoring,
                    value.lower,
                    value.upper,
                    value.qc,
                    value.reasons,
                ),
                nanometres,
            )


def _curve(
    title: str, lines: Sequence[Line], style: NumberStyle, name: str
) -> list[tuple[str, str]]:
    header = [cell.strip() for cell in lines[0].cells] if lines else []
    if len(lines) < 2 or header[:2] != ["Curve Name", "Curve Formula"]:
        where = lines[0].number if lines else 0
        raise ExportIncomplete(
            f"{name}, line {where}: incomplete: '{title}' has no curve. Export the file again."
        )
    said = []
    for line in lines[1:]:
        cells = [cell.strip() for cell in line.cells]
        if len(cells) != len(header):
            raise FileNotValid(
                f"{name}, line {line.number}: {len(cells)} cells where '{title}' has "
                f"{len(header)}; the file is cut, or holds more than this format."
            )
        for i, text in enumerate(cells[2:], start=2):
            read_cell(Cell(line.number, i + 1, text), name, style)
        said += [(f"{title}: {key}", text) for key, text in zip(header, cells, strict=True)]
    return said

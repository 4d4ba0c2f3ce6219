"""Lines of wells of an INTELLIFLEX export: is every one there, once, and is the file whole?

Belongs here: end mark, widths, wells and their numbering. Not here: numbers (luminex_intelliflex).
The file declares no number of lines. What shows a line that is missing: the numbering of the wells
by type (U1, U2, ...), and how many wells the plate has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chiploop.errors import FileNotValid
from chiploop.exports.csv_lines import TableLine
from chiploop.exports.trouble import ExportIncomplete
from chiploop.exports.wells import PLATE_SHAPES, same_well

END_MARK: Final = "--DOCUMENT SIGNATURE--"
SERIAL_LINE: Final = re.compile(r"Instrument Serial Number:\s*(\S+)")
SIGNATURE: Final = re.compile(r"[0-9A-Za-z+/=]+")
WELL_TYPE: Final = re.compile(r"([A-Z]+)([0-9]{1,6})")
PLATE_TYPE: Final = re.compile(r"([0-9]{1,6}) Well Plate.*", re.IGNORECASE)
GOOD_STATES: Final = frozenset({"ok", "complete", "completed", "success", "read", "passed"})
FRONT: Final = (
    "MODEL NAME", "INSTRUMENT TYPE", "SERIAL NUMBER", "SOFTWARE VERSION", "CALIBRATION STATE",
    "CALIBRATION LOT", "CALIBRATION LOT EXPIRATION", "CALIBRATION LOT EXPIRED",
    "CALIBRATION TIMESTAMP", "VERIFICATION STATE", "VERIFICATION LOT",
    "VERIFICATION LOT EXPIRATION", "VERIFICATION LOT EXPIRED", "VERIFICATION TIMESTAMP",
    "FLUIDICS VER STATE", "FLUIDICS VER TIMESTAMP", "FLUIDICS 1 VER LOT",
    "FLUIDICS 1 VER LOT EXPIRATION", "FLUIDICS 1 VER LOT EXPIRED", "FLUIDICS 2 VER LOT",
    "FLUIDICS 2 VER LOT EXPIRATION", "FLUIDICS 2 VER LOT EXPIRED", "PLATE NAME", "PLATE STATUS",
    "PLATE START", "PLATE END", "ACTIVE USER", "AUTHORIZED USER", "SIGNING USER",
    "PLATE TYPE NAME", "WELL LOCATION", "WELL TYPE", "WELL STATUS", "SAMPLE ID", "DILUTION",
    "PROTOCOL NAME", "PROTOCOL VERSION", "PANEL NAME", "UPTAKE VOLUME", "BEAD TYPE",
    "WELL ACQUISITION START", "WELL ACQUISITION END", "TOTAL ACTIVE EVENTS",
    "TOTAL CLASSIFIED EVENTS", "TOTAL GATED EVENTS", "TOTAL EVENTS", "COUNT %CV",
)  # fmt: skip
"""Columns before the bead regions, in the order of the file."""
NEEDED: Final = (
    "SERIAL NUMBER", "PLATE NAME", "PLATE STATUS", "PLATE TYPE NAME", "WELL LOCATION", "WELL TYPE",
    "WELL STATUS", "SAMPLE ID",
)  # fmt: skip
SAME_IN_ALL: Final = ("SERIAL NUMBER", "PLATE TYPE NAME", "SOFTWARE VERSION")


@dataclass(frozen=True)
class WellLine:
    """One line of numbers, and the well that it is of."""

    line: TableLine
    plate: str
    plate_wells: int
    well: str
    sample: str
    remark: str
    """What the instrument says of the well; empty for a good one."""


def well_lines(
    lines: Sequence[TableLine], header: tuple[str, ...], first_group: int, name: str
) -> tuple[tuple[WellLine, ...], tuple[str, ...]]:
    """Return the lines of wells and what a person should know of them.

    Raises
    ------
    FileNotValid : no end mark, a line that is cut, moved columns, a well twice with other numbers.
    """
    notes = _check_front(header[:first_group], lines[0], name)
    end = next((i for i, line in enumerate(lines) if line.first == END_MARK), None)
    if end is None:
        raise ExportIncomplete(
            f"{name}: incomplete: the file ends at line {lines[-1].number} without its end mark "
            f"('{END_MARK}'). The copy or the export was cut short; export it again."
        )
    serial = _signed_serial(lines[end + 1 :], name)
    found: list[WellLine] = []
    seen: dict[tuple[str, str], WellLine] = {}
    for line in lines[1:end]:
        if line.is_blank:
            continue
        well = _well_line(line, header, serial, name)
        other = seen.get((well.plate, well.well))
        if other is None:
            seen[well.plate, well.well] = well
            found.append(well)
        elif other.line.cells == line.cells:
            notes.append(
                f"line {line.number} repeats line {other.line.number} to the last character "
                f"(well {well.well}); it is read once"
            )
        else:
            raise FileNotValid(
                f"{name}, line {line.number}: well {well.well} of plate {well.plate} is in line "
                f"{other.line.number} already, with other content. Duplicate rows are refused."
            )
    if not found:
        raise FileNotValid(f"{name}: no line of a well between header and end mark.")
    for heading in SAME_IN_ALL:
        if heading in header and len({w.line.cells[header.index(heading)] for w in found}) > 1:
            raise FileNotValid(f"{name}: '{heading}' is not the same in every line.")
    for plate in dict.fromkeys(well.plate for well in found):
        notes += _gaps([well for well in found if well.plate == plate], header, plate)
    return tuple(found), tuple(notes)


def _check_front(front: tuple[str, ...], line: TableLine, name: str) -> list[str]:
    lacking = [heading for heading in NEEDED if heading not in front]
    if lacking:
        raise FileNotValid(f"{name}, line {line.number}: no column {', '.join(lacking)}.")
    known = tuple(heading for heading in front if heading in FRONT)
    if known != tuple(heading for heading in FRONT if heading in known):
        raise FileNotValid(
            f"{name}, line {line.number}: the columns before the bead regions are not in the "
            "order of the program; columns were moved. Export it again."
        )
    strange = [heading for heading in front if heading not in FRONT]
    return [f"column '{heading}' is not known; it is kept as text" for heading in strange]


def _signed_serial(lines: Sequence[TableLine], name: str) -> str:
    texts = [line.first for line in lines if not line.is_blank]
    serial = SERIAL_LINE.fullmatch(texts[0]) if texts else None
    signed = len(texts) > 2 and texts[1].rstrip() == "Data Signature:"
    signature = texts[2:]
    whole = len({len(text) for text in signature}) == 1
    if serial is None or not signed or not whole:
        raise ExportIncomplete(
            f"{name}: incomplete: after '{END_MARK}' serial number, 'Data Signature:' and a "
            "signature in lines of one length are expected. The copy was cut short."
        )
    if not all(SIGNATURE.fullmatch(text) for text in signature):
        raise FileNotValid(f"{name}: text after the signature; one export per file is read.")
    return serial[1]


def _well_line(line: TableLine, header: tuple[str, ...], serial: str, name: str) -> WellLine:
    if len(line.cells) < len(header) or any(c.strip() for c in line.cells[len(header) :]):
        raise FileNotValid(
            f"{name}, line {line.number}: {len(line.cells)} cells where the header has "
            f"{len(header)}; the line is cut, or a number is written with a comma."
        )
    said = {heading: line.cells[header.index(heading)].strip() for heading in NEEDED}
    if said["SERIAL NUMBER"] != serial:
        raise FileNotValid(
            f"{name}, line {line.number}: serial number '{said['SERIAL NUMBER']}', and the end "
            f"mark is signed by '{serial}'."
        )
    plate_type = PLATE_TYPE.fullmatch(said["PLATE TYPE NAME"])
    wells = int(plate_type[1]) if plate_type else 0
    if wells not in PLATE_SHAPES:
        raise FileNotValid(
            f"{name}, line {line.number}: plate type '{said['PLATE TYPE NAME']}'; plates of "
            f"{', '.join(map(str, PLATE_SHAPES))} wells are read."
        )
    well = same_well(said["WELL LOCATION"], wells, f"{name}, line {line.number}")
    if WELL_TYPE.fullmatch(said["WELL TYPE"]) is None:
        raise FileNotValid(
            f"{name}, line {line.number}: well type '{said['WELL TYPE']}'; types like U1, S1 or "
            "B1 are read."
        )
    state = said["WELL STATUS"]
    remark = "" if state.lower() in GOOD_STATES else f"instrument: {state.lower() or 'no status'}"
    return WellLine(line, said["PLATE NAME"], wells, well, said["SAMPLE ID"], remark)


def _gaps(wells: Sequence[WellLine], header: tuple[str, ...], plate: str) -> list[str]:
    notes = []
    status = wells[0].line.cells[header.index("PLATE STATUS")].strip()
    if len(wells) != wells[0].plate_wells:
        notes.append(
            f"plate {plate}: {len(wells)} of {wells[0].plate_wells} wells (status {status}); the "
            "file does not say how many it should hold"
        )
    numbers: dict[str, set[int]] = {}
    for well in wells:
        match = WELL_TYPE.fullmatch(well.line.cells[header.index("WELL TYPE")].strip())
        assert match is not None
        numbers.setdefault(match[1], set()).add(int(match[2]))
    for letter, found in numbers.items():
        lacking = [n for n in range(1, min(max(found), 2000)) if n not in found]
        if lacking:
            notes.append(
                f"plate {plate}: wells {letter}1 to {letter}{max(found)} lack "
                f"{', '.join(f'{letter}{n}' for n in lacking[:8])}: a line may be missing"
            )
    return notes

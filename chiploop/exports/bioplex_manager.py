"""Bio-Rad Bio-Plex Manager XML export, version 6. UNTRIED: no real file is among the tests.

Belongs here: the elements of this file, as known from a public example of version 6.2. Not here: XML
(safe_xml), curves (assays).
A file is: PlateDimensions; StandardCurves; Samples, with Blanks, Standards, Controls and Unknowns; each
sample has a summary per analyte and its MemberWells with one reading per analyte. The summary repeats
the mean of the readings and their number: a reading that is missing or altered is seen. The end of the
root element is the end mark.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from chiploop.errors import FileNotValid
from chiploop.exports.cells import Cell, CellValue, demand_decimal_point, read_cell
from chiploop.exports.decoding import DecodedText
from chiploop.exports.export import ExportRow, FileRows, PlateShape, WellType
from chiploop.exports.ladder import flag_ladder
from chiploop.exports.safe_xml import Element, parse
from chiploop.exports.times import FileTime
from chiploop.exports.wells import PLATE_SHAPES, well_name
from chiploop.measurement import WellReadout

KINDS: Final = {
    "Blanks": "Blank", "Standards": "Standard", "Controls": "Control", "Unknowns": "Unknown",
}  # fmt: skip
EXPECTED, OBSERVED = "Expected Concentration", "Observed Concentration"
SAME: Final = 1e-6
"""Relative difference up to which a mean is that of its readings; the file prints 18 digits."""


@dataclass(frozen=True)
class _Sample:
    kind: str
    label: str
    element: Element


def recognises(start: str) -> bool:
    """Return True for the first characters of a Bio-Plex Manager XML export."""
    return start.lstrip("\ufeff").lstrip().startswith("<") and "BioPlexManager" in start


def read(decoded: DecodedText, name: str) -> FileRows:
    """Return every reading and concentration of the file.

    Raises
    ------
    FileNotValid : see ``chiploop.exports.read_export``.
    """
    root = parse(decoded.text, name)
    if root.tag.rpartition(":")[2] != "BioPlexManager":
        raise FileNotValid(f"{name}: the root element is '{root.tag}', not BioPlexManager.")
    shape = _shape(root, name)
    samples = list(_samples(root, name))
    units = {
        one.said("AnalyteName"): one.said("ConcentrationUnits") or "as exported"
        for curves in root.every("StandardCurves")
        for group in curves.every("Interpolators")
        for one in group.every("Interpolator")
    }
    rows: list[ExportRow] = []
    wells: dict[str, int] = {}
    for sample in samples:
        rows.extend(_sample_rows(sample, shape, units, wells, name))
    if not rows:
        raise FileNotValid(f"{name}: no sample with a reading.")
    demand_decimal_point(_number_cells(samples), name)
    notes = []
    if len(wells) != shape.wells:
        notes.append(f"{len(wells)} of {shape.wells} wells: a part of a plate")
    standards = [one.label for one in samples if one.kind == "Standard"]
    for analyte in dict.fromkeys(row.readout.analyte for row in rows) if standards else ():
        part = [row for row in rows if row.readout.analyte == analyte]
        part, said = flag_ladder(part, (EXPECTED, analyte), (OBSERVED, analyte), standards)
        rows = [row for row in rows if row.readout.analyte != analyte] + part
        notes += [f"{analyte}: {one}" for one in said]
    rows.sort(key=lambda row: (row.line, row.column))
    metadata = [*root.attributes.items()]
    metadata += [
        (c.tag, c.text.strip()) for c in root.children if not c.children and c.text.strip()
    ]
    stamp = root.attributes.get("XmlExportDateTime", "")
    times = (FileTime("exported", stamp),) if stamp else ()
    kinds = {one.label: one.kind for one in samples}
    types = tuple(
        WellType(shape.name, well, kinds[label])
        for well, label in {
            row.readout.well: row.readout.sample for row in rows if row.readout.well
        }.items()
    )
    return FileRows(tuple(rows), (shape,), tuple(metadata), tuple(notes), times, well_types=types)


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 6 else -1


def _shape(root: Element, name: str) -> PlateShape:
    declared = root.one("PlateDimensions")
    said = declared.attributes if declared is not None else {}
    wells = _whole(said.get("TotalWells", ""))
    shape = (_whole(said.get("Rows", "")), _whole(said.get("Columns", "")))
    if PLATE_SHAPES.get(wells) != shape:
        raise FileNotValid(
            f"{name}: PlateDimensions are {said}; plates of {', '.join(map(str, PLATE_SHAPES))} "
            "wells are read."
        )
    title = root.said("NativeDocumentName")
    return PlateShape(title, wells, *shape, read_mode="Luminex", unit="MFI")


def _samples(root: Element, name: str) -> Iterator[_Sample]:
    found = root.one("Samples")
    if found is None:
        raise FileNotValid(f"{name}: no element 'Samples'.")
    labels: set[str] = set()
    for group in found.children:
        if group.tag not in KINDS:
            raise FileNotValid(
                f"{name}, line {group.line}: samples of kind '{group.tag}'; {', '.join(KINDS)} "
                "are read."
            )
        for element in group.children:
            label = element.said("Label")
            if element.tag != KINDS[group.tag] or not label or label in labels:
                raise FileNotValid(
                    f"{name}, line {element.line}: '{element.tag}' with label '{label}' in "
                    f"'{group.tag}'; every sample has a label of its own."
                )
            labels.add(label)
            yield _Sample(element.tag, label, element)


def _analytes(element: Element, list_tag: str, tag: str, name: str) -> dict[str, Element]:
    """Return region -> element of the analytes of a sample or a well."""
    found: dict[str, Element] = {}
    for listed in element.every(list_tag):
        for one in listed.children:
            region = one.attributes.get("RegionNumber", "")
            if one.tag != tag or not region or region in found or not one.said("AnalyteName"):
                raise FileNotValid(
                    f"{name}, line {one.line}: '{one.tag}' of region '{region}'; every region "
                    "stands once and has a name."
                )
            found[region] = one
    return found


def _sample_rows(
    sample: _Sample, shape: PlateShape, units: dict[str, str], wells: dict[str, int], name: str
) -> Iterator[ExportRow]:
    summary = _analytes(sample.element, "Analytes", "Analyte", name)
    readings: dict[str, list[float]] = {region: [] for region in summary}
    n_wells = 0
    for members in sample.element.every("MemberWells"):
        for member in members.children:
            n_wells += 1
            well = _well(member, shape, name)
            if well in wells:
                raise FileNotValid(
                    f"{name}, line {member.line}: well {well} is in line {wells[well]} already."
                )
            wells[well] = member.line
            found = _analytes(member, "MWAnalytes", "MWAnalyte", name)
            if found.keys() != summary.keys():
                raise FileNotValid(
                    f"{name}, line {member.line}: well {well} has the regions "
                    f"{', '.join(found)}, its sample {', '.join(summary)}. One is missing."
                )
            for region, element in found.items():
                row = _reading(element, sample, shape, well, name)
                if row.readout.qc == "ok":
                    readings[region].append(row.readout.value)
                yield row
                observed = element.one("MWObsConc")
                if observed is not None:
                    unit = units.get(element.said("AnalyteName"), "as exported")
                    yield _observed(observed, element, sample, shape, well, unit, name)
    if n_wells == 0:
        raise FileNotValid(f"{name}, line {sample.element.line}: {sample.label} has no well.")
    for region, element in summary.items():
        _check_mean(element, readings[region], n_wells, sample.label, name)
        expected = element.one("ExpectedConc")
        if expected is not None:
            unit = units.get(element.said("AnalyteName"), "as exported")
            yield _row(shape, EXPECTED, expected, "", sample, element, unit, None, name)
    dilution = sample.element.one("Dilution")
    if dilution is not None:
        value = read_cell(_cell(dilution), name)
        yield ExportRow(
            shape.name, "Dilution", dilution.line, dilution.column,
            WellReadout("", sample.label, "Dilution", value.value, "1", qc=value.qc,
                        reasons=value.reasons),
        )  # fmt: skip


def _well(member: Element, shape: PlateShape, name: str) -> str:
    row, column, number = (
        _whole(member.attributes.get(key, "")) for key in ("RowNo", "ColNo", "WellNumber")
    )
    if (
        not (1 <= row <= shape.rows and 1 <= column <= shape.columns)
        or number != (row - 1) * shape.columns + column
    ):
        raise FileNotValid(
            f"{name}, line {member.line}: row, column and number of a well are "
            f"{member.attributes}; they contradict each other or the plate."
        )
    return well_name(row - 1, column - 1)


def _cell(element: Element) -> Cell:
    return Cell(element.line, element.column, element.text.strip())


def _number_cells(samples: list[_Sample]) -> Iterator[Cell]:
    stack = [sample.element for sample in samples]
    while stack:
        element = stack.pop()
        stack.extend(element.children)
        if element.tag in ("Reading", "MWObsConc", "ExpectedConc", "RawMean", "Mean"):
            yield _cell(element)


def _row(
    shape: PlateShape, statistic: str, number: Element, well: str, sample: _Sample,
    analyte: Element, unit: str, fault: str | None, name: str,
) -> ExportRow:  # fmt: skip
    value = read_cell(_cell(number), name)
    if fault is not None:
        value = CellValue(math.nan, qc="fail", reasons=(fault,))
    return ExportRow(
        shape.name,
        statistic,
        number.line,
        number.column,
        WellReadout(
            well,
            sample.label,
            analyte.said("AnalyteName"),
            value.value,
            unit,
            value.censoring,
            value.lower,
            value.upper,
            value.qc,
            value.reasons,
        ),
    )


def _reading(
    element: Element, sample: _Sample, shape: PlateShape, well: str, name: str
) -> ExportRow:
    number = element.one("Reading")
    if number is None:
        raise FileNotValid(f"{name}, line {element.line}: an analyte of {well} has no reading.")
    fault = None
    if number.attributes.get("Valid") != "true":
        fault = f"not valid (code {number.attributes.get('Code', 'none')})"
    row = _row(shape, "Reading", number, well, sample, element, "MFI", fault, name)
    return row


def _observed(
    number: Element, element: Element, sample: _Sample, shape: PlateShape, well: str, unit: str,
    name: str,
) -> ExportRow:  # fmt: skip
    fault = None
    if number.attributes.get("ReadingOK") != "true":
        fault = (number.attributes.get("ReadError") or "no concentration").lower()
    return _row(shape, OBSERVED, number, well, sample, element, unit, fault, name)


def _check_mean(
    element: Element, readings: list[float], n_wells: int, label: str, name: str
) -> None:
    count = _whole(element.said("ReplicateCount"))
    number = element.one("RawMean")
    if number is None or count < 0 or count > n_wells:
        raise FileNotValid(
            f"{name}, line {element.line}: {label} has {n_wells} wells, {count} replicates and "
            f"{'no' if number is None else 'a'} raw mean. A well is missing."
        )
    mean = read_cell(_cell(number), name).value
    if count != len(readings) or not readings:
        if count == n_wells and len(readings) == n_wells:
            return
        if count != len(readings):
            raise FileNotValid(
                f"{name}, line {element.line}: {label} counts {count} replicates of "
                f"{element.said('AnalyteName')}, and {len(readings)} readings are valid."
            )
        return
    if not math.isclose(mean, fmean(readings), rel_tol=SAME, abs_tol=1e-9):
        raise FileNotValid(
            f"{name}, line {number.line}: the raw mean of {element.said('AnalyteName')} in {label} "
            f"is {mean:g}, and its readings give {fmean(readings):g}. A reading is missing or "
            "altered; the export contradicts itself."
        )

"""Files as plate readers' programs write them, from what stands on a virtual plate.

Belongs here: bytes of each format, layout and label included. Not here: when a file comes (reader_elsewhere).
Written from the formats alone: nothing of the readers of these formats is used, the two meet in bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from instruments.emulators.image_files import ome_tiff_files

ROWS = "ABCDEFGH"
COLUMNS = range(1, 13)
TEMPERATURE_C = 25.0
Content = tuple[str, bytes]
"""(file name, bytes)."""


def _read(plate: dict[str, Any], tissue: Any, fault: str) -> tuple[str, dict[int, np.ndarray]]:
    """Return the label that the program knows, and wavelength nm -> OD (8, 12) as the plate stood there."""
    grids = {nm: np.asarray(tissue.absorbance(plate, nm)) for nm in plate["wavelengths_nm"]}
    if fault == "turned":
        grids = {nm: grid[::-1, ::-1] for nm, grid in grids.items()}
    return _label(plate, fault), grids


def _label(plate: dict[str, Any], fault: str) -> str:
    return str(plate["label"] if fault != "other label" else plate["label"][:-1] + "0")


def _samples(plate: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return name -> wells: ``STD1`` from the highest standard down, ``BLK``, ``SPL1`` by chip, ``CTL``."""
    levels = sorted({w["concentration"] for w in plate["wells"] if w["kind"] == "standard"})
    chips = list(dict.fromkeys(w["chip"] for w in plate["wells"] if w["kind"] == "sample"))
    names: dict[str, list[dict[str, Any]]] = {}
    for well in plate["wells"]:
        kind = well["kind"]
        if kind == "standard":
            name = f"STD{len(levels) - levels.index(well['concentration'])}"
        elif kind == "sample":
            name = f"SPL{chips.index(well['chip']) + 1}"
        else:
            name = {"blank": "BLK"}.get(kind, "CTL1")
        names.setdefault(name, []).append(well)
    return dict(sorted(names.items()))


def softmax_pro_file(plate: dict[str, Any], tissue: Any, fault: str = "") -> Content:
    """Return what SoftMax Pro 7 exports: UTF-16, the plate with its difference of wavelengths, its groups."""
    label, grids = _read(plate, tissue, fault)
    wavelengths = list(grids)
    head = ["Plate:", label, "1.3", "PlateFormat", "Endpoint", "Absorbance", "Raw", "FALSE", "1"]
    head += [""] * 5 + [str(len(wavelengths)), " ".join(map(str, wavelengths)) + " "]
    head += ["1", "12", "96", "1", "8", "", ""]
    numbers = [str(column) for column in COLUMNS]
    heads = [cell for _ in wavelengths for cell in (*numbers, "")]
    lines = ["\t".join(head), "\t".join(["", "Temperature(\u00a1C)", *heads, ""])]
    for i in range(8):
        cells = ["", f"{TEMPERATURE_C:.1f}" if i == 0 else ""]
        for grid in grids.values():
            cells += [*(f"{od:.6f}" for od in grid[i]), ""]
        lines.append("\t".join([*cells, ""]))
    reduced = np.round(grids[wavelengths[0]], 6)
    if len(wavelengths) > 1:
        reduced = reduced - np.round(grids[wavelengths[1]], 6)
        lines += ["", "\t".join(["", "", *numbers, "", ""])]
        lines += ["\t".join(["", "", *(f"{od:.6f}" for od in row), "", ""]) for row in reduced]
    blocks = [[*lines, ""]]
    groups: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name, wells in _samples(plate).items():
        title = {"STD": "Standards", "SPL": "Unknowns", "BLK": "Blanks"}.get(name[:3], "Controls")
        groups.setdefault(title, {})[name] = wells
    blocks += [_group(title, names, reduced) for title, names in groups.items()]
    text = [f"##BLOCKS= {len(blocks)}"]
    for block in blocks:
        text += [*block, "~End"]
    text += [f"Original Filename: SIMULATED {plate['plate_id']}; Date Last Saved: not known", ""]
    return f"{label}.txt", b"\xff\xfe" + "\r\n".join(text).encode("utf-16-le")


def _group(title: str, names: dict[str, list[dict[str, Any]]], reduced: np.ndarray) -> list[str]:
    columns = [("Sample", "!SampleNames", 2), ("Wells", "!WellIDs", 2), ("OD", "!WellValues", 3)]
    if title == "Standards":
        columns.insert(1, ("Standard Value", "!SampleDescriptor", 3))
    lines = [f"Group: {title}", "\t".join([*(name for name, _, _ in columns), ""])]
    for name, wells in names.items():
        for k, well in enumerate(wells):
            od = reduced[ROWS.index(well["well"][0]), int(well["well"][1:]) - 1]
            cells = {
                "Sample": name if k == 0 else " ",
                "Standard Value": f"{well['concentration'] or 0.0:.3f}" if k == 0 else " ",
                "Wells": well["well"],
                "OD": f"{od:.3f}",
            }
            lines.append("\t".join([*(cells[column] for column, _, _ in columns), ""]))
    lines += ["", "Group Column\tFormula Name\tFormula\tPrecision\tNotation"]
    lines += [
        f"{k}\t{column}\t{formula}\t{digits} decimal places\tNumeric"
        for k, (column, formula, digits) in enumerate(columns, 1)
    ]
    return [*lines, "", "Group Summaries"]


def _gen5_read(
    plate: dict[str, Any], tissue: Any, fault: str
) -> tuple[str, list[str], dict[str, list[list[str]]]]:
    """Return the label, the lines of the procedure's read, and label of results -> cells (8, 12)."""
    if "excitation_nm" in plate:
        counts = np.asarray(tissue.fluorescence(plate))
        counts = counts[::-1, ::-1] if fault == "turned" else counts
        (emission,) = plate["wavelengths_nm"]
        light = f"{plate['excitation_nm']}/20", f"{emission}/20"
        read = ["Read\ttracer", "\tFluorescence Endpoint", "\tFull Plate", "\tFilter Set 1 (Green)"]
        read += [f"\t    Excitation: {light[0]},  Emission: {light[1]}"]
        read += ["\t    Mirror: Top 510 nm,  Gain: 50"]
        cells = [[f"{count:.0f}" for count in row] for row in counts]
        return _label(plate, fault), read, {f"tracer:{','.join(light)}": cells}
    label, grids = _read(plate, tissue, fault)
    read = ["Read\tod", "\tAbsorbance Endpoint", "\tFull Plate"]
    read += [f"\tWavelengths:  {', '.join(map(str, grids))}"]
    return (
        label,
        read,
        {f"od:{nm}": [[f"{od:.6f}" for od in row] for row in grid] for nm, grid in grids.items()},
    )


def gen5_file(plate: dict[str, Any], tissue: Any, fault: str = "") -> Content:
    """Return what Gen5 3.12 exports: named values, procedure, layout, results."""
    label, read, results = _gen5_read(plate, tissue, fault)
    names = {w["well"]: name for name, wells in _samples(plate).items() for w in wells}
    levels = {w["well"]: w["concentration"] or "" for w in plate["wells"]}
    head = "\t".join(["", *map(str, COLUMNS)])
    lines = ["", "", "Software Version\t3.12.08", "", "", ""]
    lines += [f"Experiment File Path:\tSIMULATED {plate['plate_id']}.xpt", "Protocol File Path:\t"]
    lines += ["", "", f"Plate Number\t{label}", "Date\t", "Time\t"]
    lines += ["Reader Type:\tn/a", "Reader Serial Number:\tn/a", "Reading Type\tReader", ""]
    lines += ["Procedure Details", "", "Plate Type\t96 WELL PLATE (Use plate lid)", *read]
    lines += ["", "Layout", head]
    for row in ROWS:
        wells = [f"{row}{column}" for column in COLUMNS]
        lines.append("\t".join([row, *(names.get(well, "") for well in wells), "Well ID"]))
        stated = (f"{levels.get(well, '')}" for well in wells)
        lines.append("\t".join(["", *stated, "Conc/Dil"]))
    lines += ["", "Results", head]
    for i, row in enumerate(ROWS):
        for k, (read_label, cells) in enumerate(results.items()):
            lines.append("\t".join(["" if k else row, *cells[i], read_label]))
    return f"{label}.txt", ("\r\n".join(lines) + "\r\n").encode("ascii")


FILE_WRITERS: dict[str, Callable[[dict[str, Any], Any, str], Iterable[Content]]] = {
    "softmax_pro": lambda plate, tissue, fault: [softmax_pro_file(plate, tissue, fault)],
    "gen5": lambda plate, tissue, fault: [gen5_file(plate, tissue, fault)],
    "ome_tiff": ome_tiff_files,
}
"""Kind of file -> (plate or set of images, tissue, what goes wrong) to names and bytes of its files."""

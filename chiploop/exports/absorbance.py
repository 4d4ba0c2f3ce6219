"""One plate of an export as an absorbance plate, as if the reader had just read it.

Belongs here: rows of an export to wells by wavelength. Not here: reading the file (a format's own), whether it
is the plate that was meant (assays.exported_plate).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.exports.export import Export
from chiploop.exports.wells import well_index
from chiploop.measurement import AbsorbancePlate

RAW_TABLES: Final = {"softmax_pro": "Raw", "gen5": "Results"}
"""Format -> its table of raw absorbance."""


def absorbance_plate(
    export: Export, plate_id: str, time_h: float, plate_name: str | None = None
) -> AbsorbancePlate:
    """Return one plate of an export as if the reader had just read it, at all its wavelengths.

    Parameters
    ----------
    plate_id : the plate of the plan; the file must name the same plate (a swapped file is refused).
    time_h : study time of the reading, h.
    plate_name : the plate's name in the file, where the laboratory named it otherwise.

    Raises
    ------
    FileNotValid : the file has no such plate, the plate is no absorbance plate, or its format is not known to
        hold one.
    """
    table = RAW_TABLES.get(export.format)
    if table is None:
        raise FileNotValid(
            f"{export.file} is a {export.format} file; an absorbance plate of "
            f"{' or '.join(RAW_TABLES)} is needed"
        )
    wanted = plate_name or plate_id
    shape = next((plate for plate in export.plates if plate.name == wanted), None)
    if shape is None or shape.read_mode != "Absorbance":
        raise FileNotValid(
            f"{export.file}: no absorbance plate named '{wanted}'; the file holds "
            + ", ".join(f"'{plate.name}' ({plate.read_mode})" for plate in export.plates)
            + ". Is it the export of another plate?"
        )
    absorbance = {w: np.full((shape.rows, shape.columns), math.nan) for w in shape.wavelengths_nm}
    flags: dict[tuple[int, str], str] = {}
    locators: dict[tuple[int, str], str] = {}
    for row in export.rows:
        nm, well = row.wavelength_nm, row.readout.well
        place = well_index(well)
        if row.plate != wanted or row.statistic != table or nm is None or place is None:
            continue
        absorbance[nm][place] = row.readout.value
        locators[nm, well] = f"{table}!{row.line},{row.column}"
        if row.readout.reasons:
            flags[nm, well] = row.readout.reasons[0]
    return AbsorbancePlate(
        plate_id, time_h, absorbance, flags, shape.temperature_c, export.sha256, locators
    )

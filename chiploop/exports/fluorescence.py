"""One plate of an export as a plate of fluorescence, as the tracer assay takes it.

Belongs here: rows of an export to wells, by the light of its filters. Not here: reading the file (a format's own),
absorbance (absorbance).
"""

from __future__ import annotations

import math
import re
from typing import Final

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.exports.absorbance import RAW_TABLES
from chiploop.exports.export import Export
from chiploop.exports.wells import well_index
from chiploop.measurement import AbsorbancePlate

FILTERS: Final = re.compile(r"(?:.*:)?([0-9]{3})(?:/[0-9]+)?,([0-9]{3})(?:/[0-9]+)?")
"""``Read:485/20,528/20``, or without widths: excitation and emission, nm."""
NEAR_NM: Final = 15.0
"""How far the middle of a filter may lie from the kit's wavelength."""


def fluorescence_plate(
    export: Export,
    plate_id: str,
    time_h: float,
    plate_name: str,
    excitation_nm: float,
    emission_nm: float,
) -> AbsorbancePlate:
    """Return one plate read by filters near these wavelengths; its signal stands under the asked emission.

    Raises
    ------
    FileNotValid : no such plate, no fluorescence, no filters near, or several.
    """
    table = RAW_TABLES.get(export.format)
    shape = next((plate for plate in export.plates if plate.name == plate_name), None)
    if table is None or shape is None or shape.read_mode != "Fluorescence":
        raise FileNotValid(
            f"{export.file}: no fluorescence plate named '{plate_name}'; the file holds "
            + ", ".join(f"'{plate.name}' ({plate.read_mode})" for plate in export.plates)
            + ". Is it the export of another plate?"
        )
    lights = {}
    for row in export.rows:
        match = FILTERS.fullmatch(row.readout.analyte)
        if row.statistic == table and row.readout.unit == "RFU" and match:
            lights[row.readout.analyte] = (float(match[1]), float(match[2]))
    near = [
        label
        for label, (excitation, emission) in lights.items()
        if abs(excitation - excitation_nm) <= NEAR_NM and abs(emission - emission_nm) <= NEAR_NM
    ]
    if len(near) != 1:
        raise FileNotValid(
            f"{export.file}: it was read with {', '.join(lights) or 'no filters that are named'}; one pair within "
            f"{NEAR_NM:g} nm of {excitation_nm:g} (excitation) and {emission_nm:g} nm (emission) is needed"
        )
    emission = round(emission_nm)
    signal = np.full((shape.rows, shape.columns), math.nan)
    flags: dict[tuple[int, str], str] = {}
    locators: dict[tuple[int, str], str] = {}
    for row in export.rows:
        well = row.readout.well
        place = well_index(well)
        if row.statistic != table or row.readout.analyte != near[0] or place is None:
            continue
        signal[place] = row.readout.value
        locators[emission, well] = f"{table}!{row.line},{row.column}"
        if row.readout.reasons:
            flags[emission, well] = row.readout.reasons[0]
    return AbsorbancePlate(
        plate_id, time_h, {emission: signal}, flags, shape.temperature_c, export.sha256, locators
    )

"""A plate that was read elsewhere: is the export of this plate, the right way round?

Belongs here: a label's plate of an export, and what speaks against it. Not here: the comparison with a layout
(plate_identity), formats (exports), folders and waiting (flows).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from chiploop.assays.layout_map import layout_of
from chiploop.assays.plate_identity import check_plate
from chiploop.assays.plate_layout import LayoutWell
from chiploop.assays.plate_map import PlateMap
from chiploop.assays.plate_signal import corrected_signals
from chiploop.errors import FileNotValid
from chiploop.exports.absorbance import absorbance_plate
from chiploop.exports.export import Export
from chiploop.exports.fluorescence import fluorescence_plate
from chiploop.exports.wells import well_name
from chiploop.measurement import AbsorbancePlate
from chiploop.study_parts import Kit


def labelled_plate(
    export: Export, label: str, plate_id: str, time_h: float, kit: Kit
) -> AbsorbancePlate:
    """Return the plate of an export whose name or barcode is the label, with the light of the kit.

    Raises
    ------
    FileNotValid : two plates of the label, none, or not what the kit is read by.
    """
    names = [plate.name for plate in export.plates if label in (plate.name, plate.barcode)]
    name = names[0] if len(names) == 1 else label
    if kit.excitation_wavelength_nm is not None:
        light = (kit.excitation_wavelength_nm, kit.wavelength_nm)
        return fluorescence_plate(export, plate_id, time_h, name, *light)
    return absorbance_plate(export, plate_id, time_h, name)


def problems_of_plate(plate: AbsorbancePlate, plate_map: PlateMap, kit: Kit) -> tuple[str, ...]:
    """Return why a plate can not be what its map says; empty where nothing speaks against it.

    A well that the reader's program gave a reason for (masked, overflow) is the assay's to judge: it is no sign
    of another plate. A saturated one counts as the highest signal.

    Raises
    ------
    FileNotValid : a wavelength of the kit that was not read, or a plate of another size.
    """
    if kit.reference_wavelength_nm is None:
        if plate.absorbance[kit.wavelengths_nm[0]].shape != (8, 12):
            raise FileNotValid(
                f"plate {plate.plate_id} has not 8 x 12 wells; plate maps are of 96 wells."
            )
        reasons = {
            one.well: plate.flags.get((kit.wavelengths_nm[0], one.well), "") for one in plate_map
        }
    else:
        signals = corrected_signals(plate, plate_map, kit)
        reasons = {one.content.well: one.reason for one in signals}
    flagged = {
        well for well, reason in reasons.items() if reason not in ("", "saturated", "missing")
    }
    main, *reference = kit.wavelengths_nm
    difference = plate.absorbance[main] - sum(plate.absorbance[nm] for nm in reference)
    signal = {
        well_name(i, j): float(value)
        for (i, j), value in np.ndenumerate(difference)
        if math.isfinite(value)
    }
    signal |= {well: math.inf for well, reason in reasons.items() if reason == "saturated"}
    layout = layout_of(plate_map, plate.plate_id)
    contents = tuple(_ranked(one) for one in layout.contents if one.well not in flagged)
    return check_plate(signal, replace(layout, contents=contents), layout.wells).problems


def _ranked(one: LayoutWell) -> LayoutWell:
    """Return a control as a level: low ones are below the high one, whatever its number."""
    if one.role in ("max_release", "untreated"):
        return replace(one, role="standard", concentration_pg_ml=1.0)
    if one.role == "blank" and one.concentration_pg_ml is None:
        return replace(one, concentration_pg_ml=0.0)
    return one

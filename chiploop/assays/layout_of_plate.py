"""Which layout is of which plate of a file, and whether the plate fits it.

Belongs here: matching by name and barcode, and what to do with a verdict. Not here: the verdict
(plate_identity), what stands in the wells (plate_contents).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from chiploop.assays.export_contents import Signals, signals_of
from chiploop.assays.plate_identity import Direction, check_plate
from chiploop.assays.plate_layout import PlateLayout
from chiploop.errors import FileNotValid
from chiploop.exports.export import Export, PlateShape
from chiploop.measurement import WellReadout


def layouts_of_plates(
    export: Export, layouts: Sequence[PlateLayout], direction: Direction = "rising"
) -> tuple[dict[str, PlateLayout], tuple[str, ...]]:
    """Return plate -> its layout, and what could not be checked.

    A layout without name and barcode is of every plate of the file; one that is named is of the plate of
    that name or barcode, or of the only one.

    Raises
    ------
    FileNotValid : a layout of no plate, a plate with two layouts, a plate that does not fit its layout.
    """
    found: dict[str, PlateLayout] = {}
    notes: list[str] = []
    for layout in layouts:
        named = layout.name or layout.barcode
        plates = [plate for plate in export.plates if _is_of(layout, plate, len(export.plates))]
        if not plates:
            names = ", ".join(f"'{plate.name}'" for plate in export.plates)
            raise FileNotValid(f"{export.file} holds {names}, the layout is of '{named}'")
        if not named and len(plates) > 1:
            notes.append(f"the layout names no plate: it is taken for all {len(plates)}")
        for plate in plates:
            if plate.name in found:
                raise FileNotValid(f"{export.file}: two layouts are of plate '{plate.name}'")
            found[plate.name] = layout
            notes += _demand_fit(export, plate, layout, direction)
        notes += layout.notes
    return found, tuple(dict.fromkeys(notes))


def _is_of(layout: PlateLayout, plate: PlateShape, n_plates: int) -> bool:
    if n_plates == 1 or not (layout.name or layout.barcode):
        return True
    return bool(
        (layout.name and layout.name in (plate.name, plate.barcode))
        or (layout.barcode and layout.barcode == plate.barcode)
    )


def _demand_fit(
    export: Export, plate: PlateShape, layout: PlateLayout, direction: Direction
) -> list[str]:
    """Return notes; FileNotValid where no analyte of the plate fits its layout.

    One analyte among others may have too weak a signal to tell; its curve is judged by itself.
    """
    signals: Signals = signals_of(export, plate.name)
    verdicts = {
        analyte: check_plate(
            {w: one.value for w, one in wells.items() if math.isfinite(one.value)},
            _read_part(layout, wells),
            plate.wells,
            plate.barcode,
            direction,
        )
        for analyte, wells in signals.items()
    }
    notes = [f"{plate.name}: {note}" for one in verdicts.values() for note in one.notes]
    bad = {analyte: one.problems for analyte, one in verdicts.items() if one.problems}
    told = [f"{analyte}: {one}" for analyte, problems in bad.items() for one in problems]
    if bad and len(bad) == len(verdicts):
        raise FileNotValid(
            f"{export.file}, plate '{plate.name}' does not fit its layout; it is not used:\n"
            + "\n".join(f"  {one}" for one in told)
        )
    return notes + [f"{plate.name}, {one}" for one in told]


def _read_part(layout: PlateLayout, wells: Mapping[str, WellReadout]) -> PlateLayout:
    """Return the layout's wells that have a number; one that is saturated is no other plate."""
    readable = {well for well, one in wells.items() if math.isfinite(one.value)}
    return replace(layout, contents=tuple(one for one in layout.contents if one.well in readable))

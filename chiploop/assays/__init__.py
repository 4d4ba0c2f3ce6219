"""Raw signals to readouts with their uncertainty: one file per assay.

Belongs here: the tables of assays. Not here: how any one of them works.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chiploop.assays.field_images import ImageSet, image_places, readouts_from_images
from chiploop.assays.immunoassay import concentrations_of_wells, readouts_from_elisa_plate
from chiploop.assays.metabolic_activity import readouts_from_metabolic_plate, viability_of_wells
from chiploop.assays.perfused_tracer import (
    PerfusedChip,
    perfused_tracer_map,
    readouts_from_perfused_tracer,
)
from chiploop.assays.plate_map import PlateMap, elisa_plate_map, viability_plate_map
from chiploop.assays.viability import readouts_from_ldh_plate, release_of_wells
from chiploop.assays.well_measurements import WellValue, plate_derivation
from chiploop.measurement import AbsorbancePlate, Derivation, Readout
from chiploop.study_parts import Kit

ASSAYS: dict[str, Callable[..., tuple[Any, list[Readout]]]] = {
    "elisa": readouts_from_elisa_plate,
    "ldh_release": readouts_from_ldh_plate,
    "mtt": readouts_from_metabolic_plate,
    "resazurin": readouts_from_metabolic_plate,
}
"""Method of a kit -> (plate, plate map, kit, cycle) to (what a person judges it by, its readouts).
"""

PLATE_MAPS: dict[str, Callable[..., PlateMap]] = {
    "elisa": elisa_plate_map,
    "ldh_release": viability_plate_map,
    "mtt": viability_plate_map,
    "resazurin": viability_plate_map,
    "tracer_permeability": perfused_tracer_map,
    "microscopy": image_places,
}
"""Method of a kit -> (chips, window h, kit, replicates, dilution, rng) to the map of its plate."""

WELL_VALUES: dict[str, Callable[..., dict[str, WellValue]]] = {
    "elisa": concentrations_of_wells,
    "ldh_release": release_of_wells,
    "mtt": viability_of_wells,
    "resazurin": viability_of_wells,
}
"""Method of a kit -> (plate, plate map, kit, what it is judged by) to what each well is worth by itself; a
method that is not here has raw rows alone."""


def derived_from_plate(
    signal: AbsorbancePlate | ImageSet,
    plate_map: PlateMap,
    kit: Kit,
    cycle: int,
    chip: PerfusedChip | None = None,
) -> tuple[Derivation, list[Readout]]:
    """Return the readouts of a plate, or of a set of images, with all that they were derived from.

    ``chip`` is needed by a tracer alone; ValueError without it.
    """
    if isinstance(signal, ImageSet):
        return readouts_from_images(signal, plate_map, kit, cycle)
    judged: Any
    if kit.method == "tracer_permeability":
        if chip is None:
            raise ValueError(f"kit {kit.name} needs to know the chip that its tracer passed")
        found, readouts = readouts_from_perfused_tracer(signal, plate_map, kit, cycle, chip)
        judged = found.curve
    else:
        judged, readouts = ASSAYS[kit.method](signal, plate_map, kit, cycle)
    of_wells = WELL_VALUES.get(kit.method)
    values = {} if of_wells is None else of_wells(signal, plate_map, kit, judged)
    return plate_derivation(signal, plate_map, kit, cycle, judged, values, readouts)

"""Raw signals to readouts with their uncertainty: one file per assay.

Belongs here: the tables of assays. Not here: how any one of them works.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chiploop.assays.immunoassay import readouts_from_elisa_plate
from chiploop.assays.metabolic_activity import readouts_from_metabolic_plate
from chiploop.assays.plate_map import PlateMap, elisa_plate_map, viability_plate_map
from chiploop.assays.viability import readouts_from_ldh_plate
from chiploop.measurement import Readout

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
}
"""Method of a kit -> (chips, window h, kit, replicates, dilution, rng) to the map of its plate."""

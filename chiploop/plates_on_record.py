"""A plate as the raw files of its run have it: what stood in its wells, what it was last read with.

Belongs here: from the store to map and signal. Not here: what is calculated of them (assays, flows.revising), who
left which well out (record.well_exclusions).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from chiploop.assays.exported_plate import labelled_plate
from chiploop.errors import FileNotValid
from chiploop.exports import read_export_bytes
from chiploop.exports.export import Export
from chiploop.measurement import AbsorbancePlate
from chiploop.record.raw_files import RawFileStore
from chiploop.record.rows import RawFile
from chiploop.study_parts import Kit

PLATE_MAP = "plate map"
"""Kind of the raw file that says what stood in the wells of a plate; the last one of a plate counts."""


def map_on_record(
    store: RawFileStore, kept: Sequence[RawFile], plate_id: str
) -> dict[str, Any] | None:
    """Return what a plate was asked for with what really stood in its wells; None where nobody asked."""
    maps = [one for one in kept if (one.kind, one.name) == (PLATE_MAP, f"{plate_id}.json")]
    if not maps:
        return None
    asked: dict[str, Any] = json.loads(store.get(maps[-1].sha256))
    return asked


def name_in(content: Export, asked: dict[str, Any]) -> str:
    """Return the plate's name in a file: its label, its id, or that of the only plate where it has no label."""
    names = [name for plate in content.plates for name in (plate.name, plate.barcode) if name]
    for wanted in (asked.get("label"), asked["plate_id"]):
        if wanted in names:
            return str(wanted)
    if len(content.plates) == 1 and "label" not in asked:
        return content.plates[0].name
    return str(asked.get("label") or asked["plate_id"])


def signal_on_record(
    store: RawFileStore, kept: Sequence[RawFile], asked: dict[str, Any], kit: Kit
) -> AbsorbancePlate:
    """Return the signal that a plate was last read with, from the run's store."""
    plate_id = asked["plate_id"]
    exports = [one for one in kept if one.kind == f"reader export of {plate_id}"]
    if exports:
        content = read_export_bytes(store.get(exports[-1].sha256), exports[-1].name)
        return labelled_plate(content, name_in(content, asked), plate_id, exports[-1].time_h, kit)
    read = [one for one in kept if (one.kind, one.name) == ("absorbance", f"{plate_id}_od.json")]
    if not read:
        raise FileNotValid(f"the raw signal of plate {plate_id} is not on record")
    values = json.loads(store.get(read[-1].sha256))
    flags = {}
    for place, why in values["flags"].items():
        nm, well = place.split(" ")
        flags[int(nm), well] = why
    return AbsorbancePlate(
        plate_id,
        float(values["time_h"]),
        {int(nm): np.array(grid, dtype=float) for nm, grid in values["absorbance"].items()},
        flags,
        float(values["temperature_c"]),
        read[-1].sha256,
    )

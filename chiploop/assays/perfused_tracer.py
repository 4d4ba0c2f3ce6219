"""A tracer on a perfused chip of a study: its plate, and P_app as a reading at the end of the exposure.

Belongs here: what a kit's plan and a chip's geometry make of the general tracer plate. Not here: wells and fit
(tracer_plate), the transport (tracer_transport).

The tracer is given to the apical side for the last hours of an exposure (``Kit.tracer``); meanwhile the
effluent of the channel below the tissue is collected in windows of equal length, and the donor is read at the
begin and at the end. The barrier counts as unchanged over these hours, so P_app is one value, noted at their
end. What stands in the tubing behind the chip is left out: samples are taken at its outlet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from chiploop.assays.plate_map import PlateMap
from chiploop.assays.tracer_plate import (
    TracerDesign,
    TracerPlate,
    readouts_from_tracer_plate,
    tracer_plate_map,
)
from chiploop.measurement import AbsorbancePlate, Readout
from chiploop.study_parts import Kit, Tracer


@dataclass(frozen=True)
class PerfusedChip:
    """What a permeability needs to know of the chips of a study."""

    area_cm2: float
    channel_volume_ul: float
    flow_rate_ul_h: float
    """Per chip."""


def tracer_of(kit: Kit) -> Tracer:
    """Return how a kit's tracer is given; ValueError where the kit does not say."""
    if kit.tracer is None:
        raise ValueError(f"kit {kit.name} does not say how a chip is given its tracer")
    return kit.tracer


def perfused_tracer_map(
    chips: Sequence[str],
    window_h: tuple[float, float],
    kit: Kit,
    replicates: int,
    dilution: float,
    rng: np.random.Generator,
) -> PlateMap:
    """Return the map of a plate; ``window_h`` is from loading to the end of the exposure.

    Raises
    ------
    ValueError : more wells than a plate has, a kit without standards or tracer.
    """
    given = tracer_of(kit)
    windows = given.windows_h(float(window_h[1]))
    return tracer_plate_map(chips, windows, kit, given.donor_dilution, rng, replicates, dilution)


def readouts_from_perfused_tracer(
    plate: AbsorbancePlate, plate_map: PlateMap, kit: Kit, cycle: int, chip: PerfusedChip
) -> tuple[TracerPlate, list[Readout]]:
    """Return the line with each chip's permeability, and one ``P_app`` readout (ln scale) per chip.

    Raises
    ------
    FileNotValid : a wavelength that was not read. ValueError : as ``readouts_from_tracer_plate``.
    """
    given = tracer_of(kit)
    design = TracerDesign(
        loaded_h=min(one.window_h[0] for one in plate_map if one.kind == "sample" and one.window_h),
        area_cm2=chip.area_cm2,
        donor_ul=given.donor_volume_ul,
        receiver_ul=chip.channel_volume_ul,
        flow_rate_ul_h=chip.flow_rate_ul_h,
        lag_h=given.lag_h,
    )
    judged, readouts = readouts_from_tracer_plate(plate, plate_map, kit, design, cycle)
    return judged, [
        replace(
            one,
            window_start_h=None,
            method=f"{one.method}; tracer from {design.loaded_h:g} to {one.time_h:g} h",
            wells=tuple(well.well for well in plate_map if well.chip == one.chip_id),
            channel="membrane",
            sd_kind="fit",
        )
        for one in readouts
    ]

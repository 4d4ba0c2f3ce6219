"""MTT and resazurin: dyes that living cells turn, as the viable fraction of a chip.

Belongs here: both assays. Not here: the ratio and its error (plate_controls), LDH (viability).

    viability = (A_sample - A_blank) / (A_untreated - A_blank)

MTT (Mosmann 1983): purple formazan, dissolved, 570 nm minus a reference. Resazurin (O'Brien et al.
2000) by absorbance: 570 nm minus 600 nm, a linear combination of both forms, so the ratio holds as
long as all wells got the same dye; its fluorescence (560/590 nm) is more sensitive, but the readers
that chiploop drives measure absorbance. Blank is the dye without cells. The dead control shows what
turns the dye without life; above `DEAD` of the span every value is too high by up to that, and told.
Both read metabolism: a compound that slows it is not told from one that kills.

MTT ends the life of the cells that it reads; resazurin does not.

A study's model has the fall of the viable fraction over a window. A dye tells what is left of the
cells at one moment, so its fall since the study began: `readouts_from_metabolic_plate` gives
1 - viability over a window from 0 h, which the model meets without any other assumption than that
its cells were whole at 0 h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chiploop.assays.plate_controls import (
    BEYOND_NOISE,
    ControlMean,
    PlateScatter,
    control,
    control_mean,
    disturbances,
    fraction_between,
    scatter_of_plate,
    span_trouble,
)
from chiploop.assays.plate_map import PlateMap
from chiploop.assays.plate_signal import NoiseModel, WellSignal, corrected_signals, sample_groups
from chiploop.assays.viability import shared_errors, well_value
from chiploop.assays.well_measurements import CELLS, WellValue
from chiploop.measurement import AbsorbancePlate, Quality, Readout
from chiploop.study_parts import NEEDED_CONTROLS, Kit

DYE_NOISE = NoiseModel(floor_od=0.006, cv=0.04)
"""Typical of a plate; its replicates give the scale."""
DEAD = 0.10
"""Of the span: what the dead control may keep."""


@dataclass(frozen=True)
class MetabolicPlate:
    """The controls of one plate and its noise."""

    blank: ControlMean
    untreated: ControlMean
    dead: ControlMean
    dead_fraction: float
    """What the dead control keeps of the span; NaN where there is none."""
    scatter: PlateScatter
    plate: str = ""
    qc: Quality = "ok"
    reasons: tuple[str, ...] = ()


def metabolic_viability(
    plate: AbsorbancePlate,
    plate_map: PlateMap,
    kit: Kit,
    cycle: int = 0,
    noise: NoiseModel = DYE_NOISE,
) -> tuple[MetabolicPlate, list[Readout]]:
    """Return the plate's controls and one ``viability`` readout per sample (linear scale, unit 1).

    Raises
    ------
    FileNotValid : a wavelength that was not read. ValueError : a map without one of the controls.
    """
    signals = corrected_signals(plate, plate_map, kit)
    controls = _controls(signals, plate.plate_id, kit, noise)
    readouts = []
    for (chip, window_h, dilution), wells in sample_groups(signals).items():
        found = fraction_between(
            wells, controls.blank, controls.untreated, controls.scatter, dilution, most=1.0
        )
        disturbed = disturbances(
            signals, chip, controls.blank, controls.untreated, controls.scatter
        )
        reasons = tuple(dict.fromkeys((*controls.reasons, *found.reasons, *disturbed)))
        readouts.append(
            Readout(
                chip_id=chip,
                readout="viability",
                value=found.value,
                unit="1",
                sd=found.sd,
                scale="linear",
                time_h=window_h[1],
                n=found.n,
                qc="warn" if found.qc == "ok" and reasons else found.qc,
                reasons=reasons,
                method=f"{kit.name}: part of the untreated control, dilution {dilution:g}",
                plate=plate.plate_id,
                wells=tuple(one.content.well for one in wells),
                raw_sha256=plate.raw_sha256,
                cycle=cycle,
                channel=CELLS,
                sd_kind="tech",
                curve=shared_errors(found, False),
            )
        )
    return controls, readouts


def readouts_from_metabolic_plate(
    plate: AbsorbancePlate,
    plate_map: PlateMap,
    kit: Kit,
    cycle: int = 0,
    noise: NoiseModel = DYE_NOISE,
) -> tuple[MetabolicPlate, list[Readout]]:
    """Return the plate's controls and, per sample, the fall of the viable fraction since 0 h.

    Under the name that models have for it, ``ldh_release``. Errors as of `metabolic_viability`.
    """
    controls, found = metabolic_viability(plate, plate_map, kit, cycle, noise)
    return controls, [lost_since_start(one) for one in found]


def viability_of_wells(
    plate: AbsorbancePlate, plate_map: PlateMap, kit: Kit, controls: MetabolicPlate
) -> dict[str, WellValue]:
    """Return well -> its own viable fraction by the plate's controls; for tables, not for the likelihood."""
    return {
        one.content.well: well_value(
            "viable fraction",
            fraction_between(
                (one,),
                controls.blank,
                controls.untreated,
                controls.scatter,
                one.content.dilution,
                most=1.0,
            ),
        )
        for one in corrected_signals(plate, plate_map, kit)
    }


def lost_since_start(viable: Readout) -> Readout:
    """Return 1 - viability as the fall of the viable fraction from 0 h on."""
    return replace(
        viable,
        readout="ldh_release",
        value=1.0 - viable.value,
        window_start_h=0.0,
        curve=tuple(-one for one in viable.curve),
        method=f"{viable.method}; 1 - viability, since 0 h",
    )


def _controls(
    signals: Sequence[WellSignal], plate_id: str, kit: Kit, noise: NoiseModel
) -> MetabolicPlate:
    scatter = scatter_of_plate(signals, noise)
    why = NEEDED_CONTROLS[kit.method]
    blank = control_mean("blank", control(signals, "blank", why["blank"], plate_id), scatter)
    untreated = control_mean(
        "untreated control", control(signals, "untreated", why["untreated"], plate_id), scatter
    )
    dead = control_mean("dead control", control(signals, "dead", why["dead"], plate_id), scatter)
    reasons = [*blank.reasons, *untreated.reasons, *dead.reasons]
    trouble = span_trouble(blank, untreated)
    kept = (dead.od - blank.od) / (untreated.od - blank.od) if not trouble else float("nan")
    if kept > DEAD and dead.od - blank.od > BEYOND_NOISE * (dead.sd_od**2 + blank.sd_od**2) ** 0.5:
        reasons.append(
            f"dead control reads {kept:.0%} viability (at most {DEAD:.0%}): the dye is turned without living "
            "cells, and every value is too high by up to that"
        )
    if trouble:
        reasons.append(trouble)
    qc: Quality = "fail" if trouble else "warn" if reasons else "ok"
    return MetabolicPlate(
        blank, untreated, dead, kept, scatter, plate_id, qc, tuple(dict.fromkeys(reasons))
    )

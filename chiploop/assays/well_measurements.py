"""What a readout was derived from, as measurements: raw wells, calibrated wells, the barrier's resistance.

Belongs here: signals and calibrated values as rows that name each other. Not here: how a signal is calibrated
(immunoassay, viability), rows of the record.

Every well of the map has a raw row for each wavelength and, where the assay can say what the well is worth
by itself, a calibrated one. A readout names the calibrated rows of its wells (the raw ones where there are
none), a calibrated row its raw ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chiploop.assays.plate_map import PlateMap, PlateWell
from chiploop.assays.teer import BarrierBlank, BarrierFit
from chiploop.measurement import (
    AbsorbancePlate,
    Censoring,
    Channel,
    Derivation,
    ImpedanceSpectrum,
    Measurement,
    Quality,
    Readout,
    SdKind,
)
from chiploop.study_parts import Kit

EFFLUENT: Channel = "basal"
"""Collected samples are effluent of the perfused channel, below the tissue."""
CELLS: Channel = "membrane"
"""A dye is given to the cells, which stand on the membrane."""


@dataclass(frozen=True)
class WellValue:
    """What one well is worth by itself, after dilution is taken back."""

    quantity: str
    """``concentration``, ``released fraction``."""
    value: float
    """NaN where censored or failed."""
    unit: str
    sd: float
    scale: str
    sd_kind: SdKind
    censoring: Censoring = "none"
    lower: float = -math.inf
    upper: float = math.inf
    qc: Quality = "ok"
    reasons: tuple[str, ...] = ()
    analyte: str = ""


def plate_derivation(
    plate: AbsorbancePlate,
    plate_map: PlateMap,
    kit: Kit,
    cycle: int,
    judged: object,
    values: Mapping[str, WellValue],
    readouts: Sequence[Readout],
) -> tuple[Derivation, list[Readout]]:
    """Return how the readouts of a plate came about, and the readouts with their parents named.

    Parameters
    ----------
    judged : the curve or the controls of the plate, as the assay gave them.
    values : well -> what it is worth; wells without one have raw rows alone.
    """
    raw: list[Measurement] = []
    calibrated: list[Measurement] = []
    parents: dict[str, tuple[str, ...]] = {}
    counts: Counter[tuple[object, ...]] = Counter()
    for content in plate_map:
        level = (
            content.kind,
            content.concentration,
            content.chip,
            content.window_h,
            content.dilution,
        )
        counts[level] += 1
        base = _of_well(plate, content, kit, cycle, counts[level])
        own = [_raw(plate, base, content, nm) for nm in sorted(plate.absorbance)]
        raw += own
        parents[content.well] = tuple(one.key for one in own)
        value = values.get(content.well)
        if value is not None:
            one = _calibrated(base, value, kit, parents[content.well])
            calibrated.append(one)
            parents[content.well] = (one.key,)
    linked = [
        replace(r, parents=tuple(key for well in r.wells for key in parents.get(well, ())))
        for r in readouts
    ]
    return Derivation((*raw, *calibrated), plate.plate_id, judged), linked


def _of_well(
    plate: AbsorbancePlate, content: PlateWell, kit: Kit, cycle: int, replicate: int
) -> Measurement:
    """Return what the rows of one well share."""
    window_h = content.window_h
    return Measurement(
        key=plate.plate_id,
        stage="raw",
        readout=kit.readout,
        quantity="",
        value=math.nan,
        unit="OD" if kit.excitation_wavelength_nm is None else "RFU",
        time_h=plate.time_h if window_h is None else window_h[1],
        window_start_h=None if window_h is None else window_h[0],
        chip_id=content.chip or "",
        channel=EFFLUENT if content.kind == "sample" else "",
        role=content.kind,
        replicate=replicate,
        dilution=content.dilution,
        plate=plate.plate_id,
        well=content.well,
        raw_sha256=plate.raw_sha256,
        cycle=cycle,
    )


def _raw(plate: AbsorbancePlate, base: Measurement, content: PlateWell, nm: int) -> Measurement:
    row, column = content.index
    value = float(plate.absorbance[nm][row, column])
    flag = plate.flags.get((nm, content.well), "")
    if not flag and not math.isfinite(value):
        flag = "missing"
    reasons = tuple(one for one in (flag, plate.left_out.get(content.well, "")) if one)
    return replace(
        base,
        key=f"{base.key}/raw/{nm}/{content.well}",
        quantity=f"{'absorbance' if base.unit == 'OD' else 'fluorescence'} {nm} nm",
        value=math.nan if flag else value,
        qc="fail" if reasons else "ok",
        reasons=reasons,
        locator=plate.locators.get((nm, content.well), f"absorbance/{nm}!{row + 1},{column + 1}"),
    )


def _calibrated(
    base: Measurement, value: WellValue, kit: Kit, parents: tuple[str, ...]
) -> Measurement:
    return replace(
        base,
        key=f"{base.key}/calibrated/{base.well}",
        stage="calibrated",
        quantity=value.quantity,
        value=value.value,
        unit=value.unit,
        sd=value.sd,
        sd_kind=value.sd_kind,
        scale=value.scale,  # type: ignore[arg-type]
        censoring=value.censoring,
        lower=value.lower,
        upper=value.upper,
        qc=value.qc,
        reasons=value.reasons,
        analyte=value.analyte,
        method=f"{kit.name}: one well",
        parents=parents,
    )


def barrier_derivation(
    spectrum: ImpedanceSpectrum, fit: BarrierFit, blank: BarrierBlank, readout: Readout
) -> tuple[Derivation, Readout]:
    """Return the resistance that a TEER readout rests on, and the readout with its parent named.

    The points of the spectrum stand in the raw file that the row names.
    """
    total = blank.includes_series
    value, sd = (
        (fit.total_ohm, fit.total_sd_ohm) if total else (fit.resistance_ohm, fit.resistance_sd_ohm)
    )
    one = Measurement(
        key=f"TEER/{readout.chip_id}/{float(readout.time_h)!r}/resistance",
        stage="calibrated",
        readout=readout.readout,
        quantity="resistance with electrodes and medium"
        if total
        else "barrier and blank resistance",
        value=value,
        unit="ohm",
        time_h=readout.time_h,
        chip_id=readout.chip_id,
        channel="membrane",
        sd=sd,
        sd_kind="fit",
        n=len(spectrum.frequency_hz),
        qc=fit.qc,
        reasons=fit.reasons,
        method=readout.method.split("; ")[0],
        raw_sha256=readout.raw_sha256,
        locator="impedance_ohm",
        cycle=readout.cycle,
    )
    return Derivation((one,)), replace(readout, parents=(one.key,))

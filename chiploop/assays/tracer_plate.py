"""One plate of a tracer: standards, donors and receivers of several chips, to ln P_app of each.

Belongs here: the plate's map and its way to readouts. Not here: the fit (permeability_fit), the line
(tracer_curve).

The plate holds what the kit's wavelength gave: fluorescence as the reader counts it, or absorbance,
from which a kit with a reference wavelength takes that off. Receivers are ``sample`` wells, donors
``donor`` wells; a still receiver's window runs from loading to the sample, a perfused one's is its
collection. All chips of a plate were handled alike: they share the line and one scale of the scatter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chiploop.assays.permeability import UNIT as PERMEABILITY_UNIT
from chiploop.assays.permeability import (
    Permeability,
    PermeabilityLimits,
    TracerRun,
    permeabilities,
)
from chiploop.assays.permeability_fit import Donor, ReceiverSamples, Transport
from chiploop.assays.plate_map import PlateMap, PlateWell, lay_out
from chiploop.assays.tracer_curve import TracerCurve, TracerNoise, tracer_curve
from chiploop.assays.tracer_transport import PerfusedTransport, StaticTransport
from chiploop.errors import FileNotValid
from chiploop.measurement import AbsorbancePlate, Quality, Readout
from chiploop.study_parts import Kit

UNIT = "pg/mL"
"""Of a kit's standards."""


@dataclass(frozen=True)
class TracerDesign:
    """How all chips of a plate were given tracer and sampled."""

    loaded_h: float
    """Study time at which the donors were loaded."""
    area_cm2: float
    donor_ul: float
    """inf where the donor is perfused."""
    receiver_ul: float
    removed_ul: float = 0.0
    """By each sample of a still receiver."""
    replaced_ul: float = 0.0
    flow_rate_ul_h: float | None = None
    """Of a perfused receiver; None for a still one."""
    dead_volume_ul: float = 0.0
    lag_h: float | None = None
    """None to fit it."""
    free_dye: float | None = None
    noise: TracerNoise = TracerNoise()

    def transport(self, windows_h: Sequence[tuple[float, float]]) -> Transport:
        """Return the transport of samples whose windows, in study time, ascend."""
        starts, ends = np.array(windows_h, dtype=float).T - self.loaded_h
        if self.flow_rate_ul_h is not None:
            return PerfusedTransport(
                starts, ends, self.flow_rate_ul_h, self.donor_ul, self.receiver_ul,
                self.dead_volume_ul,
            )  # fmt: skip
        return StaticTransport(
            ends, self.donor_ul, self.receiver_ul,
            np.full(ends.size, self.removed_ul), np.full(ends.size, self.replaced_ul),
        )  # fmt: skip


@dataclass(frozen=True)
class TracerPlate:
    """What a person judges a plate by."""

    curve: TracerCurve
    found: tuple[Permeability, ...]


def tracer_plate_map(
    chips: Sequence[str],
    windows_h: Sequence[tuple[float, float]],
    kit: Kit,
    donor_dilution: float,
    rng: np.random.Generator,
    replicates: int = 1,
    receiver_dilution: float = 1.0,
) -> PlateMap:
    """Return the map: standards and background first, receivers and donors at random.

    Parameters
    ----------
    windows_h : of the receivers, study time; the first begins when the donors were loaded. Donors are
        read then and at the end of the last one.
    donor_dilution : brings the donor below what the inner filter bends.

    Raises
    ------
    ValueError : more wells than a plate has, or a kit without standards.
    """
    if kit.standards is None:
        raise ValueError(f"kit {kit.name} has no standards; a tracer is read off its own line")
    fixed: list[dict[str, Any]] = [
        {"kind": "standard", "concentration": concentration}
        for _ in range(kit.standards.replicates)
        for concentration in kit.standards.concentrations_pg_ml
    ]
    fixed += [{"kind": "blank", "concentration": 0.0}] * kit.standards.blank_replicates
    begin, end = float(windows_h[0][0]), float(windows_h[-1][1])
    samples: list[dict[str, Any]] = []
    for chip in chips:
        for start, stop in windows_h:
            window = (float(start), float(stop))
            one = {
                "kind": "sample",
                "chip": chip,
                "window_h": window,
                "dilution": receiver_dilution,
            }
            samples += [one] * replicates
        for moment in (begin, end):
            one = {"kind": "donor", "chip": chip, "window_h": (moment, moment)}
            samples += [{**one, "dilution": donor_dilution}] * replicates
    return lay_out(fixed, samples, rng)


def readouts_from_tracer_plate(
    plate: AbsorbancePlate,
    plate_map: PlateMap,
    kit: Kit,
    design: TracerDesign,
    cycle: int = 0,
    limits: PermeabilityLimits | None = None,
) -> tuple[TracerPlate, list[Readout]]:
    """Return the line with each chip's permeability, and one ``P_app`` readout (ln scale) per chip.

    Raises
    ------
    FileNotValid : a wavelength that was not read. ValueError : no standards, background, or donor at
        the start.
    """
    signals = _signals(plate, plate_map, kit)
    standards = [one for one in plate_map if one.kind in ("standard", "blank")]
    points = [
        (one.concentration if one.kind == "standard" else 0.0, signals[one.well])
        for one in standards
        if math.isfinite(signals[one.well])
    ]
    x, y = np.array(points, dtype=float).reshape(-1, 2).T
    curve = tracer_curve(x, y, UNIT, design.noise)
    chips = sorted({str(one.chip) for one in plate_map if one.kind == "sample"})
    runs, lost = [], []
    for chip in chips:
        try:
            runs.append(_run(chip, plate_map, signals, curve, design))
        except NoDonor as problem:
            donors = [one.well for one in plate_map if one.kind == "donor" and one.chip == chip]
            if not set(donors) & set(plate.left_out):
                raise
            lost.append(_not_measured(chip, plate, plate_map, design, cycle, str(problem)))
    found = []
    if runs:
        found = permeabilities(runs, design.lag_h, noise=design.noise, limits=limits, pool=True)
    readouts = lost + [one.readout(cycle, plate.plate_id, plate.raw_sha256) for one in found]
    readouts.sort(key=lambda one: one.chip_id)
    return TracerPlate(curve, tuple(found)), [
        told_of_wells(one, plate, plate_map) if plate.left_out else one for one in readouts
    ]


class NoDonor(ValueError):
    """A chip of which nobody knows what it was given."""


def _not_measured(
    chip: str,
    plate: AbsorbancePlate,
    plate_map: PlateMap,
    design: TracerDesign,
    cycle: int,
    why: str,
) -> Readout:
    """Return the readout of a chip without a number, at the time that its number would have."""
    transport = design.transport(_windows(chip, plate_map))
    return Readout(
        chip, "P_app", math.nan, PERMEABILITY_UNIT, math.nan, "log",
        design.loaded_h + float(transport.ends_h[-1]), window_start_h=design.loaded_h, n=0, qc="fail",
        reasons=(why,), method="no donor", plate=plate.plate_id, raw_sha256=plate.raw_sha256, cycle=cycle,
    )  # fmt: skip


def _windows(chip: str, plate_map: PlateMap) -> list[tuple[float, float]]:
    own = (one for one in plate_map if one.chip == chip and one.kind == "sample")
    return sorted({one.window_h for one in own if one.window_h is not None})


def told_of_wells(readout: Readout, plate: AbsorbancePlate, plate_map: PlateMap) -> Readout:
    """Return a readout that tells which wells of its chip, and of the line, a person left out."""
    reasons = tuple(
        f"{one.kind} {one.well} {plate.left_out[one.well]}"
        for one in plate_map
        if one.well in plate.left_out and one.chip in (None, readout.chip_id)
    )
    if not reasons:
        return readout
    qc: Quality = "fail" if readout.qc == "fail" else "warn"
    return replace(readout, qc=qc, reasons=(*readout.reasons, *reasons))


def _signals(plate: AbsorbancePlate, plate_map: PlateMap, kit: Kit) -> dict[str, float]:
    """Return well -> signal; NaN where there is none."""
    main = round(kit.wavelength_nm)
    reference = kit.reference_wavelength_nm
    for needed in (main, *((round(reference),) if reference is not None else ())):
        if needed not in plate.absorbance:
            raise FileNotValid(
                f"plate {plate.plate_id} was read at {sorted(plate.absorbance)} nm; kit {kit.name} "
                f"needs {needed} nm"
            )
    signal = plate.absorbance[main]
    if reference is not None:
        signal = signal - plate.absorbance[round(reference)]
    return {
        one.well: math.nan
        if one.well in plate.left_out or plate.flags.get((main, one.well))
        else float(signal[one.index])
        for one in plate_map
    }


def _run(
    chip: str,
    plate_map: PlateMap,
    signals: dict[str, float],
    curve: TracerCurve,
    design: TracerDesign,
) -> TracerRun:
    own = [one for one in plate_map if one.chip == chip and one.window_h is not None]
    windows = _windows(chip, plate_map)
    reasons: list[str] = []
    means, wells, leans = [], [], []
    for window in windows:
        group = [one for one in own if one.kind == "sample" and one.window_h == window]
        value, n, lean = _mean(group, signals, curve, f"{window[1]:g} h", reasons)
        means.append(value)
        wells.append(n)
        leans.append(lean)
    donors: dict[float, Donor] = {}
    for moment in sorted({one.window_h[1] for one in own if one.kind == "donor" and one.window_h}):
        group = [
            one for one in own if one.kind == "donor" and one.window_h and one.window_h[1] == moment
        ]
        value, n, lean = _mean(group, signals, curve, f"donor, {moment:g} h", reasons)
        if math.isfinite(value):
            donors[moment] = Donor(value, 0.0, n, tuple(float(one) for one in lean))
    start = next((d for moment, d in donors.items() if abs(moment - design.loaded_h) < 1e-6), None)
    if start is None:
        raise NoDonor(
            f"{chip}: no donor well with a signal at {design.loaded_h:g} h, when it was loaded "
            f"({'; '.join(reasons) or 'read: ' + (', '.join(f'{m:g} h' for m in donors) or 'none')})"
        )
    late = next((d for moment, d in donors.items() if abs(moment - windows[-1][1]) < 1e-6), None)
    return TracerRun(
        chip, design.transport(windows),
        ReceiverSamples(np.array(means), np.maximum(np.array(wells), 1), np.array(leans)),
        start, design.area_cm2, late, design.free_dye, (*reasons, *curve.reasons), design.loaded_h,
    )  # fmt: skip


def _mean(
    group: Sequence[PlateWell],
    signals: dict[str, float],
    curve: TracerCurve,
    said: str,
    reasons: list[str],
) -> tuple[float, int, np.ndarray]:
    """Return mean concentration, wells and leans on the line; NaN, and why, without a number."""
    signal = np.array([signals[one.well] for one in group])
    dilution = np.array([one.dilution for one in group])
    good = np.isfinite(signal)
    lost = [one.well for one, has in zip(group, good, strict=True) if not has]
    if lost:
        reasons.append(f"{said}: no signal in {', '.join(lost)}")
    if not good.any():
        return math.nan, 0, np.zeros(2)
    if np.any(curve.is_beyond(signal[good])):
        reasons.append(f"{said}: above the straight part of the line; dilute and read again")
        return math.nan, 0, np.zeros(2)
    leans = curve.leans(curve.concentration(signal[good]), dilution[good]).mean(axis=0)
    value = float(np.mean(curve.concentration(signal[good], dilution[good])))
    return value, int(good.sum()), np.asarray(leans)

"""Released LDH of a plate to the released fraction of a chip, and the viability that is left.

Belongs here: the LDH release assay. Not here: what viability means for a dose (safety, policies).

    released = (A_sample - A_blank) / (A_max - A_blank) * dilution_sample / dilution_max

A is absorbance at the kit's wavelength minus its reference (490 - 680 nm). A_max is the lysate of a
whole chip in the volume of one pooled sample, so ``released`` is the part of the chip's LDH that
was found in that sample. Noise may make it negative; it stays negative (clipping would bias the sum
over windows).

Uncertainty: one well has sd = s sqrt(floor^2 + (cv A)^2), s from the scatter of the plate's own
replicates around their means (duplicates alone tell too little of their own sd); first-order error
propagation through the ratio; sqrt(d / (d - 2)) for an s known from d degrees of freedom only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chiploop.assays.plate_map import PlateMap
from chiploop.assays.plate_signal import NoiseModel, WellSignal, corrected_signals, sample_groups
from chiploop.assays.well_measurements import EFFLUENT, WellValue
from chiploop.measurement import AbsorbancePlate, Quality, Readout
from chiploop.study_parts import Kit

LDH_NOISE = NoiseModel(floor_od=0.006, cv=0.04)
"""Typical of a plate; only its shape matters where the plate has replicates, they give the scale.
"""
LEAST_SPAN_SD = 10.0
"""Maximum release must stand above the blank by this many sd, else the plate fails."""
LARGEST_CV = 0.20
"""Of replicates whose signal stands above the blank; beyond it the sample is flagged."""


@dataclass(frozen=True)
class ReleasePlate:
    """The controls of one LDH plate and its noise."""

    blank_od: float
    max_release_od: float
    blank_sd_od: float
    """Of the mean of the blanks."""
    max_release_sd_od: float
    """Of the mean of the maximum-release wells."""
    noise_scale: float
    degrees_of_freedom: int
    plate: str = ""
    qc: Quality = "ok"
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Viability:
    """Part of a chip's LDH that is still inside its cells; for display and limits."""

    value: float
    sd: float


WHOLE = Viability(1.0, 0.0)
"""Before the first sample."""


def readouts_from_ldh_plate(
    plate: AbsorbancePlate,
    plate_map: PlateMap,
    kit: Kit,
    cycle: int = 0,
    noise: NoiseModel = LDH_NOISE,
) -> tuple[ReleasePlate, list[Readout]]:
    """Return the plate's controls and one ``ldh_release`` readout per sample (linear scale, unit
    1).

    A maximum-release well that names a chip counts for that chip alone; those without serve every
    other chip.

    Raises
    ------
    FileNotValid : a wavelength that was not read. ValueError : a map without blanks or maximum
        release.
    """
    signals = corrected_signals(plate, plate_map, kit)
    blanks = [one for one in signals if one.content.kind == "blank"]
    lysates = [one for one in signals if one.content.kind == "max_release"]
    if not blanks or not lysates:
        raise ValueError(
            "the plate map has no blank or no max_release wells; nothing to compare with"
        )
    scale, degrees = _noise_scale(signals, noise)
    readouts = []
    shared = [one for one in lysates if one.content.chip is None]
    controls = _controls(blanks, shared or lysates, noise, scale, degrees, plate.plate_id)
    for (chip, window_h, dilution), wells in sample_groups(signals).items():
        own = [one for one in lysates if one.content.chip == chip]
        mine = (
            _controls(blanks, own, noise, scale, degrees, plate.plate_id)
            if own or not shared
            else controls
        )
        dilution_max = (own or shared)[0].content.dilution if own or shared else 1.0
        value, sd, n, qc, reasons = _released(wells, mine, noise, dilution / dilution_max)
        readouts.append(
            Readout(
                chip_id=chip,
                readout="ldh_release",
                value=value,
                unit="1",
                sd=sd,
                scale="linear",
                time_h=window_h[1],
                window_start_h=window_h[0],
                n=n,
                qc=qc,
                reasons=reasons,
                method=f"{kit.name}: part of maximum release, dilution {dilution:g}",
                plate=plate.plate_id,
                wells=tuple(one.content.well for one in wells),
                raw_sha256=plate.raw_sha256,
                cycle=cycle,
                channel=EFFLUENT,
                sd_kind="tech",
            )
        )
    return controls, readouts


def release_of_wells(
    plate: AbsorbancePlate, plate_map: PlateMap, kit: Kit, controls: ReleasePlate
) -> dict[str, WellValue]:
    """Return well -> its own released fraction by the plate's controls; for tables, not for the likelihood.

    Wells of a chip with a lysate of its own have none: theirs is not that of the plate.
    """
    signals = corrected_signals(plate, plate_map, kit)
    lysates = [one.content for one in signals if one.content.kind == "max_release"]
    own = {content.chip for content in lysates if content.chip is not None}
    shared = [content for content in lysates if content.chip is None]
    found = {}
    for one in signals:
        content = one.content
        if not shared or content.chip in own:
            continue
        dilution = content.dilution / shared[0].dilution
        value, sd, _, qc, reasons = _released((one,), controls, LDH_NOISE, dilution)
        found[content.well] = WellValue(
            "released fraction", value, "1", sd, "linear", "tech", qc=qc, reasons=reasons
        )
    return found


def viability(previous: Viability, releases: Sequence[Readout]) -> Viability:
    """Return what is left after further releases: previous minus their sum; sds add in quadrature.

    The windows' errors are taken as independent; what they share (one lot of lysate) is not in the
    sd.

    Raises
    ------
    ValueError : a readout that is no ``ldh_release`` or has no value (a window that was not read is
        not zero).
    """
    for one in releases:
        if one.readout != "ldh_release" or not math.isfinite(one.value):
            raise ValueError(
                f"{one.readout} of {one.chip_id} at {one.time_h:g} h has no released fraction "
                f"({one.qc}: "
                f"{', '.join(one.reasons) or 'no reason given'})"
            )
    value = previous.value - sum(one.value for one in releases)
    return Viability(value, math.sqrt(previous.sd**2 + sum(one.sd**2 for one in releases)))


def _noise_scale(signals: Sequence[WellSignal], noise: NoiseModel) -> tuple[float, int]:
    """Return s and its degrees of freedom, from all replicates of the plate; (1, 0) without any."""
    groups: dict[tuple[str, str | None, object, float], list[float]] = {}
    for one in signals:
        if not one.reason:
            content = one.content
            key = (content.kind, content.chip, content.window_h, content.dilution)
            groups.setdefault(key, []).append(one.signal_od)
    degrees = sum(len(values) - 1 for values in groups.values())
    if degrees < 3:
        return 1.0, 0
    squares = sum(
        ((value - float(np.mean(values))) / noise.sd(float(np.mean(values)))) ** 2
        for values in groups.values()
        for value in values
    )
    return math.sqrt(squares / degrees), degrees


def _mean(wells: Sequence[WellSignal]) -> tuple[float, int]:
    good = [one.signal_od for one in wells if not one.reason]
    return (float(np.mean(good)), len(good)) if good else (math.nan, 0)


def _controls(
    blanks: Sequence[WellSignal],
    lysates: Sequence[WellSignal],
    noise: NoiseModel,
    scale: float,
    degrees: int,
    plate_id: str,
) -> ReleasePlate:
    reasons = [
        f"{one.content.kind} {one.content.well} {one.reason}"
        for one in (*blanks, *lysates)
        if one.reason
    ]
    (low, n_low), (high, n_high) = _mean(blanks), _mean(lysates)
    qc: Quality = "warn" if reasons else "ok"
    if not n_low or not n_high:
        reasons.append("no blank or no maximum-release well with a signal")
        return ReleasePlate(
            low, high, math.nan, math.nan, scale, degrees, plate_id, "fail", tuple(reasons)
        )
    sd_low = scale * noise.sd(low) / math.sqrt(n_low)
    sd_high = scale * noise.sd(high) / math.sqrt(n_high)
    if not high - low > LEAST_SPAN_SD * math.hypot(sd_low, sd_high):
        qc = "fail"
        reasons.append(f"maximum release {high:.3f} OD is not clearly above the blank {low:.3f} OD")
    return ReleasePlate(low, high, sd_low, sd_high, scale, degrees, plate_id, qc, tuple(reasons))


def _released(
    wells: Sequence[WellSignal], controls: ReleasePlate, noise: NoiseModel, dilution: float
) -> tuple[float, float, int, Quality, tuple[str, ...]]:
    reasons = tuple(f"well {one.content.well} {one.reason}" for one in wells if one.reason)
    signal, n = _mean(wells)
    if controls.qc == "fail":
        return math.nan, math.nan, n, "fail", (*controls.reasons, *reasons)
    if not n or any(one.reason == "saturated" for one in wells):
        return math.nan, math.nan, n, "fail", (*reasons, "no number for this sample")
    span = controls.max_release_od - controls.blank_od
    ratio = (signal - controls.blank_od) / span
    good = [one.signal_od for one in wells if not one.reason]
    variance = (controls.noise_scale * noise.sd(signal)) ** 2
    if n > 1:
        scatter = float(np.std(good, ddof=1))
        if scatter > LARGEST_CV * abs(signal) and scatter > 3.0 * math.sqrt(variance):
            reasons = (*reasons, f"replicates differ: sd {scatter:.3f} OD at {signal:.3f} OD")
            variance = max(variance, scatter**2)
    sd_signal = math.sqrt(variance / n)
    heavy_tails = 1.0
    if controls.degrees_of_freedom > 2:
        heavy_tails = math.sqrt(controls.degrees_of_freedom / (controls.degrees_of_freedom - 2.0))
    sd = (
        heavy_tails
        / span
        * math.sqrt(
            sd_signal**2
            + ((1.0 - ratio) * controls.blank_sd_od) ** 2
            + (ratio * controls.max_release_sd_od) ** 2
        )
    )
    qc: Quality = "warn" if reasons or controls.qc == "warn" else "ok"
    return dilution * ratio, dilution * sd, n, qc, (*controls.reasons, *reasons)

"""Released LDH of a plate: the released fraction of a chip, and cytotoxicity against controls.

Belongs here: the LDH release assay. Not here: the ratio and its error (plate_controls), dyes that
living cells turn (metabolic_activity), what viability means for a dose (safety, policies).

    released     = (A_sample - A_blank) / (A_max - A_blank) * dilution_sample / dilution_max
    cytotoxicity = (A_sample - A_spontaneous) / (A_max - A_spontaneous)

A is absorbance at the kit's wavelength minus its reference (490 - 680 nm). A_max is the lysate of a
whole chip in the volume of one pooled sample, so ``released`` is the part of the chip's LDH that
was found in that sample, and adds up over windows. Cytotoxicity takes off what untreated cells
release (Decker & Lohmann-Matthes 1988); it is of one sample alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chiploop.assays.plate_controls import (
    ControlMean,
    Fraction,
    PlateScatter,
    control,
    control_mean,
    disturbances,
    fraction_between,
    scatter_of_plate,
    span_trouble,
    wells_of,
)
from chiploop.assays.plate_map import PlateMap
from chiploop.assays.plate_signal import NoiseModel, WellSignal, corrected_signals, sample_groups
from chiploop.assays.well_measurements import EFFLUENT, WellValue
from chiploop.measurement import AbsorbancePlate, Quality, Readout
from chiploop.study_parts import Kit

LDH_NOISE = NoiseModel(floor_od=0.006, cv=0.04)
"""Typical of a plate; only its shape matters where the plate has replicates, they give the scale.
"""


@dataclass(frozen=True)
class ReleasePlate:
    """The controls of one LDH plate and its noise."""

    low: ControlMean
    """Blank, or spontaneous release."""
    high: ControlMean
    """Maximum release that serves every chip without its own."""
    scatter: PlateScatter
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
    blanks = control(signals, "blank", "medium alone", plate.plate_id)
    scatter = scatter_of_plate(signals, noise)
    return _between(signals, "ldh_release", blanks, "blank", scatter, plate, kit, cycle)


def cytotoxicity_from_ldh_plate(
    plate: AbsorbancePlate,
    plate_map: PlateMap,
    kit: Kit,
    cycle: int = 0,
    noise: NoiseModel = LDH_NOISE,
) -> tuple[ReleasePlate, list[Readout]]:
    """Return the plate's controls and one ``cytotoxicity`` readout per sample (linear scale, unit 1).

    Raises
    ------
    FileNotValid : a wavelength that was not read. ValueError : a map without spontaneous or maximum
        release.
    """
    signals = corrected_signals(plate, plate_map, kit)
    why = "what untreated cells release"
    untreated = control(signals, "spontaneous", why, plate.plate_id)
    scatter = scatter_of_plate(signals, noise)
    name = "spontaneous release"
    return _between(signals, "cytotoxicity", untreated, name, scatter, plate, kit, cycle)


def _between(
    signals: tuple[WellSignal, ...],
    readout: str,
    below: Sequence[WellSignal],
    below_name: str,
    scatter: PlateScatter,
    plate: AbsorbancePlate,
    kit: Kit,
    cycle: int,
) -> tuple[ReleasePlate, list[Readout]]:
    lysates = control(signals, "max_release", "what counts as all released", plate.plate_id)
    shared = wells_of(lysates, "max_release")
    low = control_mean(below_name, below, scatter)
    high = control_mean("maximum release", shared or lysates, scatter)
    readouts = []
    for (chip, window_h, dilution), wells in sample_groups(signals).items():
        own = [one for one in lysates if one.content.chip == chip]
        mine = control_mean("maximum release", own, scatter) if own else high
        dilution_max = (own or shared)[0].content.dilution if own or shared else 1.0
        is_release = readout == "ldh_release"
        found = fraction_between(
            wells, low, mine, scatter, dilution / dilution_max, None if is_release else 1.0
        )
        reasons = (*found.reasons, *disturbances(signals, chip, low, mine, scatter))
        readouts.append(
            Readout(
                chip_id=chip,
                readout=readout,
                value=found.value,
                unit="1",
                sd=found.sd,
                scale="linear",
                time_h=window_h[1],
                window_start_h=window_h[0],
                n=found.n,
                qc="warn" if found.qc == "ok" and reasons else found.qc,
                reasons=reasons,
                method=f"{kit.name}: part of maximum release"
                + (", " if is_release else f" above the {below_name}, ")
                + f"dilution {dilution:g}",
                plate=plate.plate_id,
                wells=tuple(one.content.well for one in wells),
                raw_sha256=plate.raw_sha256,
                cycle=cycle,
                channel=EFFLUENT,
                sd_kind="tech",
                curve=shared_errors(found, bool(own)),
            )
        )
    trouble = span_trouble(low, high)
    reasons = (*low.reasons, *high.reasons, *((trouble,) if trouble else ()))
    qc: Quality = "fail" if trouble else "warn" if reasons else "ok"
    return ReleasePlate(low, high, scatter, plate.plate_id, qc, reasons), readouts


def shared_errors(found: Fraction, own_control: bool) -> tuple[float, ...]:
    """Return what the samples of a plate share: both controls, or the low one where the high is its own."""
    if found.qc == "fail":
        return ()
    return (found.curve[0], 0.0) if own_control else found.curve


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
        own_value = fraction_between(
            (one,), controls.low, controls.high, controls.scatter, dilution
        )
        found[content.well] = well_value("released fraction", own_value)
    return found


def well_value(quantity: str, found: Fraction) -> WellValue:
    """Return where one well stands between its controls, for tables."""
    return WellValue(
        quantity, found.value, "1", found.sd, "linear", "tech", qc=found.qc, reasons=found.reasons
    )


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

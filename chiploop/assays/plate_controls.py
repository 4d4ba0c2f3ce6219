"""Where a sample stands between two controls of its plate, with the error that all samples share.

Belongs here: scatter of a plate, means of controls, the ratio, compounds that disturb it. Not here:
which controls an assay takes and what the ratio means (viability, metabolic_activity).

    f = (A_sample - A_low) / (A_high - A_low) * dilution_sample / dilution_high

Noise may take f below 0 or above 1; it stays there (clipping would bias every mean), and is told
where it is more than noise. One well has sd = s sqrt(floor^2 + (cv A)^2), s from the scatter of the
plate's own replicates around their means; sqrt(d / (d - 2)) for an s known from d degrees of freedom.
``curve`` holds what f leans on the errors of the two controls, which all samples of a plate share.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from chiploop.assays.plate_map import WellKind
from chiploop.assays.plate_signal import NoiseModel, WellSignal
from chiploop.measurement import Quality

LEAST_SPAN_SD = 10.0
"""The high control must stand above the low one by this many sd, else the plate fails."""
LARGEST_CV = 0.20
"""Of replicates whose signal stands above the blank; beyond it the sample is flagged."""
DISTURBED = 0.05
"""Part of the span by which a compound may move a control without being told."""
BEYOND_NOISE = 3.0
"""sd from which such a shift counts."""
SEEN_SD = 1.96
"""sd below 0 or above 1 from which a value is told to be there."""


@dataclass(frozen=True)
class PlateScatter:
    """How wells of one plate scatter."""

    noise: NoiseModel
    scale: float
    degrees_of_freedom: int

    def sd(self, signal_od: float, n: int) -> float:
        """Return the sd of a mean of n wells."""
        return self.scale * self.noise.sd(signal_od) / math.sqrt(n)

    @property
    def heavy_tails(self) -> float:
        """Return what widens an sd whose scale is known from few wells."""
        degrees = self.degrees_of_freedom
        return math.sqrt(degrees / (degrees - 2.0)) if degrees > 2 else 1.0


@dataclass(frozen=True)
class ControlMean:
    """Mean of the wells of one control."""

    name: str
    od: float
    sd_od: float
    n: int
    reasons: tuple[str, ...]
    """Of wells without a signal."""


@dataclass(frozen=True)
class Fraction:
    """Where one sample stands between its controls."""

    value: float
    sd: float
    n: int
    curve: tuple[float, float]
    """What the value leans on the errors of the low and the high control."""
    qc: Quality
    reasons: tuple[str, ...]


def scatter_of_plate(signals: Iterable[WellSignal], noise: NoiseModel) -> PlateScatter:
    """Return the scatter of all replicates of the plate; scale 1 where there are too few."""
    groups: dict[tuple[str, str | None, object, float], list[float]] = {}
    for one in signals:
        if not one.reason:
            content = one.content
            key = (content.kind, content.chip, content.window_h, content.dilution)
            groups.setdefault(key, []).append(one.signal_od)
    degrees = sum(len(values) - 1 for values in groups.values())
    if degrees < 3:
        return PlateScatter(noise, 1.0, 0)
    squares = sum(
        ((value - float(np.mean(values))) / noise.sd(float(np.mean(values)))) ** 2
        for values in groups.values()
        for value in values
    )
    return PlateScatter(noise, math.sqrt(squares / degrees), degrees)


def wells_of(
    signals: Iterable[WellSignal], kind: WellKind, chip: str | None = None
) -> list[WellSignal]:
    """Return the wells of a kind that serve a chip: its own, or else those that name none.

    Without a chip: those that name none.
    """
    found = [one for one in signals if one.content.kind == kind]
    own = [one for one in found if chip is not None and one.content.chip == chip]
    return own or [one for one in found if one.content.chip is None]


def control(
    signals: Iterable[WellSignal], kind: WellKind, why: str, plate: str = ""
) -> list[WellSignal]:
    """Return all wells of a control; ValueError, with what it is needed for, where there is none."""
    found = [one for one in signals if one.content.kind == kind]
    if not found:
        of = f" of plate {plate}" if plate else ""
        raise ValueError(f"the plate map{of} has no {kind} wells; they are needed: {why}")
    return found


def control_mean(name: str, wells: Sequence[WellSignal], scatter: PlateScatter) -> ControlMean:
    """Return the mean of the wells with a signal; NaN without one."""
    reasons = tuple(
        f"{one.content.kind} {one.content.well} {one.reason}" for one in wells if one.reason
    )
    good = [one.signal_od for one in wells if not one.reason]
    if not good:
        return ControlMean(name, math.nan, math.nan, 0, (*reasons, f"no {name} well with a signal"))
    mean = float(np.mean(good))
    return ControlMean(name, mean, scatter.sd(mean, len(good)), len(good), reasons)


def span_trouble(low: ControlMean, high: ControlMean) -> str:
    """Return why nothing can be read between two controls; empty where it can."""
    if not low.n or not high.n:
        return f"no {low.name} or no {high.name} well with a signal"
    if not high.od - low.od > LEAST_SPAN_SD * math.hypot(low.sd_od, high.sd_od):
        return f"{high.name} {high.od:.3f} OD is not clearly above the {low.name} {low.od:.3f} OD"
    return ""


def fraction_between(
    wells: Sequence[WellSignal],
    low: ControlMean,
    high: ControlMean,
    scatter: PlateScatter,
    dilution: float = 1.0,
    most: float | None = None,
) -> Fraction:
    """Return where the replicates of a sample stand; ``qc`` ``fail`` where there is no number.

    Parameters
    ----------
    dilution : of the sample over that of the high control.
    most : value from which on it is told to lie above the high control; None where it may.
    """
    reasons = [f"well {one.content.well} {one.reason}" for one in wells if one.reason]
    of_controls = [*low.reasons, *high.reasons]
    good = [one.signal_od for one in wells if not one.reason]
    n, nan = len(good), math.nan
    trouble = span_trouble(low, high)
    if trouble or not n or any(one.reason == "saturated" for one in wells):
        why = trouble or "no number for this sample"
        return Fraction(nan, nan, n, (nan, nan), "fail", (*of_controls, *reasons, why))
    signal, span = float(np.mean(good)), high.od - low.od
    ratio = (signal - low.od) / span
    variance = scatter.sd(signal, 1) ** 2
    if n > 1:
        own = float(np.std(good, ddof=1))
        if own > LARGEST_CV * abs(signal) and own > 3.0 * math.sqrt(variance):
            reasons.append(f"replicates differ: sd {own:.3f} OD at {signal:.3f} OD")
            variance = max(variance, own**2)
    wide = scatter.heavy_tails * dilution / span
    curve = ((ratio - 1.0) * low.sd_od * wide, -ratio * high.sd_od * wide)
    sd = math.sqrt(wide**2 * variance / n + curve[0] ** 2 + curve[1] ** 2)
    value = dilution * ratio
    if value < -SEEN_SD * sd:
        reasons.append(f"{value:.1%} is below the {low.name} by more than noise; it stays so")
    if most is not None and value > most + SEEN_SD * sd:
        reasons.append(f"{value:.1%} is above the {high.name} by more than noise; it stays so")
    qc: Quality = "warn" if reasons or of_controls else "ok"
    return Fraction(value, sd, n, curve, qc, (*of_controls, *reasons))


def disturbances(
    signals: Sequence[WellSignal],
    chip: str,
    low: ControlMean,
    high: ControlMean,
    scatter: PlateScatter,
) -> tuple[str, ...]:
    """Return what the compound of a chip does to the signal by itself; the values stay as they are.

    ``compound_blank`` wells hold compound without cells (its colour), ``compound_full`` wells
    compound with the full signal (quenching, inhibition of the assay).
    """
    if span_trouble(low, high):
        return ()
    span, found = high.od - low.od, []
    for kind, beside, what in (
        ("compound_blank", low, "compound colour: without cells it reads"),
        ("compound_full", high, "compound quenching: with the full signal it reads"),
    ):
        wells = wells_of(signals, kind, chip)  # type: ignore[arg-type]
        if not wells:
            continue
        mean = control_mean(kind, wells, scatter)
        shift = (mean.od - beside.od) / span
        sd = math.hypot(mean.sd_od, beside.sd_od) / span
        if abs(shift) > DISTURBED and abs(shift) > BEYOND_NOISE * sd:
            found.append(f"{what} {shift:+.0%} of the span off the {beside.name}")
    return tuple(found)

"""Immunoassay plates: standards to a curve, sample wells to concentrations with their uncertainty.

Belongs here: samples of a plate, inversion with what the likelihood needs of it, censoring. Not here:
the curve and its limits (standard_curve), its fit (curve_fit), how a plate is read. Acceptance follows
the kit's rules, or those of ligand-binding assays (acceptance_rules). What lies outside of LLOQ and ULOQ
is censored, with its bound on the scale of the sample (after dilution), and never a number.

The sd of ln concentration of a sample mean is

    sd^2 = (dx/dy)^2 s^2 sd(y)^2 / n  +  g' C g        (replicate noise, curve)

with x = ln concentration at the mean signal y, sd(y) the noise model, s and C scale and covariance
of this plate's fit, g = dx/dparameters. s is known from n - 4 = d wells only; sqrt(d / (d - 2))
makes the sd that of the t distribution, so that a reader who takes it for normal is not
over-confident. The 95 % interval beside it is by inversion and needs no such step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from chiploop.assays.acceptance_rules import acceptance_rules
from chiploop.assays.curve_weights import Weighting
from chiploop.assays.inverse_estimate import inverse_estimate
from chiploop.assays.plate_map import PlateMap
from chiploop.assays.plate_signal import (
    NoiseModel,
    WellSignal,
    corrected_signals,
    sample_groups,
)
from chiploop.assays.standard_curve import StandardCurve, standard_curve
from chiploop.assays.well_measurements import EFFLUENT, WellValue
from chiploop.measurement import AbsorbancePlate, Censoring, Quality, Readout
from chiploop.study_parts import Acceptance, Kit

UNIT = "pg/mL"
ELISA_NOISE = NoiseModel(floor_od=0.008, cv=0.05)
"""Typical of a plate ELISA. Only its shape matters: each plate's fit scales it to the plate's own
scatter.
"""


@dataclass(frozen=True)
class EstimatedConcentration:
    """Concentration of one sample, after dilution is taken back."""

    value: float
    """pg/mL in the sample; NaN where censored or failed."""
    sd_ln: float
    """Of ln(value); where censored, of a sample at the bound."""
    curve: tuple[float, ...]
    """What ln(value) leans on each independent error of the curve, which the samples of a plate share; the sum of
    their squares is part of ``sd_ln`` squared."""
    censoring: Censoring = "none"
    lower: float = -math.inf
    upper: float = math.inf
    n: int = 0
    """Wells behind the value."""
    cv: float = math.nan
    """Of the replicates' concentrations; NaN for fewer than two."""
    cv_signal: float = math.nan
    """Of the replicates' signals; NaN for fewer than two."""
    replicates: tuple[float, ...] = ()
    """Concentration of each good well in the sample, kept also where they differ; 0 or inf beyond an
    asymptote."""
    interval: tuple[float, float] = (math.nan, math.nan)
    """95 % by inversion, pg/mL in the sample; 0 or inf where open, NaN where there is no value."""
    qc: Quality = "ok"
    reasons: tuple[str, ...] = field(default=())


def fit_standard_curve(
    signals: Sequence[WellSignal],
    acceptance: Acceptance | None = None,
    noise: NoiseModel = ELISA_NOISE,
    plate: str = "",
) -> StandardCurve:
    """Return the standard curve of a plate from its standard and blank wells.

    A curve that does not meet the rules comes back with ``qc`` ``fail`` and the reason; it gives no
    concentrations. Top standards that hook are left out before the fit, and said.

    Raises
    ------
    ValueError : no standard among the wells.
    """
    used = [one for one in signals if one.content.kind in ("standard", "blank")]
    if not any(one.content.kind == "standard" for one in used):
        raise ValueError(
            "the plate map has no standard wells; a concentration can not be calculated"
        )
    points = [
        (one.content.concentration if one.content.kind == "standard" else 0.0, one.signal_od)
        for one in used
        if not one.reason
    ]
    return standard_curve(
        np.array([point[0] for point in points], dtype=float),
        np.array([point[1] for point in points], dtype=float),
        acceptance or acceptance_rules().acceptance,
        Weighting("floor_and_cv", noise.floor_od / noise.cv),
        noise,
        nominal=[float(one.content.concentration or 0.0) for one in used],
        plate=plate,
        wells=tuple(one.content.well for one in used),
        reasons=[
            f"{one.content.kind} {one.content.well} {one.reason}" for one in used if one.reason
        ],
        unit=UNIT,
    )


def _sd_ln(
    curve: StandardCurve, signal: float, variance_of_mean: float
) -> tuple[float, tuple[float, ...]]:
    """Return the sd of ln concentration and what it leans on the curve's errors, at a mean signal."""
    degrees = curve.fit.degrees_of_freedom
    heavy_tails = math.sqrt(degrees / (degrees - 2.0))
    by_signal, gradient = curve.fit.curve.ln_concentration_gradient(signal)
    by_parameters = gradient[list(curve.fit.free)]
    size, direction = np.linalg.eigh(curve.covariance)
    leans = heavy_tails * (by_parameters @ direction) * np.sqrt(np.maximum(size, 0.0))
    total = math.hypot(
        heavy_tails * abs(by_signal) * math.sqrt(variance_of_mean), float(np.linalg.norm(leans))
    )
    return total, tuple(float(one) for one in leans)


def estimate_concentration(
    curve: StandardCurve,
    signals_od: Sequence[float],
    dilution: float = 1.0,
    flags: Sequence[str] = (),
) -> EstimatedConcentration:
    """Return the concentration of one sample from its replicate wells.

    Parameters
    ----------
    curve : an accepted curve; with a failed one the answer is failed too.
    signals_od : corrected signals of the replicates, NaN for a well without one.
    dilution : times that the sample was diluted.
    flags : a reason for each well ("saturated", "masked", ...), empty for a good one.

    Notes
    -----
    Replicates that differ by more than the accepted CV are kept, flagged, and their own scatter
    replaces the noise model where it is larger. A saturated replicate makes the sample
    right-censored: it lies above the ULOQ.
    """
    reasons = tuple(dict.fromkeys(flag for flag in flags if flag))
    nothing = EstimatedConcentration(math.nan, math.nan, (), qc="fail")
    if curve.qc == "fail":
        return replace(nothing, reasons=("standard curve failed", *curve.reasons, *reasons))
    good = np.array([signal for signal in signals_od if math.isfinite(signal)])
    if "saturated" in reasons:
        return beyond_limit(curve, "right", dilution, good.size, (*reasons, "above ULOQ"))
    if not good.size:
        return replace(nothing, reasons=(*reasons, "no well with a signal"))
    mean = float(np.mean(good))
    ln_well = curve.fit.curve.ln_concentration(mean)
    if ln_well > math.log(curve.uloq):
        return beyond_limit(curve, "right", dilution, good.size, (*reasons, "above ULOQ"))
    if ln_well < math.log(curve.lloq):
        return beyond_limit(curve, "left", dilution, good.size, (*reasons, "below LLOQ"))
    each = tuple(
        dilution * math.exp(curve.fit.curve.ln_concentration(float(signal))) for signal in good
    )
    cv = _cv(np.array(each))
    own_sd: float | None = None
    variance = curve.fit.signal_sd(mean) ** 2
    at_end = len(curve.levels) > 2 and not (
        math.log(curve.lloq * 1.25) < ln_well < math.log(curve.uloq / 1.25)
    )
    limit = curve.acceptance.cv_at_limits if at_end else curve.acceptance.cv
    if cv > limit:
        told = f"CV {cv:.0%}" if math.isfinite(cv) else "one lies beyond the curve, CV"
        reasons = (*reasons, f"replicates differ: {told} above {limit:.0%}")
        variance = max(variance, float(np.var(good, ddof=1)))
        own_sd = math.sqrt(variance)
    if any("hook" in reason for reason in curve.reasons):
        reasons = (*reasons, "hook effect on this plate: the sample may be above the ULOQ")
    sd, shared = _sd_ln(curve, mean, variance / good.size)
    qc: Quality = "warn" if reasons else "ok"
    ends = inverse_estimate(curve.fit, mean, int(good.size), well_sd=own_sd)
    return EstimatedConcentration(
        math.exp(ln_well) * dilution,
        sd,
        shared,
        n=int(good.size),
        cv=cv,
        cv_signal=_cv(good),
        replicates=each,
        interval=(ends.lower * dilution, ends.upper * dilution),
        qc=qc,
        reasons=reasons,
    )


def beyond_limit(
    curve: StandardCurve,
    side: Literal["left", "right"],
    dilution: float,
    n: int,
    reasons: tuple[str, ...],
) -> EstimatedConcentration:
    """Return a bound on the scale of the sample: below the LLOQ (left) or above the ULOQ (right)."""
    limit = curve.lloq if side == "left" else curve.uloq
    bound_signal = float(curve.fit.curve.signal(limit))
    sd, shared = _sd_ln(curve, bound_signal, curve.fit.signal_sd(bound_signal) ** 2 / max(n, 1))
    lower, upper = (-math.inf, limit * dilution) if side == "left" else (limit * dilution, math.inf)
    return EstimatedConcentration(
        math.nan, sd, shared, side, lower, upper, n=n, qc="warn", reasons=reasons
    )


def _cv(values: np.ndarray) -> float:
    if values.size < 2:
        return math.nan
    if not np.all(np.isfinite(values)) or np.any(values <= 0.0):
        return math.inf
    return float(np.std(values, ddof=1) / np.mean(values))


def readouts_from_elisa_plate(
    plate: AbsorbancePlate,
    plate_map: PlateMap,
    kit: Kit,
    cycle: int = 0,
    noise: NoiseModel = ELISA_NOISE,
) -> tuple[StandardCurve, list[Readout]]:
    """Return the curve of a plate and one readout per sample (chip, window and dilution).

    Parameters
    ----------
    plate : read at the kit's two wavelengths; the signal is their difference.
    cycle : of the study, noted on the readouts.

    Raises
    ------
    FileNotValid : a wavelength that was not read. ValueError : a map without standards.
    """
    signals = corrected_signals(plate, plate_map, kit)
    curve = fit_standard_curve(signals, kit.acceptance, noise, plate.plate_id)
    readouts = []
    for (chip, window_h, dilution), wells in sample_groups(signals).items():
        estimate = estimate_concentration(
            curve, [one.signal_od for one in wells], dilution, [one.told for one in wells]
        )
        readouts.append(
            Readout(
                chip_id=chip,
                readout=kit.readout,
                value=estimate.value,
                unit=UNIT,
                sd=estimate.sd_ln,
                scale="log",
                time_h=window_h[1],
                window_start_h=window_h[0],
                censoring=estimate.censoring,
                lower=estimate.lower,
                upper=estimate.upper,
                n=estimate.n,
                qc=estimate.qc,
                reasons=estimate.reasons,
                method=f"{kit.name}: 4PL, weights by fitted signal, dilution {dilution:g}",
                plate=plate.plate_id,
                wells=tuple(one.content.well for one in wells),
                raw_sha256=plate.raw_sha256,
                cycle=cycle,
                curve=estimate.curve,
                channel=EFFLUENT,
                sd_kind="fit",
            )
        )
    return curve, readouts


def concentrations_of_wells(
    plate: AbsorbancePlate, plate_map: PlateMap, kit: Kit, curve: StandardCurve
) -> dict[str, WellValue]:
    """Return well -> its own concentration; for tables, not for the likelihood.

    Standards are calculated back to a number beyond LLOQ and ULOQ too: these follow from them.
    """
    found = {}
    for one in corrected_signals(plate, plate_map, kit):
        content = one.content
        dilution = content.dilution if content.kind == "sample" else 1.0
        estimate = estimate_concentration(curve, [one.signal_od], dilution, [one.told])
        if content.kind == "standard" and curve.qc != "fail" and not one.reason:
            ln_back = curve.fit.curve.ln_concentration(one.signal_od)
            if math.isfinite(ln_back):
                variance = curve.fit.signal_sd(one.signal_od) ** 2
                sd, _ = _sd_ln(curve, one.signal_od, variance)
                estimate = EstimatedConcentration(math.exp(ln_back), sd, (), n=1)
        found[content.well] = WellValue(
            "concentration",
            estimate.value,
            UNIT,
            estimate.sd_ln,
            "log",
            "fit",
            estimate.censoring,
            estimate.lower,
            estimate.upper,
            estimate.qc,
            estimate.reasons,
            kit.readout,
        )
    return found

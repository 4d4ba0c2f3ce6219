"""Immunoassay plates: standards to a curve, sample wells to concentrations with their uncertainty.

Belongs here: calibrators, limits of quantification, inversion, censoring. Not here: the curve's
mathematics (four_parameter_curve), how a plate is read. Acceptance follows the rules of
ligand-binding assays (ICH M10, 2022): calibrators back-calculate within 20 %, within 25 % at the
ends; at least 75 % of the levels and six pass. LLOQ and ULOQ are the lowest and the highest
calibrator that pass. What lies outside is censored, with its bound on the scale of the sample
(after dilution), and never a number.

The sd of ln concentration of a sample mean is

    sd^2 = (dx/dy)^2 s^2 sd(y)^2 / n  +  g' C g        (replicate noise, curve)

with x = ln concentration at the mean signal y, sd(y) the noise model, s and C scale and covariance
of this plate's fit, g = dx/dparameters. s is known from n - 4 = d wells only; sqrt(d / (d - 2))
makes the sd that of the t distribution, so that a reader who takes it for normal is not
over-confident.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from chiploop.assays.four_parameter_curve import FourParameterFit, fit_four_parameters
from chiploop.assays.plate_map import PlateMap
from chiploop.assays.plate_signal import (
    NoiseModel,
    WellSignal,
    corrected_signals,
    sample_groups,
)
from chiploop.measurement import AbsorbancePlate, Censoring, Quality, Readout
from chiploop.study_parts import Acceptance, Kit

UNIT = "pg/mL"
ELISA_NOISE = NoiseModel(floor_od=0.008, cv=0.05)
"""Typical of a plate ELISA. Only its shape matters: each plate's fit scales it to the plate's own
scatter.
"""
LIGAND_BINDING_RULES = Acceptance(
    recovery=0.20,
    recovery_at_limits=0.25,
    cv=0.20,
    cv_at_limits=0.25,
    passing_levels=0.75,
    least_levels=6,
    quantification="passing_standards",
)
"""ICH M10 (2022), ligand-binding assays; replicate CV limits by custom. For a kit that states none.
"""
HOOK_Z = 3.0
"""A higher standard hooks where its mean lies below the mean of the level before by this many sd.
"""


@dataclass(frozen=True)
class CalibratorLevel:
    """One concentration of the standards and how it calculates back."""

    concentration: float
    """Nominal, pg/mL."""
    n: int
    mean_signal_od: float
    back_calculated: float
    """pg/mL from the mean signal; NaN where the curve has no value there."""
    recovery: float
    """Back-calculated over nominal; 1 is exact."""
    passed: bool


@dataclass(frozen=True)
class StandardCurve:
    """The curve of one plate, with what it may be used for."""

    fit: FourParameterFit
    lloq: float
    """Lowest calibrator that passes, pg/mL in the well."""
    uloq: float
    """Highest calibrator that passes, pg/mL in the well."""
    levels: tuple[CalibratorLevel, ...]
    """Ascending."""
    acceptance: Acceptance
    plate: str = ""
    wells: tuple[str, ...] = ()
    qc: Quality = "ok"
    """``fail``: no concentration may be read from this curve."""
    reasons: tuple[str, ...] = ()

    @property
    def parameters(self) -> tuple[float, float, float, float]:
        """Return (lower OD, upper OD, ec50 pg/mL, hill)."""
        return self.fit.lower, self.fit.upper, self.fit.ec50, self.fit.hill

    @property
    def covariance(self) -> np.ndarray:
        """Return (4, 4) of (lower, upper, ln ec50, ln hill): the error that all samples of a plate
        share.
        """
        return self.fit.covariance


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
    qc: Quality = "ok"
    reasons: tuple[str, ...] = field(default=())


def fit_standard_curve(
    signals: Sequence[WellSignal],
    acceptance: Acceptance = LIGAND_BINDING_RULES,
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
    reasons = [f"{one.content.kind} {one.content.well} {one.reason}" for one in used if one.reason]
    points = [
        (one.content.concentration if one.content.kind == "standard" else 0.0, one.signal_od)
        for one in used
        if not one.reason
    ]
    concentration = np.array([point[0] for point in points], dtype=float)
    signal = np.array([point[1] for point in points], dtype=float)
    hook = _hook_from(concentration, signal, noise)
    if hook is not None:
        reasons.append(
            f"hook effect: standards from {hook:g} {UNIT} up give less signal and are left out"
        )
        keep = concentration < hook
        concentration, signal = concentration[keep], signal[keep]
    fit = fit_four_parameters(concentration, signal, noise)
    wells = tuple(one.content.well for one in used)
    nominal = sorted({float(one.content.concentration or 0.0) for one in used} - {0.0})
    curve = StandardCurve(
        fit, math.nan, math.nan, (), acceptance, plate, wells, "warn" if reasons else "ok"
    )
    if fit.failure:
        return replace(curve, qc="fail", reasons=(*reasons, fit.failure))
    levels, lloq, uloq = _judge_levels(fit, nominal, concentration, signal, acceptance)
    passed = sum(level.passed for level in levels)
    if passed < acceptance.least_levels or passed < acceptance.passing_levels * len(nominal):
        failing = ", ".join(f"{level.concentration:g}" for level in levels if not level.passed)
        reasons.append(
            f"{passed} of {len(nominal)} calibrators calculate back within "
            f"{acceptance.recovery:.0%} ({acceptance.recovery_at_limits:.0%} at the ends); at "
            "least "
            f"{acceptance.least_levels} and {acceptance.passing_levels:.0%} must. Outside: "
            f"{failing} {UNIT}"
        )
        return replace(curve, levels=levels, qc="fail", reasons=tuple(reasons))
    return replace(curve, lloq=lloq, uloq=uloq, levels=levels, reasons=tuple(reasons))


def _hook_from(concentration: np.ndarray, signal: np.ndarray, noise: NoiseModel) -> float | None:
    """Return the lowest concentration of the run of top standards that hooks, None without one."""
    levels = np.unique(concentration[concentration > 0])
    means = [float(np.mean(signal[concentration == level])) for level in levels]
    counts = [int(np.sum(concentration == level)) for level in levels]
    for i in range(1, len(levels)):
        highest = max(range(i), key=means.__getitem__)
        variance = (
            noise.sd(means[i]) ** 2 / counts[i] + noise.sd(means[highest]) ** 2 / counts[highest]
        )
        # Only a fall that holds to the top is a hook; one low level in between is an outlier.
        falls = all(means[k] < means[highest] for k in range(i, len(levels)))
        if falls and means[i] < means[highest] - HOOK_Z * math.sqrt(variance):
            return float(levels[i])
    return None


def _judge_levels(
    fit: FourParameterFit,
    nominal: Sequence[float],
    concentration: np.ndarray,
    signal: np.ndarray,
    acceptance: Acceptance,
) -> tuple[tuple[CalibratorLevel, ...], float, float]:
    """Return the levels ascending, LLOQ and ULOQ (NaN where no level passes)."""
    levels = []
    for level in nominal:
        wells = signal[concentration == level]
        mean = float(np.mean(wells)) if wells.size else math.nan
        ln_back = fit.ln_concentration(mean) if wells.size else math.nan
        back = math.exp(ln_back) if math.isfinite(ln_back) else math.nan
        levels.append(CalibratorLevel(level, int(wells.size), mean, back, back / level, False))
    errors = [abs(level.recovery - 1.0) for level in levels]
    at_ends = [i for i, error in enumerate(errors) if error <= acceptance.recovery_at_limits]
    if not at_ends:
        return tuple(levels), math.nan, math.nan
    first, last = at_ends[0], at_ends[-1]
    passed = [
        i in (first, last) or (first < i < last and errors[i] <= acceptance.recovery)
        for i in range(len(levels))
    ]
    judged = tuple(replace(level, passed=ok) for level, ok in zip(levels, passed, strict=True))
    return judged, levels[first].concentration, levels[last].concentration


def _sd_ln(
    curve: StandardCurve, signal: float, variance_of_mean: float
) -> tuple[float, tuple[float, ...]]:
    """Return the sd of ln concentration and what it leans on the curve's errors, at a mean signal."""
    degrees = curve.fit.degrees_of_freedom
    heavy_tails = math.sqrt(degrees / (degrees - 2.0))
    by_signal, by_parameters = curve.fit.ln_concentration_gradient(signal)
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
        return _above(curve, dilution, max(good.size, 1), (*reasons, "above ULOQ"))
    if not good.size:
        return replace(nothing, reasons=(*reasons, "no well with a signal"))
    mean = float(np.mean(good))
    ln_well = curve.fit.ln_concentration(mean)
    if ln_well > math.log(curve.uloq):
        return _above(curve, dilution, good.size, (*reasons, "above ULOQ"))
    if ln_well < math.log(curve.lloq):
        bound_signal = float(curve.fit.signal(curve.lloq))
        sd, shared = _sd_ln(curve, bound_signal, curve.fit.signal_sd(bound_signal) ** 2 / good.size)
        return EstimatedConcentration(
            math.nan, sd, shared, "left", upper=curve.lloq * dilution, n=good.size,
            qc="warn", reasons=(*reasons, "below LLOQ"),
        )  # fmt: skip
    cv = _replicate_cv(curve, good)
    variance = curve.fit.signal_sd(mean) ** 2
    at_end = len(curve.levels) > 2 and not (
        math.log(curve.lloq * 1.25) < ln_well < math.log(curve.uloq / 1.25)
    )
    limit = curve.acceptance.cv_at_limits if at_end else curve.acceptance.cv
    if cv > limit:
        reasons = (*reasons, f"replicates differ: CV {cv:.0%} above {limit:.0%}")
        variance = max(variance, float(np.var(good, ddof=1)))
    if any("hook" in reason for reason in curve.reasons):
        reasons = (*reasons, "hook effect on this plate: the sample may be above the ULOQ")
    sd, shared = _sd_ln(curve, mean, variance / good.size)
    qc: Quality = "warn" if reasons else "ok"
    value = math.exp(ln_well) * dilution
    return EstimatedConcentration(
        value, sd, shared, n=int(good.size), cv=cv, qc=qc, reasons=reasons
    )


def _above(
    curve: StandardCurve, dilution: float, n: int, reasons: tuple[str, ...]
) -> EstimatedConcentration:
    bound_signal = float(curve.fit.signal(curve.uloq))
    sd, shared = _sd_ln(curve, bound_signal, curve.fit.signal_sd(bound_signal) ** 2 / n)
    return EstimatedConcentration(
        math.nan, sd, shared, "right", lower=curve.uloq * dilution, n=n, qc="warn", reasons=reasons
    )


def _replicate_cv(curve: StandardCurve, signals: np.ndarray) -> float:
    if signals.size < 2:
        return math.nan
    values = np.exp([curve.fit.ln_concentration(float(signal)) for signal in signals])
    if not np.all(np.isfinite(values)):
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
    curve = fit_standard_curve(
        signals, kit.acceptance or LIGAND_BINDING_RULES, noise, plate.plate_id
    )
    readouts = []
    for (chip, window_h, dilution), wells in sample_groups(signals).items():
        estimate = estimate_concentration(
            curve, [one.signal_od for one in wells], dilution, [one.reason for one in wells]
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
            )
        )
    return curve, readouts

"""The curve of one plate and what it may be used for: calibrators, limits, hook.

Belongs here: judging a fitted curve by a set of rules. Not here: the fit (curve_fit), samples
(immunoassay), rules (acceptance_rules). LLOQ and ULOQ are the lowest and the highest calibrator that
pass; the limit of detection from blanks and a limit by the CV of concentrations stand beside them and
decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chiploop.assays.curve_fit import CurveFit, fit_curve
from chiploop.assays.curve_weights import Weighting
from chiploop.assays.hook import hook_from
from chiploop.assays.logistic_curve import Model
from chiploop.assays.plate_signal import NoiseModel
from chiploop.measurement import Quality
from chiploop.study_parts import Acceptance

LEAST_DEGREES = 3
"""Of freedom: fewer give the t distribution no variance."""


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
    is_anchor: bool = False
    """Outside of the range: it helps the curve, and is neither judged nor a limit."""


@dataclass(frozen=True)
class StandardCurve:
    """The curve of one plate, with what it may be used for."""

    fit: CurveFit
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
        """Return (lower, upper, ec50, hill), hill below 0 for a falling curve."""
        curve = self.fit.curve
        return curve.lower, curve.upper, curve.ec50, curve.direction * curve.hill

    @property
    def covariance(self) -> np.ndarray:
        """Return (p, p) of the curve's free parameters: the error that all samples of a plate share.

        Of a 4PL these are (lower, upper, ln ec50, ln hill).
        """
        return self.fit.covariance[np.ix_(self.fit.free, self.fit.free)]


def standard_curve(
    concentration: np.ndarray,
    signal: np.ndarray,
    acceptance: Acceptance,
    weighting: Weighting,
    noise: NoiseModel,
    *,
    model: Model = "4pl",
    nominal: Sequence[float] | None = None,
    plate: str = "",
    wells: tuple[str, ...] = (),
    reasons: Sequence[str] = (),
    unit: str = "pg/mL",
    anchors: Collection[float] = (),
    start: CurveFit | None = None,
) -> StandardCurve:
    """Return the curve of standards and blanks, judged.

    Parameters
    ----------
    concentration : (n,), 0 for blanks.
    noise : absolute and typical; says which fall of a top standard is more than noise.
    nominal : levels that the plate should have, where some have no good well.
    reasons : what is already known of the wells.
    anchors : levels that help the curve and are not judged.
    start : a fit of the same points, without those that hook, to go on from.
    """
    told = list(reasons)
    hook = hook_from(concentration, signal, noise)
    if hook is not None:
        told.append(
            f"hook effect: standards from {hook:g} {unit} up give less signal and are left out"
        )
        keep = concentration < hook
        concentration, signal = concentration[keep], signal[keep]
    levels_asked = sorted(set(nominal or [float(c) for c in concentration]) - {0.0})
    fit = fit_curve(concentration, signal, model, weighting, start=start)
    if not fit.failure and fit.degrees_of_freedom < LEAST_DEGREES:
        fit = replace(fit, failure=f"{signal.size} wells of standards are too few for a {model}")
    curve = StandardCurve(
        fit, math.nan, math.nan, (), acceptance, plate, wells, "warn" if told else "ok", tuple(told)
    )
    if fit.failure:
        return replace(curve, qc="fail", reasons=(*told, fit.failure))
    levels, lloq, uloq = judge_levels(fit, levels_asked, concentration, signal, acceptance, anchors)
    judged = [level for level in levels if not level.is_anchor]
    passed = sum(level.passed for level in judged)
    if passed < acceptance.least_levels or passed < acceptance.passing_levels * len(judged):
        failing = ", ".join(f"{level.concentration:g}" for level in judged if not level.passed)
        told.append(
            f"{passed} of {len(judged)} calibrators calculate back within "
            f"{acceptance.recovery:.0%} ({acceptance.recovery_at_limits:.0%} at the ends); at "
            f"least {acceptance.least_levels} and {acceptance.passing_levels:.0%} must. Outside: "
            f"{f'{failing} {unit}'.strip() if failing else 'none'}"
        )
        return replace(curve, levels=levels, qc="fail", reasons=tuple(told))
    return replace(curve, lloq=lloq, uloq=uloq, levels=levels)


def judge_levels(
    fit: CurveFit,
    nominal: Sequence[float],
    concentration: np.ndarray,
    signal: np.ndarray,
    acceptance: Acceptance,
    anchors: Collection[float] = (),
) -> tuple[tuple[CalibratorLevel, ...], float, float]:
    """Return the levels ascending, LLOQ and ULOQ (NaN where no level passes)."""
    levels = []
    for level in nominal:
        wells = signal[concentration == level]
        mean = float(np.mean(wells)) if wells.size else math.nan
        ln_back = fit.curve.ln_concentration(mean) if wells.size else math.nan
        back = math.exp(ln_back) if math.isfinite(ln_back) else math.nan
        levels.append(
            CalibratorLevel(
                level, int(wells.size), mean, back, back / level, False, level in anchors
            )
        )
    errors = [math.inf if one.is_anchor else abs(one.recovery - 1.0) for one in levels]
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

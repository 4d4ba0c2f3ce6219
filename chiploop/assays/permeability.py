"""Apparent permeability of one insert or chip, with all that speaks for and against it.

Belongs here: P_app with its interval, mass balance, free dye, what the one-shot formula would say,
the readout. Not here: the fit (permeability_fit), cells without their membrane (cells_permeability).

    P_app = P A / area,      recovery = (donor left + all that passed) / donor at the start

A clearance that is not told from 0 (its 95 % interval would hold 0) is below the limit of detection,
LOD = t sd(P A) / area: the readout is left-censored there and never a number. Nothing is clipped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chiploop.assays.permeability_fit import (
    LEAST_SAMPLES,
    ClearanceFit,
    Donor,
    ReceiverSamples,
    Transport,
    fit_clearance,
    with_pooled_scale,
)
from chiploop.assays.tracer_curve import TracerNoise
from chiploop.assays.tracer_transport import permeability_cm_s
from chiploop.measurement import Censoring, Quality, Readout

UNIT = "cm/s"
Z95 = 1.959963984540054


@dataclass(frozen=True)
class PermeabilityLimits:
    """When a permeability is flagged. Editable."""

    recovery: tuple[float, float] = (0.80, 1.20)
    """Mass balance, of the donor at the start."""
    free_dye: float = 0.10
    """Part of the receiver's signal that free dye may make up."""
    early: float = 2.58
    """sd by which a lag may lie below 0."""
    near_equilibrium: float = 0.90
    """Of the way to equal concentrations, at the first sample that counts."""


@dataclass(frozen=True)
class TracerRun:
    """What was done to one insert or chip, and what was read."""

    chip_id: str
    transport: Transport
    samples: ReceiverSamples
    donor: Donor
    """At the start."""
    area_cm2: float
    donor_end: Donor | None = None
    """At the last sample; None where it was not read."""
    free_dye: float | None = None
    """Part of the donor's signal that is dye without its carrier (a filtrate's); None where not checked."""
    reasons: tuple[str, ...] = ()
    """What was wrong with its samples already."""
    loaded_h: float = 0.0
    """Study time at which the donor was loaded."""


@dataclass(frozen=True)
class Permeability:
    """P_app of one insert or chip."""

    run: TracerRun
    fit: ClearanceFit
    p_app: float
    """cm/s; below 0 where noise made it so, NaN where the fit failed."""
    interval: tuple[float, float]
    """95 %; the lower end may lie below 0."""
    sd_ln: float
    """Of ln P_app, widened so that 1.96 of it reach the t interval; where censored, at the bound."""
    censoring: Censoring
    detection_limit: float
    """cm/s; what the run could tell from no passage at all."""
    clearance_ul_min: float
    recovery: float
    """NaN where the donor was not read at the end or not all that passed was."""
    recovery_sd: float
    """Widened as ``sd_ln`` is."""
    transferred: float
    """Part of the donor's tracer that had passed by the last sample."""
    one_shot: float
    """cm/s by the usual formula (sink, or steady state with a full donor), lag taken off."""
    one_shot_error: float
    """Of that formula alone, at the fitted concentrations."""
    curve: tuple[float, ...]
    """What ln P_app leans on each error of the curve."""
    qc: Quality
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    """What was not looked at."""

    def readout(self, cycle: int = 0, plate: str = "", raw_sha256: str = "") -> Readout:
        """Return ln P_app for the likelihood, over the window in which it was found."""
        ends = self.run.transport.ends_h
        number = self.censoring == "none" and self.qc != "fail"
        return Readout(
            chip_id=self.run.chip_id,
            readout="P_app",
            value=self.p_app if number else math.nan,
            unit=UNIT,
            sd=self.sd_ln,
            scale="log",
            time_h=self.run.loaded_h + float(ends[-1]),
            window_start_h=self.run.loaded_h,
            censoring=self.censoring,
            upper=self.detection_limit if self.censoring == "left" else math.inf,
            n=self.fit.n_after_lag,
            qc=self.qc,
            reasons=self.reasons,
            method="two compartments, lag "
            + ("fitted" if self.fit.lag_pull else f"{self.fit.lag_h:g} h"),
            plate=plate,
            raw_sha256=raw_sha256,
            cycle=cycle,
            curve=self.curve,
        )


def permeabilities(
    runs: Sequence[TracerRun],
    lag_h: float | None = None,
    steady_from_h: float = 0.0,
    noise: TracerNoise | None = None,
    limits: PermeabilityLimits | None = None,
    pool: bool = False,
) -> list[Permeability]:
    """Return P_app of each run.

    Parameters
    ----------
    lag_h : None to fit a lag for each, or the stated one (0 for none).
    steady_from_h : earlier samples do not enter the fit; their volume counts.
    pool : one scale of the noise for all runs; give it where they were handled alike.
    """
    fits = [
        fit_clearance(one.transport, one.samples, one.donor, lag_h, steady_from_h, noise)
        for one in runs
    ]
    if pool:
        fits = with_pooled_scale(fits)
    chosen = limits or PermeabilityLimits()
    return [_judged(run, fit, chosen) for run, fit in zip(runs, fits, strict=True)]


def _judged(run: TracerRun, fit: ClearanceFit, limits: PermeabilityLimits) -> Permeability:
    reasons, nan = list(run.reasons), math.nan
    if fit.failure or fit.n_after_lag < LEAST_SAMPLES:
        reasons.append(
            fit.failure
            or f"{fit.n_after_lag} samples after the lag of {fit.lag_h:.3g} h; a slope needs {LEAST_SAMPLES}"
        )
        return Permeability(
            run, fit, nan, (nan, nan), nan, "none", nan, nan, nan, nan, nan, nan, nan, (), "fail",
            tuple(reasons), (),
        )  # fmt: skip
    at = permeability_cm_s(1.0, run.area_cm2)
    low, high = fit.interval_ul_h()
    widened = fit.quantile() / Z95
    limit = fit.quantile() * fit.sd_ul_h
    censoring: Censoring = "left" if low <= 0.0 else "none"
    scaled_by = limit if censoring == "left" else fit.clearance_ul_h
    if censoring == "left":
        reasons.append(
            f"not told from no passage: P_app is below the limit of detection, {limit * at:.3g} cm/s"
        )
    if fit.lag_pull and fit.lag_h < -limits.early * fit.lag_sd_h:
        reasons.append(
            f"tracer was in the receiver before it could be: lag {fit.lag_h:.3g} +- {fit.lag_sd_h:.2g} h "
            "(free dye, a leak while loading, or a background that is too low)"
        )
    complete = np.where(fit.used, run.samples.concentration, fit.fitted)
    donor = run.donor.concentration
    total = donor * run.transport.donor_ul
    transferred = run.transport.passed(complete) / total
    near = fit.fitted[fit.used & (run.transport.ends_h > fit.lag_h)][0] / donor
    if near > limits.near_equilibrium * run.transport.largest_part:
        reasons.append("the first sample is near equilibrium already: sample earlier")
    notes: list[str] = []
    recovery, recovery_sd = _recovery(run, fit, complete, total, notes)
    if not math.isnan(recovery) and not limits.recovery[0] <= recovery <= limits.recovery[1]:
        reasons.append(
            f"mass balance: {recovery:.0%} +- {recovery_sd:.0%} of the tracer was found again, outside "
            f"{limits.recovery[0]:.0%} to {limits.recovery[1]:.0%} (adsorption, leak, evaporation)"
        )
    reach = transferred if math.isfinite(total) else float(complete[-1]) / donor
    _free_dye(run, limits, reach, reasons, notes)
    one_shot = run.transport.one_shot_ul_h(complete, donor, fit.lag_h)
    by_formula = run.transport.one_shot_ul_h(fit.fitted, donor, fit.lag_h)
    return Permeability(
        run=run,
        fit=fit,
        p_app=fit.clearance_ul_h * at,
        interval=(low * at, high * at),
        sd_ln=widened * fit.sd_ul_h / scaled_by,
        censoring=censoring,
        detection_limit=limit * at,
        clearance_ul_min=fit.clearance_ul_h / 60.0,
        recovery=recovery,
        recovery_sd=recovery_sd,
        transferred=transferred,
        one_shot=one_shot * at,
        one_shot_error=by_formula / fit.clearance_ul_h - 1.0,
        curve=tuple(widened * one / scaled_by for one in fit.curve),
        qc="warn" if reasons else "ok",
        reasons=tuple(reasons),
        notes=tuple(notes),
    )


def _recovery(
    run: TracerRun, fit: ClearanceFit, complete: np.ndarray, total: float, notes: list[str]
) -> tuple[float, float]:
    """Return the mass balance and its sd; NaN, and why, where it can not be known."""
    if run.donor_end is None:
        notes.append("no mass balance: the donor was not read at the end")
        return math.nan, math.nan
    if not math.isfinite(total):
        notes.append("no mass balance: the donor is perfused")
        return math.nan, math.nan
    if not run.transport.covers_all:
        notes.append("no mass balance: the collections leave gaps")
        return math.nan, math.nan
    left = run.donor_end.concentration / run.donor.concentration
    passed = run.transport.passed(complete) / total
    ends = [math.hypot(d.sd, fit.scale * d.well_sd(fit.noise)) for d in (run.donor, run.donor_end)]
    steps = np.eye(complete.size) * fit.scale * fit.shape
    of_samples = [run.transport.passed(step) / total for step in steps]
    sd = math.sqrt(
        ((left + passed) * ends[0] / run.donor.concentration) ** 2
        + (ends[1] / run.donor.concentration) ** 2
        + sum(one * one for one in of_samples)
    )
    return left + passed, fit.quantile() / Z95 * sd


def _free_dye(
    run: TracerRun,
    limits: PermeabilityLimits,
    reach: float,
    reasons: list[str],
    notes: list[str],
) -> None:
    """Say what dye could do alone; ``reach`` is the part of the donor's (or its level) that was found."""
    if run.free_dye is None:
        notes.append("free dye was not checked: read a filtrate of the donor (30 or 10 kDa)")
        return
    if not reach > 0.0:
        return
    share = min(run.free_dye * run.transport.largest_part / reach, 1.0)
    if share > limits.free_dye:
        reasons.append(
            f"free dye: {run.free_dye:.2%} of the donor's signal may make up to {share:.0%} of what passed; "
            "P_app may be that of the dye"
        )

"""One spectrum looked at from all sides: TEER with its interval, circuit, checks, flags.

Belongs here: what belongs together for one spectrum, and which of it makes the value doubtful. Not
here: any one of the checks, the readout of the loop (teer, which this builds on), files, figures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from chiploop.assays.barrier_blank import BarrierBlank, Geometry
from chiploop.assays.barrier_circuit import BarrierFit, circuit
from chiploop.assays.cpe_capacitance import brug_f, hsu_mansfeld_f
from chiploop.assays.electrode_geometry import NOT_CORRECTED, ChannelElectrodes, GeometryTable
from chiploop.assays.kramers_kronig import KramersKronigCheck, check_kramers_kronig
from chiploop.assays.single_frequency import is_single_frequency
from chiploop.assays.spectrum_drift import DriftCheck, check_drift
from chiploop.assays.teer import teer_readout
from chiploop.measurement import Censoring, ImpedanceSpectrum, Quality

REFERENCE_C: Final = 37.0
CLOSE_TO_REFERENCE_C: Final = 1.0
OPEN: Final = 5.0
"""Half an interval on the logarithmic scale from which on it says nothing, and is given as open."""
NO_BLANK: Final = BarrierBlank(0.0, 0.0, origin="none")

FlagCode = Literal[
    "file", "fit", "single_frequency", "kramers_kronig", "drift", "blank", "area", "geometry",
    "temperature",
]  # fmt: skip


@dataclass(frozen=True)
class Flag:
    """One thing that a person should know of the value."""

    code: FlagCode
    text: str
    serious: bool
    """True where the value itself is doubtful (``qc`` at best ``warn``)."""


@dataclass(frozen=True)
class BarrierSetup:
    """What the spectrum does not say of the chip."""

    area_cm2: float | None = None
    """None gives resistances in ohm."""
    area_sd_cm2: float = 0.0
    blank: BarrierBlank | None = None
    geometry: Geometry = None
    temperature_c: float | None = None
    temperature_coefficient: float | None = None
    """Relative change of conductivity per degree; None leaves values as they were measured."""
    level: float = 0.95
    """Of intervals."""


@dataclass(frozen=True)
class Estimate:
    """A value with the interval of the setup's level."""

    value: float
    sd: float
    lower: float
    upper: float


@dataclass(frozen=True)
class BarrierAnalysis:
    """What one spectrum says of its barrier."""

    teer: Estimate
    """Blank and geometry taken into account; NaN where censored or failed."""
    unit: Literal["ohm cm2", "ohm"]
    censoring: Censoring
    upper_bound: float
    """Of a censored barrier, in ``unit``."""
    resistance: Estimate | None
    """R of the circuit, ohm; None where nothing was fitted."""
    series: Estimate | None
    capacitance: dict[str, Estimate]
    """Name of the formula -> F."""
    fit: BarrierFit
    kramers_kronig: KramersKronigCheck
    drift: DriftCheck
    method: str
    flags: tuple[Flag, ...]
    qc: Quality


def analyse_barrier(
    spectrum: ImpedanceSpectrum, setup: BarrierSetup, file_flags: tuple[str, ...] = ()
) -> BarrierAnalysis:
    """Return everything that is said of one spectrum; its points stand in the order measured.

    Raises
    ------
    ValueError : an area that is not above zero, or arrays of different lengths.
    """
    geometry = setup.geometry
    area = setup.area_cm2
    unit: Literal["ohm cm2", "ohm"] = "ohm cm2"
    if area is None and isinstance(geometry, ChannelElectrodes):
        area = geometry.area_cm2
    if area is None:
        # A table gives TEER without an area.
        area, unit = 1.0, "ohm cm2" if isinstance(geometry, GeometryTable) else "ohm"
    blank = setup.blank or NO_BLANK
    fit, readout = teer_readout(spectrum, blank, area, geometry=geometry)
    fitted = fit.qc != "fail" and fit.degrees_of_freedom > 0
    by_ln_resistance = None
    if fitted:
        log_jw = np.log(2.0 * math.pi * spectrum.frequency_hz) + 0.5j * math.pi
        logs = [math.log(fit.series_ohm), math.log(fit.resistance_ohm), math.log(fit.cpe)]
        by_ln_resistance = circuit(np.array([*logs, fit.alpha]), log_jw, fit.channel_ohm)[1][:, 1]
    kk = check_kramers_kronig(spectrum, by_ln_resistance)
    drift = check_drift(spectrum, fit)
    factor = 1.0
    if setup.temperature_c is not None and setup.temperature_coefficient is not None:
        factor = 1.0 + setup.temperature_coefficient * (setup.temperature_c - REFERENCE_C)
    sd_ln = math.hypot(readout.sd, setup.area_sd_cm2 / area)
    teer = Estimate(math.nan, math.nan, math.nan, math.nan)
    if readout.value > 0.0:
        teer = _estimate(math.log(readout.value * factor), sd_ln, fit, setup.level)
    flags = _flags(spectrum, setup, fit, readout.reasons, kk, drift, file_flags, unit)
    qc = readout.qc
    if qc == "ok" and any(flag.serious for flag in flags):
        qc = "warn"
    resistance = series = None
    capacitance = {}
    if fitted:
        sds = np.sqrt(np.diag(fit.covariance))
        series = _estimate(math.log(fit.series_ohm), float(sds[0]), fit, setup.level)
        resistance = _estimate(math.log(fit.resistance_ohm), float(sds[1]), fit, setup.level)
        for name, formula in (("Hsu-Mansfeld", hsu_mansfeld_f), ("Brug", brug_f)):
            c, sd = formula(fit)
            capacitance[name] = _estimate(math.log(c), sd / c, fit, setup.level)
    return BarrierAnalysis(
        teer,
        unit,
        readout.censoring,
        readout.upper * factor,
        resistance,
        series,
        capacitance,
        fit,
        kk,
        drift,
        readout.method,
        flags,
        qc,
    )


def _estimate(ln: float, sd_ln: float, fit: BarrierFit, level: float) -> Estimate:
    """Return a positive value with an interval that is symmetric on the logarithmic scale."""
    tail = 0.5 + level / 2.0
    df = fit.degrees_of_freedom
    q = float(student.ppf(tail, df) if df > 0 else norm.ppf(tail))
    value, half = math.exp(ln), q * sd_ln
    if not half < OPEN:
        return Estimate(value, value * sd_ln, 0.0, math.inf)
    return Estimate(value, value * sd_ln, math.exp(ln - half), math.exp(ln + half))


def _flags(
    spectrum: ImpedanceSpectrum,
    setup: BarrierSetup,
    fit: BarrierFit,
    reasons: tuple[str, ...],
    kk: KramersKronigCheck,
    drift: DriftCheck,
    file_flags: tuple[str, ...],
    unit: str,
) -> tuple[Flag, ...]:
    one = is_single_frequency(spectrum)
    flags = [Flag("file", text, True) for text in file_flags]
    flags += [Flag("single_frequency" if one else "fit", text, True) for text in reasons]
    flags += [Flag("kramers_kronig", text, kk.verdict == "flag") for text in kk.reasons]
    if not one:
        flags += [Flag("drift", text, drift.verdict == "flag") for text in drift.reasons]
    if setup.blank is None:
        flags.append(Flag("blank", "no blank: membrane and supports are in the value", False))
    if unit == "ohm":
        flags.append(Flag("area", "no area: a resistance in ohm, no TEER", False))
    if setup.geometry is None:
        flags.append(Flag("geometry", NOT_CORRECTED, False))
    flags += _temperature_flags(setup)
    return tuple(flags)


def _temperature_flags(setup: BarrierSetup) -> list[Flag]:
    t, coefficient = setup.temperature_c, setup.temperature_coefficient
    if t is None:
        return [Flag("temperature", "temperature not recorded", False)]
    if coefficient is None:
        if abs(t - REFERENCE_C) <= CLOSE_TO_REFERENCE_C:
            return []
        text = (
            f"measured at {t:g} °C: not corrected to {REFERENCE_C:g} °C, no coefficient is stated"
        )
        return [Flag("temperature", text, False)]
    text = f"corrected from {t:g} to {REFERENCE_C:g} °C by {100 * coefficient:g} % per degree"
    return [Flag("temperature", text, False)]

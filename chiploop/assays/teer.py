"""Impedance spectrum of a chip to the electrical resistance of its barrier (TEER).

Belongs here: the equivalent circuit, its fit, the blank. Not here: the sweep itself (instruments),
what TEER means for the tissue (models).

    Z = Rs + R / (1 + R Q (j 2 pi f)^alpha)          R parallel to a constant-phase element (CPE)

Rs is what the current meets in series with the barrier: electrodes and bulk medium. R is the ohmic
path through the barrier: the tissue and the membrane under it. Fitting the spectrum separates the
two; the impedance at one frequency does not (with R = 10 kohm it is 35 % low at 12.5 Hz).

    TEER = (R - R_blank) * area

R_blank is what a cell-free chip (membrane, no tissue) shows at the place of R, measured at the
start of the study or stated for the lot with its sd. It is NOT the total resistance of the
cell-free chip: the medium and electrodes of that total are in Rs already and would be subtracted
twice. Where only a total is known (a meter with one frequency, or DC), say ``includes_series``: it
is then subtracted from Rs + R. The area rule assumes a uniform field across the membrane;
electrodes at the ends of a channel read high on a weak barrier, and no geometry factor is applied.

A spectrum of one frequency is not fitted; what it is worth is in `single_frequency`.

Fit: parameters ln Rs, ln R, ln Q and alpha in 0.5..1, residuals (Z_fit - Z) / |Z| of real and
imaginary part (modulus weights), least squares with an analytic Jacobian; standard errors s^2
(J'J)^-1 with s^2 = RSS / (2 n - 4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import least_squares

from chiploop.assays.single_frequency import (
    SINGLE_FREQUENCY,
    SingleFrequencyLimits,
    is_single_frequency,
    magnitude_at,
)
from chiploop.measurement import ImpedanceSpectrum, Quality, Readout
from chiploop.study_parts import Chip

LEAST_POINTS = 8
"""Of good frequencies: twice the number of parameters."""
ALPHA_RANGE = (0.5, 1.0)


@dataclass(frozen=True)
class SpectrumLimits:
    """When a fitted spectrum counts. Editable; the defaults are a factor above a 1 to 2 %
    instrument's noise.
    """

    warn_residual: float = 0.03
    """Root mean square of the relative residuals."""
    fail_residual: float = 0.08
    warn_resistance_sd: float = 0.10
    """sd of ln R."""
    fail_resistance_sd: float = 0.50
    warn_excluded: float = 0.25
    """Part of the points that the meter marked as bad."""


@dataclass(frozen=True)
class BarrierFit:
    """The circuit fitted to one spectrum."""

    series_ohm: float
    """Rs; 0 where one frequency was measured, which can not separate it."""
    resistance_ohm: float
    """R, across the barrier and its membrane; |Z| where one frequency was measured."""
    cpe: float
    """Q, ohm^-1 s^alpha."""
    alpha: float
    covariance: np.ndarray
    """(4, 4) of (ln Rs, ln R, ln Q, alpha)."""
    residual: float
    """Root mean square of the relative residuals."""
    n_points: int
    qc: Quality = "ok"
    reasons: tuple[str, ...] = field(default=())

    @property
    def resistance_sd_ohm(self) -> float:
        """Return the standard error of R."""
        return self.resistance_ohm * math.sqrt(self.covariance[1, 1])

    @property
    def total_ohm(self) -> float:
        """Return Rs + R, the resistance at frequency zero."""
        return self.series_ohm + self.resistance_ohm

    @property
    def total_sd_ohm(self) -> float:
        """Return the standard error of Rs + R."""
        gradient = np.array([self.series_ohm, self.resistance_ohm])
        return math.sqrt(max(float(gradient @ self.covariance[:2, :2] @ gradient), 0.0))


@dataclass(frozen=True)
class BarrierBlank:
    """Resistance of a cell-free chip, to be subtracted."""

    resistance_ohm: float
    sd_ohm: float
    """Standard deviation between cell-free chips, or of the one that was measured."""
    includes_series: bool = False
    """True where medium and electrodes are in it too (a total); it is then taken from Rs + R."""
    origin: str = ""
    """Which chip, lot or data sheet it comes from."""

    def __post_init__(self) -> None:
        """Raise ValueError for a blank without a usable value or sd."""
        if not (self.resistance_ohm >= 0.0 and self.sd_ohm >= 0.0 and math.isfinite(self.sd_ohm)):
            raise ValueError(
                f"blank {self.resistance_ohm} +- {self.sd_ohm} ohm: 0 or above, with its sd"
            )


def blank_of_lot(chip: Chip) -> BarrierBlank:
    """Return the blank that the chip's file states, at the place of R."""
    return BarrierBlank(
        chip.blank_resistance_ohm,
        chip.blank_resistance_sd_ohm,
        False,
        f"{chip.name}, stated for the lot",
    )


def blank_of_cell_free_chips(spectra: Sequence[ImpedanceSpectrum]) -> BarrierBlank:
    """Return the blank from spectra of cell-free chips: mean and sd of their total resistance.

    A bare membrane has no arc, so R and Rs can not be told apart in it; the low-frequency end of
    the spectrum is the total, and it is subtracted from a chip's total (``includes_series``).

    Raises
    ------
    ValueError : no spectrum, or one without a good point.
    """
    totals = []
    for spectrum in spectra:
        good = _good_points(spectrum)
        if not np.any(good):
            raise ValueError(f"cell-free chip {spectrum.chip_id}: no good point in its spectrum")
        order = np.argsort(spectrum.frequency_hz[good])
        totals.append(float(np.median(spectrum.impedance_ohm[good][order][:5].real)))
    if not totals:
        raise ValueError("no spectrum of a cell-free chip")
    # One chip tells no scatter between chips: 5 %, typical of a lot, stands in for it.
    sd = float(np.std(totals, ddof=1)) if len(totals) > 1 else 0.05 * totals[0]
    names = ", ".join(spectrum.chip_id for spectrum in spectra)
    return BarrierBlank(float(np.mean(totals)), sd, True, f"cell-free {names}")


def _good_points(spectrum: ImpedanceSpectrum) -> np.ndarray:
    status = (
        np.array(spectrum.status)
        if spectrum.status
        else np.zeros(len(spectrum.frequency_hz), dtype=int)
    )
    if not len(status) == len(spectrum.frequency_hz) == len(spectrum.impedance_ohm):
        raise ValueError(
            f"{spectrum.chip_id}: {len(spectrum.frequency_hz)} frequencies, "
            f"{len(spectrum.impedance_ohm)} "
            f"impedances and {len(status)} status words"
        )
    z = spectrum.impedance_ohm
    good: np.ndarray = (status == 0) & np.isfinite(z.real) & np.isfinite(z.imag) & (np.abs(z) > 0)
    return good & (spectrum.frequency_hz > 0)


def resistance_at_one_frequency(
    spectrum: ImpedanceSpectrum,
    area_cm2: float,
    limits: SpectrumLimits | None = None,
    single: SingleFrequencyLimits | None = None,
) -> BarrierFit:
    """Return the median |Z| of the good points, flagged, with the sd of scatter and bypass.

    ``qc`` is ``fail`` where no point is good, or where the capacitance bypasses the barrier so far
    that |Z| says little of it.
    """
    limits, single = limits or SpectrumLimits(), single or SingleFrequencyLimits()
    good = _good_points(spectrum)
    n_total, n_good = good.size, int(np.sum(good))
    reasons = [SINGLE_FREQUENCY]
    if n_good < n_total:
        reasons.append(
            f"{n_total - n_good} of {n_total} points left out: marked as bad by the meter"
        )
    if not n_good:
        return _failed(0, reasons)
    hz = float(np.median(spectrum.frequency_hz[good]))
    total, sd_ln, told = magnitude_at(hz, spectrum.impedance_ohm[good], area_cm2, single)
    reasons.append(told)
    if sd_ln > limits.fail_resistance_sd:
        reasons.append(
            f"sd of ln R {sd_ln:.3f} (fails above {limits.fail_resistance_sd:g}): measure at a "
            "lower frequency, or a sweep"
        )
        return _failed(n_good, reasons)
    covariance = np.zeros((4, 4))
    covariance[1, 1] = sd_ln**2
    nan = math.nan
    return BarrierFit(0.0, total, nan, nan, covariance, nan, n_good, "warn", tuple(reasons))


def _circuit(parameters: np.ndarray, log_jw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Z (n,) and its Jacobian (n, 4), complex; log_jw is ln(j 2 pi f)."""
    ln_series, ln_resistance, ln_q, alpha = parameters
    series, resistance = math.exp(ln_series), math.exp(ln_resistance)
    u = np.exp(ln_resistance + ln_q + alpha * log_jw)
    arc = resistance / (1.0 + u)
    by_u = -arc * u / (1.0 + u)
    jacobian = np.column_stack(
        [np.full(u.shape, series, dtype=complex), arc + by_u, by_u, by_u * log_jw]
    )
    return series + arc, jacobian


def _start(frequency_hz: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return a start: ends of the real part, and where the imaginary part is largest."""
    order = np.argsort(frequency_hz)
    real = z.real[order]
    series = max(float(np.min(real)), 1e-3 * float(np.max(np.abs(z))))
    resistance = max(float(real[0]) - series, 0.05 * series)
    peak_w = 2.0 * math.pi * float(frequency_hz[np.argmin(z.imag)])
    return np.array(
        [
            math.log(series),
            math.log(resistance),
            -math.log(resistance) - 0.9 * math.log(peak_w),
            0.9,
        ]
    )


def fit_barrier(spectrum: ImpedanceSpectrum, limits: SpectrumLimits | None = None) -> BarrierFit:
    """Return the circuit fitted to a spectrum; ``qc`` ``fail`` with the reason where it can not be
    trusted.

    Points whose status is not 0 are left out, and said.

    Raises
    ------
    ValueError : arrays of different lengths.
    """
    limits = limits or SpectrumLimits()
    good = _good_points(spectrum)
    n_total, n_good = good.size, int(np.sum(good))
    reasons: list[str] = []
    if n_good < n_total:
        reasons.append(
            f"{n_total - n_good} of {n_total} points left out: marked as bad by the meter"
        )
    if n_good < LEAST_POINTS:
        reasons.append(f"{n_good} good points; at least {LEAST_POINTS} are needed")
        return _failed(n_good, reasons)
    frequency, z = spectrum.frequency_hz[good], spectrum.impedance_ohm[good]
    log_jw = np.log(2.0 * math.pi * frequency) + 0.5j * math.pi
    weight = 1.0 / np.abs(z)

    def residuals(p: np.ndarray) -> np.ndarray:
        relative = (_circuit(p, log_jw)[0] - z) * weight
        return np.concatenate([relative.real, relative.imag])

    def jacobian(p: np.ndarray) -> np.ndarray:
        relative = _circuit(p, log_jw)[1] * weight[:, None]
        return np.concatenate([relative.real, relative.imag])

    start = _start(frequency, z)
    bounds = (
        np.array([start[0] - 8.0, start[1] - 8.0, start[2] - 12.0, ALPHA_RANGE[0]]),
        np.array([start[0] + 8.0, start[1] + 8.0, start[2] + 12.0, ALPHA_RANGE[1]]),
    )
    solution = least_squares(
        residuals, start, jacobian, bounds, method="trf", x_scale="jac", max_nfev=200
    )
    if solution.status <= 0 or not np.all(np.isfinite(solution.x)):
        return _failed(n_good, [*reasons, "the circuit fit did not converge"])
    rss = float(np.sum(solution.fun**2))
    rms = math.sqrt(rss / solution.fun.size)
    at_limit = solution.active_mask[3] != 0
    # A parameter at its limit has no standard error of its own; the others keep theirs.
    free = [0, 1, 2] if at_limit else [0, 1, 2, 3]
    matrix = jacobian(solution.x)[:, free]
    lengths = np.linalg.norm(matrix, axis=0)
    covariance = np.zeros((4, 4))
    if not np.all(lengths > 0) or np.linalg.cond(matrix / lengths) > 1e10:
        return _failed(n_good, [*reasons, "the spectrum does not determine the barrier resistance"])
    inverse = np.linalg.inv((matrix / lengths).T @ (matrix / lengths)) / np.outer(lengths, lengths)
    covariance[np.ix_(free, free)] = rss / (solution.fun.size - len(free)) * inverse
    qc: Quality = "warn" if reasons and n_total - n_good > limits.warn_excluded * n_total else "ok"
    if at_limit and solution.x[3] < 0.75:
        qc = "warn"
        reasons.append(
            f"alpha stands at its limit {ALPHA_RANGE[0]:g}: the arc is too flat for this circuit"
        )
    sd_ln = math.sqrt(covariance[1, 1])
    for value, warn, fail, what in (
        (rms, limits.warn_residual, limits.fail_residual, "relative residual of the circuit fit"),
        (sd_ln, limits.warn_resistance_sd, limits.fail_resistance_sd, "sd of ln R"),
    ):
        if value > warn:
            qc = "fail" if value > fail or qc == "fail" else "warn"
            reasons.append(f"{what} {value:.3f} (warns above {warn:g}, fails above {fail:g})")
    series, resistance, cpe = (math.exp(p) for p in solution.x[:3])
    alpha = float(solution.x[3])
    return BarrierFit(series, resistance, cpe, alpha, covariance, rms, n_good, qc, tuple(reasons))


def _failed(n_points: int, reasons: list[str]) -> BarrierFit:
    nan = math.nan
    return BarrierFit(
        nan, nan, nan, nan, np.full((4, 4), nan), nan, n_points, "fail", tuple(reasons)
    )


def teer_readout(
    spectrum: ImpedanceSpectrum,
    blank: BarrierBlank,
    area_cm2: float,
    cycle: int = 0,
    raw_sha256: str = "",
    limits: SpectrumLimits | None = None,
    single: SingleFrequencyLimits | None = None,
) -> tuple[BarrierFit, Readout]:
    """Return the fit and the TEER readout (ohm cm2, log scale) of one chip.

    A spectrum of one frequency is not fitted: its readout is flagged (``qc`` at best ``warn``).

    The sd of ln TEER combines the fit's and the blank's. A barrier that can not be told from the
    blank (less than two sd above it) is left-censored, its bound two sd above what was found.

    Raises
    ------
    ValueError : an area that is not above zero.
    """
    if not area_cm2 > 0.0:
        raise ValueError(f"area {area_cm2} cm2; TEER needs the membrane's area, above 0")
    one_frequency = is_single_frequency(spectrum)
    if one_frequency:
        single = single or SingleFrequencyLimits()
        fit = resistance_at_one_frequency(spectrum, area_cm2, limits, single)
        how = f"|Z| at {float(np.median(spectrum.frequency_hz)):g} Hz"
    else:
        fit = fit_barrier(spectrum, limits)
        how = "Rs + (R parallel CPE), modulus weights"
    measured, measured_sd = (
        (fit.total_ohm, fit.total_sd_ohm)
        if blank.includes_series
        else (fit.resistance_ohm, fit.resistance_sd_ohm)
    )
    if one_frequency and not blank.includes_series:
        assert single is not None
        measured_sd = math.hypot(measured_sd, single.series_in_blanks * blank.resistance_ohm)
    barrier_ohm = measured - blank.resistance_ohm
    sd_ohm = math.hypot(measured_sd, blank.sd_ohm)
    value, sd_ln, upper, reasons, qc = math.nan, math.nan, math.inf, fit.reasons, fit.qc
    censored = False
    if fit.qc != "fail":
        censored = not barrier_ohm > 2.0 * sd_ohm
        if censored:
            upper = (max(barrier_ohm, 0.0) + 2.0 * sd_ohm) * area_cm2
            sd_ln = 0.5
            qc = "warn"
            reasons = (
                *reasons,
                f"barrier {barrier_ohm:.0f} +- {sd_ohm:.0f} ohm: not above the blank",
            )
        else:
            value, sd_ln = barrier_ohm * area_cm2, sd_ohm / barrier_ohm
    readout = Readout(
        chip_id=spectrum.chip_id,
        readout="TEER",
        value=value,
        unit="ohm cm2",
        sd=sd_ln,
        scale="log",
        time_h=spectrum.time_h,
        censoring="left" if censored else "none",
        upper=upper,
        n=1,
        qc=qc,
        reasons=reasons,
        method=(
            f"{how}; blank {blank.resistance_ohm:g} +- "
            f"{blank.sd_ohm:g} ohm"
            f" ({blank.origin or 'no origin given'}); area rule, geometry not corrected"
        ),
        raw_sha256=raw_sha256,
        cycle=cycle,
        channel="membrane",
        sd_kind="fit",
    )
    return fit, readout

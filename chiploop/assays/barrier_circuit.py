"""The circuit of a barrier and its fit to an impedance spectrum.

Belongs here: the equivalent circuit with and without the field in a channel, its fit, the capacitance
that its CPE stands for. Not here: blank, area, readout (teer), other checks of a spectrum
(kramers_kronig, spectrum_drift).

    Z = Rs + Zb x coth(x),   Zb = R / (1 + R Q (j 2 pi f)^alpha),   x = sqrt(k / Zb)

R, parallel to a constant-phase element (CPE), is the ohmic path through the barrier. k is what medium
in the channels adds (electrode_geometry); with k = 0 it is Rs + (R parallel CPE). R is always that of
the whole barrier under a uniform field, so that R times area is its area resistance.

Fit: parameters ln Rs, ln R, ln Q and alpha in 0.5..1, residuals (Z_fit - Z) / |Z| of real and
imaginary part (modulus weights), least squares with an analytic Jacobian; standard errors s^2
(J'J)^-1 with s^2 = RSS / (2 n - 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import least_squares

from chiploop.assays.electrode_geometry import apparent_ohm, barrier_ohm, field_factor
from chiploop.assays.single_frequency import (
    SINGLE_FREQUENCY,
    SingleFrequencyLimits,
    magnitude_at,
)
from chiploop.measurement import ImpedanceSpectrum, Quality

LEAST_POINTS = 8
"""Of good frequencies: twice the number of parameters."""
ALPHA_RANGE = (0.5, 1.0)
UNDETERMINED = "the spectrum does not determine the barrier resistance"


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
    channel_ohm: float = 0.0
    """k of the field in the channels; 0 where it is uniform."""
    degrees_of_freedom: int = 0
    """Real and imaginary parts less free parameters; 0 where nothing was fitted."""

    @property
    def resistance_sd_ohm(self) -> float:
        """Return the standard error of R."""
        return self.resistance_ohm * math.sqrt(self.covariance[1, 1])

    @property
    def total_ohm(self) -> float:
        """Return the resistance at frequency zero: Rs + R, or Rs and what the field makes of R."""
        if not self.resistance_ohm >= 0.0:
            return math.nan
        return self.series_ohm + apparent_ohm(self.resistance_ohm, self.channel_ohm)

    @property
    def total_sd_ohm(self) -> float:
        """Return the standard error of the total."""
        if not self.resistance_ohm > 0.0:
            return math.nan
        x = np.array(math.sqrt(self.channel_ohm / self.resistance_ohm))
        slope = float(field_factor(x)[1].real)
        gradient = np.array([self.series_ohm, slope * self.resistance_ohm])
        return math.sqrt(max(float(gradient @ self.covariance[:2, :2] @ gradient), 0.0))


def good_points(spectrum: ImpedanceSpectrum) -> np.ndarray:
    """Return (n_freq,) whether a point counts; ValueError for arrays of different lengths."""
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
    good = good_points(spectrum)
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


def circuit(
    parameters: np.ndarray, log_jw: np.ndarray, channel_ohm: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return Z (n,) and its Jacobian (n, 4), complex; log_jw is ln(j 2 pi f)."""
    ln_series, ln_resistance, ln_q, alpha = parameters
    series, resistance = math.exp(ln_series), math.exp(ln_resistance)
    u = np.exp(ln_resistance + ln_q + alpha * log_jw)
    arc = resistance / (1.0 + u)
    by_u = -arc * u / (1.0 + u)
    by_resistance = arc + by_u
    if channel_ohm > 0.0:
        factor, slope = field_factor(np.sqrt(channel_ohm / arc))
        arc = arc * factor
        by_u, by_resistance = by_u * slope, by_resistance * slope
    jacobian = np.column_stack(
        [np.full(u.shape, series, dtype=complex), by_resistance, by_u, by_u * log_jw]
    )
    return series + arc, jacobian


def _start(frequency_hz: np.ndarray, z: np.ndarray, channel_ohm: float) -> np.ndarray:
    """Return a start: ends of the real part, and where the imaginary part is largest."""
    order = np.argsort(frequency_hz)
    real = z.real[order]
    series = max(float(np.min(real)), 1e-3 * float(np.max(np.abs(z))))
    resistance = max(float(real[0]) - series, 0.05 * series)
    if channel_ohm > 0.0:
        # Medium in the channels stands in the real part at every frequency.
        resistance = barrier_ohm(max(float(real[0]), series), channel_ohm)[0]
        series *= 0.1
    peak_w = 2.0 * math.pi * float(frequency_hz[np.argmin(z.imag)])
    return np.array(
        [
            math.log(series),
            math.log(resistance),
            -math.log(resistance) - 0.9 * math.log(peak_w),
            0.9,
        ]
    )


def fit_barrier(
    spectrum: ImpedanceSpectrum, limits: SpectrumLimits | None = None, channel_ohm: float = 0.0
) -> BarrierFit:
    """Return the circuit fitted to a spectrum; ``qc`` ``fail`` with the reason where it can not be
    trusted.

    Points whose status is not 0 are left out, and said. ``channel_ohm`` is k of the electrodes'
    geometry; 0 for a uniform field.

    Raises
    ------
    ValueError : arrays of different lengths.
    """
    limits = limits or SpectrumLimits()
    good = good_points(spectrum)
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
        relative = (circuit(p, log_jw, channel_ohm)[0] - z) * weight
        return np.concatenate([relative.real, relative.imag])

    def jacobian(p: np.ndarray) -> np.ndarray:
        relative = circuit(p, log_jw, channel_ohm)[1] * weight[:, None]
        return np.concatenate([relative.real, relative.imag])

    start = _start(frequency, z, channel_ohm)
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
    # A parameter at its limit has no standard error of its own; the others keep theirs. Rs is at its
    # lower one where the channels hold all the medium.
    held = {3} if at_limit else set()
    if channel_ohm > 0.0 and solution.active_mask[0] < 0:
        held.add(0)
    free = [i for i in range(4) if i not in held]
    matrix = jacobian(solution.x)[:, free]
    lengths = np.linalg.norm(matrix, axis=0)
    covariance = np.zeros((4, 4))
    if not np.all(lengths > 0) or np.linalg.cond(matrix / lengths) > 1e10:
        return _failed(n_good, [*reasons, UNDETERMINED])
    inverse = np.linalg.inv((matrix / lengths).T @ (matrix / lengths)) / np.outer(lengths, lengths)
    if not np.all(np.diag(inverse) > 0.0):  # rounding, close to a singular matrix
        return _failed(n_good, [*reasons, UNDETERMINED])
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
    df = solution.fun.size - len(free)
    return BarrierFit(
        series, resistance, cpe, alpha, covariance, rms, n_good, qc, tuple(reasons), channel_ohm, df
    )


def _failed(n_points: int, reasons: list[str]) -> BarrierFit:
    nan = math.nan
    return BarrierFit(
        nan, nan, nan, nan, np.full((4, 4), nan), nan, n_points, "fail", tuple(reasons)
    )

"""Linear Kramers-Kronig check: can a spectrum be that of a linear, causal, steady system at all?

Belongs here: the check of one spectrum, whatever its circuit. Not here: the circuit of a barrier, a
frequency that is measured again (spectrum_drift).

A sum of a resistance, an inductance, a capacitance and M RC elements with fixed time constants obeys
the relations whatever its weights (Boukamp 1995; Schoenleber et al. 2014), and its weights come from
one linear least squares:

    Z = R0 + j w L + 1/(j w C) + sum_k R_k / (1 + j w tau_k),   residuals (Z_fit - Z) / |Z|

M is fixed, at least 19: an order that is chosen by the signs of R_k (mu below 0.85) stops too early on
the depressed arc of a barrier and shows false residuals. What remains is noise, where the spectrum is
sound. Three tests look whether it is, each exact for errors that are normal and in proportion to |Z|:

order    residuals of neighbouring frequencies should not resemble each other; ratio of von Neumann,
         its probability by Imhof's integral over the residuals that the fit leaves free
drift    one more column, progress of the sweep times dZ / d ln R (of Z itself where no circuit is at
         hand): the relative change from first to last point, with a t test. Drift within one sweep
         hides in the size of the noise (30 % of R leave 0.7 % of Z), and shows in this shape

outlier  the largest residual, studentised without its own point, against t for as many as there are

Their false alarms together are ``false_alarm``. Residuals above ``rms_limit`` flag as well. Below
``floor`` nothing is flagged: the elements follow an arc to 1e-3 only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy.stats import t as student

from chiploop.assays.barrier_circuit import good_points
from chiploop.measurement import ImpedanceSpectrum

Verdict = Literal["ok", "flag", "not_checked"]


@dataclass(frozen=True)
class KramersKronigLimits:
    """When the check flags. Editable."""

    least_elements: int = 19
    elements_per_decade: float = 3.8
    least_points: int = 12
    least_free: int = 8
    """Residuals that the fit leaves free; below it nothing is checked."""
    false_alarm: float = 0.01
    """Of a sound spectrum, all tests together."""
    rms_limit: float = 0.05
    """Of the relative residuals, whatever their order."""
    floor: float = 1e-3
    """Of the relative residuals; smaller ones are the check's own."""


@dataclass(frozen=True)
class KramersKronigCheck:
    """What the check found."""

    verdict: Verdict
    n_points: int
    n_elements: int = 0
    drift_of: str = "Z"
    rms: float = math.nan
    """Root mean square of the relative residuals, real and imaginary parts."""
    noise: float = math.nan
    """Their standard deviation, for the parameters that were fitted."""
    order_p: float = math.nan
    drift: float = math.nan
    """Relative change of R (of Z without a circuit) from first to last point of the sweep."""
    drift_sd: float = math.nan
    drift_p: float = math.nan
    outlier_hz: float = math.nan
    """Frequency of the point that stands out most."""
    outlier_p: float = math.nan
    frequency_hz: tuple[float, ...] = ()
    residual: tuple[complex, ...] = ()
    """(Z_fit - Z) / |Z|, in the order of ``frequency_hz``."""
    reasons: tuple[str, ...] = ()


BEYOND: Final = 2.0
"""Times that the fixed time constants go beyond the ends of the sweep."""
LIMITS: Final = KramersKronigLimits()


def check_kramers_kronig(
    spectrum: ImpedanceSpectrum,
    by_ln_resistance: np.ndarray | None = None,
    limits: KramersKronigLimits = LIMITS,
) -> KramersKronigCheck:
    """Return the verdict on a spectrum; its points must stand in the order measured.

    ``by_ln_resistance`` is (n_freq,) dZ / d ln R of a circuit fitted to it.

    Raises
    ------
    ValueError : arrays of different lengths.
    """
    good = good_points(spectrum)
    hz, z = spectrum.frequency_hz[good], spectrum.impedance_ohm[good]
    n = hz.size
    if n < limits.least_points or np.ptp(np.log(hz)) == 0.0:
        why = f"{n} good points; the check needs {limits.least_points} at several frequencies"
        return KramersKronigCheck("not_checked", n, reasons=(why,))
    progress = np.flatnonzero(good) / max(good.size - 1, 1) - 0.5
    decades = math.log10(float(hz.max() / hz.min()))
    m = max(limits.least_elements, round(limits.elements_per_decade * decades))
    m = min(m, n)
    by_frequency = np.argsort(hz, kind="stable")
    moved = z if by_ln_resistance is None else by_ln_resistance[good]
    what = "Z" if by_ln_resistance is None else "R"
    hz, z, progress = hz[by_frequency], z[by_frequency], progress[by_frequency]
    moved = progress * moved[by_frequency]
    columns = _columns(hz, m) / np.abs(z)[:, None]
    target = _stacked(z / np.abs(z))
    basis = _basis(_stacked(columns))
    free = target.size - basis.shape[1]
    if free < limits.least_free:
        why = f"{n} points leave {free} residuals free; the check needs {limits.least_free}"
        return KramersKronigCheck("not_checked", n, m, reasons=(why,))
    left = target - basis @ (basis.T @ target)
    rss = float(left @ left)
    rms, noise = math.sqrt(rss / target.size), math.sqrt(rss / free)
    order_p = _order_p(left, basis, n)
    drift, drift_sd, drift_p = _drift(left, basis, _stacked(moved / np.abs(z)), free)
    outlier, outlier_p = _outlier(left, basis, free)
    outlier_hz = float(hz[outlier % n])
    reasons = []
    tested = rms > limits.floor
    each = limits.false_alarm / 3.0
    if tested and order_p < each:
        reasons.append(
            f"Kramers-Kronig: residuals of {100 * noise:.2g} % follow an order (p {order_p:.1g})"
        )
    if tested and drift_p < each:
        reasons.append(
            f"Kramers-Kronig: {what} drifted by {100 * drift:+.0f} +- {100 * drift_sd:.0f} % during the "
            f"sweep (p {drift_p:.1g})"
        )
    if tested and outlier_p < each:
        reasons.append(
            f"Kramers-Kronig: the point at {outlier_hz:g} Hz stands out from the others "
            f"(p {outlier_p:.1g})"
        )
    if rms > limits.rms_limit:
        reasons.append(
            f"Kramers-Kronig: relative residual {rms:.3f} (flags above {limits.rms_limit:g})"
        )
    residual = tuple(complex(a, b) for a, b in zip(-left[:n], -left[n:], strict=True))
    return KramersKronigCheck(
        "flag" if reasons else "ok",
        n,
        m,
        what,
        rms,
        noise,
        order_p,
        drift,
        drift_sd,
        drift_p,
        outlier_hz,
        outlier_p,
        tuple(float(one) for one in hz),
        residual,
        tuple(reasons),
    )


def _columns(hz: np.ndarray, m: int) -> np.ndarray:
    """Return (n, m + 3) complex: resistance, inductance, capacitance, RC elements."""
    w = 2.0 * math.pi * hz
    # A depressed arc has time constants beyond both ends of the sweep.
    tau = np.geomspace(1.0 / w.max() / BEYOND, BEYOND / w.min(), m)
    elements = 1.0 / (1.0 + 1j * w[:, None] * tau)
    ones = np.ones(w.size, dtype=complex)
    return np.column_stack([ones, 1j * w / w.max(), w.min() / (1j * w), elements])


def _stacked(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values.real, values.imag])


def _basis(matrix: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of what the columns span, without what rounding makes."""
    scaled = matrix / np.linalg.norm(matrix, axis=0)
    left, values, _ = np.linalg.svd(scaled, full_matrices=False)
    return np.asarray(left[:, values > 1e-10 * values[0]])


def _drift(
    left: np.ndarray, basis: np.ndarray, column: np.ndarray, free: int
) -> tuple[float, float, float]:
    """Return the coefficient of one more column, its sd, and its probability where it is zero."""
    own = column - basis @ (basis.T @ column)
    length = float(own @ own)
    if not length > 1e-20 * float(column @ column):
        return math.nan, math.inf, 1.0
    drift = float(own @ left) / length
    rest = float(left @ left) - drift**2 * length
    sd = math.sqrt(max(rest, 0.0) / (free - 1) / length)
    p = 2.0 * float(student.sf(abs(drift) / sd, free - 1)) if sd > 0.0 else 1.0
    return drift, sd, p


def _outlier(left: np.ndarray, basis: np.ndarray, free: int) -> tuple[int, float]:
    """Return the place of the residual that stands out most, and its probability by Bonferroni."""
    own = np.maximum(1.0 - np.sum(basis**2, axis=1), 1e-12)
    # A residual that the fit follows whole has nothing to tell.
    telling = own > 1e-3
    inner = np.where(telling, left**2 / own, 0.0)
    at = int(np.argmax(inner))
    rest = float(left @ left) - float(inner[at])
    if not rest > 0.0:
        return at, 1.0
    t = math.sqrt(float(inner[at]) / (rest / (free - 1)))
    return at, min(1.0, left.size * 2.0 * float(student.sf(t, free - 1)))


def _order_p(left: np.ndarray, basis: np.ndarray, n: int) -> float:
    """Return the probability of neighbours as alike as these, where the errors are independent."""
    total = float(left @ left)
    if not total > 1e-24:
        return 1.0
    step = np.diff(np.eye(n), axis=0)
    both = np.zeros((2 * n, 2 * n))
    both[:n, :n] = both[n:, n:] = step.T @ step
    ratio = float(left @ both @ left) / total
    project = np.eye(2 * n) - basis @ basis.T
    weights = np.linalg.eigvalsh(project @ (both - ratio * np.eye(2 * n)) @ project)
    weights = weights[np.abs(weights) > 1e-9 * np.abs(weights).max()]
    return _below_zero(weights)


def _below_zero(weights: np.ndarray) -> float:
    """Return the probability that sum of weights times chi2(1) is below zero (Imhof 1961)."""
    scale = float(np.abs(weights).max())
    ln_u = np.linspace(math.log(1e-8), math.log(1e6), 800)
    wu = np.exp(ln_u)[:, None] * weights / scale
    angle = 0.5 * np.sum(np.arctan(wu), axis=1)
    damping = np.exp(-0.25 * np.sum(np.log1p(wu**2), axis=1))
    area = float(np.sum(np.sin(angle) * damping)) * float(ln_u[1] - ln_u[0])
    return min(max(0.5 - area / math.pi, 0.0), 1.0)

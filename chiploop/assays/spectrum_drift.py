"""A frequency that is measured again at the end of a sweep: did the chip stand still?

Belongs here: the comparison of the last point with the earlier one, and what it can see. Not here: the
check within one sweep (kramers_kronig).

Two readings of one frequency differ by noise alone where nothing moved: |Z2 - Z1|^2 / |Z1|^2 over twice
the variance of the fit's relative residuals is F(2, df). At 100 kHz a barrier is bridged by its
capacitance and Z says nothing of R; so a change is also told as one of R, by dZ / d ln R of the fitted
circuit, with the smallest change that would have been seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy.stats import f as fisher

from chiploop.assays.barrier_circuit import BarrierFit, circuit, good_points
from chiploop.assays.single_frequency import SAME_FREQUENCY
from chiploop.measurement import ImpedanceSpectrum

DriftVerdict = Literal["ok", "flag", "blind", "not_measured"]


@dataclass(frozen=True)
class DriftLimits:
    """When a repeated point flags. Editable."""

    false_alarm: float = 0.01
    least_change: float = 0.01
    """Of |Z|; smaller changes are not flagged, however certain."""
    blind_above: float = 0.50
    """Relative change of R that goes unseen; above it the repeated point does not see R."""


@dataclass(frozen=True)
class DriftCheck:
    """What the repeated frequency showed."""

    verdict: DriftVerdict
    frequency_hz: float = math.nan
    change: float = math.nan
    """|Z2 - Z1| / |Z1|."""
    p: float = math.nan
    unseen_resistance: float = math.nan
    """Smallest relative change of R that would be flagged here."""
    reasons: tuple[str, ...] = field(default=())


def repeated_point(spectrum: ImpedanceSpectrum) -> tuple[int, int] | None:
    """Return (first, last) where the last good point has a frequency measured before; None else."""
    at = np.flatnonzero(good_points(spectrum))
    if at.size < 3:
        return None
    hz = spectrum.frequency_hz
    last = int(at[-1])
    same = [int(i) for i in at[:-1] if abs(hz[i] - hz[last]) <= SAME_FREQUENCY * hz[last]]
    return (same[0], last) if same and same[0] < int(at[-2]) else None


def check_drift(
    spectrum: ImpedanceSpectrum, fit: BarrierFit, limits: DriftLimits | None = None
) -> DriftCheck:
    """Return what the repeated point of a spectrum says; ``fit`` gives noise and dZ / d ln R."""
    limits = limits or DriftLimits()
    pair = repeated_point(spectrum)
    if pair is None:
        why = "drift: no frequency was measured again at the end"
        return DriftCheck("not_measured", reasons=(why,))
    first, last = pair
    z = spectrum.impedance_ohm
    hz = float(spectrum.frequency_hz[first])
    change = float(abs(z[last] - z[first]) / abs(z[first]))
    df = fit.degrees_of_freedom
    if df <= 0 or not math.isfinite(fit.residual):
        verdict: DriftVerdict = "flag" if change > 0.05 else "ok"
        told = (
            f"drift: {hz:g} Hz differs by {100 * change:.1f} % at the end; no fit tells the noise"
        )
        return DriftCheck(verdict, hz, change, reasons=(told,))
    variance = max(fit.residual**2 * 2.0 * fit.n_points / df, 1e-12)
    p = float(fisher.sf(change**2 / (4.0 * variance), 2, df))
    enough = math.sqrt(4.0 * variance * float(fisher.isf(limits.false_alarm, 2, df)))
    seen = max(enough, limits.least_change)
    unseen = _unseen(hz, fit, seen)
    if p < limits.false_alarm and change > limits.least_change:
        told = f"drift: {hz:g} Hz measured again at the end differs by {100 * change:.1f} % (p {p:.1g})"
        return DriftCheck("flag", hz, change, p, unseen, (told,))
    if unseen > limits.blind_above:
        told = (
            f"drift: {hz:g} Hz measured again says little of R, whose change by "
            f"{_percent(unseen)} would go unseen; repeat a lower frequency"
        )
        return DriftCheck("blind", hz, change, p, unseen, (told,))
    return DriftCheck("ok", hz, change, p, unseen)


def _unseen(hz: float, fit: BarrierFit, seen: float) -> float:
    log_jw = np.array([math.log(2.0 * math.pi * hz) + 0.5j * math.pi])
    log_values = [math.log(max(v, 1e-300)) for v in (fit.series_ohm, fit.resistance_ohm, fit.cpe)]
    z, jacobian = circuit(np.array([*log_values, fit.alpha]), log_jw, fit.channel_ohm)
    sensitivity = float(abs(jacobian[0, 1]) / abs(z[0]))
    return math.expm1(seen / sensitivity) if seen < 20.0 * sensitivity else math.inf


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share < 10.0 else "any factor"

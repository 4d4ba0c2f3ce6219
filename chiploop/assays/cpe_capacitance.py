"""The capacitance that a constant-phase element stands for.

Belongs here: two named formulas and their errors. Not here: the fit that gives Q and alpha.

    Hsu-Mansfeld (2001)   C = Q^(1/alpha) R^((1-alpha)/alpha)              time constants spread through the layer
    Brug (1984)           C = Q^(1/alpha) (1/Rs + 1/R)^((alpha-1)/alpha)    time constants spread along its surface

With Hsu-Mansfeld R C is the time constant at the top of the arc. With alpha = 1 both are Q.
"""

from __future__ import annotations

import math

import numpy as np

from chiploop.assays.barrier_circuit import BarrierFit


def hsu_mansfeld_f(fit: BarrierFit) -> tuple[float, float]:
    """Return the capacitance in F and its sd."""
    ln_r, ln_q, a = math.log(fit.resistance_ohm), math.log(fit.cpe), fit.alpha
    ln_c = (ln_q + (1.0 - a) * ln_r) / a
    gradient = np.array([0.0, (1.0 - a) / a, 1.0 / a, -(ln_q + ln_r) / a**2])
    return _with_sd(ln_c, gradient, fit)


def brug_f(fit: BarrierFit) -> tuple[float, float]:
    """Return the capacitance in F and its sd."""
    of_series, of_barrier = 1.0 / fit.series_ohm, 1.0 / fit.resistance_ohm
    ln_g = math.log(of_series + of_barrier)
    ln_q, a = math.log(fit.cpe), fit.alpha
    ln_c = (ln_q + (a - 1.0) * ln_g) / a
    shares = np.array([of_series, of_barrier]) / (of_series + of_barrier)
    by_g = (a - 1.0) / a
    gradient = np.array([-by_g * shares[0], -by_g * shares[1], 1.0 / a, (ln_g - ln_q) / a**2])
    return _with_sd(ln_c, gradient, fit)


def _with_sd(ln_c: float, gradient: np.ndarray, fit: BarrierFit) -> tuple[float, float]:
    c = math.exp(ln_c)
    return c, c * math.sqrt(max(float(gradient @ fit.covariance @ gradient), 0.0))

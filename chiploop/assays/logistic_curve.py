"""Logistic curves of three, four and five parameters over ln concentration: value, slope, inverse.

Belongs here: the curve as mathematics. Not here: fitting, weights, intervals, plates.

    signal = lower + (upper - lower) * (1 + exp(-u))^-asymmetry
    u = direction * hill * (ln concentration - ln location)

Every curve has the full vector (lower, upper, ln location, ln hill, ln asymmetry); a model says
which of them are free. 3PL holds lower at 0, 3PL and 4PL hold asymmetry at 1. ``direction`` is 1 for
a rising curve and -1 for a falling one, so that lower < upper in both. Other programs' letters:

    R SSfpl        A = lower, B = upper, xmid = ln location, scal = 1 / hill
    drc LL.4/LL.5  c = lower, d = upper, e = location, b = -direction * hill, f = asymmetry
    Luminex 5PL    A = lower, B = upper - lower, C = location, D = -direction * hill, F = asymmetry
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit

Model = Literal["3pl", "4pl", "5pl"]

NAMES = ("lower", "upper", "ln_location", "ln_hill", "ln_asymmetry")
LOWER, UPPER, LOCATION, HILL, ASYMMETRY = range(5)
FREE: dict[Model, tuple[int, ...]] = {
    "3pl": (UPPER, LOCATION, HILL),
    "4pl": (LOWER, UPPER, LOCATION, HILL),
    "5pl": (LOWER, UPPER, LOCATION, HILL, ASYMMETRY),
}
"""Model -> places of its free parameters in the full vector."""
AT_REST = np.zeros(5)
"""The full vector of what no model frees: lower 0, asymmetry 1."""


@dataclass(frozen=True)
class LogisticCurve:
    """One curve with its numbers."""

    parameters: np.ndarray
    """(5,) lower, upper, ln location, ln hill, ln asymmetry."""
    direction: int = 1
    """1 rising, -1 falling."""

    @property
    def lower(self) -> float:
        """The lower asymptote."""
        return float(self.parameters[LOWER])

    @property
    def upper(self) -> float:
        """The upper asymptote."""
        return float(self.parameters[UPPER])

    @property
    def location(self) -> float:
        """The concentration that ``ln_location`` stands for; half height only where asymmetry is 1."""
        return math.exp(self.parameters[LOCATION])

    @property
    def hill(self) -> float:
        """Steepness, positive in both directions."""
        return math.exp(self.parameters[HILL])

    @property
    def asymmetry(self) -> float:
        """Exponent of the 5PL."""
        return math.exp(self.parameters[ASYMMETRY])

    @property
    def ln_ec50(self) -> float:
        """Return ln of the concentration at half height."""
        return self.ln_concentration_at(0.5)

    @property
    def ec50(self) -> float:
        """The concentration at half height."""
        return math.exp(self.ln_ec50)

    def signal(self, concentration: np.ndarray | float) -> np.ndarray:
        """Return the curve at concentrations of any shape; 0 gives an asymptote."""
        with np.errstate(divide="ignore"):
            return self.signal_at(np.log(np.asarray(concentration, dtype=float)))

    def signal_at(self, x: np.ndarray | float) -> np.ndarray:
        """Return the curve at ln concentrations; -inf and inf give the asymptotes."""
        return value_and_jacobian(self.parameters, np.asarray(x, float), self.direction)[0]

    def jacobian_at(self, x: np.ndarray | float) -> np.ndarray:
        """Return (..., 5) derivatives by the full vector at ln concentrations."""
        return value_and_jacobian(self.parameters, np.asarray(x, float), self.direction)[1]

    def slope_at(self, x: np.ndarray | float) -> np.ndarray:
        """Return d signal / d ln concentration."""
        return -self.jacobian_at(x)[..., LOCATION]

    def ln_concentration(self, signal: float) -> float:
        """Return ln concentration at a signal; -inf or inf at and beyond the asymptotes."""
        if not self.lower < signal < self.upper:
            above = signal >= self.upper
            return math.inf if above == (self.direction > 0) else -math.inf
        return self.ln_concentration_at((signal - self.lower) / (self.upper - self.lower))

    def ln_concentration_at(self, height: float) -> float:
        """Return ln concentration where the curve has risen by a part of its height, 0 to 1."""
        # ln(height^(-1/asymmetry) - 1), safe where the power is near 1 or huge
        power = -math.log(height) / self.asymmetry
        u = -(math.log(math.expm1(power)) if power < 500.0 else power)
        return float(self.parameters[LOCATION]) + self.direction * u / self.hill

    def ln_concentration_gradient(self, signal: float) -> tuple[float, np.ndarray]:
        """Return d ln concentration / d signal and (5,) / d parameters, between the asymptotes."""
        x = self.ln_concentration(signal)
        slope = float(self.slope_at(x))
        return 1.0 / slope, -self.jacobian_at(x) / slope

    def ln_height_gradient(self, height: float) -> np.ndarray:
        """Return (5,) d ln concentration / d parameters at a part of the height: of EC50, EC10, ..."""
        x = self.ln_concentration_at(height)
        u = self.direction * self.hill * (x - float(self.parameters[LOCATION]))
        # d ln s = 0 along the height: asymmetry * expit(-u) du = softplus(-u) d asymmetry
        du = np.logaddexp(0.0, -u) / expit(-u)
        gradient = np.zeros(5)
        gradient[LOCATION] = 1.0
        gradient[HILL] = -self.direction * u / self.hill
        gradient[ASYMMETRY] = self.direction * du / self.hill
        return gradient


def value_and_jacobian(
    parameters: np.ndarray, x: np.ndarray, direction: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the signal (...,) and its derivatives (..., 5) at ln concentrations, infinite ones too."""
    lower, upper, location, ln_hill, ln_asymmetry = parameters
    # A search may try absurd steps: they must cost, not raise.
    hill, asymmetry = math.exp(min(ln_hill, 300.0)), math.exp(min(ln_asymmetry, 300.0))
    with np.errstate(invalid="ignore", over="ignore"):
        step = x - location
        u = (direction * hill) * step
        bend = np.logaddexp(0.0, -u)
        rise = np.exp(-asymmetry * bend)
        height = (upper - lower) * rise
        by_u = asymmetry * height * expit(-u)
        jacobian = np.empty((*u.shape, 5))
        jacobian[..., LOWER] = 1.0 - rise
        jacobian[..., UPPER] = rise
        jacobian[..., LOCATION] = (-direction * hill) * by_u
        jacobian[..., HILL] = by_u * u
        jacobian[..., ASYMMETRY] = -asymmetry * height * bend
    # At an asymptote 0 times infinity is 0.
    jacobian[np.isinf(u), LOCATION:] = 0.0
    return lower + height, jacobian


def full_vector(
    free: np.ndarray, places: tuple[int, ...], held: Mapping[int, float] | None = None
) -> np.ndarray:
    """Return the full vector from free parameters and what is held, else at rest."""
    full = AT_REST.copy()
    for place, value in (held or {}).items():
        full[place] = value
    full[list(places)] = free
    return full

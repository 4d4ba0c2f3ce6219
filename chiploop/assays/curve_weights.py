"""How much a signal scatters: what the points of a curve weigh, and what their noise says.

Belongs here: the shape of sd over signal, by name, and its one free number pooled over plates.
Not here: fitting a curve.

"Weights 1/y2" is two things: y may be the observed or the fitted signal, and fitted weights may be
renewed between passes or stand inside the objective. Their answers differ (R's Puromycin: 206.83
inside, 207.78 renewed), so each weighting names its own.

The number of a shape (exponent, or floor over CV) can not be learned from one plate. It is pooled
over the plates of an assay, each with a scale of its own, by pseudo-likelihood of their residuals r
at the fitted signals m, corrected for leverage (Davidian, Giltinan 1995, Nonlinear Models for
Repeated Measurement Data, ch. 5):

    sum over plates of  (n - p) [ln sum (r / shape(m))^2 + mean 2 ln shape(m)]  ->  min
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.optimize import minimize_scalar

Shape = Literal["none", "1/y2", "power", "floor_and_cv"]
TakenAt = Literal["fitted", "observed", "objective"]

LEAST_PART = 1e-3
"""Of the highest signal: a weight is taken no lower, so that a signal near zero has no infinite one."""
EXPONENTS = (0.0, 1.5)
"""Of sd over mean: 0 is even scatter, 0.5 counting, 1 a constant CV."""
FLOORS = (1e-4, 3.0)
"""Of the floor over the CV, as a part of the plates' highest signal."""
NUMBERED: tuple[Shape, ...] = ("power", "floor_and_cv")
"""Shapes with a number that is pooled over plates."""


@dataclass(frozen=True)
class Weighting:
    """Shape of the noise over the signal; its scale is each fit's own."""

    shape: Shape = "none"
    number: float | None = None
    """power: exponent of the mean. floor_and_cv: floor / CV, in the signal's unit. None: pooled."""
    taken_at: TakenAt = "fitted"
    """``fitted``: renewed between passes. ``objective``: f in the objective itself."""

    def __post_init__(self) -> None:
        if self.shape == "floor_and_cv" and self.taken_at == "objective":
            raise ValueError("weights floor_and_cv are taken at fitted or observed signals")
        if self.number is not None and not (np.isfinite(self.number) and self.number >= 0.0):
            raise ValueError(f"the number of a weighting is {self.number}; it must be 0 or more")

    @property
    def is_pooled(self) -> bool:
        """True where its number is still to be learned from plates."""
        return self.shape in NUMBERED and self.number is None

    @property
    def exponent(self) -> float:
        """Exponent of the mean; only where the shape is a power."""
        known: dict[str, float | None] = {"none": 0.0, "1/y2": 1.0, "power": self.number}
        exponent = known[self.shape]
        if exponent is None:
            raise ValueError("the exponent of weights by power is not known yet; pool it first")
        return exponent

    @property
    def name(self) -> str:
        """What stands in a result: the shape, its number, and which signal is meant."""
        if self.shape == "none":
            return "none"
        where = {
            "fitted": "fitted signal, renewed between passes",
            "observed": "observed signal",
            "objective": "fitted signal, inside the objective",
        }[self.taken_at]
        number = "" if self.number is None else f" {self.number:.4g}"
        what = {
            "1/y2": "1/y2",
            "power": f"power of mean, exponent of sd{number}",
            "floor_and_cv": f"floor and CV, floor/CV{number}",
        }[self.shape]
        return f"{what}, y the {where}"

    def sd(self, signal: np.ndarray | float, highest: float) -> np.ndarray:
        """Return relative sd at signals; ``highest`` of the plate bounds them from below."""
        mean = np.maximum(np.asarray(signal, dtype=float), LEAST_PART * abs(highest))
        if self.shape == "floor_and_cv":
            if self.number is None:
                raise ValueError("the floor of these weights is not known yet; pool it first")
            return np.hypot(self.number, np.maximum(np.asarray(signal, dtype=float), 0.0))
        return mean**self.exponent


@dataclass(frozen=True)
class PlateResiduals:
    """What a fit leaves on one plate."""

    fitted: np.ndarray
    """(n,)"""
    residuals: np.ndarray
    """(n,) observed less fitted, over sqrt(1 - leverage): each with the sd of its point."""
    degrees_of_freedom: int


def pooled(weighting: Weighting, plates: Sequence[PlateResiduals]) -> Weighting:
    """Return the weighting with its number learned from plates of one assay.

    Raises
    ------
    ValueError : no plate with a degree of freedom.
    """
    if not weighting.is_pooled:
        return weighting
    used = [plate for plate in plates if plate.degrees_of_freedom > 0]
    if not used:
        raise ValueError("no plate has a degree of freedom left to learn the noise from")
    highest = max(float(np.max(plate.fitted)) for plate in used)
    if weighting.shape == "power":
        found = minimize_scalar(
            lambda number: misfit(replace(weighting, number=number), used),
            bounds=EXPONENTS,
            method="bounded",
            options={"xatol": 1e-6},
        )
        return replace(weighting, number=float(found.x))
    found = minimize_scalar(
        lambda ln_floor: misfit(replace(weighting, number=float(np.exp(ln_floor))), used),
        bounds=tuple(np.log(np.array(FLOORS) * highest)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return replace(weighting, number=float(np.exp(found.x)))


def misfit(weighting: Weighting, plates: Sequence[PlateResiduals]) -> float:
    """Return minus twice the pseudo-log-likelihood of plates, each at its own best scale."""
    total = 0.0
    for plate in plates:
        sd = weighting.sd(plate.fitted, float(np.max(plate.fitted)))
        left = float(np.sum((plate.residuals / sd) ** 2))
        free = plate.degrees_of_freedom
        total += free * np.log(max(left, 1e-300)) + free * 2.0 * float(np.mean(np.log(sd)))
    return total

"""Curves of several plates of one assay, whose noise has one shape.

Belongs here: fitting plates together where only the shape of the noise is common. Not here: one fit.

Each plate has a curve and a scale of noise of its own; the exponent (or floor over CV) is one for all,
learned from what the fits leave, and fits and number are renewed in turn until it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from chiploop.assays.curve_fit import CurveFit, fit_curve
from chiploop.assays.curve_weights import Weighting, pooled
from chiploop.assays.logistic_curve import Model

ROUNDS = 12
SETTLED = 1e-3
"""Of the pooled number between rounds; what is left of it moves a concentration by less than 1e-4."""
PASSES_IN_ROUND = 2
"""Renewals of the weights between two pools; the last fits have all that they need."""
FIRST_GUESS = Weighting("1/y2")


@dataclass(frozen=True)
class PlatePoints:
    """Standards of one plate."""

    concentration: np.ndarray
    """(n,), 0 for blanks."""
    signal: np.ndarray
    """(n,)"""


def fit_plates(
    plates: Sequence[PlatePoints], model: Model = "4pl", weighting: Weighting = FIRST_GUESS
) -> tuple[CurveFit, ...]:
    """Return one fit per plate; a number of the weighting that is not given is pooled over them.

    Where no plate can be fitted, the fits say why.
    """
    if not weighting.is_pooled:
        return tuple(fit_curve(p.concentration, p.signal, model, weighting) for p in plates)
    guess = replace(FIRST_GUESS, taken_at="fitted")
    fits = [
        fit_curve(p.concentration, p.signal, model, guess, passes=PASSES_IN_ROUND) for p in plates
    ]
    number = -1.0
    for _ in range(ROUNDS):
        good = [fit.residuals for fit in fits if not fit.failure]
        if not good:
            return tuple(fits)
        known = pooled(weighting, good)
        assert known.number is not None
        if abs(known.number - number) <= SETTLED * max(known.number, 0.1):
            break
        number = known.number
        fits = [
            fit_curve(p.concentration, p.signal, model, known, start=fit, passes=PASSES_IN_ROUND)
            for p, fit in zip(plates, fits, strict=True)
        ]
    return tuple(
        fit_curve(p.concentration, p.signal, model, known, start=fit)
        for p, fit in zip(plates, fits, strict=True)
    )

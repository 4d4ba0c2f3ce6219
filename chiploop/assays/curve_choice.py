"""Which logistic model the data bear: 4PL unless they say otherwise.

Belongs here: the choice and its reasons. Not here: the fits.

A 5PL is taken where its AICc is lower by 2 and more AND its asymmetry is known: a free asymmetry that
the data do not tell trades with slope and asymptote (ryegrass: 0.468 +- 0.530), and concentrations
near the ends then hang on nothing. A 3PL is taken where a lower asymptote of 0 costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chiploop.assays.curve_fit import CurveFit
from chiploop.assays.logistic_curve import ASYMMETRY, HILL, Model

LEAST_GAIN = 2.0
"""Of AICc over the 4PL."""
LARGEST_SD_LN_ASYMMETRY = 0.5
LARGEST_SD_LN_HILL = 0.5
"""Beyond either the asymmetry counts as not identified."""


@dataclass(frozen=True)
class CurveChoice:
    """The model taken for one curve, and why."""

    model: Model
    aicc: dict[Model, float]
    """inf where the model has no fit."""
    reason: str


def not_identified(fit: CurveFit) -> str:
    """Return why a 5PL is refused, empty where it is not."""
    if fit.failure:
        return fit.failure
    if ASYMMETRY not in fit.free:
        return ""
    sd = fit.standard_errors
    if sd[ASYMMETRY] > LARGEST_SD_LN_ASYMMETRY or sd[HILL] > LARGEST_SD_LN_HILL:
        value = fit.curve.asymmetry
        return (
            f"the asymmetry is not identified: {value:.3g} +- {sd[ASYMMETRY] * value:.2g}, slope "
            f"known to {sd[HILL]:.0%}; allowed are {LARGEST_SD_LN_ASYMMETRY:.0%} and "
            f"{LARGEST_SD_LN_HILL:.0%}"
        )
    return ""


def choose(fits: Sequence[CurveFit]) -> CurveChoice:
    """Return the choice among fits of the same points by different models.

    Raises
    ------
    ValueError : no 4PL among them.
    """
    of = {fit.model: fit for fit in fits}
    if "4pl" not in of:
        raise ValueError(f"a choice needs a 4PL to begin with; there are {sorted(of)}")
    aicc = {model: fit.aicc for model, fit in of.items()}
    reasons = []
    model: Model = "4pl"
    least = aicc["4pl"] - LEAST_GAIN
    for other in ("5pl", "3pl"):
        if other not in of:
            continue
        refused = not_identified(of[other])
        if refused:
            reasons.append(f"{other} refused: {refused}")
        elif aicc[other] <= least:
            model, least = other, aicc[other]
    gain = aicc["4pl"] - aicc[model]
    if model != "4pl":
        told = f"{gain:.1f}" if math.isfinite(gain) else "any number"
        reasons.insert(0, f"{model}: AICc lower than that of 4pl by {told}")
    else:
        reasons.insert(0, f"4pl: no other model has an AICc lower by {LEAST_GAIN:g} and more")
    return CurveChoice(model, aicc, "; ".join(reasons))

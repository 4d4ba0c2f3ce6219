"""Limits that stand beside LLOQ and ULOQ: of detection from blanks, of quantification by a CV.

Belongs here: these two limits. Not here: LLOQ and ULOQ by passing calibrators (standard_curve), which
alone decide what is censored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chiploop.assays.curve_fit import CurveFit
from chiploop.assays.inverse_estimate import sd_ln_at

SDS_ABOVE_BLANK = 3.0
LEAST_BLANKS = 4
"""Wells: fewer have no sd of their own worth the name; the curve's noise takes its place."""
STEPS = 400


@dataclass(frozen=True)
class DetectionLimit:
    """The lowest concentration whose signal stands out from blanks."""

    concentration: float
    """In the well; NaN where the curve does not reach the signal."""
    signal: float
    sd_from: str
    """``blanks``, or ``curve`` where there are too few of them."""


def detection_limit(fit: CurveFit, blanks: np.ndarray) -> DetectionLimit:
    """Return the limit of detection: mean of the blanks plus 3 sd (minus, on a falling curve), read back.

    Raises
    ------
    ValueError : no blank.
    """
    blanks = np.asarray(blanks, dtype=float)
    if not blanks.size or fit.failure:
        raise ValueError("a limit of detection needs blanks and a good curve")
    mean = float(np.mean(blanks))
    own = blanks.size >= LEAST_BLANKS
    sd = float(np.std(blanks, ddof=1)) if own else fit.signal_sd(mean)
    signal = mean + fit.curve.direction * SDS_ABOVE_BLANK * sd
    x = fit.curve.ln_concentration(signal)
    # Blanks that lie below the curve's own foot: the limit is not on this curve.
    concentration = math.exp(x) if math.isfinite(x) else math.nan
    return DetectionLimit(concentration, signal, "blanks" if own else "curve")


def limits_by_cv(
    fit: CurveFit, largest_cv: float, n_wells: int = 2, with_well_noise: bool = True
) -> tuple[float, float]:
    """Return the lowest and highest concentration within the standards that is known to a CV.

    Parameters
    ----------
    largest_cv : of the concentration, sqrt(exp(sd_ln^2) - 1).
    with_well_noise : False is drLumi's way, where only the curve errs.

    Notes
    -----
    NaN where no concentration is known so well. What lies between the two may be interrupted only by
    a curve that is worse in its middle than at its ends; the ends are those of the widest run.
    """
    inner = fit.x[np.isfinite(fit.x)]
    grid = np.linspace(inner.min(), inner.max(), STEPS)
    cvs = []
    for x in grid:
        signal = float(fit.curve.signal_at(x))
        sd = sd_ln_at(fit, signal, n_wells, None if with_well_noise else 0.0)
        cvs.append(math.sqrt(math.expm1(min(sd * sd, 50.0))))
    good = np.array(cvs) <= largest_cv
    best, begun = (0, 0), None
    for i, ok in enumerate([*good, False]):
        if ok and begun is None:
            begun = i
        if not ok and begun is not None:
            best = max(best, (begun, i), key=lambda run: run[1] - run[0])
            begun = None
    if best == (0, 0):
        return math.nan, math.nan
    return math.exp(grid[best[0]]), math.exp(grid[best[1] - 1])

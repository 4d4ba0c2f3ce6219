"""One sample at several dilutions: parallel to the standards, linear, or hooked.

Belongs here: judging a series once each dilution has its concentration. Not here: concentrations
(immunoassay), the limits of a rule set (acceptance_rules).

Concentrations are those in the sample, dilution taken back. A sample that is parallel gives the same
at every dilution; one whose undiluted wells hook gives more the more it is diluted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chiploop.assays.acceptance_rules import DilutionRules
from chiploop.measurement import Quality

TREND_Z = 3.0
"""A trend of ln concentration on ln dilution counts beyond this many sd."""


@dataclass(frozen=True)
class Diluted:
    """What one dilution of a sample says of it."""

    dilution: float
    """Times."""
    concentration: float
    """In the sample, dilution taken back; NaN where censored or failed."""
    sd_ln: float


@dataclass(frozen=True)
class SeriesVerdict:
    """What a series says."""

    n: int
    """Dilutions with a number."""
    cv: float
    """Of the concentrations; NaN for fewer than two."""
    is_parallel: bool | None
    """CV within the rule; None for fewer than three dilutions."""
    recoveries: tuple[float, ...]
    """Of each dilution with a number over the least diluted one."""
    is_linear: bool | None
    """All recoveries within the rule; None for fewer than two dilutions."""
    slope: float
    """Of ln concentration on ln dilution; 0 is parallel."""
    slope_sd: float
    is_hooked: bool
    """The concentration rises with dilution beyond noise."""
    qc: Quality
    reasons: tuple[str, ...]


def judge_dilutions(series: Sequence[Diluted], rules: DilutionRules) -> SeriesVerdict:
    """Return the verdict on the dilutions of one sample."""
    good = sorted(
        (one for one in series if math.isfinite(one.concentration) and one.concentration > 0.0),
        key=lambda one: one.dilution,
    )
    values = np.array([one.concentration for one in good])
    n = len(good)
    cv = float(np.std(values, ddof=1) / np.mean(values)) if n > 1 else math.nan
    recoveries = tuple(float(value / values[0]) for value in values)
    slope, slope_sd = _trend(good)
    hooked = n > 1 and slope > TREND_Z * slope_sd
    parallel = None if n < 3 else cv <= rules.parallelism_cv
    linear = None if n < 2 else all(abs(one - 1.0) <= rules.linearity for one in recoveries)
    reasons = []
    if hooked:
        reasons.append(
            f"hook effect: the concentration rises by a power {slope:.2f} +- {slope_sd:.2f} of the "
            "dilution; trust the most diluted"
        )
    if parallel is False:
        reasons.append(
            f"not parallel: CV {cv:.0%} over {n} dilutions, allowed {rules.parallelism_cv:.0%}"
        )
    if linear is False:
        worst = max(recoveries, key=lambda one: abs(one - 1.0))
        reasons.append(
            f"not linear: {worst:.0%} of the least diluted, allowed within {rules.linearity:.0%}"
        )
    qc: Quality = "fail" if hooked else "warn" if reasons else "ok"
    return SeriesVerdict(
        n, cv, parallel, recoveries, linear, slope, slope_sd, hooked, qc, tuple(reasons)
    )


def _trend(good: Sequence[Diluted]) -> tuple[float, float]:
    """Return slope and sd of the weighted line of ln concentration on ln dilution."""
    x = np.log([one.dilution for one in good])
    if np.unique(x).size < 2:
        return 0.0, math.inf
    y = np.log([one.concentration for one in good])
    weight = 1.0 / np.maximum([one.sd_ln for one in good], 1e-12) ** 2
    middle = np.sum(weight * x) / np.sum(weight)
    spread = float(np.sum(weight * (x - middle) ** 2))
    return float(np.sum(weight * (x - middle) * y) / spread), 1.0 / math.sqrt(spread)

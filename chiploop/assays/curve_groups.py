"""Curves of all groups of a table: the model taken, concentrations of unknowns, limits by rules.

Belongs here: the order in which a table of points is worked on. Not here: reading it (curve_table), the
pieces (pooled_curves, curve_choice, inverse_estimate, standard_curve).

A number of the weights that is not given is pooled over the groups, which stand for plates of one assay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from chiploop.assays.acceptance_rules import AcceptanceRules
from chiploop.assays.curve_choice import CurveChoice, choose, not_identified
from chiploop.assays.curve_fit import CurveFit
from chiploop.assays.curve_table import CurveGroup, Unknown
from chiploop.assays.curve_weights import Weighting
from chiploop.assays.inverse_estimate import InverseEstimate, inverse_estimate
from chiploop.assays.logistic_curve import Model
from chiploop.assays.pooled_curves import fit_plates
from chiploop.assays.standard_curve import CalibratorLevel, judge_levels
from chiploop.measurement import Censoring, Quality

Asked = Literal["3pl", "4pl", "5pl", "auto"]
MODELS: tuple[Model, ...] = ("3pl", "4pl", "5pl")


@dataclass(frozen=True)
class GroupUnknown:
    """Concentration of one unknown in its sample, dilution taken back."""

    unknown: Unknown
    mean_signal: float
    estimate: float
    """NaN where censored; 0 or inf beyond an asymptote where no rules censor."""
    lower: float
    """Of the interval, or bound where censored; 0 where open."""
    upper: float
    """Of the interval, or bound where censored; inf where open."""
    censoring: Censoring
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class GroupFit:
    """All that is said of one group."""

    group: CurveGroup
    fit: CurveFit
    qc: Quality
    reasons: tuple[str, ...]
    choice: CurveChoice | None
    """None where the model was named."""
    levels: tuple[CalibratorLevel, ...]
    """Empty without rules."""
    lloq: float
    """NaN without rules, or where no level passes."""
    uloq: float
    unknowns: tuple[GroupUnknown, ...]


def fit_groups(
    groups: Sequence[CurveGroup],
    asked: Asked,
    weighting: Weighting,
    level: float = 0.95,
    rules: AcceptanceRules | None = None,
) -> tuple[GroupFit, ...]:
    """Return the curves of all groups; a fit that failed gives no concentrations.

    A 5PL that is asked for by name and not identified is given with a warning; ``auto`` refuses it.

    Raises
    ------
    ValueError : weights by observed signals where one is 0 or less.
    """
    points = [group.points for group in groups]
    wanted: tuple[Model, ...] = MODELS if asked == "auto" else (asked,)
    by_model = {model: fit_plates(points, model, weighting) for model in wanted}
    found = []
    for i, group in enumerate(groups):
        choice = None
        if asked == "auto":
            choice = choose([by_model[model][i] for model in MODELS])
            fit = by_model[choice.model][i]
        else:
            fit = by_model[asked][i]
        found.append(_judged(group, fit, choice, level, rules))
    return tuple(found)


def _judged(
    group: CurveGroup,
    fit: CurveFit,
    choice: CurveChoice | None,
    level: float,
    rules: AcceptanceRules | None,
) -> GroupFit:
    doubt = "" if fit.failure else not_identified(fit)
    reasons = [fit.failure] if fit.failure else []
    levels: tuple[CalibratorLevel, ...] = ()
    lloq = uloq = math.nan
    if rules is not None and not fit.failure:
        concentration, signal = group.points.concentration, group.points.signal
        nominal = sorted({float(one) for one in concentration} - {0.0})
        must = rules.calibrators
        ends = {"lowest": nominal[0], "highest": nominal[-1]}
        # A table has no names of standards: of the rules' anchors only these two words mean one here.
        anchors = {ends[word] for word in must.anchors if word in ends}
        levels, lloq, uloq = judge_levels(
            fit, nominal, concentration, signal, rules.acceptance, anchors
        )
        passed, n = sum(one.passed for one in levels), len(levels) - len(anchors)
        if passed < must.least_levels or passed < must.passing_levels * n:
            reasons.append(
                f"{passed} of {n} calibrators pass rules {rules.name}; at least "
                f"{must.least_levels} and {must.passing_levels:.0%} must"
            )
    unknowns = tuple(
        _unknown(one, fit, level, lloq, uloq, rules, tuple(reasons)) for one in group.unknowns
    )
    told = (*reasons, f"{doubt}; auto would not take this 5PL") if doubt else tuple(reasons)
    qc: Quality = "fail" if reasons else "warn" if doubt else "ok"
    return GroupFit(group, fit, qc, told, choice, levels, lloq, uloq, unknowns)


def _unknown(
    one: Unknown,
    fit: CurveFit,
    level: float,
    lloq: float,
    uloq: float,
    rules: AcceptanceRules | None,
    refused: tuple[str, ...],
) -> GroupUnknown:
    mean = float(np.mean(one.signals))
    if refused:
        nan = math.nan
        return GroupUnknown(one, mean, nan, nan, nan, "none", ("no accepted curve",))
    found: InverseEstimate = inverse_estimate(fit, mean, len(one.signals), level)
    value, times = found.concentration, one.dilution
    if rules is not None:
        if value < lloq:
            return GroupUnknown(one, mean, math.nan, 0.0, lloq * times, "left", ("below LLOQ",))
        if value > uloq:
            return GroupUnknown(
                one, mean, math.nan, uloq * times, math.inf, "right", ("above ULOQ",)
            )
    reasons = []
    if not 0.0 < value < math.inf:
        reasons.append("the signal lies at or beyond an asymptote")
    elif not fit.x[np.isfinite(fit.x)].min() <= math.log(value) <= fit.x.max():
        reasons.append("outside of the standards")
    return GroupUnknown(
        one, mean, value * times, found.lower * times, found.upper * times, "none", tuple(reasons)
    )

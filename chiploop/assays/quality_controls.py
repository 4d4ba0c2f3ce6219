"""Quality controls of a run against a rule set: accuracy, precision, total error, how many pass.

Belongs here: judging concentrations of controls. Not here: the numbers (acceptance_rules), how a
control's concentration came about (immunoassay).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chiploop.assays.acceptance_rules import ControlRules


@dataclass(frozen=True)
class ControlLevel:
    """All controls of one nominal concentration."""

    nominal: float
    values: tuple[float, ...]
    """Of the wells; NaN, which never passes, where censored or failed."""
    bias: float
    """Mean over nominal, less 1; NaN without a number."""
    cv: float
    """NaN for fewer than two numbers."""
    n_passed: int
    """Controls within the accuracy of the rule."""
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class ControlVerdict:
    """What the controls say of a run."""

    accepted: bool
    levels: tuple[ControlLevel, ...]
    reasons: tuple[str, ...]


def judge_controls(
    controls: Mapping[float, Sequence[float]],
    rules: ControlRules,
    limits: tuple[float, float] | None = None,
) -> ControlVerdict:
    """Return the verdict on a run.

    Parameters
    ----------
    controls : nominal concentration -> concentrations found.
    limits : LLOQ and ULOQ; controls at them are judged by the wider numbers.

    Raises
    ------
    ValueError : no control, or a nominal concentration that is not above 0.
    """
    if not controls or any(not nominal > 0.0 or not found for nominal, found in controls.items()):
        raise ValueError("controls need a nominal concentration above 0 and at least one well each")
    levels = []
    for nominal in sorted(controls):
        at_limit = limits is not None and any(math.isclose(nominal, end) for end in limits)
        levels.append(_level(nominal, tuple(controls[nominal]), rules, at_limit))
    n = sum(len(level.values) for level in levels)
    passed = sum(level.n_passed for level in levels)
    reasons = []
    if passed < rules.passing * n:
        reasons.append(f"{passed} of {n} controls pass, {rules.passing:.0%} must")
    for level in levels:
        if level.n_passed < rules.passing_per_level * len(level.values):
            reasons.append(
                f"{level.n_passed} of {len(level.values)} controls of {level.nominal:g} pass, "
                f"{rules.passing_per_level:.0%} must"
            )
    return ControlVerdict(not reasons, tuple(levels), tuple(reasons))


def _level(
    nominal: float, values: tuple[float, ...], rules: ControlRules, at_limit: bool
) -> ControlLevel:
    accuracy = rules.accuracy_at_limits if at_limit else rules.accuracy
    precision = rules.precision_at_limits if at_limit else rules.precision
    total = rules.total_error_at_limits if at_limit else rules.total_error
    numbers = np.array([value for value in values if math.isfinite(value)])
    bias = float(np.mean(numbers)) / nominal - 1.0 if numbers.size else math.nan
    cv = float(np.std(numbers, ddof=1) / np.mean(numbers)) if numbers.size > 1 else math.nan
    n_passed = int(np.sum(np.abs(numbers / nominal - 1.0) <= accuracy))
    reasons = []
    if abs(bias) > accuracy:
        reasons.append(f"bias {bias:+.0%}, allowed {accuracy:.0%}")
    if cv > precision:
        reasons.append(f"CV {cv:.0%}, allowed {precision:.0%}")
    if abs(bias) + cv > total:
        reasons.append(f"total error {abs(bias) + cv:.0%}, allowed {total:.0%}")
    return ControlLevel(nominal, values, bias, cv, n_passed, tuple(reasons))

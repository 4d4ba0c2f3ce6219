"""Dilutions of one sample: parallel, linear, hooked."""

from __future__ import annotations

import math

from chiploop.assays.acceptance_rules import acceptance_rules
from chiploop.assays.dilution_series import Diluted, judge_dilutions

RULES = acceptance_rules().dilutions


def series(*values: float) -> list[Diluted]:
    return [Diluted(2.0**i, value, 0.08) for i, value in enumerate(values)]


def test_a_parallel_sample_passes_and_one_that_scatters_does_not() -> None:
    good = judge_dilutions(series(100.0, 108.0, 95.0, 102.0), RULES)
    assert (good.qc, good.is_parallel, good.is_linear, good.is_hooked) == ("ok", True, True, False)
    bad = judge_dilutions(series(100.0, 55.0, 180.0, 60.0), RULES)
    assert bad.is_parallel is False and bad.is_linear is False and bad.qc == "warn"
    assert "not parallel: CV 59%" in " ".join(bad.reasons)


def test_linearity_is_within_the_rule_of_the_least_diluted() -> None:
    assert judge_dilutions(series(100.0, 119.0), RULES).is_linear
    off = judge_dilutions(series(100.0, 79.0), RULES)
    assert not off.is_linear and "79%" in off.reasons[0] and off.is_parallel is None


def test_a_concentration_that_rises_with_dilution_is_a_hook_and_one_that_falls_is_not() -> None:
    hooked = judge_dilutions(series(100.0, 180.0, 340.0, 600.0), RULES)
    assert hooked.is_hooked and hooked.qc == "fail" and "hook effect" in hooked.reasons[0]
    assert 0.8 < hooked.slope < 0.9
    falling = judge_dilutions(series(600.0, 340.0, 180.0, 100.0), RULES)
    assert not falling.is_hooked and falling.is_parallel is False


def test_censored_dilutions_do_not_count_and_one_says_nothing() -> None:
    one = judge_dilutions(
        [Diluted(1.0, math.nan, 0.1), Diluted(2.0, 90.0, 0.1), Diluted(4.0, math.nan, 0.1)], RULES
    )
    assert (one.n, one.is_parallel, one.is_linear, one.is_hooked) == (1, None, None, False)
    assert math.isnan(one.cv) and one.qc == "ok"

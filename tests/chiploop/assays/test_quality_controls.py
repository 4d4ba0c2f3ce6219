"""Quality controls by a rule set: two of three of all, half of each level."""

from __future__ import annotations

import math

import pytest

from chiploop.assays.acceptance_rules import acceptance_rules
from chiploop.assays.quality_controls import judge_controls

RULES = acceptance_rules().quality_controls


def test_good_controls_accept_the_run() -> None:
    found = judge_controls({30.0: [28.0, 33.0], 300.0: [310.0, 280.0]}, RULES)
    assert found.accepted and found.reasons == ()
    assert [level.n_passed for level in found.levels] == [2, 2]
    assert found.levels[0].bias == pytest.approx(30.5 / 30.0 - 1.0)


def test_two_of_three_of_all_must_pass() -> None:
    two_thirds = {30.0: [30.0, 50.0], 300.0: [300.0, 310.0], 900.0: [900.0, 1500.0]}
    assert judge_controls(two_thirds, RULES).accepted
    less = {**two_thirds, 300.0: [300.0, 500.0]}
    found = judge_controls(less, RULES)
    assert not found.accepted and "3 of 6 controls pass, 67% must" in found.reasons[0]


def test_half_of_each_level_must_pass() -> None:
    found = judge_controls(
        {30.0: [50.0, 55.0], 300.0: [300.0, 310.0, 290.0], 900.0: [900.0, 910.0, 905.0]}, RULES
    )
    assert not found.accepted and found.reasons == ("0 of 2 controls of 30 pass, 50% must",)


def test_controls_at_the_limits_are_judged_by_the_wider_number() -> None:
    controls = {10.0: [12.4, 12.3], 300.0: [300.0]}
    assert judge_controls(controls, RULES, (10.0, 1000.0)).levels[0].n_passed == 2
    assert judge_controls(controls, RULES).levels[0].n_passed == 0


def test_a_censored_control_never_passes_and_bias_cv_and_total_error_are_told() -> None:
    level = judge_controls({100.0: [150.0, 90.0, math.nan]}, RULES).levels[0]
    assert level.n_passed == 1
    assert level.reasons == (
        "CV 35%, allowed 20%",
        "total error 55%, allowed 30%",
    )
    with pytest.raises(ValueError, match="above 0"):
        judge_controls({0.0: [1.0]}, RULES)

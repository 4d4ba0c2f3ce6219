"""Effects with a twin's prognosis: against closed forms, and how often they err over many simulated trials."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from chiploop.twin.control_arm import (
    adjusted,
    borrowed,
    external,
    gaps_of,
    regression,
    saving,
    unadjusted,
)
from chiploop.twin.trial_data import TrialData
from chiploop.twin.trial_simulation import TWINS, Design, rates

TRIALS = 2000


def trial(n: int = 40, seed: int = 0, effect: float = 0.0, shift: float = 0.0) -> TrialData:
    rng = np.random.default_rng(seed)
    m = rng.normal(40.0, 10.0, n)
    treated = np.arange(n) < n // 2
    outcome = m + rng.normal(0.0, 8.0, n) + effect * treated
    codes = tuple(f"P{i}" for i in range(n))
    return TrialData(codes, treated, outcome, m + shift, np.zeros((n, 0)), ())


def test_without_adjustment_the_estimate_is_the_difference_of_means() -> None:
    data = trial(effect=5.0)
    found = unadjusted(data)
    own = data.outcome[data.treated].mean() - data.outcome[~data.treated].mean()
    assert found.estimate == pytest.approx(own, rel=1e-12)
    # HC3 of a mean: squared gaps over (1 - 1/n)^2
    parts = [data.outcome[arm] - data.outcome[arm].mean() for arm in (data.treated, ~data.treated)]
    variance = sum(((part / (1 - 1 / len(part))) ** 2).sum() / len(part) ** 2 for part in parts)
    assert found.se == pytest.approx(math.sqrt(variance), rel=1e-12)


def test_an_outcome_that_is_prognosis_and_effect_alone_is_found_without_error() -> None:
    data = trial()
    assert data.prognosis is not None
    exact = replace(data, outcome=2.0 * data.prognosis + 3.0 * data.treated + 1.0)
    found = adjusted(exact)
    assert found.estimate == pytest.approx(3.0, abs=1e-9) and found.se < 1e-9


def test_a_shifted_or_rescaled_prognosis_changes_nothing_in_the_adjusted_analysis() -> None:
    data = trial(effect=4.0)
    assert data.prognosis is not None
    other = replace(data, prognosis=100.0 - 0.2 * data.prognosis)
    assert adjusted(other).estimate == pytest.approx(adjusted(data).estimate, rel=1e-9)
    assert adjusted(other).se == pytest.approx(adjusted(data).se, rel=1e-9)


def test_what_is_saved_is_what_the_prognosis_explains() -> None:
    found = np.mean([saving(trial(400, seed)) for seed in range(20)])
    assert found == pytest.approx(100.0 / 164.0, abs=0.03)


def test_many_trials_at_once_are_what_each_is_alone() -> None:
    trials = [trial(30, seed, effect=3.0) for seed in range(3)]
    together = regression(
        np.array([one.outcome for one in trials]),
        np.array([one.treated for one in trials]),
        np.array([one.adjusted_for - one.adjusted_for.mean(axis=0) for one in trials]),
    )
    np.testing.assert_allclose(together.estimate, [adjusted(one).estimate for one in trials])
    np.testing.assert_allclose(together.se, [adjusted(one).se for one in trials])
    np.testing.assert_allclose(together.p, [adjusted(one).p for one in trials])


def test_the_twins_bias_bounds_an_external_control_however_many_patients_there_are() -> None:
    assert external(trial(40, effect=20.0), 2.0).se > 2.0
    many = external(trial(100_000, effect=20.0), 2.0)
    assert many.se == pytest.approx(2.0, rel=1e-3)
    assert many.estimate == pytest.approx(20.0, abs=0.3)


def test_a_twin_that_is_trusted_wholly_is_weighed_by_the_variances() -> None:
    data = trial(effect=5.0)
    gaps, sd = gaps_of(data), 3.0
    shrink = sd**2 / (gaps.control_variance + sd**2)
    found = borrowed(data, sd, trusted=1.0)
    assert found.estimate == pytest.approx(gaps.treated - shrink * gaps.control)
    assert found.se == pytest.approx(
        math.sqrt(gaps.treated_variance + shrink * gaps.control_variance)
    )
    assert found.upper - found.estimate == pytest.approx(2.024394 * found.se, rel=1e-5)  # t, 38 df


def test_controls_that_contradict_the_twin_take_its_weight_away() -> None:
    near, far = trial(effect=5.0), trial(effect=5.0, shift=40.0)
    agreed, contradicted = borrowed(near, 1.0), borrowed(far, 1.0)
    assert agreed.trusted is not None and contradicted.trusted is not None
    assert agreed.trusted > 0.7 and contradicted.trusted < 1e-6
    gaps = gaps_of(far)
    # the second part weighs as one patient more than the 20 controls
    left = (contradicted.estimate - (gaps.treated - gaps.control)) / gaps.control
    assert left == pytest.approx(1 / 21, rel=1e-3)
    assert external(far, 1.0).estimate < -30.0
    assert contradicted.se > agreed.se


def test_what_can_not_be_analysed_says_why() -> None:
    data = trial()
    alone = replace(data, treated=np.ones(40, dtype=bool))
    with pytest.raises(ValueError, match="0 controls"):
        unadjusted(alone)
    with pytest.raises(ValueError, match="without controls"):
        borrowed(alone, 1.0)
    assert external(alone, 1.0).method == "external"
    with pytest.raises(ValueError, match="no prognosis"):
        external(replace(data, prognosis=None), 1.0)
    with pytest.raises(ValueError, match="neither"):
        adjusted(replace(data, prognosis=None))
    with pytest.raises(ValueError, match="same for every patient"):
        adjusted(replace(data, prognosis=np.full(40, 7.0)))


# --- how often they err


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("design", [Design(50, 50), Design(60, 20), Design(10, 10)])
def test_the_adjusted_analysis_errs_no_more_often_than_told_whether_the_twin_is_right_or_not(
    twin: str, design: Design
) -> None:
    found = rates(design, twin, TRIALS, np.random.default_rng(7))
    assert found.rejected["adjusted"] <= 0.06
    slack = 3.1 * math.sqrt(0.05 * 0.95 / TRIALS)
    assert found.rejected["unadjusted"] <= 0.05 + slack


def test_a_right_twin_brings_power_and_a_blind_one_costs_little() -> None:
    design = Design(50, 50, effect=0.5)
    right = rates(design, "right", TRIALS, np.random.default_rng(8))
    blind = rates(design, "blind", TRIALS, np.random.default_rng(8))
    assert right.rejected["adjusted"] > right.rejected["unadjusted"] + 0.12
    assert right.saved == pytest.approx(design.r2, abs=0.04)
    assert abs(blind.rejected["adjusted"] - blind.rejected["unadjusted"]) < 0.03
    assert -0.04 < blind.saved < 0.0


def test_trusting_a_wrong_twin_costs_the_level_and_borrowing_bounds_what_it_costs() -> None:
    right = rates(Design(50, 50), "right", TRIALS, np.random.default_rng(9)).rejected
    wrong = rates(Design(50, 50), "shifted", TRIALS, np.random.default_rng(9)).rejected
    assert right["external"] < 0.05 and wrong["external"] > 0.8
    assert right["borrowed"] < 0.06 and 0.05 < wrong["borrowed"] < 0.12


@pytest.mark.parametrize("n", [3, 5, 10])
def test_few_patients_with_a_right_twin_are_not_found_too_often(n: int) -> None:
    design = Design(n, n, bias_sd=0.02)
    found = rates(design, "right", 4 * TRIALS, np.random.default_rng(12)).rejected
    slack = 3.1 * math.sqrt(0.05 * 0.95 / (4 * TRIALS))
    assert found["external"] <= 0.05 + slack
    # the mixture takes the scatter within its weights for known
    assert found["borrowed"] <= {3: 0.08, 5: 0.07, 10: 0.065}[n]


def test_a_prognosis_in_another_unit_is_left_to_the_controls_and_breaks_nothing() -> None:
    data = trial(effect=5.0, shift=1e5)
    found = borrowed(data, 0.1)
    assert found.trusted == 0.0 and math.isfinite(found.lower)
    assert data.prognosis is not None
    with pytest.raises(ValueError, match="nothing scatters"):
        external(replace(data, outcome=data.prognosis + 3.0), 1.0)


def test_trials_at_once_use_the_same_rules_as_one_trial_alone() -> None:
    data = trial(24, 3, effect=6.0)
    assert data.prognosis is not None
    from chiploop.twin.trial_simulation import _trusting

    gap = (data.outcome - data.prognosis)[None]
    for bias_sd in (0.5, 2.0, 6.0):
        told = _trusting(gap, Design(12, 12, bias_sd=bias_sd))
        for name, one in (
            ("borrowed", borrowed(data, bias_sd)),
            ("external", external(data, bias_sd)),
        ):
            assert told[name] == float(one.p < 0.05), (name, bias_sd)

"""Exact tests of few patients: counted by hand, and their level over every way to draw the arms."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from chiploop.twin.randomisation_test import interval, randomisation_test
from chiploop.twin.trial_data import TrialData


def trial(outcome: list[float], k: int, prognosis: list[float] | None = None) -> TrialData:
    n = len(outcome)
    return TrialData(
        tuple(f"P{i}" for i in range(n)),
        np.arange(n) < k,
        np.array(outcome),
        None if prognosis is None else np.array(prognosis),
        np.zeros((n, 0)),
        (),
    )


def test_the_most_extreme_of_twenty_draws_has_p_of_two_in_twenty() -> None:
    found = randomisation_test(trial([9, 8, 7, 1, 2, 3], 3), np.random.default_rng(0))
    assert (found.p, found.draws, found.exact, found.smallest_p) == (0.1, 20, True, 0.1)


def test_unequal_arms_have_no_mirror_image() -> None:
    found = randomisation_test(trial([9, 8, 1, 2, 3], 2), np.random.default_rng(0))
    assert found.p == pytest.approx(0.1) and found.smallest_p == pytest.approx(0.1)


@pytest.mark.parametrize("with_twin", [False, True])
def test_over_every_way_to_draw_the_arms_it_errs_no_more_often_than_told(with_twin: bool) -> None:
    rng = np.random.default_rng(3)
    outcome, foretold = rng.exponential(size=8), rng.normal(size=8)  # a twin that knows nothing
    data = trial(list(outcome), 4, list(foretold) if with_twin else None)
    p = []
    for chosen in combinations(range(8), 4):
        treated = np.zeros(8, dtype=bool)
        treated[list(chosen)] = True
        one = TrialData(data.patients, treated, outcome, data.prognosis, data.covariates, ())
        p.append(randomisation_test(one, rng).p)
    for level in (0.03, 0.05, 0.1, 0.3):
        assert np.mean(np.array(p) <= level) <= level
    assert min(p) == pytest.approx(2 / 70)


def test_a_good_twin_finds_what_the_outcome_alone_hides() -> None:
    rng = np.random.default_rng(5)
    m = rng.normal(0.0, 10.0, 12)
    outcome = m + rng.normal(0.0, 1.0, 12) + 4.0 * (np.arange(12) < 6)
    alone = randomisation_test(trial(list(outcome), 6), rng)
    helped = randomisation_test(trial(list(outcome), 6, list(m)), rng)
    assert alone.p > 0.2 and helped.p < 0.02


def test_many_patients_are_drawn_at_random_and_the_seed_decides() -> None:
    rng = np.random.default_rng(6)
    data = trial(list(rng.normal(size=60)), 30)
    first = randomisation_test(data, np.random.default_rng(1))
    again = randomisation_test(data, np.random.default_rng(1))
    assert first == again and not first.exact and first.smallest_p == pytest.approx(1e-4)


def test_the_interval_holds_the_effects_that_are_not_rejected() -> None:
    rng = np.random.default_rng(7)
    m = rng.normal(0.0, 5.0, 10)
    outcome = m + rng.normal(0.0, 1.0, 10) + 6.0 * (np.arange(10) < 5)
    data = trial(list(outcome), 5, list(m))
    lower, upper = interval(data, np.random.default_rng(0))
    assert lower < 6.0 < upper and upper - lower < 6.0
    for effect, inside in (
        (lower - 0.1, False),
        (lower + 0.1, True),
        (upper - 0.1, True),
        (upper + 0.1, False),
    ):
        p = randomisation_test(data, np.random.default_rng(0), effect).p
        assert (p > 0.05) == inside, effect


def test_a_design_too_small_to_reject_has_an_endless_interval() -> None:
    lower, upper = interval(trial([5, 6, 1, 2], 2), np.random.default_rng(0))
    assert (lower, upper) == (-np.inf, np.inf)


def test_one_arm_alone_can_not_be_tested() -> None:
    with pytest.raises(ValueError, match="both arms"):
        randomisation_test(trial([1, 2, 3], 3), np.random.default_rng(0))


def test_arms_that_prognosis_tells_apart_keep_the_true_effect_inside() -> None:
    rng = np.random.default_rng(8)
    for _ in range(5):
        m = np.sort(rng.normal(0.0, 5.0, 12))[::-1]  # the better half was treated
        outcome = m + rng.normal(0.0, 1.0, 12) + 10.0 * (np.arange(12) < 6)
        data = trial(list(outcome), 6, list(m))
        lower, upper = interval(data, np.random.default_rng(0))
        assert (lower < 10.0 < upper) == (randomisation_test(data, rng, 10.0).p > 0.05)
        assert upper - lower > 1.0

"""Places in predictions and posterior predictive p: right under a right model, and not under wrong ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest, norm

from chiploop.inference.conditionals import conditionals, scores, whitened
from chiploop.inference.leave_one_out import left_out
from chiploop.inference.predictive_checks import (
    ALL,
    PlaceCheck,
    distance,
    null_scores,
    place_check,
    place_checks,
    places,
    predictive_p,
)
from chiploop.inference.search import search
from chiploop.inference.target import Target
from tests.chiploop.inference.exact_draws import drawn
from tests.chiploop.inference.linear_study import (
    SCATTER,
    censored,
    likelihood_of,
    linear_model,
    prior_of,
    study,
)

MODEL = linear_model(3)
RNG = 17


def test_places_are_those_of_the_closed_form() -> None:
    one = drawn(MODEL, 0, 4000)
    _, weights = left_out(one.conditionals)
    found = places(one.conditionals, weights, np.random.default_rng(RNG))
    assert scores(found) == pytest.approx(one.left_out_residuals, abs=0.12)
    not_left_out = replace(weights, log_weights=np.full_like(weights.log_weights, -np.log(4000)))
    naive = scores(places(one.conditionals, not_left_out, np.random.default_rng(RNG)))
    assert np.abs(naive - one.left_out_residuals).max() > 0.3


def test_places_of_a_right_model_hang_together_as_the_inverse_covariance_says() -> None:
    one = drawn(MODEL, 1)
    draws = null_scores(one.study.likelihood, one.mode, 20000, np.random.default_rng(RNG))
    inverse = np.linalg.inv(one.whole)
    sd = np.sqrt(np.diag(inverse))
    assert np.corrcoef(draws.T) == pytest.approx(inverse / np.outer(sd, sd), abs=0.04)
    assert draws.std(axis=0) == pytest.approx(1.0, abs=0.03)


def checked(seed: int, factor: float = 1.0, shift: float = 0.0) -> PlaceCheck:
    """Return the check of a study's exact residuals, stretched or shifted."""
    one = drawn(MODEL, seed, 10)
    place = norm.cdf(factor * one.left_out_residuals + shift)
    rng = np.random.default_rng([RNG, seed])
    null = null_scores(one.study.likelihood, one.mode, 500, rng)
    return place_check(ALL, place, null)


def test_p_values_of_a_right_model_are_uniform() -> None:
    found = [checked(seed) for seed in range(150)]
    for name in ("p_value", "shape_p", "spread_p", "shift_p"):
        assert kstest([getattr(one, name) for one in found], "uniform").pvalue > 0.01, name
    inside = np.mean(
        [np.mean((c.counts >= c.band[:, 0]) & (c.counts <= c.band[:, 1])) for c in found]
    )
    assert 0.92 < inside < 0.995


def test_p_values_would_not_be_uniform_if_readings_were_taken_as_independent() -> None:
    p = []
    for seed in range(150):
        one = drawn(MODEL, seed, 10)
        null = np.random.default_rng([RNG, seed]).standard_normal((500, 24))
        p.append(place_check(ALL, norm.cdf(one.left_out_residuals), null).spread_p)
    assert kstest(p, "uniform").pvalue < 0.01


@pytest.mark.parametrize(
    "factor, shift, words",
    [
        (2.2, 0.0, "too narrow"),
        (0.35, 0.0, "too wide"),
        (1.0, 1.3, "above what is predicted"),
        (1.0, -1.3, "below what is predicted"),
    ],
)
def test_wrong_predictions_are_seen_and_named(factor: float, shift: float, words: str) -> None:
    found = [checked(seed, factor, shift) for seed in range(12)]
    assert sum(not one.is_good for one in found) >= 10
    assert sum(words in one.sentence for one in found) >= 10
    assert "LOOK" not in found[0].sentence


def test_a_right_model_is_called_right() -> None:
    assert checked(3).is_good and "where they are predicted" in checked(3).sentence


def test_distance_from_uniform_is_anderson_and_darlings() -> None:
    u = np.array([[0.1, 0.4, 0.7]])
    total = sum((2 * i - 1) * (np.log(u[0, i - 1]) + np.log(1 - u[0, 3 - i])) for i in (1, 2, 3))
    assert distance(u)[0] == pytest.approx(-3 - total / 3)


def test_each_readout_has_its_check_and_all_together() -> None:
    one = drawn(MODEL, 2, 10)
    null = null_scores(one.study.likelihood, one.mode, 200, np.random.default_rng(RNG))
    found = place_checks(one.study.likelihood, norm.cdf(one.left_out_residuals), null)
    assert [check.name for check in found] == [ALL, "TEER", "CCL26", "ldh_release"]
    assert [check.readings for check in found] == [24, 8, 8, 8]
    assert all(check.counts.sum() == check.readings for check in found)


def test_a_censored_reading_has_a_random_place_within_its_bounds() -> None:
    used = list(study(MODEL, np.random.default_rng(4)).likelihood.used)
    used[8] = censored("A", 24.0, 1, "left", upper=float(np.log(used[8].value)) + 0.2)
    likelihood = likelihood_of(MODEL, used, SCATTER)
    target = Target(likelihood, prior_of(3))
    mode = search(target, np.zeros((1, target.dims))).modes[0]
    rng = np.random.default_rng(6)
    z = mode.z + rng.standard_normal((400, target.dims)) @ np.linalg.cholesky(mode.covariance).T
    effects = z[:, target.unknowns.at_effects]
    one = conditionals(likelihood, likelihood.means(target.predicted(z), effects), effects)
    _, weights = left_out(one)
    share = np.exp(weights.log_weights)
    upper = float((share * one.up_to).sum(axis=0)[8])
    found = np.array([places(one, weights, np.random.default_rng(s))[8] for s in range(300)])
    assert 0.0 < found.min() and found.max() < upper
    assert kstest(found / upper, "uniform").pvalue > 0.01
    again = places(one, weights, np.random.default_rng(0))
    assert again[:8] == pytest.approx(places(one, weights, np.random.default_rng(1))[:8])
    assert null_scores(likelihood, mode, 50, rng).shape == (50, 24)


def summed_p(seed: int, tails: float | None, believed: float | None) -> dict[str, float]:
    """Return predictive p at the truth of data with t tails, believed to have others."""
    one = study(MODEL, np.random.default_rng([31, seed]), replace(SCATTER, chip_tails=believed))
    likelihood = one.likelihood
    means = likelihood.plain_means(one.target.predicted(one.truth[None]))
    white = whitened(likelihood, means)
    if tails is not None:
        rng = np.random.default_rng([32, seed])
        for at in likelihood.exact_of_chips:
            white[:, at] *= np.sqrt(tails / rng.chisquare(tails))
    return predictive_p(likelihood, white)


@pytest.mark.parametrize("tails", [None, 3.0])
def test_predictive_p_at_the_truth_is_uniform_with_and_without_heavy_tails(
    tails: float | None,
) -> None:
    found = [summed_p(seed, tails, tails) for seed in range(200)]
    for name in ("TEER", "CCL26", "ldh_release"):
        assert kstest([one[name] for one in found], "uniform").pvalue > 0.01, name


def test_predictive_p_of_tails_that_are_not_believed_is_not_uniform() -> None:
    found = [summed_p(seed, 3.0, None)["TEER"] for seed in range(200)]
    assert kstest(found, "uniform").pvalue < 1e-4


def test_predictive_p_without_tails_is_that_of_the_calibrations_diagnostics() -> None:
    from chiploop.inference.diagnostics import predictive_p as of_diagnostics

    one = drawn(MODEL, 5)
    r = one.target.residuals(one.z)
    expected = of_diagnostics(one.target, r)
    assert predictive_p(one.study.likelihood, whitened(one.study.likelihood, one.means)) == (
        pytest.approx(expected)
    )

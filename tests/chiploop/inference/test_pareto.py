"""Pareto smoothing against tails whose shape is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import genpareto, norm

from chiploop.inference.pareto import (
    pareto_fit,
    quantiles,
    smoothed,
    tail_length,
    trusted_k,
)


def mean_shape(k: float, n: int = 400, runs: int = 60) -> float:
    """Return the mean estimate over draws of a known tail."""
    rng = np.random.default_rng([3, int(1000 * (k + 1))])
    draws = genpareto.rvs(k, scale=2.0, size=(runs, n), random_state=rng)
    return float(np.mean([pareto_fit(np.sort(one))[0] for one in draws]))


def is_right(estimate: float, k: float, n: int = 400) -> bool:
    """Return whether an estimate is k, leaning on the weak prior as it should."""
    return abs(estimate - (n * k + 5.0) / (n + 10.0)) < 0.03


@pytest.mark.parametrize("k", [-0.3, 0.1, 0.5, 0.9, 1.3])
def test_shape_of_a_known_tail_is_found_and_a_wrong_one_is_not_taken_for_it(k: float) -> None:
    found = mean_shape(k)
    assert is_right(found, k)
    assert not is_right(found, k + 0.1)
    assert not is_right(-found, k)


def test_scale_of_a_known_tail_is_found() -> None:
    draws = np.sort(
        genpareto.rvs(0.4, scale=2.0, size=20000, random_state=np.random.default_rng(1))
    )
    assert pareto_fit(draws)[1] == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("k", [-0.4, 0.0, 0.7])
def test_quantiles_are_those_of_scipy(k: float) -> None:
    places = np.array([0.01, 0.5, 0.99])
    assert quantiles(places, k, 1.7) == pytest.approx(genpareto.ppf(places, k, scale=1.7))


@pytest.mark.parametrize("sd", [0.9, 0.7, 0.5])
def test_weights_from_a_too_narrow_normal_have_the_tail_that_theory_gives(sd: float) -> None:
    steepness = 1.0 / sd**2 - 1.0
    x = sd * np.random.default_rng(7).standard_normal((40000, 10))
    found = float(smoothed(0.5 * steepness * x**2).k.mean())
    # 1 - sd^2 far out; at the tail's beginning the ratios' distribution is still a little steeper
    begin = norm.isf(0.5 * tail_length(40000) / 40000)
    slope = norm.pdf(begin) / norm.sf(begin) / (begin * steepness * sd**2)
    assert 1.0 / slope - 0.03 < found < 1.0 - sd**2


def test_smoothing_keeps_the_order_and_the_sum_of_weights_and_raises_none_above_the_largest() -> (
    None
):
    ratios = np.random.default_rng(2).standard_t(3, (1000, 4))
    found = smoothed(ratios)
    assert np.exp(found.log_weights).sum(axis=0) == pytest.approx(1.0)
    for raw, new in zip(ratios.T, found.log_weights.T, strict=True):
        assert (np.diff(new[np.argsort(raw)]) >= -1e-12).all()
        assert np.ptp(new) <= np.ptp(raw) + 1e-12
    assert (found.effective > 1.0).all() and (found.effective < 1000.0).all()


def test_ratios_that_are_all_alike_are_trusted_as_they_are() -> None:
    ratios = 0.02 * np.random.default_rng(4).random((500, 1))
    found = smoothed(ratios)
    assert found.k[0] == 0.0
    assert found.log_weights - found.log_weights[0] == pytest.approx(ratios - ratios[0])
    assert smoothed(50.0 * ratios).k[0] != 0.0


def test_fewer_draws_need_a_lighter_tail() -> None:
    assert trusted_k(512) == pytest.approx(0.631, abs=1e-3)
    assert trusted_k(100) == 0.5
    assert trusted_k(0) == trusted_k(1) == trusted_k(2) < -2.0  # too few to trust any
    assert trusted_k(10**6) == 0.7
    assert tail_length(512) == 68
    assert tail_length(512, 0.25) == 103


def test_draws_that_failed_or_are_too_few_are_refused() -> None:
    with pytest.raises(ValueError, match="not all finite"):
        smoothed(np.array([[0.0]] * 99 + [[np.inf]]))
    with pytest.raises(ValueError, match="12 draws have a tail of 3; at least 5"):
        smoothed(np.zeros((12, 1)))

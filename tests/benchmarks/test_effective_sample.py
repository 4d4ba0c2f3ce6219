"""What is said of samples, on chains and draws whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.effective_sample import (
    Marginals,
    agreement,
    excess_error,
    marginals,
    marginals_of_chains,
)
from chiploop.inference.chains import bulk_ess, rhat


def autoregressive(correlation: float, chains: int, steps: int, p: int = 1) -> np.ndarray:
    """Return stationary chains (chains, steps, p) with N(0, 1) marginals and this correlation of neighbours."""
    noise = np.random.default_rng(4).standard_normal((chains, steps, p))
    draws = noise.copy()
    for t in range(1, steps):
        draws[:, t] = correlation * draws[:, t - 1] + np.sqrt(1 - correlation**2) * noise[:, t]
    return draws


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9, -0.3])
@pytest.mark.parametrize(("chains", "steps"), [(4, 8000), (40, 1001)])
def test_an_autoregressive_chain_is_worth_what_its_correlation_says(
    correlation: float, chains: int, steps: int
) -> None:
    found = bulk_ess(autoregressive(correlation, chains, steps, p=6))
    exact = chains * steps * (1 - correlation) / (1 + correlation)
    assert found.mean() == pytest.approx(exact, rel=0.1)


def test_the_effective_size_does_not_hang_on_the_scale_of_a_parameter() -> None:
    draws = autoregressive(0.8, 4, 2000)
    # ranks alone count, so a heavy tail does not spoil it
    assert bulk_ess(np.exp(5.0 * draws)) == pytest.approx(bulk_ess(draws))


def test_chains_at_different_places_are_worth_little_and_are_seen() -> None:
    draws = autoregressive(0.2, 4, 1000)
    assert rhat(draws)[0] < 1.01
    draws[0] += 3.0
    assert rhat(draws)[0] > 1.2
    assert bulk_ess(draws)[0] < 20


def test_chains_of_different_width_are_seen() -> None:
    draws = autoregressive(0.2, 4, 1000)
    draws[0] *= 4.0
    assert rhat(draws)[0] > 1.1


def test_a_chain_that_drifts_is_not_taken_as_converged() -> None:
    draws = autoregressive(0.2, 1, 1000)
    draws[0, :, 0] += np.linspace(0.0, 3.0, 1000)
    assert rhat(draws)[0] > 1.2


def test_a_chain_that_never_moved_is_worth_one_draw() -> None:
    assert bulk_ess(np.zeros((2, 100, 1)))[0] == 1.0


def test_it_is_the_number_that_arviz_gives() -> None:
    arviz = pytest.importorskip("arviz", exc_type=ImportError)
    draws = np.exp(autoregressive(0.7, 4, 1500))
    given = arviz.convert_to_dataset({"x": draws[..., 0]})
    # it adds one more term to the sum of the correlations
    assert bulk_ess(draws)[0] == pytest.approx(arviz.ess(given, method="bulk").x.item(), rel=0.01)
    assert rhat(draws)[0] == pytest.approx(arviz.rhat(given).x.item(), abs=1e-9)


def test_means_that_scatter_twice_as_far_as_claimed_have_four_times_the_variance() -> None:
    rng = np.random.default_rng(0)
    runs, p, claimed = 400, 5, np.full(400, 100.0)
    sds = np.full((runs, p), 2.0)
    honest = 2.0 * rng.standard_normal((runs, p)) / 10.0
    assert excess_error(honest, sds, claimed) == pytest.approx(np.ones(p), abs=0.3)
    assert excess_error(2.0 * honest, sds, claimed) == pytest.approx(4.0 * np.ones(p), abs=1.2)


def sample(shift: float = 0.0, factor: float = 1.0, seed: int = 0) -> Marginals:
    draws = np.random.default_rng(seed).standard_normal((4000, 3))
    draws[:, 1] = shift + factor * draws[:, 1]
    return marginals(draws, np.full(3, 4000.0), np.full(3, 4000.0))


def test_two_samples_of_one_distribution_agree() -> None:
    for seed in range(20):
        assert agreement(sample(seed=2 * seed), sample(seed=2 * seed + 1)).agrees


def test_a_shifted_mean_is_told_by_its_parameter() -> None:
    found = agreement(sample(), sample(shift=0.2, seed=1))
    assert not found.agrees
    assert found.apart(["a", "b", "c"]) == ["b"]
    assert found.mean_gap[1] == pytest.approx(-0.2, abs=0.05)


def test_another_width_is_told_although_the_mean_is_right() -> None:
    found = agreement(sample(), sample(factor=1.15, seed=1))
    assert found.apart(["a", "b", "c"]) == ["b"]
    assert found.sd_ratio[1] == pytest.approx(1 / 1.15, abs=0.05)


@pytest.mark.parametrize("what", ["mean", "sd"])
def test_a_number_that_is_missing_is_not_agreement(what: str) -> None:
    broken = sample()
    getattr(broken, what)[2] = np.nan
    found = agreement(broken, sample(seed=1))
    assert not found.agrees
    assert found.apart(["a", "b", "c"]) == ["c"]


def test_correlated_chains_have_the_errors_of_their_effective_size() -> None:
    found = marginals_of_chains(autoregressive(0.9, 4, 20_000))
    assert found.mean_error[0] == pytest.approx(np.sqrt(19.0 / 80_000), rel=0.15)
    # squares of an AR(1) with r forget like one with r^2
    worth = 80_000 * (1 - 0.81) / (1 + 0.81)
    assert found.ln_sd_error[0] == pytest.approx(np.sqrt(0.5 / worth), rel=0.15)

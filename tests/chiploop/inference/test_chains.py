"""R-hat and effective sizes of chains whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.inference.chains import bulk_ess, rhat, tail_ess


def autoregressive(rho: float, chains: int, steps: int, seed: int) -> np.ndarray:
    """Return chains (chains, steps, 1) whose neighbours correlate by rho, of standard normals."""
    rng = np.random.default_rng(seed)
    x = np.empty((chains, steps, 1))
    x[:, 0] = rng.standard_normal((chains, 1))
    for t in range(1, steps):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1.0 - rho**2) * rng.standard_normal((chains, 1))
    return x


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9, -0.4])
def test_effective_size_of_an_autoregressive_chain_is_the_known_one(rho: float) -> None:
    draws = autoregressive(rho, 8, 4000, 5)
    assert bulk_ess(draws)[0] == pytest.approx(32000 * (1.0 - rho) / (1.0 + rho), rel=0.12)


def test_independent_draws_are_worth_their_number_in_the_tails_too() -> None:
    draws = np.random.default_rng(6).standard_normal((4, 2000, 1))
    assert tail_ess(draws)[0] == pytest.approx(8000, rel=0.15)
    assert rhat(draws)[0] == pytest.approx(1.0, abs=0.005)


def test_chains_that_tell_of_different_places_or_widths_do_not_agree() -> None:
    draws = np.random.default_rng(8).standard_normal((4, 500, 3))
    draws[0, :, 1] += 0.5
    draws[0, :, 2] *= 2.0
    agree, moved, wider = rhat(draws)
    assert agree < 1.01 < moved and wider > 1.01


def test_a_chain_that_stands_still_is_worth_nothing() -> None:
    still = np.zeros((4, 100, 1))
    assert rhat(still)[0] == np.inf
    assert bulk_ess(still)[0] == 1.0

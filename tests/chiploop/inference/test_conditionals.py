"""One reading given the others, against brute force on the likelihood itself.

The reference moves one reading along a fine grid and normalises the likelihood of all readings: it knows no
formula for conditionals. Wrong formulas (the readings taken one by one, without what they share) must not pass.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from chiploop.inference.conditionals import conditionals, whitened
from chiploop.inference.likelihood import Likelihood
from chiploop.inference.scatter import Scatter
from chiploop.measurement import Readout
from tests.chiploop.inference.linear_study import (
    SCATTER,
    LinearStudy,
    censored,
    likelihood_of,
    linear_model,
    study,
)

MODEL = linear_model(3)


def made(scatter: Scatter = SCATTER, seed: int = 0, curves: bool = False) -> LinearStudy:
    return study(MODEL, np.random.default_rng(seed), scatter, curves=curves)


def at(likelihood: Likelihood, n: int = 2, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return means and effects at some points."""
    rng = np.random.default_rng(seed)
    effects = rng.standard_normal((n, len(likelihood.effects)))
    predicted = likelihood.simulated(np.exp(0.7 * rng.standard_normal((n, 3))))
    return likelihood.means(predicted, effects), effects


def moved(likelihood: Likelihood, row: int, value: float) -> Likelihood:
    """Return the likelihood with another value of one reading, on the residual's scale."""
    used = list(likelihood.used)
    is_log = likelihood.rows.log_scale[row]
    used[row] = replace(used[row], value=float(np.exp(value)) if is_log else value)
    return likelihood_of(MODEL, used, likelihood.scatter)


def log_likelihood(likelihood: Likelihood, means: np.ndarray) -> np.ndarray:
    """Return the log likelihood (n,) at means that hold the effects already."""
    predicted = np.where(likelihood.rows.log_scale, np.exp(means), means)
    none = np.zeros((len(means), len(likelihood.effects)))
    r = likelihood.residuals(predicted, none)
    return likelihood.log_constant - 0.5 * (r**2).sum(axis=1)


def by_brute_force(
    likelihood: Likelihood, means: np.ndarray, row: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return log density and place (n,) of a reading given the others."""
    value = likelihood.rows.value[row]
    grid = value + 1.5 * np.sinh(np.linspace(-4.0, 4.0, 201))
    height = np.stack(
        [log_likelihood(moved(likelihood, row, v), means) for v in grid], axis=1
    ) + np.log(np.gradient(grid))
    total = logsumexp(height, axis=1)
    middle = len(grid) // 2  # the reading itself; half of its own cell lies below it
    share = np.exp(height - total[:, None])
    below = share[:, :middle].sum(axis=1) + 0.5 * share[:, middle]
    return log_likelihood(likelihood, means) - total, below


@pytest.mark.parametrize("tails", [None, 4.0])
@pytest.mark.parametrize("row", [0, 5, 11, 14, 23])
def test_each_reading_given_the_others_is_what_brute_force_finds(
    row: int, tails: float | None
) -> None:
    likelihood = made(replace(SCATTER, chip_tails=tails), curves=True).likelihood
    means, effects = at(likelihood)
    log_density, below = by_brute_force(likelihood, means, row)
    found = conditionals(likelihood, means, effects)
    assert found.log_density[:, row] == pytest.approx(log_density, abs=2e-3)
    assert found.below[:, row] == pytest.approx(below, abs=2e-3)
    assert (found.below == found.up_to).all()


def test_readings_taken_one_by_one_would_not_pass() -> None:
    likelihood = made().likelihood
    means, effects = at(likelihood)
    log_density, _ = by_brute_force(likelihood, means, 0)
    block = next(block for block in likelihood.blocks if 0 in block.rows)
    sd = np.sqrt((block.factor @ block.factor.T)[0, 0])
    alone = norm.logpdf(likelihood.rows.value[0], means[:, 0], sd)
    assert np.abs(alone - log_density).min() > 0.1


def test_light_tails_become_gaussian() -> None:
    heavy = made(replace(SCATTER, chip_tails=1e9)).likelihood
    gaussian = likelihood_of(MODEL, heavy.used, SCATTER)
    means, effects = at(gaussian, 20)
    one, other = (conditionals(lik, means, effects) for lik in (heavy, gaussian))
    assert one.log_density == pytest.approx(other.log_density, rel=2e-4, abs=1e-4)
    assert one.below == pytest.approx(other.below, abs=1e-5)  # of the quadrature


def test_log_densities_given_the_ones_before_sum_to_the_likelihood() -> None:
    # the last reading given all others, then the last but one given those before it, and so on
    used = list(made().likelihood.used[:8])
    means, effects = at(likelihood_of(MODEL, used, SCATTER))
    total = np.zeros(2)
    for m in range(len(used), 0, -1):
        likelihood = likelihood_of(MODEL, used[:m], SCATTER)
        total += conditionals(likelihood, means[:, :m], effects).log_density[:, m - 1]
    whole = likelihood_of(MODEL, used, SCATTER)
    assert total == pytest.approx(log_likelihood(whole, means))


def with_bounds(scatter: Scatter) -> Likelihood:
    """Return a study in which chip A has a censored and an uncensored CCL26, chip B two censored ones."""
    used: list[Readout] = [
        r for r in made(scatter).likelihood.used if not (r.readout == "CCL26" and r.chip_id in "AB")
    ]
    source = {
        (r.chip_id, r.time_h): r for r in made(scatter).likelihood.used if r.readout == "CCL26"
    }
    used.append(source["A", 24.0])
    used.append(censored("A", 48.0, 1, "left", upper=0.3))
    used.append(censored("B", 24.0, 1, "interval", lower=-0.4, upper=0.1))
    used.append(censored("B", 48.0, 1, "right", lower=0.2))
    return likelihood_of(MODEL, used, scatter)


@pytest.mark.parametrize("chip", ["A", "B"])
def test_an_effect_of_one_chip_is_integrated_out_where_a_reading_is_censored(chip: str) -> None:
    likelihood = with_bounds(Scatter({"CCL26": 0.2}, {}, {"TEER": 0.1}))
    means, effects = at(likelihood)
    found = conditionals(likelihood, means, effects)
    k = [e.name for e in likelihood.effects].index(f"CCL26 of chip {chip}")
    effect = likelihood.effects[k]
    plain = means[:, effect.rows] - effects[:, k, None] * effect.loadings
    b = np.linspace(-7.0, 7.0, 4001)
    for point in range(2):
        height = np.tile(norm.logpdf(b), (2, 1))
        below, up_to = np.empty((2, b.size)), np.empty((2, b.size))
        for i, row in enumerate(effect.rows):
            mean = plain[point, i] + effect.loadings[i] * b
            one = likelihood.used[row]
            if one.censoring == "none":
                height[i] += norm.logpdf(np.log(one.value), mean, 0.1)
                below[i] = up_to[i] = norm.cdf((np.log(one.value) - mean) / 0.1)
            else:
                edges = [np.log(e) if e > 0 else -np.inf for e in (one.lower, one.upper)]
                below[i], up_to[i] = (norm.cdf((e - mean) / 0.1) for e in edges)
                height[i] += np.log(np.maximum(up_to[i] - below[i], 1e-300))
        prior = norm.logpdf(b)
        joint = height.sum(axis=0) - prior
        for i, row in enumerate(effect.rows):
            other = height[1 - i]
            assert found.log_density[point, row] == pytest.approx(
                logsumexp(joint) - logsumexp(other), abs=1e-3
            )
            share = np.exp(other - logsumexp(other))
            assert found.below[point, row] == pytest.approx(share @ below[i], abs=1e-3)
            assert found.up_to[point, row] == pytest.approx(share @ up_to[i], abs=1e-3)


def test_the_value_of_an_integrated_effect_no_longer_matters() -> None:
    likelihood = with_bounds(Scatter({"CCL26": 0.2}, {}, {}))
    means, effects = at(likelihood, 1)
    k = [e.name for e in likelihood.effects].index("CCL26 of chip A")
    effect = likelihood.effects[k]
    other_means, other_effects = means.copy(), effects.copy()
    other_means[:, effect.rows] += 1.5 * effect.loadings
    other_effects[:, k] += 1.5
    one = conditionals(likelihood, means, effects).log_density
    other = conditionals(likelihood, other_means, other_effects).log_density
    assert one == pytest.approx(other)


def test_whitened_gaps_are_the_residuals_without_their_tails() -> None:
    heavy = made(replace(SCATTER, chip_tails=3.0)).likelihood
    gaussian = likelihood_of(MODEL, heavy.used, SCATTER)
    means, effects = at(gaussian)
    predicted = np.where(gaussian.rows.log_scale, np.exp(means), means)
    assert whitened(heavy, means) == pytest.approx(gaussian.residuals(predicted, effects))

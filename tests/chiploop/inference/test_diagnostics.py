"""Diagnostics: each limit has its own sentence, misfit is a warning, and what was learned is said per entry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from chiploop.inference.diagnostics import diagnose, gap_sd, predictive_p, without_tails
from chiploop.inference.posterior import CalibrationInfo, Limits
from chiploop.inference.search import Mode, Search
from chiploop.inference.target import Target
from chiploop.inference.tempering import Population
from tests.chiploop.inference.linear_study import (
    SCATTER,
    LinearStudy,
    censored,
    dosed_model,
    likelihood_of,
    linear_model,
    prior_of,
    study,
    varied,
)

P = 5
OURS = study(linear_model(P), np.random.default_rng(0))
BRIDGE = "bridge from the mode"


def exact_draws(ours: LinearStudy, n: int, seed: int = 1) -> np.ndarray:
    """Return draws (n, dims) whose means and sds are the exact posterior's."""
    z = np.random.default_rng(seed).standard_normal((n, len(ours.exact.mean)))
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    return ours.exact.mean + z @ np.linalg.cholesky(ours.exact.covariance).T


def population(ours: LinearStudy = OURS, **changed: object) -> Population:
    z = exact_draws(ours, 200)
    one = Population(z, ours.target.residuals(z), 0.0, 250.0, 0.3, 2, 0.6)
    return replace(one, **changed)  # type: ignore[arg-type]


def searched(heights: list[float], ours: LinearStudy = OURS) -> Search:
    exact, m = ours.exact, len(ours.values)
    mode = Mode(exact.mean, exact.covariance, np.zeros((m, len(exact.mean))), np.zeros(m), 0.0, 1.0)
    ends = np.array(heights)
    return Search((mode,), ends, ends > -0.5, 7)


def judged(
    one: Population, other: Population, heights: list[float], method: str = BRIDGE
) -> CalibrationInfo:
    return diagnose(OURS.target, searched(heights), [one, other], Limits(), method)


SD = float(np.sqrt(OURS.exact.covariance[2, 2]))
LIMITS = [
    (0.0, {}, [0.0, -0.1, -9.0], ""),
    (0.5, {}, [0.0, 0.0], "two populations differ by 0.49 sd, at most 0.2 allowed"),
    (0.0, {"log_evidence": 1.5}, [0.0, 0.0], "log evidences 0.00 and 1.50 differ by more than 0.4"),
    (0.0, {"ess": 120.0}, [0.0, 0.0], "370 effective particles, at least 400 needed"),
    (0.0, {}, [0.0, -0.6], "1 of 2 searches ended at the mode, at least 2 needed"),
    (0.0, {"acceptance": -0.2}, [0.0, 0.0], "5 % of the last moves were accepted, at least 10 %"),
]


@pytest.mark.parametrize(("shift", "change", "heights", "failure"), LIMITS)
def test_each_limit_has_its_own_sentence(
    shift: float, change: dict[str, float], heights: list[float], failure: str
) -> None:
    one = population()
    moved = one.z.copy()
    moved[:, 2] += shift * SD
    info = judged(one, replace(one, z=moved, **change), heights)
    assert info.passed == (not failure)
    assert len(info.failures) == (1 if failure else 0)
    assert all(failure in text for text in info.failures)


def test_a_run_from_the_prior_needs_no_searches_that_agree() -> None:
    one = population()
    info = judged(one, one, [0.0, -0.6], "tempered from the prior")
    assert info.passed and info.method == "tempered from the prior"
    assert (info.starts, info.starts_at_mode) == (2, 1)


def test_what_was_seen_is_handed_on() -> None:
    one = population()
    other = replace(one, log_evidence=0.25, ess=300.0, acceptance=0.5, temperatures=4)
    info = judged(one, other, [-3.0, 0.0, -1.0])
    assert info.log_evidence == (0.0, 0.25)
    assert (info.ess, info.acceptance, info.temperatures) == (550.0, 0.4, 4)
    assert info.heights == (0.0, -1.0, -3.0), "highest first"
    assert info.modes == (1.0,)
    assert (info.n_readouts, info.n_censored) == (24, 0)
    assert info.simulations == OURS.target.simulations or info.simulations > 0


def test_the_gap_is_that_of_the_worst_population_parameter() -> None:
    one = population()
    moved = one.z + np.array([0.0, 0.0, 0.0, 0.0, 3.0])
    gap = gap_sd([one, replace(one, z=moved)], P)
    both = np.concatenate([one.z[:, 4], moved[:, 4]])
    assert gap == pytest.approx(3.0 / both.std())
    assert gap_sd([one, replace(one, z=moved)], 4) == pytest.approx(0.0, abs=1e-9)


def test_what_was_learned_is_one_less_the_ratio_of_posterior_and_prior() -> None:
    prior = prior_of(4, varied(1, 3), dose_sd=0.2)
    ours = study(dosed_model(4), np.random.default_rng(2), prior=prior)
    one = population(ours)
    info = diagnose(ours.target, searched([0.0, 0.0], ours), [one, one], Limits(), BRIDGE)
    names = ours.target.names
    learned = dict(zip(names, 1.0 - ours.exact.sd, strict=True))
    assert info.shrinkage == pytest.approx({f"k{j}": learned[f"k{j}"] for j in range(4)}, abs=0.02)
    assert {d: set(s) for d, s in info.donor_shrinkage.items()} == {
        "d1": {"k1", "k3"},
        "d2": {"k1", "k3"},
    }
    for donor, of in info.donor_shrinkage.items():
        for name, value in of.items():
            assert value == pytest.approx(learned[f"{name} of {donor}"], abs=0.03)
    assert judged(population(), population(), [0.0, 0.0]).donor_shrinkage == {}


# --- misfit


def p_values(seeds: range, noise: float, tails: float | None) -> np.ndarray:
    """Return predictive p (runs, readouts) at the exact posterior of Gaussian data, TEER's noise made larger."""
    found = []
    for seed in seeds:
        rng = np.random.default_rng([5, seed])
        ours = study(linear_model(P, seed), rng)
        used = [
            replace(r, value=r.value * float(np.exp(noise * rng.standard_normal())))
            if r.readout == "TEER"
            else r
            for r in ours.likelihood.used
        ]
        likelihood = likelihood_of(linear_model(P, seed), used, replace(SCATTER, chip_tails=tails))
        target = Target(likelihood, ours.prior)
        z = exact_draws(ours, 100)
        found.append(list(predictive_p(target, target.residuals(z)).values()))
    return np.array(found)


def test_the_predictive_p_of_a_right_model_is_spread_over_its_range() -> None:
    found = p_values(range(30), 0.0, None)
    assert 0.4 < found.mean() < 0.7
    assert found.min() > 0.005 and found.max() > 0.85 and found.min() < 0.25


def test_readouts_that_scatter_more_than_assumed_are_found() -> None:
    found = p_values(range(6), 1.5, None)
    assert (found[:, 0] < 0.005).all(), "TEER"
    assert (found[:, 1:] > 0.005).all(), "the others stand"


def test_gaussian_data_under_heavy_tails_are_not_called_a_misfit() -> None:
    found = p_values(range(30), 0.0, 3.0)
    # a t lets readings scatter more than these do: p lies above a half, and never near 0
    assert 0.5 < found.mean() < 0.8
    assert found.min() > 0.05 and found.max() < 0.99


def test_the_whitened_gaps_are_found_behind_the_residuals_of_heavy_tails() -> None:
    heavy, plain = (
        Target(likelihood_of(linear_model(P), OURS.likelihood.used, scatter), OURS.prior)
        for scatter in (replace(SCATTER, chip_tails=3.0), SCATTER)
    )
    z = exact_draws(OURS, 7)
    found = without_tails(heavy.likelihood, heavy.residuals(z))
    assert found == pytest.approx(plain.residuals(z), rel=1e-9)
    assert np.array_equal(without_tails(plain.likelihood, plain.residuals(z)), plain.residuals(z))
    assert not without_tails(heavy.likelihood, np.zeros((2, 24))).any()


def test_a_misfit_is_a_warning_that_says_which_way() -> None:
    one = population()
    loud = replace(one, residuals=4.0 * one.residuals)
    info = judged(loud, loud, [0.0, 0.0])
    assert info.passed
    assert [w.split(":")[0] for w in info.warnings] == ["TEER", "CCL26", "ldh_release"]
    assert all("it scatters more than the model explains" in w for w in info.warnings)
    still = replace(one, residuals=0.05 * one.residuals)
    info = judged(still, still, [0.0, 0.0])
    assert all("less than the study's variation assumes" in w for w in info.warnings)
    assert len(info.warnings) == 3


def test_the_predictive_p_is_that_of_chi_squared_over_the_readouts_own_rows() -> None:
    r = np.random.default_rng(0).standard_normal((3, 24))
    found = predictive_p(OURS.target, r)
    likelihood = OURS.likelihood
    kinds = likelihood.rows.readout[likelihood.row_of]
    for k, name in enumerate(likelihood.names):
        squares = (r[:, kinds == k] ** 2).sum(axis=1)
        assert found[name] == pytest.approx(chi2.sf(squares, 8).mean())


def test_censored_readouts_do_not_enter_the_misfit() -> None:
    used = list(OURS.likelihood.used)
    used[0] = censored("A", 24.0, 0, "left", upper=9.0)
    target = Target(likelihood_of(linear_model(P), used), OURS.prior)
    r = target.residuals(OURS.exact.mean[None])
    found = predictive_p(target, r)
    kinds = target.likelihood.rows.readout[target.likelihood.row_of[:23]]
    assert found["TEER"] == pytest.approx(chi2.sf((r[0, :23][kinds == 0] ** 2).sum(), 7))
    only = Target(likelihood_of(linear_model(P), used[:1]), OURS.prior)
    assert predictive_p(only, only.residuals(OURS.exact.mean[None])) == {}

"""Calibrations against posteriors that are known; wrong ones are rejected by the same tests.

The stub study is linear in the prior's normals (linear_study), so means, covariances and evidence are known in
closed form; bent ones are compared with a grid. All seeds are fixed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.stats import chi2, kstest, norm

from chiploop.inference.likelihood import Likelihood
from chiploop.inference.posterior import Posterior
from chiploop.inference.recalibrate import Effort, recalibrate
from chiploop.inference.scatter import Scatter
from chiploop.inference.search import search
from chiploop.inference.target import Target
from tests.chiploop.inference.comparison import LOOSE, QUICK, Comparison, on_grid, outcome
from tests.chiploop.inference.linear_study import (
    CHIPS,
    DONORS,
    EXPONENTIAL,
    INLETS,
    LINES,
    SCATTER,
    SQUARE,
    Exact,
    LinearModel,
    Shape,
    censored,
    covariance,
    design_of,
    dosed_model,
    exact_posterior,
    likelihood_of,
    linear_model,
    prior_of,
    read,
    readout,
    rows,
    study,
    varied,
)

P = 5
MODEL, PRIOR = linear_model(P), prior_of(P)


class TooSharp(Likelihood):
    """A wrong target: residuals a quarter too large, as if every sd were a fifth too small."""

    def residuals(self, predicted: np.ndarray, effects: np.ndarray) -> np.ndarray:
        return 1.25 * super().residuals(predicted, effects)


class Shifted(Likelihood):
    """A wrong target: every reading is taken for 0.3 of its sd lower than it is."""

    def residuals(self, predicted: np.ndarray, effects: np.ndarray) -> np.ndarray:
        return super().residuals(predicted, effects) - 0.3


def compare(kind: type[Likelihood], seeds: Iterable[int], effort: Effort = QUICK) -> Comparison:
    runs = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        right = study(MODEL, rng)
        likelihood = kind(MODEL, INLETS, DONORS, right.likelihood.used, SCATTER, LINES)  # type: ignore[arg-type]
        runs.append(
            (outcome(recalibrate(likelihood, PRIOR, rng, effort=effort, limits=LOOSE)), right.exact)
        )
    return Comparison.of(runs)


@pytest.fixture(scope="module")
def right() -> Comparison:
    return compare(Likelihood, range(12))


@pytest.fixture(scope="module")
def wrong() -> Comparison:
    return compare(TooSharp, range(6))


def test_means_are_off_by_what_the_claimed_ess_allows_no_more_and_no_less(
    right: Comparison,
) -> None:
    assert right.means_agree
    assert not compare(Shifted, range(6)).means_agree, "a shifted target is rejected"
    claimed_four_times_over = replace(right, ess=4 * right.ess)
    assert not claimed_four_times_over.means_agree, "so is an ESS claimed four times too high"
    assert not replace(right, ess=right.ess / 4).means_agree


def test_variances_are_right_and_a_sharper_target_is_rejected(
    right: Comparison, wrong: Comparison
) -> None:
    assert right.variances_agree
    assert not wrong.variances_agree


def test_the_evidence_is_within_a_fifth_of_a_nat(right: Comparison, wrong: Comparison) -> None:
    assert np.abs(right.evidence_errors).max() < 0.2
    assert abs(right.evidence_errors.mean()) < 0.03
    assert np.abs(wrong.evidence_errors).mean() > 0.2


def test_donors_doses_curves_and_all_kinds_of_scatter_are_estimated_together() -> None:
    model, prior = dosed_model(4), prior_of(4, varied(1, 2), dose_sd=0.3)
    runs = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        ours = study(model, rng, prior=prior, curves=True)
        runs.append(
            (
                outcome(recalibrate(ours.likelihood, prior, rng, effort=QUICK, limits=LOOSE)),
                ours.exact,
            )
        )
    assert runs[0][0].standard.shape[1] == 4 + 2 + 4 + 2
    found = Comparison.of(runs)
    assert found.means_agree and found.variances_agree
    assert np.abs(found.evidence_errors).max() < 0.2
    taught = np.array([1 - exact.sd for _, exact in runs])
    assert taught[:, 6:].max(axis=0).min() > 0.1, "every donor and every line learned something"


def with_unknown_spread(sd: float = 0.4, ln_sd: float = 0.4) -> tuple[Target, Exact]:
    """Return a study that does not know how much donors differ, and its posterior.

    Given the spread's standard normal t all is linear, so the posterior is a mixture over t.
    """
    prior = prior_of(2, varied(0, sd=sd, ln_sd=ln_sd))
    model = linear_model(2)
    rng = np.random.default_rng(3)
    target = Target(likelihood_of(model, [read(place, 0.0) for place in rows()], SCATTER), prior)
    noise = covariance(SCATTER)
    values = np.linalg.cholesky(noise) @ rng.standard_normal(len(rows())) + 0.8
    likelihood = likelihood_of(
        model, [read(p, float(v)) for p, v in zip(rows(), values, strict=True)], SCATTER
    )
    t = np.linspace(-7.0, 7.0, 281)
    parts = []
    for one in t:
        known = prior_of(2, varied(0, sd=sd * float(np.exp(ln_sd * one))))
        design = design_of(model, known, target.unknowns, rows())
        parts.append(exact_posterior(design, values, noise))
    log_weight = np.array([part.log_evidence for part in parts]) + norm.logpdf(t)
    log_evidence = float(np.logaddexp.reduce(log_weight) + np.log(t[1] - t[0]))
    weight = np.exp(log_weight - np.logaddexp.reduce(log_weight))
    means = np.array([part.mean for part in parts])
    at = target.names.index("spread of k0")
    means[:, at] = t
    mean = weight @ means
    total = np.einsum("t,tij->ij", weight, np.array([part.covariance for part in parts]))
    total[at, at] = 0.0
    total += (means - mean).T @ ((means - mean) * weight[:, None])
    return Target(likelihood, prior), Exact(mean, total, log_evidence)


def compared_with_unknown_spread(sd: float, ln_sd: float) -> Comparison:
    target, exact = with_unknown_spread(sd, ln_sd)
    runs = []
    for s in range(6):
        rng = np.random.default_rng(s)
        found = recalibrate(target.likelihood, target.prior, rng, effort=QUICK, limits=LOOSE)
        runs.append((outcome(found), exact))
    return Comparison.of(runs)


def test_how_much_donors_differ_is_learned_with_what_they_are() -> None:
    found = compared_with_unknown_spread(0.4, 0.4)
    assert found.means_are_near and found.variances_agree
    assert np.abs(found.evidence_errors).max() < 0.2
    assert not replace(found, mean_errors=found.mean_errors + 0.2).means_are_near


def test_a_spread_that_is_hardly_known_is_off_by_little() -> None:
    """Its far tail is mixed too slowly (docs/statistics.md): means may be off by 0.2 sd, not by more."""
    found = compared_with_unknown_spread(0.8, 0.8)
    assert np.abs(found.mean_errors.mean(axis=0)).max() < 0.2


def bent_target() -> Target:
    model = LinearModel(linear_model(2, size=0.4).design, EXPONENTIAL)
    wide = Scatter(
        {"TEER": 0.8, "CCL26": 0.8, "ldh_release": 1.5},
        {},
        {"TEER": 0.6, "CCL26": 0.6, "ldh_release": 0.6},
    )
    drawn = study(linear_model(2, size=0.4), np.random.default_rng(4), wide)
    return Target(likelihood_of(model, drawn.likelihood.used, wide), prior_of(2))


def heavy_target() -> Target:
    drawn = study(linear_model(2), np.random.default_rng(4)).likelihood.used
    outlying = [replace(r, value=3.0 * r.value) if r.chip_id == "B" else r for r in drawn]
    return Target(
        likelihood_of(linear_model(2), outlying, replace(SCATTER, chip_tails=3.0)), prior_of(2)
    )


def censored_target() -> Target:
    """Return one parameter and two sampled effects: three censored readings of a donor's two chips."""
    model = LinearModel(np.ones((len(CHIPS), 2, 3, 1)))
    data = [
        censored("A", 24.0, 1, "left", upper=0.0),
        censored("A", 48.0, 1, "left", upper=0.2),
        censored("B", 24.0, 1, "right", lower=-0.2),
    ]
    return Target(likelihood_of(model, data, SCATTER), prior_of(1))


BRUTE = {
    "bent": (bent_target, [np.linspace(-5.0, 5.0, 301)] * 2),
    "heavy tails": (heavy_target, [np.linspace(-4.0, 4.0, 401)] * 2),
    "censored": (censored_target, [np.linspace(-6.0, 6.0, 121)] * 3),
}


@pytest.mark.parametrize("case", BRUTE)
def test_a_posterior_without_closed_form_agrees_with_a_grid(case: str) -> None:
    make, sides = BRUTE[case]
    target = make()
    exact = on_grid(target, sides)
    runs = [
        (
            outcome(
                recalibrate(
                    target.likelihood,
                    target.prior,
                    np.random.default_rng(s),
                    effort=QUICK,
                    limits=LOOSE,
                )
            ),
            exact,
        )
        for s in range(6)
    ]
    found = Comparison.of(runs)
    assert found.means_are_near and found.variances_agree
    assert np.abs(found.evidence_errors).max() < 0.2
    laplace = search(target, np.random.default_rng(0).standard_normal((4, target.dims))).modes[0]
    off = np.abs(laplace.z - exact.mean) / exact.sd
    off = np.append(off, np.abs(np.sqrt(np.diag(laplace.covariance)) / exact.sd - 1))
    assert off.max() > 0.1, "a Laplace approximation would not do"


@pytest.mark.slow
def test_sixteen_parameters_are_sampled_as_well_as_five() -> None:
    model, prior = linear_model(16), prior_of(16)
    runs = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        ours = study(model, rng)
        runs.append((outcome(recalibrate(ours.likelihood, prior, rng)), ours.exact))
    found = Comparison.of(runs)
    assert found.means_agree and found.variances_agree
    assert np.abs(found.evidence_errors).max() < 0.35
    assert abs(found.evidence_errors.mean()) < 0.05


# --- two modes


def two_mode_target(lean: float) -> Target:
    """Return a posterior with two far modes, of the same height where nothing leans."""
    bent = Shape(lambda x: x**2 + lean * x, lambda x: 2 * x + lean)
    model = LinearModel(np.ones((len(CHIPS), 2, 3, 1)), bent if lean else SQUARE)
    return Target(likelihood_of(model, [readout(c, 24.0, 0, 1.5) for c in CHIPS]), prior_of(1))


@pytest.mark.parametrize("lean", [0.0, 0.6])
def test_two_modes_are_found_with_their_shares(lean: float) -> None:
    target = two_mode_target(lean)
    side = np.linspace(-4.0, 4.0, 40_001)
    exact = on_grid(target, [side])
    weight = np.exp(target.log_density(side[:, None]))
    share = float(weight[side > 0].sum() / weight.sum())
    found = []
    for seed in range(8):
        posterior, info = recalibrate(
            target.likelihood, target.prior, np.random.default_rng(seed), effort=QUICK, limits=LOOSE
        )
        assert info.passed, info.failures
        assert len(info.modes) == 2
        assert np.abs(np.array(info.log_evidence) - exact.log_evidence).max() < 0.2
        found.append((posterior.standard[:, 0] > 0).mean())
    # resampling gives each mode its share: a run's error is that of so many draws, not of one
    assert np.mean(found) == pytest.approx(share, abs=4 * 0.5 / np.sqrt(8 * 300))
    assert np.std(found) < 0.08
    assert share == (pytest.approx(0.5) if lean == 0.0 else pytest.approx(0.66, abs=0.05))


# --- simulation-based calibration


@dataclass(frozen=True)
class Ranks:
    """Where hidden truths fell in their posteriors."""

    shares: np.ndarray
    """(runs, d) share of the particles below the truth."""
    distances: np.ndarray
    """(runs, d) from the truth to the posterior mean, in posterior sd."""

    @property
    def uniform(self) -> bool:
        """True where no entry's ranks or distances contradict a calibrated posterior."""
        runs, d = self.shares.shape
        p_ranks = [kstest(self.shares[:, j], "uniform").pvalue for j in range(d)]
        squares = (self.distances**2).sum(axis=0)
        p_spread = 2 * np.minimum(chi2.sf(squares, runs), chi2.cdf(squares, runs))
        return bool(min(*p_ranks, *p_spread) > 0.001 / (2 * d))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["population", "donors and doses"])
def test_simulation_based_calibration_is_uniform_and_a_narrow_posterior_is_rejected(
    kind: str,
) -> None:
    """Talts et al. 2018: the truth's rank in its posterior is uniform over draws from the prior."""

    def ranks(posteriors: list[tuple[Posterior, np.ndarray]], width: float) -> Ranks:
        shares, distances = [], []
        for posterior, truth in posteriors:
            mean, sd = posterior.standard.mean(axis=0), posterior.standard.std(axis=0)
            particles = mean + width * (posterior.standard - mean)
            shares.append((particles < truth).mean(axis=0))
            distances.append((truth - mean) / (width * sd))
        return Ranks(np.array(shares), np.array(distances))

    prior = PRIOR if kind == "population" else prior_of(P, varied(1, 3), dose_sd=0.3)
    found = []
    for seed in range(240):
        rng = np.random.default_rng([11, seed])
        ours = study(dosed_model(P, seed), rng, prior=prior, curves=True)
        found.append(
            (recalibrate(ours.likelihood, prior, rng, effort=QUICK, limits=LOOSE)[0], ours.truth)
        )
    assert ranks(found, 1.0).uniform
    assert not ranks(found, 0.8).uniform
    assert not ranks(found, 1.25).uniform

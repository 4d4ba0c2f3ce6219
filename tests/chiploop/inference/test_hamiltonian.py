"""The referee against closed forms, wrong targets rejected by the same test, and beside a calibration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2

from benchmarks.matched_study import matched_study
from chiploop.inference.hamiltonian import Pace, RefereeResult, Whitened, referee
from chiploop.inference.prior import Prior
from chiploop.inference.recalibrate import recalibrate
from chiploop.inference.search import search
from chiploop.inference.target import Target
from chiploop.models.study_model import model_of
from chiploop.next_exposure import likelihood_of as likelihood_of_study
from chiploop.study import load_study
from tests.chiploop.inference.exact_draws import Drawn, drawn
from tests.chiploop.inference.linear_study import (
    SINE,
    LinearModel,
    likelihood_of,
    linear_model,
    prior_of,
    study,
    varied,
)

STUDY = Path(__file__).parents[3] / "protocols/studies/ad_jak_dose_finding.yaml"
MODEL = linear_model(4)
PACE = Pace(chains=8, warm_up=60, steps=450)


class TooSharp(Target):
    """A wrong target: a quarter more of every residual, in value and derivative."""

    def linearised(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r, jacobian = super().linearised(z)
        return 1.25 * r, 1.25 * jacobian


def agrees(found: RefereeResult, one: Drawn) -> bool:
    """Return whether means and sds are the closed form's, within what the effective size allows."""
    flat = found.z.reshape(-1, one.target.dims)
    exact = one.study.exact
    off = (flat.mean(axis=0) - exact.mean) / exact.sd * np.sqrt(found.ess)
    ratio = np.log(flat.std(axis=0) / exact.sd) * np.sqrt(2.0 * found.tail_ess)
    limit = np.sqrt(chi2.isf(0.001 / off.size, 1))
    return bool(max(np.abs(off).max(), np.abs(ratio).max()) < limit)


@pytest.mark.parametrize("seed", [0, 1])
def test_on_a_linear_study_it_is_the_closed_form(seed: int) -> None:
    one = drawn(MODEL, seed, 1, prior=prior_of(4, varied(1), dose_sd=0.1))
    found = referee(one.target, one.mode, np.random.default_rng([3, seed]), PACE)
    assert found.converged, found.sentence
    assert agrees(found, one)
    assert 0.6 < found.acceptance < 0.95


def test_a_target_that_is_too_sharp_does_not_pass() -> None:
    one = drawn(MODEL, 0, 1)
    wrong = TooSharp(one.study.likelihood, one.study.prior)
    assert not agrees(referee(wrong, one.mode, np.random.default_rng(3), PACE), one)


def test_whitening_by_a_wrong_covariance_costs_steps_but_not_the_answer() -> None:
    one = drawn(MODEL, 2, 1)
    scale = np.diag([0.5, 1.0, 1.6, 1.0])
    mode = replace(one.mode, covariance=scale @ one.mode.covariance @ scale)
    found = referee(one.target, mode, np.random.default_rng(3), PACE)
    assert agrees(found, one)


def test_the_gradient_is_that_of_the_density() -> None:
    model = replace(MODEL, shape=SINE)
    one = study(model, np.random.default_rng(5))
    target = one.target
    mode = search(target, np.zeros((1, target.dims))).modes[0]
    space = Whitened(target, mode)
    x = np.random.default_rng(6).standard_normal((5, target.dims))
    points = space.points(x)
    assert points.height == pytest.approx(target.log_density(space.z(x)))
    for j in range(target.dims):
        step = np.zeros(target.dims)
        step[j] = 1e-5
        slope = (
            target.log_density(space.z(x + step)) - target.log_density(space.z(x - step))
        ) / 2e-5
        assert points.pull[:, j] == pytest.approx(slope, rel=1e-4, abs=1e-4)


def test_a_bent_posterior_agrees_with_a_grid() -> None:
    design = np.zeros_like(MODEL.design)
    design[..., 0] = np.linspace(0.5, 2.0, design[..., 0].size).reshape(design.shape[:3])
    one = study(LinearModel(design[..., :1], SINE), np.random.default_rng(1), prior=prior_of(1))
    target = one.target
    z = np.linspace(-5.0, 5.0, 4001)
    height = target.log_density(z[:, None])
    weight = np.exp(height - height.max())
    weight /= weight.sum()
    mean = float(weight @ z)
    sd = float(np.sqrt(weight @ (z - mean) ** 2))
    mode = search(target, z[[int(np.argmax(height))], None]).modes[0]
    found = referee(target, mode, np.random.default_rng(2), PACE)
    error = sd / np.sqrt(found.ess[0])
    assert found.z.mean() == pytest.approx(mean, abs=4 * error)
    assert found.z.std() == pytest.approx(sd, rel=4 / np.sqrt(2 * found.tail_ess[0]))


def test_chains_that_were_cut_short_are_not_called_converged() -> None:
    one = drawn(MODEL, 3, 1)
    found = referee(one.target, one.mode, np.random.default_rng(4), Pace(4, 2, 12))
    assert not found.converged and "DID NOT CONVERGE" in found.sentence


def test_points_that_can_not_be_simulated_are_left_out_of_the_posterior() -> None:
    one = drawn(MODEL, 4, 1)
    edge = float(one.study.exact.mean[0] + 0.5 * one.study.exact.sd[0])
    model = replace(MODEL, fails=lambda z: z[..., 0] > edge)
    target = Target(
        likelihood_of(model, one.study.likelihood.used, one.study.likelihood.scatter), prior_of(4)
    )
    found = referee(target, one.mode, np.random.default_rng(5), replace(PACE, most_leaps=6))
    assert found.z[..., 0].max() <= edge
    # a normal cut off half an sd above its mean
    cut = -np.exp(-0.125) / np.sqrt(2 * np.pi) / 0.69146
    gap = (found.z[..., 0].mean() - one.study.exact.mean[0]) / one.study.exact.sd[0]
    assert gap == pytest.approx(cut, abs=0.1)


def test_a_mode_around_which_nothing_can_be_simulated_is_refused() -> None:
    one = drawn(MODEL, 4, 1)
    model = replace(MODEL, fails=lambda z: z[..., 0] < 99.0)
    target = Target(likelihood_of(model, one.study.likelihood.used), prior_of(4))
    with pytest.raises(ValueError, match="only 0 of 32 starts around the mode can be simulated"):
        referee(target, one.mode, np.random.default_rng(5), PACE)


def test_the_same_seed_gives_the_same_chains() -> None:
    one = drawn(MODEL, 5, 1)
    first, second = (
        referee(one.target, one.mode, np.random.default_rng(7), Pace(4, 10, 20)).z for _ in range(2)
    )
    assert (first == second).all()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_calibration_of_a_matched_study_agrees_with_the_referee() -> None:
    plan = load_study(STUDY)
    data = matched_study(plan, [[0, 30, 300, 3000], [10, 100, 1000, 300]], 3)
    likelihood = likelihood_of_study(plan, data.schedules, data.readouts)
    prior = Prior.of_study(model_of(plan), plan)
    posterior, info = recalibrate(likelihood, prior, np.random.default_rng(1))
    assert info.passed, info.failures
    target = Target(likelihood, prior)
    best = posterior.standard[np.argmax(target.log_density(posterior.standard))]
    mode = search(target, best[None]).modes[0]
    found = referee(target, mode, np.random.default_rng(2))
    assert found.converged, found.sentence
    chains, particles = found.z.reshape(-1, target.dims), posterior.standard
    sd = chains.std(axis=0)
    error = np.sqrt(1.0 / found.ess + 1.0 / info.ess)
    score = (chains.mean(axis=0) - particles.mean(axis=0)) / sd / error
    assert np.abs(score).max() < np.sqrt(chi2.isf(0.001 / target.dims, 1))
    ratio = particles.std(axis=0) / sd
    assert np.abs(np.log(ratio)).max() < 0.15

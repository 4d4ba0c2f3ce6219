"""The search: it climbs to the top, finds every mode and tells them apart, and says how many found the best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chiploop.inference.search import LONGEST_STEP, Search, search, steps
from chiploop.inference.target import Target
from tests.chiploop.inference.linear_study import (
    CHIPS,
    EXPONENTIAL,
    SCATTER,
    SINE,
    SQUARE,
    LinearModel,
    likelihood_of,
    linear_model,
    prior_of,
    readout,
    study,
)


def starts(target: Target, n: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, target.dims))


def even_target(p: int = 1, sd: float = 0.3) -> Target:
    """Return a posterior with modes near z_0 = -1.2 and 1.2; all other parameters keep their prior."""
    design = np.zeros((len(CHIPS), 2, 3, p))
    design[..., 0] = 1.0
    data = [readout(c, 24.0, 2, 1.5, sd) for c in CHIPS]
    return Target(likelihood_of(LinearModel(design, SQUARE), data), prior_of(p))


def test_a_linear_study_is_one_mode_at_its_exact_mean() -> None:
    ours = study(linear_model(), np.random.default_rng(0))
    found = search(ours.target, starts(ours.target))
    (mode,) = found.modes
    assert mode.z == pytest.approx(ours.exact.mean, abs=0.02)
    assert mode.covariance == pytest.approx(ours.exact.covariance, rel=1e-6)
    assert mode.log_mass == pytest.approx(ours.exact.log_evidence, abs=0.01)
    assert mode.share == 1.0
    assert found.at_best.tolist() == [True] * 8
    assert found.heights == pytest.approx(np.full(8, mode.height), abs=0.02)


def test_no_step_leaves_the_trust_region_and_none_goes_down() -> None:
    rng = np.random.default_rng(0)
    r, jacobian = 100.0 * rng.standard_normal((6, 9)), rng.standard_normal((6, 9, 4))
    z = rng.standard_normal((6, 4))
    taken = steps(r, jacobian, z, np.full(6, 1e-6))
    assert np.abs(taken).max() == pytest.approx(LONGEST_STEP)
    gradient = np.einsum("smd,sm->sd", jacobian, r) + z
    assert ((taken * gradient).sum(axis=1) < 0.0).all()
    far = steps(r, jacobian, z, np.full(6, 1e8))
    assert np.abs(far).max() < 1e-4, "much damping, small steps"


def test_both_modes_are_found_with_their_shares() -> None:
    found = search(even_target(), starts(even_target()))
    assert len(found.modes) == 2
    assert sorted(float(m.z[0]) for m in found.modes) == pytest.approx([-1.22, 1.22], abs=0.02)
    assert [m.share for m in found.modes] == pytest.approx([0.5, 0.5], abs=0.05)
    assert 0 < found.at_best.sum() < 8, "those at the other mode did not find this one"
    assert found.at_best.sum() == (starts(even_target())[:, 0] * found.modes[0].z[0] > 0).sum()


@pytest.mark.parametrize("dims", [1, 5, 40])
@pytest.mark.parametrize("sd", [0.15, 0.8])
def test_modes_in_one_direction_are_told_apart_however_many_dimensions_there_are(
    dims: int, sd: float
) -> None:
    """Four readings of sd 0.8: the modes are 15 sd apart, with a valley of e^-6 between."""
    target = even_target(dims, sd)
    found = search(target, starts(target))
    assert len(found.modes) == 2
    assert found.modes[0].z[0] == pytest.approx(-found.modes[1].z[0], rel=0.05)


def test_the_highest_mode_comes_first_and_shares_are_of_those_with_mass() -> None:
    wave = LinearModel(np.full((len(CHIPS), 2, 3, 1), 3.0), SINE)
    target = Target(likelihood_of(wave, [readout("A", 24.0, 2, 0.5, 0.05)]), prior_of(1))
    found = search(target, starts(target, 40))
    # sin(3 z) = 0.5 at z = 0.17, 0.87, -1.22, -1.92, 2.27, ...: the prior makes them unlike
    assert len(found.modes) >= 4
    assert found.modes[0].z[0] == pytest.approx(np.pi / 18, abs=0.01)
    assert [m.height for m in found.modes] == sorted((m.height for m in found.modes), reverse=True)
    shares = np.array([mode.share for mode in found.modes])
    assert shares.sum() == pytest.approx(1.0)
    assert shares.min() >= 1e-4
    at = np.array([mode.z[0] for mode in found.modes])
    wanted = np.exp(-0.5 * at**2) / np.sqrt(1.0 + (3.0 * np.cos(3.0 * at) / 0.05) ** 2)
    assert shares == pytest.approx(wanted / wanted.sum(), rel=0.05)


def test_a_curved_valley_is_one_mode() -> None:
    model = replace(linear_model(3, size=0.4), shape=EXPONENTIAL)
    ours = study(linear_model(3, size=0.4), np.random.default_rng(4))
    target = Target(likelihood_of(model, ours.likelihood.used, SCATTER), prior_of(3))
    found = search(target, starts(target, 12))
    assert len(found.modes) == 1
    assert found.at_best.sum() >= 8


def test_a_start_that_can_not_be_simulated_costs_the_others_nothing() -> None:
    ours = study(linear_model(), np.random.default_rng(0))
    broken = replace(linear_model(), fails=lambda z: z[..., 0] > 1.5)
    target = Target(likelihood_of(broken, ours.likelihood.used, SCATTER), prior_of(5))
    begin = starts(target)
    begin[2, 0] = 3.0
    found = search(target, begin)
    assert np.isneginf(found.heights[2]) and not found.at_best[2]
    assert found.at_best.sum() == 7
    assert found.modes[0].z == pytest.approx(ours.exact.mean, abs=0.02)


def test_a_step_into_what_can_not_be_simulated_is_taken_back() -> None:
    ours = study(linear_model(), np.random.default_rng(0))
    wall = float(ours.exact.mean[0]) - 0.05
    broken = replace(linear_model(), fails=lambda z: z[..., 0] > wall)
    target = Target(likelihood_of(broken, ours.likelihood.used, SCATTER), prior_of(5))
    begin = starts(target)
    begin[:, 0] = -1.0 - np.abs(begin[:, 0])
    found = search(target, begin)
    assert all(mode.z[0] <= wall for mode in found.modes)
    assert found.modes[0].height < ours.target.log_density(ours.exact.mean[None])[0]


class WithoutSlopes(LinearModel):
    """Derivatives break down where the readouts themselves are still there."""

    def sensitivities(self, parameters, *rest, **more):  # type: ignore[no-untyped-def]
        values, slopes = super().sensitivities(parameters, *rest, **more)
        slopes[np.log(parameters)[:, 1] > 0.5] = np.nan
        return values, slopes


def test_a_point_without_derivatives_is_no_end_of_a_search() -> None:
    ours = study(linear_model(), np.random.default_rng(0))
    target = Target(
        likelihood_of(WithoutSlopes(linear_model().design), ours.likelihood.used, SCATTER),
        prior_of(5),
    )
    found = search(target, starts(target, 16))
    assert found.modes, "some starts have derivatives"
    for mode in found.modes:
        assert np.isfinite(mode.covariance).all()
        assert mode.z[1] <= 0.5


def test_without_a_start_that_can_be_simulated_there_is_no_mode() -> None:
    nothing = replace(linear_model(), fails=lambda z: np.ones(z.shape[:-1], dtype=bool))
    ours = study(linear_model(), np.random.default_rng(0))
    target = Target(likelihood_of(nothing, ours.likelihood.used), prior_of(5))
    found = search(target, starts(target, 3))
    assert found.modes == ()
    assert np.isneginf(found.heights).all() and not found.at_best.any()
    assert isinstance(found, Search) and found.sweeps == 0


def test_without_readouts_the_mode_is_the_middle_of_the_prior() -> None:
    target = Target(likelihood_of(linear_model(), []), prior_of(5))
    (mode,) = search(target, starts(target)).modes
    assert mode.z == pytest.approx(np.zeros(5), abs=0.1)
    assert mode.covariance == pytest.approx(np.eye(5))

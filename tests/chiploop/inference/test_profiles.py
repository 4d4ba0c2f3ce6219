"""Profiles of linear studies against their closed form, of a bent one against another optimiser; verdicts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import chi2

from chiploop.inference.prior import Prior
from chiploop.inference.profiles import BETTER, Profile, Profiles, ends, one_profile, profiles
from chiploop.inference.search import Mode, search
from chiploop.inference.target import Target
from chiploop.models.tissue_model import PriorSpec
from tests.chiploop.inference.exact_draws import Drawn, drawn
from tests.chiploop.inference.linear_study import (
    EXPONENTIAL,
    SCATTER,
    LinearModel,
    covariance,
    likelihood_of,
    linear_model,
    prior_of,
    read,
    rows,
    study,
    varied,
)

MODEL = linear_model(4)


def profiled(one: Drawn) -> Profiles:
    shrinkage = 1.0 - one.study.exact.sd
    return profiles(one.target, one.mode, shrinkage[: one.target.unknowns.p])


def without(j: int) -> LinearModel:
    """Return the model in which no reading sees parameter j."""
    design = MODEL.design.copy()
    design[..., j] = 0.0
    return replace(MODEL, design=design)


def test_falls_are_the_parabolas_of_the_closed_form() -> None:
    one = drawn(MODEL, 0, 1, prior=prior_of(4, varied(1), dose_sd=0.1))
    exact = one.study.exact
    for j, profile in enumerate(profiled(one).of_parameters):
        fall = 0.5 * ((profile.z - exact.mean[j]) / exact.sd[j]) ** 2
        assert profile.fall == pytest.approx(fall, abs=0.02)
        by_data = -0.5 * profile.z**2 + fall
        assert profile.data_fall == pytest.approx(by_data - by_data.min(), abs=0.03)
        assert profile.values == pytest.approx(np.exp(profile.z))


@pytest.mark.parametrize("level, quantile", [(0.9, 1.6449), (0.95, 1.96)])
def test_intervals_are_those_of_the_closed_form_and_not_of_another_level(
    level: float, quantile: float
) -> None:
    one = drawn(MODEL, 1, 1)
    exact = one.study.exact
    for j, profile in enumerate(profiled(one).of_parameters):
        interval = next(i for i in profile.intervals if i.level == level)
        lower, upper = np.log(interval.lower), np.log(interval.upper)
        assert lower == pytest.approx(
            exact.mean[j] - quantile * exact.sd[j], abs=0.02 * exact.sd[j]
        )
        assert upper == pytest.approx(
            exact.mean[j] + quantile * exact.sd[j], abs=0.02 * exact.sd[j]
        )
        information = 1.0 / exact.sd[j] ** 2 - 1.0
        center, sd = exact.mean[j] / exact.sd[j] ** 2 / information, information**-0.5
        data = next(i for i in profile.data_intervals if i.level == level)
        assert np.log(data.lower) == pytest.approx(center - quantile * sd, abs=0.03 * sd)
        assert np.log(data.upper) == pytest.approx(center + quantile * sd, abs=0.03 * sd)


def test_a_parameter_that_no_reading_sees_is_prior_driven_and_open_at_both_ends() -> None:
    found = profiled(drawn(without(2), 2, 1)).of_parameters
    blind = found[2]
    assert blind.verdict == "prior-driven" and "rule out nothing" in blind.sentence
    assert blind.data_fall == pytest.approx(0.0, abs=1e-6)
    assert blind.z[0] == -3.5 and blind.z[-1] == 3.5
    assert [(i.lower, i.upper) for i in blind.data_intervals] == [(None, None)] * 2
    assert np.log(blind.intervals[1].upper) == pytest.approx(1.96, abs=0.05)
    assert blind.alone_sd == np.inf
    assert [one.verdict for one in found] == ["learned", "learned", "prior-driven", "learned"]
    assert all(np.isfinite(one.alone_sd) for one in found if one is not blind)


def test_two_parameters_that_are_seen_only_as_a_sum_lean_on_each_others_priors() -> None:
    design = MODEL.design.copy()
    design[..., 1] = design[..., 0]
    one, other = profiled(drawn(replace(MODEL, design=design), 3, 1)).of_parameters[:2]
    assert (one.trades_with, other.trades_with) == ("k1", "k0")
    assert one.alone_sd == np.inf and "leans on the priors" in one.sentence
    # the other's prior holds it, so its own profile rises; its posterior is little narrower than its prior
    assert one.verdict == "partly learned" and one.shrinkage < 0.4
    assert profiled(drawn(MODEL, 3, 1)).of_parameters[0].trades_with == ""


def test_a_parameter_that_is_bounded_on_one_side_has_one_open_end() -> None:
    model = replace(MODEL, shape=EXPONENTIAL)
    design = np.zeros_like(model.design)
    design[..., 0] = 1.0  # readings fall to a floor where k0 is small: any small value does
    model = replace(model, design=design)
    one = study(model, np.random.default_rng(0), prior=prior_of(4))
    values = [replace(r, value=1.0 if r.scale == "log" else 0.0) for r in one.likelihood.used]
    target = Target(likelihood_of(model, values, SCATTER), prior_of(4))
    mode = search(target, np.zeros((1, 4))).modes[0]
    found = profiles(target, mode, [0.3] * 4).of_parameters[0]
    (interval, _) = found.data_intervals
    assert interval.lower is None and interval.upper is not None
    assert found.verdict == "partly learned" and "rule out values above" in found.sentence


def bent_profile(target: Target, mode: Mode, profile: Profile, j: int) -> np.ndarray:
    """Return the fall at each point of a profile by an optimiser that knows no residuals."""
    rest = [i for i in range(target.dims) if i != j]

    def height(free: np.ndarray, held: float) -> float:
        z = np.empty((1, target.dims))
        z[0, rest], z[0, j] = free, held
        return -float(target.log_density(z)[0])

    tops = [
        -minimize(height, mode.z[rest], (held,), "BFGS", options={"gtol": 1e-4}).fun
        for held in profile.z
    ]
    return max(tops) - np.array(tops)


def test_a_bent_profile_is_what_another_optimiser_finds() -> None:
    model, prior = replace(linear_model(3, size=0.3), shape=EXPONENTIAL), prior_of(3, varied(0))
    rng = np.random.default_rng(3)
    one = study(model, rng, prior=prior)
    means = one.likelihood.plain_means(one.target.predicted(one.truth[None]))[0]
    noise = np.linalg.cholesky(covariance(SCATTER)) @ rng.standard_normal(len(means))
    readings = [read(p, float(v)) for p, v in zip(rows(), means + noise, strict=True)]
    target = Target(likelihood_of(model, readings, SCATTER), prior)
    mode = search(target, one.truth[None]).modes[0]
    bend = 0.0
    for j, profile in enumerate(profiles(target, mode, [0.5] * 3).of_parameters):
        shown = profile.fall < 6.0
        expected = bent_profile(target, mode, profile, j)
        assert profile.fall[shown] == pytest.approx(expected[shown], abs=0.005)
        parabola = 0.5 * ((profile.z - mode.z[j]) ** 2) / mode.covariance[j, j]
        bend = max(bend, np.abs(parabola - profile.fall)[shown].max())
    assert bend > 0.5, "a parabola would pass"


def test_a_profile_goes_on_where_it_has_not_risen() -> None:
    # near the mode the curvature is that of a narrow parabola; far away it is flat
    one = drawn(MODEL, 5, 1)
    narrow = replace(one.mode, covariance=0.02 * one.mode.covariance)
    found = profiles(one.target, narrow, [0.5] * 4)
    for j, profile in enumerate(found.of_parameters):
        assert None not in (profile.intervals[1].lower, profile.intervals[1].upper)
        sd = one.study.exact.sd[j]
        width = np.log(profile.intervals[1].upper / profile.intervals[1].lower)
        assert width == pytest.approx(2 * 1.96 * sd, rel=0.1)


def test_a_better_fit_than_the_mode_is_told() -> None:
    one = drawn(MODEL, 6, 1)
    z = one.mode.z + 2.0 * one.study.exact.sd
    r, jacobian = one.target.linearised(z[None])
    height = float(one.target.log_posterior(r, z[None])[0])
    wrong = Mode(z, one.mode.covariance, jacobian[0], r[0], height)
    assert profiles(one.target, wrong, [0.5] * 4).better_by > BETTER
    assert profiled(one).better_by < 1e-3


def test_shrinkage_decides_between_learned_and_partly_learned() -> None:
    one = drawn(MODEL, 7, 1)
    assert profiles(one.target, one.mode, [0.6] * 4).of_parameters[0].verdict == "learned"
    half = profiles(one.target, one.mode, [0.4] * 4).of_parameters[0]
    assert half.verdict == "partly learned" and "by less than half" in half.sentence
    with pytest.raises(ValueError, match="shrinkage of 3 parameters, the model estimates 4"):
        profiles(one.target, one.mode, [0.4] * 3)


def test_points_that_can_not_be_simulated_leave_the_rest_of_a_profile_standing() -> None:
    model = replace(MODEL, fails=lambda z: z[..., 0] > 0.8)
    one = drawn(MODEL, 8, 1)
    target = Target(
        type(one.study.likelihood)(
            model, one.study.likelihood.inlets, one.study.likelihood.donors,
            one.study.likelihood.used, one.study.likelihood.scatter,
        ),
        prior_of(4),
    )  # type: ignore[arg-type]  # fmt: skip
    mode = search(target, np.zeros((1, 4))).modes[0]
    found = profiles(target, mode, [0.5] * 4).of_parameters
    assert np.isfinite(found[1].fall).sum() > 6
    assert not np.isnan(found[0].fall).any()


def test_bounded_parameters_are_given_in_their_unit() -> None:
    spec = PriorSpec("share", "normal", "1", 0.5, 0.2, 0.0, 1.0)
    prior = Prior.of([spec, *prior_of(4).specs[1:]])
    one = study(MODEL, np.random.default_rng(9), prior=None)
    target = Target(one.likelihood, prior)
    mode = search(target, np.zeros((1, 4))).modes[0]
    found = profiles(target, mode, [0.5] * 4).of_parameters[0]
    assert not found.is_log and 0.0 < found.values.min() and found.values.max() < 1.0


def test_a_grid_that_holds_the_mode_gives_it_once() -> None:
    """As around a mode far from the prior, where grid and mode are of one middle."""
    one = drawn(MODEL, 0, 1)
    at = one.mode.z[0] + np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    height = one.mode.height - 0.5 * (at - one.mode.z[0]) ** 2
    profile = one_profile(one.target, one.mode, 0, at, height, 0.5, 0.1)
    assert (np.diff(profile.z) > 0.0).all() and len(profile.z) == 5
    assert profile.fall.min() == 0.0


def test_ends_of_a_coarse_parabola_are_interpolated() -> None:
    z = np.linspace(-3.0, 3.0, 9)
    lower, upper = ends(z, 0.5 * (z - 0.2) ** 2, float(chi2.ppf(0.95, 1)) / 2.0)
    assert lower == pytest.approx(0.2 - 1.96, abs=0.06)
    assert upper == pytest.approx(0.2 + 1.96, abs=0.06)
    assert ends(z, np.zeros(9), 1.0) == (None, None)

"""The polynomials in the model's place: exact where the model is one, and their gradient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chiploop.inference import surrogate
from chiploop.inference.prior import Prior
from chiploop.inference.surrogate import Surrogate
from chiploop.inference.target import Target
from tests.chiploop.inference.linear_study import (
    EXPONENTIAL,
    NO_SCATTER,
    SCATTER,
    LinearModel,
    Shape,
    dosed_model,
    likelihood_of,
    linear_model,
    prior_of,
    read,
    varied,
)
from tests.chiploop.inference.test_target import BENT, CASES, readings

POLYNOMIAL = [case for case in CASES if "bounded" not in case]
"""Where standard normals are ln of parameters; a bounded one is no polynomial of its own."""


@pytest.fixture
def exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave nothing out and round nothing."""
    monkeypatch.setattr(surrogate, "DROPPED", 0.0)
    monkeypatch.setattr(surrogate, "PRECISION", np.float64)


def trained(target: Target, n: int = 400, seed: int = 0, size: float = 1.0) -> Surrogate:
    """Return polynomials of points around the prior's middle."""
    rng = np.random.default_rng(seed)
    z = 0.3 + size * rng.standard_normal((n, target.dims))
    means = target.likelihood.plain_means(target.predicted(z))
    return Surrogate.trained(target, z, means, rng.uniform(0.5, 1.0, n))


def some_z(target: Target, n: int = 6) -> np.ndarray:
    return np.random.default_rng(9).standard_normal((n, target.dims))


def target_of(case: str, model: LinearModel = BENT) -> Target:
    prior, scatter, kinds = CASES[case]
    return Target(
        likelihood_of(model, readings(kinds, curves="robust" not in case), scatter), prior
    )


@pytest.mark.usefixtures("exactly")
@pytest.mark.parametrize("case", POLYNOMIAL)
def test_where_the_model_is_quadratic_the_surrogate_is_the_posterior(case: str) -> None:
    target = target_of(case)
    z = some_z(target)
    assert trained(target).log_posterior(z)[0] == pytest.approx(target.log_density(z), rel=1e-4)


@pytest.mark.parametrize("case", POLYNOMIAL)
def test_what_is_left_out_and_rounded_costs_little(case: str) -> None:
    """Near the points that it learned from, weights of the posterior over it are nearly even."""
    target = target_of(case)
    rng = np.random.default_rng(3)
    z = 0.3 + rng.standard_normal((400, target.dims))
    off = trained(target).log_posterior(z)[0] - target.log_density(z)
    assert np.std(off / np.sqrt(1.0 + np.abs(target.log_density(z)))) < 0.2


@pytest.mark.usefixtures("exactly")
@pytest.mark.parametrize("case", CASES)
def test_the_gradient_is_that_of_differences(case: str) -> None:
    target = target_of(case, replace(BENT, shape=Shape(np.sin, np.cos)))
    ours = trained(target, size=0.5)
    z = some_z(target)
    _, gradient = ours.log_posterior(z)
    h = 1e-5
    wanted = np.stack(
        [
            (ours.log_posterior(z + h * unit)[0] - ours.log_posterior(z - h * unit)[0]) / (2 * h)
            for unit in np.eye(target.dims)
        ],
        axis=-1,
    )
    assert gradient == pytest.approx(wanted, rel=1e-5, abs=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("case", ["donors and doses", "all of it"])
def test_rounding_hardly_turns_the_force(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = target_of(case)
    rounded = trained(target).log_posterior(some_z(target))[1]
    monkeypatch.setattr(surrogate, "PRECISION", np.float64)
    assert rounded == pytest.approx(
        trained(target).log_posterior(some_z(target))[1], abs=1e-3 * np.abs(rounded).max()
    )


def test_a_point_is_worth_the_same_alone_as_among_others() -> None:
    """The force must be a function of the point alone, or accepting it is no longer exact."""
    target = target_of("all of it")
    ours = trained(target)
    z = some_z(target, 600)  # more than are computed at a time
    height, gradient = ours.log_posterior(z)
    for i in (0, 17, 299, 599):
        alone, own = ours.log_posterior(z[i : i + 1])
        assert alone[0] == pytest.approx(height[i], rel=1e-5)
        assert own[0] == pytest.approx(gradient[i], abs=1e-5 * np.abs(gradient[i]).max())


def test_a_point_far_out_warns_of_nothing() -> None:
    target = target_of("all of it")
    z = 45.0 * some_z(target)
    height, _ = trained(target).log_posterior(z)
    assert not (height > 0.0).any()


def test_the_weights_say_where_it_is_right() -> None:
    model = replace(linear_model(1, size=0.5), shape=EXPONENTIAL)
    target = Target(likelihood_of(model, readings(curves=False)), prior_of(1))
    z = np.linspace(-3, 3, 400)[:, None]
    means = target.likelihood.plain_means(target.predicted(z))
    at = np.array([[-2.0], [2.0]])
    errors = []
    for center in (-2.0, 2.0):
        weights = np.exp(-0.5 * ((z[:, 0] - center) / 0.3) ** 2)
        ours = Surrogate.trained(target, z, means, weights)
        errors.append(np.abs(ours.log_posterior(at)[0] - target.log_density(at)))
    assert errors[0][0] < 0.02 * errors[0][1]
    assert errors[1][1] < 0.02 * errors[1][0]


def test_a_parameter_that_no_point_moves_stays_harmless() -> None:
    target = Target(likelihood_of(linear_model(3), readings(curves=False), SCATTER), prior_of(3))
    z = np.random.default_rng(0).standard_normal((200, 3))
    z[:, 2] = 0.7
    means = target.likelihood.plain_means(target.predicted(z))
    ours = Surrogate.trained(target, z, means, np.ones(200))
    assert ours.log_posterior(z)[0] == pytest.approx(target.log_density(z), rel=1e-3, abs=1e-2)


@pytest.mark.parametrize(
    ("model", "prior", "points"),
    [
        (linear_model(3), prior_of(3), 10),
        (dosed_model(3), prior_of(3, dose_sd=0.1), 15),
        (dosed_model(3), prior_of(3, varied(0), dose_sd=0.1), 15),
    ],
    ids=["shared", "doses", "donors"],
)
def test_it_asks_for_as_many_points_as_a_chips_polynomial_has_terms(
    model: LinearModel, prior: Prior, points: int
) -> None:
    target = Target(likelihood_of(model, readings(curves=False)), prior)
    assert Surrogate.least_points(target) == points


@pytest.mark.parametrize("prior", [prior_of(2), prior_of(2, varied(0))], ids=["shared", "donors"])
def test_without_readouts_it_is_the_prior(prior: Prior) -> None:
    target = Target(likelihood_of(linear_model(2), [], NO_SCATTER), prior)
    z = some_z(target)
    height, gradient = trained(target, 60).log_posterior(z)
    assert height == pytest.approx(target.log_density(z))
    assert gradient == pytest.approx(-z)


@pytest.mark.usefixtures("exactly")
@pytest.mark.parametrize("prior", [prior_of(2), prior_of(2, varied(0))], ids=["shared", "donors"])
def test_chips_and_donors_that_were_not_read_have_no_say(prior: Prior) -> None:
    target = Target(likelihood_of(linear_model(2), [read((2, 1, 0), 0.3)], SCATTER), prior)
    z = some_z(target)
    height, gradient = trained(target).log_posterior(z)
    assert height == pytest.approx(target.log_density(z), rel=1e-5)
    if "k0 of d1" in target.names:  # chip C is of d2
        at = target.names.index("k0 of d1")
        assert gradient[:, at] == pytest.approx(-z[:, at])

"""Where tempering begins: densities that are densities, drawn from as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.stats import f as f_distribution
from scipy.stats import kstest, multivariate_normal, multivariate_t

from chiploop.inference.search import Mode
from chiploop.inference.starts import (
    DEGREES_OF_FREEDOM,
    INFLATION,
    LEAST_SHARE,
    ModeStart,
    PriorStart,
    SurrogateStart,
)
from chiploop.inference.surrogate import Surrogate
from chiploop.inference.target import Target
from tests.chiploop.inference.linear_study import likelihood_of, linear_model, prior_of, read


def mode(z: list[float], covariance: np.ndarray, share: float = 1.0) -> Mode:
    d = len(z)
    return Mode(np.array(z), covariance, np.ones((2, d)) * share, np.zeros(2), 0.0, share)


TILTED = np.array([[0.5, 0.3], [0.3, 0.4]])
ONE = ModeStart([mode([0.3, -0.2], TILTED)])
TWO = ModeStart([mode([2.0, 0.0], TILTED, 0.7), mode([-1.5, 1.0], 0.3 * np.eye(2), 0.3)])
POINTS = np.random.default_rng(0).uniform(-3, 3, (20, 2))


@pytest.mark.parametrize("start", [PriorStart(2), ONE, TWO], ids=["prior", "one mode", "two"])
def test_the_density_integrates_to_one_and_the_gradient_is_its_slope(start: ModeStart) -> None:
    side = np.linspace(-15.0, 15.0, 601)
    grid = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    density = np.exp(start.log_density(grid)[0]).reshape(601, 601)
    assert trapezoid(trapezoid(density, side), side) == pytest.approx(1.0, abs=1e-5)
    assert start.log_evidence == 0.0
    _, gradient = start.log_density(POINTS)
    h = 1e-5
    wanted = np.stack(
        [
            (start.log_density(POINTS + h * unit)[0] - start.log_density(POINTS - h * unit)[0])
            for unit in np.eye(2)
        ],
        axis=1,
    ) / (2 * h)
    assert gradient == pytest.approx(wanted, rel=1e-6, abs=1e-7)


def test_around_one_mode_it_is_an_inflated_t() -> None:
    wanted = multivariate_t([0.3, -0.2], INFLATION**2 * TILTED, df=DEGREES_OF_FREEDOM)
    assert ONE.log_density(POINTS)[0] == pytest.approx(wanted.logpdf(POINTS))


def test_it_is_drawn_from_as_its_density_says() -> None:
    drawn = ONE.draw(20_000, np.random.default_rng(1))
    white = np.linalg.solve(np.linalg.cholesky(TILTED) * INFLATION, (drawn - [0.3, -0.2]).T)
    squared = (white**2).sum(axis=0) / 2  # F(d, df) for a multivariate t
    assert kstest(squared, f_distribution(2, DEGREES_OF_FREEDOM).cdf).pvalue > 0.01
    assert kstest(squared, f_distribution(2, 6.0).cdf).pvalue < 1e-3
    assert drawn.mean(axis=0) == pytest.approx([0.3, -0.2], abs=0.03)


def test_every_mode_gets_its_share_of_the_particles_and_none_is_given_up() -> None:
    drawn = TWO.draw(20_000, np.random.default_rng(2))
    assert (TWO.nearest(drawn) == 0).mean() == pytest.approx(0.7, abs=0.03)
    faint = ModeStart([mode([2.0, 0.0], TILTED, 0.999), mode([-4.0, 1.0], TILTED, 0.001)])
    share = LEAST_SHARE / (LEAST_SHARE + 0.999)
    assert (drawn_left := faint.draw(20_000, np.random.default_rng(3))[:, 0] < -1.0).any()
    assert drawn_left.mean() == pytest.approx(share, abs=0.01)
    # weights make up for it: the density knows its own share
    near = faint.log_density(np.array([[-4.0, 1.0]]))[0][0]
    assert near == pytest.approx(
        np.log(share) + multivariate_t([0, 0], INFLATION**2 * TILTED, df=20).logpdf([0, 0])
    )


def test_the_part_of_a_point_hangs_on_the_point_alone() -> None:
    parts = TWO.nearest(POINTS)
    assert {0, 1} == set(parts.tolist())
    assert all(TWO.nearest(POINTS[i : i + 1])[0] == parts[i] for i in range(len(POINTS)))
    assert [j.shape for j in TWO.jacobians()] == [(2, 2), (2, 2)]
    assert PriorStart(2).jacobians() == ()
    assert not PriorStart(2).nearest(POINTS).any()


def test_draws_around_a_mode_are_its_gauss_newton_gaussian() -> None:
    drawn = ONE.around(20_000, np.random.default_rng(4))
    white = np.linalg.solve(np.linalg.cholesky(TILTED), (drawn - [0.3, -0.2]).T)
    for one in white:
        assert kstest(one, "norm").pvalue > 0.01
        assert kstest(one / INFLATION, "norm").pvalue < 1e-3, "not inflated"


def test_a_surrogates_posterior_begins_with_its_own_particles_and_evidence() -> None:
    target = Target(likelihood_of(linear_model(2), [read((0, 0, 0), 0.2)]), prior_of(2))
    z = np.random.default_rng(0).standard_normal((300, 2))
    means = target.likelihood.plain_means(target.predicted(z))
    surrogate = Surrogate.trained(target, z, means, np.ones(300))
    start = SurrogateStart(surrogate, z, -1.25)
    assert start.log_evidence == -1.25
    drawn = start.draw(300, np.random.default_rng(1))
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, z)), "each once"
    assert len({tuple(one) for one in start.draw(100, np.random.default_rng(1))}) == 100
    assert start.log_density(z)[0] == pytest.approx(target.log_density(z), rel=1e-5)
    assert start.covariance == pytest.approx(np.cov(z.T))
    assert multivariate_normal(np.zeros(2), start.covariance).logpdf(z[0]) < 0.0

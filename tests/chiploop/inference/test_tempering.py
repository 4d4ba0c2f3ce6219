"""Tempering: it leaves its target as it is whatever the force, and weighs and counts as it must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest

from chiploop.inference.bridge import Bridge
from chiploop.inference.search import search
from chiploop.inference.starts import ModeStart, PriorStart
from chiploop.inference.surrogate import Surrogate
from chiploop.inference.target import Target
from chiploop.inference.tempering import (
    Pace,
    Population,
    largest_step,
    moved,
    remembered,
    spread,
    systematic,
    temper,
)
from tests.chiploop.inference.comparison import Comparison, Outcome, on_grid
from tests.chiploop.inference.linear_study import (
    EXPONENTIAL,
    SCATTER,
    LinearModel,
    Shape,
    likelihood_of,
    linear_model,
    prior_of,
    read,
    readout,
    study,
)

USUAL = Pace(particles=300, moves=2, final_moves=6, most_final=6, leaps=4)
FROM_PRIOR = replace(USUAL, particles=200, moves=4, final_moves=8, most_final=8)


# --- a move


CURVED = Target(
    likelihood_of(
        LinearModel(np.ones((4, 2, 3, 1)), EXPONENTIAL), [readout("A", 24.0, 2, 1.5, 0.6)]
    ),
    prior_of(1),
)
SIDE = np.linspace(-7.0, 7.0, 4001)


def curved_cdf() -> np.ndarray:
    weight = np.exp(CURVED.log_density(SIDE[:, None]))
    total = np.cumsum(weight)
    return np.asarray(total / total[-1])


def drawn_exactly(n: int) -> np.ndarray:
    """Return n draws (n, 1) of the curved posterior by its inverse distribution."""
    u = np.random.default_rng(0).random(n)
    return np.interp(u, curved_cdf(), SIDE)[:, None]


def wrong_surrogate() -> Surrogate:
    """Return the polynomials of another model: their force is nowhere the target's."""
    z = np.random.default_rng(1).standard_normal((200, 1))
    return Surrogate.trained(CURVED, z, 0.5 - 0.7 * z - 0.3 * z**2, np.ones(200))


@pytest.mark.parametrize("force", ["wrong surrogate", "regression"])
@pytest.mark.parametrize("beta", [1.0, 0.4])
def test_moves_leave_the_target_as_it_is_whatever_the_force(force: str, beta: float) -> None:
    n = 4000
    surrogate = wrong_surrogate() if force == "wrong surrogate" else None
    between = Bridge(CURVED, PriorStart(1), surrogate)
    between.slopes = (np.array([[-3.0]]),)
    rng = np.random.default_rng(2)
    if beta == 1.0:
        z, cdf = drawn_exactly(n), curved_cdf()
    else:
        log_density = (1 - beta) * between.start.log_density(SIDE[:, None])[0]
        log_density += beta * CURVED.log_density(SIDE[:, None])
        cdf = np.cumsum(np.exp(log_density - log_density.max()))
        cdf /= cdf[-1]
        z = np.interp(rng.random(n), cdf, SIDE)[:, None]
    now = between.points(z)
    lower = np.array([[0.8]])
    rates = []
    for _ in range(15):
        accepted, now = moved(between, now, beta, lower, 0.9, 4, rng)
        rates.append(accepted.mean())
    assert 0.2 < np.mean(rates) < 0.98, "some are refused, some not"
    assert remembered(z, now.z) < 0.5, "they did move"
    assert kstest(now.z[:, 0], lambda x: np.interp(x, SIDE, cdf)).pvalue > 0.01
    assert kstest(now.z[:, 0] + 0.06, lambda x: np.interp(x, SIDE, cdf)).pvalue < 1e-3
    assert now.log_target == pytest.approx(CURVED.log_density(now.z))
    assert now.r == pytest.approx(CURVED.residuals(now.z))


def test_an_orbit_run_backwards_comes_back() -> None:
    between = Bridge(CURVED, PriorStart(1), wrong_surrogate())
    now = between.points(drawn_exactly(50))
    momentum = np.random.default_rng(3).standard_normal((50, 1))
    lower, own = np.array([[0.7]]), np.full((50, 1), 0.5)
    there, end = between.orbit(now, 0.6, momentum, lower, own, 5)
    back, begin = between.orbit(there, 0.6, -end, lower, own, 5)
    assert back.z == pytest.approx(now.z, abs=1e-9)
    assert -begin == pytest.approx(momentum, abs=1e-9)


def test_an_orbit_that_runs_away_is_refused() -> None:
    between = Bridge(CURVED, PriorStart(1), wrong_surrogate())
    now = between.points(np.zeros((6, 1)))
    accepted, after = moved(between, now, 1.0, np.array([[1e3]]), 1.0, 4, np.random.default_rng(0))
    assert not accepted.any()
    assert np.array_equal(after.z, now.z)


def test_no_particle_moves_to_where_nothing_can_be_simulated() -> None:
    broken = replace(linear_model(1), fails=lambda z: z[..., 0] > 0.3)
    target = Target(likelihood_of(broken, [read((0, 0, 0), 0.2)]), prior_of(1))
    for surrogate in (True, False):
        between = Bridge(target, PriorStart(1))
        now = between.points(np.linspace(-2.0, 0.2, 60)[:, None])
        if surrogate:
            between.learn(now, 1.0)
            assert between.surrogate is not None
        rng = np.random.default_rng(1)
        for _ in range(10):
            _, now = moved(between, now, 1.0, np.array([[1.0]]), 0.8, 4, rng)
        assert (now.z <= 0.3).all() and np.isfinite(now.log_target).all()


# --- whole runs


def runs(seeds: range, from_prior: bool, pace: Pace) -> Comparison:
    found = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        ours = study(linear_model(3), rng)
        target = ours.target
        if from_prior:
            start: PriorStart | ModeStart = PriorStart(3)
        else:
            start = ModeStart(search(target, rng.standard_normal((2, 3))).modes)
        one = temper(target, start, rng, pace)
        found.append((Outcome(one.z, (one.log_evidence,), one.ess), ours.exact))
        assert one.residuals == pytest.approx(target.residuals(one.z))
    return Comparison.of(found)


@pytest.mark.parametrize("from_prior", [False, True], ids=["modes", "prior"])
def test_a_population_is_the_posterior_with_its_evidence_from_either_start(
    from_prior: bool,
) -> None:
    found = runs(range(16), from_prior, FROM_PRIOR if from_prior else USUAL)
    assert found.means_are_near
    assert found.variances_agree
    assert np.abs(found.evidence_errors).max() < (0.6 if from_prior else 0.15)
    assert abs(found.evidence_errors.mean()) < 4 * found.evidence_errors.std() / np.sqrt(16)
    too_much = replace(found, ess=4 * found.ess)
    assert not too_much.means_are_near, "an ESS claimed four times too high is noticed"


def test_without_moves_the_claimed_number_falls_to_what_resampling_left() -> None:
    ours = study(linear_model(3), np.random.default_rng(0))
    still = Pace(particles=300, moves=0, final_moves=0, most_final=0, leaps=1, keep=0.01)
    one = temper(ours.target, PriorStart(3), np.random.default_rng(1), still)
    distinct = len(np.unique(one.z, axis=0))
    assert one.ess < distinct, "of so many different points, some many times"
    assert one.ess < 60


@pytest.mark.parametrize("particles", [12, 40])
def test_few_particles_are_tempered_too(particles: int) -> None:
    ours = study(linear_model(5), np.random.default_rng(0))
    one = temper(
        ours.target,
        PriorStart(5),
        np.random.default_rng(1),
        replace(FROM_PRIOR, particles=particles),
    )
    assert one.z.shape == (particles, 5)
    assert np.isfinite(one.log_evidence)
    assert 0.0 < one.ess <= particles


def test_a_start_of_which_half_can_not_be_simulated_is_none_the_worse() -> None:
    broken = replace(linear_model(1, size=0.3), fails=lambda z: z[..., 0] > -0.3)
    target = Target(likelihood_of(broken, [read((0, 0, 0), 0.2)]), prior_of(1))
    exact = on_grid(target, [np.linspace(-8, 8, 8001)])
    found = [
        temper(target, PriorStart(1), np.random.default_rng(seed), FROM_PRIOR) for seed in range(12)
    ]
    assert all((one.z <= -0.3).all() for one in found)
    compared = Comparison.of([(Outcome(o.z, (o.log_evidence,), o.ess), exact) for o in found])
    assert compared.means_are_near
    assert abs(compared.evidence_errors.mean()) < 0.1


def test_a_start_without_any_particle_that_can_be_simulated_is_refused() -> None:
    nothing = replace(linear_model(1), fails=lambda z: np.ones(z.shape[:-1], dtype=bool))
    target = Target(likelihood_of(nothing, [read((0, 0, 0), 0.2)]), prior_of(1))
    with pytest.raises(ValueError, match="no particle of the start can be simulated"):
        temper(target, PriorStart(1), np.random.default_rng(0), USUAL)


def test_the_same_seed_gives_the_same_population() -> None:
    ours = study(linear_model(3), np.random.default_rng(0), SCATTER)

    def one(seed: int) -> Population:
        return temper(ours.target, PriorStart(3), np.random.default_rng(seed), FROM_PRIOR)

    assert np.array_equal(one(1).z, one(1).z)
    assert not np.array_equal(one(1).z, one(2).z)


# --- parts


def test_a_tempering_step_keeps_the_share_it_must() -> None:
    ratio = 30.0 * np.random.default_rng(0).standard_normal(500)
    step = largest_step(ratio, 1.0, 0.5)
    weight = np.exp(step * (ratio - ratio.max()))
    assert weight.sum() ** 2 / (weight @ weight) / 500 == pytest.approx(0.5, abs=1e-3)
    assert largest_step(np.zeros(10), 0.7, 0.5) == 0.7


def test_a_step_goes_on_where_too_few_particles_can_be_simulated() -> None:
    ratio = np.full(100, -np.inf)
    ratio[:10] = np.arange(10.0)
    assert largest_step(ratio, 1.0, 0.5) > 0.0


def test_systematic_resampling_gives_each_particle_its_share_to_within_one() -> None:
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.full(40, 0.3))
    counts = np.bincount(systematic(weights, rng), minlength=40)
    assert counts.sum() == 40
    assert np.all(np.abs(counts - 40 * weights) < 1.0 + 1e-9)
    assert systematic(np.array([0.0, 1.0, 0.0]), rng).tolist() == [1, 1, 1]


def test_a_particle_without_weight_is_never_taken() -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        weights = rng.random(30) * (rng.random(30) > 0.4)
        chosen = systematic(weights / weights.sum(), rng)
        assert (weights[chosen] > 0.0).all()


def test_what_is_remembered_is_the_squared_correlation_of_the_worst_entry() -> None:
    rng = np.random.default_rng(0)
    before = rng.standard_normal((5000, 2))
    after = np.stack([rng.standard_normal(5000), 0.6 * before[:, 1]], axis=1)
    after[:, 1] += 0.8 * rng.standard_normal(5000)
    assert remembered(before, after) == pytest.approx(0.36, abs=0.04)
    assert remembered(before, before) == pytest.approx(1.0)
    assert remembered(np.ones((10, 1)), np.ones((10, 1))) == 1.0, "nothing moved at all"


def test_the_spread_of_few_particles_leans_on_the_starts() -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((4000, 2)) * [2.0, 0.5]
    even = np.full(4000, 1 / 4000)
    assert spread(z, even, np.eye(2)) == pytest.approx(np.diag([4.0, 0.25]), abs=0.2)
    lonely = np.zeros(4000)
    lonely[7] = 1.0
    found = spread(z, lonely, np.eye(2))
    assert np.linalg.eigvalsh(found).min() > 0.0
    few = spread(z[:3], np.full(3, 1 / 3), np.eye(2))
    assert np.linalg.eigvalsh(few).min() > 0.3


def test_a_population_follows_a_bent_valley() -> None:
    """A full quadratic sees the bend; the weights and moves see the rest."""
    bent = Shape(lambda x: x + 0.4 * np.sin(2 * x), lambda x: 1 + 0.8 * np.cos(2 * x))
    model = replace(linear_model(2), shape=bent)
    target = Target(
        likelihood_of(model, [read((0, 0, 0), 0.8), read((1, 0, 2), -0.3)], SCATTER), prior_of(2)
    )
    exact = on_grid(target, [np.linspace(-6, 6, 401)] * 2)
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        one = temper(target, PriorStart(2), rng, FROM_PRIOR)
        found.append((Outcome(one.z, (one.log_evidence,), one.ess), exact))
    compared = Comparison.of(found)
    assert compared.means_are_near and compared.variances_agree
    assert abs(compared.evidence_errors.mean()) < 0.1

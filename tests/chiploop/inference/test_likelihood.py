"""The likelihood against distributions written out in full."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad, trapezoid
from scipy.stats import multivariate_normal, multivariate_t, norm

from chiploop.inference.likelihood import Bound, Likelihood, log_probability, log_probability_slope
from chiploop.inference.scatter import Scatter
from chiploop.inference.target import Target
from chiploop.measurement import Readout
from chiploop.models.inlet import ChipInlet
from tests.chiploop.inference.linear_study import (
    CHIPS,
    DONORS,
    INLETS,
    NO_SCATTER,
    READOUTS,
    SCATTER,
    TIMES_H,
    LinearModel,
    Place,
    censored,
    covariance,
    likelihood_of,
    linear_model,
    prior_of,
    read,
    readout,
    rows,
    study,
)

MODEL = linear_model()
PRIOR = prior_of(5)


def some_z(n: int = 6) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((n, 5))


def log_likelihood(likelihood: Likelihood, z: np.ndarray) -> np.ndarray:
    """Return the log likelihood (n,) where nothing but the population is estimated."""
    target = Target(likelihood, PRIOR)
    return target.log_likelihood(target.residuals(z))


def value_on_scale(reading: Readout) -> float:
    return math.log(reading.value) if reading.scale == "log" else reading.value


@pytest.mark.parametrize("curves", [False, True], ids=["", "curves"])
@pytest.mark.parametrize(
    "scatter", [NO_SCATTER, SCATTER], ids=["assay only", "all kinds of scatter"]
)
def test_uncensored_readouts_are_one_multivariate_normal(scatter: Scatter, curves: bool) -> None:
    ours = study(MODEL, np.random.default_rng(0), scatter, curves=curves)
    z, places, noise = some_z(), rows(), covariance(scatter, curves=curves)
    by_place = {(r.chip_id, r.time_h, r.readout): r for r in ours.likelihood.used}
    values = [
        value_on_scale(by_place[(CHIPS[c], TIMES_H[t], READOUTS[r].name)]) for c, t, r in places
    ]
    means = z @ np.stack([MODEL.design[place] for place in places]).T
    wanted = [multivariate_normal(mean, noise).logpdf(values) for mean in means]
    assert log_likelihood(ours.likelihood, z) == pytest.approx(np.array(wanted), rel=1e-9)
    assert ours.likelihood.n_residuals == len(values)


def test_the_order_of_the_readouts_does_not_matter() -> None:
    ours = study(MODEL, np.random.default_rng(1), curves=True).likelihood
    shuffled = [ours.used[i] for i in np.random.default_rng(2).permutation(len(ours.used))]
    other = likelihood_of(MODEL, shuffled, SCATTER)
    assert log_likelihood(other, some_z()) == pytest.approx(log_likelihood(ours, some_z()))


def test_readings_of_one_chip_move_together_and_those_of_strangers_do_not() -> None:
    places, noise = rows(), covariance(SCATTER)
    ours = study(MODEL, np.random.default_rng(0)).likelihood
    blocks = [block for block in ours.blocks if block.readout == 0]
    assert [[ours.used[i].chip_id for i in block.rows] for block in blocks] == [
        ["A", "A", "B", "B"],
        ["C", "C", "D", "D"],
    ], "donors are independent of each other"
    found = blocks[0].factor @ blocks[0].factor.T
    at = [i for i, (c, _, r) in enumerate(places) if r == 0 and c in (0, 1)]
    assert found == pytest.approx(noise[np.ix_(at, at)])
    assert found[0, 1] == pytest.approx(0.3**2 + 0.2**2), "same chip, same donor"
    assert found[0, 2] == pytest.approx(0.2**2), "another chip of the donor"


def test_readings_off_one_curve_err_together_and_other_plates_do_not() -> None:
    ours = study(MODEL, np.random.default_rng(0), NO_SCATTER, curves=True).likelihood
    blocks = [block for block in ours.blocks if block.readout == 1]
    assert [{ours.used[i].plate for i in block.rows} for block in blocks] == [{"p0"}, {"p1"}]
    assert all(len(block.rows) == 1 for block in ours.blocks if block.readout != 1)


# --- censored readouts


CENSORED = {
    "left": (-math.inf, 0.7),
    "right": (0.7, math.inf),
    "interval": (0.2, 0.7),
}


@pytest.mark.parametrize("kind", CENSORED)
@pytest.mark.parametrize("r", [0, 2], ids=["log scale", "linear scale"])
def test_a_censored_value_is_the_probability_of_its_bounds(kind: str, r: int) -> None:
    lower, upper = CENSORED[kind]
    one = censored("B", 48.0, r, kind, lower, upper, sd=0.25)
    z = some_z()
    mean = z @ MODEL.design[1, 1, r]
    sd = math.sqrt(0.25**2 + SCATTER.variance(READOUTS[r].name))
    # differences of the survival function where the mean lies below: they keep their digits
    above = norm.sf(lower, mean, sd) - norm.sf(upper, mean, sd)
    below = norm.cdf(upper, mean, sd) - norm.cdf(lower, mean, sd)
    probability = np.where(mean < lower, above, below)
    ours = likelihood_of(MODEL, [one], SCATTER)
    assert ours.effects == (), "a reading that shares nothing needs no sampled effect"
    assert log_likelihood(ours, z) == pytest.approx(np.log(probability), rel=1e-6)
    assert (ours.n_residuals, ours.n_exact, ours.n_censored) == (1, 0, 1)


def exact_and_censored(
    likelihood: Likelihood, places: Sequence[Place], noise: np.ndarray, mean: np.ndarray
) -> float:
    """Return log of the density of what is exact times the probability of the bounds given it."""
    used = likelihood.used
    is_censored = np.array([r.censoring != "none" for r in used])
    a, b = np.flatnonzero(~is_censored), np.flatnonzero(is_censored)
    value = np.array([value_on_scale(used[i]) for i in a])
    limits = [
        [math.log(v) if used[i].scale == "log" and math.isfinite(v) else v for v in bound]
        for i in b
        for bound in [(used[i].lower, used[i].upper)]
    ]
    low, high = np.array(limits).T
    gain = noise[np.ix_(b, a)] @ np.linalg.inv(noise[np.ix_(a, a)])
    given = mean[b] + gain @ (value - mean[a])
    left = noise[np.ix_(b, b)] - gain @ noise[np.ix_(a, b)]
    found = multivariate_normal(mean[a], noise[np.ix_(a, a)]).logpdf(value)
    shares = multivariate_normal.cdf(
        high, given, left, lower_limit=low, abseps=1e-12, releps=1e-10, maxpts=4_000_000
    )
    return float(found + np.log(shares))


def integrated(likelihood: Likelihood, mean: np.ndarray, step: float = 0.2) -> float:
    """Return the log likelihood at means (m,) of the rows with the sampled effects integrated out on a grid."""
    side = np.arange(-7.0, 7.0 + step / 2, step)
    k = len(likelihood.effects)
    grid = np.stack(np.meshgrid(*[side] * k, indexing="ij"), axis=-1).reshape(-1, k)
    predicted = np.where(likelihood.rows.log_scale, np.exp(mean), mean)
    r = likelihood.residuals(np.repeat(predicted[None], len(grid), axis=0), grid)
    log_density = likelihood.log_constant - 0.5 * (r**2).sum(axis=1)
    log_density += norm.logpdf(grid).sum(axis=1) + k * math.log(step)
    return float(np.logaddexp.reduce(log_density))


TWO_CHIPS = [(0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 1)]
"""CCL26 of chips A and B, of one donor, at both times."""
SHARING = {
    "chips": (Scatter({"CCL26": 0.4}, {}, {}), False, 1),
    "chips and donors": (Scatter({"CCL26": 0.4}, {"CCL26": 0.3}, {"CCL26": 0.1}), False, 2),
    "curves": (Scatter({}, {}, {"CCL26": 0.1}), True, 2),
    "chips and curves": (Scatter({"CCL26": 0.4}, {}, {"CCL26": 0.1}), True, 3),
}


@pytest.mark.parametrize("kind", CENSORED)
@pytest.mark.parametrize("sharing", SHARING)
def test_what_a_censored_reading_shares_is_integrated_over_by_sampling_it(
    sharing: str, kind: str
) -> None:
    scatter, curves, n_effects = SHARING[sharing]
    lower, upper = CENSORED[kind]
    readings = [read(place, 0.1 + 0.2 * i, curves) for i, place in enumerate(TWO_CHIPS)]
    bounds = censored("A", 24.0, 1, kind, lower, upper)
    readings[0] = replace(bounds, curve=readings[0].curve, plate=readings[0].plate)
    ours = likelihood_of(MODEL, readings, scatter)
    assert len(ours.effects) == n_effects
    noise = covariance(scatter, places=TWO_CHIPS, curves=curves)
    for mean in (np.zeros(4), np.array([0.6, 0.2, 0.1, 0.9])):
        wanted = exact_and_censored(ours, TWO_CHIPS, noise, mean)
        assert integrated(ours, mean) == pytest.approx(wanted, abs=1e-6)


def test_two_censored_readings_of_a_chip_are_a_bivariate_probability() -> None:
    scatter = Scatter({"CCL26": 0.4}, {}, {"CCL26": 0.1})
    readings = [read(place, 0.3) for place in TWO_CHIPS]
    readings[0] = censored("A", 24.0, 1, "left", upper=-0.2)
    readings[1] = censored("A", 48.0, 1, "interval", -0.1, 0.4)
    ours = likelihood_of(MODEL, readings, scatter)
    assert [effect.name for effect in ours.effects] == ["CCL26 of chip A"]
    noise = covariance(scatter, places=TWO_CHIPS)
    mean = np.array([0.3, 0.2, 0.1, 0.2])
    wanted = exact_and_censored(ours, TWO_CHIPS, noise, mean)
    assert integrated(ours, mean, 0.05) == pytest.approx(wanted, abs=1e-6)
    independent = exact_and_censored(ours, TWO_CHIPS, np.diag(np.diag(noise)), mean)
    assert abs(independent - wanted) > 0.1, "the two are not independent"


@pytest.mark.parametrize("kind", CENSORED)
@given(gap=st.floats(-1e6, 1e6))
def test_the_far_tails_stay_finite(kind: str, gap: float) -> None:
    lower, upper = CENSORED[kind]
    bound = bound_of(lower, upper)
    found = float(log_probability(bound, np.array([[gap]]))[0, 0])
    assert math.isfinite(found)
    assert found <= 0.0
    distance = max(lower - gap, gap - upper, 0.0) / 0.25
    # Mills' ratio: log Phi(-x) lies just below -x^2/2
    assert found <= -0.5 * distance**2 + 1e-6
    assert found >= -0.5 * distance**2 - math.log(distance + 1.0) - 3.0 - 1e-9 * distance**2


def bound_of(lower: float, upper: float, sd: float = 0.25) -> Bound:
    return Bound(np.array([0]), np.array([sd]), np.array([lower]), np.array([upper]))


@pytest.mark.parametrize("kind", CENSORED)
@given(gap=st.floats(-1e4, 1e4))
def test_the_slope_in_the_tails_is_that_of_a_normal(kind: str, gap: float) -> None:
    lower, upper = CENSORED[kind]
    log_p, slope = log_probability_slope(bound_of(lower, upper), np.array([[gap]]))
    assert np.isfinite(slope).all()
    assert log_p[0, 0] == log_probability(bound_of(lower, upper), np.array([[gap]]))[0, 0]
    # x < phi(x) / Phi(-x) < x + 1/x, for x sd outside of the bounds
    out = max(lower - gap, gap - upper) / 0.25
    if out > 10.0:
        hazard = float(slope[0, 0]) * 0.25 * (1.0 if gap < lower else -1.0)
        slack = (
            1e-9 + 1e-15 * out**2
        )  # log phi and log Phi cancel: their digits are those of x^2 / 2
        assert out * (1 - slack) <= hazard <= (out + 1.0 / out) * (1 + slack)
    step = 1e-5 * max(1.0, abs(gap))
    if abs(gap) < 50.0:
        ahead, behind = (
            float(log_probability(bound_of(lower, upper), np.array([[gap + h]]))[0, 0])
            for h in (step, -step)
        )
        assert slope[0, 0] == pytest.approx((ahead - behind) / (2 * step), rel=1e-4, abs=1e-5)


def test_an_interval_in_the_tail_agrees_with_the_integral_of_the_density() -> None:
    for gap in (-3.0, -1.5, 0.4, 2.0, 3.5):
        wanted = quad(lambda y, gap=gap: norm.pdf(y, gap, 0.25), 0.2, 0.7, epsabs=0)[0]
        found = log_probability(bound_of(0.2, 0.7), np.array([[gap]]))
        assert found[0, 0] == pytest.approx(math.log(wanted), rel=1e-6)


def test_a_bound_of_zero_on_a_log_scale_is_no_bound() -> None:
    one = replace(censored("A", 24.0, 0, "left", upper=math.log(2.0)), lower=0.0)
    wanted = likelihood_of(MODEL, [replace(one, lower=-math.inf)])
    found = log_likelihood(likelihood_of(MODEL, [one]), some_z())
    assert np.array_equal(found, log_likelihood(wanted, some_z()))


# --- Student's t


HEAVY = replace(SCATTER, chip_tails=4.0)


def test_a_chips_residuals_are_one_multivariate_t_over_all_its_readouts() -> None:
    places = [(0, t, r) for r in range(3) for t in range(2)]
    ours = likelihood_of(MODEL, [read(place, 0.2 * i) for i, place in enumerate(places)], HEAVY)
    shape = covariance(HEAVY, places=places)
    means = some_z() @ np.stack([MODEL.design[place] for place in places]).T
    wanted = [
        multivariate_t(mean, shape, df=4.0).logpdf(0.2 * np.arange(len(places))) for mean in means
    ]
    assert log_likelihood(ours, some_z()) == pytest.approx(np.array(wanted), rel=1e-9)


@pytest.mark.parametrize(
    "places",
    [[(0, 0, 0)], [(0, 0, 1), (0, 1, 1)], [(0, 0, 1), (1, 0, 1)]],
    ids=["one reading", "two of a chip", "two chips of a donor"],
)
@pytest.mark.parametrize("tails", [2.0, 7.0])
def test_the_density_of_the_readings_integrates_to_one(places: list[Place], tails: float) -> None:
    scatter = replace(SCATTER, chip_tails=tails)
    ours = likelihood_of(MODEL, [read(place, 0.0) for place in places], scatter)
    # the density hangs on reading - mean alone; sinh reaches far into the tails
    u = np.linspace(-12.0, 12.0, 601)
    side, stretch = 0.2 * np.sinh(u), 0.2 * np.cosh(u)
    m = len(places)
    grid = np.stack(np.meshgrid(*[side] * m, indexing="ij"), axis=-1).reshape(-1, m)
    # predictions of a log readout are positive: take the means where they are given on the residual's scale
    kept = np.where(np.abs(grid).max(axis=1) < 13.0)[0]
    r = ours.residuals(np.exp(grid[kept]), np.zeros((len(kept), 0)))
    density = np.zeros(len(grid))
    density[kept] = np.exp(ours.log_constant - 0.5 * (r**2).sum(axis=1))
    total = density.reshape([len(u)] * m)
    for _ in range(m):
        total = trapezoid(total * stretch, u, axis=-1)
    # what is cut off beyond exp(13): P(|t_2| > 13 / sd), at most 2 x 1 / (2 x (13 / 0.6)^2)
    assert float(total) == pytest.approx(1.0, abs=0.006 if tails == 2.0 else 1e-6)
    assert float(total) != pytest.approx(1.05, abs=0.006)


def test_an_outlying_chip_pulls_less_than_it_would_as_a_gaussian_and_hardly_when_far() -> None:
    def pull(scatter: Scatter, value: float) -> float:
        """Return how hard chip A pulls at its mean."""
        ours = likelihood_of(LinearModel(np.ones((4, 2, 3, 5))), [read((0, 0, 0), value)], scatter)
        ahead, behind = (log_likelihood(ours, np.full((1, 5), h / 5))[0] for h in (1e-4, -1e-4))
        return float(ahead - behind) / 2e-4

    gaussian, heavy = ([pull(s, v) for v in (0.1, 2.0, 20.0)] for s in (SCATTER, HEAVY))
    assert gaussian[2] == pytest.approx(10 * gaussian[1], rel=1e-4)
    assert heavy[0] == pytest.approx(gaussian[0] * 5 / 4, rel=0.03), "near the middle it is a t"
    assert heavy[1] < 0.3 * gaussian[1]
    assert heavy[2] < 0.2 * heavy[1]


# --- failures and refusals


def test_a_failed_simulation_is_impossible_and_its_neighbours_stand() -> None:
    ours = study(MODEL, np.random.default_rng(0)).likelihood
    broken = replace(MODEL, fails=lambda z: z[..., 0] > 0.0)
    one = censored("A", 24.0, 0, "left", upper=math.log(2.0))
    z = some_z()
    lost = z[:, 0] > 0.0
    assert 0 < lost.sum() < len(lost)
    for scatter in (SCATTER, HEAVY):
        for readouts in (list(ours.used), [one]):
            good = log_likelihood(likelihood_of(MODEL, readouts, scatter), z)
            found = log_likelihood(likelihood_of(broken, readouts, scatter), z)
            assert np.isneginf(found[lost]).all()
            assert np.array_equal(found[~lost], good[~lost])


def test_the_derivatives_of_neighbours_of_a_failed_simulation_stand() -> None:
    broken = replace(MODEL, fails=lambda z: z[..., 0] > 0.0)
    used = study(MODEL, np.random.default_rng(0)).likelihood.used
    z, lost = some_z(), some_z()[:, 0] > 0.0
    good, found = (
        Target(likelihood_of(model, used, HEAVY), PRIOR).linearised(z) for model in (MODEL, broken)
    )
    assert np.array_equal(found[0][~lost], good[0][~lost])
    assert np.array_equal(found[1][~lost], good[1][~lost])
    assert np.isnan(found[0][lost]).all() and np.isnan(found[1][lost]).all()


def test_a_readout_that_failed_its_quality_check_is_left_out() -> None:
    used = study(MODEL, np.random.default_rng(0)).likelihood.used
    spoiled = replace(used[3], value=math.nan, sd=math.nan, qc="fail")
    with_it = likelihood_of(MODEL, [*used[:3], spoiled, *used[4:]])
    without = likelihood_of(MODEL, [*used[:3], *used[4:]])
    assert len(with_it.used) == len(used) - 1
    assert np.array_equal(log_likelihood(with_it, some_z()), log_likelihood(without, some_z()))


def test_a_doubtful_readout_counts_with_its_sd() -> None:
    one = readout("A", 24.0, 0, 0.3)
    sure, doubtful = (likelihood_of(MODEL, [r]) for r in (one, replace(one, qc="warn")))
    assert np.array_equal(log_likelihood(sure, some_z()), log_likelihood(doubtful, some_z()))


@pytest.mark.parametrize("tails", [None, 4.0])
def test_without_readouts_every_parameter_is_as_likely(tails: float | None) -> None:
    ours = likelihood_of(MODEL, [], replace(SCATTER, chip_tails=tails))
    target = Target(ours, PRIOR)
    r, jacobian = target.linearised(some_z())
    assert r.shape == (6, 0) and jacobian.shape == (6, 0, 5)
    assert target.residuals(some_z()).shape == (6, 0)
    assert log_likelihood(ours, some_z()).tolist() == [0.0] * 6


def test_a_readout_that_the_model_does_not_give_is_refused() -> None:
    with pytest.raises(ValueError, match="model linear has no readout Papp"):
        likelihood_of(MODEL, [replace(readout("A", 24.0, 0, 0.0), readout="Papp")])


def test_a_readout_of_a_chip_without_an_inlet_is_refused() -> None:
    with pytest.raises(ValueError, match="readouts of E, which have no inlet"):
        likelihood_of(MODEL, [readout("E", 24.0, 0, 0.0)])


def test_a_chip_that_was_never_read_changes_nothing() -> None:
    used = study(MODEL, np.random.default_rng(0)).likelihood.used
    more = LinearModel(np.concatenate([MODEL.design, MODEL.design[:1]]))
    extra = ChipInlet("E", np.array([0.0, 48.0]), np.zeros((1, 4)), {})
    ours = Likelihood(more, (*INLETS, extra), {**DONORS, "E": "d3"}, used, SCATTER)  # type: ignore[arg-type]
    wanted = log_likelihood(likelihood_of(MODEL, used, SCATTER), some_z())
    assert log_likelihood(ours, some_z()) == pytest.approx(wanted)

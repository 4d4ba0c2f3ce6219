"""The likelihood against distributions written out in full."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

from chiploop.inference.likelihood import Bound, Likelihood, log_probability
from chiploop.measurement import Readout
from tests.chiploop.inference.linear_study import (
    CHIPS,
    DONORS,
    INLETS,
    NO_SCATTER,
    READOUTS,
    SCATTER,
    TIMES_H,
    LinearModel,
    covariance,
    linear_model,
    prior_of,
    readout,
    rows,
    study,
)

MODEL = linear_model()


def likelihood(readouts: list[Readout], model: LinearModel = MODEL, **given: object) -> Likelihood:
    return Likelihood(model, INLETS, DONORS, readouts, given.get("scatter", NO_SCATTER))  # type: ignore[arg-type]


def some_parameters(n: int = 6) -> np.ndarray:
    return prior_of(5).draw(n, np.random.default_rng(3))


@pytest.mark.parametrize(
    "scatter", [NO_SCATTER, SCATTER], ids=["assay only", "all kinds of scatter"]
)
def test_uncensored_readouts_are_one_multivariate_normal(scatter: object) -> None:
    ours, _, _ = study(MODEL, np.random.default_rng(0), scatter)  # type: ignore[arg-type]
    parameters, places, noise = some_parameters(), rows(), covariance(scatter)  # type: ignore[arg-type]
    by_place = {(r.chip_id, r.time_h, r.readout): r for r in ours.used}
    values = []
    for c, t, r in places:
        reading = by_place[(CHIPS[c], TIMES_H[t], READOUTS[r].name)]
        values.append(math.log(reading.value) if reading.scale == "log" else reading.value)
    means = np.log(parameters) @ np.stack([MODEL.design[place] for place in places]).T
    wanted = [multivariate_normal(mean, noise).logpdf(values) for mean in means]
    constant = -0.5 * (np.linalg.slogdet(noise)[1] + len(values) * math.log(2 * math.pi))
    assert ours.log_likelihood(parameters) == pytest.approx(np.array(wanted) - constant, rel=1e-9)
    assert ours.n_residuals == len(values)


def test_the_order_of_the_readouts_does_not_matter() -> None:
    ours, _, _ = study(MODEL, np.random.default_rng(1))
    shuffled = [ours.used[i] for i in np.random.default_rng(2).permutation(len(ours.used))]
    other = likelihood(shuffled, scatter=SCATTER)
    parameters = some_parameters()
    assert other.log_likelihood(parameters) == pytest.approx(ours.log_likelihood(parameters))


def test_readings_of_one_chip_move_together_and_those_of_strangers_do_not() -> None:
    places, noise = rows(), covariance(SCATTER)
    ours, _, _ = study(MODEL, np.random.default_rng(0))
    block = ours.blocks[0]
    found = block.factor @ block.factor.T
    at = [i for i, (_, _, r) in enumerate(places) if r == 0]
    assert found == pytest.approx(noise[np.ix_(at, at)])
    assert found[0, 1] == pytest.approx(0.3**2 + 0.2**2), "same chip, same donor"
    assert found[0, 2] == pytest.approx(0.2**2), "another chip of the donor"
    assert found[0, 4] == 0.0, "another donor"


CENSORED = {
    "left": (-math.inf, 0.7),
    "right": (0.7, math.inf),
    "interval": (0.2, 0.7),
}


@pytest.mark.parametrize("kind", CENSORED)
@pytest.mark.parametrize("r", [0, 2], ids=["log scale", "linear scale"])
def test_a_censored_value_is_the_probability_of_its_bounds(kind: str, r: int) -> None:
    lower, upper = CENSORED[kind]
    on = np.exp if READOUTS[r].scale == "log" else float
    one = replace(
        readout("B", 48.0, r, 0.0, 0.25),
        value=math.nan,
        censoring=kind,
        lower=float(on(lower)) if math.isfinite(lower) else -math.inf,
        upper=float(on(upper)) if math.isfinite(upper) else math.inf,
    )
    parameters = some_parameters()
    mean = np.log(parameters) @ MODEL.design[1, 1, r]
    sd = math.sqrt(0.25**2 + SCATTER.variance(READOUTS[r].name))
    # differences of the survival function where the mean lies below: they keep their digits
    above = norm.sf(lower, mean, sd) - norm.sf(upper, mean, sd)
    below = norm.cdf(upper, mean, sd) - norm.cdf(lower, mean, sd)
    probability = np.where(mean < lower, above, below)
    ours = likelihood([one], scatter=SCATTER)
    assert ours.log_likelihood(parameters) == pytest.approx(np.log(probability), rel=1e-6)
    assert ours.n_residuals == 1
    assert ours.squares_by_readout(ours.residuals(parameters)) == {}


@pytest.mark.parametrize("kind", CENSORED)
@given(gap=st.floats(-1e6, 1e6))
def test_the_far_tails_stay_finite(kind: str, gap: float) -> None:
    lower, upper = CENSORED[kind]
    bound = Bound(0, False, 0, 0, 0.25, lower, upper)
    found = float(log_probability(bound, np.array([gap]))[0])
    assert math.isfinite(found)
    assert found <= 0.0
    distance = max(lower - gap, gap - upper, 0.0) / 0.25
    # Mills' ratio: log Phi(-x) lies just below -x^2/2
    assert found <= -0.5 * distance**2 + 1e-6
    assert found >= -0.5 * distance**2 - math.log(distance + 1.0) - 3.0 - 1e-9 * distance**2


def test_an_interval_in_the_tail_agrees_with_the_integral_of_the_density() -> None:
    for gap in (-3.0, -1.5, 0.4, 2.0, 3.5):
        bound = Bound(0, False, 0, 0, 0.25, 0.2, 0.7)
        wanted = quad(lambda y, gap=gap: norm.pdf(y, gap, 0.25), 0.2, 0.7, epsabs=0)[0]
        assert log_probability(bound, np.array([gap])) == pytest.approx(
            [math.log(wanted)], rel=1e-6
        )


def test_a_bound_of_zero_on_a_log_scale_is_no_bound() -> None:
    one = replace(
        readout("A", 24.0, 0, 0.0), value=math.nan, censoring="left", lower=0.0, upper=2.0
    )
    wanted = likelihood([replace(one, lower=-math.inf)])
    parameters = some_parameters()
    found = likelihood([one]).log_likelihood(parameters)
    assert np.array_equal(found, wanted.log_likelihood(parameters))


def test_a_failed_simulation_is_impossible_and_its_neighbours_stand() -> None:
    ours, _, _ = study(MODEL, np.random.default_rng(0))
    broken = LinearModel(MODEL.design, fails=lambda z: z[:, 0] > 0.0)
    censored = replace(readout("A", 24.0, 0, 0.0), censoring="left", value=math.nan, upper=2.0)
    parameters = some_parameters()
    lost = np.log(parameters)[:, 0] > 0.0
    assert 0 < lost.sum() < len(lost)
    for readouts in (list(ours.used), [censored]):
        good = likelihood(readouts, scatter=SCATTER).log_likelihood(parameters)
        found = likelihood(readouts, broken, scatter=SCATTER).log_likelihood(parameters)
        assert np.isneginf(found[lost]).all()
        assert np.array_equal(found[~lost], good[~lost])


def test_a_readout_that_failed_its_quality_check_is_left_out() -> None:
    ours, _, _ = study(MODEL, np.random.default_rng(0))
    spoiled = replace(ours.used[3], value=math.nan, sd=math.nan, qc="fail")
    with_it = likelihood([*ours.used[:3], spoiled, *ours.used[4:]])
    without = likelihood([*ours.used[:3], *ours.used[4:]])
    parameters = some_parameters()
    assert len(with_it.used) == len(ours.used) - 1
    assert np.array_equal(with_it.log_likelihood(parameters), without.log_likelihood(parameters))


def test_a_doubtful_readout_counts_with_its_sd() -> None:
    one = readout("A", 24.0, 0, 0.3)
    parameters = some_parameters()
    sure, doubtful = (likelihood([r]) for r in (one, replace(one, qc="warn")))
    assert np.array_equal(sure.log_likelihood(parameters), doubtful.log_likelihood(parameters))


def test_without_readouts_every_parameter_is_as_likely() -> None:
    ours = likelihood([])
    assert ours.residuals(some_parameters()).shape == (6, 0)
    assert ours.log_likelihood(some_parameters()).tolist() == [0.0] * 6


def test_a_readout_that_the_model_does_not_give_is_refused() -> None:
    with pytest.raises(ValueError, match="model linear has no readout Papp"):
        likelihood([replace(readout("A", 24.0, 0, 0.0), readout="Papp")])


def test_squares_are_counted_per_readout() -> None:
    ours, _, _ = study(MODEL, np.random.default_rng(0))
    r = ours.residuals(some_parameters())
    found = ours.squares_by_readout(r)
    assert {name: m for name, (_, m) in found.items()} == {"TEER": 8, "CCL26": 8, "ldh_release": 8}
    assert sum(squares for squares, _ in found.values()) == pytest.approx((r**2).sum(axis=1))

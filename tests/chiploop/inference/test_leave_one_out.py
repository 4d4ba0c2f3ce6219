"""Leave-one-out densities of linear studies against their closed form; a wrong formula must not pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from chiploop.inference.conditionals import Conditionals
from chiploop.inference.leave_one_out import left_out
from chiploop.inference.unknowns import Unknowns
from tests.chiploop.inference.exact_draws import Drawn, drawn, with_draws
from tests.chiploop.inference.linear_study import (
    CHIPS,
    DONORS,
    LINES,
    SCATTER,
    LinearStudy,
    covariance,
    design_of,
    exact_posterior,
    likelihood_of,
    linear_model,
    prior_of,
    read,
    rows,
)

MODEL = linear_model(3)
N = 4000


def exact(one: Drawn) -> np.ndarray:
    """Return ln p(reading | all others) (m,) in closed form."""
    return np.asarray(norm.logpdf(one.left_out_residuals) - np.log(one.left_out_sd))


def is_right(one: Drawn, conditionals: Conditionals) -> bool:
    """Return whether each reading's part is that of the closed form."""
    found, _ = left_out(conditionals)
    return bool(np.abs(found.of_readings - exact(one)).max() < 0.1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_part_is_that_of_the_closed_form(seed: int) -> None:
    one = drawn(MODEL, seed, N)
    found, _ = left_out(one.conditionals)
    assert is_right(one, one.conditionals)
    assert found.elpd == pytest.approx(exact(one).sum(), abs=0.3)
    assert not len(found.doubtful) and "can be trusted" in found.sentence


def test_readings_taken_without_the_others_of_their_chip_do_not_pass() -> None:
    one = drawn(MODEL, 0, N)
    sd = np.sqrt(np.diag(covariance(SCATTER)))
    alone = norm.logpdf(one.study.values, one.means, sd)
    assert not is_right(one, replace(one.conditionals, log_density=alone))


def test_readings_that_are_not_left_out_do_not_pass() -> None:
    one = drawn(MODEL, 0, N)
    density = one.conditionals.log_density
    with_itself = np.log(np.exp(density).mean(axis=0))
    assert np.abs(with_itself - exact(one)).max() > 0.3


def test_standard_error_and_parameters_used_follow_from_the_parts() -> None:
    one = drawn(MODEL, 3, N)
    found, _ = left_out(one.conditionals)
    m = len(found.of_readings)
    assert found.standard_error == pytest.approx(np.sqrt(m) * found.of_readings.std(ddof=1))
    # three parameters, all learned: as many as the readings teach, less what their priors say
    assert 1.5 < found.parameters_used < 4.5


def test_a_reading_that_sways_the_fit_alone_is_flagged() -> None:
    model = linear_model(3)
    design = model.design.copy()
    design[..., 0] = 0.0
    design[0, 0, 2, 0] = 8.0  # one reading knows all of a parameter, far more than its prior
    model = replace(model, design=design)
    rng = np.random.default_rng(5)
    places = rows()
    prior = prior_of(3)
    wide = design_of(model, prior, Unknowns.of(prior, CHIPS, DONORS, LINES), places)
    truth = np.array([3.0, 0.0, 0.0])
    noise = covariance(SCATTER)
    values = wide @ truth + np.linalg.cholesky(noise) @ rng.standard_normal(len(places))
    likelihood = likelihood_of(
        model, [read(p, float(v)) for p, v in zip(places, values, strict=True)], SCATTER
    )
    one = LinearStudy(likelihood, prior, exact_posterior(wide, values, noise), truth, values)
    found, _ = left_out(with_draws(model, one, rng, 512, SCATTER).conditionals)
    swayed = places.index((0, 0, 2))
    assert list(found.doubtful) == [swayed]
    assert "NOT to be trusted for 1 of 24 readings" in found.sentence
    assert found.k_limit == pytest.approx(0.631, abs=1e-3)

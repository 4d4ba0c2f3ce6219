"""Priors as maps from standard normals: there and back, and the shapes that they promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, lognorm, truncnorm

from chiploop.inference.prior import Prior
from chiploop.models.study_model import model_of
from chiploop.models.tissue_model import PriorSpec
from chiploop.study import load_study

STUDY = load_study(Path(__file__).parents[3] / "protocols" / "studies" / "ad_jak_dose_finding.yaml")
POTENCY = PriorSpec("IC50", "lognormal", "nM", 30.0, 0.8)
EFFECT = PriorSpec("Bmax", "truncated_normal", "1", 0.6, 0.3, 0.0, 0.98)
CONTESTED = PriorSpec("wF", "truncated_normal", "1", 0.1, 0.25, 0.0, 0.98)
PRIOR = Prior.of([POTENCY, EFFECT, CONTESTED])


@given(st.lists(st.floats(-5.0, 5.0), min_size=3, max_size=3))
def test_the_map_and_its_inverse_undo_each_other(z: list[float]) -> None:
    there = PRIOR.parameters(np.array(z))
    assert 0.0 <= there[1] <= 0.98
    assert PRIOR.standard(there) == pytest.approx(z, abs=1e-6)


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_the_map_rises(one: float, other: float) -> None:
    low, high = sorted([one, other])
    at = [PRIOR.parameters(np.full(3, z)) for z in (low, high)]
    assert np.all(at[0] <= at[1])


def test_points_far_out_stay_within_the_bounds_and_finite() -> None:
    x = PRIOR.parameters(np.array([[-40.0] * 3, [40.0] * 3]))
    assert np.isfinite(x).all()
    assert x[0, 1:] == pytest.approx([0.0, 0.0], abs=1e-12)
    assert x[1, 1:] == pytest.approx([0.98, 0.98])


@pytest.mark.parametrize("spec", [EFFECT, CONTESTED])
def test_a_truncated_normal_is_that_of_scipy_and_no_effect_stays_possible(spec: PriorSpec) -> None:
    draws = Prior.of([spec]).draw(20_000, np.random.default_rng(1))[:, 0]
    low, high = (0.0 - spec.center) / spec.spread, (0.98 - spec.center) / spec.spread
    shape = truncnorm(low, high, spec.center, spec.spread)
    assert kstest(draws, shape.cdf).pvalue > 0.01
    assert shape.pdf(0.0) > 0.1
    assert np.mean(draws < 0.05) == pytest.approx(shape.cdf(0.05), rel=0.25)
    narrower = truncnorm(low, high, spec.center, 0.95 * spec.spread)
    assert kstest(draws, narrower.cdf).pvalue < 1e-3, "the same test rejects a narrower shape"


def test_a_lognormal_has_its_median_and_its_ln_sd() -> None:
    draws = Prior.of([POTENCY]).draw(20_000, np.random.default_rng(2))[:, 0]
    assert kstest(draws, lognorm(0.8, scale=30.0).cdf).pvalue > 0.01


def test_an_interval_is_central_and_holds_its_share() -> None:
    bounds = PRIOR.interval(0.9)
    draws = PRIOR.draw(20_000, np.random.default_rng(3))
    for j in range(3):
        assert np.mean(draws[:, j] < bounds[j, 0]) == pytest.approx(0.05, abs=0.006)
        assert np.mean(draws[:, j] > bounds[j, 1]) == pytest.approx(0.05, abs=0.006)


def test_the_studys_drug_sets_the_prior_of_the_potency_and_of_nothing_else() -> None:
    model = model_of(STUDY)
    drug = STUDY.drug.model_copy(update={"ic50_prior_median_nm": 150.0, "ic50_prior_ln_sd": 1.1})
    prior = Prior.of_study(model, STUDY.model_copy(update={"drug": drug}))
    assert prior.names == model.estimated_names
    for ours, shipped in zip(prior.specs, model.estimated, strict=True):
        if ours.name == "IC50":
            assert (ours.center, ours.spread, ours.unit) == (150.0, 1.1, "nM")
        else:
            assert ours == shipped


def test_the_same_generator_gives_the_same_draws() -> None:
    one, two = (PRIOR.draw(5, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(one, two)


def test_the_slope_of_the_map_is_that_of_differences() -> None:
    z = np.random.default_rng(5).uniform(-4.0, 4.0, (200, 3))
    x, slope = PRIOR.mapped(z)
    assert np.array_equal(x, PRIOR.parameters(z))
    ahead, behind = PRIOR.parameters(z + 1e-5), PRIOR.parameters(z - 1e-5)
    assert slope == pytest.approx((ahead - behind) / 2e-5, rel=1e-5, abs=1e-9)


def test_far_out_the_slope_of_a_bounded_parameter_is_zero_and_never_negative() -> None:
    z = np.linspace(-45.0, 45.0, 901)[:, None].repeat(3, axis=1)
    _, slope = PRIOR.mapped(z)
    assert np.isfinite(slope).all()
    assert (slope >= 0.0).all()
    assert slope[[0, -1], 1:] == pytest.approx(0.0, abs=1e-12)


def test_donors_and_doses_come_from_the_model_and_the_study() -> None:
    model = model_of(STUDY)
    prior = Prior.of_study(model, STUDY)
    assert prior.donor_spreads == model.donor_spreads
    assert {spread.name for spread in prior.donor_spreads} == {"EC13", "IC50", "kB"}
    assert prior.dose_sd == STUDY.variation.dose == 0.05
    exact = STUDY.variation.model_copy(update={"dose": 0.0})
    assert Prior.of_study(model, STUDY.model_copy(update={"variation": exact})).dose_sd == 0.0

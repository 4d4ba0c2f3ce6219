"""The posterior as a function: every derivative against differences, and what is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from chiploop.inference.prior import Prior
from chiploop.inference.scatter import Scatter
from chiploop.inference.target import Target
from chiploop.measurement import Readout
from chiploop.models.tissue_model import PriorSpec
from tests.chiploop.inference.linear_study import (
    CHIPS,
    DONORS,
    EXPONENTIAL,
    LINES,
    NO_SCATTER,
    SCATTER,
    LinearModel,
    Shape,
    censored,
    covariance,
    design_of,
    dosed_model,
    likelihood_of,
    prior_of,
    read,
    rows,
    study,
    varied,
)

BENT = replace(
    dosed_model(4, size=0.3), shape=Shape(lambda x: x + 0.2 * x**2, lambda x: 1 + 0.4 * x)
)
PLAIN = prior_of(4)
RICH = prior_of(4, varied(1, 3, ln_sd=0.4), dose_sd=0.2)
BOUNDED = Prior.of(
    [
        PriorSpec("k0", "lognormal", "1", 2.0, 0.3),
        PriorSpec("k1", "truncated_normal", "1", 0.6, 0.3, 0.0, 0.98),
        PriorSpec("k2", "lognormal", "1", 1.0, 1.0),
        PriorSpec("k3", "truncated_normal", "1", 1.0, 0.4, 0.2, 5.0),
    ],
    varied(1, 0, ln_sd=0.3),
    0.1,
)
HEAVY = replace(SCATTER, chip_tails=3.0)


def readings(kinds: tuple[str, ...] = (), curves: bool = True) -> list[Readout]:
    """Return a reading of every place, the first ones censored in these ways."""
    found = [read(place, 0.1 * i - 1.0, curves) for i, place in enumerate(rows())]
    bounds = {"left": (-np.inf, 0.4), "right": (-0.3, np.inf), "interval": (-0.2, 0.3)}
    for k, kind in enumerate(kinds):
        for i in (2 * k, 8 + 3 * k, 16 + k):  # of every readout
            one = found[i]
            r = ("TEER", "CCL26", "ldh_release").index(one.readout)
            cut = censored(one.chip_id, one.time_h, r, kind, *bounds[kind])
            found[i] = replace(cut, curve=one.curve, plate=one.plate)
    return found


CASES = {
    "exact": (PLAIN, NO_SCATTER, ()),
    "shared": (PLAIN, SCATTER, ()),
    "bounded parameters": (BOUNDED, SCATTER, ()),
    "donors and doses": (RICH, SCATTER, ()),
    "left": (PLAIN, NO_SCATTER, ("left",)),
    "right": (PLAIN, NO_SCATTER, ("right",)),
    "interval": (PLAIN, NO_SCATTER, ("interval",)),
    "effects": (PLAIN, SCATTER, ("left", "right", "interval")),
    "robust": (PLAIN, HEAVY, ()),
    "all of it": (RICH, HEAVY, ("left", "right", "interval")),
    "all of it, bounded": (BOUNDED, HEAVY, ("interval", "left")),
}


@pytest.mark.parametrize("case", CASES)
def test_the_jacobian_of_every_kind_of_row_is_that_of_differences(case: str) -> None:
    prior, scatter, kinds = CASES[case]
    target = Target(likelihood_of(BENT, readings(kinds), scatter), prior)
    z = np.random.default_rng(1).standard_normal((4, target.dims))
    r, jacobian = target.linearised(z)
    assert r == pytest.approx(target.residuals(z), rel=1e-12)
    assert jacobian.shape == (4, len(rows()), target.dims)
    h = 1e-5
    wanted = np.stack(
        [
            (target.residuals(z + h * unit) - target.residuals(z - h * unit)) / (2 * h)
            for unit in np.eye(target.dims)
        ],
        axis=-1,
    )
    assert jacobian == pytest.approx(wanted, rel=1e-5, abs=1e-6)
    felt = np.abs(wanted).max(axis=(0, 1)) > 0
    assert felt.all(), np.array(target.names)[~felt]


def test_a_chip_right_on_its_prediction_has_a_jacobian_with_tails_too() -> None:
    """At zero residuals the weight of the tails is a limit."""
    target = Target(likelihood_of(BENT, [read((0, 0, 0), 0.0), read((0, 1, 0), 0.0)], HEAVY), PLAIN)
    z = np.zeros((1, 4))
    r, jacobian = target.linearised(z)
    ahead, behind = (target.residuals(z + h * np.eye(4)) for h in (1e-4, -1e-4))
    assert np.abs(r).max() == 0.0
    assert jacobian[0] == pytest.approx((ahead - behind).T / 2e-4, rel=1e-3)


@pytest.mark.parametrize("kind", ["left", "right", "interval"])
def test_the_jacobian_stays_finite_where_a_bound_is_sure_or_far_away(kind: str) -> None:
    model = LinearModel(np.ones((4, 2, 3, 1)))
    target = Target(likelihood_of(model, readings((kind,), curves=False)), prior_of(1))
    r, jacobian = target.linearised(np.array([[-12.0], [-3.0], [-0.5], [0.5], [3.0], [12.0]]))
    assert np.isfinite(r).all()
    assert np.abs(jacobian).max() < 10.0 + 1e-6, "never steeper than 1 / sd"


def test_a_prediction_below_the_floor_has_a_value_and_no_slope() -> None:
    sinking = LinearModel(np.full((4, 2, 3, 1), 30.0))
    target = Target(likelihood_of(sinking, [read((0, 0, 0), 0.0)]), prior_of(1))
    r, jacobian = target.linearised(np.array([[-1.0]]))
    assert r == pytest.approx(-np.log(1e-6) / 0.1)
    assert jacobian.tolist() == [[[0.0]]]


def test_the_log_posterior_is_likelihood_times_prior_of_all_that_is_estimated() -> None:
    prior = prior_of(4, varied(1), dose_sd=0.2)
    ours = study(dosed_model(4), np.random.default_rng(0), prior=prior)
    target = ours.target
    z = np.random.default_rng(2).standard_normal((5, target.dims))
    design = design_of(dosed_model(4), prior, target.unknowns, rows())
    wanted = [
        multivariate_normal(design @ one, covariance(SCATTER)).logpdf(ours.values)
        + multivariate_normal(np.zeros(target.dims)).logpdf(one)
        for one in z
    ]
    assert target.log_density(z) == pytest.approx(np.array(wanted), rel=1e-9)


def test_a_parameter_that_overflows_is_impossible_and_warns_of_nothing() -> None:
    steep = replace(BENT, shape=EXPONENTIAL)
    target = Target(likelihood_of(steep, readings()), RICH)
    z = np.zeros((2, target.dims))
    z[0, 0], z[0, target.unknowns.at_spreads.start] = 1e4, 1e4
    found = target.log_density(z)
    assert np.isneginf(found[0]) and np.isfinite(found[1])


def test_every_trajectory_is_counted() -> None:
    target = Target(likelihood_of(BENT, readings(), Scatter({}, {}, {})), RICH)
    z = np.zeros((3, target.dims))
    target.residuals(z)
    target.linearised(z)
    assert target.simulations == 2 * 3 * len(CHIPS)
    assert target.unknowns.donors == tuple(sorted(set(DONORS.values())))
    assert target.unknowns.lines == tuple(sorted(set(LINES.values())))

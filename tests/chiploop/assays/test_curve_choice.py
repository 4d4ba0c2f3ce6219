"""Which model is taken, and that a 5PL is refused where its asymmetry is not known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from chiploop.assays.curve_choice import choose, not_identified
from chiploop.assays.curve_fit import CurveFit, fit_curve
from chiploop.assays.curve_weights import Weighting
from chiploop.assays.logistic_curve import LogisticCurve
from tests.chiploop.assays.reference_curves import columns, rows_of


def fits_of(
    asymmetry: float, lower: float = 0.08, levels: int = 12, seed: int = 3
) -> list[CurveFit]:
    truth = LogisticCurve(
        np.array([lower, 3.0, math.log(100.0), math.log(1.4), math.log(asymmetry)])
    )
    concentration = np.repeat(0.5 * 2.5 ** np.arange(levels), 3)
    clean = truth.signal(concentration)
    noisy = clean + 0.01 * np.random.default_rng(seed).normal(size=clean.size)
    return [fit_curve(concentration, noisy, model) for model in ("3pl", "4pl", "5pl")]  # type: ignore[arg-type]


def test_a_clearly_asymmetric_curve_gets_five_parameters() -> None:
    choice = choose(fits_of(0.3))
    assert choice.model == "5pl" and choice.aicc["5pl"] < choice.aicc["4pl"] - 2.0
    assert "5pl: AICc lower" in choice.reason


def test_a_symmetric_curve_keeps_four_and_an_asymmetric_one_does_not() -> None:
    # A gain of 2 in AICc comes by chance in 3 to 4 % of symmetric curves.
    symmetric = [choose(fits_of(1.0, seed=seed)).model for seed in range(40)]
    assert symmetric.count("4pl") >= 35
    assert [choose(fits_of(0.3, seed=seed)).model for seed in range(10)] == ["5pl"] * 10


def test_a_curve_from_zero_gets_three() -> None:
    assert choose(fits_of(1.0, lower=0.0)).model == "3pl"


def test_ryegrass_refuses_its_five_parameters(shared_data: Path) -> None:
    points = columns(rows_of(shared_data, "ryegrass.csv"), "conc", "rootl")
    five = fit_curve(*points, "5pl")
    assert not_identified(five).startswith("the asymmetry is not identified: 0.468")
    choice = choose([fit_curve(*points, "4pl"), five])
    assert choice.model == "4pl" and "5pl refused" in choice.reason


def test_a_better_fit_is_refused_too_where_its_asymmetry_is_not_known() -> None:
    fits = fits_of(0.3, levels=5)
    refused = not_identified(fits[2])
    assert refused and choose(fits).model != "5pl"


def test_criteria_are_comparable_under_weights_that_each_fit_renews() -> None:
    concentration = np.repeat(4.0 * 2.0 ** np.arange(9), 2)
    clean = 0.05 + 3.0 / (1.0 + (150.0 / concentration) ** 1.2)
    noisy = clean * (1.0 + 0.05 * np.random.default_rng(1).normal(size=clean.size))
    even = fit_curve(concentration, noisy, "4pl")
    weighted = fit_curve(concentration, noisy, "4pl", Weighting("1/y2"))
    assert weighted.aicc < even.aicc - 10.0  # the noise is 5 % everywhere


def test_a_choice_without_four_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a 4PL"):
        choose(fits_of(1.0)[:1])

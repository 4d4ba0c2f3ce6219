"""Limits beside LLOQ and ULOQ."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chiploop.assays.curve_fit import CurveFit, fit_curve
from chiploop.assays.curve_weights import Weighting
from chiploop.assays.detection_limits import detection_limit, limits_by_cv
from chiploop.assays.inverse_estimate import sd_ln_at

CONCENTRATION = np.repeat(4.0 * 2.0 ** np.arange(9), 2)


def a_fit() -> CurveFit:
    clean = 0.05 + 3.0 / (1.0 + (150.0 / CONCENTRATION) ** 1.2)
    noise = np.random.default_rng(2).normal(size=clean.size) * np.hypot(0.008, 0.05 * clean)
    return fit_curve(CONCENTRATION, clean + noise, "4pl", Weighting("floor_and_cv", 0.16))


def test_the_limit_of_detection_is_three_sd_above_the_blanks() -> None:
    fit = a_fit()
    blanks = np.array([0.050, 0.060, 0.055, 0.065, 0.052, 0.048])
    found = detection_limit(fit, blanks)
    assert found.sd_from == "blanks"
    assert found.signal == pytest.approx(blanks.mean() + 3.0 * np.std(blanks, ddof=1))
    assert float(fit.curve.signal(found.concentration)) == pytest.approx(found.signal)


def test_two_blanks_have_no_sd_of_their_own() -> None:
    fit = a_fit()
    found = detection_limit(fit, np.array([0.055, 0.055]))
    assert found.sd_from == "curve" and found.signal > 0.055
    assert math.isnan(detection_limit(fit, np.array([-0.5, -0.5])).concentration)
    with pytest.raises(ValueError, match="needs blanks"):
        detection_limit(fit, np.array([]))


def test_between_the_limits_by_cv_every_concentration_is_known_so_well() -> None:
    fit = a_fit()
    low, high = limits_by_cv(fit, 0.20)
    assert 4.0 <= low < 30.0 < high <= 1024.0

    def cv(concentration: float) -> float:
        sd = sd_ln_at(fit, float(fit.curve.signal(concentration)), 2)
        return math.sqrt(math.expm1(sd**2))

    assert all(cv(c) <= 0.2005 for c in np.geomspace(low, high, 30))
    assert low == pytest.approx(4.0) or cv(low * 0.95) > 0.20
    assert limits_by_cv(fit, 0.001) == (pytest.approx(math.nan, nan_ok=True),) * 2
    alone = limits_by_cv(fit, 0.20, with_well_noise=False)
    assert alone[0] <= low and alone[1] >= high

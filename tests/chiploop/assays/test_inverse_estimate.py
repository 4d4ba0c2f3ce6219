"""Curves read backwards: against drLumi, and the intervals against each other."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from chiploop.assays.curve_fit import CurveFit, fit_curve
from chiploop.assays.curve_weights import Weighting
from chiploop.assays.inverse_estimate import inverse_estimate, inversion_intervals, sd_ln_at
from tests.chiploop.assays.reference_curves import fgf_standards, printed

LN10 = math.log(10.0)
CONCENTRATION = np.repeat(4.0 * 2.0 ** np.arange(9), 2)


def a_plate(seed: int = 2, noise: float = 1.0) -> CurveFit:
    rng = np.random.default_rng(seed)
    clean = 0.05 + 3.0 / (1.0 + (150.0 / CONCENTRATION) ** 1.2)
    signal = clean + noise * rng.normal(size=clean.size) * np.hypot(0.008, 0.05 * clean)
    return fit_curve(CONCENTRATION, signal, "4pl", Weighting("floor_and_cv", 0.16))


def test_estimates_errors_and_delta_intervals_are_those_of_drlumi(shared_data: Path) -> None:
    fit = fit_curve(*fgf_standards(shared_data), "4pl")
    theirs = printed(shared_data, "luminex_FGF_inverse")
    signals = {name.split("@")[1] for name in theirs}
    assert len(signals) == 7
    for text in signals:
        # drLumi's error is that of the curve alone: a well without noise.
        one = inverse_estimate(fit, math.log10(float(text)), 1, 0.95, "delta", well_sd=0.0)
        ours = {
            "log10conc": one.ln_concentration / LN10,
            "se": one.sd_ln / LN10,
            "lo": one.lower,
            "hi": one.upper,
        }
        for name, value in ours.items():
            if f"{name}@{text}" in theirs:
                assert value == pytest.approx(theirs[f"{name}@{text}"], rel=1e-4), (name, text)


def test_intervals_agree_where_the_curve_is_steep_and_well_known() -> None:
    fit = a_plate(noise=0.05)
    ends = [inverse_estimate(fit, 1.5, 2, kind=kind) for kind in ("delta", "inversion", "profile")]  # type: ignore[arg-type]
    for one in ends[1:]:
        assert one.concentration == ends[0].concentration
        assert math.log(one.upper / one.lower) == pytest.approx(
            math.log(ends[0].upper / ends[0].lower), rel=0.01
        )


def test_inversion_and_profile_hold_the_ends_that_they_say() -> None:
    fit = a_plate()
    t = 2.1447867  # of 14 degrees of freedom
    one = inverse_estimate(fit, 0.4, 2)
    for end in (one.lower, one.upper):
        x = math.log(end)
        mean = float(fit.curve.signal_at(x))
        jacobian = fit.curve.jacobian_at(x)
        variance = fit.signal_sd(mean) ** 2 / 2 + float(jacobian @ fit.covariance @ jacobian)
        assert abs(0.4 - mean) == pytest.approx(t * math.sqrt(variance), rel=1e-5)
    profile = inverse_estimate(fit, 0.4, 2, kind="profile")
    assert profile.lower == pytest.approx(one.lower, rel=0.01)
    assert profile.upper == pytest.approx(one.upper, rel=0.01)


def test_an_interval_is_open_where_the_curve_is_too_flat_to_tell() -> None:
    fit = a_plate()
    near_blank = inverse_estimate(fit, fit.curve.lower + 0.004, 2)
    assert near_blank.lower == 0.0 and 0.0 < near_blank.upper < 20.0
    near_top = inverse_estimate(fit, fit.curve.upper - 0.02, 2)
    assert math.isinf(near_top.upper) and near_top.lower > 300.0
    beyond = inverse_estimate(fit, fit.curve.upper + 0.02, 2)
    assert math.isinf(beyond.concentration) and math.isinf(beyond.upper) and beyond.lower > 300.0
    below = inverse_estimate(fit, fit.curve.lower - 0.005, 2, kind="profile")
    assert below.concentration == 0.0 and below.lower == 0.0 and math.isfinite(below.upper)
    assert math.isinf(inverse_estimate(fit, 99.0, 2).upper)


def test_more_wells_narrow_the_interval_down_to_what_the_curve_errs_in() -> None:
    fit = a_plate()
    sds = [sd_ln_at(fit, 1.0, n) for n in (1, 2, 8, 10_000)]
    assert sds == sorted(sds, reverse=True)
    _, gradient = fit.curve.ln_concentration_gradient(1.0)
    assert sds[-1] == pytest.approx(math.sqrt(gradient @ fit.covariance @ gradient), rel=1e-2)


def test_a_wider_scatter_of_replicates_takes_the_place_of_the_curves_noise() -> None:
    fit = a_plate()
    calm, wild = inverse_estimate(fit, 1.0, 2), inverse_estimate(fit, 1.0, 2, well_sd=0.4)
    assert wild.lower < calm.lower and wild.upper > calm.upper


def test_a_failed_fit_and_a_wrong_level_are_refused() -> None:
    failed = fit_curve(np.array([1.0, 2, 4]), np.array([0.1, 0.2, 0.3]))
    with pytest.raises(ValueError, match="gives no concentrations"):
        inverse_estimate(failed, 0.2)
    with pytest.raises(ValueError, match="between 0 and 1"):
        inverse_estimate(a_plate(), 0.2, level=95.0)


def test_many_samples_at_once_have_the_intervals_of_one_by_one() -> None:
    fit = a_plate()
    signals = np.concatenate(
        [np.linspace(-0.1, 4.0, 60), [fit.curve.lower + 0.002, fit.curve.upper - 0.01]]
    )
    together = inversion_intervals(fit, signals, 2)
    for signal, row in zip(signals, together, strict=True):
        one = inverse_estimate(fit, float(signal), 2)
        assert row == pytest.approx([one.concentration, one.lower, one.upper], rel=1e-6), signal

"""The shape of the noise, pooled over plates: found, and better known from more of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chiploop.assays.curve_weights import PlateResiduals, Weighting, misfit, pooled
from chiploop.assays.pooled_curves import PlatePoints, fit_plates

CONCENTRATION = np.repeat(4.0 * 2.0 ** np.arange(9), 2)
CLEAN = 0.05 + 3.0 / (1.0 + (150.0 / CONCENTRATION) ** 1.2)


def plates(n: int, sd: np.ndarray, seed: int = 5) -> list[PlatePoints]:
    rng = np.random.default_rng(seed)
    return [
        PlatePoints(CONCENTRATION, CLEAN * scale + rng.normal(size=CLEAN.size) * sd * scale)
        for scale in rng.uniform(0.8, 1.2, n)
    ]


def test_the_exponent_of_a_power_is_found_from_many_plates() -> None:
    for exponent in (0.5, 0.8):
        fits = fit_plates(plates(40, 0.03 * CLEAN**exponent), "4pl", Weighting("power"))
        numbers = {fit.weighting.number for fit in fits}
        assert len(numbers) == 1, "one exponent for the assay"
        assert numbers.pop() == pytest.approx(exponent, abs=0.08)
        assert "power of mean, exponent of sd 0." in fits[0].weighting.name


def test_floor_over_cv_is_found_from_many_plates() -> None:
    fits = fit_plates(plates(40, np.hypot(0.008, 0.05 * CLEAN)), "4pl", Weighting("floor_and_cv"))
    assert math.log(fits[0].weighting.number / 0.16) == pytest.approx(0.0, abs=0.35)  # type: ignore[operator]
    scale = math.sqrt(np.mean([fit.residual_scale**2 for fit in fits]))
    assert scale == pytest.approx(0.05, rel=0.1)


def test_leverage_is_taken_out_of_what_the_noise_is_learned_from() -> None:
    fit = fit_plates(plates(1, 0.02 * np.ones_like(CLEAN)), "4pl", Weighting("none"))[0]
    raw = fit.y - fit.curve.signal_at(fit.x)
    ratio = (fit.residuals.residuals / raw) ** 2
    assert np.all(ratio > 1.0)
    assert float(np.sum(1.0 - 1.0 / ratio)) == pytest.approx(4.0, rel=1e-6)  # leverages sum to p


def test_the_pooled_number_is_the_lowest_misfit_and_a_given_one_stays() -> None:
    rng = np.random.default_rng(1)
    known = [
        PlateResiduals(CLEAN, rng.normal(size=CLEAN.size) * 0.03 * CLEAN**0.7, 14)
        for _ in range(20)
    ]
    best = pooled(Weighting("power"), known)
    assert best.number is not None
    for away in (-0.1, 0.1):
        assert misfit(Weighting("power", best.number + away), known) > misfit(best, known)
    assert pooled(Weighting("power", 0.33), known).number == 0.33
    with pytest.raises(ValueError, match="no plate"):
        pooled(Weighting("power"), [])


def test_a_plate_that_can_not_be_fitted_leaves_the_others_alone() -> None:
    good = plates(3, 0.03 * CLEAN**0.7)
    bad = PlatePoints(CONCENTRATION, np.full(CONCENTRATION.size, 0.4))
    fits = fit_plates([*good, bad], "4pl", Weighting("power"))
    assert [bool(fit.failure) for fit in fits] == [False, False, False, True]
    assert fit_plates([bad], "4pl", Weighting("power"))[0].failure

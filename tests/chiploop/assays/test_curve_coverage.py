"""Do the intervals hold the truth as often as they say, at every level of the standards?

Simulated plates of nine levels in duplicate, noise 0.008 OD and 5 %, one assay of many plates; samples in
duplicate at the concentrations of the levels. The same check must reject intervals that are known to be
wrong: otherwise it shows nothing.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from chiploop.assays.curve_fit import CurveFit
from chiploop.assays.curve_weights import Weighting
from chiploop.assays.inverse_estimate import IntervalKind, inverse_estimate
from chiploop.assays.logistic_curve import LogisticCurve
from chiploop.assays.pooled_curves import PlatePoints, fit_plates

LEVELS = 4.0 * 2.0 ** np.arange(9)
TRUTH = LogisticCurve(np.array([0.05, 3.2, math.log(300.0), math.log(1.1), 0.0]))
FLOOR_OD, CV = 0.008, 0.05


def noisy(concentration: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    clean = TRUTH.signal(concentration)
    return clean + rng.normal(size=clean.shape) * np.hypot(FLOOR_OD, CV * clean)


def plates_of(
    n: int, per_assay: int, weighting: Weighting, seed: int
) -> list[tuple[CurveFit, np.ndarray]]:
    """Return the fit of each plate and the mean signals of its samples, one per level."""
    rng = np.random.default_rng(seed)
    concentration = np.repeat(LEVELS, 2)
    points = [PlatePoints(concentration, noisy(concentration, rng)) for _ in range(n)]
    means = [noisy(np.stack([LEVELS, LEVELS]), rng).mean(axis=0) for _ in range(n)]
    fits: list[CurveFit] = []
    for first in range(0, n, per_assay):
        fits += fit_plates(points[first : first + per_assay], "4pl", weighting)
    return list(zip(fits, means, strict=True))


def coverage(plates: list[tuple[CurveFit, np.ndarray]], kind: IntervalKind) -> np.ndarray:
    """Return how often the 95 % interval holds the truth, at each level."""
    held = np.zeros(len(LEVELS))
    for fit, means in plates:
        assert not fit.failure
        for i, truth in enumerate(LEVELS):
            one = inverse_estimate(fit, float(means[i]), 2, kind=kind)
            held[i] += one.lower <= truth <= one.upper
    return held / len(plates)


def outside(share: np.ndarray, n: int) -> np.ndarray:
    """Return how far each share lies outside of 93 to 97 %, in standard errors of n plates."""
    error = math.sqrt(0.95 * 0.05 / n)
    return np.maximum(0.93 - share, share - 0.97) / error


def test_the_interval_holds_the_truth_as_often_as_it_says_at_every_level() -> None:
    n = 120
    share = coverage(plates_of(n, 60, Weighting("floor_and_cv"), seed=11), "inversion")
    assert np.max(outside(share, n)) < 2.0, share


@pytest.mark.parametrize(
    ("weighting", "kind"),
    [
        (Weighting("1/y2"), "delta"),
        (Weighting("1/y2"), "inversion"),
    ],
)
def test_the_same_check_rejects_intervals_from_a_wrong_noise_at_the_lowest_level(
    weighting: Weighting, kind: IntervalKind
) -> None:
    n = 120
    share = coverage(plates_of(n, 60, weighting, seed=11), kind)
    assert share[0] < 0.93 and outside(share, n)[0] > 2.0, share


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_over_many_plates_inversion_stays_within_93_to_97_percent_at_every_level() -> None:
    n = 3000
    plates = plates_of(n, 50, Weighting("floor_and_cv"), seed=7)
    share = coverage(plates, "inversion")
    print("inversion, pooled floor and CV", np.round(100 * share, 1))
    assert np.all(share >= 0.93) and np.all(share <= 0.97), share


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_over_many_plates_the_delta_interval_of_a_power_fails_at_the_lowest_level() -> None:
    n = 1000
    plates = plates_of(n, 50, Weighting("power"), seed=7)
    share = coverage(plates, "delta")
    print("delta, pooled exponent", np.round(100 * share, 1))
    assert outside(share, n)[0] > 1.5, share


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_profile_and_inversion_hold_the_truth_alike() -> None:
    plates = plates_of(100, 50, Weighting("floor_and_cv", FLOOR_OD / CV), seed=3)
    ours = {kind: coverage(plates, kind) for kind in ("inversion", "profile")}  # type: ignore[arg-type]
    assert ours["profile"] == pytest.approx(ours["inversion"], abs=0.03)

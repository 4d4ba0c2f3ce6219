"""The table of residuals, and trends: none where there is none, named where one was planted."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import kstest, linregress, norm

from chiploop.inference.conditionals import scores
from chiploop.inference.likelihood import Likelihood
from chiploop.inference.residual_table import Trend, residual_rows, trends
from chiploop.inference.search import search
from chiploop.inference.target import Target
from tests.chiploop.inference.exact_draws import Drawn, drawn
from tests.chiploop.inference.linear_study import (
    DONORS,
    SCATTER,
    censored,
    likelihood_of,
    linear_model,
    prior_of,
    study,
)

MODEL = linear_model(3)


def found_in(one: Drawn) -> dict[tuple[str, str], Trend]:
    means = one.study.likelihood.plain_means(one.target.predicted(one.mode.z[None]))[0]
    return {
        (trend.readout, trend.against): trend
        for trend in trends(one.study.likelihood, one.mode, means)
    }


@cache
def of_right_studies() -> list[dict[tuple[str, str], Trend]]:
    return [found_in(drawn(MODEL, seed, 1)) for seed in range(200)]


def planted(seed: int, readout: str, by: dict[str, float]) -> dict[tuple[str, str], Trend]:
    """Return the trends of a study in which readings of some donor or time were moved, on the residual's scale."""
    right = study(MODEL, np.random.default_rng([41, seed])).likelihood
    used = []
    for r in right.used:
        shift = by.get(DONORS[r.chip_id], by.get(f"{r.time_h:g}", 0.0))
        used.append(replace(r, value=r.value * float(np.exp(shift))) if r.readout == readout else r)
    likelihood = likelihood_of(MODEL, used, SCATTER)
    return trends_of(likelihood)


def trends_of(likelihood: Likelihood) -> dict[tuple[str, str], Trend]:
    target = Target(likelihood, prior_of(3))
    mode = search(target, np.zeros((1, target.dims))).modes[0]
    effects = mode.z[None, target.unknowns.at_effects]
    means = likelihood.means(target.predicted(mode.z[None]), effects)[0]
    return {(t.readout, t.against): t for t in trends(likelihood, mode, means)}


def test_p_values_without_a_trend_are_uniform_and_any_trend_is_rarely_seen() -> None:
    found = of_right_studies()
    assert set(found[0]) == {
        (readout, against)
        for readout in ("TEER", "CCL26", "ldh_release")
        for against in ("time", "prediction", "donor")
    }
    for key in found[0]:
        assert kstest([one[key].p_value for one in found], "uniform").pvalue > 0.003, key
    # 5 % over all tests of a study
    accused = sum(any(trend.is_seen for trend in one.values()) for one in found)
    assert accused <= 18


def test_an_ordinary_regression_of_the_residuals_would_not_be_uniform() -> None:
    p = []
    for seed in range(200):
        one = drawn(MODEL, seed, 1)
        at = [i for i, r in enumerate(one.study.likelihood.used) if r.readout == "TEER"]
        times = [one.study.likelihood.used[i].time_h for i in at]
        p.append(float(linregress(times, one.left_out_residuals[at]).pvalue))
    assert kstest(p, "uniform").pvalue < 0.003


@pytest.mark.parametrize("shift, way", [(0.9, "rise"), (-0.9, "fall")])
def test_a_planted_trend_in_time_is_seen_and_named(shift: float, way: str) -> None:
    found = [planted(seed, "TEER", {"48": shift}) for seed in range(8)]
    seen = [one["TEER", "time"] for one in found if one["TEER", "time"].is_seen]
    assert len(seen) >= 7
    assert all(f"residuals {way} by" in trend.sentence for trend in seen)
    # in sd of one reading of a chip: assay 0.1, reading 0.1, chip 0.3
    sizes = [one["TEER", "time"].size for one in found]
    assert np.mean(sizes) == pytest.approx(shift / np.sqrt(0.11), rel=0.25)
    assert not any(one["ldh_release", "time"].is_seen for one in found)


def test_a_planted_difference_between_donors_is_seen_and_named() -> None:
    found = [planted(seed, "CCL26", {"d2": 6.0})["CCL26", "donor"] for seed in range(8)]
    seen = [trend for trend in found if trend.is_seen]
    assert len(seen) >= 7
    assert all("d2 lies" in trend.sentence and "above d1" in trend.sentence for trend in seen)


def test_a_difference_of_the_size_that_donors_have_is_no_trend() -> None:
    found = [planted(seed, "CCL26", {"d2": 0.4})["CCL26", "donor"] for seed in range(8)]
    assert sum(trend.is_seen for trend in found) <= 1


def test_a_size_is_known_as_well_as_its_error_says() -> None:
    found = [one["TEER", "time"] for one in of_right_studies()]
    ratio = np.array([trend.size / trend.size_sd for trend in found])
    assert kstest(ratio, norm.cdf).pvalue > 0.003


def test_the_table_says_what_was_read_predicted_and_left() -> None:
    one = drawn(MODEL, 0, 200)
    place = norm.cdf(one.left_out_residuals)
    table = residual_rows(one.study.likelihood, one.predicted, place, np.full(24, 0.3))
    for row, r, predicted, residual in zip(
        table,
        one.study.likelihood.used,
        np.median(one.predicted, axis=0),
        scores(place),
        strict=True,
    ):
        assert (row.readout, row.chip, row.donor) == (r.readout, r.chip_id, DONORS[r.chip_id])
        assert (row.time_h, row.observed, row.unit) == (r.time_h, r.value, r.unit)
        assert row.predicted == predicted and row.residual == residual
        assert (row.censored, row.k, row.dose_nm) == (False, 0.3, 0.0)


def test_censored_readings_stand_in_the_table_with_their_bound_and_enter_no_trend() -> None:
    used = list(drawn(MODEL, 0, 1).study.likelihood.used)
    used[8] = censored("A", 24.0, 1, "left", upper=-0.5)
    used[9] = censored("A", 48.0, 1, "right", lower=0.5)
    likelihood = likelihood_of(MODEL, used, SCATTER)
    table = residual_rows(likelihood, np.ones((3, 24)), np.full(24, 0.5), np.zeros(24))
    assert [row.censored for row in table].count(True) == 2
    assert table[8].observed == pytest.approx(np.exp(-0.5))
    assert table[9].observed == pytest.approx(np.exp(0.5))
    assert trends_of(likelihood)["CCL26", "donor"].p_value > 0.0


def test_a_readout_read_once_has_no_trend_in_time() -> None:
    used = [r for r in drawn(MODEL, 0, 1).study.likelihood.used if r.time_h == 24.0]
    found = trends_of(likelihood_of(MODEL, used, SCATTER))
    assert ("TEER", "time") not in found and ("TEER", "donor") in found

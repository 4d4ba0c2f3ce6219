"""Bands hold what they say: level, scatter, and the chip's own deviation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from chiploop.models.facts import ReadoutSpec
from chiploop.report.html_report import RunEvidence
from chiploop.report.predictions import Predictions, band, predictive_band


@pytest.fixture(scope="module")
def predictions(hand_run: Any) -> Predictions:
    return RunEvidence(*hand_run.parts).predictions


@pytest.mark.parametrize("log_scale", [True, False])
def test_a_predictive_band_around_one_value_is_the_normal_interval(log_scale: bool) -> None:
    spec = ReadoutSpec("TEER", "moment", "ohm*cm2", "log" if log_scale else "linear")
    found = predictive_band(np.full((50, 1), 100.0), 0.2, spec)
    z = norm.ppf(0.95)
    expected = 100.0 * np.exp(0.2 * z) if log_scale else 100.0 + 0.2 * z
    assert found.upper[0] == pytest.approx(expected, rel=0.02)
    assert found.median[0] == pytest.approx(100.0, rel=1e-6)


def test_a_band_leaves_failed_draws_out_and_refuses_when_all_failed() -> None:
    values = np.array([[1.0, 2.0], [np.nan, 5.0], [3.0, 4.0]])
    assert band(values).median == pytest.approx([2.0, 3.0])
    with pytest.raises(ValueError, match="no posterior draw"):
        band(np.full((3, 2), np.nan))


def test_predictive_bands_hold_the_bands_of_the_mean(predictions: Predictions) -> None:
    for chips in predictions.courses().values():
        for course in chips.values():
            assert (course.predictive.lower < course.mean.lower).all()
            assert (course.predictive.upper > course.mean.upper).all()


def test_a_chips_own_line_is_nearer_to_its_readings_than_the_mean(predictions: Predictions) -> None:
    own_gaps, mean_gaps = [], []
    courses = predictions.courses()["TEER"]
    for reading in predictions.likelihood.used:
        if reading.readout == "TEER":
            course = courses[reading.chip_id]
            at = int(np.argmin(np.abs(course.times_h - reading.time_h)))
            own_gaps.append(np.log(reading.value / course.own[at]))
            mean_gaps.append(np.log(reading.value / course.mean.median[at]))
    assert np.std(own_gaps) < 0.5 * np.std(mean_gaps)


def test_a_reading_moved_to_the_reference_keeps_its_own_deviation(
    predictions: Predictions,
) -> None:
    (goal,) = (g for g in predictions.study.goals if g.readout == "CCL26")
    curve = predictions.dose_response(goal)
    told = {p.reading.chip_id: p for p in predictions.readings() if p.reading.readout == "CCL26"}
    assert curve.censored == 1
    assert len(curve.readings) == len(told) - 1
    moved = next(r for r in curve.readings if r.drug_nm == 0.0)
    one = told[moved.chip_id]
    kept = moved.value / float(curve.vehicle.median)
    assert kept == pytest.approx(one.reading.value / one.median, rel=1e-3)


def test_failed_readouts_are_not_among_the_predicted(predictions: Predictions) -> None:
    assert all(p.reading.qc != "fail" for p in predictions.readings())
    assert {p.inside for p in predictions.readings() if p.reading.censoring != "none"} == {None}

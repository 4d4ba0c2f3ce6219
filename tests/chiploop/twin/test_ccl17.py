"""Serum CCL17 under treatment: it falls as measured, shares a person's offset, and informs rightly."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from chiploop.twin.drug_effect import effect_of
from chiploop.twin.observations import (
    CCL17,
    CCL17_LN_SD,
    CCL17_READING_LN_SD,
    expected_at_baseline,
    ln_ccl17_change,
    log_likelihood,
    own_offset,
    with_own_offset,
)
from chiploop.twin.patient_file import Visit
from chiploop.twin.patient_model import Courses, before_treatment, simulate
from chiploop.twin.patient_twin import new_twin
from chiploop.twin.patient_what_if import offered, what_if
from chiploop.twin.population import published_population
from chiploop.twin.trial import settings_shift
from tests.chiploop.twin.patients import patient

ARMS = ("placebo", "tralokinumab", "dupilumab")
N, HIDDEN = 2000, 300


@lru_cache(maxsize=1)
def courses() -> Courses:
    population = published_population().shifted(settings_shift("monotherapy"))
    values = population.draw(N, np.random.default_rng(3))
    effects = [effect_of(arm, N, 1) for arm in ARMS]
    return simulate(values, effects, np.array([4.0, 16.0]), started=before_treatment(values))


def test_falls_at_week_16_are_those_that_the_documentation_tells() -> None:
    falls = 100.0 * (1.0 - np.exp(ln_ccl17_change(np.median(courses().th2[:, :, 1], axis=0))))
    assert falls == pytest.approx([49.8, 74.9, 84.2], abs=2.0)  # measured: 41, 75, 72 to 83


def test_without_treatment_and_after_nothing_changed_there_is_no_change() -> None:
    assert ln_ccl17_change(np.ones(3)) == pytest.approx(0.0)
    assert (np.diff(ln_ccl17_change(np.linspace(0.0, 1.2, 9))) > 0).all()


def test_readings_of_one_person_share_an_offset() -> None:
    apart = np.random.default_rng(1).normal(size=(5, 3))
    own = CCL17_LN_SD**2 - CCL17_READING_LN_SD**2
    normal = multivariate_normal(np.zeros(3), own + CCL17_READING_LN_SD**2 * np.eye(3))
    reference = normal.logpdf(apart)
    found = with_own_offset(apart)
    assert found - found[0] == pytest.approx(reference - reference[0])
    # one reading alone is a level, as at baseline
    assert with_own_offset(apart[:, :1]) == pytest.approx(-0.5 * (apart[:, 0] / CCL17_LN_SD) ** 2)


def test_a_fall_as_expected_moves_little_and_one_that_stays_away_speaks_against_the_drug() -> None:
    def told(ccl17: float | None) -> float:
        one = patient(
            baseline={"easi": 28.0, "serum_ccl17_pg_ml": 2000.0},
            treatment="dupilumab",
            visits=(Visit(week=4.0, serum_ccl17_pg_ml=ccl17),),
        )
        return what_if(one, ["dupilumab"], n=800).forecasts[0].improvement_pct[1]

    unseen, fell, stayed = told(None), told(435.0), told(1900.0)
    assert abs(fell - unseen) < 3.0
    assert stayed < fell - 3.0


def test_forecasts_that_heard_of_ccl17_cover_hidden_patients_and_are_narrower() -> None:
    found, rng = courses(), np.random.default_rng(8)
    expected = expected_at_baseline(found.baseline)
    improvement, th2 = found.improvement_pct[:, 2, 1], found.th2[:, 2, :1]
    own = np.sqrt(CCL17_LN_SD**2 - CCL17_READING_LN_SD**2)
    bank = slice(HIDDEN, None)
    inside, widths = 0, []
    for i in range(HIDDEN):
        offset, noise = own * rng.standard_normal(), CCL17_READING_LN_SD * rng.standard_normal(2)
        level = expected[CCL17][i] + offset
        told = log_likelihood(
            {CCL17: expected[CCL17][bank]}, {CCL17: level + noise[0]}, np.zeros((N - HIDDEN, 1)),
            np.array([np.nan]), th2[bank], np.array([level + ln_ccl17_change(th2[i, 0]) + noise[1]]),
        )  # fmt: skip
        weights = np.exp(told - told.max())
        order = np.argsort(improvement[bank])
        below = np.cumsum(weights[order]) / weights.sum()
        low, high = improvement[bank][order][np.searchsorted(below, (0.05, 0.95))]
        inside += low <= improvement[i] <= high
        widths.append(high - low)
    assert abs(inside - 0.9 * HIDDEN) < 3.0 * np.sqrt(HIDDEN * 0.9 * 0.1)
    low, high = np.quantile(improvement, (0.05, 0.95))
    assert np.mean(widths) < 0.95 * (high - low)


@pytest.mark.parametrize("readings", [0, 1, 3])
def test_what_is_left_open_of_an_offset_is_that_of_plain_regression_on_the_readings(
    readings: int,
) -> None:
    rng = np.random.default_rng(2)
    own = np.sqrt(CCL17_LN_SD**2 - CCL17_READING_LN_SD**2)
    hidden = own * rng.standard_normal(40_000)
    apart = hidden[:, None] + CCL17_READING_LN_SD * rng.standard_normal((40_000, readings))
    drawn = own_offset(apart, rng)
    # draws of a posterior are as the hidden ones are, alone and with the readings
    assert drawn.std() == pytest.approx(own, rel=0.02)
    for v in range(readings):
        assert np.cov(drawn, apart[:, v])[0, 1] == pytest.approx(own**2, rel=0.05)


def test_a_level_at_a_visit_is_offered_until_it_was_drawn_and_scatters_less_after_another() -> None:
    def level(**more: object) -> tuple[str, np.ndarray]:
        twin, _ = new_twin(patient(treatment="dupilumab", **more), np.random.default_rng(1), n=800)
        found = offered(twin.evened(), "dupilumab", np.random.default_rng(2))
        (name,) = (name for name in found if name.startswith("serum CCL17 at"))
        return name, found[name]

    name, alone = level()
    _, after = level(baseline={"serum_ccl17_pg_ml": 1500.0})
    assert name == "serum CCL17 at week 4 under dupilumab" and after.std() < 0.8 * alone.std()

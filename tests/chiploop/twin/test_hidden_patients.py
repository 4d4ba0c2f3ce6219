"""Forecasts for hidden patients cover the truth, by the code that a user's patient takes; wrong ones do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, kstest

from chiploop.twin import observations, patient_twin
from chiploop.twin.hidden_patients import Cohort, Foreseen, forecast, foreseen, hidden_patients
from chiploop.twin.patient_twin import Twin, twin_of
from tests.chiploop.twin.patients import patient

BAND = 0.9
RARE = 1e-3
WEEKS = (2.0, 4.0, 8.0)


def uncovered(found: Foreseen) -> list[str]:
    """Return the stages whose coverage is outside of binomial slack."""
    n = found.covered.shape[1]
    low, high = binom.ppf([RARE, 1 - RARE], n, BAND)
    counts = zip(found.stages, found.covered.sum(axis=1), strict=True)
    return [stage for stage, count in counts if not low <= count <= high]


def forecasts(drug: str, n: int, n_virtual: int, weeks: tuple[float, ...], seed: int) -> Foreseen:
    hidden = hidden_patients(Cohort("all"), drug, n, np.random.default_rng(seed), visit_weeks=weeks)
    return foreseen(hidden, n_virtual, seed)


def test_bands_of_a_few_hidden_patients_cover_and_narrow_and_narrower_ones_do_not() -> None:
    found = forecasts("dupilumab", 25, 150, (4.0,), 3)
    assert uncovered(found) == [] and found.refused == 0
    assert (np.diff(found.width.mean(axis=1)) < 0.0).all()
    # a band of 50 % that passed for one of 90 % would be seen at each stage
    halved = replace(found, covered=np.abs(found.place - 0.5) < 0.25)
    assert uncovered(halved) == list(found.stages)


def quartiles(twin: Twin) -> np.ndarray:
    return np.quantile(forecast(twin, "upadacitinib", 16.0), [0.25, 0.5, 0.75])


def test_moved_virtual_patients_are_those_of_plain_weighing_of_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bank of the population, weighed once and never moved, is slow and needs no steps that could be wrong."""
    known = patient(
        baseline={"easi": 28.0}, treatment="upadacitinib", flg="heterozygous",
        visits=[{"week": 4.0, "easi": 9.0}, {"week": 8.0, "easi": 6.0}],
    )  # fmt: skip
    moved, told = twin_of(known, np.random.default_rng(1), n=1500)
    assert sum(info.moved for info in told) >= 2
    monkeypatch.setattr(patient_twin, "FEWEST_EFFECTIVE", 0.0)
    bank, infos = twin_of(known, np.random.default_rng(2), n=12_000)
    assert not any(info.moved for info in infos) and bank.effective > 250
    expected, found = quartiles(bank), quartiles(moved)
    sd = (expected[2] - expected[0]) / 1.349
    # a quartile's standard error is 1.36 sd/sqrt(n); of the moved ones a quarter stand for all
    slack = 4.0 * 1.36 * sd * np.sqrt(1.0 / bank.effective + 4.0 / len(moved.weights))
    np.testing.assert_allclose(found, expected, atol=slack)
    assert slack < 0.55 * sd
    # what the visits say nothing of, most of the 51 parameters, stays as wide as it was
    wide = [t.weights @ np.square(t.standard).mean(axis=1) for t in (bank, moved)]
    assert wide[1] == pytest.approx(
        wide[0], abs=5.0 * np.sqrt(2.0 / (250 * bank.standard.shape[1]))
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("drug", ["dupilumab", "upadacitinib"])
def test_bands_cover_500_hidden_patients_before_and_after_each_visit(drug: str) -> None:
    found = forecasts(drug, 500, 500, WEEKS, 2)
    assert uncovered(found) == [], found.covered.mean(axis=1)
    assert (np.diff(found.width.mean(axis=1)) < 0.0).all()
    for stage, place in zip(found.stages, found.place, strict=True):
        assert kstest(place, "uniform").pvalue > RARE, stage


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_same_check_sees_a_noise_that_is_half_of_what_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(observations, "EASI_LN_SD", 0.5 * observations.EASI_LN_SD)
    found = forecasts("dupilumab", 300, 300, WEEKS, 6)
    assert "week 8" in uncovered(found), found.covered.mean(axis=1)

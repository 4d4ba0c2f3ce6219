"""The twin of one patient: no data is the population, visits one by one are visits at once, forecasts cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from chiploop.twin.drug_effect import effect_of
from chiploop.twin.fitted_terms import TOPICALS_SHIFT
from chiploop.twin.observations import (
    EASI_LN_SD,
    LINKS,
    expected_at_baseline,
    ln_easi,
    log_likelihood,
)
from chiploop.twin.patient_file import Visit
from chiploop.twin.patient_model import before_treatment, simulate
from chiploop.twin.patient_twin import new_twin, twin_of, updated
from chiploop.twin.population import STANDARD_CARE, published_population
from tests.chiploop.twin.patients import patient

VISITS = tuple(Visit(week=w, easi=e) for w, e in ((8.0, 17.0), (12.0, 18.0), (16.0, 12.5)))


def answer(twin) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    improvement = simulate(
        twin.values(), [twin.effect("dupilumab")], np.array([16.0])
    ).improvement_pct
    values = improvement[:, 0, 0]
    mean = float(twin.weights @ values)
    return mean, float(np.sqrt(twin.weights @ (values - mean) ** 2))


def test_a_patient_without_data_has_the_answer_and_width_of_the_population() -> None:
    twin, info = new_twin(patient(), np.random.default_rng(1))
    population = published_population().shifted({STANDARD_CARE: TOPICALS_SHIFT})
    drawn = population.draw(4000, np.random.default_rng(2))
    values = simulate(drawn, [effect_of("dupilumab", 4000, 1)], np.array([16.0])).improvement_pct
    mean, sd = answer(twin)
    slack = 3.3 * values.std() / np.sqrt(2000)
    assert abs(mean - values.mean()) < slack and abs(sd - values.std()) < slack
    assert not info.moved and twin.effective == pytest.approx(4000)


def test_visits_one_by_one_give_the_answer_of_all_at_once() -> None:
    data = {"baseline": {"easi": 32.0}, "treatment": "dupilumab"}
    rng = np.random.default_rng(3)
    one_by_one, told = twin_of(
        patient(**data, visits=[v.model_dump() for v in VISITS]), rng, n=1000
    )
    start, _ = new_twin(patient(**data), rng, n=1000)
    at_once, _ = updated(start, VISITS, rng)
    prior = answer(new_twin(patient(), rng)[0])
    first, second = answer(one_by_one), answer(at_once)
    assert any(info.moved for info in told)
    assert first[1] < 0.5 * prior[1]
    # moves leave neighbours alike: a quarter of the particles stand for all
    assert abs(first[0] - second[0]) < 4.0 * first[1] / np.sqrt(len(at_once.weights) / 8)
    assert first[1] == pytest.approx(second[1], rel=0.25)


def test_what_is_missing_stays_missing() -> None:
    rng = np.random.default_rng(4)
    unseen = (Visit(week=4.0), Visit(week=8.0))
    twin, _ = new_twin(patient(treatment="dupilumab"), rng)
    after, info = updated(twin, unseen, rng)
    np.testing.assert_array_equal(after.weights, twin.weights)
    assert not info.moved


def test_ratios_of_chips_shift_and_never_set() -> None:
    rng = np.random.default_rng(5)
    strong = patient(chip={"maturation": {"ratio": 0.4}})
    with_chip, _ = new_twin(strong, rng)
    without, _ = new_twin(strong, rng, with_chip=False)
    place = published_population().place["k1"]
    shifted, plain = np.log(with_chip.values()[:, place]), np.log(without.values()[:, place])
    assert shifted.mean() < plain.mean() - 0.3
    assert shifted.std() > 0.95 * plain.std()
    np.testing.assert_allclose(np.log(with_chip.values()[:, 1]).std(), 0.39, rtol=0.05)


@pytest.mark.slow
def test_intervals_cover_hidden_patients_before_and_after_each_visit() -> None:
    """500 hidden patients of the population; 90 % intervals of EASI at week 16 under dupilumab."""
    n, hidden = 12_000, 500
    rng = np.random.default_rng(6)
    population = published_population().shifted({STANDARD_CARE: TOPICALS_SHIFT})
    drawn = population.draw(n + hidden, rng)
    started = before_treatment(drawn)
    weeks = np.array([2.0, 4.0, 16.0])
    effect = effect_of("dupilumab", n + hidden, 1)
    easi = simulate(drawn, [effect], weeks, started=started).easi[:, 0]
    expected = expected_at_baseline(started[0])
    bank = {name: values[:n] for name, values in expected.items()}
    covered = np.zeros((4, hidden), dtype=bool)
    widths = np.zeros((4, hidden))
    for i in range(hidden):
        me = n + i
        noisy = {k: float(v[me] + LINKS[k].sd * rng.standard_normal()) for k, v in expected.items()}
        seen = np.exp(ln_easi(easi[me]) + EASI_LN_SD * rng.standard_normal(3)) - 0.3
        known = [({}, 0), (noisy, 0), (noisy, 1), (noisy, 2)]
        for stage, (measured, visits) in enumerate(known):
            told = log_likelihood(bank, measured, easi[:n, :visits], seen[:visits])
            weights = np.exp(told - told.max())
            order = np.argsort(easi[:n, 2])
            share = np.cumsum(weights[order]) / weights.sum()
            low, high = easi[order[np.searchsorted(share, [0.05, 0.95])], 2]
            covered[stage, i] = low <= easi[me, 2] <= high
            widths[stage, i] = high - low
    low, high = binom.ppf([0.001, 0.999], hidden, 0.9)
    assert all(low <= count <= high for count in covered.sum(axis=1)), covered.mean(axis=1)
    mean = widths.mean(axis=1)
    assert (np.diff(mean) < 0).all(), mean

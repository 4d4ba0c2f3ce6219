"""The twin of one patient: no data is the population, visits one by one are visits at once."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.twin.drug_effect import effect_of
from chiploop.twin.fitted_terms import TOPICALS_SHIFT
from chiploop.twin.patient_file import Visit
from chiploop.twin.patient_model import simulate
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

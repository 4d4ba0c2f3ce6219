"""The twin of a case knows what the learner knows: readings and tests move it, the truth does not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from chiploop.twin.patient_model import Effect
from chiploop.twin.population import published_population
from chiploop.twin.teaching.advice import advice, advice_at, potencies_of, twin_plays
from chiploop.twin.teaching.cases import case_of
from chiploop.twin.teaching.debrief import debrief
from chiploop.twin.teaching.drivers import drivers_of, mean_fall, usual_effect
from chiploop.twin.teaching.paths import cohort_of
from chiploop.twin.teaching.play import played
from chiploop.twin.trial import settings_shift

CASE = case_of(3, 4)
MEDIAN = np.exp(published_population().shifted(settings_shift("monotherapy")).mean)


def test_a_reading_moves_the_twin_towards_what_was_read() -> None:
    said = {
        easi: advice(CASE, {}, ("emollient",), [(0, CASE.easi), (4, easi)]).options["emollient"]
        for easi in (2.0, CASE.easi)
    }
    assert said[2.0].worth > said[CASE.easi].worth + 20.0
    assert said[2.0].probability > said[CASE.easi].probability + 0.3


def test_the_twin_does_not_see_the_hidden_patient() -> None:
    stranger = case_of(3, 5).truth
    other = dataclasses.replace(CASE, truth=stranger)
    first, second = (advice(one, {}, (), [(0, CASE.easi)]) for one in (CASE, other))
    assert first.options == second.options


def test_an_ic50_on_the_patients_chips_narrows_the_potency_about_it() -> None:
    found = potencies_of({"ic50_nm_upadacitinib": 5.0, "flg": "null"}, np.random.default_rng(1))
    assert list(found) == ["upadacitinib"]
    half = np.log(found["upadacitinib"].half_nm)
    assert half.std() < 0.25
    assert np.log(5.0) < np.median(half) < np.log(7.0)


def test_without_tests_the_advice_is_that_of_history_and_readings_alone() -> None:
    play = played(
        CASE, ["ccl17", "", "dupilumab", "50", "", "dupilumab", "50", "", "dupilumab", "50"]
    )
    bare = advice_at(play, 0, with_tests=False)
    assert bare.options == advice(CASE, {}, (), [(0, CASE.easi)]).options
    assert bare.options != advice_at(play, 0).options
    assert len(twin_plays(play)) == 3


def test_what_drove_it_is_what_setting_it_to_the_usual_changes() -> None:
    plan = ("dupilumab",) * 3
    found = drivers_of(CASE, plan)
    assert found == sorted(found, key=lambda one: -abs(one.points))
    truth = CASE.truth
    place = published_population().place
    for one in found[:2]:
        if one.name not in place:
            continue
        rows = truth.parameters.copy()
        rows[0, place[one.name]] = MEDIAN[place[one.name]]
        other = mean_fall(cohort_of(rows, truth.effect_of_arm), plan)[0]
        assert one.points == pytest.approx(mean_fall(truth, plan)[0] - other, abs=0.05)


def test_a_patient_like_most_has_nothing_that_drives() -> None:
    plan = ("dupilumab",) * 3
    median = MEDIAN[None]

    def effect(arm: str) -> Effect:
        return usual_effect(arm) if arm != "placebo" else Effect()

    ordinary = dataclasses.replace(CASE, truth=cohort_of(median, effect))
    assert drivers_of(ordinary, plan) == []


@pytest.mark.slow
def test_the_twin_plays_better_than_one_drug_for_all() -> None:
    points: dict[str, list[float]] = {"twin": [], "dupilumab": [], "emollient": []}
    for number in range(1, 31):
        case = case_of(11, number)
        told = debrief(played(case, ["", "dupilumab", "50"] * 3))
        points["twin"].append(told.twin.points)
        for name in ("dupilumab", "emollient"):
            points[name].append(next(one.points for one in told.kept if one.name == name))
    means = {name: float(np.mean(values)) for name, values in points.items()}
    assert means["twin"] > means["dupilumab"] > means["emollient"]

"""Plans in the hidden patient: stretches join, every plan is there, and what none of them may change."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.twin.patient_model import simulate
from chiploop.twin.teaching.cases import case_of
from chiploop.twin.teaching.paths import (
    along,
    every_plan,
    followed,
    kept,
    price_of,
    value_of,
)
from chiploop.twin.teaching.rules import CARE_FACTOR, END_WEEK, OPTIONS

CASE = case_of(3, 2)
SOME = ("emollient", "topicals", "dupilumab", "upadacitinib:30mg+topicals")


def test_a_treatment_that_is_kept_is_what_one_simulation_of_16_weeks_gives() -> None:
    whole = simulate(
        CASE.truth.parameters, [CASE.truth.effect("dupilumab")], np.arange(1.0, END_WEEK + 1)
    )
    in_stretches = along(CASE.truth, ["dupilumab"] * 3)
    np.testing.assert_allclose(in_stretches, whole.easi[:, 0], rtol=2e-3)


def test_every_plan_is_there_and_is_what_following_it_gives() -> None:
    plans = every_plan(CASE.truth, SOME)
    assert len(plans) == len(SOME) ** 3
    for plan in (SOME[:3], ("dupilumab", "emollient", "dupilumab"), ("topicals",) * 3):
        np.testing.assert_allclose(plans[plan], along(CASE.truth, plan)[0], rtol=1e-6)
    after_four = followed(CASE.truth, SOME[1:2])[1]
    rest = kept(CASE.truth, ["dupilumab"], after_four, 4)[0, 0]
    np.testing.assert_allclose(plans["topicals", "dupilumab", "dupilumab"][4:], rest, rtol=2e-3)


def test_topicals_beside_a_drug_never_harm_and_emollient_is_the_placebo_of_trials() -> None:
    assert CARE_FACTOR > 1.0
    for option in ("emollient", "dupilumab", "abrocitinib:100mg"):
        beside = "topicals" if option == "emollient" else f"{option}+topicals"
        alone, both = (along(CASE.truth, [name] * 3) for name in (option, beside))
        assert (both < alone).all()
    assert OPTIONS["emollient"].arm == "placebo" and not OPTIONS["emollient"].price


def test_a_plan_is_worth_its_mean_fall_less_the_price_of_each_week() -> None:
    plan = ("emollient", "dupilumab", "dupilumab+topicals")
    assert price_of(plan) == pytest.approx((0 * 4 + 8 * 4 + 13 * 8) / 16)
    course = np.array([20.0] * 8 + [10.0] * 8)
    assert value_of(course, 40.0, ("emollient",) * 3) == pytest.approx(62.5)
    assert value_of(course, 40.0, plan) == pytest.approx(62.5 - 8.5)

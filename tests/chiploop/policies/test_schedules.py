"""How policies and rules treat the schedules of one concentration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chiploop.batch_safety import safe_batch
from chiploop.policies import POLICIES
from chiploop.policies.dose_choice import longest, nearest, span_nm
from chiploop.policies.own_doses import own_doses
from chiploop.policies.prediction_table import PredictionTable
from chiploop.spread_out import spread_out
from tests.chiploop.candidates import FakeTable, fake_table, programme
from tests.chiploop.policies.tables import random_table

OWN = (
    (0.0, "whole", 48.0),
    (30.0, "whole", 48.0),
    (30.0, "pulses", 24.0),
    (120.0, "whole", 48.0),
    (120.0, "pulses", 24.0),
    (480.0, "pulses", 24.0),
)
"""Candidates of a line: 480 nM can not be made for the whole exposure."""


def table(lines: int = 2, seed: int = 3) -> PredictionTable:
    """Return lines that have each of ``OWN``."""
    made = random_table(seed, [[True] * len(OWN)] * lines)
    programmes = tuple(
        tuple(programme(line, nm, name, hours) for nm, name, hours in OWN) for line in made.lines
    )
    return replace(made, programmes=programmes)


def fake(risk: list[float], lines: int = 1) -> FakeTable:
    """Return what safety looks at of such lines."""
    made = fake_table([nm for nm, _, _ in OWN], [risk] * lines)
    programmes = tuple(
        tuple(programme(line, nm, name, hours) for nm, name, hours in OWN) for line in made.lines
    )
    return replace(made, programmes=programmes)


def test_a_dose_without_a_schedule_is_the_longest() -> None:
    assert list(longest(table(), 0)) == [0, 1, 3]
    assert [nearest(table(), 0, nm) for nm in (0.0, 25.0, 100.0, 500.0)] == [0, 1, 3, 3]
    assert span_nm(table(), 0) == pytest.approx((30.0, 120.0))


def test_where_no_whole_exposure_is_open_and_no_vehicle_any_schedule_is_taken() -> None:
    short = replace(table(), allowed=tuple(np.array([False] * 4 + [True] * 2) for _ in range(2)))
    assert list(longest(short, 0)) == [4, 5]
    assert nearest(short, 0, 500.0) == 5


@pytest.mark.parametrize("name", ["log_grid", "thompson"])
def test_policies_by_dose_give_the_whole_exposure(name: str) -> None:
    for seed in range(8):
        batch = POLICIES[name](replace(table(), turn=seed), np.random.default_rng(seed))
        assert {OWN[choice.candidate][1] for choice in batch.choices} == {"whole"}


def test_the_random_baseline_draws_the_schedule_too() -> None:
    drawn = {
        OWN[choice.candidate][1:]
        for seed in range(20)
        for choice in POLICIES["uniform_random"](table(), np.random.default_rng(seed)).choices
    }
    assert drawn == {("whole", 48.0), ("pulses", 24.0)}


@pytest.mark.parametrize("name", ["goal_information", "value_of_information"])
def test_measuring_policies_find_the_one_schedule_whose_readings_tell_of_the_goal(
    name: str,
) -> None:
    blind = table(1)
    features = np.zeros_like(blind.features[0])
    features[:, 4, 0] = 20.0 * blind.goal
    told = replace(blind, features=(features,))
    batch = POLICIES[name](told, np.random.default_rng(0))
    assert OWN[batch.choices[0].candidate] == (120.0, "pulses", 24.0)


def test_own_doses_mean_the_whole_exposure_unless_a_schedule_is_named() -> None:
    policy = own_doses({"L1": 120.0, "L2": 120.0}, {"L2": "pulses"})
    batch = policy(table(), np.random.default_rng(0))
    assert [choice.candidate for choice in batch.choices] == [3, 4]
    policy = own_doses({"L1": 0.0, "L2": 30.0}, {"L1": "pulses"})
    batch = policy(table(), np.random.default_rng(0))
    assert [choice.candidate for choice in batch.choices] == [0, 1]


def test_an_own_dose_that_its_schedule_does_not_allow_is_refused_with_those_that_it_does() -> None:
    with pytest.raises(ValueError, match="480 nM is not allowed on L1; allowed are 0, 30, 120 nM"):
        own_doses({"L1": 480.0, "L2": 0.0})(table(), np.random.default_rng(0))
    told = "60 nM by pulses is not allowed on L1; allowed are 0, 30, 120, 480 nM"
    with pytest.raises(ValueError, match=told):
        own_doses({"L1": 60.0, "L2": 0.0}, {"L1": "pulses"})(table(), np.random.default_rng(0))


def test_a_batch_that_risks_too_much_gets_the_next_lower_dose_by_the_same_schedule() -> None:
    risky = fake([0.0, 0.1, 0.01, 0.2, 0.05, 0.3])
    assert safe_batch(risky, {0: 5}, chips=[1], risk_chips=0.25).chosen == {0: 4}
    assert safe_batch(risky, {0: 3}, chips=[1], risk_chips=0.15).chosen == {0: 1}
    only_whole_fits = fake([0.0, 0.1, 0.4, 0.12, 0.4, 0.5])
    assert safe_batch(only_whole_fits, {0: 5}, chips=[1], risk_chips=0.15).chosen == {0: 0}


def test_doses_while_the_model_is_in_doubt_last_the_whole_exposure() -> None:
    donors = dict.fromkeys(("L1", "L2", "L3"), ("D1",))
    found = spread_out(fake([0.0] * len(OWN), 3), donors, 1)
    assert sorted(found.chosen.values()) == [0, 1, 3]

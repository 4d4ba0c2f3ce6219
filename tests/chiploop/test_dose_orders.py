"""Doses of a batch are drawn over lines where that costs nothing, with donors and high doses spread."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from chiploop.dose_orders import AS_GOOD, draw_order
from chiploop.policies.linear_gaussian import LinearGaussian
from chiploop.policies.prediction_table import PredictionTable
from tests.chiploop.policies.tables import table_of

LINES = 4
DOSES = (0.0, 10.0, 20.0, 30.0)
ONE_DONOR = [("D1",)] * LINES
ONE_DRUG = ["upadacitinib"] * LINES
NO_DOSE = [0.0] * LINES
CHOSEN = dict(enumerate(range(LINES)))


def alike(seed: int = 0, better: float = 1.0) -> PredictionTable:
    """Return four lines that teach the same by the same dose; of the first each dose teaches ``better`` times."""
    rng = np.random.default_rng(seed)
    goal = rng.standard_normal(400)
    strength = np.array([0.0, 0.5, 1.0, 1.5])
    part = (goal[:, None] * strength)[:, :, None]
    features = [part.copy() for _ in range(LINES)]
    features[0] *= better
    return table_of(features, goal, 0.2 * np.eye(LINES))


def doses(table: PredictionTable, chosen: dict[int, int]) -> tuple[float, ...]:
    return tuple(table.programmes[i][chosen[i]].asked_nm for i in range(LINES))


def drawn(table: PredictionTable, seed: int = 0, **more: object) -> tuple[float, ...]:
    given = {"donors": ONE_DONOR, "drugs": ONE_DRUG, "before_nm": NO_DOSE} | more
    found = draw_order(table, CHOSEN, rng=np.random.default_rng(seed), **given)  # type: ignore[arg-type]
    return doses(table, dict(found.chosen))


def test_where_lines_are_alike_every_order_can_come_and_none_teaches_less() -> None:
    table = alike()
    seen = Counter(drawn(table, seed) for seed in range(300))
    assert len(seen) == 24 and max(seen.values()) < 30  # 12.5 expected, sd 3.5
    measure = LinearGaussian(table)
    least = AS_GOOD * measure.information(CHOSEN)
    for order in seen:
        chosen = {i: DOSES.index(nm) for i, nm in enumerate(order)}
        assert measure.information(chosen) >= least


def test_an_order_that_teaches_less_is_never_drawn() -> None:
    table = alike(better=3.0)
    best = {0: 3, 1: 1, 2: 2, 3: 0}
    found = {
        doses(
            table,
            dict(
                draw_order(
                    table, best, ONE_DONOR, ONE_DRUG, NO_DOSE, np.random.default_rng(seed)
                ).chosen
            ),
        )
        for seed in range(60)
    }
    assert {order[0] for order in found} == {30.0} and len(found) == 6


def test_an_order_that_costs_more_is_never_drawn() -> None:
    dear = tuple(np.array([0.0, 1.0, 2.0, 3.0]) * (5.0 if i == 1 else 1.0) for i in range(LINES))
    table = replace(alike(), cost=dear)
    chosen = {0: 3, 1: 0, 2: 1, 3: 2}
    found = {
        doses(table, dict(draw_order(table, chosen, ONE_DONOR, ONE_DRUG, NO_DOSE, rng).chosen))
        for rng in (np.random.default_rng(seed) for seed in range(40))
    }
    assert len(found) == 6 and {order[1] for order in found} == {0.0}


def test_a_dose_that_a_line_may_not_get_stays_away_from_it() -> None:
    table = alike()
    allowed = [np.ones(LINES, dtype=bool) for _ in range(LINES)]
    allowed[1][3] = False
    found = {drawn(replace(table, allowed=tuple(allowed)), seed) for seed in range(80)}
    assert all(order[1] != 30.0 for order in found) and len(found) == 18


def test_donors_are_spread_over_high_and_low_doses() -> None:
    donors = [("D1",), ("D1",), ("D2",), ("D2",)]
    for seed in range(30):
        order = drawn(alike(), seed, donors=donors)
        assert set(order[:2]) in ({0.0, 30.0}, {10.0, 20.0})


def test_lines_that_got_the_higher_doses_last_get_the_lower_ones() -> None:
    for seed in range(30):
        order = drawn(alike(), seed, before_nm=[30.0, 20.0, 10.0, 0.0])
        assert set(order[:2]) == {0.0, 10.0}


def test_doses_stay_within_their_drug() -> None:
    drugs = ["a", "a", "b", "b"]
    for seed in range(30):
        order = drawn(alike(), seed, drugs=drugs)
        assert set(order[:2]) == {0.0, 10.0}


def test_the_record_says_from_how_many_it_was_drawn_and_one_dose_for_all_is_no_draw() -> None:
    table = alike()
    found = draw_order(table, CHOSEN, ONE_DONOR, ONE_DRUG, NO_DOSE, np.random.default_rng(0))
    assert "drawn from 24 orders that teach as much" in found.sentence
    same = draw_order(
        table,
        dict.fromkeys(range(LINES), 2),
        ONE_DONOR,
        ONE_DRUG,
        NO_DOSE,
        np.random.default_rng(0),
    )
    assert same.sentence == "" and set(same.chosen.values()) == {2}


@pytest.mark.parametrize("seed", [0, 1])
def test_many_lines_are_drawn_too(seed: int) -> None:
    rng = np.random.default_rng(3)
    goal = rng.standard_normal(200)
    part = (goal[:, None] * np.linspace(0, 1, 10))[:, :, None]
    table = table_of([part] * 10, goal, 0.2 * np.eye(10))
    chosen = dict(enumerate(range(10)))
    found = draw_order(
        table, chosen, [("D1",)] * 10, ["a"] * 10, [0.0] * 10, np.random.default_rng(seed)
    )
    assert sorted(found.chosen.values()) == list(range(10)) and found.chosen != chosen

"""While the model is in doubt doses are spread out, within what is allowed and was read, with replicates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chiploop.errors import SafetyRefusal
from chiploop.spread_out import ladder, spread_out
from tests.chiploop.candidates import FakeTable, fake_table

DOSES = [0.0, *(float(f"{nm:.3g}") for nm in np.geomspace(3.0, 3000.0, 25))]
DONORS = {f"L{i}": ("D1", "D2") for i in range(1, 9)}


def given(table: FakeTable, seed: int = 0, **more: float) -> list[float]:
    found = spread_out(table, DONORS, seed, **more)
    return [table.programmes[i][k].delivered_nm for i, k in sorted(found.chosen.items())]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (1, [math.sqrt(3.0 * 3000.0)]),
        (2, [0.0, 3000.0]),
        (3, [0.0, 3000.0, 94.9]),
        (4, [0.0, 94.9, 94.9, 3000.0]),
        (6, [0.0, 16.9, 94.9, 94.9, 533.0, 3000.0]),
    ],
)
def test_the_ladder_goes_from_the_vehicle_up_in_equal_steps_with_replicates(
    lines: int, expected: list[float]
) -> None:
    assert sorted(ladder(DOSES[1:], lines)) == pytest.approx(sorted(expected), rel=0.01)


def test_eight_lines_have_six_rungs_and_two_replicates() -> None:
    found = ladder(DOSES[1:], 8)
    assert (len(found), len(set(found))) == (8, 6)
    steps = np.diff(np.log([3.0, *sorted({nm for nm in found if nm})]))
    assert steps == pytest.approx([steps[0]] * 5)


def test_without_an_allowed_drug_every_line_gets_the_vehicle() -> None:
    only = [[True] + [False] * 25] * 3
    assert given(fake_table(DOSES, [[0.0] * 26] * 3, only)) == [0.0] * 3


def test_only_allowed_candidates_are_given_and_no_step_goes_above_what_was_read() -> None:
    rng = np.random.default_rng(0)
    for seed in range(200):
        allowed = [[True, *(rng.random(25) < 0.4)] for _ in range(4)]
        table = fake_table(DOSES, [[0.0] * 26] * 4, allowed)
        found = spread_out(table, DONORS, seed, 480.0)
        for i, k in found.chosen.items():
            assert table.allowed[i][k]
            assert table.programmes[i][k].delivered_nm <= 480.0 * 1.02


def test_lines_are_drawn_by_the_seed_which_the_sentence_tells() -> None:
    table = fake_table(DOSES, [[0.0] * 26] * 4)
    assert given(table, 5) == given(table, 5)
    assert len({tuple(given(table, seed)) for seed in range(30)}) > 6
    assert all(sorted(given(table, seed)) == sorted(given(table, 0)) for seed in range(30))
    said = spread_out(table, DONORS, 5).sentence
    assert "the model is in doubt: spread-out doses near 0, 94.9, 3e+03 nM over 4 lines" in said
    assert "seed 5" in said


def test_the_risk_of_a_doubted_model_opens_nothing() -> None:
    allowed = [[True, *(nm <= 100.0 for nm in DOSES[1:])]] * 4
    assert max(given(fake_table(DOSES, [[0.0] * 26] * 4, allowed))) <= 100.0


def test_a_line_without_any_allowed_dose_is_refused() -> None:
    with pytest.raises(SafetyRefusal, match="no dose is allowed on L2"):
        given(fake_table([0.0, 10.0], [[0.0] * 2] * 2, [[True] * 2, [False] * 2]))

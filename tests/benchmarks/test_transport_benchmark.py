"""The table of permeabilities: what it simulates is what it says."""

from __future__ import annotations

from benchmarks.transport import cases, measured, viability_coverage


def test_the_grid_has_still_and_perfused_receivers_with_and_without_lag() -> None:
    found = cases()
    assert len({(case.name, case.p_app, case.lag_h) for case in found}) == len(found)
    assert {case.lag_h > 0.0 for case in found} == {True, False}


def test_a_row_is_near_what_it_claims() -> None:
    row = measured(cases()[2], 40)
    assert row["coverage"] > 0.85 and abs(row["bias"]) < 0.03
    assert row["one_shot"] < -0.02  # depletion and what goes back
    assert 0.85 < viability_coverage(0.5, 60) <= 1.0

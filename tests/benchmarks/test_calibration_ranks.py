"""Ranks of the truth in virtual studies: what is uniform passes, what is too narrow does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.calibration_ranks import narrowed, place, rejected, report, spread_p

DOCS = Path(__file__).parents[2] / "docs"
ROWS = sorted(DOCS.glob("calibration_ranks_*.jsonl"))


def test_uniform_places_pass_and_narrow_wide_or_shifted_ones_do_not() -> None:
    rng = np.random.default_rng(0)
    alarms = powers = 0
    for _ in range(200):
        uniform = rng.uniform(size=200)
        alarms += spread_p(uniform) < 0.01 or rejected(uniform) < 0.01
        powers += spread_p(narrowed(uniform, 0.8)) < 0.01
        assert spread_p(narrowed(uniform, 0.6)) < 1e-6
    assert alarms <= 12  # of 200 at twice 0.01
    assert powers >= 190
    assert rejected(0.5 + 0.5 * rng.uniform(size=200)) < 1e-6


def test_a_place_counts_particles_below_the_truth() -> None:
    values = np.arange(99.0)
    assert place(values, -1.0) == pytest.approx(0.005)
    assert place(values, 98.5) == pytest.approx(0.995)
    assert place(values, 49.0) == pytest.approx(0.5)


@pytest.mark.parametrize("rows", ROWS, ids=lambda path: path.stem)
def test_the_published_studies_are_uniform_and_would_not_be_if_posteriors_were_narrower(
    rows: Path,
) -> None:
    found = report(rows)
    assert found["failed"] == 0
    assert found["smallest_p"] > found["smallest_p_allowed"]
    # a posterior 20 % too narrow is rejected for nearly every parameter and for each goal on its own
    assert found["narrow_rejected"] > 0.5 * found["names"]
    for name, one in found["table"].items():
        assert one["narrow_p"] < 0.05, name

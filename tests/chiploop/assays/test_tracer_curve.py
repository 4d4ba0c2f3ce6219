"""A tracer's line: background, inner filter, errors that its samples share."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.assays.tracer_curve import TracerNoise, tracer_curve

LEVELS = np.repeat([0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0], 2)
NOISE = TracerNoise(0.03, 0.001)


def signals(bend: float = 0.0, rng: np.random.Generator | None = None) -> np.ndarray:
    clean = 180.0 * LEVELS / (1.0 + bend * LEVELS)
    noise = 0.0 if rng is None else rng.standard_normal(LEVELS.size) * np.hypot(5.0, 0.03 * clean)
    return 40.0 + clean + noise


def test_a_clean_line_gives_concentrations_back() -> None:
    line = tracer_curve(LEVELS, signals(), "ug/mL", NOISE)
    assert (line.background, line.slope) == pytest.approx((40.0, 180.0))
    assert line.concentration(np.array([220.0, 31.0]), 10.0) == pytest.approx([10.0, -0.5])
    assert line.qc == "ok" and line.linear_to == 30.0 and not line.left_out


def test_standards_that_fall_behind_the_line_are_left_out_and_bound_the_samples() -> None:
    line = tracer_curve(LEVELS, signals(bend=0.008, rng=np.random.default_rng(1)), "ug/mL", NOISE)
    assert line.left_out == (30.0,) and line.linear_to == 10.0
    assert any("inner filter" in note for note in line.notes)
    assert line.is_beyond(np.array([1500.0, 2600.0])).tolist() == [False, True]


def test_a_straight_line_keeps_its_standards_over_many_plates() -> None:
    kept = [
        tracer_curve(LEVELS, signals(rng=np.random.default_rng(seed)), "", NOISE).left_out == ()
        for seed in range(100)
    ]
    assert sum(kept) >= 97


def test_standards_without_background_or_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="background"):
        tracer_curve(LEVELS[2:], signals()[2:])
    with pytest.raises(ValueError, match="2 concentrations"):
        tracer_curve(LEVELS[:6], signals()[:6])
    with pytest.raises(ValueError, match="does not rise"):
        tracer_curve(LEVELS, 100.0 - LEVELS)


def test_what_samples_lean_on_the_line_is_its_covariance() -> None:
    line = tracer_curve(LEVELS, signals(rng=np.random.default_rng(2)), "", NOISE)
    read, dilution = np.array([2.0, 5.0]), np.array([1.0, 20.0])
    leans = line.leans(read, dilution)
    gradient = np.column_stack([-dilution / line.slope, -read * dilution / line.slope])
    by_hand = gradient @ line.covariance @ gradient.T
    wide = by_hand[0, 0] / (leans @ leans.T)[0, 0]
    assert leans @ leans.T * wide == pytest.approx(by_hand)
    assert 1.1 < wide**-0.5 < 1.15  # t of 12 degrees of freedom


def test_the_line_covers_what_it_says() -> None:
    """95 % of plates hold the true concentration of a well whose own noise is none."""
    inside = []
    for seed in range(300):
        line = tracer_curve(LEVELS, signals(rng=np.random.default_rng(seed)), "", NOISE)
        read = line.concentration(np.array([40.0 + 180.0 * 2.0]))
        inside.append(abs(read[0] - 2.0) < 1.96 * np.linalg.norm(line.leans(read)[0]))
    assert 0.92 < np.mean(inside) < 0.98

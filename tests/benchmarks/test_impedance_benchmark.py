"""The benchmark of impedance: its spectra, its bound, and that its parts run."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks import impedance as bench
from tests.chiploop.assays.spectra import point


def test_its_spectra_are_those_of_the_equation() -> None:
    geometry = bench.GEOMETRIES["one end, 10 x 1 x 0.2 mm"]
    parameters, area, k = bench.truth(geometry, 1000.0)
    hz = np.logspace(5, 0, 7)
    found = bench.drawn(parameters, k, hz, 0.0, np.random.default_rng(0)).impedance_ohm
    expected = [point(f, 1000.0 / area, 100.0, 2e-6 * area, 0.9, k) for f in hz]
    assert np.allclose(found, expected, rtol=1e-12)
    drifting = bench.drawn(parameters, 0.0, hz, 0.0, np.random.default_rng(0), 0.3).impedance_ohm
    assert drifting[-1] == pytest.approx(point(1.0, 1300.0 / area, 100.0, 2e-6 * area, 0.9))


def test_the_bound_falls_with_the_root_of_the_points_and_with_the_noise() -> None:
    parameters, _, k = bench.truth(None, 1000.0)
    hz = np.logspace(5, 0, 31)
    one = bench.smallest_sd(parameters, k, hz, 0.02)
    four = bench.smallest_sd(parameters, k, np.tile(hz, 4), 0.02)
    assert four == pytest.approx(one / 2)
    assert bench.smallest_sd(parameters, k, hz, 0.01) == pytest.approx(one / 2)


def test_the_field_belongs_into_the_circuit() -> None:
    for row in bench.field_rows():
        assert abs(row["field_in_circuit"]) < 1e-6 < 0.03 < row["lumped_then_inverted"]


def test_errors_meet_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "TEERS", (1000.0,))
    monkeypatch.setattr(bench, "SWEEPS", {"31 points, 1 Hz to 100 kHz": np.logspace(5, 0, 31)})
    for row in bench.error_rows(20, 0.02):
        assert row["fitted"] == 1.0 and abs(row["bias"]) < 0.01
        assert row["rms"] < 1.6 * row["smallest_sd"]
    (first, *_) = bench.coverage_rows(4, 0.02)
    assert first["n"] == 4 and math.isfinite(first["held"])

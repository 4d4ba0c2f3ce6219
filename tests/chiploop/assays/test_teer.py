"""TEER from spectra of a known circuit, with blanks, bad points and barriers that are gone."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from scipy.stats import norm

from chiploop.assays.teer import (
    BarrierBlank,
    blank_of_cell_free_chips,
    fit_barrier,
    teer_readout,
)
from chiploop.measurement import ImpedanceSpectrum

FREQUENCY = np.logspace(5, 0, 41)
BLANK = BarrierBlank(100.0, 5.0, origin="lot 7")


def spectrum(
    resistance: float,
    seed: int | None = 0,
    noise: float = 0.01,
    series: float = 200.0,
    alpha: float = 0.9,
) -> ImpedanceSpectrum:
    jw = 2j * math.pi * FREQUENCY
    z = series + resistance / (1 + resistance * 2e-6 * jw**alpha)
    if seed is not None:
        rng = np.random.default_rng(seed)
        error = rng.normal(size=FREQUENCY.size) + 1j * rng.normal(size=FREQUENCY.size)
        z = z + noise * np.abs(z) * error
    return ImpedanceSpectrum("C01", 48.0, FREQUENCY, z, (0,) * FREQUENCY.size)


@pytest.mark.parametrize("resistance", [150.0, 1000.0, 4700.0, 30000.0])
def test_a_clean_spectrum_gives_back_its_circuit(resistance: float) -> None:
    fit = fit_barrier(spectrum(resistance, seed=None))
    assert fit.qc == "ok"
    assert fit.resistance_ohm == pytest.approx(resistance, rel=1e-6)
    assert fit.series_ohm == pytest.approx(200.0, rel=1e-6)
    assert (fit.alpha, fit.cpe) == pytest.approx((0.9, 2e-6), rel=1e-6)


def test_the_interval_of_the_resistance_covers_and_a_narrow_one_does_not() -> None:
    n = 300
    scores = []
    for seed in range(n):
        fit = fit_barrier(spectrum(3000.0, seed, 0.02))
        scores.append((fit.resistance_ohm - 3000.0) / fit.resistance_sd_ohm)
    slack = 3 * math.sqrt(0.09 / n)
    limit = norm.ppf(0.95)
    assert abs(np.mean(np.abs(scores) <= limit) - 0.9) < slack
    assert abs(np.mean(np.abs(scores) <= 0.6 * limit) - 0.9) > slack


def test_teer_is_the_barrier_less_the_blank_times_the_area_with_both_sds() -> None:
    fit, one = teer_readout(spectrum(3000.0), BLANK, 0.33, cycle=2, raw_sha256="aa")
    assert one.value == pytest.approx((fit.resistance_ohm - 100.0) * 0.33)
    expected = math.hypot(fit.resistance_sd_ohm, 5.0) / (fit.resistance_ohm - 100.0)
    assert one.sd == pytest.approx(expected)
    assert (one.readout, one.unit, one.scale, one.qc) == ("TEER", "ohm cm2", "log", "ok")
    assert (one.chip_id, one.time_h, one.cycle, one.raw_sha256) == ("C01", 48.0, 2, "aa")
    assert "lot 7" in one.method and "geometry not corrected" in one.method


def test_a_blank_of_cell_free_chips_is_a_total_and_is_taken_from_the_total() -> None:
    ohmic = [
        ImpedanceSpectrum(f"F{i}", 0.0, FREQUENCY, np.full(41, 300.0 + i, dtype=complex))
        for i in range(3)
    ]
    blank = blank_of_cell_free_chips(ohmic)
    assert (blank.resistance_ohm, blank.sd_ohm, blank.includes_series) == (301.0, 1.0, True)
    _, one = teer_readout(spectrum(3000.0, seed=None), blank, 1.0)
    assert one.value == pytest.approx(3200.0 - 301.0, rel=1e-6)


def test_points_that_the_meter_marked_as_bad_do_not_count_and_are_said() -> None:
    good = spectrum(3000.0, seed=None)
    z = good.impedance_ohm.copy()
    z[5:8] *= 20.0
    status = [0] * 41
    status[5:8] = [1, 2, 4]
    marked = ImpedanceSpectrum("C01", 48.0, FREQUENCY, z, tuple(status))
    fit = fit_barrier(marked)
    assert fit.resistance_ohm == pytest.approx(3000.0, rel=1e-6)
    assert fit.reasons == ("3 of 41 points left out: marked as bad by the meter",)
    assert fit.n_points == 38
    _, one = teer_readout(ImpedanceSpectrum("C01", 48.0, FREQUENCY, z, (1,) * 41), BLANK, 0.33)
    assert one.qc == "fail" and math.isnan(one.value) and "0 good points" in one.reasons[-1]


def test_a_spectrum_of_another_circuit_fails_with_its_residual() -> None:
    base = spectrum(3000.0, seed=None)
    wild = base.impedance_ohm * (1 + 0.4 * np.sin(np.arange(41)))
    _, one = teer_readout(ImpedanceSpectrum("C01", 0.0, FREQUENCY, wild), BLANK, 0.33)
    assert one.qc == "fail" and math.isnan(one.value)
    assert any("relative residual" in reason for reason in one.reasons)


def test_a_barrier_that_is_not_above_the_blank_is_left_censored() -> None:
    _, one = teer_readout(spectrum(104.0), BLANK, 0.33)
    assert (one.censoring, one.qc) == ("left", "warn")
    assert math.isnan(one.value) and 0 < one.upper < 10.0
    assert "not above the blank" in one.reasons[-1]


@pytest.mark.parametrize("area", [0.0, -1.0, math.nan])
def test_a_missing_area_is_refused(area: float) -> None:
    with pytest.raises(ValueError, match="area"):
        teer_readout(spectrum(3000.0), BLANK, area)


def test_a_blank_without_an_sd_is_refused() -> None:
    with pytest.raises(ValueError, match="with its sd"):
        BarrierBlank(100.0, math.nan)


def test_a_fit_takes_less_than_30_ms() -> None:
    spectra = [spectrum(3000.0, seed) for seed in range(8)]
    fit_barrier(spectra[0])
    best = math.inf
    for one in spectra:
        start = time.perf_counter()
        fit_barrier(one)
        best = min(best, time.perf_counter() - start)
    assert best < 0.030

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


# --- one frequency


TOTAL_BLANK = BarrierBlank(200.0, 10.0, includes_series=True, origin="cell-free F1")


def at_one_frequency(
    resistance: float, hz: float, q: float = 2e-6, n: int = 1, noise: float = 0.0, seed: int = 0
) -> ImpedanceSpectrum:
    jw = 2j * math.pi * hz
    z = np.full(n, 200.0 + resistance / (1 + resistance * q * jw**0.9))
    z = z * (1 + noise * np.random.default_rng(seed).normal(size=n))
    return ImpedanceSpectrum("C01", 48.0, np.full(n, hz), z, (0,) * n)


def test_the_magnitude_at_12_5_hz_of_a_tight_barrier_is_35_percent_low_and_the_sd_says_so() -> None:
    _, one = teer_readout(at_one_frequency(10_000.0, 12.5), TOTAL_BLANK, 1.0)
    assert one.value == pytest.approx(6500.0, rel=0.01)
    assert one.value == pytest.approx(10_000.0 * math.exp(-one.sd), rel=0.06)
    assert one.qc == "warn"
    assert one.reasons[0] == "single frequency: electrode and medium resistance are not separated"
    assert "|Z| at 12.5 Hz" in one.method


@pytest.mark.parametrize("resistance", [3000.0, 10_000.0])
def test_1_khz_tells_a_tight_barrier_from_no_other_and_is_not_learned_from(
    resistance: float,
) -> None:
    spectrum = at_one_frequency(resistance, 1000.0)
    assert abs(spectrum.impedance_ohm[0]) - 200.0 < 160.0
    _, one = teer_readout(spectrum, TOTAL_BLANK, 1.0)
    # little of it is barrier: what is left is not above the blank, or bypassed
    assert one.qc == "fail" or one.censoring == "left"


def test_the_interval_of_one_frequency_covers_barriers_that_a_narrow_one_does_not() -> None:
    inside = narrow = n = refused = 0
    for resistance in (500.0, 1000.0, 2000.0, 4000.0, 8000.0):
        for q in (1e-6, 1.5e-6, 2e-6):
            for seed in range(20):
                spectrum = at_one_frequency(resistance, 12.5, q, 3, 0.05, seed)
                _, one = teer_readout(spectrum, TOTAL_BLANK, 1.0)
                if one.qc == "fail":  # more than a barrier of typical capacitance can show
                    assert resistance == 8000.0
                    refused += 1
                    continue
                error = abs(math.log(one.value / resistance))
                inside += error < 2.0 * one.sd
                narrow += error < 2.0 * 0.03
                n += 1
    assert refused < 30
    assert inside / n > 0.95
    assert narrow / n < 0.7


def test_a_blank_without_medium_and_electrodes_makes_a_wide_sd_and_a_total_a_narrow_one() -> None:
    spectrum = at_one_frequency(3000.0, 12.5)
    _, wide = teer_readout(spectrum, BLANK, 1.0)
    _, total = teer_readout(spectrum, TOTAL_BLANK, 1.0)
    assert wide.value == pytest.approx(total.value + 100.0)
    variance = [(one.sd * one.value) ** 2 for one in (wide, total)]
    assert variance[0] - variance[1] == pytest.approx(200.0**2 + 5.0**2 - 10.0**2)
    assert total.sd > 0.05


def test_repeats_give_their_median_and_a_marked_one_does_not_count() -> None:
    hz = np.full(4, 12.5)
    z = np.array([1000.0, 1010.0, 1020.0, 50_000.0], dtype=complex)
    spectrum = ImpedanceSpectrum("C01", 0.0, hz, z, (0, 0, 0, 2))
    fit, one = teer_readout(spectrum, BarrierBlank(0.0, 0.0, True), 0.5)
    assert (fit.total_ohm, fit.n_points) == (1010.0, 3)
    assert one.value == pytest.approx(505.0)
    assert "1 of 4 points left out: marked as bad by the meter" in one.reasons
    none = ImpedanceSpectrum("C01", 0.0, hz, z, (1, 1, 2, 2))
    _, failed = teer_readout(none, TOTAL_BLANK, 0.5)
    assert failed.qc == "fail" and math.isnan(failed.value)


def test_points_that_scatter_widen_the_sd() -> None:
    calm, wild = (at_one_frequency(1000.0, 12.5, n=5, noise=e, seed=3) for e in (0.0, 0.3))
    sds = [teer_readout(s, TOTAL_BLANK, 1.0)[1].sd for s in (calm, wild)]
    assert sds[1] > 1.5 * sds[0]


def test_a_blank_of_cell_free_chips_measured_at_the_same_frequency_is_a_total() -> None:
    cell_free = [at_one_frequency(1e-6, 12.5), at_one_frequency(2.0, 12.5)]
    blank = blank_of_cell_free_chips(cell_free)
    assert blank.includes_series and blank.resistance_ohm == pytest.approx(201.0, rel=1e-3)
    _, one = teer_readout(at_one_frequency(1000.0, 12.5), blank, 1.0)
    assert abs(math.log(one.value / 1000.0)) < 2.0 * one.sd


def test_a_barrier_that_is_gone_is_censored_at_one_frequency_too() -> None:
    _, one = teer_readout(at_one_frequency(10.0, 12.5), TOTAL_BLANK, 0.33)
    assert (one.censoring, one.qc) == ("left", "warn") and 0 < one.upper < 30.0


def test_a_sweep_with_one_good_point_is_still_a_sweep() -> None:
    good = spectrum(3000.0)
    status = (0,) + (2,) * 40
    _, one = teer_readout(
        ImpedanceSpectrum("C01", 0.0, FREQUENCY, good.impedance_ohm, status), BLANK, 0.33
    )
    assert one.qc == "fail" and "1 good points" in one.reasons[-1]

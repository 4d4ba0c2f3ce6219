"""False alarms, drift and outliers; the probabilities are exact for the noise that they assume."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chiploop.assays.barrier_circuit import circuit, fit_barrier
from chiploop.assays.kramers_kronig import (
    LIMITS,
    KramersKronigCheck,
    _below_zero,
    check_kramers_kronig,
)
from chiploop.measurement import ImpedanceSpectrum
from tests.chiploop.assays.spectra import a_spectrum


def checked(spectrum: ImpedanceSpectrum) -> KramersKronigCheck:
    fit = fit_barrier(spectrum)
    logs = [math.log(v) for v in (fit.series_ohm, fit.resistance_ohm, fit.cpe)]
    log_jw = np.log(2.0 * math.pi * spectrum.frequency_hz) + 0.5j * math.pi
    by_r = circuit(np.array([*logs, fit.alpha]), log_jw)[1][:, 1]
    return check_kramers_kronig(spectrum, by_r)


@pytest.mark.parametrize("alpha", [0.6, 0.8, 0.9, 1.0])
@pytest.mark.parametrize("resistance", [100.0, 1234.0, 20000.0])
def test_a_clean_arc_leaves_less_than_the_floor(alpha: float, resistance: float) -> None:
    check = check_kramers_kronig(a_spectrum(resistance, alpha=alpha))
    assert check.verdict == "ok" and check.rms < LIMITS.floor
    assert (check.n_points, check.n_elements) == (31, 19)


def test_the_noise_is_found_and_false_alarms_are_as_rare_as_said() -> None:
    checks = [checked(a_spectrum(noise=0.01, seed=seed)) for seed in range(160)]
    assert np.mean([one.noise for one in checks]) == pytest.approx(0.01, rel=0.03)
    # nominal 1 %: more than 6 of 160 happen once in a thousand
    assert sum(one.verdict == "flag" for one in checks) <= 6
    for p in (
        [one.order_p for one in checks],
        [one.drift_p for one in checks],
        [one.outlier_p for one in checks],
    ):
        assert 0.02 < np.mean(np.array(p) < 0.1) < 0.18


def test_a_drifting_spectrum_is_flagged_and_the_drift_is_told() -> None:
    quiet = [checked(a_spectrum(noise=0.002, seed=seed, drift=0.1)) for seed in range(40)]
    assert all(one.verdict == "flag" for one in quiet)
    assert np.mean([one.drift for one in quiet]) == pytest.approx(0.095, abs=0.01)
    noisy = [checked(a_spectrum(noise=0.01, seed=seed, drift=0.3)) for seed in range(60)]
    assert np.mean([one.verdict == "flag" for one in noisy]) > 0.6
    assert np.mean([one.drift for one in noisy]) == pytest.approx(0.26, abs=0.04)
    assert "R drifted by +" in next(one for one in noisy if one.verdict == "flag").reasons[-1]


def test_without_a_circuit_drift_is_told_of_z() -> None:
    check = check_kramers_kronig(a_spectrum(noise=0.002, drift=0.4))
    assert check.verdict == "flag" and check.drift_of == "Z"


def test_a_point_that_is_far_off_is_flagged() -> None:
    base = a_spectrum(noise=0.005)
    z = base.impedance_ohm.copy()
    z[15] *= 1.6
    check = check_kramers_kronig(ImpedanceSpectrum("C01", 0.0, base.frequency_hz, z))
    assert check.verdict == "flag" and check.outlier_hz == base.frequency_hz[15]
    assert any("stands out" in one for one in check.reasons)


def test_a_spectrum_of_noise_alone_is_flagged_by_its_size() -> None:
    check = check_kramers_kronig(a_spectrum(noise=0.1))
    assert any("relative residual" in one for one in check.reasons)


def test_order_and_drift_are_those_of_the_measurement_not_of_the_file() -> None:
    spectrum = a_spectrum(noise=0.002, drift=0.2)
    back = ImpedanceSpectrum("C01", 0.0, spectrum.frequency_hz[::-1], spectrum.impedance_ohm[::-1])
    assert checked(back).drift == pytest.approx(-checked(spectrum).drift, rel=1e-6)


@pytest.mark.parametrize("n", [3, 11])
def test_few_points_are_not_checked_and_it_is_said(n: int) -> None:
    check = check_kramers_kronig(a_spectrum(hz=np.logspace(5, 0, n)))
    assert check.verdict == "not_checked" and f"{n} good points" in check.reasons[0]


def test_one_frequency_is_not_checked() -> None:
    assert check_kramers_kronig(a_spectrum(hz=np.full(20, 12.5))).verdict == "not_checked"


def test_imhof_is_the_probability_that_draws_show() -> None:
    weights = np.array([1.0, 0.5, -0.3, -2.0, 0.7, -1.1, 0.2])
    draws = np.random.default_rng(0).normal(size=(200_000, 7)) ** 2 @ weights < 0.0
    assert _below_zero(weights) == pytest.approx(draws.mean(), abs=0.005)
    assert _below_zero(np.array([1.0, -1.0])) == pytest.approx(0.5, abs=1e-3)

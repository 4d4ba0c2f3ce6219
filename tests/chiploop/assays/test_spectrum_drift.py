"""A frequency that is measured again: what it flags, and what it can not see."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.assays.barrier_circuit import fit_barrier
from chiploop.assays.spectrum_drift import DriftCheck, check_drift, repeated_point
from chiploop.measurement import ImpedanceSpectrum
from tests.chiploop.assays.spectra import a_spectrum

UP = np.append(np.logspace(0, 5, 31), 1.0)
DOWN = np.append(np.logspace(5, 0, 31), 1e5)


def checked(spectrum: ImpedanceSpectrum) -> DriftCheck:
    return check_drift(spectrum, fit_barrier(spectrum))


def test_a_still_chip_is_flagged_as_rarely_as_said() -> None:
    checks = [checked(a_spectrum(noise=0.01, seed=s, hz=UP)) for s in range(200)]
    assert sum(one.verdict == "flag" for one in checks) <= 7
    assert 0.04 < np.mean([one.p < 0.1 for one in checks]) < 0.17


def test_a_low_frequency_measured_again_sees_the_drift() -> None:
    check = checked(a_spectrum(noise=0.01, hz=UP, drift=0.2))
    assert check.verdict == "flag" and check.frequency_hz == 1.0
    assert check.change == pytest.approx(0.2, abs=0.05)
    assert "1 Hz measured again" in check.reasons[0]


def test_a_high_frequency_measured_again_says_that_it_does_not_see_r() -> None:
    check = checked(a_spectrum(noise=0.01, hz=DOWN, drift=0.2))
    assert check.verdict == "blind" and check.unseen_resistance > 1.0
    assert "repeat a lower frequency" in check.reasons[0]


def test_what_would_go_unseen_is_what_just_goes_unseen() -> None:
    still = a_spectrum(noise=0.01, seed=4, hz=UP)
    unseen = checked(still).unseen_resistance
    assert 0.01 < unseen < 0.1
    flagged = [
        np.mean([
            checked(a_spectrum(noise=0.01, seed=s, hz=UP, drift=size * unseen)).verdict == "flag"
            for s in range(30)
        ])
        for size in (0.25, 3.0)
    ]  # fmt: skip
    assert flagged[0] < 0.3 and flagged[1] > 0.9


def test_a_sweep_without_a_repeat_is_not_measured() -> None:
    assert checked(a_spectrum(noise=0.01)).verdict == "not_measured"
    assert repeated_point(a_spectrum(hz=UP)) == (0, 31)
    assert repeated_point(a_spectrum(hz=np.full(4, 12.5))) == (0, 3)


def test_without_a_fit_a_change_of_more_than_5_percent_is_flagged() -> None:
    few = np.array([1.0, 10.0, 100.0, 1.0])
    assert checked(a_spectrum(hz=few, drift=0.2)).verdict == "flag"
    assert checked(a_spectrum(hz=few)).verdict == "ok"

"""The curve against R's own output, its inversion, and what it refuses."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from chiploop.assays.four_parameter_curve import fit_four_parameters
from chiploop.assays.plate_signal import NoiseModel


def dnase_run_1(shared_data: Path) -> tuple[np.ndarray, np.ndarray]:
    with (shared_data / "reference_curves" / "dnase_elisa.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["Run"] == "1"]
    return (
        np.array([float(row["conc"]) for row in rows]),
        np.array([float(row["density"]) for row in rows]),
    )


def test_the_unweighted_fit_is_that_of_r(shared_data: Path) -> None:
    with (shared_data / "reference_curves" / "reference_fits.csv").open() as file:
        r = {
            row["quantity"]: float(row["reference_printed"])
            for row in csv.DictReader(file)
            if row["case"] == "dnase_run1_4PL"
        }
    fit = fit_four_parameters(*dnase_run_1(shared_data))
    errors = fit.standard_errors
    ours = {
        "A": fit.lower,
        "B": fit.upper,
        "xmid": math.log(fit.ec50),
        "scal": 1 / fit.hill,
        "sigma": fit.residual_scale,
        "se_A": errors[0],
        "se_B": errors[1],
        "se_xmid": errors[2],
        "se_scal": errors[3] / fit.hill,
    }
    for name, value in ours.items():
        assert value == pytest.approx(r[name], abs=6e-6), name  # every printed digit
    assert fit.degrees_of_freedom == 12


def test_the_slope_of_the_inverse_is_that_of_finite_differences() -> None:
    concentration = np.repeat(1000.0 / 2.0 ** np.arange(8), 2)
    rng = np.random.default_rng(3)
    signal = 0.05 + 3 / (1 + (300 / concentration) ** 1.1) + 0.01 * rng.normal(size=16)
    fit = fit_four_parameters(concentration, signal, NoiseModel(0.01, 0.05))
    by_signal, _ = fit.ln_concentration_gradient(1.0)
    step = 1e-6
    difference = (fit.ln_concentration(1.0 + step) - fit.ln_concentration(1.0 - step)) / (2 * step)
    assert by_signal == pytest.approx(difference, rel=1e-6)


def test_signals_at_and_beyond_the_asymptotes_have_no_finite_concentration() -> None:
    concentration = np.repeat(1000.0 / 2.0 ** np.arange(8), 2)
    fit = fit_four_parameters(concentration, 0.05 + 3 / (1 + (300 / concentration) ** 1.1))
    assert fit.ln_concentration(fit.lower) == -math.inf
    assert fit.ln_concentration(fit.upper + 1.0) == math.inf
    assert fit.ec50 == pytest.approx(300.0, rel=1e-6)
    assert float(fit.signal(0.0)) == pytest.approx(0.05, abs=1e-6)


def test_standards_that_say_nothing_about_the_curve_are_a_failure_not_a_number() -> None:
    assert fit_four_parameters(np.array([1.0, 2, 4]), np.array([0.1, 0.2, 0.3])).failure
    flat = fit_four_parameters(np.repeat(2.0 ** np.arange(8), 2), np.full(16, 0.5))
    assert flat.failure and math.isnan(flat.ec50)


def test_a_wrong_argument_is_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        fit_four_parameters(np.array([-1.0, 2, 4, 8]), np.zeros(4))
    with pytest.raises(ValueError, match=r"\(n,\)"):
        fit_four_parameters(np.zeros(3), np.zeros(4))

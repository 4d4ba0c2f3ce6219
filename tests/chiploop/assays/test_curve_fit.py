"""Curve fits against what R, drc and drLumi print, and what they refuse.

Which standard errors are meant: DNase, Puromycin and FGF by J'J, ryegrass by the observed Hessian.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from chiploop.assays.curve_fit import fit_curve
from chiploop.assays.curve_weights import Weighting
from chiploop.assays.logistic_curve import HILL, LOCATION, LOWER, UPPER
from tests.chiploop.assays.reference_curves import (
    columns,
    dnase_run_1,
    fgf_standards,
    printed,
    rows_of,
)

CLOSE = 1e-4


def agree(ours: dict[str, float], theirs: dict[str, float], digits: dict[str, float]) -> None:
    """Assert 1e-4 of every number, or half a unit of its last printed digit where that is coarser."""
    for name, value in ours.items():
        assert value == pytest.approx(theirs[name], rel=CLOSE, abs=digits.get(name, 0.0)), name


def test_dnase_by_three_parameters_is_that_of_r(shared_data: Path) -> None:
    fit = fit_curve(*dnase_run_1(shared_data), "3pl")
    se = fit.standard_errors
    theirs = printed(shared_data, "dnase_run1_3PL")
    ours = {
        "Asym": fit.curve.upper,
        "se_Asym": se[UPPER],
        "xmid": fit.curve.parameters[LOCATION],
        "se_xmid": se[LOCATION],
        "scal": 1.0 / fit.curve.hill,
        "se_scal": se[HILL] / fit.curve.hill,
        "sigma": fit.residual_scale,
        "rss": fit.rss,
    }
    agree(ours, theirs, {"se_Asym": 5e-6, "se_xmid": 5e-6, "se_scal": 5e-6, "sigma": 5e-6})
    assert set(ours) == set(theirs) and fit.degrees_of_freedom == 13


def test_dnase_by_four_parameters_is_that_of_r(shared_data: Path) -> None:
    fit = fit_curve(*dnase_run_1(shared_data), "4pl")
    se = fit.standard_errors
    theirs = printed(shared_data, "dnase_run1_4PL")
    ours = {
        "A": fit.curve.lower,
        "se_A": se[LOWER],
        "B": fit.curve.upper,
        "se_B": se[UPPER],
        "xmid": fit.curve.parameters[LOCATION],
        "se_xmid": se[LOCATION],
        "scal": 1.0 / fit.curve.hill,
        "se_scal": se[HILL] / fit.curve.hill,
        "sigma": fit.residual_scale,
        "rss": fit.rss,
    }
    agree(ours, theirs, {"sigma": 5e-6})
    assert set(ours) == set(theirs) and fit.degrees_of_freedom == 12


def test_ryegrass_is_that_of_drc_with_errors_by_the_observed_hessian(shared_data: Path) -> None:
    fit = fit_curve(*columns(rows_of(shared_data, "ryegrass.csv"), "conc", "rootl"), "4pl")
    se = np.sqrt(np.diag(fit.observed_covariance))
    curve = fit.curve
    theirs = printed(shared_data, "ryegrass_LL4")
    ours = {
        "b": curve.hill,
        "se_b": se[HILL] * curve.hill,
        "c": curve.lower,
        "se_c": se[LOWER],
        "d": curve.upper,
        "se_d": se[UPPER],
        "e": curve.location,
        "se_e": se[LOCATION] * curve.location,
        "sigma": fit.residual_scale,
    }
    assert curve.direction == -1
    t = 2.0859634  # of 20 degrees of freedom
    for part in (10, 50, 90):  # of the fall from the upper asymptote
        height = 1.0 - part / 100.0
        dose = math.exp(curve.ln_concentration_at(height))
        gradient = curve.ln_height_gradient(height)
        error = dose * math.sqrt(gradient @ fit.observed_covariance @ gradient)
        ours |= {
            f"ED{part}": dose,
            f"se_ED{part}": error,
            f"ED{part}_delta_lo": dose - t * error,
            f"ED{part}_delta_hi": dose + t * error,
        }
    agree(ours, theirs, {})
    assert set(ours) == set(theirs)
    by_jacobian = fit.standard_errors
    assert abs(by_jacobian[HILL] / se[HILL] - 1.0) > 0.01, "the two errors are not the same thing"


def test_back_fit_of_means_is_that_of_drc(shared_data: Path) -> None:
    conc, root = columns(rows_of(shared_data, "ryegrass.csv"), "conc", "rootl")
    curve = fit_curve(conc, root, "4pl").curve
    theirs = printed(shared_data, "ryegrass_LL4_backfit")
    ours = {
        name: math.exp(
            curve.ln_concentration(float(np.mean(root[conc == float(name.split("=")[1])])))
        )
        for name in theirs
    }
    assert len(ours) == 5
    agree(ours, theirs, {})


def test_five_parameters_on_ryegrass_come_within_three_per_mille_on_a_flat_ridge(
    shared_data: Path,
) -> None:
    fit = fit_curve(*columns(rows_of(shared_data, "ryegrass.csv"), "conc", "rootl"), "5pl")
    assert fit.residual_scale == pytest.approx(0.5270098, rel=1e-6)  # printed by drc
    assert fit.curve.asymmetry == pytest.approx(0.468, rel=3e-3)


@pytest.mark.parametrize(
    ("taken_at", "case"),
    [("objective", "puromycin_objective_weighting"), ("fitted", "puromycin_IRLS_fixed_point")],
)
def test_puromycin_depends_on_where_its_weights_are_taken(
    shared_data: Path, taken_at: str, case: str
) -> None:
    points = columns(rows_of(shared_data, "puromycin_treated.csv"), "conc", "rate")
    # Michaelis-Menten is 3PL with slope 1; weights 1/f are an exponent of the sd of a half.
    fit = fit_curve(*points, "3pl", Weighting("power", 0.5, taken_at), held={HILL: 0.0})  # type: ignore[arg-type]
    ours = {
        "Vm": fit.curve.upper,
        "K": fit.curve.location,
        "se_Vm": fit.standard_errors[UPPER],
        "se_K": fit.standard_errors[LOCATION] * fit.curve.location,
    }
    theirs = printed(shared_data, case)
    # se are printed to three digits
    agree({name: ours[name] for name in theirs}, theirs, {"se_Vm": 5e-3, "se_K": 5e-6})
    assert taken_at in fit.weighting.name or "renewed" in fit.weighting.name


def test_luminex_fgf_is_that_of_drlumi(shared_data: Path) -> None:
    fit = fit_curve(*fgf_standards(shared_data), "4pl")
    se, curve = fit.standard_errors, fit.curve
    n = fit.y.size
    unexplained = fit.rss / float(np.sum((fit.y - fit.y.mean()) ** 2))
    ours = {
        "b": -curve.hill,
        "se_b": se[HILL] * curve.hill,
        "c": curve.lower,
        "se_c": se[LOWER],
        "d": curve.upper,
        "se_d": se[UPPER],
        "e": curve.parameters[LOCATION] / math.log(10.0),
        "se_e": se[LOCATION] / math.log(10.0),
        "R2_adj": 1.0 - unexplained * (n - 1) / (n - 4 - 1),  # four regressors beside a constant
    }
    theirs = printed(shared_data, "luminex_FGF_log10_4PL")
    agree(ours, theirs, {})
    assert set(ours) == set(theirs)


@pytest.mark.parametrize("model", ["3pl", "4pl", "5pl"])
@pytest.mark.parametrize("direction", [1, -1])
def test_a_curve_without_noise_is_found_from_the_plates_own_quantiles(
    model: str, direction: int
) -> None:
    from chiploop.assays.logistic_curve import LogisticCurve

    asymmetry = 0.5 if model == "5pl" else 1.0
    lower = 0.0 if model == "3pl" else 0.07
    truth = LogisticCurve(
        np.array([lower, 2.9, math.log(140.0), math.log(1.6), math.log(asymmetry)]), direction
    )
    concentration = np.concatenate([[0.0, 0.0], np.repeat(4.0 * 2.0 ** np.arange(12), 2)])
    fit = fit_curve(concentration, truth.signal(concentration), model)  # type: ignore[arg-type]
    assert not fit.failure and fit.curve.direction == direction
    assert fit.curve.parameters == pytest.approx(truth.parameters, abs=1e-6)
    assert fit.curve.ec50 == pytest.approx(truth.ec50, rel=1e-6)
    assert float(truth.signal(truth.ec50)) == pytest.approx((lower + 2.9) / 2.0, rel=1e-9)


def test_weights_differ_by_name_and_by_answer() -> None:
    rng = np.random.default_rng(4)
    concentration = np.repeat(4.0 * 2.0 ** np.arange(9), 2)
    clean = 0.05 + 3.0 / (1.0 + (150.0 / concentration) ** 1.2)
    signal = clean * (1.0 + 0.05 * rng.normal(size=clean.size))
    found = {}
    for taken_at in ("fitted", "observed", "objective"):
        fit = fit_curve(concentration, signal, "4pl", Weighting("1/y2", None, taken_at))  # type: ignore[arg-type]
        found[fit.weighting.name] = round(fit.curve.ec50, 6)
    assert len(found) == 3 and len(set(found.values())) == 3


def test_the_scale_of_a_constant_cv_is_that_cv() -> None:
    concentration = np.repeat(4.0 * 2.0 ** np.arange(9), 2)
    clean = 0.05 + 3.0 / (1.0 + (150.0 / concentration) ** 1.2)
    squares = []
    for seed in range(40):
        noisy = clean * (1.0 + 0.05 * np.random.default_rng(seed).normal(size=clean.size))
        squares.append(
            fit_curve(concentration, noisy, "4pl", Weighting("1/y2")).residual_scale ** 2
        )
    three_errors = 3.0 * math.sqrt(2.0 / (14 * 40))  # of a variance from 40 plates of 14 degrees
    assert np.mean(squares) / 0.05**2 == pytest.approx(1.0, abs=three_errors)


def test_points_that_say_nothing_about_the_curve_are_a_failure_not_a_number() -> None:
    few = fit_curve(np.array([1.0, 2, 4]), np.array([0.1, 0.2, 0.3]))
    assert "3 levels and 3 points" in few.failure and math.isnan(few.curve.upper)
    flat = fit_curve(np.repeat(2.0 ** np.arange(8), 2), np.full(16, 0.5))
    assert flat.failure and math.isnan(flat.curve.upper)


def test_a_wrong_argument_is_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        fit_curve(np.array([-1.0, 2, 4, 8]), np.zeros(4))
    with pytest.raises(ValueError, match=r"\(n,\)"):
        fit_curve(np.zeros(3), np.zeros(4))
    rising = 2.0 ** np.arange(8)
    with pytest.raises(ValueError, match="the lowest is -1"):
        fit_curve(rising, rising - 2.0, "4pl", Weighting("1/y2", None, "observed"))


def test_every_printed_number_of_the_reference_has_its_test(shared_data: Path) -> None:
    rows = rows_of(shared_data, "reference_fits.csv")
    assert len(rows) == 84
    # Seven of them here; the inverse estimates in test_inverse_estimate.
    assert {row["case"] for row in rows} == {
        "dnase_run1_3PL",
        "dnase_run1_4PL",
        "ryegrass_LL4",
        "ryegrass_LL4_backfit",
        "puromycin_objective_weighting",
        "puromycin_IRLS_fixed_point",
        "luminex_FGF_log10_4PL",
        "luminex_FGF_inverse",
    }

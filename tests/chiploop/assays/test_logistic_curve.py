"""The curve itself: derivatives, inverse, and the vendor's 5PL."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from chiploop.assays.logistic_curve import LogisticCurve, value_and_jacobian
from tests.chiploop.assays.reference_curves import rows_of

CURVES = [
    LogisticCurve(np.array([0.07, 2.9, math.log(140.0), math.log(1.6), math.log(g)]), direction)
    for g in (1.0, 0.4, 2.5)
    for direction in (1, -1)
]
X = np.log(np.array([0.5, 20.0, 140.0, 900.0, 30_000.0]))


@pytest.mark.parametrize("curve", CURVES)
def test_derivatives_are_those_of_finite_differences(curve: LogisticCurve) -> None:
    value, jacobian = value_and_jacobian(curve.parameters, X, curve.direction)
    for i in range(5):
        step = np.zeros(5)
        step[i] = 1e-6
        up = value_and_jacobian(curve.parameters + step, X, curve.direction)[0]
        down = value_and_jacobian(curve.parameters - step, X, curve.direction)[0]
        assert jacobian[:, i] == pytest.approx((up - down) / 2e-6, abs=1e-8)
    rise = (curve.signal_at(X + 1e-6) - curve.signal_at(X - 1e-6)) / 2e-6
    assert curve.slope_at(X) == pytest.approx(rise, abs=1e-8)
    assert value == pytest.approx(curve.signal(np.exp(X)))


@pytest.mark.parametrize("curve", CURVES)
def test_the_inverse_undoes_the_curve_and_its_gradient_is_right(curve: LogisticCurve) -> None:
    for x in X[1:4]:
        signal = float(curve.signal_at(x))
        assert curve.ln_concentration(signal) == pytest.approx(x, abs=1e-9)
        by_signal, by_parameters = curve.ln_concentration_gradient(signal)
        there = curve.ln_concentration(signal + 1e-7) - curve.ln_concentration(signal - 1e-7)
        assert by_signal == pytest.approx(there / 2e-7, rel=1e-5)
        for i in range(5):
            step = np.zeros(5)
            step[i] = 1e-6
            ends = [
                LogisticCurve(curve.parameters + sign * step, curve.direction).ln_concentration(
                    signal
                )
                for sign in (1.0, -1.0)
            ]
            assert by_parameters[i] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("curve", CURVES)
def test_the_gradient_of_a_part_of_the_height_is_right(curve: LogisticCurve) -> None:
    for height in (0.1, 0.5, 0.9):
        gradient = curve.ln_height_gradient(height)
        for i in range(5):
            step = np.zeros(5)
            step[i] = 1e-6
            ends = [
                LogisticCurve(curve.parameters + sign * step, curve.direction).ln_concentration_at(
                    height
                )
                for sign in (1.0, -1.0)
            ]
            assert gradient[i] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-6)


@pytest.mark.parametrize("direction", [1, -1])
def test_signals_at_and_beyond_the_asymptotes_have_no_finite_concentration(direction: int) -> None:
    curve = LogisticCurve(np.array([0.05, 3.0, math.log(300.0), 0.1, 0.0]), direction)
    assert curve.ln_concentration(3.0) == direction * math.inf
    assert curve.ln_concentration(9.9) == direction * math.inf
    assert curve.ln_concentration(0.05) == -direction * math.inf
    assert curve.ln_concentration(-1.0) == -direction * math.inf
    assert float(curve.signal(0.0)) == (0.05 if direction > 0 else 3.0)
    assert np.all(np.isfinite(curve.jacobian_at(np.array([-math.inf, math.inf, -1e9, 1e9]))))


def test_the_vendors_five_parameters_give_back_its_printed_results(shared_data: Path) -> None:
    curves = {
        row["analyte"]: LogisticCurve(
            np.array(
                [
                    float(row["A"]),
                    float(row["A"]) + float(row["B"]),
                    math.log(float(row["C"])),
                    math.log(-float(row["D"])),
                    math.log(float(row["F"])),
                ]
            )
        )
        for row in rows_of(shared_data, "luminex_vendor_5pl.csv")
    }
    assert len(curves) == 30
    errors, censored = [], 0
    for row in rows_of(shared_data, "luminex_vendor_results.csv"):
        try:
            printed = float(row["result_as_printed"])
        except ValueError:
            censored += 1
            continue
        if not math.isfinite(printed):
            censored += 1
            continue
        ours = math.exp(curves[row["analyte"]].ln_concentration(float(row["net_mfi"])))
        errors.append(abs(float(row["dilution"]) * ours / printed - 1.0))
    print(f"{len(errors)} printed results, median {np.median(errors):.2g}, worst {max(errors):.2g}")
    assert len(errors) + censored == 840 and len(errors) > 600
    assert np.median(errors) < 1e-4
    assert max(errors) < 7e-3

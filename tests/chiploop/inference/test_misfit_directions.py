"""Flaws planted into the data of a hand-made study are found by the directions that are meant for them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from chiploop.inference.misfit import Finding, MisfitVerdict, misfit_verdict
from chiploop.inference.misfit_directions import (
    FAMILY_WEIGHTS,
    ResidualRows,
    dose_axis,
    smooth,
    suspicions,
)

DOSES = (0.0, 30.0, 120.0, 480.0)
DONORS = ("D1", "D2")
TIMES = np.arange(24.0, 241.0, 24.0)
CHIP_SD, READING_SD = 0.05, 0.02
RATE, EFFECT, POTENCY = 0.02, 1.0, 90.0
"""1/h, of ln readout, nM: what the hand-made tissue does."""


def curve(
    time_h: np.ndarray,
    dose_nm: np.ndarray,
    potency: np.ndarray | float = POTENCY,
    rate: float = RATE,
    delay_h: float = 0.0,
) -> np.ndarray:
    """Return ln readout: it falls by the stimulus, less so under the drug."""
    since = np.maximum(time_h - delay_h, 0.0)
    return np.asarray(7.0 - EFFECT / (1.0 + dose_nm / potency) * (1.0 - np.exp(-rate * since)))


@dataclass(frozen=True)
class HandMade:
    """Rows of two readouts of eight chips, and the derivatives by what is estimated and what is fixed."""

    rows: ResidualRows
    by_parameter: dict[str, np.ndarray]
    by_constant: dict[str, np.ndarray]


def hand_made(doses: tuple[float, ...] = DOSES, donors: tuple[str, ...] = DONORS) -> HandMade:
    """TEER follows the curve, CCL26 stays at its level. Estimated: level and potency; fixed: rate."""
    keys = [
        (readout, dose, donor, time)
        for readout in ("TEER", "CCL26")
        for dose in doses
        for donor in donors
        for time in TIMES
    ]
    readout = [key[0] for key in keys]
    dose, time = np.array([key[1] for key in keys]), np.array([key[3] for key in keys])
    is_teer = np.array([name == "TEER" for name in readout])
    chip = np.array([f"{r} {d:g} {who}" for r, d, who, _ in keys])
    covariance = READING_SD**2 * np.eye(len(keys)) + CHIP_SD**2 * (chip[:, None] == chip)

    def teer(values: np.ndarray) -> np.ndarray:
        return np.where(is_teer, values, 0.0)

    step = 1e-6
    rows = ResidualRows(
        readout=readout,
        donor=[key[2] for key in keys],
        time_h=time,
        dose_nm=dose,
        predicted=np.where(is_teer, curve(time, dose), 4.0),
        slope_per_h=teer(curve(time, dose) - curve(time - 1.0, dose)),
        sd=np.full(len(keys), np.hypot(READING_SD, CHIP_SD)),
        factor=np.linalg.cholesky(covariance),
    )
    up, down = POTENCY * np.exp(step), POTENCY * np.exp(-step)
    by_potency = teer((curve(time, dose, up) - curve(time, dose, down)) / (2 * step))
    faster, slower = RATE * np.exp(step), RATE * np.exp(-step)
    by_rate = teer((curve(time, dose, rate=faster) - curve(time, dose, rate=slower)) / (2 * step))
    return HandMade(rows, {"level": np.ones(len(keys)), "potency": by_potency}, {"rate": by_rate})


STUDY = hand_made()


def verdict(study: HandMade, change: np.ndarray, seed: int = 0) -> MisfitVerdict:
    """Return the verdict on data off the prediction by noise and a change (m,) on the residual's scale."""
    rows = study.rows
    noise = np.random.default_rng(seed).standard_normal(len(change))
    r = rows.standardised(change[:, None])[:, 0] + noise
    slopes = np.column_stack(list(study.by_parameter.values()))
    jacobian = -rows.standardised(slopes * 0.8)  # lognormal priors with ln sd 0.8
    z = np.linalg.solve(jacobian.T @ jacobian + np.eye(jacobian.shape[1]), -jacobian.T @ r)
    return misfit_verdict(
        r + jacobian @ z,
        z,
        jacobian,
        suspicions(rows, study.by_parameter, study.by_constant),
        np.random.default_rng(1),
        FAMILY_WEIGHTS,
        draws=400,
    )


def named(found: MisfitVerdict, name: str) -> Finding:
    return next(finding for finding in found.findings if finding.name == name)


def teer_change(values: np.ndarray) -> np.ndarray:
    return np.where(np.array(STUDY.rows.readout) == "TEER", values, 0.0)


@pytest.mark.parametrize("delay_h", [10.0, -6.0])
def test_a_readout_that_comes_late_or_early_is_found_with_sign_and_size(delay_h: float) -> None:
    rows = STUDY.rows
    late = curve(rows.time_h, rows.dose_nm, delay_h=delay_h)
    found = verdict(STUDY, teer_change(late - curve(rows.time_h, rows.dose_nm)))
    assert found.fires
    lag = named(found, "TEER lags")
    assert abs(lag.size - delay_h) < 3.0 * lag.size_sd
    assert abs(lag.size + delay_h) > 6.0 * lag.size_sd
    assert named(found, "TEER lags").p_value < 1e-4
    assert found.test_p.get("CCL26 lags", 1.0) > 0.01


def test_a_fixed_constant_with_another_value_is_found_with_its_size() -> None:
    rows = STUDY.rows
    moved = curve(rows.time_h, rows.dose_nm, rate=RATE * np.exp(0.2)) - rows.predicted
    found = verdict(STUDY, teer_change(moved))
    assert found.fires
    constant = named(found, "fixed constant rate")
    assert abs(constant.size - 0.2) < 3.0 * constant.size_sd
    assert constant.p_value < 1e-4


def test_a_parameter_that_differs_between_donors_is_found() -> None:
    rows = STUDY.rows
    potency = np.where(np.array(rows.donor) == "D1", POTENCY * 1.6, POTENCY / 1.6)
    found = verdict(STUDY, teer_change(curve(rows.time_h, rows.dose_nm, potency) - rows.predicted))
    assert found.fires
    assert min(found.test_p, key=found.test_p.__getitem__) == "potency between donors"


def test_a_parameter_that_drifts_is_found() -> None:
    rows = STUDY.rows
    potency = POTENCY * np.exp(0.6 * (rows.time_h - 132.0) / 108.0)
    found = verdict(STUDY, teer_change(curve(rows.time_h, rows.dose_nm, potency) - rows.predicted))
    assert found.fires
    assert named(found, "potency in time").p_value < 1e-3


def test_a_trend_over_dose_that_no_parameter_makes_is_found_where_it_is() -> None:
    rows = STUDY.rows
    is_ccl26 = np.array(rows.readout) == "CCL26"
    bump = np.where(is_ccl26 & (rows.dose_nm == 30.0), 0.25, 0.0)
    found = verdict(STUDY, bump)
    assert found.fires
    assert named(found, "CCL26 against dose").p_value < 1e-3
    assert named(found, "TEER against dose").p_value > 0.01


def test_without_a_flaw_it_fires_seldom() -> None:
    nothing = np.zeros(len(STUDY.rows.readout))
    fired = sum(verdict(STUDY, nothing, seed).fires for seed in range(60))
    assert fired <= 10  # 60 studies at 0.07: more than 10 has probability 0.003


# --- what can not be asked is not asked


def test_without_doses_or_with_one_donor_nothing_is_asked_of_them() -> None:
    alone = hand_made(doses=(0.0,), donors=("D1",))
    names = [s.name for s in suspicions(alone.rows, alone.by_parameter, alone.by_constant)]
    assert not [name for name in names if "dose" in name or "between donors" in name]
    assert "TEER lags" in names


def test_a_readout_that_does_not_move_has_no_lag() -> None:
    names = [s.name for s in suspicions(STUDY.rows, STUDY.by_parameter, STUDY.by_constant)]
    assert "CCL26 lags" not in names
    assert "CCL26 against time" in names


def test_directions_are_turned_by_the_readings_covariance() -> None:
    rows = STUDY.rows
    wanted = np.random.default_rng(0).standard_normal((len(rows.readout), 3))
    assert np.allclose(rows.standardised(rows.factor @ wanted), wanted)


def test_polynomials_never_have_more_bends_than_there_are_levels() -> None:
    assert smooth(np.array([24.0, 24.0, 48.0]), 3).shape == (3, 2)
    assert smooth(np.full(3, 24.0), 3).shape == (3, 1)
    assert smooth(np.array([0.0, 1.0, 2.0, 3.0]), 2).shape == (4, 3)


def test_the_vehicle_stands_a_factor_three_below_the_lowest_dose() -> None:
    assert np.allclose(np.exp(dose_axis(np.array([0.0, 30.0, 300.0]))), [10.0, 30.0, 300.0])
    assert (dose_axis(np.zeros(3)) == 0.0).all()


def test_rows_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="rows of unequal length"):
        replace(STUDY.rows, time_h=STUDY.rows.time_h[:-1])

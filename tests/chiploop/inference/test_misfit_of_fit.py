"""The gate on the demo study's own model: its derivatives against plain simulations, and planted flaws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chiploop.errors import FitNotAccepted
from chiploop.inference import recalibrate as recalibrate_module
from chiploop.inference.likelihood import Likelihood
from chiploop.inference.misfit import MisfitVerdict
from chiploop.inference.misfit_of_fit import (
    dose_at,
    effects_at,
    fixed_constants,
    misfit_of,
    predicted_earlier,
    residual_rows,
)
from chiploop.inference.prior import Prior
from chiploop.inference.search import search
from chiploop.inference.target import Target
from chiploop.measurement import Readout
from chiploop.models.study_model import model_of
from chiploop.next_exposure import likelihood_of
from tests.chiploop.campaigns import PASSED, STUDY, given, pilot, readings

SECOND = dict(zip(STUDY.line_ids, (120.0, 480.0, 0.0, 30.0), strict=True))
THIRD = dict(zip(STUDY.line_ids, (480.0, 0.0, 30.0, 120.0), strict=True))
CAMPAIGN = given(given(pilot(), SECOND, 2), THIRD, 3)
MODEL = model_of(STUDY)
PRIOR = Prior.of_study(MODEL, STUDY)
PLANNED = tuple(r for cycle in (1, 2, 3) for r in readings(STUDY, cycle))


def likelihood(readouts: tuple[Readout, ...]) -> Likelihood:
    return likelihood_of(STUDY, CAMPAIGN.schedules, readouts)


TARGET = Target(likelihood(PLANNED), PRIOR)
CENTER = np.zeros(TARGET.dims)


def readouts_at(later_h: float = 0.0, seed: int = 0, **factors: float) -> tuple[Readout, ...]:
    """Return readouts of the prior's middle with noise, TEER ``later_h`` late, constants times factors."""
    at = TARGET.likelihood
    parameters = TARGET.unknowns.prior.parameters(np.zeros((1, len(PRIOR.specs))))
    chips = {name: np.full(len(at.inlets), factor) for name, factor in factors.items()}
    now, before = (
        MODEL.simulate(
            parameters, at.inlets, at.times_h - back, at.window_starts_h - back, chip_factors=chips
        ).readouts[0]
        for back in (0.0, later_h)
    )
    rng = np.random.default_rng(seed)
    found = []
    for i, readout in enumerate(at.used):
        values = before if readout.readout == "TEER" else now
        value = values[at.rows.chip[i], at.rows.time[i], at.rows.readout[i]]
        sd = np.hypot(readout.sd, at.scatter.reading.get(readout.readout, 0.0))
        noise = sd * rng.standard_normal()
        value = value * np.exp(noise) if readout.scale == "log" else value + noise
        found.append(replace(readout, value=float(value)))
    return tuple(found)


def verdict(readouts: tuple[Readout, ...]) -> MisfitVerdict:
    target = Target(likelihood(readouts), PRIOR)
    mode = search(target, CENTER[None]).modes[0]
    return misfit_of(target, mode, np.random.default_rng(1))


@pytest.mark.parametrize("name", ["IC50", "kB", "ks", "PS_drug", "R_leak"])
def test_effects_agree_with_plain_differences(name: str) -> None:
    at, step = TARGET.likelihood, 1e-3
    parameters = PRIOR.parameters(np.zeros((1, len(PRIOR.specs))))
    up, down = (
        at.plain_means(
            MODEL.simulate(
                parameters,
                at.inlets,
                at.times_h,
                at.window_starts_h,
                chip_factors={name: np.full(len(at.inlets), np.exp(sign * step))},
            ).readouts[:, at.rows.chip, at.rows.time, at.rows.readout]
        )[0]
        for sign in (1.0, -1.0)
    )
    _, effects = effects_at(TARGET, CENTER, (name,))
    moving = up != down
    assert moving.any()
    # each simulation errs by 1e-5 of a readout at the usual tolerance, so their difference by 1e-2 of the step
    assert np.allclose(effects[:, 0], (up - down) / (2 * step), rtol=0.02, atol=0.01)


def test_every_constant_of_the_text_but_a_donors_own_can_be_suspected() -> None:
    names = fixed_constants(MODEL)
    assert {"ks", "S0", "kp", "KF", "PS_drug", "K_pw", "V_ch", "k_c4"} <= set(names)
    assert not {"phi", "IC50", "kB", "Q", "D_in"} & set(names)


def test_an_hour_earlier_is_an_hour_earlier_for_moments_and_windows() -> None:
    shifted = tuple(
        replace(
            r,
            time_h=r.time_h - 1.0,
            window_start_h=None if r.window_start_h is None else r.window_start_h - 1.0,
        )
        for r in PLANNED
    )
    other = Target(likelihood(shifted), PRIOR)
    expected = other.likelihood.plain_means(other.predicted(CENTER[None]))[0]
    earlier, back_h = predicted_earlier(TARGET, CENTER)
    assert (back_h == 1.0).all()
    assert np.allclose(earlier, expected, atol=1e-4)


def test_what_begins_with_the_study_is_not_moved_before_it() -> None:
    first = replace(PLANNED[0], time_h=0.25)
    target = Target(likelihood((first, *PLANNED[1:])), PRIOR)
    _, back_h = predicted_earlier(target, CENTER)
    assert back_h[0] == pytest.approx(0.25)
    assert (back_h[1:] == 1.0).all()


def test_effects_are_had_where_a_pump_ended_a_rounding_before_the_last_reading() -> None:
    whole, _ = effects_at(TARGET, CENTER, ("IC50",))
    shorter = Target(likelihood(PLANNED), PRIOR)
    inlets = shorter.likelihood.inlets
    edges = inlets[0].edges_h.copy()
    assert edges[-1] == shorter.likelihood.times_h.max()
    edges[-1] = np.nextafter(edges[-1], 0.0)
    shorter.likelihood.inlets = [replace(inlets[0], edges_h=edges), *inlets[1:]]
    predicted, _ = effects_at(shorter, CENTER, ("IC50",))
    np.testing.assert_allclose(predicted, whole, rtol=1e-9)


def test_a_fit_whose_misfit_can_not_be_looked_at_is_not_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nowhere(*_: object) -> MisfitVerdict:
        raise FitNotAccepted("model skin_chip can not be simulated beside the mode")

    monkeypatch.setattr(recalibrate_module, "misfit_of", nowhere)
    mode = search(TARGET, CENTER[None]).modes[0]
    info = recalibrate_module.with_misfit(PASSED, TARGET, mode, np.random.default_rng(1))
    assert not info.passed
    assert "beside the mode" in info.failures[-1]


def test_rows_stand_in_the_order_of_the_residuals_and_leave_out_what_is_censored() -> None:
    censored = replace(PLANNED[2], value=np.nan, censoring="left", upper=7.8)
    target = Target(likelihood((*PLANNED[:2], censored, *PLANNED[3:])), PRIOR)
    predicted, _ = effects_at(target, CENTER, ())
    rows = residual_rows(target, CENTER, predicted)
    used = [target.likelihood.used[i] for i in target.likelihood.row_of]
    assert len(rows.readout) == len(PLANNED) - 1
    assert list(rows.readout) == [r.readout for r in used[:-1]]
    assert np.array_equal(rows.time_h, [r.time_h for r in used[:-1]])
    assert used[-1].censoring == "left"


def test_the_dose_of_a_reading_is_what_had_reached_the_chip() -> None:
    end = STUDY.exposure_end_h(2)
    assert dose_at(TARGET.likelihood, STUDY.line("L2").chips.copy().popitem()[0], end) == 480.0
    assert dose_at(TARGET.likelihood, STUDY.line("L3").chips.copy().popitem()[0], end) == 0.0


# --- flaws


def test_data_of_the_model_itself_are_not_accused() -> None:
    fired = sum(verdict(readouts_at(seed=seed)).fires for seed in range(4))
    assert fired <= 1


def test_a_lagging_readout_is_accused_and_its_lag_measured() -> None:
    found = verdict(readouts_at(later_h=14.0))
    lag = next(f for f in found.findings if f.name == "TEER lags")
    assert found.fires
    assert lag.p_value < 0.01
    assert abs(lag.size - 14.0) < 3 * lag.size_sd


def test_the_same_data_and_seed_give_the_same_verdict() -> None:
    first, second = (verdict(readouts_at(later_h=9.0)) for _ in range(2))
    assert (first.p_value, first.test_p) == (second.p_value, second.test_p)

"""P_app: coverage of its interval, what is flagged, cells without their membrane."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from chiploop.assays.cells_permeability import BlankPermeability, blank_of, cells_permeability
from chiploop.assays.permeability import Permeability, TracerRun, permeabilities
from chiploop.assays.permeability_fit import Donor, ReceiverSamples, Transport
from chiploop.assays.tracer_curve import TracerNoise, tracer_curve
from chiploop.assays.tracer_transport import PerfusedTransport, StaticTransport

NOISE = TracerNoise(0.04, 0.01)
AREA = 1.12
TIMES = np.array([0.25, 0.5, 1.0, 1.5, 2.0, 3.0])
VOLUMES = np.full(6, 100.0)
STATIC = StaticTransport(TIMES, 500.0, 1500.0, VOLUMES, VOLUMES)
PERFUSED = PerfusedTransport(
    np.array([0.0, 1.0, 2.0, 4.0, 8.0, 12.0]), np.array([1.0, 2.0, 4.0, 8.0, 12.0, 20.0]),
    60.0, 200.0, 20.0,
)  # fmt: skip


def clearance(p_app: float) -> float:
    return p_app * AREA * 3.6e6


def a_run(
    p_app: float,
    lag: float = 0.0,
    transport: Transport = STATIC,
    rng: np.random.Generator | None = None,
    lost: float = 0.0,
    wells: int = 0,
) -> TracerRun:
    """Return a run with donor 100; donor wells scatter as samples do where there are some."""
    clean = 100.0 * transport.predict(np.array([clearance(p_app)]), np.array([lag]))[0]
    left = (100.0 * transport.donor_ul - transport.passed(clean)) / transport.donor_ul
    noise, read = np.zeros(clean.size), 100.0
    if rng is not None:
        noise = rng.standard_normal(clean.size) * NOISE.sd(clean, float(clean.max()))
        read += rng.standard_normal() * 4.0 / math.sqrt(wells) if wells else 0.0
    return TracerRun(
        "A1", transport, ReceiverSamples(clean + noise, np.ones(clean.size, dtype=int)),
        Donor(read, 0.0, wells), AREA, Donor((1.0 - lost) * left, 0.0, 1), 0.0,
    )  # fmt: skip


def fitted(run: TracerRun, lag: float | None = None) -> Permeability:
    return permeabilities([run], lag, noise=NOISE)[0]


@pytest.mark.parametrize("transport", [STATIC, PERFUSED], ids=["static", "perfused"])
@pytest.mark.parametrize("p_app", [2e-7, 2e-6, 2e-5])
def test_clean_data_give_the_permeability_back(transport: Transport, p_app: float) -> None:
    one = fitted(a_run(p_app, 0.2, transport))
    assert one.p_app == pytest.approx(p_app, rel=1e-6)
    assert one.fit.lag_h == pytest.approx(0.2, abs=1e-6)
    assert one.recovery == pytest.approx(1.0, abs=0.01)
    assert one.clearance_ul_min == pytest.approx(p_app * AREA * 6e4, rel=1e-6)


def test_the_one_shot_formula_stands_beside_with_its_error() -> None:
    still = StaticTransport(TIMES, 500.0, 500.0, np.zeros(6), np.zeros(6))
    wanted = -math.log1p(-0.2) / (1 / 500 + 1 / 500) / 3.0  # 10 % transferred in 3 h
    one = fitted(a_run(wanted / AREA / 3.6e6, 0.0, still), lag=0.0)
    assert one.transferred == pytest.approx(0.10, rel=1e-6)
    assert one.one_shot_error == pytest.approx(-0.104, abs=5e-4)
    assert one.one_shot == pytest.approx(one.p_app * (1.0 + one.one_shot_error), rel=1e-6)


def inside(p_app: float, lag: float, transport: Transport, seeds: range) -> float:
    """Return how often the interval held the truth."""
    found = []
    for seed in seeds:
        one = fitted(a_run(p_app, lag, transport, np.random.default_rng(seed), wells=3))
        found.append(one.interval[0] < p_app < one.interval[1])
    return float(np.mean(found))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    assert 0.90 <= inside(3e-6, 0.2, STATIC, range(150)) <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("transport", [STATIC, PERFUSED], ids=["static", "perfused"])
@pytest.mark.parametrize(("p_app", "lag"), [(3e-6, 0.2), (3e-6, 0.0), (4e-5, 0.1)])
def test_the_interval_covers_over_many_seeds(
    transport: Transport, p_app: float, lag: float
) -> None:
    assert 0.93 <= inside(p_app, lag, transport, range(1500)) <= 0.97


def test_a_pooled_scale_narrows_the_interval_and_knows_more() -> None:
    runs = [a_run(3e-6, 0.2, rng=np.random.default_rng(seed)) for seed in range(8)]
    alone = permeabilities(runs, noise=NOISE)
    pooled = permeabilities(runs, noise=NOISE, pool=True)
    assert {one.fit.degrees_of_freedom for one in pooled} == {8 * 4}
    assert len({one.fit.scale for one in pooled}) == 1
    assert [one.p_app for one in pooled] == [one.p_app for one in alone]
    assert np.mean([one.sd_ln for one in pooled]) < np.mean([one.sd_ln for one in alone])


def test_the_slope_of_a_curve_that_read_donor_and_receiver_cancels() -> None:
    levels = np.repeat([0.0, 0.1, 0.3, 1.0, 3.0, 10.0], 2)
    rng = np.random.default_rng(5)
    clean = 180.0 * levels
    curve = tracer_curve(
        levels, 40.0 + clean + rng.standard_normal(levels.size) * np.hypot(5.0, 0.03 * clean)
    )
    run = a_run(3e-6, 0.2)
    c = run.samples.concentration
    by_curve = replace(
        run,
        samples=replace(run.samples, curve=curve.leans(c)),
        donor=Donor(100.0, curve=tuple(curve.leans(np.array([1.0]), 100.0)[0])),
    )
    stated = replace(by_curve, donor=Donor(100.0))
    both, receiver = fitted(by_curve), fitted(stated)
    slope_sd = math.sqrt(curve.covariance[1, 1]) / curve.slope
    assert (
        np.linalg.norm(receiver.curve) > slope_sd
    )  # the donor is known otherwise: all of it stays
    assert both.sd_ln == pytest.approx(np.linalg.norm(both.curve), rel=1e-3)
    # of the slope nothing is left; what stays is the background, 100 times in the diluted donor
    a, b = np.array(both.curve), np.array(receiver.curve)
    assert not np.allclose(a, b)
    moved = fitted(
        replace(
            run,
            samples=replace(run.samples, concentration=1.07 * c),
            donor=Donor(107.0),
        )
    )
    assert moved.p_app == pytest.approx(3e-6, rel=1e-6)


def test_leans_on_the_curve_are_what_a_moved_curve_does() -> None:
    run = a_run(3e-6, 0.2)
    shift = np.linspace(0.002, 0.01, 6)
    leaning = replace(
        run,
        samples=replace(run.samples, curve=shift[:, None]),
        donor=replace(run.donor, curve=(0.5,)),
    )
    ends = [
        fitted(
            replace(
                run,
                samples=replace(
                    run.samples, concentration=run.samples.concentration + sign * 0.01 * shift
                ),
                donor=Donor(100.0 + sign * 0.005),
            )
        ).fit.clearance_ul_h
        for sign in (1.0, -1.0)
    ]
    assert fitted(leaning).fit.curve[0] == pytest.approx((ends[0] - ends[1]) / 0.02, rel=1e-3)


# --- flags


def test_tracer_that_is_not_found_again_is_flagged() -> None:
    one = fitted(a_run(3e-6, 0.2, lost=0.3))
    assert one.recovery == pytest.approx(0.71, abs=0.02) and one.qc == "warn"
    assert any("mass balance" in why for why in one.reasons)
    assert fitted(a_run(3e-6, 0.2, lost=0.1)).qc == "ok"


def test_an_unread_donor_is_told_and_no_recovery_is_made_up() -> None:
    one = fitted(replace(a_run(3e-6), donor_end=None))
    assert math.isnan(one.recovery) and any("donor was not read" in note for note in one.notes)


def test_free_dye_that_could_be_the_signal_is_flagged() -> None:
    run = a_run(1e-6)
    assert fitted(replace(run, free_dye=0.0005)).qc == "ok"
    one = fitted(replace(run, free_dye=0.03))
    assert one.qc == "warn" and any("free dye" in why for why in one.reasons)
    assert any("free dye" in note for note in fitted(replace(run, free_dye=None)).notes)


def test_tracer_that_is_there_from_the_start_is_flagged_not_clipped() -> None:
    run = a_run(3e-6, rng=np.random.default_rng(1))
    early = replace(
        run,
        samples=replace(run.samples, concentration=run.samples.concentration + 0.4 * 3),
    )
    one = fitted(early)
    assert one.fit.lag_h < 0.0 and any("before it could be" in why for why in one.reasons)


def test_no_passage_is_censored_and_never_a_number() -> None:
    rng = np.random.default_rng(4)
    run = a_run(3e-6)
    one = fitted(
        replace(run, samples=replace(run.samples, concentration=0.02 * rng.standard_normal(6))),
        lag=0.0,
    )
    readout = one.readout()
    assert one.censoring == readout.censoring == "left" and math.isnan(readout.value)
    assert readout.upper == one.detection_limit > abs(one.p_app)


def test_fewer_than_four_samples_after_the_lag_are_refused() -> None:
    short = StaticTransport(TIMES[:3], 500.0, 1500.0, VOLUMES[:3], VOLUMES[:3])
    one = fitted(a_run(3e-6, 0.0, short))
    assert one.qc == "fail" and math.isnan(one.readout().value)
    assert any("a slope needs 4" in why for why in one.reasons)
    late = fitted(a_run(3e-6, 1.2), lag=1.2)  # three samples lie after it
    assert late.qc == "fail" and any("3 samples after the lag" in why for why in late.reasons)


def test_a_profile_that_still_builds_up_can_be_left_out() -> None:
    run = a_run(3e-6, 0.3)
    bent = run.samples.concentration.copy()
    bent[:2] += 0.2
    (one,) = permeabilities(
        [replace(run, samples=replace(run.samples, concentration=bent))],
        steady_from_h=0.9, noise=NOISE,
    )  # fmt: skip
    assert one.p_app == pytest.approx(3e-6, rel=1e-6)
    assert one.fit.used.tolist() == [False, False, True, True, True, True]


def test_the_readout_is_one_that_a_likelihood_can_use() -> None:
    one = fitted(replace(a_run(3e-6, 0.2, rng=np.random.default_rng(8)), loaded_h=24.0))
    readout = one.readout(cycle=2, plate="P1")
    assert (readout.readout, readout.unit, readout.scale) == ("P_app", "cm/s", "log")
    assert (readout.window_start_h, readout.time_h, readout.cycle) == (24.0, 27.0, 2)
    half = (one.interval[1] - one.interval[0]) / 2
    assert readout.sd == pytest.approx(half / one.p_app / 1.96, rel=1e-3)


# --- cells without their membrane


def test_the_blank_is_taken_off_in_series() -> None:
    blank = blank_of([fitted(a_run(3e-5)), fitted(a_run(3e-5))])
    wanted = 4e-6
    found = cells_permeability(fitted(a_run(1 / (1 / wanted + 1 / 3e-5))), blank)
    assert found.p == pytest.approx(wanted, rel=1e-6) and blank.n == 2


def test_cells_that_pass_more_than_the_blank_are_flagged_and_not_clipped() -> None:
    found = cells_permeability(fitted(a_run(4e-5)), BlankPermeability(3e-5, 0.05, 3))
    assert found.resistance == pytest.approx(1 / 4e-5 - 1 / 3e-5, rel=1e-6)
    assert found.resistance < 0.0 and math.isnan(found.p) and found.qc == "fail"
    assert "not above 0" in found.reasons[0]


def test_a_blank_that_is_most_of_the_resistance_leaves_no_upper_bound() -> None:
    found = cells_permeability(fitted(a_run(2.9e-5)), BlankPermeability(3e-5, 0.05, 3))
    assert found.interval[1] == math.inf and found.interval[0] > 0.0 and found.qc == "warn"


def test_one_blank_is_told_and_none_is_refused() -> None:
    found = cells_permeability(fitted(a_run(3e-6)), blank_of([fitted(a_run(3e-5))]))
    assert any("one blank insert" in why for why in found.reasons)
    with pytest.raises(ValueError, match="no blank insert"):
        blank_of([])

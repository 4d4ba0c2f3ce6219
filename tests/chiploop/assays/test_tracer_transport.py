"""Tracer between two compartments: closed forms, a numerical integration, derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from chiploop.assays.tracer_transport import (
    PerfusedTransport,
    StaticTransport,
    sink_error,
    steady_clearance_ul_h,
)

TIMES = np.array([0.5, 1.0, 2.0, 3.0, 4.0])
NOTHING = np.zeros(5)
NO_LAG = np.array([0.0])


@pytest.mark.parametrize(
    ("transferred", "ratio", "error"),
    [(0.02, 1, -0.020), (0.05, 1, -0.051), (0.1, 1, -0.104), (0.2, 1, -0.217), (0.1, 3, -0.068)],
)
def test_the_sink_formula_reads_as_low_as_the_closed_form_says(
    transferred: float, ratio: float, error: float
) -> None:
    assert sink_error(transferred, ratio) == pytest.approx(error, abs=5e-4)
    # and as the transport itself: donor 500 uL, one sample
    clearance = -math.log1p(-transferred * (1 + 1 / ratio)) / (1 / 500 + 1 / (500 * ratio))
    still = StaticTransport(np.array([1.0]), 500.0, 500.0 * ratio, np.zeros(1), np.zeros(1))
    seen = still.predict(np.array([clearance]), NO_LAG)[0]
    assert still.passed(seen) / 500.0 == pytest.approx(transferred, rel=1e-12)
    assert still.one_shot_ul_h(seen, 1.0, 0.0) / clearance - 1 == pytest.approx(error, abs=5e-4)


def test_more_than_equilibrium_lets_pass_has_no_permeability() -> None:
    with pytest.raises(ValueError, match="equilibrium"):
        sink_error(0.5, 1.0)


def test_without_sampling_it_is_the_closed_form() -> None:
    still = StaticTransport(TIMES, 500.0, 1500.0, NOTHING, NOTHING)
    wanted = 0.25 * (1.0 - np.exp(-60.0 * TIMES * (1 / 500 + 1 / 1500)))
    assert still.predict(np.array([60.0]), NO_LAG)[0] == pytest.approx(wanted, rel=1e-13)


@pytest.mark.parametrize("lag", [0.0, 0.7, -0.3])
@pytest.mark.parametrize(
    ("removed", "replaced"),
    [([100.0] * 5, [100.0] * 5), ([100.0] * 5, [0.0] * 5), ([90, 200, 0, 50, 300], [90, 0, 80, 20, 0])],
)  # fmt: skip
def test_sampling_agrees_with_a_numerical_integration(
    lag: float, removed: list[float], replaced: list[float]
) -> None:
    taken, back = np.array(removed, float), np.array(replaced, float)
    sampled = StaticTransport(TIMES, 500.0, 1500.0, taken, back)
    clearance, donor, receiver, volume, before = 60.0, 500.0, 0.0, 1500.0, min(lag, 0.0)
    seen = []
    for end, out, put in zip(TIMES, taken, back, strict=True):
        begin = max(before, lag)
        if end > begin:

            def flux(t: float, y: np.ndarray, volume: float = volume) -> list[float]:
                through = clearance * (y[0] / 500.0 - y[1] / volume)
                return [-through, through]

            donor, receiver = solve_ivp(
                flux, (begin, end), [donor, receiver], rtol=1e-11, atol=1e-11
            ).y[:, -1]
        seen.append(receiver / volume)
        receiver -= out * receiver / volume
        volume += put - out
        before = end
    found = sampled.predict(np.array([clearance]), np.array([lag]))[0]
    assert found == pytest.approx(seen, rel=1e-9)
    # a wrong bookkeeping of the removed volume is seen by this comparison
    forgetful = StaticTransport(TIMES, 500.0, 1500.0, NOTHING, NOTHING)
    assert forgetful.predict(np.array([clearance]), np.array([lag]))[0] != pytest.approx(
        seen, rel=1e-2
    )


@pytest.mark.parametrize("donor_ul", [200.0, math.inf])
def test_a_perfused_receiver_agrees_with_a_numerical_integration(donor_ul: float) -> None:
    perfused = PerfusedTransport(
        np.array([0.0, 1.0, 2.0, 4.0]), np.array([1.0, 2.0, 4.0, 8.0]), 30.0, donor_ul, 20.0, 15.0
    )
    clearance, lag, delay = 60.0, 0.2, 0.5

    def flux(t: float, y: np.ndarray) -> list[float]:
        through = clearance * (y[0] - y[1])
        return [-through / donor_ul, (through - 30.0 * y[1]) / 20.0, 30.0 * y[1]]

    course = solve_ivp(
        flux, (0.0, 9.0), [1.0, 0.0, 0.0], rtol=1e-11, atol=1e-12, dense_output=True
    ).sol

    def left(hours: float) -> float:
        return float(course(max(hours - lag - delay, 0.0))[2])

    wanted = [
        (left(end) - left(start)) / (30.0 * (end - start))
        for start, end in zip(perfused.starts_h, perfused.ends_h, strict=True)
    ]
    found = perfused.predict(np.array([clearance]), np.array([lag]))[0]
    assert found == pytest.approx(wanted, rel=1e-8)
    assert perfused.donor(clearance, 4.0) == pytest.approx(float(course(4.0)[0]), rel=1e-8)


def test_at_steady_state_the_perfused_formula_gives_the_clearance_back() -> None:
    steady = PerfusedTransport(np.array([50.0]), np.array([51.0]), 30.0, math.inf, 20.0)
    outlet = steady.predict(np.array([12.0]), NO_LAG)[0]
    assert outlet == pytest.approx([12.0 / 42.0], rel=1e-12)
    assert steady_clearance_ul_h(30.0, outlet, np.ones(1)) == pytest.approx([12.0], rel=1e-12)
    assert np.isnan(steady_clearance_ul_h(30.0, np.array([1.0]), np.ones(1)))[0]


def test_all_tracer_is_found_again() -> None:
    sampled = StaticTransport(TIMES, 500.0, 1500.0, NOTHING + 100.0, NOTHING + 50.0)
    seen = sampled.predict(np.array([6000.0]), NO_LAG)[0]
    # at each sample at equilibrium: what is left stands in the donor at the receiver's level
    assert sampled.passed(seen) + 500.0 * seen[-1] == pytest.approx(500.0, rel=1e-3)
    # the channel is counted at the mean of the last window: nothing is left by then
    late = np.array([0.0, 400.0]), np.array([400.0, 401.0])
    perfused = PerfusedTransport(*late, 30.0, 200.0, 20.0)
    assert perfused.passed(perfused.predict(np.array([9.0]), NO_LAG)[0]) == pytest.approx(
        200.0, rel=1e-3
    )


@pytest.mark.parametrize(
    "transport",
    [
        StaticTransport(TIMES, 500.0, 1500.0, NOTHING + 100.0, NOTHING + 50.0),
        PerfusedTransport(TIMES - 0.5, TIMES, 30.0, 200.0, 20.0, 11.0),
    ],
    ids=["static", "perfused"],
)
@pytest.mark.parametrize("lag", [0.0, 0.3, -0.2])
def test_imaginary_steps_are_the_derivatives(transport: StaticTransport, lag: float) -> None:
    for clearance, own_lag in ((60.0 + 1e-30j, lag + 0j), (60.0 + 0j, lag + 1e-30j)):
        slope = transport.predict(np.array([clearance]), np.array([own_lag]))[0].imag / 1e-30
        h = 1e-5
        by_clearance = clearance.imag != 0.0
        ends = [
            transport.predict(
                np.array([60.0 + (s if by_clearance else 0.0)]),
                np.array([lag + (0.0 if by_clearance else s)]),
            )[0]
            for s in (h, -h)
        ]
        assert slope == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-4, abs=1e-9)


def test_a_sample_that_empties_the_receiver_is_refused() -> None:
    with pytest.raises(ValueError, match="takes 700 uL of the 600 uL"):
        StaticTransport(
            np.array([1.0, 2.0]), 500.0, 1500.0, np.array([900.0, 700.0]), np.array([0.0, 0.0])
        )


@pytest.mark.parametrize("times", [[1.0, 1.0], [-1.0, 2.0], []])
def test_moments_that_do_not_ascend_are_refused(times: list[float]) -> None:
    at = np.array(times)
    with pytest.raises(ValueError, match="samples"):
        StaticTransport(at, 500.0, 1500.0, np.zeros(at.size), np.zeros(at.size))

"""What a card foretold is held against what was read, at the times when it came true."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

from chiploop.measurement import Readout
from chiploop.predictions_held import as_given, dose_begun_h, predictions_held
from chiploop.proposal_predictions import PredictedReading


def band(chip: str, time_h: float, low: float, high: float) -> PredictedReading:
    """Return a prediction of TEER."""
    middle = 0.5 * (low + high)
    return PredictedReading(
        "L1", chip, "D1", "TEER", "ohm*cm2", time_h, None, middle, (low, high), (low, high),
        (low, high), middle, middle,
    )  # fmt: skip


def test_predictions_are_tested_by_what_was_read() -> None:
    last = [band("C01", 10.0, 100.0, 200.0), band("C02", 10.0, 100.0, 200.0)]

    def read(chip: str, value: float, time_h: float = 10.02, **more: object) -> Readout:
        return Readout(chip, "TEER", value, "ohm cm2", 0.01, "log", time_h, **more)  # type: ignore[arg-type]

    def counted(*readouts: Readout) -> tuple[int, int]:
        return predictions_held(readouts, last)

    assert counted(read("C01", 150.0), read("C02", 250.0)) == (1, 2)
    assert counted(read("C01", 150.0, 40.0), read("C03", 150.0)) == (0, 0)
    assert counted(read("C01", 150.0, qc="fail")) == (0, 0)
    assert counted(read("C01", math.nan, censoring="left", upper=150.0)) == (1, 1)
    assert counted(read("C01", math.nan, censoring="left", upper=50.0)) == (0, 1)


def test_predictions_are_compared_at_the_times_when_they_came_true() -> None:
    last = [band("C01", 10.0, 100.0, 200.0)]
    (late,) = as_given(last, 4.0, 12.0)
    assert (late.time_h, late.window_start_h) == (18.0, None)
    read = Readout("C01", "TEER", 150.0, "ohm cm2", 0.01, "log", 18.0)
    assert predictions_held([read], last) == (0, 0)
    assert predictions_held([read], [late]) == (1, 1)
    assert as_given(last, 4.0, None) == tuple(last)


def test_an_exposure_begins_with_its_first_dose_that_was_sent() -> None:
    def began(phase: str, at_h: float, cycle: int = 2, sent: bool = True) -> Any:
        intent = SimpleNamespace(programme_key=f"run-1/c{cycle:02d}/L1/{phase}")
        return SimpleNamespace(intent=intent, begun_h=at_h, sent_h=(at_h,) if sent else ())

    actions = [
        began("hold", 70.0), began("dose", 60.0, sent=False), began("dose", 72.5), began("dose", 72.0),
        began("dose", 24.0, cycle=1),
    ]  # fmt: skip
    assert dose_begun_h(actions, 2) == 72.0
    assert dose_begun_h(actions, 3) is None

"""A pump with a weighed factor works in real volumes."""

from __future__ import annotations

import pytest

from instruments.calibrated import CalibratedPump
from instruments.contracts import Watched
from tests.instruments.matrix_makes import MAKES
from tests.instruments.pumps.contract import Bench


def test_pump_that_gives_less_than_it_shows_is_asked_for_more_and_read_for_less() -> None:
    bench = Bench(MAKES["NE-1000 safe"])
    pump = CalibratedPump(bench.pump, 0.9)
    before_ul = pump.status().infused_ul
    asked = pump.prepare(600.0, 720.0)
    assert asked == pump.quantise(600.0, 720.0) == pump.quantise(asked.flow_rate_ul_h, 720.0)
    assert asked.volume_ul <= 720.0
    pump.start()
    bench.clocks.pass_h(2.0)
    # the emulated pump is exact: what it shows is what flows, so real is 0.9 of that by the factor
    assert bench.flowed_ul == pytest.approx(asked.volume_ul / 0.9, abs=0.2)
    assert pump.status().infused_ul - before_ul == pytest.approx(asked.volume_ul, abs=0.2)


def test_everything_else_of_the_pump_is_as_it_was() -> None:
    bench = Bench(MAKES["NE-1000 safe"])
    pump = CalibratedPump(bench.pump, 0.9)
    assert isinstance(pump, Watched) and pump.watchdog_s == 255
    assert pump.name == bench.pump.name
    with pytest.raises(ValueError, match="prepare"):
        pump.start()

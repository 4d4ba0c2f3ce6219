"""Rounding without a port is the rounding of the pump that was met."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from instruments.drivers import load_lab_settings
from instruments.port_turn import NotSent
from instruments.rounding import NoPort, rounding_of
from tests.instruments.fault_matrix import World
from tests.instruments.matrix_makes import MAKES, MatrixMake
from tests.instruments.test_lab_settings import GOOD


@pytest.mark.parametrize("make", MAKES.values(), ids=lambda make: make.name)
def test_a_pump_rounds_alike_before_and_after_it_was_met(make: MatrixMake) -> None:
    alone = make.driver("L1-low", NoPort("pumps"), lambda seconds: None)  # type: ignore[arg-type]
    asked = (make.flow_rate_ul_h * 1.00037, make.volume_ul * 0.99941)
    met, _ = World(make).controller("L1-low")
    assert alone.quantise(*asked) == met.quantise(*asked)


def test_nothing_can_be_sent_through_a_port_that_is_not_there() -> None:
    pump = MAKES["NE-1000 safe"].driver("L1-low", NoPort("pumps"), time.sleep)  # type: ignore[arg-type]
    with pytest.raises(NotSent, match="pumps is not open here"):
        pump.status()


def test_a_weighed_pump_is_rounded_in_real_volumes(tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    path.write_text(GOOD.replace("address = 1\n", "address = 1\ncalibration = 0.5\n"))
    quantise = rounding_of(load_lab_settings(path))
    rate, volume = quantise("L1-low", 60.0, 720.0)
    assert (rate, volume) == (60.0, 720.0)
    with pytest.raises(ValueError, match=r"L1-low"):  # shows twice as much: above its syringe
        quantise("L1-low", 60.0, 15_000.0)
    with pytest.raises(ValueError, match="no pump L9-low"):
        quantise("L9-low", 60.0, 720.0)

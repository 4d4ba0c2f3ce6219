"""EmStat drivers against their emulators: spectra come through, and no trouble leaves a cell on in silence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instruments.drivers import DRIVERS
from instruments.emulators.emstat4 import EmStat4
from instruments.emulators.emstat_pico import EmStatPico
from instruments.emulators.faults import Fault, FaultyWire
from instruments.errors import InstrumentError
from tests.instruments.pumps.contract import Babbler
from tests.instruments.virtual_wire import Clocks, VirtualPort

EMULATORS: dict[str, Any] = {"emstat_pico": EmStatPico, "emstat4": EmStat4}


def barrier(channel: int, frequency_hz: np.ndarray) -> np.ndarray:
    """Return 200 ohm in series with 1 kohm beside 1 uF, 10 % more on each further channel."""
    return (1 + 0.1 * channel) * (200 + 1000 / (1 + 2j * np.pi * frequency_hz * 1000 * 1e-6))


class Meter:
    """One emulated meter behind a virtual wire, and a driver that has met it."""

    def __init__(self, make: str, **keys: Any) -> None:
        self.clocks = Clocks()
        self.device = EMULATORS[make](barrier, self.clocks.wall_s)
        self.wire = FaultyWire(self.device, self.clocks.wall_s)
        self.port = VirtualPort(self.wire, self.clocks)
        entry = DRIVERS[make].entry.model_validate(
            {"make": make, "url": "virtual", "channels": {"C01": 0, "C02": 1}, **keys}
        )
        self.driver = DRIVERS[make].build("M", self.port, entry, self.clocks.pass_s)
        self.driver.open()


@pytest.mark.parametrize("make", EMULATORS)
def test_sweep_gives_each_chip_its_own_impedance(make: str) -> None:
    meter = Meter(make)
    for chip, channel in (("C01", 0), ("C02", 1)):
        spectrum = meter.driver.measure_spectrum(chip, 3.0)
        expected = barrier(channel, spectrum.frequency_hz)
        np.testing.assert_allclose(spectrum.impedance_ohm, expected, rtol=0.01, atol=1.0)
        assert not meter.device.cell_on


@pytest.mark.parametrize("make", EMULATORS)
def test_single_frequency_gives_its_repeats_at_that_frequency(make: str) -> None:
    meter = Meter(make, single_frequency_hz=100)
    spectrum = meter.driver.measure_spectrum("C02", 3.0)
    np.testing.assert_allclose(spectrum.frequency_hz, 100.0, rtol=1e-3)
    np.testing.assert_allclose(
        spectrum.impedance_ohm, barrier(1, spectrum.frequency_hz), rtol=0.01, atol=1.0
    )
    assert not meter.device.cell_on


@pytest.mark.parametrize("make", EMULATORS)
@pytest.mark.parametrize(
    "kind",
    ["drop_command", "drop_reply", "truncate", "garbage_before", "flip_command_bit", "split"],
)
def test_trouble_on_the_wire_leaves_no_cell_on_in_silence(make: str, kind: str) -> None:
    clean = Meter(make)
    clean.port.exchanges.clear()
    clean.driver.measure_spectrum("C01", 0.0)
    places = [
        (at, byte)
        for at, (sent, answer) in enumerate(clean.port.exchanges)
        for byte in range(0, max(len(sent), len(answer)), 37)
    ]
    refused = 0
    for at, byte in places:
        meter = Meter(make)
        meter.wire.arm(Fault(kind, skip=at, at_byte=byte, bit=byte % 7, seconds=600.0))
        try:
            spectrum = meter.driver.measure_spectrum("C01", 0.0)
        except InstrumentError as trouble:
            refused += 1
            told = " ".join(getattr(trouble, "__notes__", ()))
            assert not meter.device.cell_on or "MAY STILL BE ON" in told, (at, byte, trouble)
        else:
            assert not meter.device.cell_on
            if kind not in ("flip_command_bit",):  # a flipped digit of a script is another sweep
                expected = barrier(0, spectrum.frequency_hz)
                np.testing.assert_allclose(spectrum.impedance_ohm, expected, rtol=0.01, atol=1.0)
    assert refused


@pytest.mark.parametrize("make", EMULATORS)
@given(answer=st.binary(max_size=60))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_arbitrary_answers_raise_nothing_but_instrument_errors_in_bounded_time(
    make: str, answer: bytes
) -> None:
    meter = Meter(make)
    meter.wire.device = Babbler(answer)
    for act in (
        meter.driver.open,
        lambda: meter.driver.measure_spectrum("C01", 0.0),
        meter.driver.stop,
    ):
        begun_s = meter.clocks.wall_s()
        try:
            act()
        except InstrumentError:
            pass
        assert meter.clocks.wall_s() - begun_s < 400

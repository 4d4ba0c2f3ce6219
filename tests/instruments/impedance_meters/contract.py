"""What every impedance meter does, whatever is behind it. One fixture stays open: ``rig``.

Belongs here: the contract. Not here: bytes or files of one make; its test fills the fixture.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from chiploop.errors import ChiploopError

GARBAGE = (
    b"",
    b"\x00\xff" * 40,
    b"!\n\n",
    b"e\nM0000\nP;;\n*\n\n",
    b"e\nPdcDF5DFF4u;cc\n\n",
    b"entry,chip\n1,\xff\n",
    b'"open quote\n',
    b"e!4001: Line 5, Col 1\n",
)


@dataclass
class MeterRig:
    """One make of meter with a world behind it that the contract can arrange."""

    meter: Any
    """Constructed, not opened."""
    chip: str
    """A chip that it serves, and that shows 1000 to 10000 ohm."""
    said: Callable[[], list[bytes]]
    """Everything that was sent to the device so far."""
    measurements: Callable[[], int]
    """How many measurements the device was asked for."""
    cell_is_on: Callable[[], bool]
    spoil: Callable[[], int]
    """Let one point of several be overloaded, and return how many the device will mark."""
    hold: Callable[[], None]
    """Let the next measurement not end by itself."""
    garble: Callable[[bytes], None]
    """Let the world say these bytes from now on, whatever it is asked."""
    theirs: tuple[type[Exception], ...]
    """Kinds of trouble that are the world's fault."""
    begun: threading.Event = field(default_factory=threading.Event)
    """Set once a held measurement is under way."""


class ImpedanceMeterContract:
    """Rules for every impedance meter."""

    @pytest.fixture
    def rig(self) -> MeterRig:
        """The make under test."""
        raise AssertionError("each make fills this fixture")

    def test_constructing_says_nothing(self, rig):
        assert rig.said() == []

    def test_opening_and_closing_measure_nothing(self, rig):
        rig.meter.open()
        rig.meter.close()
        assert rig.measurements() == 0
        assert not rig.cell_is_on()

    def test_a_chip_without_channel_is_refused_before_any_byte(self, rig):
        with pytest.raises(ValueError, match="C99"):
            rig.meter.measure_spectrum("C99", 1.0)
        assert rig.said() == []

    def test_a_spectrum_has_finite_frequencies_in_order_and_a_status_per_point(self, rig):
        rig.meter.open()
        spectrum = rig.meter.measure_spectrum(rig.chip, 1.0)
        n = len(spectrum.frequency_hz)
        assert spectrum.chip_id == rig.chip
        assert n and len(spectrum.impedance_ohm) == len(spectrum.status) == n
        assert np.all(np.isfinite(spectrum.frequency_hz)) and np.all(spectrum.frequency_hz > 0)
        assert np.all(np.diff(spectrum.frequency_hz) <= 0)
        assert set(spectrum.status) == {0}
        assert np.all((1e3 < abs(spectrum.impedance_ohm)) & (abs(spectrum.impedance_ohm) < 1e4))
        assert not rig.cell_is_on()

    def test_an_overloaded_point_is_flagged_and_not_dropped(self, rig):
        rig.meter.open()
        clean = rig.meter.measure_spectrum(rig.chip, 1.0)
        marked = rig.spoil()
        spoilt = rig.meter.measure_spectrum(rig.chip, 1.0)
        assert len(spoilt.frequency_hz) == len(spoilt.status) == len(clean.frequency_hz)
        assert sum(map(bool, spoilt.status)) == marked

    def test_a_stop_ends_what_runs_and_leaves_the_cell_off(self, rig):
        rig.meter.open()
        rig.hold()
        trouble = []

        def measure():
            try:
                rig.meter.measure_spectrum(rig.chip, 1.0)
            except ChiploopError as told:
                trouble.append(told)
            finally:
                rig.begun.set()

        thread = threading.Thread(target=measure)
        thread.start()
        assert rig.begun.wait(5)
        rig.meter.stop()
        thread.join(5)
        assert not thread.is_alive()
        assert isinstance(trouble[0], rig.theirs)
        assert not rig.cell_is_on()

    def test_a_stop_at_rest_and_a_second_one_are_no_trouble(self, rig):
        rig.meter.open()
        rig.meter.stop()
        rig.meter.stop()
        assert rig.measurements() == 0

    @pytest.mark.parametrize("garbage", GARBAGE)
    def test_arbitrary_bytes_raise_only_trouble_that_is_theirs(self, rig, garbage):
        rig.meter.open()
        rig.garble(garbage)
        with pytest.raises(rig.theirs):
            rig.meter.measure_spectrum(rig.chip, 1.0)

"""What every plate reader must do, whatever its make; each make inherits this and says who it is.

Belongs here: the rules of `instruments.contracts.PlateReader`. Not here: bytes of one make. The other
end is the make's emulator behind a virtual wire.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instruments.drivers import DRIVERS
from instruments.emulators.faults import Fault, FaultyWire
from instruments.errors import InstrumentError
from tests.instruments.pumps.contract import Babbler
from tests.instruments.virtual_wire import Clocks, VirtualPort

PLATE = np.round(np.arange(96).reshape(8, 12) / 50 + 0.05, 4)
"""OD that differs from well to well, so that no row or column can be taken for another."""


class ReaderBench:
    """One emulated reader, its cable, and a driver."""

    def __init__(self, contract: PlateReaderContract, plate: np.ndarray = PLATE) -> None:
        self.clocks = Clocks()
        self.plate = plate
        device = contract.device(
            lambda wavelength_nm: self.plate + wavelength_nm / 10_000,
            self.clocks.physics_h,
            self.clocks.wall_s,
        )
        self.wire = FaultyWire(device, self.clocks.wall_s)
        self.port = VirtualPort(self.wire, self.clocks)
        self.reader = self.driver(contract)

    def driver(self, contract: PlateReaderContract) -> Any:
        make = DRIVERS[contract.make]
        entry = make.entry.model_validate(
            {"make": contract.make, "url": "virtual", **contract.keys}
        )
        return make.build("R", self.port, entry, self.clocks.pass_s)

    def read(self, *wavelengths_nm: int) -> Any:
        return self.reader.read_absorbance("plate-1", wavelengths_nm, 12.5)


class PlateReaderContract:
    """Rules of a reader; a subclass sets ``make`` and gives the emulated device."""

    make: str
    keys: ClassVar[dict[str, Any]] = {}
    """Further keys of its entry in lab.toml."""
    wavelength_nm = 450
    precision_od = 1e-3
    """Largest difference between the emulated OD and the one read."""
    checksummed = False
    """A flipped bit of a reading is always noticed."""

    def device(self, absorbance: Callable[[int], np.ndarray], physics_h: Any, wall_s: Any) -> Any:
        """Return the make's emulator."""
        raise AssertionError("a subclass gives its emulator")

    @pytest.fixture
    def bench(self) -> ReaderBench:
        opened = ReaderBench(self)
        opened.reader.open()
        return opened

    def test_constructing_sends_nothing(self) -> None:
        assert ReaderBench(self).port.exchanges == []

    def test_every_well_comes_from_its_place(self, bench: ReaderBench) -> None:
        plate = bench.read(self.wavelength_nm)
        assert (plate.plate_id, plate.time_h) == ("plate-1", 12.5)
        assert len(plate.raw_sha256) == 64
        assert plate.flags == {}
        expected = PLATE + self.wavelength_nm / 10_000
        assert plate.absorbance[self.wavelength_nm].shape == (8, 12)
        np.testing.assert_allclose(
            plate.absorbance[self.wavelength_nm], expected, atol=self.precision_od
        )

    def test_each_wavelength_has_its_own_values(self, bench: ReaderBench) -> None:
        plate = bench.read(self.wavelength_nm, 570)
        assert set(plate.absorbance) == {self.wavelength_nm, 570}
        for wavelength_nm, values in plate.absorbance.items():
            np.testing.assert_allclose(
                values, PLATE + wavelength_nm / 10_000, atol=self.precision_od
            )

    def test_a_second_plate_is_not_the_first(self, bench: ReaderBench) -> None:
        first = bench.read(self.wavelength_nm)
        bench.plate = PLATE[::-1, ::-1] + 0.1
        second = bench.read(self.wavelength_nm)
        assert first.raw_sha256 != second.raw_sha256
        np.testing.assert_allclose(
            second.absorbance[self.wavelength_nm],
            bench.plate + self.wavelength_nm / 10_000,
            atol=self.precision_od,
        )

    def test_negative_absorbance_is_a_number(self) -> None:
        bench = ReaderBench(self, PLATE - 0.3)
        bench.reader.open()
        values = bench.read(self.wavelength_nm).absorbance[self.wavelength_nm]
        assert values.min() < -0.1

    def test_well_without_a_number_is_not_a_number_and_says_why(self) -> None:
        plate = PLATE.copy()
        plate[2, 5] = math.inf  # more than the reader can tell
        bench = ReaderBench(self, plate)
        bench.reader.open()
        read = bench.read(self.wavelength_nm)
        values = read.absorbance[self.wavelength_nm]
        assert np.isnan(values[2, 5]) and np.isnan(values).sum() == 1
        assert list(read.flags) == [(self.wavelength_nm, "C6")]
        assert read.flags[self.wavelength_nm, "C6"]

    @pytest.mark.parametrize("wavelengths", [(), (450, 450), (0,), (-450,), (100_000,)])
    def test_impossible_wavelengths_are_refused_before_any_byte(
        self, bench: ReaderBench, wavelengths: tuple[int, ...]
    ) -> None:
        bench.port.exchanges.clear()
        with pytest.raises(ValueError):
            bench.read(*wavelengths)
        assert bench.port.exchanges == []

    def test_stop_while_nothing_runs_is_harmless(self, bench: ReaderBench) -> None:
        for _ in range(2):
            bench.reader.stop()
        assert bench.read(self.wavelength_nm).flags == {}

    def test_silent_reader_is_given_up_in_bounded_time(self, bench: ReaderBench) -> None:
        bench.wire.wedge()
        begun_s = bench.clocks.wall_s()
        with pytest.raises(InstrumentError):
            bench.read(self.wavelength_nm)
        assert bench.clocks.wall_s() - begun_s < 400

    def test_reader_is_met_again_after_its_cable_was_pulled(self, bench: ReaderBench) -> None:
        bench.wire.unplug()
        with pytest.raises(InstrumentError):
            bench.read(self.wavelength_nm)
        bench.wire.plug_in()
        for _ in range(2):
            try:
                assert bench.read(self.wavelength_nm).flags == {}
                return
            except InstrumentError:
                continue
        raise AssertionError("the reader did not come back")

    @pytest.mark.parametrize("kind", ["drop_reply", "truncate", "garbage_before", "split"])
    def test_trouble_on_the_wire_gives_the_right_plate_or_none(self, kind: str) -> None:
        clean = ReaderBench(self)
        clean.reader.open()
        clean.port.exchanges.clear()
        clean.read(self.wavelength_nm)
        expected = PLATE + self.wavelength_nm / 10_000
        answered = [answer for _, answer in clean.port.exchanges]
        for at, answer in enumerate(answered):
            for at_byte in sorted({0, len(answer) // 3, len(answer) // 2, max(len(answer) - 1, 0)}):
                bench = ReaderBench(self)
                bench.reader.open()
                bench.wire.arm(Fault(kind, skip=at, at_byte=at_byte, seconds=600.0))
                try:
                    plate = bench.read(self.wavelength_nm)
                except InstrumentError:
                    continue
                np.testing.assert_allclose(
                    plate.absorbance[self.wavelength_nm], expected, atol=self.precision_od
                )

    def test_flipped_bits_of_a_reading_are_noticed_where_there_is_a_checksum(self) -> None:
        if not self.checksummed:
            return
        clean = ReaderBench(self)
        clean.reader.open()
        clean.port.exchanges.clear()
        clean.read(self.wavelength_nm)
        at = max(range(len(clean.port.exchanges)), key=lambda i: len(clean.port.exchanges[i][1]))
        expected = PLATE + self.wavelength_nm / 10_000
        longest = len(clean.port.exchanges[at][1])
        for at_byte in range(0, longest, max(longest // 60, 1)):
            bench = ReaderBench(self)
            bench.reader.open()
            bench.wire.arm(Fault("flip_bit", skip=at, at_byte=at_byte, bit=at_byte % 4))
            try:
                plate = bench.read(self.wavelength_nm)
            except InstrumentError:
                continue
            np.testing.assert_allclose(
                plate.absorbance[self.wavelength_nm], expected, atol=self.precision_od
            )

    @given(answer=st.binary(max_size=60))
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    def test_arbitrary_answers_raise_nothing_but_instrument_errors_in_bounded_time(
        self, answer: bytes
    ) -> None:
        bench = ReaderBench(self)
        bench.reader.open()
        bench.wire.device = Babbler(answer)
        for act in (bench.reader.open, lambda: bench.read(self.wavelength_nm), bench.reader.stop):
            begun_s = bench.clocks.wall_s()
            try:
                act()
            except InstrumentError:
                pass
            assert bench.clocks.wall_s() - begun_s < 400

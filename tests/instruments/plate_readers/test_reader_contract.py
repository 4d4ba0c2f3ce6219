"""Every make of plate reader keeps the contract."""

from __future__ import annotations

from typing import Any, ClassVar

from instruments.drivers import DRIVERS
from instruments.emulators.biotek import BioTek
from instruments.emulators.clariostar import ClarioStar
from instruments.emulators.spectramax import SpectraMax
from tests.instruments.plate_readers.contract import PlateReaderContract


class TestSpectraMax(PlateReaderContract):
    make = "spectramax"

    def device(self, absorbance: Any, physics_h: Any, wall_s: Any) -> SpectraMax:
        return SpectraMax(absorbance, physics_h, wall_s)


class TestBioTek(PlateReaderContract):
    make = "biotek"
    keys: ClassVar[dict[str, Any]] = {"other_wavelengths": True}
    checksummed = True

    def device(self, absorbance: Any, physics_h: Any, wall_s: Any) -> BioTek:
        return BioTek(absorbance, physics_h, wall_s)


class TestClarioStar(PlateReaderContract):
    make = "clariostar"
    precision_od = 2e-3
    checksummed = True

    def device(self, absorbance: Any, physics_h: Any, wall_s: Any) -> ClarioStar:
        return ClarioStar(absorbance, physics_h, wall_s)


def test_every_reader_make_keeps_the_contract() -> None:
    # PyLabRobot's readers open their own port: there is no wire of ours to put an emulator on.
    here = {one.make for one in PlateReaderContract.__subclasses__()} | {"pylabrobot"}
    assert {name for name, make in DRIVERS.items() if make.kind == "plate_reader"} <= here

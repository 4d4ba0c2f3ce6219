"""Plates of fluorescence out of exports: by the light of the kit, from a file of Gen5 itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chiploop.errors import FileNotValid
from chiploop.exports import read_export
from chiploop.exports.fluorescence import fluorescence_plate

FILE = "gen5_fluorescence_endpoint_singleplate.txt"


def test_the_filters_near_the_kits_light_are_taken_and_the_others_left(shared_data: Path) -> None:
    export = read_export(shared_data / "vendor_exports" / FILE)
    green = fluorescence_plate(export, "p", 1.0, "Plate 1", 490.0, 520.0)
    assert list(green.absorbance) == [520]
    assert green.absorbance[520][0, :3].tolist() == [8605.0, 1873.0, 3180.0]
    blue = fluorescence_plate(export, "p", 1.0, "Plate 1", 360.0, 460.0)
    assert blue.absorbance[460][0, :3].tolist() == [8940.0, 3254.0, 7345.0]
    assert np.isfinite(green.absorbance[520]).all()
    line, column = green.locators[520, "B3"].removeprefix("Results!").split(",")
    text = (shared_data / "vendor_exports" / FILE).read_text("utf-8", "replace").splitlines()
    assert float(text[int(line) - 1].split("\t")[int(column) - 1]) == 8248.0


@pytest.mark.parametrize(
    ("name", "light", "told"),
    [
        ("Plate 2", (490.0, 520.0), "no fluorescence plate named 'Plate 2'"),
        ("Plate 1", (540.0, 590.0), "one pair within 15 nm of 540"),
        ("Plate 1", (490.0, 460.0), "it was read with DAPI/GFP:360/40,460/40"),
    ],
)
def test_another_plate_or_other_light_is_refused_with_what_was_read(
    shared_data: Path, name: str, light: tuple[float, float], told: str
) -> None:
    export = read_export(shared_data / "vendor_exports" / FILE)
    with pytest.raises(FileNotValid, match=told):
        fluorescence_plate(export, "p", 1.0, name, *light)


def test_a_plate_of_absorbance_is_no_plate_of_fluorescence(shared_data: Path) -> None:
    export = read_export(
        shared_data / "vendor_exports" / "gen5_absorbance_stdcurve_singleplate.txt"
    )
    with pytest.raises(FileNotValid, match="no fluorescence plate"):
        fluorescence_plate(export, "p", 1.0, "Plate 1", 490.0, 520.0)

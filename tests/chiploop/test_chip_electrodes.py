"""Electrodes in a chip file: optional, absent from resolved studies that state none, used by the loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from chiploop.assays.teer import blank_of_lot, geometry_of_chip, teer_readout
from chiploop.measurement import ImpedanceSpectrum
from chiploop.protocols_path import protocols_folder
from chiploop.study_fields import FROM_FILE
from chiploop.study_parts import Chip
from chiploop.study_yaml import read_yaml
from tests.chiploop.assays.spectra import a_spectrum

STATED = {
    "position": "one_end", "length": "33 mm", "width": "1 mm", "height": "0.2 mm",
    "resistivity": "67 ohm*cm",
}  # fmt: skip


def a_chip(**keys: Any) -> Chip:
    values = dict(read_yaml(protocols_folder() / "chips" / "skin_chip_12well.yaml").values)
    values.pop("chiploop")
    return Chip.model_validate({**values, **keys}, context=FROM_FILE)


def test_a_chip_that_states_none_resolves_as_it_did() -> None:
    chip = a_chip()
    assert "electrodes" not in chip.model_dump(mode="json") and geometry_of_chip(chip) is None


def test_stated_electrodes_come_through_json_and_are_the_geometry() -> None:
    chip = a_chip(electrodes=STATED)
    again = Chip.model_validate_json(chip.model_dump_json())
    assert again == chip
    geometry = geometry_of_chip(again)
    assert geometry is not None and geometry.area_cm2 == pytest.approx(0.33)
    assert geometry.channel_ohm == pytest.approx(2 * 67 * 3.3 / (0.1 * 0.02))


def test_a_readout_of_such_a_chip_is_behind_its_field() -> None:
    chip = a_chip(electrodes=STATED)
    geometry = geometry_of_chip(chip)
    assert geometry is not None
    place = 500.0 / 0.33 + chip.blank_resistance_ohm
    spectrum: ImpedanceSpectrum = a_spectrum(
        place, 150.0, 7e-7, 0.9, geometry.channel_ohm, hz=np.logspace(5, 1, 21)
    )
    _, one = teer_readout(spectrum, blank_of_lot(chip), chip.area_cm2, geometry=geometry)
    assert one.value == pytest.approx(500.0, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"length": "10 mm"}, "length times width"),
        ({"position": "corner"}, "one_end"),
        ({"height": "0 mm"}, "above 0"),
        ({"resistivity": "67 ohm"}, "resistivity"),
    ],
)
def test_electrodes_that_can_not_be_are_refused(change: dict[str, str], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        a_chip(electrodes={**STATED, **change})

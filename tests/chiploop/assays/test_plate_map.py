"""Layouts of plates: everything is there, at random places, and survives JSON."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from chiploop.assays.plate_map import (
    PlateWell,
    elisa_plate_map,
    plate_from_dict,
    plate_to_dict,
    viability_plate_map,
)
from tests.chiploop.assays.kits import ELISA, LDH

CHIPS = [f"C{i:02d}" for i in range(1, 13)]


def test_an_elisa_plate_holds_standards_blanks_and_every_chip_in_replicates() -> None:
    plate_map = elisa_plate_map(CHIPS, (48, 72), ELISA, 2, 4.0, np.random.default_rng(1))
    assert Counter(one.kind for one in plate_map) == {"standard": 16, "blank": 2, "sample": 24}
    assert Counter(one.chip for one in plate_map if one.chip) == dict.fromkeys(CHIPS, 2)
    assert len({one.well for one in plate_map}) == len(plate_map)
    assert {one.dilution for one in plate_map if one.kind == "sample"} == {4.0}
    assert min(one.concentration for one in plate_map if one.kind == "standard") == 7.8125


def test_the_places_of_the_samples_come_from_the_generator_alone() -> None:
    def places(seed: int) -> list[str]:
        plate_map = viability_plate_map(CHIPS, (48, 72), LDH, 2, 1.0, np.random.default_rng(seed))
        return [one.well for one in plate_map if one.kind == "sample"]

    assert places(1) == places(1)
    assert places(1) != places(2)


@pytest.mark.parametrize("lay_out, kit", [(elisa_plate_map, ELISA), (viability_plate_map, LDH)])
def test_a_plate_goes_through_json_unchanged(lay_out, kit) -> None:  # type: ignore[no-untyped-def]
    plate_map = lay_out(CHIPS, (48.0, 72.0), kit, 2, 2.0, np.random.default_rng(1))
    plate = json.loads(json.dumps(plate_to_dict("P7", "CCL26", plate_map)))
    assert (plate["plate_id"], plate["assay"]) == ("P7", "CCL26")
    assert plate_from_dict(plate) == plate_map


def test_a_plate_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        elisa_plate_map(CHIPS, (48, 72), ELISA, 7, 1.0, np.random.default_rng(1))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"well": "I1", "kind": "blank"}, "not on a 96-well plate"),
        ({"well": "A13", "kind": "blank"}, "not on a 96-well plate"),
        ({"well": "A1", "kind": "ghost"}, "kind 'ghost'"),
        ({"well": "A1", "kind": "standard"}, "concentration above 0"),
        ({"well": "A1", "kind": "sample"}, "its chip"),
        ({"well": "A1", "kind": "blank", "dilution": 0.5}, "below 1"),
    ],
)
def test_a_well_that_can_not_be_is_refused(content: dict, said: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=said):
        PlateWell(**content)


def test_a_well_that_stands_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="A1 stands in the plate map twice"):
        plate_from_dict({"wells": [{"well": "A1", "kind": "blank"}] * 2})

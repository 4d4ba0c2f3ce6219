"""Images of a study's chips: asked for by name, one readout a chip, missing ones never a value."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chiploop.assays import derived_from_plate
from chiploop.assays.field_images import (
    FieldImage,
    ImageSet,
    field_image,
    image_names,
    image_places,
)
from chiploop.assays.left_out_images import without_images
from chiploop.assays.plate_map import PlateMap
from chiploop.errors import FileNotValid
from chiploop.microscopy.field_file import FieldFile
from chiploop.microscopy.synthetic import MonolayerSettings, monolayer
from chiploop.study import Kit, load_study

STUDY = Path(__file__).parents[3] / "protocols" / "studies" / "ad_jak_all_readouts.yaml"
TRUE = {"C01": 0.9, "C02": 0.6}


@pytest.fixture(scope="module")
def kit() -> Kit:
    return load_study(STUDY).assays["junction_coverage"].kit


@pytest.fixture(scope="module")
def wells(kit: Kit) -> PlateMap:
    return image_places(list(TRUE), (48.0, 72.0), kit, 2, 1.0, np.random.default_rng(1))


@pytest.fixture(scope="module")
def images(wells: PlateMap) -> ImageSet:
    rng = np.random.default_rng(4)
    found = []
    for name, place in image_names("CLX", wells).items():
        settings = MonolayerSettings(shape=(400, 400), missing=1.0 - TRUE[str(place.chip)])
        seen = monolayer(rng, settings)
        found.append(FieldImage(name, seen.junctions, seen.nuclei, 0.325, (), f"digest of {name}"))
    return ImageSet("set", "CLX", tuple(found))


def test_images_are_called_by_label_chip_and_place(wells: PlateMap) -> None:
    assert list(image_names("CLX", wells)) == ["CLX C01 1", "CLX C01 2", "CLX C02 1", "CLX C02 2"]
    assert {one.window_h for one in wells} == {(72.0, 72.0)}


def test_one_readout_a_chip_names_the_rows_of_its_images_and_these_their_files(
    kit: Kit, wells: PlateMap, images: ImageSet
) -> None:
    derivation, readouts = derived_from_plate(images, wells, kit, 1)
    rows = {one.key: one for one in derivation.measurements}
    assert [(one.chip_id, one.n, one.time_h, one.plate) for one in readouts] == [
        ("C01", 2, 72.0, "set"),
        ("C02", 2, 72.0, "set"),
    ]
    for one in readouts:
        own = [rows[key] for key in one.parents]
        assert [row.raw_sha256 for row in own] == [
            f"digest of CLX {one.chip_id} {place}" for place in (1, 2)
        ]
        assert one.value == pytest.approx(np.mean([row.value for row in own]))
        assert abs(one.value - TRUE[one.chip_id]) < 3.5 * one.sd
        assert abs(one.value - TRUE["C02" if one.chip_id == "C01" else "C01"]) > 5.0 * one.sd


def test_a_chip_without_images_has_no_readout_and_one_with_some_has_fewer_places(
    kit: Kit, wells: PlateMap, images: ImageSet
) -> None:
    _, readouts = derived_from_plate(replace(images, images=images.images[1:2]), wells, kit, 1)
    assert [(one.chip_id, one.n, one.raw_sha256) for one in readouts] == [
        ("C01", 1, "digest of CLX C01 2")
    ]


def test_without_an_image_a_chip_says_what_its_others_say_and_the_image_keeps_its_number(
    kit: Kit, wells: PlateMap, images: ImageSet
) -> None:
    derivation, readouts = derived_from_plate(images, wells, kit, 1)
    rows = derivation.measurements
    assert without_images(rows, {}) == (derivation, readouts)
    out, found = without_images(rows, {"C01/2": "left out by an: fold"})
    _, alone = derived_from_plate(replace(images, images=images.images[:1]), wells, kit, 1)
    assert found[1] == readouts[1]
    assert found[0] == replace(
        alone[0], qc="warn", reasons=("image C01/2 left out by an: fold", *alone[0].reasons)
    )
    before, after = rows[1], out.measurements[1]
    assert after == replace(before, qc="fail", reasons=(*before.reasons, "left out by an: fold"))
    assert [one for i, one in enumerate(out.measurements) if i != 1] == [rows[0], *rows[2:]]
    _, none = without_images(rows, dict.fromkeys(("C01/1", "C01/2"), "left out by an: fold"))
    assert (none[0].qc, none[0].n, none[0].reasons[-1]) == ("fail", 0, "no image is left")
    assert not np.isfinite(none[0].value) and none[1] == readouts[1]


def test_an_image_that_shows_nothing_fails_and_gives_no_number(
    kit: Kit, wells: PlateMap, images: ImageSet
) -> None:
    dark = replace(images.images[0], junctions=np.full((400, 400), 100, np.uint16))
    derivation, readouts = derived_from_plate(
        replace(images, images=(dark, *images.images[1:])), wells, kit, 1
    )
    assert [one.qc for one in derivation.measurements][0] == "fail"
    assert readouts[0].qc == "warn" and "1 of 2 images failed" in readouts[0].reasons[-1]
    _, alone = derived_from_plate(replace(images, images=(dark,)), wells, kit, 1)
    assert alone[0].qc == "fail" and not np.isfinite(alone[0].value)


def test_a_channel_that_is_not_there_is_told_with_those_that_are(kit: Kit) -> None:
    plane = np.zeros((8, 8), np.uint16)
    content = FieldFile("CLX C01 1", {"ZO-1": plane, "DAPI": plane}, 0.325, (), "0")
    with pytest.raises(FileNotValid, match="no channel nuclei; the file has ZO-1, DAPI"):
        field_image(content, "CLX C01 1", kit)

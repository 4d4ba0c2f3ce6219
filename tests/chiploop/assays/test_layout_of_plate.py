"""Which layout is of which plate of a file, and plates that do not fit theirs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chiploop.assays.export_contents import contents_of_export, signals_of
from chiploop.assays.layout_of_plate import layouts_of_plates
from chiploop.assays.plate_layout import LayoutWell, PlateLayout
from chiploop.errors import FileNotValid
from chiploop.exports import read_export
from chiploop.exports.export import Export

GEN5 = "gen5_absorbance_stdcurve_singleplate.txt"
METHODICAL_MIND = "msd_methodical_mind_test_1.txt"
BLANKS = tuple(LayoutWell(f"A{i}", "blank", "", 0.0) for i in range(1, 4))


def gen5(shared_data: Path) -> tuple[Export, PlateLayout]:
    """Return an export and the layout that it states itself."""
    export = read_export(shared_data / "vendor_exports" / GEN5)
    signals = signals_of(export, "Plate 1")
    (contents,) = contents_of_export(export, "Plate 1", signals).contents.values()
    wells = tuple(
        LayoutWell(well, one.role, one.sample, one.concentration, one.dilution)
        for well, one in contents.items()
    )
    return export, PlateLayout("", "", 96, wells)


def test_a_layout_without_a_name_is_of_every_plate(shared_data: Path) -> None:
    export = read_export(shared_data / "vendor_exports" / METHODICAL_MIND)
    found, notes = layouts_of_plates(export, [PlateLayout("", "", 96, BLANKS)])
    assert list(found) == ["22M0TALA85N", "22M0TAQA86T"]
    assert "the layout names no plate: it is taken for all 2" in notes


def test_a_named_layout_is_of_its_plate_and_another_is_refused(shared_data: Path) -> None:
    export = read_export(shared_data / "vendor_exports" / METHODICAL_MIND)
    named = PlateLayout("", "22M0TAQA86T", 96, BLANKS)
    assert list(layouts_of_plates(export, [named])[0]) == ["22M0TAQA86T"]
    with pytest.raises(FileNotValid, match="two layouts are of plate '22M0TAQA86T'"):
        layouts_of_plates(export, [named, replace(named, name="22M0TAQA86T")])
    with pytest.raises(FileNotValid, match="the layout is of 'P9'"):
        layouts_of_plates(export, [PlateLayout("P9", "", 96, BLANKS)])


def test_a_plate_that_was_turned_is_refused(shared_data: Path) -> None:
    export, layout = gen5(shared_data)
    assert list(layouts_of_plates(export, [layout])[0]) == ["Plate 1"]
    turned = replace(
        layout,
        contents=tuple(
            replace(
                one, well=f"{chr(ord('A') + ord('H') - ord(one.well[0]))}{13 - int(one.well[1:])}"
            )
            for one in layout.contents
        ),
    )
    with pytest.raises(FileNotValid, match="turned by 180 degrees"):
        layouts_of_plates(export, [turned])
    with pytest.raises(FileNotValid, match="of 96 wells, the layout of 384"):
        layouts_of_plates(export, [replace(layout, wells=384)])

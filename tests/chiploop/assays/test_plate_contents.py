"""A layout over what a file says: agreement, differences that are told, units."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.assays.plate_contents import WellContent, contents_of_layout, laid_over
from chiploop.assays.plate_layout import PlateLayoutNotValid, read_plate_layout
from chiploop.errors import FileNotValid


def layout_of(tmp_path: Path, *lines: str) -> dict[str, WellContent]:
    path = tmp_path / "layout.csv"
    head = "well,role,sample,concentration,dilution,chip,time,anchor"
    path.write_text("\n".join([head, *lines, ""]), encoding="utf-8")
    return contents_of_layout(read_plate_layout(path))


def test_a_layout_becomes_what_the_assays_take(tmp_path: Path) -> None:
    found = layout_of(
        tmp_path,
        "A1,standard,S1,2 ng/mL,,,,yes",
        "A2,standard,S2,500 pg/mL,,,,",
        "A3,blank,,,,,,",
        "B1:B2,sample,,,4,C01,36 h,",
        "B3,control,low,80 pg/mL,2,,,no",
    )
    assert found["A1"] == WellContent("standard", "S1", "", 2000.0, "pg/mL", 1.0, True)
    assert not found["A2"].is_anchor
    assert (found["A3"].role, found["A3"].concentration) == ("blank", 0.0)
    assert found["B1"] == found["B2"] == WellContent("sample", "C01 36 h", dilution=4.0)
    assert (found["B3"].concentration, found["B3"].dilution) == (80.0, 2.0)


def test_only_a_standard_can_be_an_anchor(tmp_path: Path) -> None:
    with pytest.raises(PlateLayoutNotValid, match="line 2, anchor: read 'yes'"):
        layout_of(tmp_path, "A1,sample,X,,,,,yes")
    with pytest.raises(PlateLayoutNotValid, match="read 'maybe'; yes or no"):
        layout_of(tmp_path, "A1,standard,S1,5 pg/mL,,,,maybe")


def test_a_layout_that_agrees_is_taken_without_a_word() -> None:
    told = {"A1": WellContent("standard", "STD1", "", 2.0, "ng/mL")}
    asked = {"A1": WellContent("standard", "top", "", 2000.0, "pg/mL")}
    found, notes = laid_over({"IL-6": told}, asked, ["IL-6"])
    assert notes == () and found["IL-6"] == asked


def test_what_differs_is_told_and_the_layout_is_taken() -> None:
    told = {
        "A1": WellContent("standard", "STD1", "", 2000.0, "as exported"),
        "A2": WellContent("sample", "U1", dilution=2.0),
        "A3": WellContent("sample", "U2"),
    }
    asked = {
        "A1": WellContent("standard", "S1", "", 1000.0, "pg/mL"),
        "A2": WellContent("sample", "C1", dilution=8.0),
        "A3": WellContent("blank", "", "", 0.0),
    }
    found, notes = laid_over({"IL-6": told}, asked, ["IL-6"])
    assert found["IL-6"]["A1"].concentration == 1000.0
    assert found["IL-6"]["A2"].dilution == 8.0 and found["IL-6"]["A3"].role == "blank"
    assert len(notes) == 3 and all(note.endswith("the layout is taken") for note in notes)
    assert "concentration 1000 pg/mL in the layout, 2000 in the file, in A1" in notes[0]
    assert "dilution 8 in the layout, 2 in the file, in A2" in notes[1]
    assert "the layout says blank, the file sample, in A3" in notes[2]


def test_what_only_the_file_knows_stays() -> None:
    told = {
        "A1": WellContent("control", "QC1", "", 80.0, "pg/mL"),
        "A2": WellContent("sample", "SPL1:2", "SPL1", dilution=2.0),
        "A3": WellContent("sample", "SPL9"),
    }
    asked = {"A1": WellContent("control"), "A2": WellContent("sample", dilution=2.0)}
    found, notes = laid_over({"IL-6": told}, asked, ["IL-6"])
    assert notes == () and found["IL-6"] == told


def test_a_unit_that_the_file_does_not_name_is_the_layouts_where_they_agree() -> None:
    told = {
        "A1": WellContent("standard", "S1", "", 500.0, "as exported"),
        "A2": WellContent("standard", "S2", "", 250.0, "as exported"),
    }
    asked = {"A1": WellContent("standard", "S1", "", 500.0, "pg/mL")}
    found, _ = laid_over({"IL-6": told}, asked, ["IL-6"])
    assert {one.unit for one in found["IL-6"].values()} == {"pg/mL"}
    differs = {"A1": WellContent("standard", "S1", "", 400.0, "pg/mL")}
    with pytest.raises(FileNotValid, match="well A2 has the unit 'as exported'"):
        laid_over({"IL-6": told}, differs, ["IL-6"])


def test_a_files_own_unit_is_converted_beside_a_layouts() -> None:
    told = {
        "A1": WellContent("standard", "S1", "", 0.5, "ng/mL"),
        "A2": WellContent("standard", "S2", "", 0.25, "ng/mL"),
    }
    asked = {"A1": WellContent("standard", "S1", "", 500.0, "pg/mL")}
    found, notes = laid_over({"IL-6": told}, asked, ["IL-6"])
    assert notes == ()
    assert found["IL-6"]["A2"] == WellContent("standard", "S2", "", 250.0, "pg/mL")
    units = {"A2": WellContent("standard", "S2", "", 3.0, "IU/mL")}
    with pytest.raises(FileNotValid, match="'IU/mL' in the file"):
        laid_over({"IL-6": units}, asked, ["IL-6"])

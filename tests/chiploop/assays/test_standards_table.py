"""A kit's table of standards: what is read, what is refused with its place, where it differs."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.assays.plate_contents import WellContent
from chiploop.assays.standards_table import Standards, read_standards, with_standards
from chiploop.errors import FileNotValid
from chiploop.measurement import WellReadout

GOOD = """sample,role,unit,IL-6,TNF
Standard1,standard,ng/mL,2.5,4
Control1,control,pg/mL,310,
Background0,blank,,0,0
"""


def table(tmp_path: Path, text: str) -> Standards:
    path = tmp_path / "standards.csv"
    path.write_text(text, encoding="utf-8")
    return read_standards(path)


def readouts(*samples: str) -> dict[str, dict[str, WellReadout]]:
    wells = {f"A{i + 1}": WellReadout(f"A{i + 1}", s, "IL-6", 9.0, "MFI")
             for i, s in enumerate(samples)}  # fmt: skip
    return {"IL-6": wells, "TNF": wells}


def test_a_table_says_what_stands_in_the_wells_of_its_names(tmp_path: Path) -> None:
    found, notes = with_standards(
        {}, readouts("Standard1", "Control1", "Background0", "U1"), table(tmp_path, GOOD)
    )
    assert notes == ()
    assert found["IL-6"] == {
        "A1": WellContent("standard", "Standard1", "", 2.5, "ng/mL"),
        "A2": WellContent("control", "Control1", "", 310.0, "pg/mL"),
        "A3": WellContent("blank", "Background0", "", 0.0, ""),
    }
    assert set(found["TNF"]) == {"A1", "A3"}  # the control has no TNF


def test_role_and_unit_may_be_left_out_and_zero_is_a_blank(tmp_path: Path) -> None:
    found, _ = with_standards(
        {}, readouts("S1", "S0"), table(tmp_path, "sample,IL-6\nS1,500\nS0,0\n")
    )
    assert found["IL-6"]["A1"] == WellContent("standard", "S1", "", 500.0, "pg/mL")
    assert found["IL-6"]["A2"].role == "blank"


def test_what_the_file_says_otherwise_is_told(tmp_path: Path) -> None:
    told = {"IL-6": {"A1": WellContent("standard", "S1", "", 400.0, "pg/mL")}}
    found, notes = with_standards(told, readouts("S1"), table(tmp_path, "sample,IL-6\nS1,500\n"))
    assert found["IL-6"]["A1"].concentration == 500.0
    assert notes == (
        "IL-6, S1: concentration 500 pg/mL in the table of standards, 400 pg/mL in the file",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: read ''"),
        ("name,IL-6\nS1,5\n", "a column 'sample'"),
        ("sample,IL-6,IL-6\nS1,5,5\n", "each once"),
        ("sample,IL-6\n", "no line of a standard"),
        ("sample,IL-6\nS1,5\nS1,6\n", "line 3: sample 'S1'"),
        ("sample,role,IL-6\nS1,top,5\n", "line 2: sample 'S1', role 'top'"),
        ("sample,IL-6\nS1,1,5\n", "line 2: 3 cells, the header has 2"),
        ("sample,IL-6\nS1,-5\n", "line 2, column 'IL-6': read '-5'"),
        ("sample,IL-6\nS1,nan\n", "read 'nan'"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotValid) as trouble:
        table(tmp_path, text)
    assert said in str(trouble.value)


def test_a_table_of_other_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotValid, match="no name is in both"):
        with_standards({}, readouts("Cal1"), table(tmp_path, GOOD))

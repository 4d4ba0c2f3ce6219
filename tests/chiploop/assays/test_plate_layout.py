"""Plate layouts of a person: CSV and YAML say the same, and every problem is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.assays.plate_layout import LayoutWell, PlateLayoutNotValid, read_plate_layout
from chiploop.errors import FileNotValid

HEADER = "well,role,sample,concentration,dilution,replicate,chip,time\n"


def written(tmp_path: Path, text: str, name: str = "plate.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_csv_and_yaml_say_the_same(tmp_path: Path) -> None:
    table = written(
        tmp_path,
        "plate,barcode,plate_wells," + HEADER
        + "P7,22M0,384,A01,standard,S1,0.5 ng/mL,,1,,\n"
        + "P7,22M0,384,P24,blank,,,,2,,\n"
        + "P7,22M0,384,C3,sample,,,4,1,C01,1.5 d\n",
    )  # fmt: skip
    page = written(
        tmp_path,
        "plate: P7\nbarcode: 22M0\nplate_wells: 384\nwells:\n"
        "  - {well: A1, role: standard, sample: S1, concentration: 500 pg/mL}\n"
        "  - {well: P24, role: blank, replicate: 2}\n"
        "  - {well: C3, role: sample, dilution: 4, chip: C01, time: 36 h}\n",
        "plate.yaml",
    )
    layout = read_plate_layout(table)
    assert layout == read_plate_layout(page)
    assert (layout.name, layout.barcode, layout.wells) == ("P7", "22M0", 384)
    assert layout.contents == (
        LayoutWell("A1", "standard", "S1", 500.0),
        LayoutWell("P24", "blank", "", 0.0, replicate=2),
        LayoutWell("C3", "sample", "", None, 4.0, 1, "C01", 36.0),
    )


@pytest.mark.parametrize(
    ("wells", "last"), [(6, "B3"), (24, "D6"), (96, "H12"), (384, "P24"), (1536, "AF48")]
)
def test_a_rectangle_fills_the_plate_to_its_last_well(
    tmp_path: Path, wells: int, last: str
) -> None:
    text = f"plate_wells: {wells}\nwells:\n  - {{well: 'A1:{last}', role: blank}}\n"
    layout = read_plate_layout(written(tmp_path, text, "plate.yml"))
    assert len(layout.contents) == wells and layout.contents[-1].well == last


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("A1,ghost,,,,,,", "line 2, role: read 'ghost'"),
        ("A13,blank,,,,,,", "line 2, well: read 'A13'; A1 to H12"),
        ("AA1,blank,,,,,,", "line 2, well: read 'AA1'"),
        ("A1,standard,S1,,,,,", "a standard needs one above 0"),
        ("A1,standard,S1,500,,,,", "line 2, concentration"),
        ("A1,standard,S1,500 mg,,,,", "line 2, concentration"),
        ('A1,standard,S1,"0,5 ng/mL",,,,', "line 2, concentration"),
        ("A1,sample,,,,,,", "needs its name or its chip"),
        ("A1,blank,,,0.5,,,", "line 2, dilution: read '0.5'"),
        ("A1,blank,,,nan,,,", "line 2, dilution: read 'nan'"),
        ("A1,blank,,,,0,,", "line 2, replicate: read '0'"),
        ("A1,blank,,,,,,,", "9 cells, the header has 8"),
        ("A1,blank,,,,,,\nA01,blank,,,,,,", "line 3, well: A1 stands in line 2 already"),
        ("", "no well"),
    ],
)
def test_a_line_that_can_not_be_is_told_with_its_place(
    tmp_path: Path, line: str, said: str
) -> None:
    with pytest.raises(PlateLayoutNotValid, match=said):
        read_plate_layout(written(tmp_path, HEADER + line + "\n"))


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(PlateLayoutNotValid) as told:
        read_plate_layout(written(tmp_path, HEADER + "A1,ghost,,,,,,\nZ9,blank,,,,,,\n"))
    assert [one.line for one in told.value.problems] == [2, 3]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("plate.yaml", "plate_wells: 97\nwells: []\n", "one of 6, 12"),
        ("plate.yaml", "wells: A1\n", "a list of wells"),
        ("plate.yaml", "wells:\n  - A1\n", "line 2, wells"),
        ("plate.yaml", "colour: red\nwells: []\n", "line 1, colour: not known"),
        ("plate.yaml", "wells:\n  - {well: A1, role: blank, hue: 3}\n", "hue: not known"),
        ("plate.csv", "well;role\nA1;blank\n", "column 'well;role'"),
        ("plate.csv", "well,role,barcode\nA1,blank,X\nA2,blank,Y\n", "'Y', and 'X' before"),
        ("plate.txt", "", "is a .csv or .yaml"),
        ("plate.csv", 'well,role\n"A1,blank\n', "table with commas"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(FileNotValid, match=said):
        read_plate_layout(written(tmp_path, text, name))


def test_a_standard_1000_times_off_its_ladder_is_said_and_left(tmp_path: Path) -> None:
    levels = [1725.0, 862.5, 431.25, 215625.0, 107.8125, 53.90625]
    text = HEADER + "".join(
        f"{chr(65 + i)}1,standard,S{i + 1},{level} pg/mL,,,,\n" for i, level in enumerate(levels)
    )
    layout = read_plate_layout(written(tmp_path, text))
    assert len(layout.notes) == 1 and "S4 (215625 pg/mL)" in layout.notes[0]
    assert layout.contents[3].concentration_pg_ml == 215625.0

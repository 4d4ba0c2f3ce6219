"""Methodical Mind exports: two plates, and the means by which they check themselves."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from chiploop.errors import FileNotValid
from chiploop.exports import read_export
from tests.chiploop.exports.vendor_files import changed, text_of

NAME = "msd_methodical_mind_test_1.txt"


def test_both_plates_are_read_to_the_last_well(shared_data: Path) -> None:
    export = read_export(shared_data / "vendor_exports" / NAME)
    assert Counter(row.plate for row in export.rows) == {"22M0TALA85N": 96, "22M0TAQA86T": 96}
    found = {(row.plate, row.readout.well): row.readout.value for row in export.rows}
    assert found["22M0TALA85N", "A1"] == 12895.0
    assert found["22M0TALA85N", "H12"] == 997.0
    assert found["22M0TAQA86T", "D12"] == 15524.0
    assert all(one.qc == "ok" and one.unit == "counts" for one in export.readouts)
    assert [plate.barcode for plate in export.plates] == ["22M0TALA85N", "22M0TAQA86T"]
    assert "2 plate(s)" in export.notes[0]


def test_the_name_of_the_zone_must_be_that_of_the_laboratory(shared_data: Path) -> None:
    path = shared_data / "vendor_exports" / NAME
    told = read_export(path, time_zone=ZoneInfo("America/New_York")).times
    assert [one.utc.isoformat() for one in told if one.utc] == [
        "2023-09-08T17:39:33+00:00",
        "2023-09-08T17:40:49+00:00",
    ]
    other = read_export(path, time_zone=ZoneInfo("Europe/Berlin")).times[0]
    assert other.utc is None and "EDT" in other.problem
    assert other.text == "09/08/2023 13:39:33 EDT"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("12895", "12985", "'Average' is 5203, and the wells"),
        ("Spots Per Well:\t1", "Spots Per Well:\t4", "'4' spots per well"),
        ("Orient   :\tNormal", "Orient   :\tRotated", "turned round"),
        ("Type     :\t96", "Type     :\t384", "type '384'"),
        ("==Statistics==", "==Other==", "section 'Other'"),
        ("B \t", "C \t", "row is missing, doubled or moved"),
        ("22M0TAQA86T", "22M0TALA85N", "stands in the file twice"),
        ("12895", "12895,5", "decimal comma or a thousands|two number styles|Average"),
        ("12895", "1 289", "line 25, column 2"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(
    shared_data: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(FileNotValid, match=said):
        read_export(changed(shared_data, tmp_path, NAME, old, new))


def test_two_values_exchanged_between_sectors_are_seen_by_the_means(
    shared_data: Path, tmp_path: Path
) -> None:
    lines = text_of(shared_data, NAME).split("\r\n")
    at = next(i for i, line in enumerate(lines) if line.startswith("A \t"))
    cells = lines[at].split("\t")
    cells[4], cells[5] = cells[5], cells[4]
    lines[at] = "\t".join(cells)
    path = tmp_path / NAME
    path.write_text("\r\n".join(lines), newline="")
    with pytest.raises(FileNotValid, match="contradicts itself"):
        read_export(path)


def test_a_decimal_comma_in_the_whole_file_is_read_and_said(
    shared_data: Path, tmp_path: Path
) -> None:
    text = text_of(shared_data, NAME)
    lines = [
        line[:10] + line[10:].replace(".", ",") if line.split(":")[0].strip() in NUMBERS else line
        for line in text.split("\r\n")
    ]
    path = tmp_path / NAME
    path.write_text("\r\n".join(lines), newline="")
    export = read_export(path)
    whole = read_export(shared_data / "vendor_exports" / NAME)
    assert [one.value for one in export.readouts] == [one.value for one in whole.readouts]
    assert "decimal comma" in export.notes[-1]


NUMBERS = ("Radius", "Spacing", "Angle", "CV (%)", "Temp.Val.")

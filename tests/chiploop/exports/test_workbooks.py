"""Workbooks (SkanIt, Magellan): untried and saying so; damaged and hostile ones are refused."""

from __future__ import annotations

import random
import sys
import tracemalloc

import pytest

from chiploop.errors import ChiploopError, FileNotValid
from chiploop.exports import read_export_bytes
from chiploop.exports.readers import WORKBOOK_READERS
from chiploop.exports.trouble import ExportIncomplete, FormatNotKnown, LibraryMissing
from chiploop.exports.workbook import read_workbook
from tests.chiploop.exports.workbooks import Rows, workbook


def skanit() -> dict[str, Rows]:
    table: Rows = [["ELISA.skax"], ["10/10/2022 9:00:04 PM"], [], ["Plate 1"],
                   ["Wavelength: 450 nm"], ["Abs", 1, 2, 3], ["A", 0.1, 0.2, 0.3],
                   ["B", 0.4, 0.5, 0.6], [], ["Sample", 1, 2, 3], ["A", "Std0001", "Un1", "Un2"],
                   ["B", "Blank1", "Un3", "Un4"]]  # fmt: skip
    return {"Session information": [["Session name", "ELISA"]], "Absorbance 1": table}


def magellan() -> dict[str, Rows]:
    wells: Rows = [[f"{row}{column}", 0.1 * column + i, "SM1_1"]
                   for i, row in enumerate("ABCDEFGH") for column in range(1, 13)]  # fmt: skip
    return {
        "Sheet1": [
            ["Well positions", "Label1", "Layout"],
            *wells,
            [],
            ["Date of measurement: 2024-03-26/Time of measurement: 10:25:15"],
            ["Measurement mode: Absorbance"],
            ["Meas. temperature: Label1: 23.4 °C"],
        ]
    }


def test_both_are_marked_untried() -> None:
    assert all(reader.untried for reader in WORKBOOK_READERS.values())


def test_without_the_library_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(LibraryMissing, match=r"chiploop\[xlsx\]"):
        read_export_bytes(workbook(skanit()), "plate.xlsx")


def test_skanit_gives_every_well_with_its_sample() -> None:
    export = read_export_bytes(workbook(skanit()), "plate.xlsx")
    assert export.format == "skanit" and export.notes[0].startswith("untried")
    found = {one.well: (one.sample, one.value, one.unit) for one in export.readouts}
    assert found["A1"] == ("Std0001", 0.1, "OD") and found["B3"] == ("Un4", 0.6, "OD")
    assert len(found) == 6 and {row.wavelength_nm for row in export.rows} == {450}
    assert export.plates[0].wells == 6


def test_magellan_gives_every_well_and_keeps_text_columns_apart() -> None:
    export = read_export_bytes(workbook(magellan()), "plate.xlsx")
    assert export.format == "magellan" and export.notes[0].startswith("untried")
    assert len(export.rows) == 96
    assert export.readouts[-1].well == "H12"
    assert export.readouts[-1].value == pytest.approx(8.2)
    assert "column 'Layout' holds text" in export.notes[1]
    assert export.times[0].text == "2024-03-26 10:25:15"


@pytest.mark.parametrize(
    ("row", "cells", "said"),
    [
        (7, ["C", 0.4, 0.5, 0.6], "'C' where row 'B'"),
        (7, ["B", 0.4, "wet", 0.6], "line 8, column 3: 'wet'"),
        (7, ["B", 0.4, 0.5, 0.6, 0.7], "more values than columns"),
        (7, ["B", 0.4, "0,5", 0.6], "two number styles"),
        (5, ["Abs", 1, 3, 2], "columns are 1, 3, 2"),
        (5, ["nothing"], "incomplete|no program"),
    ],
)
def test_skanit_that_contradicts_itself_is_refused(
    row: int, cells: list[str | float], said: str
) -> None:
    sheets = skanit()
    sheets["Absorbance 1"][row] = cells
    with pytest.raises(FileNotValid, match=said):
        read_export_bytes(workbook(sheets), "plate.xlsx")


def test_a_row_that_is_missing_from_skanit_is_said() -> None:
    sheets = skanit()
    del sheets["Absorbance 1"][7]
    assert "1 of 2 rows" in read_export_bytes(workbook(sheets), "plate.xlsx").notes[1]


def test_magellan_without_its_end_or_with_a_well_twice_is_refused() -> None:
    sheets = magellan()
    rows = sheets["Sheet1"]
    with pytest.raises(ExportIncomplete, match="Date of measurement"):
        read_export_bytes(workbook({"Sheet1": rows[:60]}), "plate.xlsx")
    with pytest.raises(FileNotValid, match="well A1 is in row 2 already"):
        read_export_bytes(workbook({"Sheet1": [*rows[:2], *rows[1:]]}), "plate.xlsx")
    del rows[5]
    notes = read_export_bytes(workbook(sheets), "plate.xlsx").notes
    assert any("95 of 96 wells" in note for note in notes)


def test_a_zip_of_something_else_is_no_workbook() -> None:
    empty = b"PK\x05\x06" + bytes(18)
    with pytest.raises(FileNotValid):
        read_workbook(empty, "a.xlsx")
    import io
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(FormatNotKnown, match="no xlsx workbook"):
        read_workbook(file.getvalue(), "a.zip")


def test_a_cell_far_out_and_a_part_that_unpacks_to_gigabytes_are_refused_unread() -> None:
    part = "xl/worksheets/sheet2.xml"
    far = '<worksheet><sheetData><row r="1048576"><c r="XFD1048576"/></row></sheetData></worksheet>'
    bomb = "<worksheet>" + " " * 70_000_000 + "</worksheet>"
    entity = '<!DOCTYPE a [<!ENTITY b "boom">]><worksheet>&b;</worksheet>'
    cases = ((far, "a cell XFD1048576"), (bomb, "unpacked"), (entity, "not what it declares"))
    for content, said in cases:
        data = workbook(skanit(), {part: content})
        tracemalloc.start()
        with pytest.raises(FileNotValid, match=said):
            read_workbook(data, "a.xlsx")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20_000_000


def test_random_changes_of_a_workbook_end_in_our_own_kinds_of_trouble() -> None:
    rng = random.Random(5)
    for whole in (workbook(skanit()), workbook(magellan())):
        for _ in range(400):
            data = bytearray(whole)
            for _ in range(rng.randint(1, 5)):
                data[rng.randrange(4, len(data))] = rng.randrange(256)
            cut = bytes(data[: rng.randrange(4, len(data))]) if rng.random() < 0.3 else bytes(data)
            try:
                read_export_bytes(cut, "plate.xlsx")
            except ChiploopError:
                pass

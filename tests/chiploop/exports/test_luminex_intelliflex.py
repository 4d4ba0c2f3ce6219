"""INTELLIFLEX exports: every region of every well, and columns and lines that were moved."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from chiploop.errors import FileNotValid
from chiploop.exports import read_export
from tests.chiploop.exports.vendor_files import changed, text_of

NAME = "luminex_intelliflex_v2_2.csv"


def test_the_export_is_read_to_its_last_cell(shared_data: Path) -> None:
    export = read_export(shared_data / "vendor_exports" / NAME)
    counts = Counter(row.statistic for row in export.rows)
    regions = ("MEDIAN", "BACKGROUND", "NET MEDIAN", "NET NORMALIZED MEDIAN", "MEAN", "COUNT",
               "%CV", "AVERAGE MFI", "REPLICATE %CV")  # fmt: skip
    assert counts == {**dict.fromkeys(regions, 10 * 14), "Well": 10 * 6}
    assert len(export.rows) == 1320
    numbers = [one for one in export.readouts if math.isfinite(one.value)]
    # Two wells gave beads: all but two of their nine statistics have numbers.
    assert len(numbers) == 60 + 2 * 14 * 7
    assert len({row.readout.analyte for row in export.rows if row.statistic == "MEDIAN"}) == 14
    assert [(plate.name, plate.wells) for plate in export.plates] == [("TEST_PLATE_001", 96)]
    assert "10 of 96 wells" in export.notes[0]


def test_single_cells_stand_where_the_file_has_them(shared_data: Path) -> None:
    export = read_export(shared_data / "vendor_exports" / NAME)
    found = {
        (row.statistic, row.readout.well, row.readout.analyte): row.readout for row in export.rows
    }
    assert found["MEDIAN", "B1", "HPV6"].value == 6.05021
    assert found["NET MEDIAN", "A2", "HPV59"].value == 18.12325
    assert found["COUNT", "B1", "HPV45"].value == 18.68229
    assert found["Well", "H1", "DILUTION"].value == 97.0
    assert found["MEDIAN", "B1", "HPV6"].sample == "Sample_002"
    assert found["MEDIAN", "B1", "HPV6"].reasons == ("instrument: warning",)
    assert found["MEDIAN", "A1", "HPV6"].reasons == ("nan", "instrument: dry")
    assert found["MEDIAN", "A1", "HPV6"].qc == "fail"


def test_times_are_utc_only_with_the_zone_of_the_laboratory(shared_data: Path) -> None:
    path = shared_data / "vendor_exports" / NAME
    start = read_export(path).times[0]
    assert (start.what, start.text, start.utc) == ("plate start", "2026-02-25 04:42:08 PM", None)
    assert "name that of the laboratory" in start.problem
    told = read_export(path, time_zone=ZoneInfo("Europe/Berlin")).times
    assert told[0].utc is not None and told[0].utc.isoformat() == "2026-02-25T15:42:08+00:00"
    assert len(told) == 2 + 10


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("R25: RP1 MEAN,", "R25: RP1 COUNT,", "there twice"),
        ("R25: RP1 MEAN,R25: RP1 COUNT", "R25: RP1 COUNT,R25: RP1 MEAN", "moved or cut"),
        ("WELL LOCATION,WELL TYPE", "WELL TYPE,WELL LOCATION", "not in the order"),
        ("--DOCUMENT SIGNATURE--", "", "end mark|incomplete"),
        ("Instrument Serial Number: IFLX", "Instrument Serial Number: OTHER", "signed by"),
        ("HPV6,25,6.05021", "HPV6,27,6.05021", "region '27' in the columns of region 25"),
        (",B1,U2,", ",A1,U2,", "Duplicate rows are refused"),
        (",B1,U2,", ",I1,U2,", "no well of a plate of 96"),
        ("6.05021", "6.05021,", "a number is written with a comma"),
        ("96 Well Plate", "97 Well Plate", "plate type '97 Well Plate'"),
        ("EF567890EF567890", "", "signature"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(
    shared_data: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(FileNotValid, match=said):
        read_export(changed(shared_data, tmp_path, NAME, old, new))


def test_a_line_that_is_missing_is_seen_by_its_number(shared_data: Path, tmp_path: Path) -> None:
    lines = text_of(shared_data, NAME).split("\r\n")
    path = tmp_path / NAME
    path.write_text("\r\n".join([*lines[:3], *lines[4:]]), newline="")
    notes = " ".join(read_export(path).notes)
    assert "9 of 96 wells" in notes and "lack U3" in notes


def test_a_line_that_is_there_twice_is_read_once_and_said(
    shared_data: Path, tmp_path: Path
) -> None:
    lines = text_of(shared_data, NAME).split("\r\n")
    path = tmp_path / NAME
    path.write_text("\r\n".join([*lines[:3], lines[2], *lines[3:]]), newline="")
    export = read_export(path)
    assert len(export.rows) == 1320
    assert "repeats line 3 to the last character" in export.notes[0]

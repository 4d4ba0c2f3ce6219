"""xPONENT exports: every table, every analyte, and what the instrument said of a well."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from chiploop.errors import FileNotValid
from chiploop.exports import read_export

PART = "luminex_xponent_example02.csv"
FULL = "luminex_xponent_nan_and_not_reported.csv"


def text_of(shared_data: Path) -> str:
    return (shared_data / "vendor_exports" / PART).read_bytes().decode("utf-8")


def written(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "export.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_the_part_of_a_plate_is_read_to_its_last_cell(shared_data: Path) -> None:
    export = read_export(shared_data / "vendor_exports" / PART)
    counts = Counter((row.statistic, row.readout.analyte) for row in export.rows)
    expected = {
        (table, analyte): 4
        for table in ("Median", "Count", "Net MFI", "Avg Net MFI")
        for analyte in ("alpha", "bravo", "Total Events")
    }
    expected["Dilution Factor", "Dilution Factor"] = 4
    assert counts == expected
    assert len(export.rows) == 52
    values = {
        (row.statistic, row.readout.well, row.readout.sample, row.readout.analyte): row.readout
        for row in export.rows
    }
    assert values["Median", "A1", "Unknown1", "alpha"].value == 10921.5
    assert values["Count", "B1", "Unknown2", "alpha"].value == 26
    assert values["Net MFI", "D1", "Unknown4", "bravo"].value == 28980
    assert values["Avg Net MFI", "", "Unknown3", "alpha"].value == 5603
    assert values["Count", "A1", "Unknown1", "bravo"].unit == "beads"
    assert "declares 96 samples and every table holds 4" in " ".join(export.notes)
    assert ("Per Bead Count", "Per Bead: | 25 | 25") in export.metadata


def test_a_warning_of_the_instrument_flags_its_well_and_no_other(shared_data: Path) -> None:
    export = read_export(shared_data / "vendor_exports" / PART)
    flagged = {row.readout.well for row in export.rows if row.readout.qc == "warn"}
    assert flagged == {"A1"}


def test_the_full_plate_keeps_nan_and_not_reported_apart(shared_data: Path) -> None:
    export = read_export(shared_data / "vendor_exports" / FULL)
    counts = Counter((row.statistic, row.readout.analyte) for row in export.rows)
    assert set(counts.values()) == {96}
    assert len(export.rows) == 16 * 96
    median = {
        (row.readout.well, row.readout.analyte): row.readout.reasons[0]
        for row in export.rows
        if row.statistic == "Median" and math.isnan(row.readout.value)
    }
    assert median["A1", "analyte3"] == "missing"
    assert median["B1", "analyte3"] == "nan"
    few = [row for row in export.rows if "few_beads (0 of 25)" in row.readout.reasons]
    assert {row.statistic for row in few} == {"Median", "Net MFI"}
    assert len(few) == 2 * 3 * 96


def test_a_lost_character_of_the_header_is_said_and_numbers_stay_good(shared_data: Path) -> None:
    export = read_export(shared_data / "vendor_exports" / PART)
    assert any("already lost (U+FFFD)" in note for note in export.notes)


def test_a_latin_file_is_read_with_the_default_code_page_and_names_say_so(
    shared_data: Path, tmp_path: Path
) -> None:
    text = text_of(shared_data).replace("\ufffd", "µ").replace("Unknown2", "10 µM")
    export = read_export(written(tmp_path, text, "latin-1"))
    assert export.encoding == "cp1252"
    assert "code page cp1252 (the default of this format)" in export.notes[0]
    for one in export.readouts:
        assert ("name read with code page cp1252" in one.reasons) == (one.sample == "10 µM")


def test_results_below_and_above_the_curve_are_censored(shared_data: Path, tmp_path: Path) -> None:
    text = text_of(shared_data).replace("Net MFI", "Result")
    text = text.replace('"Units:","Bead","Bead"', '"Units:","pg/mL","pg/mL"')
    before, mark, table = text.partition('"DataType:","Result"')
    table = table.replace('"10921.5"', '"> 1000"', 1).replace('"8244"', '"< 22.5"', 1)
    export = read_export(written(tmp_path, before + mark + table))
    found = {
        (row.readout.well, row.readout.analyte): row.readout
        for row in export.rows
        if row.statistic == "Result"
    }
    assert (found["A1", "alpha"].censoring, found["A1", "alpha"].lower) == ("right", 1000.0)
    assert (found["B1", "alpha"].censoring, found["B1", "alpha"].upper) == ("left", 22.5)
    assert found["B1", "alpha"].unit == "pg/mL"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"5603","33948"', '"56,03","33948"', "comma"),
        ('"5603","33948"', '"few","33948"', "'few' is not a number"),
        ('"5603","33948","786"', '"5603","33948"', "is cut"),
        ('"Type","96"', '"Type","97"', "plates of"),
        ('"3(1,C1)"', '"3(1,J1)"', "not on a plate"),
        ('"3(1,C1)"', '"4(1,C1)"', "location number 4 where 3"),
        ('"3(1,C1)","Unknown3"', '"3(1,B1)","Unknown3"', "twice"),
        ('"DataType:","Count"', '"DataType:","Median"', "twice"),
        ("-- CRC --", "", "without its end mark"),
        ("CRC32: 40B50595", "", "without its end mark"),
        ('"Analyte:","alpha","bravo"', '"Analyte:","alpha","charlie"', "must agree"),
    ],
)
def test_a_table_that_contradicts_itself_or_the_others_is_refused(
    shared_data: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    text = text_of(shared_data)
    assert old in text
    with pytest.raises(FileNotValid, match=said):
        read_export(written(tmp_path, text.replace(old, new, 1)))


def test_the_list_style_of_a_comma_decimal_computer_is_refused(
    shared_data: Path, tmp_path: Path
) -> None:
    text = text_of(shared_data).replace('","', '";"').replace("10921.5", "10921,5")
    with pytest.raises(FileNotValid, match="separated by ';'"):
        read_export(written(tmp_path, text))


def test_text_after_the_end_mark_is_refused(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotValid, match="after the end mark"):
        read_export(written(tmp_path, text_of(shared_data) * 2))


def test_too_few_beads_flag_the_analyte_of_that_well(shared_data: Path, tmp_path: Path) -> None:
    text = text_of(shared_data).replace('"Unknown2","26","33"', '"Unknown2","24","33"')
    export = read_export(written(tmp_path, text))
    few = {
        (row.statistic, row.readout.well, row.readout.analyte)
        for row in export.rows
        if "few_beads (24 of 25)" in row.readout.reasons
    }
    assert few == {("Median", "B1", "alpha"), ("Net MFI", "B1", "alpha")}

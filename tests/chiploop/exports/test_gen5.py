"""Gen5 text exports: every read of every well, counted against plate and procedure."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from chiploop.errors import FileNotValid
from chiploop.exports import read_export
from tests.chiploop.exports.vendor_files import changed, text_of

ABSORBANCE = "gen5_absorbance_stdcurve_singleplate.txt"
FLUORESCENCE = "gen5_fluorescence_endpoint_singleplate.txt"


def test_the_absorbance_export_is_read_to_its_last_cell(shared_data: Path) -> None:
    export = read_export(shared_data / "vendor_exports" / ABSORBANCE)
    assert Counter((row.statistic, row.readout.analyte) for row in export.rows) == {
        ("Results", "630nmAbsRead:630"): 96,
        ("Results", "Blank 630nmAbsRead:630"): 96,
        ("Results", "[Concentration]"): 96,
        ("Layout", "Conc/Dil"): 93,
    }
    assert all(math.isfinite(one.value) and one.qc == "ok" for one in export.readouts)
    found = {
        (row.statistic, row.readout.analyte, row.readout.well): row.readout for row in export.rows
    }
    assert found["Results", "630nmAbsRead:630", "A1"].value == 3.337
    assert found["Results", "630nmAbsRead:630", "H12"].value == 0.194
    assert found["Results", "[Concentration]", "D12"].value == 224.043
    assert found["Layout", "Conc/Dil", "B2"].value == 666.67
    assert found["Results", "630nmAbsRead:630", "H12"].sample == "SPL6:4"
    assert found["Results", "630nmAbsRead:630", "A1"].unit == "OD"
    assert {row.wavelength_nm for row in export.rows if row.readout.unit == "OD"} == {630, None}
    assert (export.plates[0].name, export.plates[0].wells) == ("Plate 1", 96)
    assert ("StdCurve Fitting Results: A", "0.00168") in export.metadata
    assert export.notes == ()


def test_the_fluorescence_export_has_two_filter_pairs_and_what_is_made_of_them(
    shared_data: Path,
) -> None:
    export = read_export(shared_data / "vendor_exports" / FLUORESCENCE)
    counts = Counter(row.readout.analyte for row in export.rows)
    assert counts == dict.fromkeys(
        ("DAPI/GFP:360/40,460/40", "DAPI/GFP:485/20,528/20", "normDAPI", "normGFP",
         "meanNormDAPI", "meanNormGFP"), 96,
    )  # fmt: skip
    found = {(row.readout.analyte, row.readout.well): row.readout for row in export.rows}
    assert found["DAPI/GFP:485/20,528/20", "H12"].value == 8665.0
    assert found["DAPI/GFP:485/20,528/20", "H12"].unit == "RFU"
    assert found["normGFP", "B5"].value == 1.029
    assert found["normGFP", "B5"].unit == "as exported"


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        (ABSORBANCE, "3.336\t3.394", "3.394\t3.336", "contradicts itself"),
        (FLUORESCENCE, "0.992\t0.332", "0.332\t0.992", "contradicts itself"),
        (ABSORBANCE, "96 WELL PLATE", "384 WELL PLATE", "1 to 24 are declared"),
        (ABSORBANCE, "Absorbance Endpoint", "Absorbance Kinetic", "kind 'Absorbance Kinetic'"),
        (ABSORBANCE, "\nStdCurve Fitting Results\n", "\n", "label are read|Fitting"),
        (ABSORBANCE, "Results\n\t1\t2\t3", "Results\n\t2\t1\t3", "columns of 'Results'"),
        (ABSORBANCE, "\nC\t0.371", "\nD\t0.371", "row 'D' of 'Results' where 'C'"),
        (ABSORBANCE, "Blank 630nmAbsRead:630", "630nmAbsRead:630", "each once"),
        (ABSORBANCE, "3.337\t3.394", "3,337\t3.394", "two number styles"),
        (ABSORBANCE, "3.337\t3.394", "wet\t3.394", "'wet' is not a number"),
        (ABSORBANCE, "Plate Number\tPlate 1\n", "Plate Number\tPlate 1\nPlate Number\tPlate 2\n",
         "files with one plate"),
    ],
)  # fmt: skip
def test_a_file_that_contradicts_itself_is_refused(
    shared_data: Path, tmp_path: Path, name: str, old: str, new: str, said: str
) -> None:
    with pytest.raises(FileNotValid, match=said):
        read_export(changed(shared_data, tmp_path, name, old, new))


def test_a_read_whose_numbers_are_not_in_the_file_is_said(
    shared_data: Path, tmp_path: Path
) -> None:
    export = read_export(
        changed(shared_data, tmp_path, ABSORBANCE, "Wavelengths:  630", "Wavelengths:  630, 570")
    )
    assert export.notes == (
        "the procedure reads 630nmAbsRead:570, and its numbers are not in the file",
    )


def test_an_overflow_is_a_flag_and_not_a_number(shared_data: Path, tmp_path: Path) -> None:
    export = read_export(changed(shared_data, tmp_path, FLUORESCENCE, "A\t8940", "A\tOVRFLW"))
    one = next(o for o in export.readouts if o.reasons)
    assert (one.well, one.censoring, one.reasons) == ("A1", "right", ("saturated",))
    assert math.isnan(one.value)


def test_a_standard_1000_times_too_large_is_flagged(shared_data: Path, tmp_path: Path) -> None:
    # 74.074 has three decimals: a comma locale takes its point for a thousands separator.
    path = tmp_path / ABSORBANCE
    path.write_text(text_of(shared_data, ABSORBANCE).replace("\t74.074", "\t74074"))
    export = read_export(path)
    failed = {one.sample for one in export.readouts if one.qc == "fail"}
    assert failed == {"STD4"}
    assert "STD4 is declared as 74074" in export.notes[0]


def test_a_decimal_comma_in_the_whole_file_is_read_and_said(
    shared_data: Path, tmp_path: Path
) -> None:
    head, mark, tables = text_of(shared_data, ABSORBANCE).partition("Layout\n")
    path = tmp_path / ABSORBANCE
    path.write_text(head + mark + tables.replace(".", ","))
    export = read_export(path)
    whole = read_export(shared_data / "vendor_exports" / ABSORBANCE)
    assert [one.value for one in export.readouts] == [one.value for one in whole.readouts]
    assert "decimal comma" in export.notes[-1]

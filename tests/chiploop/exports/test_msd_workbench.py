"""Workbench exports: every spot, what its replicates repeat, and standards off their ladder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from chiploop.errors import FileNotValid
from chiploop.exports import read_export
from tests.chiploop.exports.vendor_files import changed, text_of

NAME = "msd_workbench_test_2.csv"


def test_the_export_is_read_to_its_last_cell(shared_data: Path) -> None:
    export = read_export(shared_data / "vendor_exports" / NAME)
    counts = Counter(row.statistic for row in export.rows)
    every = ("Signal", "Adjusted Signal", "Mean", "Adj. Sig. Mean", "CV", "Calc. Concentration",
             "Calc. Conc. Mean", "Calc. Conc. CV")  # fmt: skip
    of_standards = ("Concentration", "% Recovery", "% Recovery Mean")
    assert counts == {**dict.fromkeys(every, 48), **dict.fromkeys(of_standards, 16), "Dilution": 32}
    assert len(export.rows) == 464
    # The two wells of the zero standard have no recovery and no concentration.
    bad = [row for row in export.rows if row.readout.qc != "ok"]
    assert {row.readout.sample for row in bad} == {"S008"} and len(bad) == 10
    assert export.plates[0].barcode == "TEST001"
    assert "48 of 96 wells" in export.notes[0]


def test_single_cells_stand_where_the_file_has_them(shared_data: Path) -> None:
    export = read_export(shared_data / "vendor_exports" / NAME)
    found = {(row.statistic, row.readout.well): row.readout for row in export.rows}
    assert found["Signal", "A1"].value == 1000.0
    assert found["Calc. Concentration", "H4"].value == 3.375
    assert found["Concentration", "G2"].value == 1.5625
    assert (found["Signal", "H4"].sample, found["Signal", "H4"].analyte) == (
        "U008",
        "Test Assay 1.0",
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Signal,Adjusted Signal", "Adjusted Signal,Signal", "in this order"),
        ("B01,1,", "A01,1,", "Duplicate rows are refused"),
        ("B01,1,", "Q45,1,", "outside a plate of 384"),
        ("B01,1,", "B01,one,", "a whole number"),
        ("500.0,500.0,510.0", '"500,0",500.0,510.0', "comma"),
        ("500.0,500.0,510.0", "500,0,500.0,510.0", "a number is written with a comma"),
        ("500.0,500.0,510.0", "OVER!,500.0,510.0", "line 11, column 7.*OVER!"),
        ("Sample,Assay,Well,Spot,Dil", "Sample;Assay,Well,Spot,Dil", "separated|not a format"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(
    shared_data: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(FileNotValid, match=said):
        read_export(changed(shared_data, tmp_path, NAME, old, new))


def test_a_file_cut_within_its_last_number_is_refused(shared_data: Path, tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text(text_of(shared_data, NAME)[:-2])  # 2.5 would be read as 2.
    with pytest.raises(FileNotValid, match="last line has no end"):
        read_export(path)


def test_a_replicate_that_is_missing_flags_its_sample_and_no_other(
    shared_data: Path, tmp_path: Path
) -> None:
    line = next(one for one in text_of(shared_data, NAME).splitlines() if ",A08," in one)
    export = read_export(changed(shared_data, tmp_path, NAME, line + "\n", ""))
    failed = {row.readout.sample for row in export.rows if row.readout.qc == "fail"}
    assert failed == {"U017", "S008"}
    assert any("U017" in note and "Mean is 4010, not 4000" in note for note in export.notes)


def test_a_replicate_that_is_alike_is_missed_by_its_number(
    shared_data: Path, tmp_path: Path
) -> None:
    text = text_of(shared_data, NAME).replace("4020.0,4020.0,4010.0,4010.0", "4000.0,4000.0,4000.0,"
                                              "4000.0").replace("4010.0", "4000.0")  # fmt: skip
    text = text.replace("400.0,401.0", "400.0,400.0").replace("402.0,401.0", "400.0,400.0")
    whole = tmp_path / "whole.csv"
    whole.write_text(text)
    assert len(read_export(whole).notes) == 1
    cut = tmp_path / "cut.csv"
    cut.write_text("".join(one for one in text.splitlines(True) if ",A08," not in one))
    assert any("U017" in n and "1 replicates, the others have 2" in n
               for n in read_export(cut).notes)  # fmt: skip


def test_a_standard_1000_times_too_large_is_flagged_and_left_as_it_is(
    shared_data: Path, tmp_path: Path
) -> None:
    text = text_of(shared_data, NAME).replace(",,3.125,", ",,3125,")
    path = tmp_path / NAME
    path.write_text(text)
    export = read_export(path)
    levels = {
        row.readout.well: row.readout for row in export.rows if row.statistic == "Concentration"
    }
    assert levels["F1"].value == 3125.0
    assert levels["F1"].qc == levels["F2"].qc == "fail"
    assert levels["E1"].qc == "ok"
    assert any("S006" in note and "1000 times" in note for note in export.notes)


def test_a_whole_ladder_1000_times_too_large_is_seen_against_the_curve_of_the_file(
    shared_data: Path, tmp_path: Path
) -> None:
    lines = []
    for line in text_of(shared_data, NAME).splitlines():
        cells = line.split(",")
        if len(cells) > 5 and cells[0].startswith("S0"):
            cells[5] = str(float(cells[5]) * 1000)
        lines.append(",".join(cells) + "\n")
    path = tmp_path / NAME
    path.write_text("".join(lines))
    export = read_export(path)
    assert any("differ about 1000 times" in note for note in export.notes)
    assert all(row.readout.qc == "fail" for row in export.rows if row.statistic == "Concentration")
    assert all(row.readout.qc == "ok" for row in export.rows if row.readout.sample.startswith("U0"))

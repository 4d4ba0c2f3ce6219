"""SoftMax Pro exports: every block, every well, and the plate that stands in for the reader."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from chiploop.errors import FileNotValid
from chiploop.exports import read_export
from chiploop.exports.absorbance import absorbance_plate

ABSORBANCE = "softmax_pro_absorbance_endpoint_example01.txt"
FLUORESCENCE = "softmax_pro_fluorescence_endpoint_example06.txt"


def text_of(shared_data: Path, name: str) -> str:
    return (shared_data / "vendor_exports" / name).read_bytes().decode("utf-16")


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "export.txt"
    path.write_bytes(text.encode("utf-16"))
    return path


def test_the_absorbance_export_is_read_to_its_last_cell(shared_data: Path) -> None:
    export = read_export(shared_data / "vendor_exports" / ABSORBANCE)
    counts = Counter((row.statistic, row.readout.analyte) for row in export.rows)
    assert counts == {
        ("Raw", "A450"): 2 * 96,
        ("Reduced", "reduced"): 2 * 96,
        ("Group Standards", "Standard Value ng/mL"): 7,
        ("Group Standards", "BackCalcConc"): 42,
        ("Group Standards", "OD"): 42,
        ("Group Standards", "AvgOD"): 7,
        ("Group Standards", "SD"): 7,
        ("Group Standards", "CV"): 7,
        ("Group UnknownsNoDiln", "OD"): 144,
        ("Group UnknownsNoDiln", "Conc"): 144,
        ("Group UnknownsNoDiln", "AvgConc"): 24,
        ("Group UnknownsNoDiln", "SD"): 24,
        ("Group UnknownsNoDiln", "CV"): 24,
    }
    assert len(export.rows) == 856
    assert all(math.isfinite(one.value) and one.qc == "ok" for one in export.readouts)
    assert {row.readout.well for row in export.rows if row.statistic == "Raw"} == {
        f"{row}{column}" for row in "ABCDEFGH" for column in range(1, 13)
    }
    assert [(plate.name, plate.wells, plate.unit) for plate in export.plates] == [
        ("Plate01", 96, "OD"),
        ("Plate02", 96, "OD"),
    ]
    assert ("Group Standards, MinStd", "Smallest standard value = | 0.004 | Min(AvgOD) | 3 decimal "
            "places | Numeric Notation") in export.metadata  # fmt: skip
    assert export.encoding == "utf-16-le"


def test_single_cells_of_the_absorbance_export_stand_where_the_file_has_them(
    shared_data: Path,
) -> None:
    export = read_export(shared_data / "vendor_exports" / ABSORBANCE)
    values = {
        (row.plate, row.statistic, row.readout.analyte, row.readout.well, row.readout.sample): (
            row.readout.value
        )
        for row in export.rows
    }
    assert values["Plate01", "Raw", "A450", "A1", ""] == 3.41797666666667
    assert values["Plate01", "Raw", "A450", "H1", ""] == 7.66666666666667e-05
    assert values["Plate02", "Raw", "A450", "H12", ""] == 1.79018796133333
    assert values["Plate02", "Group Standards", "BackCalcConc", "A1", "01"] == 315.8
    assert values["Plate02", "Group UnknownsNoDiln", "Conc", "H12", "24"] == 211.003
    group = "Group UnknownsNoDiln"
    assert values["Plate01+Plate02", group, "AvgConc", "", "24"] == 238.427


def test_the_fluorescence_export_has_three_wavelengths_on_three_plates(shared_data: Path) -> None:
    export = read_export(shared_data / "vendor_exports" / FLUORESCENCE)
    counts = Counter((row.statistic, row.readout.analyte) for row in export.rows)
    for analyte in ("F404/445", "F485/535", "F569/780"):
        assert counts["Raw", analyte] == 3 * 96
    assert counts["Reduced", "reduced"] == 3 * 96
    assert counts["Group Unknowns", "Value"] == 3 * 72
    assert counts["Group PositiveControl", "Values"] == 3 * 8
    assert len(export.rows) == 1656
    missing = [row for row in export.rows if row.readout.reasons]
    assert {row.readout.analyte for row in missing} == {"Concentration"}
    assert {row.readout.reasons for row in missing} == {("missing",)}


def two_wavelengths(cell: str = "0.100") -> str:
    """A plate at 450 and 570 nm, written by hand after the two public examples."""
    columns = "\t".join(str(i) for i in range(1, 13))
    lines = [
        "##BLOCKS= 1",
        "Plate:\tELISA-1\t1.3\tPlateFormat\tEndpoint\tAbsorbance\tRaw\tFALSE\t1\t\t\t\t\t\t2\t"
        "450 570 \t1\t12\t96\t1\t8\t\t",
        f"\tTemperature(°C)\t{columns}\t\t{columns}\t\t",
    ]
    for i in range(8):
        signal = [f"{i + j / 100:.3f}" for j in range(12)]
        reference = ["0.040"] * 12
        if i == 2:
            signal[3] = cell
        temperature = "24.5" if i == 0 else ""
        lines.append("\t".join(["", temperature, *signal, "", *reference, "", ""]))
    return "\r\n".join([*lines, "", "~End", "Original Filename: x; Date Last Saved: y", ""])


def test_a_plate_at_two_wavelengths_stands_in_for_the_reader(tmp_path: Path) -> None:
    export = read_export(written(tmp_path, two_wavelengths()))
    plate = absorbance_plate(export, "ELISA-1", time_h=72.0)
    assert sorted(plate.absorbance) == [450, 570]
    expected = np.arange(8)[:, None] + np.arange(12)[None, :] / 100
    expected[2, 3] = 0.1
    np.testing.assert_allclose(plate.absorbance[450], expected, atol=1e-12)
    np.testing.assert_allclose(plate.absorbance[570], 0.04)
    assert (plate.time_h, plate.temperature_c, plate.flags) == (72.0, 24.5, {})
    assert plate.raw_sha256 == export.sha256


def test_a_saturated_well_is_a_flag_and_a_lower_bound_not_a_number(tmp_path: Path) -> None:
    export = read_export(written(tmp_path, two_wavelengths("OVRFLW")))
    one = next(r.readout for r in export.rows if r.readout.well == "C4" and r.wavelength_nm == 450)
    assert (one.censoring, one.reasons) == ("right", ("saturated",))
    assert one.lower == 7.11  # the highest number of the same read
    plate = absorbance_plate(export, "ELISA-1", time_h=0.0)
    assert math.isnan(plate.absorbance[450][2, 3])
    assert plate.flags == {(450, "C4"): "saturated"}


def test_another_plate_than_the_planned_one_is_refused(tmp_path: Path) -> None:
    export = read_export(written(tmp_path, two_wavelengths()))
    with pytest.raises(FileNotValid, match="no absorbance plate named 'ELISA-2'.*'ELISA-1'"):
        absorbance_plate(export, "ELISA-2", time_h=0.0)
    assert absorbance_plate(export, "ELISA-2", 0.0, plate_name="ELISA-1").plate_id == "ELISA-2"


def test_an_unknown_token_is_refused_with_its_address(tmp_path: Path) -> None:
    with pytest.raises(FileNotValid, match="line 6, column 6: 'bubble'"):
        read_export(written(tmp_path, two_wavelengths("bubble")))


def test_a_decimal_comma_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotValid, match="comma"):
        read_export(written(tmp_path, two_wavelengths("0,100")))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("##BLOCKS= 1", "##BLOCKS= 2", "incomplete: 2 blocks"),
        ("##BLOCKS= 1", "##BLOCKS= 0", "more text after"),
        ("Endpoint", "Kinetic", "layout, read and mode PlateFormat / Kinetic"),
        ("Absorbance", "Luminescence", "Absorbance or Fluorescence"),
        ("\t1\t12\t96\t1\t8", "\t1\t12\t96\t1\t7", "declares 7"),
        ("\t1\t12\t96\t1\t8", "\t1\t11\t96\t1\t8", "11 columns"),
        ("\t1\t12\t96\t1\t8", "\t1\t0\t96\t1\t8", "not a whole number above 0"),
        ("\t1\t12\t96\t1\t8", "\t1\t12\t96\t1\t0", "not a whole number above 0"),
        ("\t1\t12\t96\t1\t8", "\t1\t12\t96\t" + "9" * 5000 + "\t8", "not a whole number"),
        ("450 570 ", "450 ", "2 wavelengths"),
        ("Plate:", "Cuvette:", "a block begins with 'Cuvette:"),
    ],
)
def test_a_header_that_contradicts_its_table_is_refused(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(FileNotValid, match=said):
        read_export(written(tmp_path, two_wavelengths().replace(old, new)))


@pytest.mark.parametrize("headings", ["\t11\t\t\t", "\t" * 13])
def test_a_heading_that_is_missing_over_the_last_columns_leaves_no_value_out(
    shared_data: Path, tmp_path: Path, headings: str
) -> None:
    text = text_of(shared_data, ABSORBANCE)
    old = "\t11\t12\t\t" if "11" in headings else "\t1\t2\t3\t4\t5\t6\t7\t8\t9\t10\t11\t12\t\t"
    assert old in text
    with pytest.raises(FileNotValid, match="12 columns that the plate header declares"):
        read_export(written(tmp_path, text.replace(old, headings, 1)))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("02\t160.000\t159.411\tB1\t1.139", "02\t160.000\t159.411\tB1\t1.239", "the plate says"),
        ("01\tA4\t2.429\t\t254.952\t185.003", "01\tA4\t2.429\t\t254.952\t186.003", "mean of its 6"),
        (" \tA5\t2.368", " \tA4\t2.429", "twice"),
        ("A12\t2.236\t\t242.167", "A13\t2.236\t\t242.167", "no well"),
        ("7\tSD\tStdev(Conc)\t3 decimal places\tNumeric\r\n", "", "describes 8"),
    ],
)
def test_a_group_that_contradicts_its_plate_or_itself_is_refused(
    shared_data: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    text = text_of(shared_data, ABSORBANCE)
    assert text.count(old) == 1
    with pytest.raises(FileNotValid, match=said):
        read_export(written(tmp_path, text.replace(old, new)))


def test_range_with_a_question_mark_becomes_a_bound_where_the_side_is_known(
    shared_data: Path, tmp_path: Path
) -> None:
    # H6 of Plate02 is the second highest signal of the group; F12's concentration is in its midst.
    text = text_of(shared_data, ABSORBANCE)
    text = text.replace("B5\t2.903\t\t284.751", "B5\t2.903\t\tRange?")
    text = text.replace("02\tB4\t2.881\t\t283.413\t266.543\t18.037\t6.8",
                        "02\tB4\t2.881\t\t283.413\tNaN\tNaN\tNaN")  # fmt: skip
    export = read_export(written(tmp_path, text))
    conc = {
        (row.plate, row.readout.well): row.readout
        for row in export.rows
        if row.statistic == "Group UnknownsNoDiln" and row.readout.analyte == "Conc"
    }
    one = conc["Plate01", "B5"]
    assert (one.censoring, one.lower, one.reasons) == ("right", 283.413, ("out_of_range",))


def test_a_remark_of_a_text_column_flags_its_well(shared_data: Path, tmp_path: Path) -> None:
    text = text_of(shared_data, ABSORBANCE).replace("A5\t2.368\t\t250.936", "A5\t2.368\tR\t250.936")
    export = read_export(written(tmp_path, text))
    flagged = [row.readout for row in export.rows if row.readout.qc != "ok"]
    assert {(one.well, one.qc, one.reasons) for one in flagged} == {("A5", "warn", ("R: R",))}

"""What real files say of their wells themselves: standards, blanks, samples, dilutions, units."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from chiploop.assays.export_contents import contents_of_export, role_by_name, signals_of
from chiploop.assays.plate_assay import plate_results
from chiploop.assays.plate_contents import WellContent
from chiploop.assays.plate_wells import wells_of_export
from chiploop.errors import FileNotValid
from chiploop.exports import read_export
from chiploop.exports.export import Export
from tests.chiploop.exports.vendor_files import changed, text_of

GEN5 = "gen5_absorbance_stdcurve_singleplate.txt"
MSD = "msd_workbench_test_2.csv"
SOFTMAX = "softmax_pro_absorbance_endpoint_example01.txt"
INTELLIFLEX = "luminex_intelliflex_v2_2.csv"
XPONENT = "luminex_xponent_example02.csv"


def contents(export: Export, plate: int = 0) -> dict[str, WellContent]:
    name = export.plates[plate].name
    signals = signals_of(export, name)
    found = contents_of_export(export, name, signals)
    (analyte, *_) = signals
    return found.contents.get(analyte, {})


def roles(found: dict[str, WellContent]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in found.values():
        counts[one.role] = counts.get(one.role, 0) + 1
    return counts


def test_gen5_names_standards_blanks_and_samples_with_their_dilution(shared_data: Path) -> None:
    found = contents(read_export(shared_data / "vendor_exports" / GEN5))
    assert roles(found) == {"standard": 21, "blank": 3, "sample": 72}
    assert found["B2"].concentration == 666.67 and found["H1"].concentration == 0.0
    # 0.125 is the part of the sample: eight times diluted.
    assert found["D4"] == WellContent("sample", "SPL1:4", "SPL1", dilution=8.0)


def test_gen5_dilutions_below_and_above_one_are_refused(shared_data: Path, tmp_path: Path) -> None:
    path = changed(shared_data, tmp_path, GEN5, "0.5\t0.5\t0.5", "2\t0.5\t0.5")
    with pytest.raises(FileNotValid, match="parts \\(0.5\\) and times \\(2\\)"):
        contents(read_export(path))


def test_gen5_dilutions_above_one_are_times(shared_data: Path, tmp_path: Path) -> None:
    text = text_of(shared_data, GEN5)
    for part, times in (("0.5", "2"), ("0.25", "4"), ("0.125", "8")):
        text = text.replace(f"\t{part}", f"\t{times}", 9 * 2)
    path = tmp_path / "times.txt"
    path.write_text(text, encoding="utf-8")
    assert contents(read_export(path))["D4"].dilution == 8.0


def test_workbench_standards_have_a_concentration_and_samples_a_dilution(
    shared_data: Path, tmp_path: Path
) -> None:
    found = contents(read_export(shared_data / "vendor_exports" / MSD))
    assert roles(found) == {"standard": 14, "blank": 2, "sample": 32}
    assert found["H1"].role == "blank"  # a standard of 0
    path = tmp_path / "control.csv"
    text = text_of(shared_data, MSD).replace("S004,", "C004,")
    path.write_text(text, encoding="utf-8")
    control = contents(read_export(path))["D1"]
    assert (control.role, control.concentration) == ("control", 12.5)


def test_softmax_groups_say_what_stands_where_and_in_which_unit(shared_data: Path) -> None:
    export = read_export(shared_data / "vendor_exports" / SOFTMAX)
    for plate in (0, 1):
        found = contents(export, plate)
        assert roles(found) == {"standard": 21, "sample": 72}
        assert found["A1"] == WellContent("standard", "01", "", 320.0, "ng/mL")
        assert found["A4"].sample == "UnknownsNoDiln 01"
        assert "H1" not in found
    notes = wells_of_export(export).notes
    assert notes[0] == "Plate01: in no group of the file: H1, H2, H3"


@pytest.mark.parametrize(
    ("name", "concentrations", "within"),
    [(GEN5, ("Results", "[Concentration]"), 0.03), (SOFTMAX, ("", "Conc"), 0.03)],
)
def test_concentrations_are_near_those_of_the_programs_own_curve(
    name: str, concentrations: tuple[str, str], within: float, shared_data: Path
) -> None:
    # Its own curve is another one (a line; a curve of both plates): near, and not the same.
    export = read_export(shared_data / "vendor_exports" / name)
    theirs = {
        (row.plate, row.readout.well): row.readout.value
        for row in export.rows
        if row.readout.well and row.readout.analyte == concentrations[1]
    }
    compared = 0
    for one in plate_results(wells_of_export(export).analytes, asked="4pl"):
        assert one.qc == "ok"
        for sample in one.samples:
            each = [
                theirs[one.wells.plate, well] * (1.0 if name == SOFTMAX else 1.0)
                for well in sample.wells
            ]
            mean = sum(each) / len(each) * sample.dilution
            assert sample.estimate.value == pytest.approx(mean, rel=within)
            compared += 1
    assert compared == (24 if name == GEN5 else 48)


def test_intelliflex_well_types_say_the_role(shared_data: Path, tmp_path: Path) -> None:
    text = text_of(shared_data, INTELLIFLEX)
    path = tmp_path / "typed.csv"
    path.write_text(text.replace(",U2,", ",S1,").replace(",U3,", ",B1,"), encoding="utf-8")
    found = contents(read_export(path))
    assert roles(found) == {"standard": 1, "blank": 1, "sample": 8}
    assert found["C1"].concentration == 0.0 and found["B1"].concentration is None
    notes = wells_of_export(read_export(path)).notes
    assert any("1 standards have no concentration (Sample_002)" in n for n in notes)


def test_xponent_expected_concentrations_make_standards_and_controls(
    shared_data: Path, tmp_path: Path
) -> None:
    text = text_of(shared_data, XPONENT)
    end = text.index("-- CRC --")
    tables = "".join(
        f'"DataType:","{kind} Expected Concentration"\r\n"Reagent","alpha","bravo"\r\n'
        f'"{name}","{a}","{b}"\r\n\r\n'
        for kind, name, a, b in (
            ("Standard", "Unknown1", 100.0, 0.0),
            ("Control", "Unknown2", 20.0, 30.0),
        )
    )
    path = tmp_path / "expected.csv"
    path.write_bytes((text[:end] + tables + text[end:]).encode())
    export = read_export(path)
    signals = signals_of(export, "1")
    found = contents_of_export(export, "1", signals).contents
    assert {a: found[a]["A1"].role for a in found} == {"alpha": "standard", "bravo": "blank"}
    assert (found["bravo"]["B1"].role, found["bravo"]["B1"].concentration) == ("control", 30.0)
    assert found["alpha"]["C1"].role == "sample"


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("BLK", "blank"), ("Background0", "blank"), ("Blank 3", "blank"), ("STD12", "standard"),
        ("Standard1", "standard"), ("QC low", "control"), ("POS", "control"), ("CTL2", "control"),
        ("Unknown1", "sample"), ("Positron", "sample"), ("Blanket", "sample"), ("", "sample"),
        ("standardised", "sample"), ("C01-36h", "sample"),
    ],
)  # fmt: skip
def test_a_role_is_read_from_a_name_only_where_programs_write_it_so(name: str, role: str) -> None:
    assert role_by_name(name) == role


@pytest.mark.parametrize(
    "name",
    [
        "gen5_fluorescence_endpoint_singleplate.txt", INTELLIFLEX, XPONENT,
        "luminex_xponent_nan_and_not_reported.csv", "msd_methodical_mind_test_1.txt",
        "softmax_pro_fluorescence_endpoint_example06.txt",
    ],
)  # fmt: skip
def test_no_standard_is_invented_for_a_file_without(name: str, shared_data: Path) -> None:
    found = wells_of_export(read_export(shared_data / "vendor_exports" / name))
    assert found.analytes and not any(one.has_standards for one in found.analytes)
    assert all(math.isnan(w.signal) or w.signal == w.signal for w in found.analytes[0].wells)

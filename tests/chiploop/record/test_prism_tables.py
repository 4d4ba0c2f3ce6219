"""Prism gets the delivered dose, the right chip in the right column, and no bound that passes for a value."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from chiploop.measurement import Readout
from chiploop.record.exclusions import Exclusion, marked
from chiploop.record.prism_files import MARKS_FILE, README_FILE, prism_files, write_prism
from chiploop.record.prism_tables import PrismTable, prism_tables
from chiploop.record.unexplained import LEFT_OUT
from chiploop.study import Study, load_study

STUDY_FILE = Path(__file__).parents[3] / "protocols" / "studies" / "ad_jak_dose_finding.yaml"
GIVEN = {(1, "L1"): 0.0, (1, "L2"): 71.5, (2, "L1"): 300.25, (2, "L2"): 71.5}


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(STUDY_FILE)


def reading(chip: str, value: float, time_h: float, cycle: int, **more: object) -> Readout:
    one = Readout(chip, "CCL26", value, "pg/mL", 0.1, "log", time_h, cycle=cycle)
    return replace(one, **more)  # type: ignore[arg-type]


def at_home(study: Study) -> dict[tuple[int, str], str]:
    return {(c, chip): study.line_of(chip).id for c in (1, 2, 3) for chip in study.chip_ids}


def table_of(study: Study, readouts: list[Readout]) -> PrismTable:
    (table,) = prism_tables(study, readouts, GIVEN, at_home(study))
    return table


def test_a_chip_that_a_valve_moved_has_the_dose_of_the_line_that_fed_it(study: Study) -> None:
    moved = chips_of(study, "L2")[0]
    fed_by = at_home(study) | {(2, moved): "L1"}
    rows = [reading(moved, 7.0, 72.0, 1), reading(moved, 3.0, 120.0, 2)]
    (table,) = prism_tables(study, rows, GIVEN, fed_by)
    assert (cell(table, moved, 71.5), cell(table, moved, 300.25)) == ("7.0", "3.0")
    del fed_by[2, moved]  # nobody knows
    (table,) = prism_tables(study, rows, GIVEN, fed_by)
    assert [dose for dose, _ in table.rows] == [71.5]


def chips_of(study: Study, line: str) -> list[str]:
    return [chip for chip in study.chip_ids if study.line_of(chip).id == line]


def cell(table: PrismTable, chip: str, dose_nm: float, nth: int = 0) -> str:
    at = [name for _, name in table.columns].index(chip)
    return [cells for dose, cells in table.rows if dose == dose_nm][nth][at]


def test_the_dose_is_what_was_given_and_a_chip_stays_in_its_column(study: Study) -> None:
    first, second = chips_of(study, "L1")[0], chips_of(study, "L2")[0]
    table = table_of(
        study,
        [reading(first, 10.0, 72.0, 1), reading(first, 4.0, 120.0, 2), reading(second, 7.0, 72.0, 1)],
    )  # fmt: skip
    assert [dose for dose, _ in table.rows] == [0.0, 71.5, 300.25]
    assert cell(table, first, 0.0) == "10.0"
    assert cell(table, first, 300.25) == "4.0"
    assert cell(table, second, 71.5) == "7.0"
    assert (cell(table, second, 0.0), cell(table, first, 71.5)) == ("", "")


def test_chips_of_a_donor_stand_side_by_side(study: Study) -> None:
    table = table_of(study, [reading(chip, 5.0, 72.0, 1) for chip in reversed(study.chip_ids[:6])])
    donors = [donor for donor, _ in table.columns]
    assert donors == sorted(donors, key=list(study.donors).index)
    assert all(study.donor_of(chip).id == donor for donor, chip in table.columns)


def test_of_an_exposure_the_last_reading_counts_and_none_before_the_stimulus(study: Study) -> None:
    chip = chips_of(study, "L1")[0]
    rest = reading(chip, 99.0, study.timeline.stimulus_from_h, 1)
    table = table_of(study, [reading(chip, 2.0, 72.0, 1), reading(chip, 1.0, 48.0, 1), rest])
    assert cell(table, chip, 0.0) == "2.0"
    assert prism_tables(study, [rest], GIVEN, at_home(study)) == ()


def test_what_is_not_to_be_fitted_has_an_asterisk_and_its_reason(study: Study) -> None:
    low, high, failed = chips_of(study, "L1")
    out, unknown = chips_of(study, "L2")[:2]
    nan = float("nan")
    readouts = [
        reading(low, nan, 72.0, 1, censoring="left", upper=15.6, lower=0.0),
        reading(high, nan, 72.0, 1, censoring="right", lower=1000.0),
        reading(failed, 8.0, 72.0, 1, qc="fail", reasons=("air",)),
        reading(failed, 3.0, 48.0, 1),
        reading(out, 9.0, 72.0, 1),
        reading(unknown, 7.0, 72.0, 1, qc="fail", reasons=(f"{LEFT_OUT} of cycle 1: so",)),
    ]
    exclusion = Exclusion(out, "CCL26", 72.0, True, "ab", "pipetted twice")
    table = table_of(study, list(marked(readouts, [exclusion])))
    cells = [cell(table, chip, 0.0) for chip in (low, high, failed)]
    cells += [cell(table, chip, 71.5) for chip in (out, unknown)]
    assert cells == ["15.6*", "1000.0*", "8.0*", "9.0*", "7.0*"]
    told = {mark.chip: (mark.what, mark.why) for mark in table.marks}
    assert told == {
        low: ("censored", ""),
        high: ("censored", ""),
        failed: ("failed", "air"),
        out: ("excluded", "excluded by ab: pipetted twice"),
        unknown: ("left out", "left out of the fit of cycle 1: so"),
    }


def test_an_unknown_dose_stands_in_no_table(study: Study) -> None:
    chip = chips_of(study, "L1")[0]
    assert prism_tables(study, [reading(chip, 1.0, 72.0, 3)], GIVEN, at_home(study)) == ()


def test_no_text_of_a_person_becomes_a_formula_and_no_number_is_altered(study: Study) -> None:
    chip = chips_of(study, "L1")[0]
    bad = reading(chip, -0.5, 72.0, 1, qc="fail", reasons=('=HYPERLINK("x")',))
    files = prism_files(prism_tables(study, [bad], GIVEN, at_home(study)), "r1", simulated=False)
    _, mark = csv.reader(io.StringIO(files[MARKS_FILE]))
    assert mark[-1] == '\'=HYPERLINK("x")'
    heading, row = csv.reader(io.StringIO(files["CCL26.csv"]))
    assert row == ["0.0", "-0.5*"]
    assert heading == ["upadacitinib (nM)", f"{study.donor_of(chip).id} {chip}"]


def test_simulated_stands_in_every_file_and_name_and_the_bytes_are_the_same(
    study: Study, tmp_path: Path
) -> None:
    tables = prism_tables(study, [reading(study.chip_ids[0], 1.0, 72.0, 1)], GIVEN, at_home(study))
    for name in ("a.zip", "b.zip"):
        write_prism(tables, "r1", True, tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        names = archive.namelist()
        assert names == [README_FILE, "SIMULATED_CCL26.csv", MARKS_FILE]
        assert all(b"SIMULATED" in archive.read(name) for name in names[:2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip"]

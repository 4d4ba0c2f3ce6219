"""Every number of a run stands in one table, names where it comes from, and leaves as CSV and as Parquet."""

from __future__ import annotations

import csv
import math
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chiploop.record.record as record_module
from chiploop.assays import derived_from_plate
from chiploop.errors import FileNotValid, WrongUse
from chiploop.measurement import AbsorbancePlate, Derivation, Readout
from chiploop.plan import plate_map
from chiploop.record import long_table_files as files
from chiploop.record.chain import RecordConflict
from chiploop.record.exclusions import Exclusion
from chiploop.record.long_table import COLUMNS, LongRow, long_table
from chiploop.record.next_event import add_next_event
from chiploop.record.record import Record
from chiploop.record.tables import LATER
from chiploop.record.unexplained import LEFT_OUT
from chiploop.study import Study, load_study

STUDY_FILE = Path(__file__).parents[3] / "protocols" / "studies" / "ad_jak_dose_finding.yaml"
RAW = "ab" * 32
CSV_AND_PARQUET = {
    "csv": (files.write_csv, files.read_csv),
    "parquet": (files.write_parquet, files.read_parquet),
}


@pytest.fixture
def study() -> Study:
    return loaded()


def read_plate(study: Study, assay: str, lift_od: float = 0.0) -> AbsorbancePlate:
    """Return a plate whose samples rise from far below to above the standards, and one that is saturated."""
    planned = plate_map(study, assay, 1)
    signal, reference = np.full((8, 12), 0.05), np.full((8, 12), 0.04)
    flags = {}
    rng = np.random.default_rng(3)
    samples = [one for one in planned.wells if one.kind == "sample"]
    for one in planned.wells:
        level = one.concentration or 0.0
        if one.kind == "sample":
            level = 1.0 * 1.5 ** (2 * (samples.index(one) // 2))
        od = 0.05 + 2.8 / (1.0 + (180.0 / level) ** 1.1) if level > 0.0 else 0.05
        if one.kind == "max_release":
            od = 1.7
        signal[one.index] = od * (1.0 + 0.01 * rng.standard_normal()) + 0.04 + lift_od
    flags[round(study.assays[assay].kit.wavelength_nm), samples[-1].well] = "saturated"
    kit = study.assays[assay].kit
    bands = {round(kit.wavelength_nm): signal, round(kit.reference_wavelength_nm): reference}
    return AbsorbancePlate(planned.plate_id, 72.0, bands, flags, raw_sha256=RAW)


@cache
def loaded() -> Study:
    return load_study(STUDY_FILE)


@cache
def derived(assay: str, lift_od: float = 0.0) -> tuple[Derivation, list[Readout]]:
    study = loaded()
    plate, planned = read_plate(study, assay, lift_od), plate_map(study, assay, 1)
    return derived_from_plate(plate, planned.wells, study.assays[assay].kit, 1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "record.sqlite"


@pytest.fixture
def record(file: Path, study: Study) -> Iterator[Record]:
    with Record(str(file)) as opened:
        opened.add_run("r1", study, seed=1, simulated=True)
        for assay in study.assays:
            how, readouts = derived(assay)
            opened.add_readouts("r1", readouts, how)
        yield opened


def by_id(record: Record) -> dict[str, LongRow]:
    rows = long_table(record, "r1")
    found = {row.row_id: row for row in rows}
    assert len(found) == len(rows)
    return found


def test_a_readout_names_its_wells_a_well_its_signals_and_a_signal_its_cell(record: Record) -> None:
    rows = by_id(record)
    derived_rows = [row for row in rows.values() if row.stage == "derived"]
    assert len(derived_rows) == 24
    for row in derived_rows:
        wells = [rows[key] for key in row.parent_id]
        assert [well.well for well in wells] == [(well,) for well in row.well]
        assert {(well.stage, well.chip, well.donor) for well in wells} == {
            ("calibrated", row.chip, row.donor)
        }
        for well in wells:
            signals = [rows[key] for key in well.parent_id]
            assert [one.stage for one in signals] == ["raw", "raw"]
            assert {(one.well, one.raw_sha256) for one in signals} == {(well.well, RAW)}
    raw = rows["r1/ad_jak_dose_finding-CCL26-cycle1/raw/450/B1"]
    assert (raw.raw_locator, raw.role, raw.unit) == ("absorbance/450!2,1", "standard", "OD")


def test_a_calibrated_well_follows_from_its_signals_and_the_curve_on_record(record: Record) -> None:
    rows = by_id(record)
    well = rows["r1/ad_jak_dose_finding-CCL26-cycle1/calibrated/A1"]
    (event,) = [e for e in record.events("r1") if e.key == well.calibration_id]
    fit = event.content["is"]["fit"]
    assert (len(fit["covariance"]), fit["model"]) == (5, "4pl")
    main, reference = (rows[key] for key in well.parent_id)
    assert (main.quantity, reference.quantity) == ("absorbance 450 nm", "absorbance 570 nm")
    lower, upper, ln_location, ln_hill, _ = fit["curve"]["parameters"]
    part = (main.value - reference.value - lower) / (upper - lower)
    by_hand = math.exp(ln_location) * (part / (1.0 - part)) ** math.exp(-ln_hill)
    assert well.value == pytest.approx(by_hand, rel=1e-9)
    assert (well.scale, well.sd_kind, well.n, well.role) == ("log", "fit", 1, "standard")


def test_bounds_stand_in_place_of_values_and_a_window_has_two_ends(record: Record) -> None:
    rows = [row for row in by_id(record).values() if row.readout == "CCL26" and row.role != "blank"]
    low = [row for row in rows if row.censoring == "left"]
    high = [row for row in rows if row.censoring == "right"]
    assert low and high
    assert all(math.isnan(row.value) and math.isfinite(row.upper) for row in low)
    assert all(math.isnan(row.value) and math.isfinite(row.lower) for row in high)
    sample = next(row for row in rows if row.stage == "derived")
    assert (sample.window_start_h, sample.window_end_h, sample.channel) == (48.0, 72.0, "basal")
    saturated = [row for row in rows if row.qc_reasons == ("saturated",)]
    assert [(row.stage, row.qc, math.isnan(row.value)) for row in saturated] == [
        ("raw", "fail", True)
    ]


@pytest.mark.parametrize("name", CSV_AND_PARQUET)
def test_the_file_holds_what_the_record_holds(name: str, record: Record, tmp_path: Path) -> None:
    write, read = CSV_AND_PARQUET[name]
    rows = long_table(record, "r1")
    write(rows, tmp_path / "table")
    assert [repr(row) for row in read(tmp_path / "table")] == [repr(row) for row in rows]


def test_the_same_record_gives_the_same_bytes_of_csv(record: Record, file: Path) -> None:
    once = files.csv_text(long_table(record, "r1"))
    with Record(str(file), create=False) as again:
        assert files.csv_text(long_table(again, "r1")) == once
    assert once.splitlines()[0] == ",".join(COLUMNS)


NASTY = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\tx",
    "\rx",
    "'quoted",
    "a;b",
    "a; b\\",
    "line\nend",
    ",",
    '"',
]


@pytest.mark.parametrize("name", CSV_AND_PARQUET)
@pytest.mark.parametrize("text", NASTY, ids=repr)
def test_text_that_a_spreadsheet_would_carry_out_is_guarded_and_comes_back(
    text: str, name: str, tmp_path: Path
) -> None:
    write, read = CSV_AND_PARQUET[name]
    empty = {"text": "", "number": math.nan, "whole": 0, "flag": False}
    cells: dict[str, Any] = {column: empty[kind] for column, kind in COLUMNS.items()}
    open_ends = {"parent_id": (), "well": (), "lower": -math.inf, "upper": math.inf}
    cells |= {**open_ends, "plate": text, "method": text, "qc_reasons": (text, "plain", text)}
    row = LongRow(**cells)
    write([row], tmp_path / "table")
    assert [repr(one) for one in read(tmp_path / "table")] == [repr(row)]
    if name == "csv":
        with (tmp_path / "table").open(encoding="utf-8", newline="") as file:
            written = [cell for line in csv.reader(file) for cell in line]
        assert not any(one.startswith(("=", "+", "-", "@", "\t", "\r")) for one in written)


def test_a_file_of_other_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FileNotValid, match="has not the columns"):
        files.read_csv(tmp_path / "table.csv")


def test_parquet_without_its_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(WrongUse, match=r"pip install 'chiploop\[parquet\]'"):
        files.write_parquet([], tmp_path / "table")


# --- calculated again


def test_what_is_calculated_again_is_added_and_supersedes_and_nothing_is_altered(
    record: Record, study: Study, file: Path
) -> None:
    before = by_id(record)
    how, readouts = derived("CCL26", lift_od=0.2)
    assert record.revise_readouts("r1", readouts, how, "nora", "other export", 80.0) == 2
    after = by_id(record)
    for key, row in before.items():
        assert repr(replace(after[key], superseded_by="")) == repr(row)
    new = {key: row for key, row in after.items() if key not in before}
    assert {row.readout for row in new.values()} == {"CCL26"}
    assert len(new) == len([row for row in before.values() if row.readout == "CCL26"])
    for key, row in new.items():
        assert after[row.supersedes].superseded_by == key
        assert all(parent in new for parent in row.parent_id)
    standing = [r for r in record.readouts("r1") if r.readout == "CCL26"]
    assert [repr(r.value) for r in standing] == [repr(r.value) for r in readouts]
    assert [r.chip_id for r in standing] == [r.chip_id for r in readouts]
    (event,) = record.events("r1", "revision")
    assert event.content == {
        "plate": readouts[0].plate, "revision": 2, "by": "nora", "why": "other export",
    }  # fmt: skip
    assert record.verify().whole
    how, readouts = derived("CCL26", lift_od=0.3)
    assert record.revise_readouts("r1", readouts, how, "nora", "again", 81.0) == 3
    assert [repr(r.value) for r in record.readouts("r1") if r.readout == "CCL26"] == [
        repr(r.value) for r in readouts
    ]
    assert len(record.measurements("r1")) == len(
        [row for row in before.values() if row.stage != "derived"]
    )
    with Record(str(file), create=False) as again:
        assert again.verify().whole


def test_a_revision_without_a_change_or_of_a_part_is_refused_and_adds_nothing(
    record: Record, study: Study
) -> None:
    rows = record.verify().rows
    how, readouts = derived("CCL26")
    with pytest.raises(RecordConflict, match="comes out as it is on record"):
        record.revise_readouts("r1", readouts, how, "nora", "why", 80.0)
    how, readouts = derived("CCL26", lift_od=0.2)
    with pytest.raises(RecordConflict, match="11 were calculated again"):
        record.revise_readouts("r1", readouts[1:], how, "nora", "why", 80.0)
    assert record.verify().rows == rows


def test_an_excluded_readout_stays_with_the_person_and_the_reason(record: Record) -> None:
    record.add_exclusion("r1", Exclusion("C01", "CCL26", -1.0, True, "nora", "air; =bubble"), 80.0)
    excluded = [row for row in by_id(record).values() if row.excluded_by]
    assert [(row.chip, row.readout, row.qc, row.excluded_by) for row in excluded] == [
        ("C01", "CCL26", "fail", "nora")
    ]
    assert "excluded by nora: air; =bubble" in excluded[0].qc_reasons
    assert (excluded[0].excluded, excluded[0].excluded_why) == (True, "air; =bubble")
    assert [row for row in by_id(record).values() if row.excluded] == excluded
    record.add_exclusion("r1", Exclusion("C01", "CCL26", -1.0, False, "nora", "was none"), 81.0)
    assert [row for row in by_id(record).values() if row.excluded_by] == []


def test_a_readout_that_a_fit_left_out_says_which_fit_and_why(record: Record) -> None:
    one = next(r for r in record.readouts("r1") if r.chip_id == "C02" and r.readout == "CCL26")
    named = {"chip": "C02", "readout": "CCL26", "time_h": one.time_h, "why": "nobody: knows"}
    content = {"cycle": 1, "readouts": [named]}
    assert add_next_event(record, "r1", LEFT_OUT, 80.0, content, "", lambda before: True)
    (row,) = (row for row in by_id(record).values() if row.excluded)
    assert (row.chip, row.readout, row.qc) == ("C02", "CCL26", "fail")
    assert (row.excluded_by, row.excluded_why) == ("fit of cycle 1", "nobody: knows")
    failed = [row for row in by_id(record).values() if row.qc == "fail" and not row.excluded]
    assert failed and not any(row.excluded_by or row.excluded_why for row in failed)
    # what a person says of it goes before
    record.add_exclusion("r1", Exclusion("C02", "CCL26", -1.0, True, "nora", "air"), 81.0)
    (row,) = (row for row in by_id(record).values() if row.excluded)
    assert (row.excluded_by, row.excluded_why) == ("nora", "air")


# --- the record under it


def test_readouts_and_what_they_rest_on_come_all_or_none_and_once(
    record: Record, study: Study
) -> None:
    rows = record.verify().rows
    how, readouts = derived("CCL26")
    assert record.add_readouts("r1", readouts, how) == 0
    assert record.verify().rows == rows
    changed = Derivation((replace(how.measurements[0], value=9.0),))
    with pytest.raises(RecordConflict, match="another value"):
        record.add_readouts("r1", [replace(readouts[0], plate="p2")], changed)
    assert record.verify().rows == rows and record.verify().whole


@pytest.mark.parametrize("create", [True, False])
def test_a_record_of_an_earlier_version_is_read_and_its_chain_is_whole(
    create: bool, file: Path, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, readouts = derived("CCL26")
    plain_row = record_module.readout_row

    def row_of_before(run_id: str, readout: Readout) -> Any:
        row = plain_row(run_id, readout)
        for name in LATER["readouts"]:
            setattr(row, name, None)
        return row

    with Record(str(file)) as old, monkeypatch.context() as patch:
        patch.setattr(record_module, "readout_row", row_of_before)
        old.add_run("r1", study, seed=1, simulated=False)
        old.add_readouts("r1", readouts)
    with sqlite3.connect(file) as database:
        for table in ("measurements", "journal_events", "chiploop_version"):
            database.execute(f"DROP TABLE {table}")
        for name in LATER["readouts"]:
            database.execute(f"ALTER TABLE readouts DROP COLUMN {name}")
    with Record(str(file), create=create) as record:
        assert record.verify().whole
        values = [repr(r.value) for r in record.readouts("r1")]
        assert values == [repr(r.value) for r in readouts]
        rows = long_table(record, "r1")
        assert {(row.stage, row.parent_id, row.method_version) for row in rows} == {
            ("derived", (), "")
        }
        assert rows[0].sampled_at_utc > rows[0].created_utc


def test_a_run_that_is_not_on_record_is_told(record: Record) -> None:
    with pytest.raises(RecordConflict, match="no run r2"):
        long_table(record, "r2")

"""Plates that were turned round, exchanged or misnamed do not fit their layout."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from chiploop.assays.plate_identity import (
    FITS,
    check_plate,
    correlation,
    exchanged_plates,
    plate_signal,
)
from chiploop.assays.plate_layout import LayoutWell, PlateLayout
from chiploop.exports import read_export
from chiploop.exports.wells import PLATE_SHAPES, well_name

LEVELS = [1000.0 / 2**i for i in range(7)] + [0.0]


def layout(wells: int = 96, column: int = 0, barcode: str = "") -> PlateLayout:
    """Return duplicates of eight levels down two columns, samples elsewhere."""
    rows, columns = PLATE_SHAPES[wells]
    contents = []
    for i in range(rows):
        for j in range(columns):
            level = LEVELS[i] if i < 8 and j in (column, column + 1) else None
            role = "sample" if level is None else "standard" if level else "blank"
            contents.append(LayoutWell(well_name(i, j), role, "x", level))  # type: ignore[arg-type]
    return PlateLayout("P1", barcode, wells, tuple(contents))


def signal_of(one: PlateLayout, seed: int = 1) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    signal = {}
    for content in one.contents:
        level = content.concentration_pg_ml
        level = rng.uniform(0.0, 1000.0) if level is None else level
        signal[content.well] = (0.05 + level / 300.0) * rng.normal(1.0, 0.05)
    return signal


def turned(signal: dict[str, float], wells: int = 96) -> dict[str, float]:
    rows, columns = PLATE_SHAPES[wells]
    names = [well_name(i, j) for i in range(rows) for j in range(columns)]
    return dict(zip(names, [signal[name] for name in reversed(names)], strict=True))


@pytest.mark.parametrize("wells", [96, 384, 1536])
def test_a_plate_that_fits_is_good_and_the_same_plate_turned_is_named(wells: int) -> None:
    plate = layout(wells)
    good = check_plate(signal_of(plate), plate, wells)
    assert good.problems == () and good.correlation > 0.95
    (problem,) = check_plate(turned(signal_of(plate), wells), plate, wells).problems
    assert "turned by 180 degrees" in problem


def test_over_many_plates_no_good_one_is_refused_and_no_turned_one_passes() -> None:
    plate = layout()
    good = [correlation(signal_of(plate, seed), plate) for seed in range(200)]
    bad = [correlation(turned(signal_of(plate, seed)), plate) for seed in range(200)]
    assert min(good) >= FITS
    assert sum(one >= FITS for one in bad) == 0


def test_a_mirrored_plate_and_a_foreign_one_are_told_apart() -> None:
    plate = layout()
    signal = signal_of(plate)
    mirrored = {well_name(i, j): signal[well_name(i, 11 - j)] for i in range(8) for j in range(12)}
    assert "left to right" in check_plate(mirrored, plate, 96).problems[0]
    foreign = {well: np.random.default_rng(3).uniform() for well in signal}
    assert "another plate" in check_plate(foreign, plate, 96).problems[0]


def test_a_competitive_assay_falls() -> None:
    plate = layout()
    signal = {well: 1.0 / (1.0 + value) for well, value in signal_of(plate).items()}
    assert check_plate(signal, plate, 96).problems != ()
    assert check_plate(signal, plate, 96, direction="falling").problems == ()


def test_another_barcode_size_or_a_lacking_well_is_a_problem() -> None:
    plate = layout(barcode="A77")
    signal = signal_of(plate)
    assert check_plate(signal, plate, 96, "A77").problems == ()
    assert "barcode B12 in the export" in check_plate(signal, plate, 96, "B12").problems[0]
    assert "384 wells" in check_plate(signal, plate, 384, "A77").problems[0]
    del signal["C5"]
    assert "no number: C5" in check_plate(signal, plate, 96, "A77").problems[0]


def test_what_can_not_be_checked_is_said() -> None:
    plate = PlateLayout("P", "", 96, (LayoutWell("A1", "sample", "x"),))
    verdict = check_plate({"A1": 1.0}, plate, 96)
    assert verdict.problems == () and math.isnan(verdict.correlation)
    assert "no barcode" in verdict.notes[0] and "too few" in verdict.notes[1]


def test_two_exchanged_plates_are_found_by_each_others_layout() -> None:
    plates = {"P1": layout(column=0), "P2": layout(column=10), "P3": layout(column=5)}
    signals = {name: signal_of(plate) for name, plate in plates.items()}
    assert exchanged_plates(signals, plates) == {}
    signals["P1"], signals["P2"] = signals["P2"], signals["P1"]
    assert exchanged_plates(signals, plates) == {"P1": ("P2",), "P2": ("P1",)}


def test_a_real_plate_fits_its_own_layout_and_not_when_turned(shared_data: Path) -> None:
    export = read_export(
        shared_data / "vendor_exports" / "gen5_absorbance_stdcurve_singleplate.txt"
    )
    levels = {
        row.readout.well: row.readout.value
        for row in export.rows
        if row.statistic == "Layout" and row.readout.sample.startswith("STD")
    }
    contents = [LayoutWell(well, "standard", "", level) for well, level in levels.items()]
    contents += [LayoutWell(f"H{j}", "blank", "", 0.0) for j in (1, 2, 3)]
    plate = PlateLayout("Plate 1", "", 96, tuple(contents))
    signal = plate_signal(export, "Plate 1", "Results", "630nmAbsRead:630")
    assert len(signal) == 96
    assert check_plate(signal, plate, 96).problems == ()
    assert "turned by 180" in check_plate(turned(signal), plate, 96).problems[0]
    # Columns 1 and 12 exchanged under their headings, which the file itself can not show.
    moved = dict(signal)
    for row in "ABCDEFGH":
        moved[f"{row}1"], moved[f"{row}12"] = signal[f"{row}12"], signal[f"{row}1"]
    assert check_plate(signal, plate, 96).correlation > 0.99
    assert "another plate" in check_plate(moved, plate, 96).problems[0]

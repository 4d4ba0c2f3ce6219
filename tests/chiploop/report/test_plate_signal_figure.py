"""The picture of a plate says what its readouts say: standards, limits, samples where they are read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chiploop.assays.immunoassay import readouts_from_elisa_plate
from chiploop.assays.plate_map import PlateMap, elisa_plate_map, viability_plate_map
from chiploop.measurement import AbsorbancePlate
from chiploop.report.plate_signal_figure import (
    controls_figure,
    plate_map_figure,
    raw_signals,
    standards_figure,
)
from chiploop.study import Kit, load_study

STUDY = Path(__file__).parents[3] / "protocols" / "studies" / "ad_jak_all_readouts.yaml"
WITHIN = {"C01": 60.0, "C02": 250.0, "C03": 5000.0}
"""Chip -> pg/mL in the well; the last is above the ULOQ."""


@pytest.fixture(scope="module")
def kit() -> Kit:
    return load_study(STUDY).assays["CCL26"].kit


def plate_of(kit: Kit) -> tuple[AbsorbancePlate, PlateMap]:
    """Return a plate whose signal is a 4PL of what stands in its wells."""
    rng = np.random.default_rng(5)
    wells = elisa_plate_map(list(WITHIN), (24.0, 48.0), kit, 2, 2.0, rng)
    signal = np.zeros((8, 12))
    for one in wells:
        c = WITHIN[one.chip] if one.chip else (one.concentration or 0.0)
        level = 0.05 + 2.8 * c / (c + 300.0)
        signal[one.index] = level * (1.0 + 0.01 * rng.standard_normal())
    main = round(kit.wavelength_nm)
    reference = round(kit.reference_wavelength_nm or 0.0)
    grids = {main: signal, reference: np.zeros((8, 12))}
    return AbsorbancePlate("p", 50.0, grids), wells


def marked(ax: Any, marker: str) -> list[tuple[float, float]]:
    """Return where a marker stands."""
    return [
        (float(x), float(y))
        for line in ax.lines
        if line.get_marker() == marker
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def test_samples_stand_where_their_readouts_say_and_beyond_a_limit_as_an_arrow(kit: Kit) -> None:
    plate, wells = plate_of(kit)
    curve, readouts = readouts_from_elisa_plate(plate, wells, kit)
    (ax,) = standards_figure(plate, wells, kit).axes
    values = [one.value / 2.0 for one in readouts if one.censoring == "none"]
    assert [x for x, _ in marked(ax, "D")] == pytest.approx(values)
    assert [x for x, _ in marked(ax, ">")] == [curve.uloq]
    used = [one for one in wells if one.kind in ("standard", "blank")]
    assert len(marked(ax, "o")) == len(used) and marked(ax, "x") == []


def test_a_well_that_was_left_out_is_a_cross_and_moves_what_is_read_back(kit: Kit) -> None:
    plate, wells = plate_of(kit)
    top = next(one for one in wells if one.kind == "standard")
    without = replace(plate, left_out={top.well: "left out by an: bubble"})
    (ax,) = standards_figure(without, wells, kit).axes
    (whole,) = standards_figure(plate, wells, kit).axes
    raw = raw_signals(plate, kit)[top.index]
    assert marked(ax, "x") == [(top.concentration, pytest.approx(raw))]
    assert len(marked(ax, "o")) == len(marked(whole, "o")) - 1
    assert marked(ax, "D") != marked(whole, "D")


def test_the_map_writes_wells_that_hold_something_and_crosses_those_left_out() -> None:
    values = np.arange(96.0).reshape(8, 12)
    figure = plate_map_figure(values, {"A2": "S", "H12": "C01"}, "OD", {"H12": "so"})
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.texts] == ["S\n1", "C01\n95"]
    assert len(ax.lines) == 2


def test_controls_and_samples_stand_by_their_names_with_the_means_of_controls(kit: Kit) -> None:
    release = load_study(STUDY).assays["viability"].kit
    rng = np.random.default_rng(1)
    wells = viability_plate_map(["C02", "C01"], (24.0, 48.0), release, 2, 1.0, rng)
    signal = np.zeros((8, 12))
    for one in wells:
        signal[one.index] = {"blank": 0.1, "max_release": 1.7}.get(one.kind, 0.4)
    out = next(one.well for one in wells if one.kind == "max_release")
    signal[[one.index for one in wells if one.well == out][0]] = 9.0
    main, reference = round(release.wavelength_nm), round(release.reference_wavelength_nm or 0.0)
    grids = {main: signal, reference: np.zeros((8, 12))}
    plate = AbsorbancePlate("p", 1.0, grids, left_out={out: "so"})
    (ax,) = controls_figure(plate, wells, release).axes
    names = [text.get_text() for text in ax.get_xticklabels()]
    assert names == ["blank", "max release", "C01", "C02"]
    means = [float(line.get_ydata()[0]) for line in ax.lines if line.get_linestyle() == ":"]
    assert means == pytest.approx([0.1, 1.7])
    assert [y for _, y in marked(ax, "x")] == [9.0]

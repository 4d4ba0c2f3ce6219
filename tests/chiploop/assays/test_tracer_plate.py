"""One plate of a tracer: its map, and ln P_app of every chip with what the chips share."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from chiploop.assays.plate_map import PlateMap
from chiploop.assays.tracer_plate import (
    TracerDesign,
    readouts_from_tracer_plate,
    tracer_plate_map,
)
from chiploop.errors import FileNotValid
from chiploop.measurement import AbsorbancePlate
from chiploop.protocols_path import protocols_folder
from chiploop.study_fields import FROM_FILE
from chiploop.study_parts import Kit
from chiploop.study_yaml import read_yaml

CHIPS = [f"C{i:02d}" for i in range(1, 7)]
LOADED = 24.0
STILL = [(LOADED, LOADED + t) for t in (0.5, 1.0, 1.5, 2.0, 3.0)]
PERFUSED = [(LOADED + a, LOADED + b) for a, b in ((0, 1), (1, 2), (2, 4), (4, 8), (8, 16))]
DESIGN = TracerDesign(LOADED, 0.3, 200.0, 600.0, 50.0, 50.0)
FLOWING = TracerDesign(LOADED, 0.3, 200.0, 20.0, flow_rate_ul_h=60.0)
P = {chip: 3e-6 * 1.3**i for i, chip in enumerate(CHIPS)}
DONOR_PG_ML = 1e9


def kit() -> Kit:
    text = read_yaml(protocols_folder() / "kits" / "fitc_dextran_permeability.yaml")
    text.values.pop("chiploop")
    return Kit.model_validate(text.values, context=FROM_FILE, by_alias=True, by_name=False)


KIT = kit()


def layout(windows: list[tuple[float, float]]) -> PlateMap:
    dilution = 10.0 if windows is PERFUSED else 1.0
    rng = np.random.default_rng(1)
    return tracer_plate_map(CHIPS, windows, KIT, 100.0, rng, receiver_dilution=dilution)


def plate_of(
    plate_map: PlateMap, design: TracerDesign, rng: np.random.Generator | None = None
) -> AbsorbancePlate:
    windows = sorted({one.window_h for one in plate_map if one.kind == "sample" and one.window_h})
    transport = design.transport(windows)
    signal = np.zeros((8, 12))
    for one in plate_map:
        part = (one.concentration or 0.0) / DONOR_PG_ML
        if one.chip is not None and one.window_h is not None:
            seen = transport.predict(np.array([P[one.chip] * 0.3 * 3.6e6]), np.array([0.1]))[0]
            left = 1.0 - transport.passed(seen) / transport.donor_ul
            late = one.window_h[1] > LOADED
            part = (
                seen[windows.index(one.window_h)] if one.kind == "sample" else left if late else 1
            )
            part /= one.dilution
        clean = 1.8e5 * part
        noise = rng.standard_normal() * math.hypot(4.0, 0.03 * clean) if rng is not None else 0.0
        signal[one.index] = 40.0 + clean + noise
    return AbsorbancePlate("T1", LOADED + 3.0, {520: signal})


@pytest.mark.parametrize(
    ("windows", "design"), [(STILL, DESIGN), (PERFUSED, FLOWING)], ids=["still", "perfused"]
)
def test_a_clean_plate_gives_every_permeability_back(
    windows: list[tuple[float, float]], design: TracerDesign
) -> None:
    plate_map = layout(windows)
    plate, readouts = readouts_from_tracer_plate(
        plate_of(plate_map, design), plate_map, KIT, design, 2
    )
    assert [one.chip_id for one in readouts] == CHIPS
    for one, found in zip(readouts, plate.found, strict=True):
        assert one.value == pytest.approx(P[one.chip_id], rel=1e-4)
        assert (one.unit, one.scale, one.plate, one.cycle) == ("cm/s", "log", "T1", 2)
        assert (one.window_start_h, one.time_h) == (LOADED, windows[-1][1])
        assert found.recovery == pytest.approx(1.0, abs=0.01)
        assert len(one.curve) == 2


def test_chips_of_a_plate_cover_and_share_one_scale() -> None:
    plate_map = layout(STILL)
    scores = []
    for seed in range(12):
        plate = plate_of(plate_map, DESIGN, np.random.default_rng(seed))
        judged, readouts = readouts_from_tracer_plate(plate, plate_map, KIT, DESIGN)
        assert len({one.fit.scale for one in judged.found}) == 1
        scores += [(math.log(one.value) - math.log(P[one.chip_id])) / one.sd for one in readouts]
    inside = np.mean(np.abs(scores) < 1.96)
    assert 0.88 < inside < 0.995
    assert np.mean(np.abs(scores) < 0.98) < 0.85


def test_a_saturated_well_is_told_and_left_out() -> None:
    plate_map = layout(STILL)
    plate = plate_of(plate_map, DESIGN, np.random.default_rng(0))
    well = next(one for one in plate_map if one.kind == "sample" and one.chip == "C02")
    _, readouts = readouts_from_tracer_plate(
        replace(plate, flags={(520, well.well): "saturated"}), plate_map, KIT, DESIGN
    )
    one = next(r for r in readouts if r.chip_id == "C02")
    assert one.qc == "warn" and well.well in " ".join(one.reasons) and one.n == 4


def test_a_plate_without_background_donor_or_wavelength_is_refused() -> None:
    plate_map = layout(STILL)
    plate = plate_of(plate_map, DESIGN)
    no_blank = tuple(one for one in plate_map if one.kind != "blank")
    with pytest.raises(ValueError, match="background"):
        readouts_from_tracer_plate(plate, no_blank, KIT, DESIGN)
    no_donor = tuple(one for one in plate_map if one.kind != "donor")
    with pytest.raises(ValueError, match="no donor well"):
        readouts_from_tracer_plate(plate, no_donor, KIT, DESIGN)
    with pytest.raises(FileNotValid, match="needs 520 nm"):
        readouts_from_tracer_plate(
            replace(plate, absorbance={490: plate.absorbance[520]}), plate_map, KIT, DESIGN
        )


def test_more_wells_than_a_plate_has_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        tracer_plate_map([f"C{i}" for i in range(12)], STILL, KIT, 100.0, np.random.default_rng(1))

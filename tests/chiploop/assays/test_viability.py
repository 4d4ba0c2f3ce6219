"""LDH plates: released fraction with its sd, negative where it is, and what is left of a chip."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from chiploop.assays.plate_map import PlateMap, viability_plate_map
from chiploop.assays.viability import (
    WHOLE,
    Viability,
    cytotoxicity_from_ldh_plate,
    readouts_from_ldh_plate,
    viability,
)
from chiploop.measurement import AbsorbancePlate
from chiploop.study_parts import Controls
from tests.chiploop.assays.kits import LDH

WINDOW = (24.0, 48.0)
CHIPS = [f"C{i:02d}" for i in range(1, 13)]


def layout(dilution: float = 1.0) -> PlateMap:
    return viability_plate_map(CHIPS, WINDOW, LDH, 2, dilution, np.random.default_rng(4))


def plate_of(
    plate_map: PlateMap, released: dict[str, float], rng: np.random.Generator | None
) -> AbsorbancePlate:
    """Return a plate with blank 0.1 OD and maximum release 1.6 OD above the reference."""
    signal = np.full((8, 12), 0.05)
    for well in plate_map:
        fraction = {"blank": 0.0, "max_release": 1.0}.get(well.kind)
        if fraction is None:
            assert well.chip is not None
            fraction = released[well.chip] / well.dilution
        clean = 0.1 + 1.5 * fraction
        noise = rng.normal() * math.hypot(0.006, 0.04 * clean) if rng is not None else 0.0
        signal[well.index] = clean + noise + 0.05
    return AbsorbancePlate("L1", 48.0, {490: signal, 680: np.full((8, 12), 0.05)})


def test_a_clean_plate_gives_back_the_released_fraction() -> None:
    truth = {chip: 0.02 * i for i, chip in enumerate(CHIPS)}
    plate_map = layout(dilution=2.0)
    controls, readouts = readouts_from_ldh_plate(
        plate_of(plate_map, truth, None), plate_map, LDH, cycle=1
    )
    assert (controls.low.od, controls.high.od) == pytest.approx((0.1, 1.6))
    for one in readouts:
        assert one.value == pytest.approx(truth[one.chip_id], abs=1e-9)
        assert (one.readout, one.unit, one.scale, one.n) == ("ldh_release", "1", "linear", 2)
        assert (one.window_start_h, one.time_h, one.cycle) == (24.0, 48.0, 1)


def test_the_interval_covers_and_a_narrow_one_does_not() -> None:
    plate_map = layout()
    scores = []
    for seed in range(60):
        plate = plate_of(plate_map, dict.fromkeys(CHIPS, 0.1), np.random.default_rng(seed))
        _, readouts = readouts_from_ldh_plate(plate, plate_map, LDH)
        # One chip per plate: chips of one plate share its blanks and are not independent.
        scores += [(one.value - 0.1) / one.sd for one in readouts[:3]]
    n = len(scores)
    slack = 3 * math.sqrt(0.09 / n) * 1.3
    limit = norm.ppf(0.95)
    assert abs(np.mean(np.abs(scores) <= limit) - 0.9) < slack
    assert abs(np.mean(np.abs(scores) <= 0.5 * limit) - 0.9) > slack


def test_a_signal_below_the_blank_stays_negative() -> None:
    plate_map = layout()
    truth = {**dict.fromkeys(CHIPS, 0.0), "C05": -0.02}
    _, readouts = readouts_from_ldh_plate(plate_of(plate_map, truth, None), plate_map, LDH)
    assert {one.chip_id: one.value for one in readouts}["C05"] == pytest.approx(-0.02)


def test_a_plate_without_a_span_between_its_controls_fails() -> None:
    plate_map = layout()
    plate = plate_of(plate_map, dict.fromkeys(CHIPS, 0.0), np.random.default_rng(0))
    flat = {490: np.full((8, 12), 0.15), 680: plate.absorbance[680]}
    controls, readouts = readouts_from_ldh_plate(replace(plate, absorbance=flat), plate_map, LDH)
    assert controls.qc == "fail"
    assert all(one.qc == "fail" and math.isnan(one.value) for one in readouts)


def test_a_saturated_sample_is_no_number() -> None:
    plate_map = layout()
    plate = plate_of(plate_map, dict.fromkeys(CHIPS, 0.1), None)
    well = next(one for one in plate_map if one.kind == "sample")
    _, readouts = readouts_from_ldh_plate(
        replace(plate, flags={(490, well.well): "saturated"}), plate_map, LDH
    )
    one = next(one for one in readouts if one.chip_id == well.chip)
    assert one.qc == "fail" and math.isnan(one.value)


def test_what_is_left_of_a_chip_is_one_less_all_it_released() -> None:
    plate_map = layout()
    _, readouts = readouts_from_ldh_plate(
        plate_of(plate_map, dict.fromkeys(CHIPS, 0.1), None), plate_map, LDH
    )
    one = replace(readouts[0], sd=0.03)
    assert viability(WHOLE, []) == Viability(1.0, 0.0)
    left = viability(viability(WHOLE, [one]), [replace(one, sd=0.04)])
    assert (left.value, left.sd) == pytest.approx((0.8, 0.05))


def test_a_window_that_was_not_read_is_not_taken_for_zero() -> None:
    plate_map = layout()
    _, readouts = readouts_from_ldh_plate(
        plate_of(plate_map, dict.fromkeys(CHIPS, 0.1), None), plate_map, LDH
    )
    lost = replace(readouts[0], value=math.nan, qc="fail", reasons=("saturated",))
    with pytest.raises(ValueError, match="saturated"):
        viability(WHOLE, [lost])


def with_spontaneous(part: float) -> tuple[PlateMap, AbsorbancePlate]:
    kit = LDH.model_copy(update={"controls": Controls(blank=3, max_release=3, spontaneous=3)})
    plate_map = viability_plate_map(CHIPS, WINDOW, kit, 2, 1.0, np.random.default_rng(4))
    plain = tuple(one for one in plate_map if one.kind != "spontaneous")
    plate = plate_of(plain, {chip: 0.05 * i for i, chip in enumerate(CHIPS)}, None)
    signal = plate.absorbance[490].copy()
    for one in plate_map:
        if one.kind == "spontaneous":
            signal[one.index] = 0.1 + 1.5 * part + 0.05
    return plate_map, replace(plate, absorbance={**plate.absorbance, 490: signal})


def test_cytotoxicity_takes_off_what_untreated_cells_release() -> None:
    plate_map, plate = with_spontaneous(0.1)
    _, readouts = cytotoxicity_from_ldh_plate(plate, plate_map, LDH)
    for i, chip in enumerate(CHIPS):
        (one,) = [r for r in readouts if r.chip_id == chip]
        assert one.value == pytest.approx((0.05 * i - 0.1) / 0.9, abs=1e-9)
        assert one.readout == "cytotoxicity"
    assert readouts[0].value < 0.0  # a chip that releases less than the untreated ones


@pytest.mark.parametrize("kind", ["spontaneous", "max_release"])
def test_cytotoxicity_without_one_of_its_controls_is_refused(kind: str) -> None:
    plate_map, plate = with_spontaneous(0.1)
    without = tuple(one for one in plate_map if one.kind != kind)
    with pytest.raises(ValueError, match=f"no {kind} wells"):
        cytotoxicity_from_ldh_plate(plate, without, LDH)


@pytest.mark.parametrize("kind", ["blank", "max_release"])
def test_release_without_one_of_its_controls_is_refused(kind: str) -> None:
    plate_map = layout()
    plate = plate_of(plate_map, dict.fromkeys(CHIPS, 0.1), None)
    without = tuple(one for one in plate_map if one.kind != kind)
    with pytest.raises(ValueError, match=f"no {kind} wells"):
        readouts_from_ldh_plate(plate, without, LDH)


def test_the_controls_part_of_the_sd_is_shared_by_the_plate() -> None:
    plate_map = layout()
    plate = plate_of(plate_map, dict.fromkeys(CHIPS, 0.3), np.random.default_rng(2))
    _, readouts = readouts_from_ldh_plate(plate, plate_map, LDH)
    for one in readouts:
        assert len(one.curve) == 2 and 0.0 < sum(c * c for c in one.curve) < one.sd**2


def test_a_chips_own_lysate_is_shared_with_nobody() -> None:
    own = tuple(
        replace(one, chip="C05") if one.kind == "max_release" and i % 2 else one
        for i, one in enumerate(layout())
    )
    plate = plate_of(own, dict.fromkeys(CHIPS, 0.3), np.random.default_rng(2))
    _, readouts = readouts_from_ldh_plate(plate, own, LDH)
    by_chip = {one.chip_id: one for one in readouts}
    assert by_chip["C05"].curve[1] == 0.0 != by_chip["C04"].curve[1]

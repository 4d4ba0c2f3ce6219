"""A tracer on perfused chips: the plan of the plate, and P_app of a truth solved by other means."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chiploop.assays import derived_from_plate
from chiploop.assays.perfused_tracer import (
    PerfusedChip,
    perfused_tracer_map,
    readouts_from_perfused_tracer,
)
from chiploop.assays.plate_map import PlateMap
from chiploop.assays.tracer_transport import PerfusedTransport
from chiploop.measurement import AbsorbancePlate
from chiploop.study import Kit, load_study
from chiploop.virtual_tracer import collected, light_rfu

STUDY = Path(__file__).parents[3] / "protocols" / "studies" / "ad_jak_all_readouts.yaml"
CHIP = PerfusedChip(0.33, 30.0, 60.0)
TRUE_CM_S = {"C01": 3e-7, "C02": 1.2e-6, "C03": 6e-6}
WINDOW_H = (68.0, 72.0)


@pytest.fixture(scope="module")
def kit() -> Kit:
    return load_study(STUDY).assays["P_app"].kit


def plate_of(kit: Kit, seed: int) -> tuple[AbsorbancePlate, PlateMap]:
    """Return a plate of three chips whose truth is known."""
    rng = np.random.default_rng(seed)
    wells = perfused_tracer_map(list(TRUE_CM_S), WINDOW_H, kit, 1, 3.0, rng)
    assert kit.tracer is not None
    windows = kit.tracer.windows_h(72.0)
    edges = np.array([68.0, *(end for _, end in windows)]) - 68.0
    counts = np.zeros((8, 12))
    for one in wells:
        c = one.concentration or 0.0
        if one.chip is not None and one.window_h is not None:
            means, left = collected(TRUE_CM_S[one.chip], 0.33, 100.0, 30.0, 60.0, edges)
            at = (
                [round(end, 6) for _, end in windows].index(round(one.window_h[1], 6))
                if one.kind == "sample"
                else 0
            )
            share = means[at] if one.kind == "sample" else (left if one.window_h[1] > 71.0 else 1.0)
            c = share * kit.tracer.donor_concentration_pg_ml / one.dilution
        counts[one.index] = light_rfu(c, rng)
    return AbsorbancePlate("p", 73.25, {520: counts}), wells


def test_the_plate_holds_every_window_and_the_donor_at_its_begin_and_end(kit: Kit) -> None:
    _, wells = plate_of(kit, 1)
    own = [one for one in wells if one.chip == "C02"]
    samples = sorted(one.window_h for one in own if one.kind == "sample" and one.window_h)
    assert [round(a, 3) for a, _ in samples] == [68.0, 68.667, 69.333, 70.0, 70.667, 71.333]
    assert sorted(one.window_h for one in own if one.kind == "donor" and one.window_h) == [
        (pytest.approx(68.0), pytest.approx(68.0)),
        (72.0, 72.0),
    ]
    assert {one.dilution for one in own if one.kind == "donor"} == {20.0}


def test_the_virtual_chips_transport_is_that_of_the_assay_by_another_solution() -> None:
    edges = np.linspace(0.0, 4.0, 7)
    for p_app in TRUE_CM_S.values():
        clearance = p_app * 0.33 * 3.6e6
        wanted = PerfusedTransport(edges[:-1], edges[1:], 60.0, 100.0, 30.0)
        means, left = collected(p_app, 0.33, 100.0, 30.0, 60.0, edges)
        assert means == pytest.approx(
            wanted.predict(np.array([clearance]), np.array([0.0]))[0], rel=1e-9
        )
        assert left == pytest.approx(wanted.donor(clearance, 4.0), rel=1e-9)


def test_p_app_is_a_reading_at_the_end_that_finds_the_truth_within_its_sd(kit: Kit) -> None:
    gaps = []
    for seed in range(8):
        plate, wells = plate_of(kit, seed)
        judged, readouts = readouts_from_perfused_tracer(plate, wells, kit, 1, CHIP)
        assert not judged.curve.left_out
        for one in readouts:
            assert (one.time_h, one.window_start_h, one.unit, one.scale) == (
                72.0,
                None,
                "cm/s",
                "log",
            )
            gaps.append(np.log(one.value / TRUE_CM_S[one.chip_id]) / one.sd)
    assert 0.4 < float(np.sqrt(np.mean(np.square(gaps)))) < 1.6


def test_rows_of_the_plate_are_counts_of_light_and_every_readout_names_its_own(kit: Kit) -> None:
    plate, wells = plate_of(kit, 2)
    derivation, readouts = derived_from_plate(plate, wells, kit, 1, CHIP)
    assert {(one.unit, one.quantity, one.stage) for one in derivation.measurements} == {
        ("RFU", "fluorescence 520 nm", "raw")
    }
    for one in readouts:
        assert len(one.parents) == 8
    with pytest.raises(ValueError, match="needs to know the chip"):
        derived_from_plate(plate, wells, kit, 1)


def test_a_kit_that_does_not_say_how_the_tracer_is_given_is_refused(kit: Kit) -> None:
    silent = kit.model_copy(update={"tracer": None})
    with pytest.raises(ValueError, match="does not say how a chip is given its tracer"):
        perfused_tracer_map(["C01"], WINDOW_H, silent, 1, 3.0, np.random.default_rng(1))


def test_a_wrong_flow_rate_is_a_wrong_permeability(kit: Kit) -> None:
    plate, wells = plate_of(kit, 3)
    _, right = readouts_from_perfused_tracer(plate, wells, kit, 1, CHIP)
    _, wrong = readouts_from_perfused_tracer(
        plate, wells, kit, 1, replace(CHIP, flow_rate_ul_h=120.0)
    )
    for one, other in zip(right, wrong, strict=True):
        assert other.value > 1.5 * one.value


def test_a_chip_whose_donor_wells_a_person_left_out_has_no_value_and_the_others_keep_theirs(
    kit: Kit,
) -> None:
    plate, plate_map = plate_of(kit, 3)
    _, before = readouts_from_perfused_tracer(plate, plate_map, kit, 1, CHIP)
    begin = min(one.window_h for one in plate_map if one.kind == "donor" and one.window_h)
    lost = {
        one.well: "left out by an: spilt"
        for one in plate_map
        if one.kind == "donor" and one.chip == before[0].chip_id and one.window_h == begin
    }
    without = replace(plate, left_out=lost)
    _, after = readouts_from_perfused_tracer(without, plate_map, kit, 1, CHIP)
    assert [(one.chip_id, one.time_h) for one in after] == [
        (one.chip_id, one.time_h) for one in before
    ]
    assert after[0].qc == "fail" and math.isnan(after[0].value)
    assert "no donor well" in after[0].reasons[0] and "left out by an: spilt" in after[0].reasons[1]
    assert [one.reasons for one in after[1:]] == [one.reasons for one in before[1:]]
    flags = {(round(kit.wavelength_nm), well): "masked" for well in lost}
    with pytest.raises(ValueError, match="no donor well"):  # not a person's decision
        readouts_from_perfused_tracer(replace(plate, flags=flags), plate_map, kit, 1, CHIP)


def test_a_receiver_well_that_a_person_left_out_is_told_of_its_chip_alone(kit: Kit) -> None:
    plate, plate_map = plate_of(kit, 3)
    _, before = readouts_from_perfused_tracer(plate, plate_map, kit, 1, CHIP)
    own = [one for one in plate_map if one.kind == "sample" and one.chip == before[0].chip_id]
    without = replace(plate, left_out={own[-1].well: "left out by an: spilt"})
    _, after = readouts_from_perfused_tracer(without, plate_map, kit, 1, CHIP)
    assert after[0].value != before[0].value
    assert any(f"sample {own[-1].well} left out by an" in one for one in after[0].reasons)
    assert not any("left out" in reason for one in after[1:] for reason in one.reasons)

"""MTT and resazurin: viable fraction with its sd, controls that must be there, what is told."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from chiploop.assays import ASSAYS, PLATE_MAPS
from chiploop.assays.metabolic_activity import metabolic_viability, readouts_from_metabolic_plate
from chiploop.assays.plate_map import PlateMap, PlateWell, viability_plate_map
from chiploop.measurement import AbsorbancePlate, Readout
from chiploop.study_parts import Controls, Kit
from tests.chiploop.assays.kits import LDH, PLANNING

WINDOW = (24.0, 48.0)
CHIPS = [f"C{i:02d}" for i in range(1, 13)]
MTT = Kit(
    name="mtt",
    method="mtt",
    readout="viability",
    wavelength_nm=570.0,
    reference_wavelength_nm=690.0,
    sample_volume_ul=100.0,
    planning=PLANNING,
    controls=Controls(blank=3, untreated=3, dead=2),
)


def layout(*more: PlateWell) -> PlateMap:
    wells = viability_plate_map(CHIPS, WINDOW, MTT, 2, 1.0, np.random.default_rng(4))
    return (*wells, *more)


def free_wells(n: int) -> list[str]:
    taken = {one.well for one in layout()}
    every = [f"{row}{column}" for column in range(1, 13) for row in "ABCDEFGH"]
    return [well for well in every if well not in taken][:n]


def plate_of(
    plate_map: PlateMap,
    viable: dict[str, float],
    rng: np.random.Generator | None = None,
    others: dict[str, float] | None = None,
) -> AbsorbancePlate:
    """Return a plate with blank 0.1 OD, 1.2 OD more for untreated, and other wells as told."""
    known = {"blank": 0.0, "untreated": 1.0, "dead": 0.02, **(others or {})}
    signal = np.full((8, 12), 0.05)
    for well in plate_map:
        part = viable[str(well.chip)] if well.kind == "sample" else known[well.kind]
        clean = 0.1 + 1.2 * part
        noise = rng.normal() * math.hypot(0.006, 0.04 * clean) if rng is not None else 0.0
        signal[well.index] = clean + noise + 0.05
    return AbsorbancePlate("M1", 48.0, {570: signal, 690: np.full((8, 12), 0.05)})


def read(plate_map: PlateMap, plate: AbsorbancePlate) -> dict[str, Readout]:
    return {one.chip_id: one for one in metabolic_viability(plate, plate_map, MTT, cycle=1)[1]}


def test_a_clean_plate_gives_back_the_viable_fraction() -> None:
    truth = {chip: 1.0 - 0.08 * i for i, chip in enumerate(CHIPS)}
    found = read(layout(), plate_of(layout(), truth))
    for chip, one in found.items():
        assert one.value == pytest.approx(truth[chip], abs=1e-9)
        assert (one.readout, one.scale, one.unit, one.qc) == ("viability", "linear", "1", "ok")
        assert (one.time_h, one.window_start_h, one.cycle, one.n) == (48.0, None, 1, 2)


def test_a_study_gets_the_fall_of_the_viable_fraction_since_its_start() -> None:
    truth = dict.fromkeys(CHIPS, 0.7)
    for name in ("mtt", "resazurin"):
        assert ASSAYS[name] is readouts_from_metabolic_plate
        assert PLATE_MAPS[name] is viability_plate_map
    one = readouts_from_metabolic_plate(plate_of(layout(), truth), layout(), MTT, 1)[1][0]
    assert one.readout == "ldh_release" and one.value == pytest.approx(0.3)
    assert (one.window_start_h, one.time_h) == (0.0, 48.0)
    same = read(layout(), plate_of(layout(), truth))[one.chip_id]
    assert one.sd == same.sd and one.curve == tuple(-c for c in same.curve)


@pytest.mark.parametrize("viable", [1.0, 0.5, 0.05])
def test_the_interval_covers_and_a_narrow_one_does_not(viable: float) -> None:
    scores = []
    for seed in range(160):
        plate = plate_of(layout(), dict.fromkeys(CHIPS, viable), np.random.default_rng(seed))
        # One chip per plate: chips of one plate share its controls and are not independent.
        one = read(layout(), plate)["C01"]
        scores.append((one.value - viable) / one.sd)
    slack = 3 * math.sqrt(0.09 / len(scores)) * 1.2
    limit = norm.ppf(0.95)
    assert abs(np.mean(np.abs(scores) <= limit) - 0.9) < slack
    assert abs(np.mean(np.abs(scores) <= 0.5 * limit) - 0.9) > slack


def test_the_shared_part_is_how_chips_of_a_plate_err_together() -> None:
    errors, shared = [], []
    for seed in range(300):
        plate = plate_of(layout(), dict.fromkeys(CHIPS, 0.9), np.random.default_rng(seed))
        controls, found = metabolic_viability(plate, layout(), MTT)
        errors.append([one.value - 0.9 for one in found])
        # the widening for a scale of few wells is no error of the plate
        shared.append(np.dot(found[0].curve, found[1].curve) / controls.scatter.heavy_tails**2)
    covariance = np.cov(np.array(errors).T)
    apart = covariance[~np.eye(len(CHIPS), dtype=bool)].mean()
    assert apart == pytest.approx(np.mean(shared), rel=0.15)
    assert apart > 0.3 * np.diag(covariance).mean()  # not small: leaving it out would be seen


def test_values_outside_of_the_controls_stay_as_they_are_and_are_told() -> None:
    truth = {**dict.fromkeys(CHIPS, 0.9), "C03": -0.06, "C04": 1.5}
    found = read(layout(), plate_of(layout(), truth, np.random.default_rng(1)))
    low, high = found["C03"], found["C04"]
    assert low.value < 0.0 and low.qc == "warn" and "below the blank" in " ".join(low.reasons)
    assert high.value > 1.3 and "above the untreated control" in " ".join(high.reasons)
    assert found["C05"].qc == "ok"


@pytest.mark.parametrize("kind", ["blank", "untreated", "dead"])
def test_a_plate_without_one_of_its_controls_is_refused(kind: str) -> None:
    plate = plate_of(layout(), dict.fromkeys(CHIPS, 1.0))
    without = tuple(one for one in layout() if one.kind != kind)
    with pytest.raises(ValueError, match=f"no {kind} wells"):
        metabolic_viability(plate, without, MTT)


@pytest.mark.parametrize("kind", ["untreated", "dead"])
@pytest.mark.parametrize("method", ["mtt", "resazurin"])
def test_a_kit_without_one_of_its_controls_is_refused(kind: str, method: str) -> None:
    stated = {"blank": 3, "untreated": 3, "dead": 2}
    del stated[kind]
    values = MTT.model_dump() | {"method": method, "controls": Controls(**stated)}
    values["planning"] = PLANNING
    with pytest.raises(ValueError, match=f"controls.{kind}"):
        Kit(**values)


def test_an_ldh_kit_without_maximum_release_is_refused() -> None:
    with pytest.raises(ValueError, match="controls.max_release"):
        Kit(**(LDH.model_dump() | {"planning": PLANNING, "controls": Controls(blank=3)}))


def test_a_dead_control_that_turns_the_dye_is_told_on_every_sample() -> None:
    plate = plate_of(layout(), dict.fromkeys(CHIPS, 0.6), others={"dead": 0.2})
    controls, readouts = metabolic_viability(plate, layout(), MTT)
    assert controls.dead_fraction == pytest.approx(0.2) and controls.qc == "warn"
    assert all(one.qc == "warn" and one.value == pytest.approx(0.6) for one in readouts)


def test_colour_and_quenching_of_a_compound_are_told_for_its_chips_alone() -> None:
    places = free_wells(4)
    more = (
        *(PlateWell(well, "compound_blank", chip="C02") for well in places[:2]),
        *(PlateWell(well, "compound_full", chip="C03") for well in places[2:]),
    )
    plate_map = layout(*more)
    others = {"compound_blank": 0.15, "compound_full": 0.8}
    found = read(plate_map, plate_of(plate_map, dict.fromkeys(CHIPS, 0.6), others=others))
    assert "compound colour: without cells it reads +15 %" in " ".join(
        found["C02"].reasons
    ).replace("%", " %").replace("  ", " ")
    assert "compound quenching" in " ".join(found["C03"].reasons)
    assert found["C01"].qc == "ok" and found["C02"].qc == found["C03"].qc == "warn"
    assert all(one.value == pytest.approx(0.6) for one in found.values())


def test_a_plate_without_a_span_between_its_controls_fails() -> None:
    plate = plate_of(layout(), dict.fromkeys(CHIPS, 0.0), np.random.default_rng(0))
    flat = {570: np.full((8, 12), 0.15), 690: plate.absorbance[690]}
    controls, readouts = metabolic_viability(replace(plate, absorbance=flat), layout(), MTT)
    assert controls.qc == "fail"
    assert all(one.qc == "fail" and math.isnan(one.value) for one in readouts)

"""A concentration by a schedule, as programmes of a line's pumps."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from chiploop.dosing import make_programme, remaining_ul
from chiploop.errors import DoseNotFeasible
from chiploop.exposure import (
    ExposureProgramme,
    exposure_from_dict,
    feasible_exposures,
    make_exposure,
)
from chiploop.study import load_study

STUDY = load_study(Path(__file__).parents[2] / "protocols" / "studies" / "ad_jak_pulses.yaml")
FULL = remaining_ul(STUDY, {})


def exact(_: str, rate: float, volume: float) -> tuple[float, float]:
    return rate, volume


def coarse(_: str, rate: float, volume: float) -> tuple[float, float]:
    return float(f"{rate:.3g}"), float(f"{volume:.4g}")


def made(
    nm: float = 120.0, schedule: str = "pulses", left: dict[str, float] = FULL
) -> ExposureProgramme:
    return make_exposure(STUDY, "L1", nm, schedule, exact, left)


def test_pulses_are_drug_and_stimulus_in_turn_and_every_part_is_of_the_dose() -> None:
    exposure = made()
    assert [(h, part.asked_nm, part.duration_h) for h, part in exposure.timed()] == [
        (0, 120, 8), (8, 0, 8), (16, 120, 8), (24, 0, 8), (32, 120, 8), (40, 0, 8)
    ]  # fmt: skip
    assert {part.purpose for part in exposure.parts} == {"dose"}
    assert {part.stimulus_fraction for part in exposure.parts} == {1.0}
    assert (exposure.duration_h, exposure.drug_h) == (48.0, 24.0)
    assert exposure.asked_nm == exposure.delivered_nm == 120.0
    volumes = {step.pump: step.volume_ul for step in exposure.steps}
    assert sum(volumes.values()) == pytest.approx(2 * 60.0 * 48.0)
    assert volumes["L1-low"] == pytest.approx(2 * 60.0 * 24.0 * 120.0 / 600.0)
    # 120 nM in 2 x 60 uL/h for 24 h, in nmol
    assert exposure.drug_nmol == pytest.approx(120.0 * 120.0 * 24.0 * 1e-6)


def test_without_drug_there_is_one_part_by_whatever_schedule() -> None:
    exposure = made(0.0, "pulses")
    assert (exposure.schedule, len(exposure.parts), exposure.drug_h) == ("whole", 1, 0.0)


def test_the_whole_exposure_is_the_programme_that_it_was() -> None:
    programme = make_programme(STUDY, "L1", "dose", 120.0, 48.0, exact, FULL)
    assert made(120.0, "whole") == ExposureProgramme("whole", (programme,))
    assert made(120.0, "whole").steps == programme.steps


def test_all_pulses_take_one_stock_and_what_earlier_ones_draw_is_gone_for_later_ones() -> None:
    # each pulse of 120 nM needs 192 uL of the low stock; 1000 uL of its 20 mL are never planned away
    two_pulses = FULL | {"L1-low": 1000.0 + 2.5 * 192.0}
    exposure = made(left=two_pulses)
    drug = [part for part in exposure.parts if part.asked_nm > 0.0]
    assert {step.stock for part in drug for step in part.steps} == {"stimulus", "high"}
    neither = two_pulses | {"L1-high": 1000.0}
    with pytest.raises(
        DoseNotFeasible, match="schedule pulses: .*L1-low needs 192 uL and has 96 uL"
    ):
        made(left=neither)
    assert made(schedule="whole", left=FULL).steps


def test_the_stimulus_of_all_parts_together_must_be_there() -> None:
    short = FULL | {"L1-stimulus": 3000.0 + 5000.0}
    with pytest.raises(DoseNotFeasible, match="L1-stimulus needs"):
        made(left=short)


def test_candidates_are_every_concentration_by_every_schedule_and_the_vehicle_once() -> None:
    found, refused = feasible_exposures(STUDY, "L1", (0.0, 120.0, 1e6), coarse, FULL)
    assert [(one.asked_nm, one.schedule) for one in found] == [
        (0.0, "whole"), (120.0, "first_day"), (120.0, "late"), (120.0, "pulses")
    ]  # fmt: skip
    assert [(one.asked_nm, one.schedule) for one in refused] == [
        (1e6, "first_day"), (1e6, "late"), (1e6, "pulses")
    ]  # fmt: skip
    assert all("weaker than the dose" in one.reason for one in refused)


def test_an_exposure_survives_the_record_and_an_older_record_has_one_programme() -> None:
    exposure = make_exposure(STUDY, "L1", 120.0, "pulses", coarse, FULL)
    assert exposure_from_dict(json.loads(json.dumps(asdict(exposure)))) == exposure
    programme = make_programme(STUDY, "L1", "dose", 120.0, 48.0, coarse, FULL)
    older = json.loads(json.dumps(asdict(programme)))
    assert exposure_from_dict(older) == ExposureProgramme("whole", (programme,))

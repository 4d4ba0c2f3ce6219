"""What the pumps of a line can make, and what its chips then got."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from chiploop.dosing import (
    ChipSchedule,
    ChipSegment,
    PumpProgramme,
    delivered_segments,
    make_programme,
    programme_from_dict,
    remaining_ul,
)
from chiploop.errors import DoseNotFeasible
from chiploop.exposure import feasible_exposures
from chiploop.study import Study, load_study

STUDY_FILE = Path(__file__).parents[2] / "protocols" / "studies" / "ad_jak_dose_finding.yaml"
GRID_NM = tuple(float(dose) for dose in np.geomspace(8.0, 4000.0, 120))
SMALLEST_UL_H = 3.0


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(STUDY_FILE)


def quantise(pump: str, flow_rate_ul_h: float, volume_ul: float) -> tuple[float, float]:
    """Four digits, rounded down, at least 3 uL/h: a syringe pump's own number format."""
    if flow_rate_ul_h < SMALLEST_UL_H:
        raise ValueError(f"{flow_rate_ul_h:g} uL/h is below {SMALLEST_UL_H:g} uL/h of {pump}")
    return _down(flow_rate_ul_h), _down(volume_ul)


def _down(value: float) -> float:
    scale = 10.0 ** (3 - math.floor(math.log10(value)))
    return math.floor(value * scale + 1e-6) / scale


def dose(study: Study, asked_nm: float, **drawn_ul: float) -> PumpProgramme:
    drawn = {f"L1-{stock}": volume for stock, volume in drawn_ul.items()}
    return make_programme(study, "L1", "dose", asked_nm, 48.0, quantise, remaining_ul(study, drawn))


def test_every_feasible_dose_of_a_grid_delivers_what_was_asked_within_two_percent(
    study: Study,
) -> None:
    programmes, refused = feasible_exposures(
        study, "L1", GRID_NM, quantise, remaining_ul(study, {})
    )
    assert len(programmes) + len(refused) == len(GRID_NM)
    assert len(programmes) > 110
    for programme in programmes:
        assert programme.delivered_nm == pytest.approx(programme.asked_nm, rel=0.02)
        volumes = [step.volume_ul for step in programme.steps]
        assert sum(volumes) == pytest.approx(180.0 * 48.0, rel=0.005)
        for step in programme.steps:
            assert step.volume_ul / step.flow_rate_ul_h == pytest.approx(48.0, rel=0.01)
            assert step.flow_rate_ul_h >= SMALLEST_UL_H


def test_the_weakest_stock_that_fits_is_taken(study: Study) -> None:
    assert [step.stock for step in dose(study, 30.0).steps] == ["stimulus", "low"]
    assert [step.stock for step in dose(study, 1200.0).steps] == ["stimulus", "high"]


def test_a_dose_as_strong_as_a_stock_takes_it_neat(study: Study) -> None:
    programme = dose(study, 600.0)
    assert [(step.stock, step.flow_rate_ul_h) for step in programme.steps] == [("low", 180.0)]
    assert programme.delivered_nm == 600.0


def test_just_below_a_stock_the_next_one_is_diluted_since_the_diluent_would_pulse(
    study: Study,
) -> None:
    assert [step.stock for step in dose(study, 595.0).steps] == ["stimulus", "high"]


def test_no_drug_is_the_stimulus_pump_alone(study: Study) -> None:
    programme = dose(study, 0.0)
    assert [step.pump for step in programme.steps] == ["L1-stimulus"]
    assert (programme.delivered_nm, programme.vehicle_fraction) == (0.0, 0.0)
    assert programme.stimulus_fraction == 1.0


def test_plain_medium_carries_neither_stimulus_nor_drug(study: Study) -> None:
    programme = make_programme(study, "L2", "medium", 0.0, 24.0, quantise, remaining_ul(study, {}))
    assert [step.pump for step in programme.steps] == ["L2-medium"]
    assert programme.stimulus_fraction == 0.0
    assert programme.steps[0].volume_ul == 24.0 * 180.0


def test_an_empty_weak_stock_hands_over_to_the_stronger_one(study: Study) -> None:
    assert [step.stock for step in dose(study, 480.0, low=15_000.0).steps] == ["stimulus", "high"]


def test_a_refusal_names_every_stock_and_why(study: Study) -> None:
    with pytest.raises(DoseNotFeasible) as refusal:
        dose(study, 8.0)
    assert "low: 2.4 uL/h is below 3 uL/h of L1-low" in str(refusal.value)
    assert "high: 0.12 uL/h is below 3 uL/h of L1-high" in str(refusal.value)


@pytest.mark.parametrize(
    ("asked_nm", "drawn_ul", "reason"),
    [
        (4500.0, {}, "above the limit of 4000 nM"),
        (480.0, {"low": 15_000.0, "high": 19_000.0}, "besides the reserve"),
        (30.0, {"stimulus": 55_000.0}, "L1-stimulus needs"),
        (20_000.0, {}, "weaker than the dose"),
    ],
)
def test_what_can_not_be_made_is_refused_and_never_clipped(
    study: Study, asked_nm: float, drawn_ul: dict[str, float], reason: str
) -> None:
    with pytest.raises(DoseNotFeasible, match=reason):
        dose(study, asked_nm, **drawn_ul)


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [
        ("flow_rate_ul_h", 50.0, "60 uL/h per chip is above 50"),
        ("vehicle_fraction", 1e-5, "vehicle"),
    ],
)
def test_flow_and_vehicle_limits_of_the_study_hold(
    study: Study, limit: str, value: float, reason: str
) -> None:
    tight = study.model_copy(update={"limits": study.limits.model_copy(update={limit: value})})
    with pytest.raises(DoseNotFeasible, match=reason):
        dose(tight, 480.0)


def test_a_pump_that_rounds_the_dose_away_is_refused(study: Study) -> None:
    def coarse(pump: str, flow_rate_ul_h: float, volume_ul: float) -> tuple[float, float]:
        rate = 20.0 * max(1, round(flow_rate_ul_h / 20.0))
        return rate, volume_ul

    with pytest.raises(DoseNotFeasible, match="rounding would deliver"):
        make_programme(study, "L1", "dose", 30.0, 48.0, coarse, remaining_ul(study, {}))


def test_a_pump_whose_volume_ends_early_is_refused(study: Study) -> None:
    def short(pump: str, flow_rate_ul_h: float, volume_ul: float) -> tuple[float, float]:
        return flow_rate_ul_h, min(volume_ul, 1000.0)

    with pytest.raises(DoseNotFeasible, match="ends after"):
        make_programme(study, "L1", "dose", 30.0, 48.0, short, remaining_ul(study, {}))


@pytest.mark.parametrize("asked_nm", [math.nan, math.inf, -1.0])
def test_a_dose_that_is_no_concentration_is_our_own_mistake(study: Study, asked_nm: float) -> None:
    with pytest.raises(ValueError, match="not a concentration"):
        dose(study, asked_nm)


def test_drug_in_a_plain_phase_is_our_own_mistake(study: Study) -> None:
    with pytest.raises(ValueError, match="carries no drug"):
        make_programme(study, "L1", "stimulus", 1.0, 4.0, quantise, {})


def test_a_programme_survives_json(study: Study) -> None:
    programme = dose(study, 123.0)
    assert programme_from_dict(json.loads(json.dumps(asdict(programme)))) == programme


def test_chips_share_the_flow_and_get_the_concentration_of_the_counted_volumes(
    study: Study,
) -> None:
    programme = dose(study, 480.0)
    segments = delivered_segments(
        study, programme, {"L1-low": 6000.0, "L1-stimulus": 2000.0}, 24.0, 72.0
    )
    assert list(segments) == ["C01", "C02", "C03"]
    segment = segments["C02"]
    assert segment.drug_nm == pytest.approx(600.0 * 6000.0 / 8000.0)
    assert segment.flow_rate_ul_h == pytest.approx(8000.0 / 48.0 / 3.0)
    assert segment.stimulus_ng_ml == {"IL-4": 0.5, "IL-13": 1.0}


def test_nothing_delivered_is_no_flow(study: Study) -> None:
    segment = delivered_segments(study, dose(study, 480.0), {}, 24.0, 72.0)["C01"]
    assert (segment.flow_rate_ul_h, segment.drug_nm) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("delivered_ul", "end_h"),
    [({"L2-low": 1.0}, 72.0), ({"L1-low": -1.0}, 72.0), ({"L1-low": math.nan}, 72.0), ({}, 24.0)],
)
def test_volumes_that_make_no_sense_are_our_own_mistake(
    study: Study, delivered_ul: dict[str, float], end_h: float
) -> None:
    with pytest.raises(ValueError):
        delivered_segments(study, dose(study, 480.0), delivered_ul, 24.0, end_h)


def test_a_schedule_neither_overlaps_nor_runs_backwards() -> None:
    first = ChipSegment(0.0, 24.0, 60.0, 0.0, {})
    schedule = ChipSchedule("C01").with_segment(first)
    with pytest.raises(ValueError, match="before the last one ended"):
        schedule.with_segment(ChipSegment(23.0, 48.0, 60.0, 0.0, {}))
    with pytest.raises(ValueError, match="not after its start"):
        schedule.with_segment(ChipSegment(24.0, 24.0, 60.0, 0.0, {}))

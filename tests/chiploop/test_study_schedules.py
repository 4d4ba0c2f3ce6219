"""Schedules of a study: the parts of an exposure that they make, their words, and files without any."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chiploop.study import Study, load_study
from chiploop.study_schedules import (
    WHOLE,
    Schedule,
    dose_words,
    least_part_h,
    schedule_parts,
    schedule_words,
    study_parts,
)

STUDIES = Path(__file__).parents[2] / "protocols" / "studies"
PULSES = Schedule(for_h=8.0, every_h=16.0, times=3)
MADE = [
    (Schedule(), [(0, 48, True)], ""),
    (Schedule(for_h=24.0), [(0, 24, True), (24, 48, False)], "the first 24 h"),
    (Schedule(from_h=24.0), [(0, 24, False), (24, 48, True)], "from 24 h to the end"),
    (
        Schedule(from_h=8.0, for_h=12.0),
        [(0, 8, False), (8, 20, True), (20, 48, False)],
        "12 h from 8 h",
    ),
    (
        PULSES,
        [(0, 8, True), (8, 16, False), (16, 24, True), (24, 32, False), (32, 40, True), (40, 48, False)],
        "3 x 8 h every 16 h",
    ),
    (
        Schedule(from_h=8.0, for_h=8.0, every_h=32.0, times=2),
        [(0, 8, False), (8, 16, True), (16, 40, False), (40, 48, True)],
        "2 x 8 h every 32 h from 8 h",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "parts", "words"), MADE)
def test_a_schedule_cuts_the_exposure_into_parts_without_a_gap(
    schedule: Schedule, parts: list[tuple[float, float, bool]], words: str
) -> None:
    assert [tuple(part) for part in schedule_parts(schedule, 48.0)] == parts
    assert schedule_words(schedule) == words


def test_a_pulse_that_ends_with_the_exposure_but_for_rounding_leaves_no_sliver() -> None:
    thirds = Schedule(for_h=4.1, every_h=10.3, times=3, from_h=48.0 - 2 * 10.3 - 4.1)
    assert schedule_parts(thirds, 48.0)[-1].end_h == 48.0
    assert schedule_parts(thirds, 48.0)[-1].has_drug


def test_a_dose_is_told_with_its_schedule_where_that_is_not_the_whole_exposure() -> None:
    assert dose_words(120.0, "pulses", {"pulses": PULSES}) == "120 nM, pulses: 3 x 8 h every 16 h"
    assert dose_words(120.0, WHOLE, {"pulses": PULSES}) == "120 nM"
    assert dose_words(120.0, "gone", {}) == "120 nM, gone"


def test_the_least_part_has_come_through_the_tubing_and_filled_the_channel() -> None:
    assert least_part_h(60.0, 30.0, 60.0, 3) == pytest.approx(60 / 180 + 4.605 * 0.5, abs=1e-3)
    assert least_part_h(600.0, 30.0, 60.0, 3) == 1.0, "a late start would be half of it"


def test_a_study_without_schedules_has_the_whole_exposure_and_reads_as_before() -> None:
    study = load_study(STUDIES / "ad_jak_dose_finding.yaml")
    assert study.schedules == {WHOLE: Schedule()}
    resolved = study.model_dump_json()
    assert "schedules" not in json.loads(resolved), "as a run of before has it in its study.json"
    assert Study.model_validate_json(resolved) == study


def test_the_schedules_of_a_study_survive_its_resolved_file_in_their_order() -> None:
    study = load_study(STUDIES / "ad_jak_pulses.yaml")
    again = Study.model_validate_json(study.model_dump_json())
    assert again == study
    assert list(again.schedules) == ["first_day", "late", "pulses"]
    assert [part.has_drug for part in study_parts(again, "late")] == [False, True]
    assert len(study_parts(again, WHOLE)) == 1, "the first doses are whole in every study"

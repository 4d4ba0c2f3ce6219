"""When a study needs what: counted by hand from its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chiploop.study import Study, load_study
from chiploop.timetable import Need, ReadingTimes, needs_of

EXAMPLE = Path(__file__).with_name("example_study.yaml")


@pytest.fixture(scope="module")
def example() -> Study:
    return load_study(EXAMPLE)


def of_kind(found: tuple[Need, ...], kind: str) -> list[Need]:
    return [need for need in found if need.kind == kind]


def test_pumps_are_needed_from_the_first_minute_to_the_last(example: Study) -> None:
    pumps = of_kind(needs_of(example), "pump")
    assert len(pumps) == 16
    assert {(need.from_h, need.to_h) for need in pumps} == {(0.0, 280.0)}
    assert "L1-medium" in {need.name for need in pumps}


def test_the_meter_is_needed_for_every_chip_at_every_reading(example: Study) -> None:
    readings = of_kind(needs_of(example, ReadingTimes(spectrum_s=90.0)), "impedance_meter")
    begins_h = [24.0, 76.0, 128.0, 180.0, 232.0]
    planned = [24.0] + [b + after for b in begins_h for after in sorted(example.sampling.teer_h)]
    assert [need.from_h for need in readings] == pytest.approx(planned)
    assert all(need.to_h - need.from_h == pytest.approx(12 * 90.0 / 3600.0) for need in readings)


def test_plates_are_read_one_after_the_other_and_wait_as_long_as_the_chips_are_held(
    example: Study,
) -> None:
    plates = of_kind(needs_of(example, ReadingTimes(plate_s=360.0)), "plate_reader")
    assert [need.from_h for need in plates[:2]] == pytest.approx([72.0, 72.1])
    turnaround_h = example.timeline.turnaround_h
    assert [need.may_wait_h for need in plates[:2]] == pytest.approx(
        [turnaround_h - 0.1, turnaround_h - 0.2]
    )
    assert len(plates) == 10


def test_what_comes_after_a_late_exposure_is_late_too(example: Study) -> None:
    moved = needs_of(example, begun_h={1: 24.0, 2: 79.0}, now_h=80.0)
    assert all(need.to_h >= 80.0 for need in moved)
    assert {need.to_h for need in of_kind(moved, "pump")} == {283.0}
    plates = of_kind(moved, "plate_reader")
    assert [need.from_h for need in plates][:1] == [127.0]


def test_an_exposure_that_has_not_begun_does_not_begin_in_the_past(example: Study) -> None:
    waiting = needs_of(example, begun_h={1: 24.0}, now_h=100.0)
    assert {need.to_h for need in of_kind(waiting, "pump")} == {304.0}


def test_hands_are_needed_from_the_worklist_and_no_meter_where_hands_read(example: Study) -> None:
    by_hand = needs_of(example, teer_by_hand=True)
    assert of_kind(by_hand, "impedance_meter") == []
    names = {need.name for need in of_kind(by_hand, "person")}
    assert {"c01/plate/CCL26", "c01/collect/L1", "c00/teer/1"} <= names


def test_a_plate_that_a_program_elsewhere_reads_needs_no_reader_here(example: Study) -> None:
    changed: dict[str, Any] = dict(example.assays)
    changed["CCL26"] = changed["CCL26"].model_copy(update={"plate_file": "x_{cycle}.csv"})
    plates = of_kind(needs_of(example.model_copy(update={"assays": changed})), "plate_reader")
    assert {need.name for need in plates} == {"viability"}

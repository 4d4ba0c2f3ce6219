"""What a study will do and use, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chiploop.assays.plate_map import plate_from_dict
from chiploop.plan import PlannedPlate, notes, plan_study, plate_map, plate_picture
from chiploop.study import Study, load_study

EXAMPLE = Path(__file__).with_name("example_study.yaml")


@pytest.fixture(scope="module")
def example() -> Study:
    return load_study(EXAMPLE)


def changed(study: Study, part: str, **update: Any) -> Study:
    """Return the study with some fields of one part changed."""
    return study.model_copy(update={part: getattr(study, part).model_copy(update=update)})


def test_the_timetable_is_in_order_and_tells_every_phase(example: Study) -> None:
    planned = plan_study(example)
    times = [row.time_h for row in planned.timetable]
    assert times == sorted(times)
    assert (planned.timetable[0].what, planned.timetable[0].end_h) == ("plain medium", 24.0)
    first = [row for row in planned.timetable if "nM" in row.what]
    assert [row.lines for row in first] == [("L1",), ("L2",), ("L3",), ("L4",)]
    pumps = [row for row in planned.timetable if row.who == "pumps" and "L4" in row.lines]
    # Medium, five exposures, four turnarounds between them, none after the last.
    assert len(pumps) == 10
    ends_and_starts = list(zip(pumps, pumps[1:], strict=False))
    assert all(before.end_h == after.time_h for before, after in ends_and_starts)
    assert pumps[-1].end_h == planned.end_h == 280.0
    assert planned.teer_readings == (1 + 5 * 2) * 12  # once before the stimulus
    assert planned.plate_reads == 10
    assert planned.plates_from_files == 0


def test_a_person_who_approves_stands_in_the_timetable_between_cycles(example: Study) -> None:
    by_person = changed(example, "approval", by="person")
    rows = [row for row in plan_study(by_person).timetable if row.who == "person"]
    assert [row.time_h for row in rows] == [72.0, 124.0, 176.0, 228.0]
    assert not any("without a person" in note for note in notes(by_person))
    assert any("without a person" in note for note in notes(example))


def test_syringe_volumes_are_flow_times_hours(example: Study) -> None:
    uses = {use.pump: use for use in plan_study(example).syringes}
    assert len(uses) == 16
    line_flow = 3 * 60.0
    assert uses["L1-medium"].needed_ul == pytest.approx(24 * line_flow)
    # 0 nM from the start: five exposures and four turnarounds of stimulus.
    assert uses["L1-stimulus"].needed_ul == pytest.approx((5 * 48 + 4 * 4) * line_flow)
    # 480 nM from the 600 nM stock is four fifths of the flow.
    assert uses["L4-low"].needed_ul == pytest.approx(0.8 * 48 * line_flow)
    assert uses["L4-low"].left_ul == pytest.approx(20000 - 0.8 * 48 * line_flow)
    assert uses["L4-high"].needed_ul == 0.0
    assert not any(use.over for use in uses.values())


def test_a_syringe_that_is_too_small_is_refused_by_name(example: Study) -> None:
    syringes = dict(example.perfusion.syringes)
    syringes["stimulus"] = syringes["stimulus"].model_copy(update={"volume_ul": 40000.0})
    planned = plan_study(changed(example, "perfusion", syringes=syringes))
    assert [use.pump for use in planned.syringes if use.over][0] == "L1-stimulus"
    assert planned.refusals[0].startswith("L1-stimulus: 46.1 mL are needed")


def test_a_first_dose_that_the_pumps_can_not_make_is_refused(example: Study) -> None:
    syringes = dict(example.perfusion.syringes)
    for stock in ("low", "high"):
        syringes[stock] = syringes[stock].model_copy(update={"volume_ul": 300.0})
    planned = plan_study(changed(example, "perfusion", syringes=syringes))
    assert any("L4 can not make 480 nM" in refusal for refusal in planned.refusals)


def test_a_pump_that_rounds_away_the_dose_is_refused(example: Study) -> None:
    def coarse(pump: str, flow_rate_ul_h: float, volume_ul: float) -> tuple[float, float]:
        raise ValueError(f"{flow_rate_ul_h:g} uL/h is below 1000 of {pump}")

    assert len(plan_study(example, coarse).refusals) == 4


def test_an_elisa_plate_has_standards_blanks_and_every_chip_in_replicates(example: Study) -> None:
    plate = plate_map(example, "CCL26", cycle=2)
    kinds = [well.kind for well in plate.wells]
    assert (kinds.count("standard"), kinds.count("blank"), kinds.count("sample")) == (16, 2, 24)
    assert len({well.well for well in plate.wells}) == len(plate.wells)
    samples = [well for well in plate.wells if well.kind == "sample"]
    assert sorted(well.chip or "" for well in samples) == sorted(example.chip_ids * 2)
    assert {well.window_h for well in samples} == {(100.0, 124.0)}


def test_a_release_plate_has_blank_and_maximal_release(example: Study) -> None:
    plate = plate_map(example, "viability", cycle=1)
    kinds = [well.kind for well in plate.wells]
    assert (kinds.count("blank"), kinds.count("max_release"), kinds.count("sample")) == (3, 3, 24)


def test_a_plan_and_the_run_after_it_get_the_same_plate(example: Study) -> None:
    planned = {plate.assay: plate for plate in plan_study(example, plates_of_cycle=2).plates}
    assert planned["CCL26"] == plate_map(example, "CCL26", cycle=2)
    assert planned["CCL26"].wells != plate_map(example, "CCL26", cycle=1).wells


def test_a_plate_is_plain_json_that_is_read_back(example: Study) -> None:
    plate = plate_map(example, "CCL26", cycle=1)
    value = json.loads(json.dumps(plate.as_json()))
    assert value["plate_id"] == "ad_jak_dose_finding-CCL26-cycle1"
    assert plate_from_dict(value) == plate.wells


def test_the_picture_shows_each_well_at_its_place(example: Study) -> None:
    plate = plate_map(example, "CCL26", cycle=1)
    rows = plate_picture(plate).splitlines()
    assert rows[0].split() == [str(column) for column in range(1, 13)]
    shown = {f"{row[0]}{i}": text for row in rows[1:] for i, text in enumerate(row[1:].split(), 1)}
    assert (shown["A1"], shown["H2"], shown["B3"]) == ("S", "S", "B")
    assert all(shown[well.well] == well.chip for well in plate.wells if well.kind == "sample")
    assert list(shown.values()).count(".") == 96 - len(plate.wells)
    assert plate_picture(PlannedPlate("p", "CCL26", 1, ())).count(".") == 96

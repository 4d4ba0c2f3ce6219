"""The limits in numbers: as stated, and as they follow from the timeline where they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chiploop import study_limits
from chiploop.study import Study, load_study

EXAMPLE = Path(__file__).with_name("example_study.yaml")
LIMITS = {
    "dose_volume": study_limits.dose_volume_limit_ul,
    "day_volume": study_limits.day_volume_limit_ul,
    "total_volume": study_limits.total_volume_limit_ul,
    "readout_age": study_limits.readout_age_limit_h,
}


@pytest.fixture(scope="module")
def example() -> Study:
    return load_study(EXAMPLE)


def changed(study: Study, part: str, **update: Any) -> Study:
    return study.model_copy(update={part: getattr(study, part).model_copy(update=update)})


@pytest.mark.parametrize(
    ("key", "written", "number"),
    [
        ("dose_volume", "3 mL", 3000.0),
        ("day_volume", "4500 uL", 4500.0),
        ("total_volume", "15 mL", 15_000.0),
        ("readout_age", "3 d", 72.0),
    ],
)
def test_what_a_study_states_is_its_limit(
    tmp_path: Path, key: str, written: str, number: float
) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    path = tmp_path / "study.yaml"
    path.write_text(text.replace("limits:  ", f"limits:\n  {key}: {written}\n  #"), "utf-8")
    study = load_study(path)
    assert LIMITS[key](study) == pytest.approx(number)
    assert LIMITS[key](Study.model_validate_json(study.model_dump_json())) == pytest.approx(number)


@pytest.mark.parametrize(
    ("key", "number"),
    [
        ("dose_volume", 120.0 * 48.0),
        ("day_volume", 120.0 * 24.0 * 1.02),
        ("total_volume", 60.0 * 48.0 * 5 * 1.10),
        ("readout_age", 4.0 + 48.0),
    ],
)
def test_a_limit_that_is_not_stated_follows_from_the_timeline(
    example: Study, key: str, number: float
) -> None:
    assert LIMITS[key](example) == pytest.approx(number)


def test_a_tight_flow_limit_leaves_room_for_plain_medium_beside_a_held_dose(example: Study) -> None:
    tight = changed(example, "limits", flow_rate_ul_h=60.0)
    assert study_limits.day_volume_limit_ul(tight) == pytest.approx(2 * 60.0 * 24.0 * 1.02)


def test_a_cycle_without_its_toxicity_readout_is_too_old_unless_people_are_waited_for(
    example: Study,
) -> None:
    for window_h in ((24.0, 48.0), (12.0, 24.0)):
        study = changed(example, "sampling", effluent_h=window_h)
        missed_h = study_limits.planned_readout_age_h(study) + 48.0 + 4.0
        assert study_limits.readout_age_limit_h(study) < missed_h
    by_person = changed(example, "approval", by="person")
    assert study_limits.readout_age_limit_h(by_person) == pytest.approx(52.0 + 72.0)
    brought = example.assays["CCL26"].model_copy(update={"plate_file": "{cycle}.txt"})
    from_files = example.model_copy(update={"assays": {**example.assays, "CCL26": brought}})
    assert study_limits.readout_age_limit_h(from_files) == pytest.approx(52.0 + 72.0)


def test_drug_in_all_is_the_planned_exposures_at_the_concentration_limit(example: Study) -> None:
    # 4 uM x 60 uL/h x 48 h x 5 x 380.4 g/mol
    assert study_limits.drug_limit_ng(example, example.drug) == pytest.approx(
        4e-6 * 380.4 * 14_400e-6 * 1e9
    )

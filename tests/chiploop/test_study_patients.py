"""Patients in a study file: named by code, kept elsewhere, refused where they can not be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.study import Study, check_study, load_study

EXAMPLE = Path(__file__).parents[2] / "protocols" / "studies" / "ad_jak_patient.yaml"
DRUGS = "drugs: [upadacitinib:15mg, upadacitinib:30mg, dupilumab, tralokinumab, placebo]"
# what is put in place of what -> words
REFUSED = [
    ("  D1:\n    patient", "  D7:\n    patient", "donor of this study"),
    ("patient: P-0107 ", "patient: Miller ", "is not a code"),
    ("patients/P-0107.yaml", "patients/P-0999.yaml", "there is no file"),
    (DRUGS, "drugs: [aspirin]", "'aspirin' is not known"),
    (DRUGS, "drugs: [upadacitinib:99mg]", "no dose '99mg'"),
    (DRUGS, "drugs: [placebo, dupilumab, placebo]", "placebo is here twice"),
    (DRUGS, "drugs: []", "it needs at least 1"),
    ("week: 16 ", "week: 0.5 ", "1.0 or more"),
]


def written(folder: Path, old: str = "", new: str = "") -> Path:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert old in text
    path = folder / "study.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_a_patient_is_named_with_the_place_of_the_file_and_nothing_that_stands_in_it() -> None:
    study = load_study(EXAMPLE)
    one = study.patients["D1"]
    assert (one.patient, one.week, one.margin_pct) == ("P-0107", 16.0, 10.0)
    assert Path(one.file).is_file()
    text = study.model_dump_json()
    assert "26.5" not in text and "1900" not in text
    assert Study.model_validate_json(text) == study


def test_a_study_without_patients_is_written_as_it_was_before_there_were_any() -> None:
    plain = load_study(EXAMPLE.with_name("ad_jak_dose_finding.yaml"))
    assert plain.patients == {} and '"patients"' not in plain.model_dump_json()


@pytest.mark.parametrize(("old", "new", "words"), REFUSED)
def test_what_can_not_be_meant_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    problems = check_study(written(tmp_path, old, new))
    assert problems, new
    assert any(words in problem.message and problem.line for problem in problems), problems


def test_a_patient_is_one_donor(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    second = (
        f"  D2: {{patient: P-0107, file: protocols/patients/P-0107.yaml, {DRUGS}}}\n\nstimulus:"
    )
    (tmp_path / "study.yaml").write_text(text.replace("\nstimulus:", second, 1), encoding="utf-8")
    problems = check_study(tmp_path / "study.yaml")
    assert ["P-0107 is donor D1 already" in problem.message for problem in problems] == [True]

"""A study of several drugs: what its file may say, whose pumps and limits are where, and one drug as before."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from chiploop.dosing import remaining_ul
from chiploop.protocols_path import protocols_folder
from chiploop.record.chain import canonical
from chiploop.study import Study, check_study, load_study
from chiploop.study_limits import concentration_limit_nm, drug_limit_ng
from tests.chiploop.drug_mistakes import ONE_DRUG, TWO_DRUGS

STUDIES = protocols_folder() / "studies"
TWO = STUDIES / "ad_jak_two_drugs.yaml"
EXAMPLE = Path(__file__).parent / "example_study.yaml"


def changed(tmp_path: Path, source: Path, old: str, new: str) -> Path:
    text = source.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "study.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(("rule", "old", "new", "field", "message"), TWO_DRUGS)
def test_what_is_wrong_with_several_drugs_is_told_at_its_place(
    tmp_path: Path, rule: str, old: str, new: str, field: str, message: str
) -> None:
    found = check_study(changed(tmp_path, TWO, old, new))
    own = [p for p in found if p.field == field and message in p.message + p.hint]
    assert len(own) == 1, found
    assert own[0].line is not None or field == "drug", "a key that is missing has no line"


@pytest.mark.parametrize(("rule", "old", "new", "field"), ONE_DRUG)
def test_a_study_of_one_drug_names_it_once(
    tmp_path: Path, rule: str, old: str, new: str, field: str
) -> None:
    (found,) = check_study(changed(tmp_path, EXAMPLE, old, new))
    assert found.field == field
    assert "the study has one drug" in found.message


@pytest.mark.parametrize(
    ("name", "tissue", "wanted"),
    [
        (
            "ad_jak_dose_finding",
            True,  # the skin chip's file has learned two readouts since
            "ba8a8cc9343a837f2b611af9fc48962b37534c1616286fae65ae8f521a2f8005",
        ),
        (
            "psoriasis_tyk2",
            {"path"},
            "a0bfb4fb4c24f6f244ec43da0cfbe5441e7484e29abe39083393d1b9aaeeea5e",
        ),
    ],
)
def test_a_study_of_one_drug_is_on_record_as_before_there_were_several(
    name: str, tissue: bool | set[str], wanted: str
) -> None:
    """The digests were taken before a study could have several drugs; ``tissue`` is what is left out of it."""
    study = load_study(STUDIES / f"{name}.yaml")
    places = {"source_path": True, "sha256": True, "tissue": tissue}
    content = canonical(study.model_dump(mode="json", exclude=places))  # type: ignore[arg-type]
    assert hashlib.sha256(content.encode()).hexdigest() == wanted


def test_a_study_of_several_drugs_survives_the_record() -> None:
    study = load_study(TWO)
    assert Study.model_validate_json(study.model_dump_json()) == study
    assert list(study.drugs) == ["upadacitinib", "abrocitinib"]
    assert [study.drug_of(line).name for line in study.line_ids] == [
        "upadacitinib", "upadacitinib", "abrocitinib", "abrocitinib",
    ]  # fmt: skip


def test_a_line_has_the_pumps_doses_and_limits_of_its_own_drug() -> None:
    study = load_study(TWO)
    assert study.pump_roles("L2") == ("medium", "stimulus", "upa_low", "upa_high")
    assert study.pump_roles("L3") == ("medium", "stimulus", "abro_low", "abro_high")
    pumps = set(remaining_ul(study, {}))
    assert {"L1-upa_high", "L4-abro_low"} < pumps
    assert not {"L1-abro_high", "L4-upa_low"} & pumps
    assert study.first_doses_of_nm("abrocitinib") == (240.0, 1920.0)
    assert concentration_limit_nm(study, "upadacitinib") == 4000.0
    assert concentration_limit_nm(study, "abrocitinib") == 8000.0
    planned_ul = 60.0 * 48.0 * 2
    upa, abro = study.drugs.values()
    assert drug_limit_ng(study, upa) == pytest.approx(4000.0 * planned_ul * 380.4e-6)
    assert drug_limit_ng(study, abro) == pytest.approx(8000.0 * planned_ul * 323.4e-6)

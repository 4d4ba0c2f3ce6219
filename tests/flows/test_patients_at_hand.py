"""A study's patient from a store: by code, for research alone, and each reading on the audit."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.errors import WrongUse
from chiploop.study_patients import DonorPatient
from chiploop.twin.consent import NotAgreed
from flows.patients_at_hand import patient_at_hand
from tests.chiploop.patients.stores import CODE, rich, store, with_patient


def asked(folder: Path, code: str = CODE) -> DonorPatient:
    return DonorPatient.model_validate(
        {"patient": code, "file": str(folder), "drugs": ["dupilumab"]}
    )


def test_a_patient_of_a_store_is_read_by_code_and_stands_on_its_audit(tmp_path: Path) -> None:
    patient_id = with_patient(tmp_path, "none")
    assert patient_at_hand(asked(tmp_path)) == rich()
    with store(tmp_path) as books:
        last = books.audit.entries()[-1]
        assert (last.patient_id, last.action) == (patient_id, "used")
        assert books.standings()[patient_id].pages == 1
    with pytest.raises(WrongUse, match="has no patient P-9"):
        patient_at_hand(asked(tmp_path, "P-9"))


def test_a_patient_who_agreed_to_no_research_is_no_patient_of_a_study(tmp_path: Path) -> None:
    consent = {"scope": ["teaching"], "delete_after": "2099-12-31"}
    with_patient(tmp_path, "none", rich(consent=consent))
    with pytest.raises(NotAgreed, match="not for research, which study needs"):
        patient_at_hand(asked(tmp_path))


def test_a_sealed_store_without_its_secret_is_told_and_not_asked_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_patient(tmp_path, "passphrase")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(WrongUse, match="CHIPLOOP_PATIENT_PASSPHRASE"):
        patient_at_hand(asked(tmp_path))
    monkeypatch.setenv(
        "CHIPLOOP_PATIENT_PASSPHRASE", "correct horse battery staple, thirty-two bytes or more"
    )
    assert patient_at_hand(asked(tmp_path)).patient == CODE

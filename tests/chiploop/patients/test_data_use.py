"""What leaves: under a note, with another code, only what was agreed, and on the audit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chiploop.errors import WrongUse
from chiploop.patients.data_use import PARTS, export, new_code
from chiploop.twin.codes import is_code
from chiploop.twin.consent import NotAgreed
from chiploop.twin.patient_file import patient_of
from tests.chiploop.patients.stores import CODE, TODAY, rich, store, with_patient


def given_away(folder: Path, **asked: Any) -> tuple[str, str]:
    how: dict[str, Any] = {"purpose": "research", "recipient": "Clinic B, Skin (3)", "parts": PARTS}
    with store(folder) as books:
        return export(books, books.find(CODE), today=TODAY, **(how | asked))


def test_an_export_is_a_file_of_ours_with_a_note_and_another_code(tmp_path: Path) -> None:
    with_patient(tmp_path / "s")
    text, code = given_away(tmp_path / "s")
    path = tmp_path / "out.yaml"
    path.write_text(text)
    found = patient_of(path)
    assert text.startswith("# Research use only; not for clinical decisions.")
    assert CODE not in text and found.patient == code != CODE
    assert found.baseline == rich().baseline and found.visits == rich().visits
    assert found.consent.scope == ("research",) and found.consent.delete_after == "2030-12-31"
    note = found.data_use
    assert note is not None and note.recipient == "Clinic B, Skin (3)" and note.given_on == TODAY
    assert note.given_by == "anna" and note.purpose == "research" and note.export == code
    assert any("clinical decisions" in one for one in note.terms)
    with store(tmp_path / "s") as books:
        last = books.audit.entries()[-1]
        exports = books.find(CODE).exports
    assert last.action == "exported"
    assert last.body == {"export": code, "purpose": "research", "recipient": "Clinic B, Skin (3)"}
    assert [one["export"] for one in exports] == [code]


def test_a_file_that_was_given_may_not_be_given_on(tmp_path: Path) -> None:
    with_patient(tmp_path / "s")
    text, code = given_away(tmp_path / "s")
    (tmp_path / "out.yaml").write_text(text)
    with store(tmp_path / "theirs") as books:
        books.protect("none", books.ask)
        patient_id = books.add(patient_of(tmp_path / "out.yaml"), TODAY)
        with pytest.raises(NotAgreed, match="not for sharing"):
            export(books, books.find(patient_id), "research", "Clinic C", TODAY)


def test_a_login_that_is_an_address_stays_in_the_givers_audit(tmp_path: Path) -> None:
    with_patient(tmp_path)
    with store(tmp_path, login="anna@clinic.example") as books:
        text, _ = export(books, books.find(CODE), "research", "Clinic B", TODAY)
        assert books.audit.entries()[-1].login == "anna@clinic.example"
    assert "anna" not in text


def test_only_the_parts_that_were_asked_for_leave(tmp_path: Path) -> None:
    with_patient(tmp_path / "s")
    text, _ = given_away(tmp_path / "s", parts=("baseline",))
    (tmp_path / "out.yaml").write_text(text)
    found = patient_of(tmp_path / "out.yaml")
    assert found.baseline == rich().baseline
    assert (found.age_years, found.flg, found.visits, found.treatment) == (None, None, (), None)


# scope, what is asked, error, words
REFUSED = [
    (["research"], {}, NotAgreed, "not for sharing"),
    (["sharing", "teaching"], {}, NotAgreed, "nobody may be given"),
    (["research", "sharing"], {"purpose": "teaching"}, NotAgreed, "nobody may be given"),
    (["research", "sharing"], {"purpose": "sale"}, WrongUse, "no purpose"),
    (["research", "sharing"], {"recipient": "jo@clinic.example"}, WrongUse, "an e-mail address"),
    (["research", "sharing"], {"recipient": ""}, WrongUse, "name the institution|can not be"),
    (["research", "sharing"], {"parts": ("shoe_size",)}, WrongUse, "no part"),
    (["research", "sharing"], {"parts": ("visits",)}, WrongUse, "without their treatment"),
]


@pytest.mark.parametrize(("scope", "asked", "error", "words"), REFUSED)
def test_what_was_not_agreed_to_or_can_not_be_asked_does_not_leave(
    tmp_path: Path, scope: list[str], asked: dict[str, Any], error: type[Exception], words: str
) -> None:
    with_patient(tmp_path, "none", rich(consent={"scope": scope, "delete_after": "2030-12-31"}))
    with pytest.raises(error, match=words):
        given_away(tmp_path, **asked)
    with store(tmp_path) as books:
        assert books.audit.entries()[-1].action == "added"


def test_codes_of_exports_are_codes_and_do_not_come_twice() -> None:
    codes = {new_code() for _ in range(500)}
    assert len(codes) == 500 and all(map(is_code, codes))

"""The store of patients as a person and as a program see it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from chiploop.errors import WrongUse
from chiploop.patients import key_folder
from chiploop.patients import store as store_module
from chiploop.twin.patient_file import patient_of
from flows.cli.main import command_line
from flows.cli.patient_store import NEW_PASSPHRASE, PASSPHRASE
from flows.cli.twin_change import merged

PATIENT = """chiploop: 1
patient: P-0042
consent: {scope: [research, sharing], delete_after: "2099-12-31"}
baseline: {easi: 28.1828}
treatment: dupilumab
"""
SECRET = "correct horse battery"


class Desk:
    """A folder with a patient's file, at which commands are typed."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        self.file, self.store = folder / "patient.yaml", folder / "runs" / "patients"
        self.file.write_text(PATIENT)

    def types(self, *words: object, code: int = 0) -> Any:
        """Type a command of ``twin`` with --json; return what it printed."""
        arguments = ["twin", *map(str, words), "--store", str(self.store), "--json"]
        found = command_line(arguments)
        shown = self.capsys.readouterr()
        assert found == code, shown
        assert "Traceback" not in shown.err
        return json.loads(shown.out)

    def says(self, *words: object, code: int = 0) -> str:
        """Type a command for a person; return all that it printed, on one line."""
        found = command_line(["twin", *map(str, words), "--store", str(self.store)])
        shown = "".join(self.capsys.readouterr())
        assert found == code and "Traceback" not in shown, shown
        return " ".join(shown.split())


@pytest.fixture
def desk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Desk:
    for variable in (PASSPHRASE, NEW_PASSPHRASE):
        monkeypatch.delenv(variable, raising=False)
    # a passphrase costs a third of a second at its real price
    real = key_folder.KeyFolder.__init__
    monkeypatch.setattr(
        store_module.KeyFolder, "__init__", lambda self, folder, _=0: real(self, folder, 16)
    )
    return Desk(tmp_path, capsys)


def test_a_patient_is_added_seen_visited_and_deleted_for_good(desk: Desk) -> None:
    said = desk.types("add", desk.file)
    assert said["protection"] == "none" and len(said["id"]) == 32
    (row,) = desk.types("list", "--codes")["patients"]
    assert (row["id"], row["code"], row["due"]) == (said["id"], "P-0042", False)
    assert desk.types("visit", "P-0042", "--week", 4, "--easi", 12.5)["visits"] == 1
    shown = desk.types("show", said["id"][:6])
    assert (
        shown["patient"]["visits"] == [{"week": 4.0, "easi": 12.5}] and shown["research_use_only"]
    )
    gone = desk.types("delete", "P-0042", "--why", "withdrawn", "--yes")
    assert gone["deleted"][0]["id"] == said["id"] and "patient-keys" in gone["not_reached"]
    listed = desk.types("list")
    assert (listed["patients"], listed["deleted"]) == ([], 1)
    proof = desk.types("proof", said["id"][:8], "--find", "P-0042", "--find", "28.1828")
    assert proof["ok"] and proof["row"] == gone["deleted"][0]["row"] and proof["searched_bytes"] > 0
    # the file that it came from is still there, and a proof that looks there says so
    desk.types("proof", said["id"][:8], "--find", "28.1828", "--in", desk.folder, code=5)
    assert "deleted" in desk.says("proof", said["id"][:8])


def test_the_file_may_go_once_the_store_has_it(desk: Desk) -> None:
    assert desk.types("add", desk.file, "--erase-file")["erased"] is True
    assert not desk.file.exists()


def test_what_must_be_deleted_is_listed_and_deleted_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.types("add", desk.file)
    assert desk.types("list", "--due")["patients"] == []
    for room in ("patient_store", "twin_patients", "twin_delete"):
        monkeypatch.setattr(f"flows.cli.{room}.today", lambda: "2100-01-01")
    (row,) = desk.types("list", "--due", code=7)["patients"]
    assert row["due"] is True
    assert "was to be deleted after 2099-12-31" in desk.says("show", "P-0042", code=3)
    assert "was to be deleted" in desk.says("whatif", "P-0042", "--drugs", "dupilumab", code=3)
    assert "add --yes" in desk.says("delete", "--due", code=2)
    assert len(desk.types("delete", "--due", "--yes")["deleted"]) == 1
    assert "nobody is to be deleted" in desk.says("delete", "--due", "--yes")


def test_a_what_if_of_the_store_is_that_of_the_file_and_stands_on_the_audit(desk: Desk) -> None:
    few = ("--drugs", "dupilumab", "--virtual-patients", 100)
    of_file = desk.types("whatif", desk.file, *few)
    found = desk.types("add", desk.file)["id"]
    page = desk.folder / "page.html"
    of_store = desk.types("whatif", "P-0042", *few, "--page", page)
    assert {**of_store, "page": None} == of_file and page.exists()
    assert of_file["research_use_only"] is True
    desk.types("consent", "P-0042", "--scope", "teaching")
    assert "not for research, which whatif needs" in desk.says("whatif", "P-0042", *few, code=3)
    assert "pages written with it: 1" in desk.says("delete", found, "--why", "request", "--yes")
    uses = desk.says("proof", found)
    assert uses.count("used whatif") == 1


def test_keys_are_sealed_by_a_passphrase_that_is_never_an_argument(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.types("add", desk.file)
    assert NEW_PASSPHRASE in desk.says("protect", "--passphrase", code=2)
    monkeypatch.setenv(NEW_PASSPHRASE, SECRET)
    sealed = desk.types("protect", "--passphrase")
    assert sealed["protection"] == "passphrase" and sealed["were_open"] is True
    assert len(desk.types("list")["patients"]) == 1
    assert PASSPHRASE in desk.says("show", "P-0042", code=2)
    monkeypatch.setenv(PASSPHRASE, "another horse battery")
    assert "this is another one" in desk.says("show", "P-0042", code=2)
    monkeypatch.setenv(PASSPHRASE, SECRET)
    assert desk.types("show", "P-0042")["patient"]["patient"] == "P-0042"


def test_keys_are_sealed_by_a_key_file_that_is_made(desk: Desk) -> None:
    key = desk.folder / "stick" / "patients.key"
    assert "can not be written" in desk.says("protect", "--with-key-file", key, code=2)
    key.parent.mkdir()
    assert "another disk" in desk.says("protect", "--with-key-file", desk.store / "k", code=2)
    desk.types("protect", "--with-key-file", key)
    assert key.stat().st_size == 64
    assert "--key-file" in desk.says("add", desk.file, code=2)
    desk.types("add", desk.file, "--key-file", key)
    assert desk.types("list", "--codes", "--key-file", key)["patients"][0]["code"] == "P-0042"


def test_an_export_is_told_at_the_deletion_and_its_file_is_not_written_over(desk: Desk) -> None:
    desk.types("add", desk.file)
    out = desk.folder / "out.yaml"
    asked = ("export", "P-0042", out, "--purpose", "research", "--recipient", "Clinic B")
    said = desk.types(*asked)
    assert said["export"] in out.read_text() and said["research_use_only"] is True
    assert "there already" in desk.says(*asked, code=2)
    withdrawn = desk.types("consent", "P-0042", "--scope", "research")
    assert withdrawn["exports"][0]["recipient"] == "Clinic B"
    assert "not for sharing" in desk.says(*asked, "--force", code=3)
    told = desk.says("delete", "P-0042", "--why", "withdrawn", "--yes")
    assert f"tell Clinic B: it has values as {said['export']}" in told


# what is put into the file, in place of what -> what changes, or why it is refused
UPDATES: list[tuple[str, str, list[str] | str]] = [
    ("easi: 28.1828", "easi: 29.0, serum_ccl17_pg_ml: 900.0", ["baseline"]),
    ("baseline:", "chip: {maturation: {ratio: 0.8}}\nbaseline:", ["chip"]),
    ("baseline:", "setting: topicals\nage_years: 40\nbaseline:", ["setting", "age_years"]),
    ("baseline:", "baseline:", []),
    ("treatment: dupilumab\n", "", []),
    ("P-0042", "P-0043", "of another code"),
    ("[research, sharing]", "[research]", "another consent"),
    ("treatment: dupilumab", "treatment: placebo", "another treatment"),
    ("treatment:", "visits: [{week: 9.0}]\ntreatment:", "other visits"),
]


@pytest.mark.parametrize(("old", "new", "outcome"), UPDATES)
def test_what_was_measured_since_is_taken_in_and_nothing_gets_lost(
    tmp_path: Path, old: str, new: str, outcome: list[str] | str
) -> None:
    file = tmp_path / "patient.yaml"
    visits = "visits: [{week: 4.0}]\n"
    file.write_text(PATIENT.replace("easi: 28.1828", "easi: 28.1828, tewl_g_m2_h: 30.0") + visits)
    found = patient_of(file)
    assert old in PATIENT
    file.write_text(PATIENT.replace(old, new))
    if isinstance(outcome, str):
        with pytest.raises(WrongUse, match=outcome):
            merged(found, patient_of(file))
        return
    after, changed = merged(found, patient_of(file))
    assert sorted(changed) == sorted(outcome) and (after == found) == (not outcome)
    assert (after.visits, after.treatment) == (found.visits, "dupilumab")
    assert after.baseline.tewl_g_m2_h == 30.0


def test_an_update_takes_a_new_version_only_where_something_changed(desk: Desk) -> None:
    desk.types("add", desk.file)
    assert desk.types("update", "P-0042", desk.file)["changed"] == []
    desk.file.write_text(PATIENT.replace("28.1828", "29.5"))
    assert desk.types("update", "P-0042", desk.file)["changed"] == ["baseline"]
    assert desk.types("show", "P-0042")["patient"]["baseline"] == {"easi": 29.5}
    assert [path.name[-2:] for path in (desk.store / "values").iterdir()] == [".2"]


def test_the_audit_of_a_laboratory_takes_in_its_patients(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.types("add", desk.file)
    runs = str(desk.store.parent)
    assert command_line(["audit", "verify", runs, "--json"]) == 0
    (checked,) = json.loads(capsys.readouterr().out)["checked"]
    assert checked["name"].endswith("patients.sqlite") and checked["rows"] == 3
    (desk.store / "patients.head").unlink()
    assert command_line(["audit", "verify", runs]) == 5
    (desk.store / "patients.sqlite").write_text("no database")
    assert command_line(["audit", "verify", runs]) == 3
    assert "CL-330" in desk.says("list", code=3)


# words that are typed -> exit code, what is said
WRONG: list[tuple[Sequence[str], int, str]] = [
    (("show", "P-9999"), 2, "has no patient P-9999"),
    (("delete", "P-0042", "--yes"), 2, "the audit takes one of"),
    (("delete", "--why", "error", "--yes"), 2, "name the patients"),
    (("delete", "P-0042", "--why", "because", "--yes"), 2, "withdrawn, retention-over"),
    (("delete", "P-0042", "--why", "error"), 2, "add --yes"),
    (("visit", "P-0042", "--week", "-1"), 3, "visits.0.week"),
    (("visit", "P-0042", "--week", "4", "--easi", "80"), 3, "Nothing was changed"),
    (("visit", "P-0042", "--week", "4", "--treatment", "placebo"), 2, "is under dupilumab"),
    (("consent", "P-0042"), 2, "--scope or --delete-after"),
    (("consent", "P-0042", "--scope", "fun"), 3, "known: research"),
    (("consent", "P-0042", "--delete-after", "never"), 3, "is not a day"),
    (("proof", "abcdef"), 2, "0 patients of the audit"),
    (("protect",), 2, "name one of"),
]


def test_wrong_asking_is_told_and_changes_nothing(desk: Desk) -> None:
    assert "no store of patients" in desk.says("list", code=2)
    assert "no store of patients" in desk.says("proof", "abcdef", code=2)
    desk.types("add", desk.file)
    assert "already" in desk.says("add", desk.file, code=2)
    for words, code, said in WRONG:
        assert said in desk.says(*words, code=code), words
    assert len(desk.types("list")["patients"]) == 1
    desk.file.write_text(PATIENT.replace("P-0042", "Miller"))
    assert "not a code" in desk.says("add", desk.file, code=3)

"""A deletion destroys key and values, shows that it did, and is finished whenever it was broken off."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chiploop.errors import WrongUse
from chiploop.patients import store as store_module
from chiploop.patients.audit import Entry
from chiploop.patients.erasing import NotErased
from chiploop.patients.fault_points import PATIENT_FAULT_POINTS
from chiploop.patients.key_folder import FOLDER as KEYS
from chiploop.patients.key_folder import NoKey
from chiploop.patients.proof import proof_of, verify_store
from chiploop.patients.store import PatientStore
from chiploop.patients.values import FOLDER as VALUES
from chiploop.record.backup import write_backup
from chiploop.record.restore import restore_backup
from tests.chiploop.patients.dying import CHANGED, DEATHS, FIRST, SECOND, folder_of
from tests.chiploop.patients.stores import (
    CODE,
    PLANTED,
    TODAY,
    another,
    bytes_of,
    holding,
    nobody,
    rich,
    secret,
    store,
    with_patient,
)

PROJECT = Path(__file__).resolve().parents[3]


def left_of(folder: Path, patient_id: str, before: dict[Path, bytes], links: Path) -> list[str]:
    """Return all that is left of a patient, in words: names, bytes of its files, and bytes under hard links."""
    told = [str(path) for path in folder.rglob(f"*{patient_id}*")]
    gone = {content for path, content in before.items() if patient_id in path.name}
    for path, content in [*bytes_of(folder).items(), *bytes_of(links).items()]:
        told += [f"{path} holds what was there" for old in gone if old in content]
    return told


def deleted_by(folder: Path, links: Path, why: str = "withdrawn") -> tuple[str, list[str]]:
    """Delete the one patient of a store; return its id and what is left of it."""
    patient_id = with_patient(folder)
    before = bytes_of(folder)
    links.mkdir()
    for path in before:
        if patient_id in path.name:
            os.link(path, links / f"link-{path.parent.name}")
    with store(folder, nobody) as books:
        books.delete(books.find(patient_id), why)
    return patient_id, left_of(folder, patient_id, before, links)


def test_a_deletion_needs_no_key_and_leaves_no_byte_of_key_and_values(tmp_path: Path) -> None:
    patient_id, left = deleted_by(tmp_path / "store", tmp_path / "links")
    assert left == []
    assert holding(tmp_path, *PLANTED) == []
    proof = proof_of(tmp_path / "store", patient_id[:8], PLANTED)
    assert proof.against == [] and proof.searched >= 4 and proof.searched_bytes > 4000
    assert [e.action for e in proof.standing.entries][-2:] == ["deleting", "deleted"]
    assert proof.standing.entries[-2].body == {"why": "withdrawn"}
    assert verify_store(tmp_path / "store").whole


def only_unlinked(path: Path) -> bool:
    path.unlink()
    return True


def test_a_deletion_that_only_unlinks_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "erase", only_unlinked)
    _, left = deleted_by(tmp_path / "store", tmp_path / "links")
    assert len(left) == 2 and all("links" in told for told in left)


@pytest.mark.parametrize("spared", [KEYS, VALUES])
def test_a_deletion_that_spares_a_file_is_not_told_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spared: str
) -> None:
    real = store_module.erase
    monkeypatch.setattr(store_module, "erase", lambda p: p.parent.name != spared and real(p))
    patient_id = with_patient(tmp_path)
    with store(tmp_path) as books, pytest.raises(NotErased, match="still there"):
        books.delete(books.find(patient_id), "request")
    against = proof_of(tmp_path, patient_id).against
    assert against[0] == "the audit says deleting, not deleted" and spared in against[1]
    monkeypatch.undo()
    with store(tmp_path) as books:
        assert "finished now" in books.finished[0]
    assert proof_of(tmp_path, patient_id).against == []


def test_a_proof_finds_what_is_planted_and_files_that_came_back(tmp_path: Path) -> None:
    patient_id = with_patient(tmp_path)
    key = tmp_path / KEYS / patient_id
    kept = key.read_bytes()
    with store(tmp_path) as books:
        books.delete(books.find(patient_id), "error")
    (tmp_path / "note.txt").write_text(f"... {CODE} ...")
    assert "note.txt" in proof_of(tmp_path, patient_id, [CODE]).against[0]
    key.write_bytes(kept)
    assert [str(key) in told for told in proof_of(tmp_path, patient_id).against] == [True]
    assert [fault.kind for fault in verify_store(tmp_path).faults] == ["inserted"]
    with store(tmp_path, nobody) as books:
        assert "had come back; erased" in books.finished[0]
        assert books.audit.entries()[-1].action == "deleted"
    assert not key.exists()
    with store(tmp_path, nobody) as books:
        assert books.finished == []


def test_a_deleted_patient_is_named_with_where_its_proof_is(tmp_path: Path) -> None:
    patient_id = with_patient(tmp_path)
    with store(tmp_path) as books:
        books.delete(books.find(CODE), "withdrawn")
        with pytest.raises(WrongUse, match="was deleted on .*twin proof"):
            books.find(patient_id)
        again = books.add(rich(), TODAY)
    assert again != patient_id
    with pytest.raises(KeyError):
        proof_of(tmp_path, "ffffff")


def test_a_backup_holds_no_key_and_so_brings_nobody_back(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "patients"
    patient_id = with_patient(folder, "none")
    seal = (folder / KEYS / "seal.json").read_text()
    made = write_backup(tmp_path / "b.zip", tmp_path / "runs", None, None)
    assert sorted(Path(name).name for name in made.files) == [
        f"{patient_id}.1", "patients.head", "patients.sqlite"
    ]  # fmt: skip
    with store(folder) as books:
        books.delete(books.find(CODE), "withdrawn")
    restore_backup(tmp_path / "b.zip", tmp_path / "back")
    back = tmp_path / "back" / "patients"
    assert verify_store(back).whole
    # even with the store's own key, which was in the open
    (back / KEYS).mkdir()
    (back / KEYS / "seal.json").write_text(seal)
    with store(back) as books:
        assert [one.trouble for one in books.kept()] == ["its key is not here"]
        with pytest.raises(NoKey, match="its key is not in"):
            books.read(books.find(patient_id), "show", TODAY)


def test_keys_kept_apart_make_a_backup_whole_again(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "patients"
    with_patient(folder)
    shutil.copytree(folder / KEYS, tmp_path / "apart")
    write_backup(tmp_path / "b.zip", tmp_path / "runs", None, None)
    restore_backup(tmp_path / "b.zip", tmp_path / "back")
    shutil.copytree(tmp_path / "apart", tmp_path / "back" / "patients" / KEYS)
    with store(tmp_path / "back" / "patients") as books:
        assert books.read(books.find(CODE), "show", TODAY) == rich()


def test_drafts_of_a_process_that_died_while_it_wrote_are_erased(tmp_path: Path) -> None:
    patient_id = with_patient(tmp_path)
    drafts = [
        tmp_path / KEYS / f"{patient_id}.ab12.tmp",
        tmp_path / VALUES / f"{patient_id}.2.cd34.tmp",
    ]
    for draft in (*drafts, tmp_path / KEYS / "seal.json.ef56.tmp"):
        draft.write_bytes(b"half of it")
    with store(tmp_path) as books:
        assert books.read(books.find(CODE), "show", TODAY) == rich()
    assert list(tmp_path.rglob("*.tmp")) == []


# -- deaths


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of stores whose processes were killed."""
    if not hasattr(os, "fork"):
        pytest.skip("this system can not fork")
    folder = tmp_path_factory.mktemp("dead")
    command = [sys.executable, "-m", "tests.chiploop.patients.dying", str(folder)]
    subprocess.run(command, cwd=PROJECT, check=True, timeout=120)
    return folder


def test_every_place_is_one_at_which_a_process_was_killed() -> None:
    assert {place for place, _ in DEATHS} == set(PATIENT_FAULT_POINTS)


@pytest.mark.parametrize(
    ("place", "doing"), DEATHS, ids=[folder_of(place, doing) for place, doing in DEATHS]
)
def test_whoever_opens_a_store_after_a_death_finds_it_whole(
    dead: Path, place: str, doing: Callable[[PatientStore], None]
) -> None:
    folder = dead / folder_of(place, doing)
    assert (folder / "killed").read_text() == "True"
    with store(folder, nobody) as books:
        said = " ".join(books.finished)
        assert [p.name for p in folder.rglob("*") if p.name.endswith((".tmp", ".old"))] == []
    assert verify_store(folder).whole
    with store(folder) as books:
        assert books.finished == []
        codes = {
            books.code(one.standing): one.standing for one in books.kept() if place != DEATHS[-1][0]
        }
    if doing.__name__ == "add":
        assert "Add it again" in said and set(codes) == {FIRST.patient}
        with store(folder) as books:
            books.add(SECOND, TODAY)
    elif doing.__name__ == "change":
        with store(folder) as books:
            expected = CHANGED if place == "patient_change_told" else FIRST
            assert books.read(codes[CODE], "show", TODAY) == expected
        assert len(list((folder / VALUES).iterdir())) == 1
    elif doing.__name__ == "delete":
        assert "the deletion of" in said and codes == {}
        (patient_id,) = {e.patient_id for e in audit_of(folder) if e.patient_id}
        assert proof_of(folder, patient_id, PLANTED).against == []
    else:
        with store(folder, another) as books:
            assert books.read(books.find(CODE), "show", TODAY) == FIRST


def audit_of(folder: Path) -> list[Entry]:
    with store(folder, secret) as books:
        return books.audit.entries()

"""A store keeps patients so that only the key reads them, and only for what was agreed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from chiploop.errors import WrongUse
from chiploop.patients import store as store_module
from chiploop.patients import values as values_module
from chiploop.patients.audit import AUDIT_FILE
from chiploop.patients.key_folder import FOLDER as KEYS
from chiploop.patients.key_folder import KeysNotOpened, NoKey, Protection
from chiploop.patients.proof import verify_store
from chiploop.patients.store import open_store
from chiploop.patients.values import FOLDER as VALUES
from chiploop.patients.values import ValuesAltered
from chiploop.record.chain import RecordBroken
from chiploop.record.disk import DiskFull
from chiploop.twin.consent import NotAgreed
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
from tests.chiploop.record.tampering import unguarded

PROTECTIONS: tuple[Protection, ...] = ("none", "passphrase", "key-file")


@pytest.mark.parametrize("protection", PROTECTIONS)
def test_what_was_added_is_read_again_and_is_in_no_byte_of_the_store(
    tmp_path: Path, protection: Protection
) -> None:
    patient_id = with_patient(tmp_path, protection)
    assert holding(tmp_path, *PLANTED) == []
    with store(tmp_path) as books:
        assert books.find(CODE).patient_id == patient_id
        assert books.read(books.find(patient_id[:6]), "whatif", TODAY) == rich()
    assert holding(tmp_path, *PLANTED) == []


def test_planted_values_would_be_found_by_the_same_search(tmp_path: Path) -> None:
    (tmp_path / "leak.json").write_text(json.dumps(rich().model_dump(mode="json")))
    assert {text for _, text in holding(tmp_path, *PLANTED)} == set(PLANTED)


@pytest.mark.parametrize("protection", ["passphrase", "key-file"])
def test_sealed_keys_do_not_open_by_another_secret(tmp_path: Path, protection: Protection) -> None:
    patient_id = with_patient(tmp_path, protection)
    with store(tmp_path, another) as books, pytest.raises(KeysNotOpened, match=protection):
        books.read(books.find(patient_id), "whatif", TODAY)
    with store(tmp_path, nobody) as books:
        assert [one.scope for one in books.kept()] == [("research", "sharing")]


def test_keys_in_the_open_stand_in_the_folder_and_sealed_ones_do_not(tmp_path: Path) -> None:
    with_patient(tmp_path, "none")
    in_the_open = json.loads((tmp_path / KEYS / "seal.json").read_text())["key"]
    with store(tmp_path) as books:
        books.protect("passphrase", secret)
    assert holding(tmp_path, in_the_open) == []
    with store(tmp_path) as books:
        assert books.read(books.find(CODE), "show", TODAY) == rich()
        books.protect("key-file", another)
    with store(tmp_path, another) as books:
        assert books.read(books.find(CODE), "show", TODAY) == rich()


@pytest.mark.parametrize(
    ("protection", "short"), [("passphrase", b"horse"), ("key-file", b"x" * 31)]
)
def test_a_secret_that_is_soon_guessed_is_refused(
    tmp_path: Path, protection: Protection, short: bytes
) -> None:
    with store(tmp_path) as books, pytest.raises(WrongUse, match="needed|or more"):
        books.protect(protection, lambda _: short)


def test_a_code_is_kept_once(tmp_path: Path) -> None:
    with_patient(tmp_path)
    with store(tmp_path) as books:
        with pytest.raises(WrongUse, match="already"):
            books.add(rich(age_years=30), TODAY)
        assert len(books.kept()) == 1
        other = books.add(rich(patient="P-0428"), TODAY)
        assert books.find("P-0428").patient_id == other
        with pytest.raises(WrongUse, match="no patient P-9999"):
            books.find("P-9999")


def test_a_change_takes_the_place_of_what_was_and_erases_it(tmp_path: Path) -> None:
    patient_id = with_patient(tmp_path)
    old = (tmp_path / VALUES / f"{patient_id}.1").read_bytes()
    new = rich(visits=[{"week": 4.0, "easi": 15.0}, {"week": 8.0}])
    with store(tmp_path) as books:
        books.change(books.find(CODE), new, "visit")
        assert books.read(books.find(CODE), "show", TODAY) == new
    assert [path.name for path in (tmp_path / VALUES).iterdir()] == [f"{patient_id}.2"]
    assert old not in bytes_of(tmp_path).values()


def test_a_use_that_was_not_agreed_to_is_refused_before_a_key_is_asked_for(tmp_path: Path) -> None:
    with_patient(tmp_path)
    with store(tmp_path, nobody) as books:
        (one,) = books.kept()
        with pytest.raises(NotAgreed, match="not for teaching, which teach needs"):
            books.read(one.standing, "teach", TODAY)
        with pytest.raises(NotAgreed, match="was to be deleted after 2030-12-31"):
            books.read(one.standing, "whatif", "2031-01-01")
        assert [e.action for e in books.audit.entries()][-1] == "added"


def test_the_last_day_is_one_on_which_it_may_be_read(tmp_path: Path) -> None:
    with_patient(tmp_path, of=rich(consent={"scope": ["research"], "delete_after": TODAY}))
    with store(tmp_path) as books:
        assert books.read(books.find(CODE), "whatif", TODAY).patient == CODE
        with pytest.raises(NotAgreed):
            books.read(books.find(CODE), "whatif", "2026-06-02")


def test_a_consent_that_was_widened_in_the_open_line_does_not_open(tmp_path: Path) -> None:
    patient_id = with_patient(
        tmp_path, of=rich(consent={"scope": ["teaching"], "delete_after": TODAY})
    )
    path = tmp_path / VALUES / f"{patient_id}.1"
    path.write_bytes(path.read_bytes().replace(b'"teaching"', b'"research"', 1))
    with store(tmp_path) as books, pytest.raises(ValuesAltered, match="not what was written"):
        books.read(books.find(patient_id), "whatif", TODAY)


def test_values_of_another_version_or_patient_do_not_open(tmp_path: Path) -> None:
    first = with_patient(tmp_path)
    old = (tmp_path / VALUES / f"{first}.1").read_bytes()
    with store(tmp_path) as books:
        second = books.add(rich(patient="P-0428"), TODAY)
        books.change(books.find(first), rich(age_years=48), "visit")
    newest = tmp_path / VALUES / f"{first}.2"
    newest.write_bytes(old)
    with store(tmp_path) as books, pytest.raises(ValuesAltered):
        books.read(books.find(first), "show", TODAY)
    newest.write_bytes((tmp_path / VALUES / f"{second}.1").read_bytes())
    with store(tmp_path) as books, pytest.raises(ValuesAltered):
        books.read(books.find(first), "show", TODAY)
    keys = tmp_path / KEYS
    (keys / first).write_bytes((keys / second).read_bytes())
    with store(tmp_path) as books, pytest.raises(NoKey, match="not what was written"):
        books.read(books.find(first), "show", TODAY)


def test_values_that_the_audit_was_not_told_of_are_refused_though_the_key_made_them(
    tmp_path: Path,
) -> None:
    patient_id = with_patient(tmp_path)
    with store(tmp_path) as books:
        books.keys.unlock(secret)
        books.values.write(patient_id, 1, rich(age_years=30), books.keys.key(patient_id))
        with pytest.raises(ValuesAltered):
            books.read(books.find(patient_id), "show", TODAY)


@pytest.mark.parametrize("place", [0, 40, 170, -1])
def test_one_altered_byte_is_seen(tmp_path: Path, place: int) -> None:
    patient_id = with_patient(tmp_path)
    path = tmp_path / VALUES / f"{patient_id}.1"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))
    with store(tmp_path) as books, pytest.raises((ValuesAltered, WrongUse)):
        books.read(books.find(patient_id), "show", TODAY)


def test_the_audit_says_who_did_what_with_a_random_id_and_nothing_more(tmp_path: Path) -> None:
    patient_id = with_patient(tmp_path)
    with store(tmp_path, login="bert") as books:
        books.read(books.find(patient_id), "whatif", TODAY)
        entries = books.audit.entries()
    assert [(e.action, e.login, e.patient_id) for e in entries] == [
        ("made", "anna", ""),
        ("adding", "anna", patient_id),
        ("added", "anna", patient_id),
        ("used", "bert", patient_id),
    ]
    said = {key for entry in entries for key in entry.body}
    assert said == {"protection", "version", "commitment", "use"}
    assert verify_store(tmp_path).whole


def test_equal_values_leave_other_digests_in_the_audit(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        with_patient(tmp_path / folder)
    digests = []
    for folder in ("a", "b"):
        with store(tmp_path / folder) as books:
            digests.append(books.find(CODE).commitment)
    assert len(digests[0]) == 64 and digests[0] != digests[1]


def test_an_altered_audit_is_seen_and_a_cut_one_takes_nothing_more(tmp_path: Path) -> None:
    with_patient(tmp_path)
    path = tmp_path / AUDIT_FILE
    with closing(sqlite3.connect(path)) as db, pytest.raises(sqlite3.IntegrityError):
        db.execute("UPDATE events SET login = 'eve'")
    shutil.copytree(tmp_path, tmp_path.with_name("cut"))
    with unguarded(str(path)) as db:
        db.exec_driver_sql("UPDATE events SET login = 'eve' WHERE seq = 2")
    assert [fault.kind for fault in verify_store(tmp_path).faults] == ["edited"]
    cut = tmp_path.with_name("cut")
    with unguarded(str(cut / AUDIT_FILE)) as db:
        db.exec_driver_sql("DELETE FROM events WHERE seq = 3")
    assert "tail cut" in [fault.kind for fault in verify_store(cut).faults]
    with pytest.raises(RecordBroken), store(cut) as books:
        books.add(rich(patient="P-0999"), TODAY)


def test_files_that_nobody_put_there_and_values_that_are_gone_are_faults(tmp_path: Path) -> None:
    patient_id = with_patient(tmp_path)
    stranger = "0" * 32
    (tmp_path / KEYS / stranger).write_bytes(b"x")
    (tmp_path / VALUES / f"{patient_id}.1").unlink()
    assert sorted(fault.kind for fault in verify_store(tmp_path).faults) == ["deleted", "inserted"]
    with store(tmp_path) as books:
        assert [one.trouble for one in books.kept()] == ["its values are not here"]


def test_two_at_once_come_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_patient(tmp_path)
    monkeypatch.setattr(store_module, "LOCK_TIMEOUT_S", 0.05)
    refused: list[str] = []

    def other() -> None:
        with pytest.raises(WrongUse) as told, store(tmp_path):
            pass
        refused.append(str(told.value))

    with store(tmp_path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert "another command works on" in refused[0]


def test_a_folder_that_is_no_store_is_told_and_not_made_one(tmp_path: Path) -> None:
    with (
        pytest.raises(WrongUse, match="no store of patients"),
        open_store(tmp_path / "x", "a", secret),
    ):
        pass
    assert not (tmp_path / "x").exists()


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    with_patient(tmp_path)
    for path in [*(tmp_path / KEYS).iterdir(), *(tmp_path / VALUES).iterdir()]:
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [(errno.ENOSPC, DiskFull, "the disk is full"), (errno.EACCES, WrongUse, "can not be used")],
)
def test_a_disk_that_refuses_is_told_and_nobody_is_half_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception], words: str
) -> None:
    with_patient(tmp_path)

    def refuses(path: Path, content: bytes) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(values_module, "write_private", refuses)
    with pytest.raises(error, match=words), store(tmp_path) as books:
        books.add(rich(patient="P-0428"), TODAY)
    monkeypatch.undo()
    with store(tmp_path) as books:
        assert "Add it again" in books.finished[0] and len(books.kept()) == 1
    assert verify_store(tmp_path).whole

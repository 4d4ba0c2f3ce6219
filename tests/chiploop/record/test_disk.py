"""A full disk is told by name with what is free, and leaves record and journal whole."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from chiploop.record.chain import Head, read_head, write_head
from chiploop.record.disk import DiskFull, free_bytes, is_full, told_when_full
from chiploop.record.journal import Journal
from chiploop.record.raw_files import RawFileStore
from chiploop.record.record import Record


def no_space(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def as_full(connection: Any, _: Any) -> None:
    """Let SQLite take no further page: it then says what it says on a full disk."""
    connection.execute("PRAGMA max_page_count = 1")


def test_a_journal_on_a_full_disk_takes_nothing_says_what_is_free_and_goes_on_once_there_is_room(
    tmp_path: Path,
) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.note("r", "k", 0.0, "before")
        (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
        journal._db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite then says what a disk says
        with pytest.raises(DiskFull, match=r"disk is full: \d+ (bytes|MB) are free at .*journal"):
            journal.note("r", "k", 1.0, "x" * 100_000)
        assert len(journal.events("k")) == 1
        journal._db.execute("PRAGMA max_page_count = 1000000")
        journal.note("r", "k", 1.0, "x" * 100_000)
        assert len(journal.events("k")) == 2 and journal.verify().faults == ()


def test_a_record_on_a_full_disk_takes_nothing_and_goes_on_once_there_is_room(
    tmp_path: Path,
) -> None:
    with Record(f"sqlite:///{tmp_path}/record.sqlite") as record:
        record.add_event("r", "kind", 0.0, {"n": 1})
        engine = record.sessions._writer.engine
        engine.dispose()
        event.listen(engine, "connect", as_full)
        with pytest.raises(DiskFull, match="could not be written"):
            record.add_event("r", "kind", 1.0, {"text": "x" * 100_000})
        event.remove(engine, "connect", as_full)
        engine.dispose()
        assert len(record.events("r")) == 1
        record.add_event("r", "kind", 1.0, {"text": "x" * 100_000})
        assert record.verify().faults == ()


def test_a_raw_file_is_kept_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RawFileStore(tmp_path / "raw")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_space)
        with pytest.raises(DiskFull):
            store.put(b"signal")
    assert [path for path in (tmp_path / "raw").rglob("*") if path.is_file()] == []
    assert store.get(store.put(b"signal")) == b"signal"


def test_a_head_that_can_not_follow_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "head"
    write_head(path, Head(1, "a"))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_space)
        write_head(path, Head(2, "b"))
    assert read_head(path) == Head(1, "a")
    assert os.listdir(tmp_path) == ["head"]


def test_other_trouble_keeps_its_name(tmp_path: Path) -> None:
    assert not is_full(OSError(errno.EACCES, "no"))
    with pytest.raises(PermissionError), told_when_full(tmp_path):
        raise PermissionError(errno.EACCES, "no")
    assert (free_bytes(tmp_path / "not" / "there") or 0) > 0

"""Raw files are kept once, by their digest, and a changed one is found."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from chiploop.record.chain import RecordBroken, RecordUnreadable
from chiploop.record.raw_files import RawFileStore

CONTENT = b"~End\r\n0.041\t0.812\r\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_bytes_come_back_under_their_digest_and_are_kept_once(tmp_path: Path) -> None:
    store = RawFileStore(tmp_path / "raw")
    assert store.put(CONTENT) == SHA256
    source = tmp_path / "plate.txt"
    source.write_bytes(CONTENT)
    assert store.put_file(source) == SHA256
    assert store.get(SHA256) == CONTENT
    assert [path for path in (tmp_path / "raw").rglob("*") if path.is_file()] == [
        store.path(SHA256)
    ]
    assert store.check(SHA256, "plate.txt") is None


def test_a_changed_file_is_found_and_neither_read_nor_overwritten(tmp_path: Path) -> None:
    store = RawFileStore(tmp_path)
    store.put(CONTENT)
    store.path(SHA256).chmod(0o644)
    store.path(SHA256).write_bytes(b"other")
    with pytest.raises(RecordBroken):
        store.get(SHA256)
    with pytest.raises(RecordBroken):
        store.put(CONTENT)
    fault = store.check(SHA256, "plate.txt")
    assert fault is not None
    assert fault.kind == "edited"


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    store = RawFileStore(tmp_path)
    with pytest.raises(RecordUnreadable):
        store.get(SHA256)
    with pytest.raises(RecordUnreadable, match="can not be kept"):
        store.put_file(tmp_path / "nothing.txt")
    fault = store.check(SHA256, "plate.txt")
    assert fault is not None
    assert fault.kind == "deleted"


@pytest.mark.parametrize("name", ["../../etc", "ABC", SHA256[:-1]])
def test_a_name_that_is_no_digest_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no SHA-256"):
        RawFileStore(tmp_path).path(name)

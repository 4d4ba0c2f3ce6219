"""The record's copy of the action journal: word for word, once, caught up with, and telling of every change."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from chiploop.record import journal_mirror
from chiploop.record.chain import RecordBroken, head_path
from chiploop.record.journal import Journal, verify_journal
from chiploop.record.journal_mirror import mirror_journal, mirrored_head, verify_mirrors
from chiploop.record.record import Record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of seven rows."""
    with Journal(tmp_path / "journal.sqlite") as journal:
        for n in range(7):
            journal.note("r1", f"r1/c01/L{n}/dose", float(n), "µ-note", n=n)
    return tmp_path / "journal.sqlite"


def tamper(path: Path, statement: str) -> None:
    """Change a journal as someone with the file at hand would."""
    with closing(sqlite3.connect(path)) as database:
        for guard in ("events_no_update", "events_no_delete"):
            database.execute(f"DROP TRIGGER IF EXISTS {guard}")
        database.execute(statement)
        database.commit()


def test_the_mirror_catches_up_repeats_nothing_and_its_chain_is_the_journals(
    record_url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_mirror, "ROWS_AT_ONCE", 3)
    with Record(record_url) as record:
        assert mirror_journal(record, path) == 7
        assert mirror_journal(record, path) == 0
        with Journal(path) as journal:
            journal.note("r1", "r1/c01/L9/dose", 9.0, "later")
            assert mirror_journal(record, path) == 1
        (report,) = verify_mirrors(record, [path])
        assert (report.faults, report.rows) == ((), 8)
        assert report.head == verify_journal(path).head
        assert verify_mirrors(record)[0].faults == ()
        assert record.verify().faults == ()


def test_a_journal_without_rows_or_file_mirrors_nothing(record_url: str, tmp_path: Path) -> None:
    Journal(tmp_path / "journal.sqlite").close()
    with Record(record_url) as record:
        assert mirror_journal(record, tmp_path / "journal.sqlite") == 0
        assert mirror_journal(record, tmp_path / "none.sqlite") == 0
        assert verify_mirrors(record, [tmp_path / "journal.sqlite"]) == []


def test_two_journals_of_equal_words_are_two_mirrors(record_url: str, tmp_path: Path) -> None:
    with Record(record_url) as record:
        for name in ("a", "b"):
            with Journal(tmp_path / name / "journal.sqlite") as journal:
                journal.note("r1", "r1/c01/L1/dose", 1.0, "the same")
            assert mirror_journal(record, tmp_path / name / "journal.sqlite") == 1
        assert len(verify_mirrors(record)) == 2


@pytest.mark.parametrize(
    ("statement", "kind", "stops"),
    [
        ("UPDATE events SET hash = 'x' WHERE seq = 7", "edited", True),
        ("DELETE FROM events WHERE seq > 5", "deleted", True),
        ("UPDATE events SET hash = 'x' WHERE seq = 3", "edited", False),
    ],
)
def test_a_journal_that_was_changed_after_it_was_mirrored_is_told_and_not_mirrored_on(
    path: Path, tmp_path: Path, statement: str, kind: str, stops: bool
) -> None:
    with Record(str(tmp_path / "record.sqlite")) as record:
        mirror_journal(record, path)
        tamper(path, statement)
        head_path(path).unlink()  # whoever rebuilds a journal takes its head too
        (report,) = verify_mirrors(record, [path])
        assert [fault.kind for fault in report.faults] == [kind]
        if stops:
            with pytest.raises(RecordBroken, match="is not what was mirrored"):
                mirror_journal(record, path)


def test_a_journal_brought_back_from_a_copy_goes_on_where_its_mirror_ends(
    path: Path, tmp_path: Path
) -> None:
    with Record(str(tmp_path / "record.sqlite")) as record:
        mirror_journal(record, path)
        moved = tmp_path / "moved" / "journal.sqlite"
        moved.parent.mkdir()
        shutil.copyfile(path, moved)
        with Journal(moved) as journal:
            journal.note("r1", "r1/c01/L9/dose", 9.0, "later")
        assert mirror_journal(record, moved) == 1
        first = verify_mirrors(record, [moved])[0]
        assert first.whole and mirrored_head(record, "none of this name") is None

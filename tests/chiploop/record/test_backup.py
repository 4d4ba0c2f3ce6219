"""A backup brings back record, journals and runs as they stood; half a one is never taken for a whole one."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from chiploop.errors import WrongUse
from chiploop.measurement import Readout
from chiploop.record.backup import MANIFEST, write_backup
from chiploop.record.chain import RecordConflict
from chiploop.record.journal import Journal
from chiploop.record.journal_mirror import mirror_journal
from chiploop.record.raw_files import RawFileStore
from chiploop.record.record import Record
from chiploop.record.restore import BackupNotWhole, restore_backup
from chiploop.record.rows import RawFile
from chiploop.study import load_study
from tests.chiploop.record.tampering import unguarded
from tests.postgresql_server import PostgresqlServer

STUDY = load_study(Path(__file__).parents[3] / "protocols" / "studies" / "ad_jak_dose_finding.yaml")
VALUE = Readout("C01", "CCL26", 0.1 + 0.2, "µg/mL", 0.08, "log", 72.0, 48.0, plate="p1", cycle=1)


def keep_raw(runs: Path, record: Record, n: int) -> None:
    content = f"signal {n}".encode()
    sha256 = RawFileStore(runs / "r1" / "raw").put(content)
    record.add_raw_file(RawFile("r1", sha256, f"signal-{n}", "spectrum", len(content), float(n)))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with one run, its raw file and journal; the record is the test's."""
    folder = tmp_path / "runs"
    (folder / "r1" / "prefect").mkdir(parents=True)
    (folder / "r1" / "run.json").write_text("{}")
    for name in ("r1/run.lock", "r1/prefect/x.db", "record.url", "r1/disk_reserve"):
        (folder / name).write_text("not kept")
    (folder / "r1" / "half.json.unfinished").write_text("not kept")
    with Journal(folder / "r1" / "journal.sqlite") as journal:
        journal.note("r1", "r1/c01/L1/dose", 1.0, "first")
    return folder


def fill(runs: Path, url: str) -> None:
    with Record(url) as record:
        record.add_run("r1", STUDY, seed=1, simulated=True)
        record.add_readouts("r1", [VALUE])
        keep_raw(runs, record, 0)
        mirror_journal(record, runs / "r1" / "journal.sqlite")


def back_up(out: Path, runs: Path, url: str) -> Path:
    file = Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite") else None
    with Record(url, create=False) as record:
        write_backup(out, runs, record, file)
    return out


@pytest.mark.parametrize("target", ["file", "server"])
@pytest.mark.postgres
def test_what_is_brought_back_is_what_was_there_from_either_database_to_either_and_goes_on(
    record_url: str, target: str, runs: Path, tmp_path: Path, postgresql_server: PostgresqlServer
) -> None:
    fill(runs, record_url)
    out = back_up(tmp_path / "b.zip", runs, record_url)
    assert postgresql_server.password.encode() not in zipfile.ZipFile(out).read(MANIFEST)
    into, url = tmp_path / "back", postgresql_server.new_database() if target == "server" else ""
    back = restore_backup(out, into, url)
    assert back.whole
    assert sorted(p.relative_to(into).as_posix() for p in into.rglob("*") if p.is_file()) == sorted(
        ["r1/journal.head", "r1/journal.sqlite", "r1/run.json", "record.head"]
        + [p.relative_to(runs).as_posix() for p in (runs / "r1" / "raw").rglob("*") if p.is_file()]
        + ([] if url else ["record.sqlite"])
    )
    new = url or str(into / "record.sqlite")
    with Record(record_url) as old, Record(new, head=into / "record.head") as record:
        assert record.verify().head == old.verify().head
        assert record.readouts("r1") == (VALUE,) and record.runs() == old.runs()
        with Journal(into / "r1" / "journal.sqlite") as journal:
            journal.note("r1", "r1/c01/L1/dose", 2.0, "second")
        assert mirror_journal(record, into / "r1" / "journal.sqlite") == 1
        record.add_event("r1", "note", 1.0, {})
        assert record.verify().whole


def test_a_backup_while_others_write_is_whole(runs: Path, record_url: str, tmp_path: Path) -> None:
    fill(runs, record_url)
    ended, trouble = threading.Event(), []

    def write() -> None:
        try:
            with Record(record_url) as record, Journal(runs / "r1" / "journal.sqlite") as journal:
                n = 0
                while not ended.is_set():
                    n += 1
                    journal.note("r1", f"r1/c01/L{n}/dose", float(n), "more")
                    mirror_journal(record, journal.path)
                    keep_raw(runs, record, n)
        except BaseException as problem:
            trouble.append(problem)

    thread = threading.Thread(target=write)
    thread.start()
    backups = [back_up(tmp_path / f"b{n}.zip", runs, record_url) for n in range(3)]
    ended.set()
    thread.join()
    assert trouble == []
    rows = []
    for n, out in enumerate(backups):
        back = restore_backup(out, tmp_path / f"back{n}")
        assert back.whole and back.manifest.record is not None
        rows.append(back.manifest.record.rows)
    assert rows[0] < rows[1] < rows[2]


def test_a_backup_that_is_killed_anywhere_leaves_no_file_of_its_name(
    runs: Path, tmp_path: Path
) -> None:
    url = f"sqlite:///{runs / 'record.sqlite'}"
    fill(runs, url)
    programme = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from chiploop.record import backup\n"
        "from chiploop.record.record import Record\n"
        "out, runs = map(Path, sys.argv[1:])\n"
        "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        "backup.os.replace = die\n"  # all is written, and has no name yet
        "with Record(str(runs / 'record.sqlite'), create=False) as record:\n"
        "    backup.write_backup(out, runs, record, runs / 'record.sqlite')\n"
    )
    ended = subprocess.run([sys.executable, "-c", programme, tmp_path / "b.zip", runs], check=False)
    assert ended.returncode == -signal.SIGKILL
    (draft,) = tmp_path.glob("b.zip.*.unfinished")
    assert not (tmp_path / "b.zip").exists()
    content = draft.read_bytes()
    for share in (0.0, 0.3, 0.9, 0.9999):
        cut = tmp_path / "cut.zip"
        cut.write_bytes(content[: int(share * len(content))])
        with pytest.raises(BackupNotWhole, match="Nothing was brought back"):
            restore_backup(cut, tmp_path / "back")
    assert not (tmp_path / "back").exists() and not list(tmp_path.glob(".back*"))
    assert restore_backup(back_up(tmp_path / "b.zip", runs, url), tmp_path / "back").whole


def with_parts(backup: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """Write a backup anew with other parts, as someone who knows ZIP files would."""
    with zipfile.ZipFile(backup) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    change(parts)
    changed = backup.with_name("changed.zip")
    with zipfile.ZipFile(changed, "w") as new:
        for name, content in parts.items():
            new.writestr(name, content)
    return changed


def climbing(parts: dict[str, bytes]) -> None:
    manifest = json.loads(parts[MANIFEST])
    name = "runs/../../stolen"
    parts[name] = parts["runs/r1/run.json"]
    manifest["files"][name] = manifest["files"]["runs/r1/run.json"]
    parts[MANIFEST] = json.dumps(manifest).encode()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda parts: parts.update({"runs/r1/run.json": b"{ }"}), "run.json is not what was"),
        (lambda parts: parts.update({"runs/r2/run.json": b"{}"}), "r2/run.json is in one of"),
        (lambda parts: parts.pop("runs/r1/journal.sqlite"), "journal.sqlite is in one of"),
        (lambda parts: parts.pop(MANIFEST), "no whole backup"),
        (climbing, "which no backup has"),
    ],
)
def test_a_backup_that_was_altered_is_refused_and_nothing_of_it_stays(
    runs: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], object], said: str
) -> None:
    url = f"sqlite:///{runs / 'record.sqlite'}"
    fill(runs, url)
    changed = with_parts(back_up(tmp_path / "b.zip", runs, url), change)
    with pytest.raises(BackupNotWhole, match=said):
        restore_backup(changed, tmp_path / "back")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "changed.zip", "runs"]


def test_nothing_is_written_over(record_url: str, runs: Path, tmp_path: Path) -> None:
    fill(runs, record_url)
    out = back_up(tmp_path / "b.zip", runs, record_url)
    into = tmp_path / "back"
    into.mkdir()
    restore_backup(out, into)  # an empty folder is taken
    before = (into / "record.sqlite").read_bytes()
    with pytest.raises(WrongUse, match="not empty"):
        restore_backup(out, into)
    assert (into / "record.sqlite").read_bytes() == before
    if not record_url.startswith("sqlite"):
        with pytest.raises(RecordConflict, match="has rows already"):
            restore_backup(out, tmp_path / "second", record_url)
        assert not (tmp_path / "second").exists()


def test_a_tail_that_was_cut_before_the_backup_shows_in_what_is_brought_back(
    record_url: str, runs: Path, tmp_path: Path
) -> None:
    head = tmp_path / "seen.head"
    with Record(record_url, head=head) as record:
        record.add_event("r1", "note", 1.0, {})
        record.add_event("r1", "note", 2.0, {})
        with unguarded(record_url) as connection:
            connection.exec_driver_sql("DELETE FROM events WHERE time_h = 2.0")
            connection.exec_driver_sql("DELETE FROM audit WHERE seq = 2")
        file = Path(record_url.removeprefix("sqlite:///")) if record.is_file else None
        write_backup(tmp_path / "b.zip", runs, record, file)
    back = restore_backup(tmp_path / "b.zip", tmp_path / "back")
    assert [fault.kind for report in back.reports for fault in report.faults] == ["tail cut"]


def test_what_was_broken_before_the_backup_comes_back_broken_and_is_told(
    runs: Path, tmp_path: Path
) -> None:
    url = f"sqlite:///{runs / 'record.sqlite'}"
    fill(runs, url)
    with closing(sqlite3.connect(runs / "record.sqlite")) as database:
        database.execute("DROP TRIGGER readouts_no_update")
        database.execute("UPDATE readouts SET value = 2.0")
        database.commit()
    back = restore_backup(back_up(tmp_path / "b.zip", runs, url), tmp_path / "back")
    assert not back.whole
    assert "edited" in [fault.kind for report in back.reports for fault in report.faults]
    assert (tmp_path / "back" / "record.sqlite").exists()

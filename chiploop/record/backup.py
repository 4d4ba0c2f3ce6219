"""A backup: the record, the journals and the run folders in one file, made while runs go on.

Belongs here: what goes in and in which order, so that it fits together. Not here: rows as lines (row_lines),
bringing it back (restore), which record is meant (flows).

A ZIP file whose last part is ``manifest.json``: digest and size of every part, heads and numbers of rows. It gets
its name only once it is whole and on disk. The record comes first: what it refers to (raw files, posteriors) was
written before it, and the journal is never behind its mirror. Databases are copied as they stood at one moment;
no lock, no half-written draft and nothing of the flow engine is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from chiploop import __version__
from chiploop.fault_points import passed
from chiploop.record.chain import (
    GENESIS,
    Head,
    RecordUnreadable,
    head_path,
    read_head,
    utc_now,
)
from chiploop.record.record import Record
from chiploop.record.row_lines import dump_rows

FORMAT = "chiploop backup 1"
MANIFEST = "manifest.json"
RUNS = "runs/"
"""Before the name of every part that is a file of the runs' folder."""
RECORD_FILE, RECORD_ROWS, JOURNAL = "record.sqlite", "record.jsonl", "journal.sqlite"
NOT_KEPT_FOLDERS = frozenset({"prefect", "patient-keys"})
"""Keys of patients stay: in a backup they would outlive their deletion."""
PATIENTS = "patients.sqlite"
"""Audit of a store of patients; like the journals copied as it stands at one moment."""
NOT_KEPT_NAMES = frozenset(
    {
        "record.url",
        "run.owner",
        RECORD_FILE,
        "record.head",
        JOURNAL,
        "journal.head",
        PATIENTS,
        "patients.head",
        "disk_reserve",  # random bytes that a run gives free on a full disk
        "disk_reserve.probe",
    }
)
NOT_KEPT_ENDS = (".tmp", ".unfinished", ".lock", "-wal", "-shm", "-journal")
PIECE = 1 << 20


@dataclass(frozen=True)
class KeptChain:
    """One database of a backup, as it was copied."""

    rows: int
    """Length of its chain."""
    head: str
    """Last link."""


@dataclass
class Manifest:
    """What a backup says of itself."""

    at_utc: str
    record: KeptChain | None = None
    """None where there was no record yet."""
    record_head: KeptChain | None = None
    """What the head file beside the runs said before the record was copied; longer where its tail had been cut."""
    record_was: str = ""
    """URL without password, or file."""
    tables: dict[str, int] = field(default_factory=dict)
    """Table of the record -> rows."""
    journals: dict[str, KeptChain] = field(default_factory=dict)
    """Part -> what it holds."""
    runs: list[str] = field(default_factory=list)
    """Runs whose folders are in it."""
    files: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Part -> digest and size."""
    format: str = FORMAT
    chiploop: str = __version__


def write_backup(
    out: Path, runs: Path, record: Record | None, record_file: Path | None
) -> Manifest:
    """Write a backup of a folder of runs and their record to a file; return what is in it.

    ``record`` is on a server where ``record_file`` is None. OSError where the file can not be written; then, and
    where this process is killed, there is no file of that name.
    """
    draft = out.with_name(f"{out.name}.{os.getpid()}.unfinished")
    manifest = Manifest(at_utc=utc_now())
    try:
        with (
            draft.open("wb") as file,
            tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder,
        ):
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as into:
                _add_record(into, manifest, Path(folder), record, record_file)
                for path in sorted([runs / JOURNAL, *runs.glob(f"*/{JOURNAL}")]):
                    if path.exists():
                        name = RUNS + path.relative_to(runs).as_posix()
                        before = read_head(head_path(path))
                        copy, chain = copied(path, Path(folder), "events")
                        _add_file(into, manifest, name, copy)
                        _add_head(into, manifest, name, chain, before)
                        manifest.journals[name] = chain
                for path in sorted([runs / PATIENTS, *runs.glob(f"*/{PATIENTS}")]):
                    if path.exists():
                        name = RUNS + path.relative_to(runs).as_posix()
                        before = read_head(head_path(path))
                        copy, chain = copied(path, Path(folder), "events")
                        _add_file(into, manifest, name, copy)
                        _add_head(into, manifest, name, chain, before)
                for path in files_of(runs):
                    _add_file(into, manifest, RUNS + path.relative_to(runs).as_posix(), path)
                manifest.runs = sorted(path.parent.name for path in runs.glob("*/run.json"))
                into.writestr(MANIFEST, json.dumps(asdict(manifest), indent=1, sort_keys=True))
            file.flush()
            os.fsync(file.fileno())
        passed("backup_drafted")
        os.replace(draft, out)
        _sync_folder(out.parent)
    finally:
        draft.unlink(missing_ok=True)
    return manifest


def files_of(runs: Path) -> Iterator[Path]:
    """Yield the files of a runs' folder that a backup keeps as they are, in order."""
    for path in sorted(runs.rglob("*")):
        inner = path.relative_to(runs).parts
        if (
            not NOT_KEPT_FOLDERS & set(inner[:-1])
            and path.name not in NOT_KEPT_NAMES
            and not path.name.endswith(NOT_KEPT_ENDS)
            and path.is_file()
            and not path.is_symlink()
        ):
            yield path


def copied(path: Path, folder: Path, chain_table: str) -> tuple[Path, KeptChain]:
    """Copy an SQLite file as it stands at one moment, whoever writes to it; return the copy and its chain."""
    descriptor, name = tempfile.mkstemp(dir=folder, suffix=".sqlite")
    os.close(descriptor)
    copy = Path(name)
    try:
        source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30.0)
        with closing(source), closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            copy.chmod(path.stat().st_mode & 0o777)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, without its log
            asked = f"SELECT seq, hash FROM {chain_table} ORDER BY seq DESC LIMIT 1"
            last = target.execute(asked).fetchone()
    except sqlite3.Error as problem:
        raise RecordUnreadable(f"{path} can not be copied: {problem}") from problem
    return copy, KeptChain(0, GENESIS) if last is None else KeptChain(int(last[0]), str(last[1]))


def _add_record(
    into: zipfile.ZipFile,
    manifest: Manifest,
    folder: Path,
    record: Record | None,
    record_file: Path | None,
) -> None:
    """Add the record: a copy of its file, or its rows as lines where it is on a server."""
    if record is None:
        return
    manifest.record_was = record.url if record_file is None else str(record_file)
    before = None if record.sessions.head is None else read_head(record.sessions.head)
    manifest.record_head = None if before is None else KeptChain(before.count, before.hash)
    if record_file is None:
        rows = folder / RECORD_ROWS
        with rows.open("w", encoding="utf-8", newline="\n") as lines:
            manifest.tables, last = dump_rows(record, lines)
        _add_file(into, manifest, RECORD_ROWS, rows)
        manifest.record = KeptChain(last.count, last.hash)
        return
    copy, manifest.record = copied(record_file, folder, "audit")
    with Record(str(copy), create=False) as opened:
        manifest.tables, _ = dump_rows(opened, None)
    _add_file(into, manifest, RUNS + RECORD_FILE, copy)
    _add_head(into, manifest, RUNS + RECORD_FILE, manifest.record, before)


def _add_head(
    into: zipfile.ZipFile,
    manifest: Manifest,
    database: str,
    chain: KeptChain,
    before: Head | None,
) -> None:
    """Add the head file of a copy. What stood in the original's before it was copied is the longer one only where
    the tail was cut: that must show in what is brought back too.
    """
    head = Head(chain.rows, chain.head)
    if before is not None and before.count > chain.rows:
        head = before
    name = database.removesuffix(".sqlite") + ".head"
    content = (json.dumps(asdict(head)) + "\n").encode()
    into.writestr(zipfile.ZipInfo(name), content)
    manifest.files[name] = (hashlib.sha256(content).hexdigest(), len(content))


def _add_file(into: zipfile.ZipFile, manifest: Manifest, name: str, path: Path) -> None:
    """Add a file as long as it is now; one that has gone meanwhile was no part of what is kept."""
    try:
        source: IO[bytes] = path.open("rb")
    except FileNotFoundError:
        return
    with source:
        status = os.fstat(source.fileno())
        about = zipfile.ZipInfo(name)
        about.compress_type = zipfile.ZIP_DEFLATED
        about.external_attr = (status.st_mode & 0o777) << 16
        digest, left = hashlib.sha256(), status.st_size
        with into.open(about, "w", force_zip64=True) as target:
            while left and (piece := source.read(min(PIECE, left))):
                digest.update(piece)
                target.write(piece)
                left -= len(piece)
    manifest.files[name] = (digest.hexdigest(), status.st_size - left)


def _sync_folder(folder: Path) -> None:
    """Let a new name in a folder be on disk, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def manifest_of(content: Any) -> Manifest:
    """Return the manifest that was written. KeyError, TypeError or ValueError where it is none."""
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {content['format']!r}, {FORMAT!r} is known")
    values = dict(content)
    for name in ("record", "record_head"):
        values[name] = None if values[name] is None else KeptChain(**values[name])
    values["journals"] = {name: KeptChain(**chain) for name, chain in values["journals"].items()}
    values["files"] = {name: (str(d), int(size)) for name, (d, size) in values["files"].items()}
    return Manifest(**values)

"""Bringing back a backup: into a new folder, and into a record of its own, checked part by part.

Belongs here: what is refused, what is checked. Not here: making one (backup), what a person sees (flows).

Everything is unpacked beside the new folder and checked; only then does the folder get its name. Where anything is
not as the manifest says, nothing of it stays.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from chiploop.errors import FileNotValid, WrongUse
from chiploop.fault_points import passed
from chiploop.record.backup import (
    MANIFEST,
    PIECE,
    RECORD_FILE,
    RECORD_ROWS,
    RUNS,
    Manifest,
    manifest_of,
)
from chiploop.record.chain import ChainReport, Head, write_head
from chiploop.record.journal import verify_journal
from chiploop.record.journal_mirror import verify_mirrors
from chiploop.record.raw_files import RawFileStore
from chiploop.record.record import Record
from chiploop.record.row_lines import dump_rows, lines_of, load_rows

UNREADABLE = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    NotImplementedError,
    RuntimeError,
)
"""What the standard library raises for a file that is no ZIP file, is cut, or was altered."""


class BackupNotWhole(FileNotValid):
    """A backup that is cut, altered, or none; nothing of it is brought back."""

    code = "CL-350"


@dataclass(frozen=True)
class Restored:
    """What was brought back, and what the checks of its chains say."""

    manifest: Manifest
    reports: tuple[ChainReport, ...]
    """A chain that was broken when the backup was made is broken here too, and says so."""

    @property
    def whole(self) -> bool:
        """True where every chain and every raw file is as it was written."""
        return all(report.whole for report in self.reports)


def restore_backup(file: Path, into: Path, url: str = "") -> Restored:
    """Bring back a backup into a folder that is not there yet, or is empty.

    ``url``: of an empty database that takes the record; without it the record is a file in the folder.

    Raises
    ------
    WrongUse
        The folder has something in it.
    BackupNotWhole
        The file is no backup, is cut, or a part is not as its manifest says.
    RecordConflict
        The database has rows.
    """
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise WrongUse(
            f"{into} is there and not empty; name a new folder. Nothing was brought back"
        )
    into.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=into.parent, prefix=f".{into.name}.unfinished-"))
    try:
        manifest = _unpack(file, draft)
        record_url = url or str(draft / RUNS / RECORD_FILE)
        if manifest.record is not None:
            _bring_back_record(draft, record_url, url, manifest, file)
        reports = _checked(draft / RUNS, record_url if manifest.record else "", manifest, file)
        (draft / RUNS).chmod(0o755)
        if into.exists():
            into.rmdir()
        passed("restore_drafted")
        os.replace(draft / RUNS, into)
        old, new = str(draft / RUNS), str(into)
        reports = [replace(report, name=report.name.replace(old, new)) for report in reports]
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Restored(manifest, tuple(reports))


def _unpack(file: Path, draft: Path) -> Manifest:
    """Unpack every part that the manifest names, and hold it to its digest."""
    (draft / RUNS).mkdir()
    try:
        with zipfile.ZipFile(file) as parts:
            manifest = manifest_of(json.loads(parts.read(MANIFEST)))
            names = set(parts.namelist()) - {MANIFEST}
            if odd := names ^ set(manifest.files):
                raise BackupNotWhole(
                    f"{file} is not what its manifest says: {sorted(odd)[0]} is in one of the two alone"
                )
            for name, (digest, size) in manifest.files.items():
                if PurePosixPath(name).is_absolute() or {"..", ""} & set(name.split("/")):
                    raise BackupNotWhole(f"{file} names the part {name!r}, which no backup has")
                target = draft / name
                target.parent.mkdir(parents=True, exist_ok=True)
                if _unpack_part(parts, name, target) != (digest, size):
                    raise BackupNotWhole(f"{file} was altered: {name} is not what was backed up")
            return manifest
    except UNREADABLE as problem:
        if isinstance(problem, OSError) and not file.exists():
            raise WrongUse(f"there is no file {file}") from None
        raise BackupNotWhole(
            f"{file} is no whole backup: {problem}. Nothing was brought back"
        ) from problem


def _unpack_part(parts: zipfile.ZipFile, name: str, target: Path) -> tuple[str, int]:
    """Unpack one part, on disk on return; return its digest and size."""
    digest, size = hashlib.sha256(), 0
    with parts.open(name) as source, target.open("wb") as into:
        while piece := source.read(PIECE):
            digest.update(piece)
            size += len(piece)
            into.write(piece)
        into.flush()
        os.fsync(into.fileno())
    mode = parts.getinfo(name).external_attr >> 16 & 0o777
    target.chmod(mode if mode & 0o400 else 0o644)
    return digest.hexdigest(), size


def _bring_back_record(
    draft: Path, record_url: str, url: str, manifest: Manifest, file: Path
) -> None:
    """Let the record be where it is wanted: as a file as it came, or row by row into an empty database."""
    rows, copy = draft / RECORD_ROWS, draft / RUNS / RECORD_FILE
    if not url and copy.exists():
        return
    if not rows.exists():  # a file that goes to a server
        with Record(str(copy)) as old, rows.open("w", encoding="utf-8", newline="\n") as lines:
            dump_rows(old, lines)
        for part in (copy, copy.with_suffix(".head")):
            part.unlink()
    head = draft / RUNS / "record.head"
    with Record(record_url, head=head) as record, rows.open(encoding="utf-8") as lines:
        loaded = load_rows(record, lines_of(lines))
    if manifest.record_head is not None:  # stays where it is the longer one: a tail was cut
        write_head(head, Head(manifest.record_head.rows, manifest.record_head.head))
    counted = {table: count for table, count in manifest.tables.items() if count}
    if loaded != counted:
        raise BackupNotWhole(
            f"{file}: {sum(loaded.values())} rows were brought back and the manifest counts "
            f"{sum(counted.values())}. What {'the database' if url else 'the folder'} holds now is not whole"
        )


def _checked(runs: Path, record_url: str, manifest: Manifest, file: Path) -> list[ChainReport]:
    """Return what the chains say; BackupNotWhole where they end elsewhere than the manifest says."""
    journals = [runs / name.removeprefix(RUNS) for name in manifest.journals]
    reports = [verify_journal(path) for path in journals]
    ends = [(r.rows, r.head) for r in reports]
    said = [(chain.rows, chain.head) for chain in manifest.journals.values()]
    if record_url:
        assert manifest.record is not None
        with Record(record_url, head=runs / "record.head", create=False) as record:
            reports.append(record.verify())
            ends.append((reports[-1].rows, reports[-1].head))
            said.append((manifest.record.rows, manifest.record.head))
            reports += verify_mirrors(record, journals)
            reports.append(_raw_files(runs, record))
    if ends != said:
        raise BackupNotWhole(f"{file}: a chain does not end where the manifest says")
    return reports


def _raw_files(runs: Path, record: Record) -> ChainReport:
    """Return which raw files of the runs that came back are not what the record says."""
    names = [run.run_id for run in record.runs() if (runs / run.run_id).is_dir()]
    files = [file for name in names for file in record.raw_files(name)]
    checked = (RawFileStore(runs / f.run_id / "raw").check(f.sha256, f.name) for f in files)
    return ChainReport("raw files", len(files), "", tuple(f for f in checked if f is not None))

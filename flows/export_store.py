"""Vendor files that were taken from a folder: kept by digest, listed by name and version.

Belongs here: what was taken, in which version, and whether a file is new. Not here: when a file is
finished (export_watch), what it holds (chiploop.exports). The list only grows: a file that is exported
again is a new version beside the old one, never over it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from chiploop.errors import FileNotValid, WrongUse
from chiploop.exports import read_export_bytes
from chiploop.exports.export import Export
from chiploop.record.raw_files import RawFileStore

LIST_FILE, RAW_FOLDER = "ingested.jsonl", "raw"
State = Literal["read", "refused"]


@dataclass(frozen=True)
class Taken:
    """One version of one file."""

    name: str
    """File name without its folder."""
    version: int
    """From 1; the highest of a name supersedes the others."""
    sha256: str
    state: State
    """``refused``: kept, and not used; ``problem`` says why."""
    format: str
    rows: int
    flagged: int
    """Rows whose quality is not ``ok``."""
    notes: tuple[str, ...]
    problem: str
    same_as: str
    """Name of another file with the same content, which makes one of them the wrong file; empty
    where there is none."""
    size: int
    changed_ns: int
    """Time of the last change of the lab's file, as the system counts it."""
    taken_utc: str


class ExportStore:
    """A folder of copies and their list; made at the first file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.raw = RawFileStore(folder / RAW_FOLDER)
        self.taken: list[Taken] = []
        path = folder / LIST_FILE
        if path.exists():
            self.taken = _read_list(path)

    def latest(self, name: str) -> Taken | None:
        """Return the newest version of a file, None where it was never taken."""
        return next((one for one in reversed(self.taken) if one.name == name), None)

    def keep(
        self,
        data: bytes,
        name: str,
        changed_ns: int,
        read: Callable[[bytes, str], Export] = read_export_bytes,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> tuple[Taken, bool]:
        """Keep a copy of a file, read the copy, and return what was taken and whether it is new.

        A content that was taken under this name already is not taken again.
        """
        digest = self.raw.put(data)
        for one in reversed(self.taken):
            if (one.name, one.sha256) == (name, digest):
                return one, False
        before = self.latest(name)
        twin = next((one.name for one in self.taken if one.sha256 == digest), "")
        export, problem = None, ""
        try:
            export = read(self.raw.get(digest), name)
        except FileNotValid as trouble:
            problem = str(trouble)
        if export is not None and twin:
            problem = f"{name} and {twin} have the same content: one of them is the wrong file"
        taken = Taken(
            name,
            before.version + 1 if before else 1,
            digest,
            "refused" if problem else "read",
            export.format if export else "",
            len(export.rows) if export else 0,
            sum(one.qc != "ok" for one in export.readouts) if export else 0,
            export.notes if export else (),
            problem,
            twin,
            len(data),
            changed_ns,
            now().isoformat(timespec="seconds"),
        )
        self._append(taken)
        return taken, True

    def _append(self, taken: Taken) -> None:
        line = json.dumps(asdict(taken), ensure_ascii=True) + "\n"
        with (self.folder / LIST_FILE).open("ab+") as file:
            file.seek(0)
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)  # a line without its end: its writer died, nothing was promised
            file.write(line.encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        self.taken.append(taken)


@contextmanager
def opened_store(folder: Path) -> Iterator[ExportStore]:
    """Yield the store of a folder for one process alone; WrongUse where another one has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "store.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as trouble:
        raise WrongUse(f"another process takes exports into {folder} now") from trouble
    with lock:
        yield ExportStore(folder)


def _read_list(path: Path) -> list[Taken]:
    found = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            if number == len(lines):
                break  # the last line has no end: its writer died, and the file is taken again
            found.append(_taken(json.loads(line)))
    except (OSError, ValueError, TypeError) as trouble:
        raise WrongUse(
            f"{path} is not the list of a store of exports ({trouble}); name another folder"
        ) from trouble
    return found


def _taken(values: dict[str, object]) -> Taken:
    notes = values.pop("notes")
    assert isinstance(notes, list)
    return Taken(notes=tuple(notes), **values)  # type: ignore[arg-type]

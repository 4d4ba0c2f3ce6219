"""Watches a folder of a reader's computer and takes every export once it is finished.

Belongs here: when a file is finished, and one look at the folder. Not here: copies and versions
(export_store), formats (chiploop.exports). It polls, since network shares report no closing; it opens
files for reading only, and never moves, renames or deletes one.

A file is taken when its size and time stayed the same over two looks, nobody holds it locked, and its
end is there. A cut file waits as long as it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from chiploop.errors import FileNotValid
from chiploop.exports import LARGEST_FILE_BYTES, read_export_bytes
from chiploop.exports.export import Export
from chiploop.exports.trouble import ExportIncomplete, FormatNotKnown, LibraryMissing
from flows.export_store import ExportStore, Taken

IGNORED_BEGINNINGS = ("~$", ".")
IGNORED_ENDINGS = (".tmp", ".part", ".partial", ".crdownload")
What = Literal["taken", "refused", "waiting", "passed over"]


@dataclass(frozen=True)
class Event:
    """What one look found out about one file."""

    what: What
    name: str
    told: str
    """Why it waits, is refused or passed over; empty for a file that was read."""
    taken: Taken | None = None
    export: Export | None = None
    """Of a preview, where nothing is taken."""


@dataclass
class Watch:
    """What is known of the folder's files between two looks."""

    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Name -> size and time at the last look."""
    settled: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Name -> size and time of what was dealt with and need not be opened again."""
    told: dict[str, tuple[str, int, int]] = field(default_factory=dict)


def is_ignored(name: str) -> bool:
    """Return True for names under which programs keep unfinished or hidden files."""
    return name.startswith(IGNORED_BEGINNINGS) or name.lower().endswith(IGNORED_ENDINGS)


def look(
    folder: Path,
    watch: Watch,
    store: ExportStore | None,
    read: Callable[[bytes, str], Export] = read_export_bytes,
    largest_bytes: int = LARGEST_FILE_BYTES,
) -> Iterator[Event]:
    """Look at the folder once and yield what is new; OSError where the folder can not be listed.

    Parameters
    ----------
    watch : between the looks; changed here.
    store : takes the files; None for a preview, which keeps nothing.
    largest_bytes : a larger file is passed over.
    """
    present = {}
    for path in sorted(folder.iterdir()):
        if is_ignored(path.name):
            continue
        try:
            status = path.stat()
        except OSError:
            continue  # gone or unreadable between two calls; the next look sees it again
        if path.is_file() and status.st_size > 0:
            present[path.name] = (status.st_size, status.st_mtime_ns)
    for name, mark in present.items():
        before = watch.seen.get(name)
        watch.seen[name] = mark
        if mark == watch.settled.get(name) or mark != before:
            continue
        latest = store.latest(name) if store else None
        if latest is not None and (latest.size, latest.changed_ns) == mark:
            watch.settled[name] = mark
            continue
        event = _deal_with(folder / name, mark, store, read, largest_bytes)
        if event is None:
            watch.settled[name] = mark
            continue
        if event.what != "waiting":
            watch.settled[name] = mark
        if watch.told.get(name) != (event.told, *mark):
            watch.told[name] = (event.told, *mark)
            yield event
    for name in watch.seen.keys() - present.keys():
        del watch.seen[name]
        watch.settled.pop(name, None)


def _deal_with(
    path: Path,
    mark: tuple[int, int],
    store: ExportStore | None,
    read: Callable[[bytes, str], Export],
    largest_bytes: int,
) -> Event | None:
    """Return what to tell of a file that stayed the same; None where it was taken before."""
    name = path.name
    if mark[0] > largest_bytes:
        return Event("passed over", name, f"{mark[0]} bytes, more than {largest_bytes}")
    try:
        data = _unlocked_bytes(path)
        status = path.stat()
    except OSError as trouble:
        return Event("waiting", name, f"can not be read yet ({trouble.strerror or trouble})")
    if (status.st_size, status.st_mtime_ns) != mark or len(data) != mark[0]:
        return Event("waiting", name, "changed while it was read")
    problem, export = "", None
    try:
        export = read(data, name)
    except (ExportIncomplete, LibraryMissing) as trouble:
        return Event("waiting", name, str(trouble))
    except FormatNotKnown as trouble:
        return Event("passed over", name, str(trouble))
    except FileNotValid as trouble:
        problem = str(trouble)
    if store is None:
        return Event("refused" if problem else "taken", name, problem, export=export)
    taken, new = store.keep(data, name, mark[1], read)
    if not new:
        return None
    return Event("refused" if taken.state == "refused" else "taken", name, taken.problem, taken)


def _unlocked_bytes(path: Path) -> bytes:
    """Return the bytes of a file that no program holds locked; OSError where one does."""
    with path.open("rb") as file:
        try:
            import fcntl
        except ImportError:  # Windows refuses the opening itself
            return file.read()
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return file.read()

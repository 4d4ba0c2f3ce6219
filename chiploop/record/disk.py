"""A disk that is full: told by name, with what is free, so that nobody takes it for a bug.

Belongs here: what counts as full, how much is free. Not here: what a run does about it (flows.disk_room).
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chiploop.errors import InstrumentTrouble

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class DiskFull(InstrumentTrouble):
    """The disk of record or journal takes no more."""

    code = "CL-460"


def is_full(problem: BaseException) -> bool:
    """Return whether an error, or what it came of, is that of a full disk."""
    seen: BaseException | None = problem
    while seen is not None:
        if isinstance(seen, DiskFull):  # told by name, without what it came of: the wire record
            return True
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return True
        if isinstance(seen, sqlite3.Error) and "disk is full" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def free_bytes(place: Path) -> int | None:
    """Return what is free on the disk of a file or folder; None where the system does not say."""
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


def size_words(size: int | None) -> str:
    """Return a size for people."""
    if size is None:
        return "an unknown number of bytes"
    return f"{size} bytes" if size < 10_000_000 else f"{size / 1e6:.0f} MB"


def full(place: Path) -> DiskFull:
    """Return the trouble of a place that can not be written."""
    return DiskFull(
        f"the disk is full: {size_words(free_bytes(place))} are free at {place}, which could not be written. "
        "Nothing of it is on record, what is on record stands, and no dose was begun by it. Make room"
    )


@contextmanager
def told_when_full(place: Path) -> Iterator[None]:
    """Raise DiskFull in place of what a full disk raises in the block."""
    try:
        yield
    except Exception as problem:
        if isinstance(problem, DiskFull) or not is_full(problem):
            raise
        raise full(place) from problem

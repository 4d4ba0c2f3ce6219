"""Who works on a run: one process at a time, by a lock on a file in its folder.

Belongs here: taking the lock, who has it, why it can not be had. Not here: what its owner opens (opening).
Imports little: the page and the watch ask it too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from chiploop.errors import ChiploopError, InstrumentTrouble, WrongUse
from chiploop.record.disk import full, is_full

LOCK_FILE, OWNER_FILE = "run.lock", "run.owner"


class RunInUse(InstrumentTrouble):
    """Another process works on this run."""

    code = "CL-403"


@contextmanager
def only_owner(folder: Path) -> Iterator[None]:
    """Own a run for this process alone, and say so; the system takes it back however the process ends.

    Raises RunInUse, naming who works on it, and what ``locked`` raises.
    """
    with locked(folder):
        try:
            (folder / OWNER_FILE).write_text(f"process {os.getpid()}", encoding="utf-8")
        except OSError as problem:
            raise not_owned(folder, problem) from problem
        yield


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Own a run without a word of it, for which a disk may have no room.

    Raises RunInUse, DiskFull where the lock finds no room, WrongUse where the folder can not be written.
    """
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except OSError as problem:
        if isinstance(problem, Timeout):
            raise in_use(folder) from problem
        raise not_owned(folder, problem) from problem
    with lock:
        yield


def in_use(folder: Path) -> RunInUse:
    """Return that another process works on a run, with its name."""
    owner = folder / OWNER_FILE
    who = owner.read_text(encoding="utf-8") if owner.exists() else "another process"
    return RunInUse(
        f"run {folder.name} is being worked on by {who}; wait for it or end it first. "
        "Nothing was sent from here"
    )


def not_owned(folder: Path, problem: OSError) -> ChiploopError:
    """Return why a run's folder does not take that this process works on it."""
    if is_full(problem):
        return full(folder)
    return WrongUse(
        f"run {folder.name} can not be taken up: {folder} can not be written ({problem.strerror}). "
        "Nothing was sent to any instrument; see to it that whoever runs chiploop may write there"
    )

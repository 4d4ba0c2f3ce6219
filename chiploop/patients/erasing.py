"""Erasing files: overwritten on disk, then removed.

Belongs here: one file. Not here: which files a deletion means (store).

Overwriting reaches the blocks that the file system still uses for the file. A disk that moves blocks by itself (an
SSD), a file system that copies on write and a snapshot may keep older ones: against those helps only that a key
was itself sealed by a passphrase or a key file that is not on that disk (docs/privacy.md).
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from chiploop.errors import ChiploopError


class NotErased(ChiploopError):
    """A file that could not be overwritten or removed."""

    exit_code = 4
    code = "CL-470"


def erase(path: Path) -> bool:
    """Overwrite a file with random bytes, on disk, and remove it; return False where there is none.

    Every name of the file loses its content: also that of a hard link. NotErased where the system refuses.
    """
    try:
        with path.open("r+b", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            file.write(secrets.token_bytes(size))
            os.fsync(file.fileno())
        path.unlink()
        sync_folder(path.parent)
    except FileNotFoundError:
        return False
    except OSError as problem:
        raise NotErased(
            f"{path} could not be erased: {problem.strerror or problem}. Close what holds it and try again; of a "
            "store the next command erases it"
        ) from problem
    return True


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all, and on disk on return."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Let a new or removed name in a folder be on disk, where the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

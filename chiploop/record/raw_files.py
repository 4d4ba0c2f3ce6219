"""Raw files by the digest of their content: kept once, never altered.

Belongs here: bytes in, digest out, and whether the bytes are still the same. Not here: what they
mean (exports, assays), which run they belong to (record).
"""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

from chiploop.fault_points import passed
from chiploop.record.chain import ChainFault, RecordBroken, RecordUnreadable
from chiploop.record.disk import DiskFull, told_when_full


class RawFileStore:
    """A folder of files named by their SHA-256; it is created at the first file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, content: bytes) -> str:
        """Keep bytes and return their digest; durable on return, and nothing new where they are
        kept already.

        RecordBroken where the kept file has another content.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.path(sha256)
        if path.exists():
            if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                raise RecordBroken(f"{path} is not what was kept under its digest")
            return sha256
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{sha256}.{os.getpid()}.{threading.get_ident()}.tmp")
        try:
            with told_when_full(path), draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except DiskFull:
            draft.unlink(missing_ok=True)
            raise
        passed("raw_file_drafted")
        os.replace(draft, path)
        path.chmod(0o444)
        return sha256

    def put_file(self, source: Path) -> str:
        """Keep a copy of a file and return its digest. RecordUnreadable where it can not be
        read.
        """
        try:
            return self.put(source.read_bytes())
        except OSError as problem:
            raise RecordUnreadable(f"{source} can not be kept: {problem}") from problem

    def get(self, sha256: str) -> bytes:
        """Return kept bytes. RecordUnreadable where there are none, RecordBroken where they were
        altered.
        """
        try:
            content = self.path(sha256).read_bytes()
        except OSError as problem:
            raise RecordUnreadable(
                f"raw file {sha256} is not in {self.folder}: {problem}"
            ) from problem
        if hashlib.sha256(content).hexdigest() != sha256:
            raise RecordBroken(f"{self.path(sha256)} is not what was kept under its digest")
        return content

    def path(self, sha256: str) -> Path:
        """Return where the file of a digest is, or would be. ValueError for text that is no
        digest.
        """
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise ValueError(f"{sha256!r} is no SHA-256 in hex")
        return self.folder / sha256[:2] / sha256

    def check(self, sha256: str, name: str) -> ChainFault | None:
        """Return what is wrong with one kept file; None where it is as it was."""
        try:
            self.get(sha256)
        except RecordUnreadable:
            return ChainFault(
                "deleted", "raw files", name, f"raw file {name} ({sha256[:12]}) is gone"
            )
        except RecordBroken:
            return ChainFault(
                "edited", "raw files", name, f"raw file {name} ({sha256[:12]}) was changed"
            )
        return None

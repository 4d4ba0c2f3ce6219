"""A zip file whose bytes hang on what is in it alone, written as a stream.

Belongs here: times, permissions, order, digests. Not here: what is put in.

Every member has the same time and permissions, so that the same content in the same order gives the same bytes
with the same version of zlib. Files go through in pieces: a campaign of many gigabytes needs no more memory
than one piece.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

PIECE_BYTES = 1 << 20
TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip file can say."""


@dataclass(frozen=True)
class Packed:
    """A member that was written."""

    name: str
    sha256: str
    size_bytes: int


class FixedZip:
    """A zip file being written; it stands under its name once it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.draft = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
        self.names: set[str] = set()

    def __enter__(self) -> FixedZip:
        self.file = zipfile.ZipFile(self.draft, "w", zipfile.ZIP_DEFLATED, allowZip64=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.file.close()
            if kind is None:
                self.draft.replace(self.path)
        finally:
            with suppress(FileNotFoundError):
                self.draft.unlink()

    def add_bytes(self, name: str, content: bytes) -> Packed:
        """Add a member from memory."""
        return self._add(name, iter([content]), len(content))

    def add_file(self, name: str, source: Path) -> Packed:
        """Add a member from a file, piece by piece."""
        return self._add(name, pieces(source), source.stat().st_size)

    def _add(self, name: str, content: Iterator[bytes], size: int) -> Packed:
        if name in self.names:
            raise ValueError(f"{name} is in {self.path} already")
        self.names.add(name)
        info = zipfile.ZipInfo(name, TIME)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.create_system = 3  # else it hangs on the computer
        info.external_attr = 0o644 << 16
        info.file_size = size  # decides on 64-bit fields before the first byte
        digest, written = hashlib.sha256(), 0
        with self.file.open(info, "w") as member:
            for piece in content:
                digest.update(piece)
                member.write(piece)
                written += len(piece)
        return Packed(name, digest.hexdigest(), written)


def pieces(source: Path) -> Iterator[bytes]:
    """Yield a file in pieces."""
    with source.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece

"""Every byte of a port as JSON lines: what went out, what came in, when.

Belongs here: writing the record of one wire, and reading it back. Not here: what the bytes mean.
One line is ``{"n", "monotonic_s", "wall", "port", "direction", "hex"}``; direction is ``sent``,
``received``, ``dropped`` (arrived unasked or too late) or ``note`` (then ``text`` stands for
``hex``). A record that has grown past a size goes on in ``name.0001.jsonl`` and so on; the first
line of every piece names the piece ``before`` it. No piece is ever deleted unless ``keep`` says so:
the record is what a dose is judged by.
"""

from __future__ import annotations

import errno
import json
import re
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from chiploop.record.disk import is_full

Direction = Literal["sent", "received", "dropped"]

ROTATE_BYTES: Final = 64_000_000
"""A piece that has grown to this is closed; a quiet bench fills one in about a month."""


class WireRecorder:
    """Append the bytes of one port to a file; each line reaches the operating system before the
    call returns.

    A line is one write at the end of the file, so that the process which takes over a port after a
    hung owner may go on in the same record.
    """

    def __init__(
        self, path: Path, *, rotate_bytes: int = ROTATE_BYTES, keep: int | None = None
    ) -> None:
        if rotate_bytes < 1 or (keep is not None and keep < 1):
            raise ValueError(f"rotate_bytes {rotate_bytes} and keep {keep} must be 1 or more")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        """Name of the record: its first piece."""
        self.trouble = ""
        """Why the record is broken; empty while it is good. Told by the transport before the next byte. It ends
        for a disk that was full and is not any more; any other trouble stays."""
        self.is_full = False
        """Whether ``trouble`` is that of a full disk."""
        self._rotate_bytes, self._keep = rotate_bytes, keep
        self._lock = threading.Lock()
        self._n = 0
        pieces = wire_pieces(path)
        self._piece = pieces[-1] if pieces else path
        torn = pieces and not _ends_a_line(self._piece)
        self._file = self._piece.open("ab", buffering=0)
        self._size = self._piece.stat().st_size
        try:
            if torn:  # by a power cut; what follows must not be glued to it
                self._file.write(b"\n")
            if not self._size:
                self._head(before=None)
        except OSError as trouble:
            self.trouble, self.is_full = str(trouble), is_full(trouble)

    def bytes(self, port: str, direction: Direction, data: bytes) -> None:
        """Write one piece as it was sent or received."""
        self._write({"port": port, "direction": direction, "hex": data.hex()})

    def note(self, port: str, text: str) -> None:
        """Write what happened to the port itself: opened, closed, lost, stopped from outside."""
        self._write({"port": port, "direction": "note", "text": text})

    def close(self) -> None:
        """Close the file; safe to repeat."""
        with self._lock:
            self._file.close()

    def _write(self, entry: dict[str, Any]) -> None:
        with self._lock:
            try:
                if self.is_full:
                    self._go_on()
                if self._size >= self._rotate_bytes:
                    self._rotate()
                self._append(entry)
            except (OSError, ValueError) as trouble:  # a full disk; a file closed on the way out
                self.is_full = is_full(trouble) and (self.is_full or not self.trouble)
                self.trouble = self.trouble or str(trouble)

    def _go_on(self) -> None:
        """Say in the record that lines of it are missing, where there is room again."""
        if self._size and not _ends_a_line(self._piece):
            self._file.write(b"\n")
        text = f"lines before this one are missing: {self.trouble}"
        self._append({"port": "", "direction": "note", "text": text})
        self.trouble, self.is_full = "", False

    def _append(self, entry: dict[str, Any]) -> None:
        self._n += 1
        stamp = {
            "n": self._n,
            "monotonic_s": time.monotonic(),
            "wall": datetime.now(UTC).isoformat(),
        }
        line = json.dumps(stamp | entry).encode() + b"\n"
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, f"only a part of a line could be written to {self._piece}")
        self._size += len(line)

    def _head(self, before: str | None) -> None:
        text = f"record goes on from {before}" if before else "record begins"
        self._append({"port": "", "direction": "note", "text": text, "before": before})

    def _rotate(self) -> None:
        """Go on in a new piece; where none can be made, the old one simply grows."""
        before, number = self._piece, _number(self._piece) + 1
        try:
            piece = self.path.with_name(f"{self.path.stem}.{number:04d}{self.path.suffix}")
            file = piece.open("xb", buffering=0)
        except OSError:
            return
        self._file.close()
        self._file, self._piece, self._size = file, piece, 0
        self._head(before.name)
        if self._keep is not None:
            for old in wire_pieces(self.path)[: -self._keep]:
                old.unlink(missing_ok=True)


def wire_pieces(path: Path) -> list[Path]:
    """Return the pieces of a record that exist, oldest first."""
    numbered = re.compile(re.escape(path.stem) + r"\.\d{4,}" + re.escape(path.suffix))
    pieces = [path] if path.exists() else []
    if path.parent.is_dir():
        later = (p for p in path.parent.iterdir() if numbered.fullmatch(p.name))
        pieces += sorted(later, key=_number)
    return pieces


def read_wire(path: Path) -> Iterator[dict[str, Any]]:
    """Yield every entry of a record in order, over all its pieces.

    A line torn by a power cut comes as a note with the text that is left of it.
    """
    for piece in wire_pieces(path):
        with piece.open("rb") as lines:
            for line in lines:
                try:
                    entry = json.loads(line)
                except ValueError:
                    left = line.decode("utf-8", "replace").rstrip("\n")
                    entry = {"port": "", "direction": "note", "text": f"torn line: {left}"}
                yield entry


def _number(piece: Path) -> int:
    """Return the number in the name of a piece; 0 for the first, which has none."""
    found = re.search(r"\.(\d{4,})$", piece.stem)
    return int(found[1]) if found else 0


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if not size:
            return True
        file.seek(size - 1)
        return file.read(1) == b"\n"

"""Every byte of a port as JSON lines: what went out, what came in, when.

Belongs here: writing the record of one wire. Not here: what the bytes mean.
One line is ``{"n", "monotonic_s", "wall", "port", "direction", "hex"}``; direction is ``sent``,
``received``, ``dropped`` (arrived unasked or too late) or ``note`` (then ``text`` stands for
``hex``).
"""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

Direction = Literal["sent", "received", "dropped"]


class WireRecorder:
    """Append the bytes of one port to a file; each line reaches the operating system before the
    call returns."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.trouble = ""
        """Why the record is broken; empty while it is good. Set once, told by the transport before
        the next byte."""
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self._n = 0

    def bytes(self, port: str, direction: Direction, data: bytes) -> None:
        """Write one piece as it was sent or received."""
        self._write({"port": port, "direction": direction, "hex": data.hex()})

    def note(self, port: str, text: str) -> None:
        """Write what happened to the port itself: opened, closed, lost."""
        self._write({"port": port, "direction": "note", "text": text})

    def close(self) -> None:
        """Close the file; safe to repeat."""
        with self._lock:
            self._file.close()

    def _write(self, entry: dict[str, str]) -> None:
        with self._lock:
            self._n += 1
            stamp = {
                "n": self._n,
                "monotonic_s": time.monotonic(),
                "wall": datetime.now(UTC).isoformat(),
            }
            try:
                self._file.write(json.dumps(stamp | entry) + "\n")
                self._file.flush()
            except (OSError, ValueError) as trouble:  # a full disk; a file closed on the way out
                self.trouble = self.trouble or str(trouble)

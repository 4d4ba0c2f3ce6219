"""The durable state of a virtual lab in one file, written whole or not at all.

Belongs here: what is written, when, and how it comes back. Not here: what it means.
Each part is turned into text only when its revision has grown, so that a save after a pump command
costs well under 2 ms whatever the tissue holds. Power loss of the computer is not covered between
exits (no fsync): a virtual lab does not outlive the computer it runs on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chiploop.errors import FileNotValid
from instruments.emulators.virtual_room import VirtualRoom

FORMAT_VERSION = 1


@dataclass(frozen=True)
class _Part:
    """One part of the state."""

    revision: Callable[[], int]
    state: Callable[[], dict[str, Any]]
    restore: Callable[[dict[str, Any]], None]


class LabState:
    """State file of one room."""

    def __init__(self, path: Path, room: VirtualRoom) -> None:
        self.path = path
        self._texts: dict[str, tuple[int, str]] = {}
        self._parts = {
            "room": _Part(lambda: room.revision, room.state, room.restore),
            "tissue": _Part(lambda: room.tissue_revision, room.tissue.state, room.tissue.restore),
            "reader": _part_of(room.reader),
            "meter": _part_of(room.meter),
            **{f"pump {name}": _part_of(pump) for name, pump in room.pumps.items()},
            **{f"valve of {chip}": _part_of(valve) for chip, valve in room.valves.items()},
        }

    def load(self) -> bool:
        """Take over the saved state; False where there is none. FileNotValid for another rig."""
        if not self.path.exists():
            return False
        saved = json.loads(self.path.read_text(encoding="utf-8"))
        if saved["format"] != FORMAT_VERSION or set(saved["parts"]) != set(self._parts):
            raise FileNotValid(f"{self.path} is of another rig or another version of chiploop")
        for name, part in self._parts.items():
            part.restore(saved["parts"][name])
        return True

    def save(self, *, sync: bool = False) -> None:
        """Write the state where anything has changed; ``sync`` also waits for the disk."""
        changed = sync
        for name, part in self._parts.items():
            revision = part.revision()
            if self._texts.get(name, (-1, ""))[0] != revision:
                self._texts[name] = (revision, json.dumps(part.state(), default=_plain))
                changed = True
        if changed:
            parts = ", ".join(f"{json.dumps(n)}: {text}" for n, (_, text) in self._texts.items())
            self._write(f'{{"format": {FORMAT_VERSION}, "parts": {{{parts}}}}}', sync)

    def _write(self, text: str, sync: bool) -> None:
        new = self.path.with_suffix(".new")
        with new.open("w", encoding="utf-8") as file:
            file.write(text)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        for _ in range(20):
            try:
                new.replace(self.path)
                return
            except PermissionError:  # Windows: a virus scanner holds the file for a moment
                time.sleep(0.01)
        new.replace(self.path)


def _part_of(device: Any) -> _Part:
    return _Part(lambda: device.revision, device.state, device.restore)


def _plain(value: Any) -> Any:
    """Return numpy values as plain ones."""
    return value.tolist()

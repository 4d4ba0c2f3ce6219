"""What went wrong on the wires of a bench since somebody asked last, also where asking again has mended it.

Belongs here: counting. Not here: bytes (wire_recorder), what is done about a trouble (the drivers), the record of
a run (flows).

A cable that loses one answer in a thousand is mended by every driver without a word; without a count nobody learns
that it is getting worse.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Final

SILENT: Final = "no answer"
"""No complete answer before the deadline."""
GARBLED: Final = "garbled"
"""An answer that breaks the device's grammar, or the device's word that it did not understand what was sent."""
LOST: Final = "port lost"
"""The port itself failed: its cable or its device was pulled out, or switched off."""


@dataclass(frozen=True)
class WireTrouble:
    """One kind of trouble on one port."""

    port: str
    """Name of the port in lab.toml: that of its bus, or of the only device on it."""
    kind: str
    times: int
    last: str
    """What was told the last time."""


class TroubleBook:
    """Counts troubles of all ports of a bench; used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], WireTrouble] = {}

    def count(self, port: str, kind: str, told: str) -> None:
        """Count one trouble."""
        with self._lock:
            before = self._open.get((port, kind), WireTrouble(port, kind, 0, ""))
            self._open[port, kind] = replace(before, times=before.times + 1, last=told)

    def take(self) -> tuple[WireTrouble, ...]:
        """Return what was counted since this was asked last, in the order of ports and kinds."""
        with self._lock:
            found = tuple(self._open[key] for key in sorted(self._open))
            self._open.clear()
        return found

    def keep(self, trouble: WireTrouble) -> None:
        """Take back what was counted and could not be told: it counts on, and the newer word stays."""
        with self._lock:
            since = self._open.get((trouble.port, trouble.kind))
            if since is not None:
                trouble = replace(trouble, times=trouble.times + since.times, last=since.last)
            self._open[trouble.port, trouble.kind] = trouble

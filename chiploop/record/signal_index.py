"""Which signals of a run were drawn, and whether they are still those on record: for who draws and who shows.

Belongs here: names of indices, what they hang on. Not here: drawing (report.signal_parts), the page (review).
"""

from __future__ import annotations

import re

from chiploop.record.measurement_rows import REVISION
from chiploop.record.record import Record

FORM = 3
"""Of an index; another one is drawn anew."""


def index_name(cycle: int, chip: str = "") -> str:
    """Return the file that lists the figures of a cycle, or of one of its chips."""
    own = f"-{re.sub(r'[^A-Za-z0-9_-]', '_', chip)}" if chip else ""
    return f"signals-c{cycle:02d}{own}.json"


def signals_seen(record: Record, run_id: str) -> str:
    """Return a text that is another one where a signal came, or a plate was calculated again."""
    return f"{FORM}.{len(record.raw_files(run_id))}.{len(record.events(run_id, REVISION))}"

"""Room on the disk: no dose begins below a floor, and chips hold until there is more.

Belongs here: the floor and what is said. Not here: what a full disk raises (chiploop.record.disk), holds
(closed_loop).

The floor is far above what a cycle writes, so journal and record still take what a hold needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from chiploop.record.disk import free_bytes, size_words
from flows.holding import held_by, held_now

if TYPE_CHECKING:
    from flows.laboratory import Laboratory

DOSE_FLOOR_BYTES = 256 * 2**20
"""No dose begins while less is free. A cycle of the demo (12 chips) writes some 5 MB, most of it the posterior."""
AGAIN_H = 6.0
"""Between two events that say the same: they too need room."""
LOW_DISK = "disk is low"
"""Kind of the record's event."""


def no_room(folder: Path) -> str:
    """Return that too little is free for a dose; empty where there is enough, or nobody can say."""
    free = free_bytes(folder)
    if free is None or free >= DOSE_FLOOR_BYTES:
        return ""
    return (
        f"the disk: {size_words(free)} are free at {folder}, {size_words(DOSE_FLOOR_BYTES)} are needed before "
        "a dose begins"
    )


def kept_back_by(lab: Laboratory) -> str:
    """Return what keeps the next dose back: a person who holds the run, or the disk; empty where nothing does."""
    return held_by(lab.record, lab.run_id) or _noted(lab)


def part_kept_back_by(lab: Laboratory) -> str:
    """Return the same for the next part of a dose, where a record on a server may be away."""
    return held_now(lab) or no_room(lab.folder)


def _noted(lab: Laboratory) -> str:
    why = no_room(lab.folder)
    told_h = [event.time_h for event in lab.record.events(lab.run_id, LOW_DISK)] if why else []
    if why and not (told_h and lab.clock.now_h() - told_h[-1] < AGAIN_H):
        content = {"free_bytes": free_bytes(lab.folder), "floor_bytes": DOSE_FLOOR_BYTES}
        lab.record.add_event(lab.run_id, LOW_DISK, lab.clock.now_h(), content)
    return why

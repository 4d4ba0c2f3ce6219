"""The holds of a cycle, which follow each other: which one has begun last, and what number comes next.

Belongs here: names of holds. Not here: starting and ending one (closed_loop), why a person holds a run (holding).

``hold`` is the first; ``hold-2`` or ``files-2`` is the second, by what is waited for. Where no line can have its
hold, what runs is plain medium in its place alone: ``hold-2-plain``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from chiploop.record.progress import ProgrammeProgress

HOLD = re.compile(r"((?:hold|files)(?:-(\d+))?)(?:-plain)?")
"""A phase that is a hold: its name, its number."""


def next_number(hold: Sequence[ProgrammeProgress]) -> int:
    """Return the number of the hold after this one; of the second where none runs."""
    found = HOLD.fullmatch(hold[0].programme_key.rsplit("/", 1)[-1]) if hold else None
    return 1 + int(found[2]) if found and found[2] else 2

"""The holds of a cycle, which follow each other: which one has begun last, and what number comes next.

Belongs here: names of holds. Not here: starting and ending one (closed_loop), why a person holds a run (holding).

``hold`` is the first; ``hold-2`` or ``files-2`` is the second, by what is waited for. Where no line can have its
hold, what runs is plain medium in its place alone: ``hold-2-plain``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from chiploop.record.actions import cycle_in
from chiploop.record.journal import Journal
from chiploop.record.progress import ProgrammeProgress

HOLD = re.compile(r"((?:hold|files)(?:-(\d+))?)(?:-plain)?")
"""A phase that is a hold: its name, its number."""


def ends_h(hold: Sequence[ProgrammeProgress]) -> float:
    """Return the study time at which a hold ends, by its line that ends last; infinite where none runs.

    Plain medium that took a line's place in the middle of the hold began late and lasts to the same end.
    """
    return max((one.begins_h + one.programme.duration_h for one in hold), default=math.inf)


def next_number(hold: Sequence[ProgrammeProgress]) -> int:
    """Return the number of the hold after this one; of the second where none runs."""
    return number_after(hold[0].programme_key.rsplit("/", 1)[-1] if hold else "")


def number_after(phase: str) -> int:
    """Return the number of the hold after one of that name; of the second where the name is empty."""
    found = HOLD.fullmatch(phase)
    return 1 + int(found[2]) if found and found[2] else 2


def newest_hold(journal: Journal, run_id: str, cycle: int) -> str:
    """Return the hold of a cycle that any line began last, by the journal; empty where none has begun.

    A run that is taken up again goes on with this one: an older one has ended, whatever it is still waited for.
    """
    keys = (action.intent.programme_key for action in reversed(journal.actions(run_id)))
    phases = (HOLD.fullmatch(key.rsplit("/", 1)[-1]) for key in keys if cycle_in(key) == cycle)
    return next((found[1] for found in phases if found), "")

"""Readouts that a person took out of the fits, with who and why; nothing is deleted, and it can be taken back.

Belongs here: what an exclusion covers, how readouts look with it. Not here: keeping it (record).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chiploop.measurement import Readout

EXCLUSION = "exclusion"
"""Kind of the event on record."""
EXCLUDED = "excluded by "
"""Beginning of the reason that an excluded readout shows."""
ANY_TIME = -1.0
SAME_TIME_H = 0.01
"""A time is met to a hundredth of an hour, as tables show it."""


def is_excluded(readout: Readout) -> bool:
    """Return whether a person has taken a readout out of the fits."""
    return any(reason.startswith(EXCLUDED) for reason in readout.reasons)


@dataclass(frozen=True)
class Exclusion:
    """One decision about a chip's readouts."""

    chip_id: str
    readout: str
    """Empty for every kind."""
    time_h: float
    """Study time of the reading, the end of a window; ``ANY_TIME`` for all."""
    excluded: bool
    """False takes an earlier exclusion of the same readouts back."""
    by: str
    why: str

    @property
    def told(self) -> str:
        """Return what it covers in words."""
        kind = self.readout or "any readout"
        at = "" if self.time_h == ANY_TIME else f" at {self.time_h:g} h"
        return f"{kind} of {self.chip_id}{at}"

    def covers(self, readout: Readout) -> bool:
        """Return whether it is about a readout."""
        return (
            readout.chip_id == self.chip_id
            and self.readout in ("", readout.readout)
            and (self.time_h == ANY_TIME or abs(readout.time_h - self.time_h) < SAME_TIME_H)
        )


def marked(readouts: Sequence[Readout], exclusions: Sequence[Exclusion]) -> tuple[Readout, ...]:
    """Return the readouts, the excluded ones with ``qc`` "fail" and the reason; the last decision counts."""
    found = []
    for readout in readouts:
        about = [one for one in exclusions if one.covers(readout)]
        if about and about[-1].excluded:
            reason = f"{EXCLUDED}{about[-1].by}: {about[-1].why}"
            readout = replace(readout, qc="fail", reasons=(*readout.reasons, reason))
        found.append(readout)
    return tuple(found)

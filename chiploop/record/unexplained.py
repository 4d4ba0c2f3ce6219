"""Readings that were taken well and that a fit left out all the same, because nobody knows what their chip got.

Belongs here: their words on record, how readouts look with them, who left a readout out. Not here: which they are
(refit).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from chiploop.measurement import Readout
from chiploop.record.exclusions import EXCLUDED
from chiploop.record.rows import RecordedContent

UNEXPLAINED = "what its line delivered until then is not known"
"""Why a reading that was taken well is not learned from."""
LEFT_OUT = "left out of the fit"
"""Kind of the record's event that names such readings."""


def as_fitted(readouts: Sequence[Readout], events: Iterable[RecordedContent]) -> list[Readout]:
    """Return the readouts, those that a fit left out with ``qc`` "fail" and the reason.

    ``events``: of the kind ``LEFT_OUT``, in the order added; of one cycle the last counts.
    """
    of_cycles = {event.content["cycle"]: event.content["readouts"] for event in events}
    why = {
        (one["chip"], one["readout"], f"{one['time_h']:.4f}"): (
            f"{LEFT_OUT} of cycle {cycle}: {one['why']}"
        )
        for cycle, named in of_cycles.items()
        for one in named
    }
    found = []
    for r in readouts:
        reason = why.get((r.chip_id, r.readout, f"{r.time_h:.4f}"), "")
        if reason and r.qc != "fail":
            r = replace(r, qc="fail", reasons=(*r.reasons, reason))
        found.append(r)
    return found


def left_out_by(readout: Readout) -> tuple[str, str]:
    """Return who left a readout out, a person or ``fit of cycle 2``, and why; two empty texts where nobody did.

    A readout that failed by itself was left out by nobody.
    """
    for reason in reversed(readout.reasons):
        if reason == UNEXPLAINED:
            return "fit", UNEXPLAINED
        for begin, who in ((EXCLUDED, ""), (LEFT_OUT, "fit")):
            if reason.startswith(begin):
                by, _, why = reason.removeprefix(begin).partition(": ")
                return f"{who}{by}", why
    return "", ""

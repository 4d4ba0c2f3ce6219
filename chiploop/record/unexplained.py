"""Readings that were taken well and that a fit left out all the same, because nobody knows what their chip got.

Belongs here: their words on record, how readouts look with them, who left a readout out, what a fit took for known
when it judged them. Not here: which they are (refit).

A fit that leaves readings out, or that has readings taken after its exposure, puts one event on record before it
begins: which it leaves out, or which late ones it has taken in where it leaves out none. What it took for known of
the holds stands in the same event, and decides wherever the fit is made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from chiploop.late_readings import HoldsAsKnown
from chiploop.measurement import Readout
from chiploop.record.exclusions import EXCLUDED
from chiploop.record.record import Record
from chiploop.record.rows import RecordedContent

UNEXPLAINED = "what its line delivered until then is not known"
"""Why a reading that was taken well is not learned from."""
LEFT_OUT = "left out of the fit"
"""Kind of the record's event that names such readings."""
TAKEN_IN = "taken into the fit"
"""Kind of the event that names readings after an exposure, put where the first fit of a cycle leaves out none."""


def event_of_fit(
    cycle: int,
    readouts: Sequence[Readout],
    late: Sequence[Readout],
    holds: HoldsAsKnown | None,
    was_left_out: bool,
) -> tuple[str, dict[str, Any]] | None:
    """Return kind and content of the event of a fit; None where there is nothing to say.

    ``readouts``, ``late`` and ``holds`` are those of its evidence. ``was_left_out``: an event on record says that
    readings of the cycle were left out; where a person's word has let them in since, one that names none follows.
    """
    left_out = [r for r in readouts if UNEXPLAINED in r.reasons]
    if not (left_out or late or was_left_out):
        return None
    content: dict[str, Any] = {"cycle": cycle}
    if left_out or was_left_out:
        content["readouts"] = [{**_named(r), "why": UNEXPLAINED} for r in left_out]
    else:
        content["readouts"] = [_named(r) for r in late if r.qc != "fail"]
    if holds is not None:
        ran, in_doubt = list(holds.ran), list(holds.in_doubt)  # as they are read back
        content["holds"] = {"until_h": holds.until_h, "ran": ran, "in_doubt": in_doubt}
    return (LEFT_OUT if left_out or was_left_out else TAKEN_IN), content


def _named(readout: Readout) -> dict[str, Any]:
    return {"chip": readout.chip_id, "readout": readout.readout, "time_h": readout.time_h}


def decided_on_record(record: Record, run_id: str) -> dict[int, HoldsAsKnown]:
    """Return cycle -> what its first fit took for known of the holds; absent where no reading came late."""
    return decided_by((*record.events(run_id, TAKEN_IN), *record.events(run_id, LEFT_OUT)))


def decided_by(events: Iterable[RecordedContent]) -> dict[int, HoldsAsKnown]:
    """Return cycle -> what its first fit took for known, by events of both kinds, those of ``TAKEN_IN`` first."""
    found: dict[int, HoldsAsKnown] = {}
    for content in (event.content for event in events):
        if "holds" in content:
            known = content["holds"]
            found.setdefault(
                content["cycle"],
                HoldsAsKnown(known["until_h"], tuple(known["ran"]), tuple(known["in_doubt"])),
            )
    return found


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

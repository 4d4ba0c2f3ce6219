"""What a cycle's fit learns from, decided once: on record before it begins, aloud where anything is left out.

Belongs here: reading that decision from the record, and putting it there. Not here: which readings they are
(chiploop.refit), the words of the events (chiploop.record.unexplained).

A process that dies between the event and the end of the fit leaves the decision: whoever takes the run up again
fits by it, whatever pumps have told since.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chiploop.measurement import Readout
from chiploop.record.next_event import Before, add_next_event
from chiploop.record.unexplained import LEFT_OUT, UNEXPLAINED, decided_on_record, event_of_fit
from chiploop.refit import Evidence, evidence_of

if TYPE_CHECKING:
    from flows.laboratory import Laboratory


def evidence_for_fit(lab: Laboratory, readouts: Sequence[Readout], cycle: int) -> Evidence:
    """Return what a cycle's fit learns from: as its first fit decided, by the journal where none has."""
    decided = decided_on_record(lab.record, lab.run_id).get(cycle)
    actions = lab.journal.actions(lab.run_id)
    return evidence_of(lab.study, actions, readouts, cycle, decided)


def note_evidence(lab: Laboratory, evidence: Evidence) -> None:
    """Put on record what a fit decides about its readings, once, and say which it leaves out."""
    cycle, readouts = evidence.cycle, evidence.readouts
    said = [e.content for e in lab.record.events(lab.run_id, LEFT_OUT)]
    was_left_out = any(content["cycle"] == cycle for content in said)
    told = event_of_fit(cycle, readouts, evidence.late, evidence.holds, was_left_out)
    if told is None:
        return
    kind, content = told

    def is_news(before: Before) -> bool:
        own = [one for one in before if one["cycle"] == cycle]
        return not own or own[-1] != content

    if not add_next_event(lab.record, lab.run_id, kind, lab.clock.now_h(), content, "", is_news):
        return
    left_out = [r for r in readouts if UNEXPLAINED in r.reasons]
    if left_out:
        names = ", ".join(f"{r.readout} of {r.chip_id} at {r.time_h:.2f} h" for r in left_out)
        lab.say(cycle, f"LEFT OUT OF THE FIT: {names}; {UNEXPLAINED}")

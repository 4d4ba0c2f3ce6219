"""Lost and garbled answers put on record, also those that asking again has mended.

Belongs here: which event tells of them. Not here: counting (instruments.wire_troubles), what is done about one
that asking again does not mend (perfusion, away).
"""

from __future__ import annotations

from dataclasses import asdict

from chiploop.record.sessions import RecordAway
from flows.laboratory import Laboratory

WIRE = "wire trouble"
"""Kind of the record's events."""


def tell_wires(lab: Laboratory, cycle: int) -> None:
    """Tell, and put on record, what went wrong on each wire since this was asked last."""
    for trouble in lab.bench.troubles.take():
        content = {**asdict(trouble), "cycle": cycle}
        times = "once" if trouble.times == 1 else f"{trouble.times} times"
        lab.say(cycle, f"wire of {trouble.port}: {trouble.kind} {times}, last: {trouble.last}")
        try:
            number = 1 + len(lab.record.events(lab.run_id, WIRE))
            lab.record.add_event(lab.run_id, WIRE, lab.clock.now_h(), content, key=str(number))
        except RecordAway as away:  # it was told, and the wire's own record has it
            lab.say(cycle, f"that is not on record: {away}")

"""A run that a person holds: no further dose begins until somebody lets it go on.

Belongs here: whether a hold is in force, by the record. Not here: what the flow does meanwhile (closed_loop,
exposure_parts), the verbs (cli.hold, cli.simulate). What flows when it is asked for goes on to its own end; then
chips get what they get while nobody has decided.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from chiploop.record.next_event import Before, add_next_event
from chiploop.record.record import Record
from chiploop.record.sessions import RecordAway

if TYPE_CHECKING:
    from flows.laboratory import Laboratory

LOG = logging.getLogger("chiploop.record")

HOLD = "hold"
"""Kind of the record's events."""


def held_by(record: Record, run_id: str) -> str:
    """Return who holds a run and why; empty where nobody does."""
    events = record.events(run_id, HOLD)
    if not events or not events[-1].content["on"]:
        return ""
    content = events[-1].content
    why = f": {content['why']}" if content["why"] else ""
    return f"{content['by']}{why}"


def held_now(lab: Laboratory) -> str:
    """Return who holds a run for a dose that is under way; where the record's server is away, nobody new does."""
    try:
        return held_by(lab.record, lab.run_id)
    except RecordAway as trouble:
        LOG.warning("whether somebody holds the run is not known: %s", trouble)
        return ""


def put_hold(record: Record, run_id: str, on: bool, by: str, why: str, time_h: float) -> bool:
    """Put a hold, or its end, on record; False where it is so already."""
    content = {"on": on, "by": by, "why": why}

    def is_news(before: Before) -> bool:
        return bool(before and before[-1]["on"]) != on

    return add_next_event(record, run_id, HOLD, time_h, content, is_news=is_news)

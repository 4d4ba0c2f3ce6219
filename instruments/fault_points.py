"""Named places between intent and outcome at which a test may kill this process.

Belongs here: the lists. Not here: the kill (chiploop.fault_points), what must hold afterwards
(tests/instruments/test_delivery.py, which iterates the list of a dose, and the crash matrix of whole runs), so
that a place without a test does not exist.
"""

from __future__ import annotations

from chiploop.fault_points import Place, die_if_named

FAULT_POINTS: dict[str, Place] = {
    "before_clear": Place(
        "a pump at rest, noted in the journal as about to be cleared", "the pump is set up anew"
    ),
    "after_clear": Place("a pump whose counter is at zero", "the pump is set up anew"),
    "before_prepare": Place("pumps at rest, no intent", "rate and target are set"),
    "after_prepare": Place(
        "a pump with rate and target, no intent", "rate and target are set again"
    ),
    "before_intent": Place("every pump of a programme set, no intent", "they are set again"),
    "after_intent": Place("intents, nothing sent", "every pump is started, once"),
    "before_sent": Place("intents, one pump set right before its start", "it is started, once"),
    "after_sent": Place(
        "a start command that is on record and never left",
        "sent where a counter above zero proves that it never left; otherwise held and asked",
    ),
    "after_start": Place("a pump that runs and a journal that knows only of `sent`", "adopted"),
    "after_started": Place("a pump that runs, on record", "adopted; the next pump is started"),
    "before_outcome": Place("a pump at its end, no outcome", "its counter is read again"),
    "after_outcome": Place("an outcome on record, other pumps of the programme open", "read on"),
}
"""Of a dose that comes to its end, in the order in which a programme passes them."""
HOLD_FAULT_POINTS: dict[str, Place] = {
    "before_held": Place(
        "a drug pump that was told to stop and stands; the journal does not say that it is held",
        "it moved by another volume than asked, or nothing proves that it did not: held and asked",
    ),
    "after_held": Place(
        "a held pump of a programme whose other pumps go on", "held; nothing is started again"
    ),
    "after_stop": Place(
        "a plain pump that was stopped, its outcome not on record",
        "its counter is read: what flowed until then is its outcome",
    ),
}
"""Of a programme that can not come to its end."""
VALVE_FAULT_POINTS: dict[str, Place] = {
    "before_turn": Place("a valve about to be turned, nothing asked", "it is turned"),
    "after_turn_asked": Place(
        "a turn that is on record as asked, not sent",
        "the valve is asked where it stands, then turned",
    ),
    "after_turn": Place(
        "a valve that stands at its new port, not on record",
        "it is asked where it stands; on record",
    ),
    "after_turned": Place("a turn on record, no dose begun", "the dose begins"),
}
"""In the order in which a turn of a valve passes them."""


def fault(name: str) -> None:
    """End this process at once, as kill -9 would, where ``CHIPLOOP_FAULT`` names this place.

    KeyError for a name that is in none of the lists.
    """
    if name not in (*FAULT_POINTS, *HOLD_FAULT_POINTS, *VALVE_FAULT_POINTS):
        raise KeyError(f"{name} is no fault point; add it to FAULT_POINTS")
    die_if_named(name)

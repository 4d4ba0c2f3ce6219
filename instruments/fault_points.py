"""Named places between intent and outcome at which a test may kill this process.

Belongs here: the list and the kill. Not here: what must hold afterwards
(tests/instruments/test_delivery.py, which iterates the list, so that a place without a test does
not exist).

Random kills are weak evidence: the window between two writes is a few milliseconds.
``CHIPLOOP_FAULT=name`` kills at the first passage of that name, ``name@2`` at the second. Unset, a
passage costs one look-up.
"""

from __future__ import annotations

import os

FAULT_POINTS: tuple[str, ...] = (
    "before_clear",
    "after_clear",
    "before_prepare",
    "after_prepare",
    "before_intent",
    "after_intent",
    "before_sent",
    "after_sent",
    "after_start",
    "after_started",
    "before_outcome",
    "after_outcome",
)
"""In the order in which a programme passes them."""
VALVE_FAULT_POINTS = ("before_turn", "after_turn_asked", "after_turn", "after_turned")
"""In the order in which a turn of a valve passes them."""

_passages: dict[str, int] = {}


def fault(name: str) -> None:
    """End this process at once, as kill -9 would, where ``CHIPLOOP_FAULT`` names this place.

    KeyError for a name that is not in ``FAULT_POINTS``.
    """
    if name not in (*FAULT_POINTS, *VALVE_FAULT_POINTS):
        raise KeyError(f"{name} is no fault point; add it to FAULT_POINTS")
    die_if_named(name)


def die_if_named(name: str) -> None:
    """End this process where ``CHIPLOOP_FAULT`` names this place and passage."""
    wanted, _, passage = os.environ.get("CHIPLOOP_FAULT", "").partition("@")
    if wanted != name:
        return
    _passages[name] = _passages.get(name, 0) + 1
    if _passages[name] == int(passage or 1):
        os.kill(os.getpid(), 9)  # SIGKILL; TerminateProcess where there are no signals

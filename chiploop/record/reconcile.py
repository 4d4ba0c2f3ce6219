"""What a pump's counter proves about an intent: delivered, running, not started, or nobody knows.

Belongs here: the decision, as a table. Not here: asking the pump or telling it anything
(instruments.delivery).

The pumps keep no token of ours. Two things prove that a counter still means what it meant at the
intent: the pump has not told of a power interruption since, and the counter is not lower than it
was. Where either fails, nothing is sent and a person is asked: a counter that is back at zero is
not "never moved".

A pump tells of a power interruption once, to whoever asks first. So an unmoved counter lets a start
be sent again only to the session that wrote the intent, or where it stood above zero and still does.

Not every make can tell of a power interruption (``restarts`` is None). Its counter may then have
gone back to zero unseen, which looks like "unmoved" where it stood at zero: a start whose answer was
lost is never sent again. What it shows as running or delivered is believed, which takes a pump that
stands still after power comes back: then only a hand at the pump could start the same volume over,
and a programme that ends late is stopped and held (flows.perfusion).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from chiploop.record.actions import Intent

Verdict = Literal["delivered", "running", "not started", "look again", "unknown"]

MATCH_FRACTION = 0.005
"""Relative difference between asked and counted volume that still is the asked volume."""
MATCH_STEPS = 2.0
"""The same in steps of the counter: one lost to rounding at each end."""
MOST_SENDS = 2
"""A start command is sent again at most once, and only where two looks show that nothing moved."""


@dataclass(frozen=True)
class PumpObservation:
    """What a pump says of itself, beside what the journal knows was sent to it."""

    state: Literal["idle", "infusing", "withdrawing", "paused", "alarm"]
    counter_ul: float
    resolution_ul: float
    restarts: int | None
    """How often the pump has told of a power interruption since the port was opened; None where its
    make can not prove that it kept its power.
    """
    session: str
    """Names the opened driver that asks; compared with the intent's."""
    sends: int
    """How often the journal says that the start command was about to leave."""
    started: bool
    """The journal says that the pump confirmed the start."""
    earlier_counter_ul: float | None = None
    """Counter of a look some time before, with nothing sent in between; None at the first look."""
    alarm: str = ""


@dataclass(frozen=True)
class Reconciled:
    """The verdict on one intent and why."""

    verdict: Verdict
    reason: str
    delivered_ul: float
    """Counter now less counter at the intent; meaningless where the verdict is ``unknown``."""


def match_tolerance_ul(intent: Intent, resolution_ul: float) -> float:
    """Return how far counted and asked volume may differ, in uL: two counter steps or 0.5 %, the
    larger.
    """
    return max(
        MATCH_STEPS * max(resolution_ul, intent.resolution_ul), MATCH_FRACTION * intent.volume_ul
    )


def _moved_ul(intent: Intent, seen: PumpObservation) -> float:
    return seen.counter_ul - intent.counter_ul


def _lost_power(intent: Intent, seen: PumpObservation) -> bool:
    if seen.restarts is None:
        return False
    # Alarms that this very session had heard before the intent tell nothing about the time after it.
    heard_before = intent.restarts or 0 if seen.session == intent.session else 0
    return seen.restarts > heard_before


def _can_not_prove_power(intent: Intent, seen: PumpObservation) -> bool:
    """An unmoved counter proves nothing where the pump's power may have been cut unseen.

    What tells of a power cut is told once, to whoever asks first: another session may have heard it
    and died with it. A counter that stood above zero and still stands there proves it by itself.
    """
    if intent.restarts is None or seen.restarts is None:
        return True
    return seen.session != intent.session and intent.counter_ul < intent.resolution_ul


def _unmoved(intent: Intent, seen: PumpObservation) -> bool:
    return abs(_moved_ul(intent, seen)) <= 0.5 * intent.resolution_ul


def _matches(intent: Intent, seen: PumpObservation) -> bool:
    difference_ul = abs(_moved_ul(intent, seen) - intent.volume_ul)
    return difference_ul <= match_tolerance_ul(intent, seen.resolution_ul)


def _too_far(intent: Intent, seen: PumpObservation) -> bool:
    most_ul = intent.volume_ul + match_tolerance_ul(intent, seen.resolution_ul)
    return _moved_ul(intent, seen) > most_ul


Rule = tuple[Callable[[Intent, PumpObservation], bool], Verdict, str]
RULES: tuple[Rule, ...] = (
    (_lost_power, "unknown", "the pump's power was interrupted: its counter proves nothing"),
    (
        lambda i, s: _moved_ul(i, s) < -0.5 * i.resolution_ul,
        "unknown",
        "the counter is lower than before",
    ),
    (lambda _, s: s.state == "alarm", "unknown", "the pump reports an alarm"),
    (lambda _, s: s.state == "withdrawing", "unknown", "the pump withdraws"),
    (lambda _, s: s.state == "paused", "unknown", "the pump is paused"),
    (_too_far, "unknown", "the counter moved further than asked"),
    (
        lambda _, s: s.state == "infusing" and s.sends == 0,
        "unknown",
        "the pump runs, though nothing was sent",
    ),
    (lambda _, s: s.state == "infusing", "running", "the pump runs"),
    (
        lambda i, s: s.sends == 0 and not _unmoved(i, s),
        "unknown",
        "the counter moved, though nothing was sent",
    ),
    (lambda i, s: s.sends == 0, "not started", "the start command never left"),
    (
        lambda i, s: _unmoved(i, s) and s.started,
        "unknown",
        "the pump confirmed the start and shows no movement",
    ),
    (
        lambda i, s: _unmoved(i, s) and s.sends >= MOST_SENDS,
        "unknown",
        "the start command was sent twice and the pump does not move",
    ),
    (
        lambda i, s: _unmoved(i, s) and s.earlier_counter_ul is None,
        "look again",
        "idle and unmoved, seen once",
    ),
    (
        lambda i, s: _unmoved(i, s) and _can_not_prove_power(i, s),
        "unknown",
        "the start command's answer was lost and nothing proves that the pump kept its power",
    ),
    (
        lambda i, s: _unmoved(i, s) and s.earlier_counter_ul == s.counter_ul,
        "not started",
        "idle and unmoved, seen twice",
    ),
    (_matches, "delivered", "the counter moved by the asked volume"),
)
"""First match decides; what matches none moved by another amount than asked."""


def reconcile(intent: Intent, seen: PumpObservation, rules: tuple[Rule, ...] = RULES) -> Reconciled:
    """Return what became of an intent, by the pump's own counter."""
    moved_ul = _moved_ul(intent, seen)
    for applies, verdict, reason in rules:
        if applies(intent, seen):
            detail = f": {seen.alarm}" if seen.alarm and seen.state == "alarm" else ""
            return Reconciled(verdict, reason + detail, moved_ul)
    return Reconciled("unknown", "the counter moved by another volume than asked", moved_ul)

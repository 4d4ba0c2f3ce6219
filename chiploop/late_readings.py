"""What a line delivered after an exposure, up to a reading that was taken under the hold that follows it.

Belongs here: the holds of a cycle as far as a reading saw them. Not here: what a calibration learns from (refit),
volumes to schedules (record.replay).

A hold still runs when its cycle is fitted, so no counter has told its volume yet. Its pump has confirmed that it
runs, and a pump that runs keeps its rate: until the reading it gave rate times hours. The same is said once the
counter has told, so that the fit made again finds the same. What was stopped, is held, silent or was never
confirmed is another matter: only its counter, or a person, says what flowed.

What is known of a hold changes while it runs on: a pump that was silent is heard again, one that ran stalls.
The first fit decides (``HoldsAsKnown``, which its event keeps), so that a run that is taken up again, and a fit
that is made again, learn from the same. A person who tells what a pump has given decides anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from chiploop.record.actions import Action, Event

NOT_YET = "nobody knows yet what it gave"
_SAME_H = 1e-9

Standing = Literal["ran", "in doubt", "told"]
"""Of a hold's pump: known to have run at its rate; nobody knows what it gave; its counter, or a person, says."""


@dataclass(frozen=True)
class HoldsAsKnown:
    """What was known of the pumps of holds when a fit judged the readings that were taken under them."""

    until_h: float
    """Study time of the last of these readings."""
    ran: tuple[str, ...]
    """Keys of the actions that were known to have run at their rate until then."""
    in_doubt: tuple[str, ...]
    """Keys of the actions of which nobody knew what they had given."""


def as_known(
    holds: Sequence[Action], time_h: float, decided: HoldsAsKnown | None = None
) -> HoldsAsKnown:
    """Return what is known of these actions of holds for readings up to a study time.

    ``decided`` is what a fit has taken for known before: it stands.
    """
    own = {
        action.intent.key: standing(action, time_h, decided)
        for action in holds
        if action.begun_h < time_h
    }
    return HoldsAsKnown(
        time_h,
        tuple(sorted(key for key, known in own.items() if known == "ran")),
        tuple(sorted(key for key, known in own.items() if known == "in doubt")),
    )


def standing(action: Action, time_h: float, decided: HoldsAsKnown | None = None) -> Standing:
    """Return what is known of a hold's pump: as a fit has decided for readings up to a study time, else by now.

    A volume that a person has told goes before what was decided.
    """
    is_settled = action.end is not None and action.end.kind == "abandoned"
    if decided is not None and time_h <= decided.until_h + _SAME_H and not is_settled:
        if action.intent.key in decided.ran:
            return "ran"
        if action.intent.key in decided.in_doubt:
            return "in doubt"
    if is_steady(action):
        return "ran"
    return "in doubt" if action.open else "told"


def holds_until(
    holds: Sequence[Action], time_h: float, decided: HoldsAsKnown | None = None
) -> list[Action]:
    """Return these actions of holds as they had gone by a study time; those that begin later are left out.

    One of which nobody knows that it ran on its own is as it stands in the journal, held where it is open, or was
    as a fit decided.
    """
    return [
        _until(action, time_h, standing(action, time_h, decided))
        for action in holds
        if action.begun_h < time_h
    ]


def _until(action: Action, time_h: float, known: Standing) -> Action:
    if known == "ran":
        rate_ul_h = action.intent.flow_rate_ul_h
        whole_h = action.intent.volume_ul / rate_ul_h
        lasted_h = min(time_h - action.begun_h, whole_h)
        given_ul = action.intent.volume_ul if lasted_h == whole_h else rate_ul_h * lasted_h
        return replace(
            action,
            held=None,
            stood_h=None if lasted_h == whole_h else time_h,
            end=_as_rate_says(action, action.begun_h + lasted_h, given_ul),
        )
    if known == "in doubt":
        return replace(action, held=action.held or NOT_YET, end=None)
    return action


def is_steady(action: Action) -> bool:
    """Return whether a pump is known to have run, or to run, at its rate and on its own."""
    if action.started_h is None or action.held is not None or action.silent_h:
        return False
    if action.stood_h is not None or action.may_run:
        return False
    return action.end is None or action.end.kind == "outcome"


def _as_rate_says(action: Action, time_h: float, given_ul: float) -> Event:
    body = {"time_h": time_h, "delivered_ul": given_ul}
    return Event(action.seq, "", action.intent.run_id, action.intent.key, "outcome", body)

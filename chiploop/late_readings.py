"""What a line delivered after an exposure, up to a reading that was taken under the hold that follows it.

Belongs here: the holds of a cycle as far as a reading saw them. Not here: what a calibration learns from (refit),
volumes to schedules (record.replay).

A hold still runs when its cycle is fitted, so no counter has told its volume yet. Its pump has confirmed that it
runs, and a pump that runs keeps its rate: until the reading it gave rate times hours. The same is said once the
counter has told, so that the fit made again finds the same. What was stopped, is held, silent or was never
confirmed is another matter: only its counter, or a person, says what flowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chiploop.record.actions import Action, Event

NOT_YET = "nobody knows yet what it gave"


def holds_until(holds: Sequence[Action], time_h: float) -> list[Action]:
    """Return these actions of holds as they had gone by a study time; those that begin later are left out.

    One of which nobody knows that it ran on its own is as it stands in the journal, held where it is open.
    """
    return [_until(action, time_h) for action in holds if action.begun_h < time_h]


def _until(action: Action, time_h: float) -> Action:
    if is_steady(action):
        rate_ul_h = action.intent.flow_rate_ul_h
        whole_h = action.intent.volume_ul / rate_ul_h
        lasted_h = min(time_h - action.begun_h, whole_h)
        given_ul = action.intent.volume_ul if lasted_h == whole_h else rate_ul_h * lasted_h
        return replace(
            action,
            stood_h=None if lasted_h == whole_h else time_h,
            end=_as_rate_says(action, action.begun_h + lasted_h, given_ul),
        )
    return replace(action, held=action.held or NOT_YET) if action.open else action


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

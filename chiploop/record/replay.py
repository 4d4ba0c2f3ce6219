"""What every chip really got, by the journal alone.

Belongs here: outcomes of pumps to schedules of chips. Not here: fits, proposals (campaign).

Every pump flows in its own time, from its start to its end; what flows together in a line is mixed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from chiploop.connections import Connection, connected, line_in, lines_that_may_feed
from chiploop.dosing import (
    MAX_END_DEVIATION,
    ChipSchedule,
    ChipSegment,
    PumpProgramme,
    delivered_segments,
)
from chiploop.record.actions import Action
from chiploop.record.journal import Journal
from chiploop.record.progress import pump_progress
from chiploop.record.stays import stayed
from chiploop.study import Study

_SLIVER_H = 1e-6
"""A shorter piece is rounding and no piece."""


@dataclass(frozen=True)
class Flow:
    """What one pump brought into its line, at a steady rate."""

    pump: str
    programme: PumpProgramme
    begin_h: float
    """Study time."""
    end_h: float
    volume_ul: float
    connection: Connection = field(default_factory=dict, hash=False)
    """As that of its action: whom the line fed."""

    def within_ul(self, begin_h: float, end_h: float) -> float:
        """Return its volume in a part of its time."""
        return self.volume_ul * (end_h - begin_h) / (self.end_h - self.begin_h)


def schedules_of(journal: Journal, study: Study, run_id: str) -> dict[str, ChipSchedule]:
    """Return chip -> schedule from the programmes whose every volume is known, in time order."""
    return schedules_by(journal.actions(run_id), study)


def schedules_by(actions: Sequence[Action], study: Study) -> dict[str, ChipSchedule]:
    """Return chip -> schedule as ``schedules_of`` does, by these actions of a run alone."""
    programmes: dict[str, list[Action]] = {}
    for action in actions:
        programmes.setdefault(action.intent.programme_key, []).append(action)
    found: dict[str, list[tuple[str, ChipSegment]]] = {chip: [] for chip in study.chip_ids}
    for line in study.lines:
        own = [p for p in programmes.values() if p[0].intent.programme.line == line.id]
        begins_h = sorted(begins_of(actions) for actions in own)
        flows: list[Flow] = []
        for actions in own:
            next_h = next((h for h in begins_h if h > begins_of(actions)), math.inf)
            flows += flows_of(actions, next_h)
        for begin_h, end_h, flowing in pieces(flows):
            volumes_ul: dict[str, float] = {}
            for flow in flowing:
                given_ul = flow.within_ul(begin_h, end_h)
                volumes_ul[flow.pump] = volumes_ul.get(flow.pump, 0.0) + given_ul
            steps = {s.pump: s for f in flowing for s in f.programme.steps if s.pump in volumes_ul}
            mixed = replace(flowing[0].programme, steps=tuple(steps.values()))
            fed = connected(study, flowing[-1].connection)
            segments = delivered_segments(fed, mixed, volumes_ul, begin_h, end_h)
            for chip, segment in segments.items():
                found[chip].append((line.id, segment))
    if study.valves:
        return stayed(study, found)
    return {
        chip: ChipSchedule(chip, tuple(segment for _, segment in own))
        for chip, own in found.items()
    }


def unknown_since(actions: Sequence[Action]) -> dict[str, float]:
    """Return line -> study time from which nobody knows what its chips got; absent where all is known."""
    since: dict[str, float] = {}
    for own in lost_programmes(actions):
        line = own[0].intent.programme.line
        since[line] = min(since.get(line, math.inf), begins_of(own))
    return since


def lost_programmes(actions: Sequence[Action]) -> list[list[Action]]:
    """Return the actions of every programme with a volume that nobody knows."""
    lost = {
        action.intent.programme_key
        for action in actions
        if (state := pump_progress(action)).state == "held"
        or (state.state == "abandoned" and not math.isfinite(state.delivered_ul))
    }
    return [[a for a in actions if a.intent.programme_key == key] for key in sorted(lost)]


def unknown_chips_since(study: Study, actions: Sequence[Action]) -> dict[str, float]:
    """Return chip -> study time from which nobody knows what it got; absent where all is known.

    That is where a volume of the line that feeds it is not known, or where nobody knows whether a line feeds
    it: then neither its own share is known nor that of the chips beside.
    """
    since: dict[str, float] = {}
    for own in lost_programmes(actions):
        for chip in fed_by(study, own[0]):
            since[chip] = min(since.get(chip, math.inf), begins_of(own))
    for action in actions:
        for chip, line_now in action.connection.items():
            if line_now is None and action.intent.programme.line in lines_that_may_feed(
                study, chip
            ):
                for one in (chip, *fed_by(study, action)):
                    since[one] = min(since.get(one, math.inf), action.begun_h)
    return since


def fed_by(study: Study, action: Action) -> tuple[str, ...]:
    """Return the chips that an action's line fed."""
    line = action.intent.programme.line
    return tuple(c for c in study.chip_ids if line_in(study, action.connection, c) == line)


def begins_of(actions: Sequence[Action]) -> float:
    """Return the study time at which the first pump of a programme began."""
    return min(action.begun_h for action in actions)


def flows_of(actions: Sequence[Action], next_h: float) -> list[Flow]:
    """Return what the pumps of a programme brought; nothing where one of the volumes is not known.

    Pumps that began and ended together but for rounding flow as one; so do the end of the programme
    and ``next_h``, the begin of the line's next one.
    """
    known_ul = [pump_progress(action).delivered_ul for action in actions]
    if any(action.open for action in actions) or not all(map(math.isfinite, known_ul)):
        return []
    programme, first_h = actions[0].intent.programme, begins_of(actions)
    slack_h = 2.0 * MAX_END_DEVIATION * programme.duration_h
    ends_h = [ended_h(action, next_h) for action in actions]
    flows = []
    for action, own_h, volume_ul in zip(actions, ends_h, known_ul, strict=True):
        begin_h = first_h if action.begun_h - first_h <= slack_h else action.begun_h
        end_h = max(other_h for other_h in ends_h if other_h - own_h <= slack_h)
        if begin_h < next_h < end_h <= next_h + slack_h:
            end_h = next_h
        if end_h > begin_h:
            flow = Flow(action.intent.pump, programme, begin_h, end_h, volume_ul, action.connection)
            flows.append(flow)
    return flows


def ended_h(action: Action, next_h: float) -> float:
    """Return the study time at which a pump ended: at its target, or where it was stopped before.

    What a person told ended where the person gave it up, or at ``next_h``, where the line got its
    next programme, if the volume was through by then.
    """
    assert action.end is not None, action.intent.key
    rate_ul_h, given_ul = action.intent.flow_rate_ul_h, float(action.end.body["delivered_ul"])
    through_h = action.begun_h + given_ul / rate_ul_h
    target_h = ended_h = action.begun_h + action.intent.volume_ul / rate_ul_h
    if action.stood_h is not None:
        ended_h = min(ended_h, action.stood_h)
    if action.end.kind == "abandoned":
        ended_h = min(ended_h, float(action.end.body["time_h"]), max(through_h, next_h))
    return max(ended_h, min(through_h, target_h))  # no pump is faster than its rate


def pieces(flows: Sequence[Flow]) -> Iterator[tuple[float, float, list[Flow]]]:
    """Yield (begin, end, what flows) for every stretch in which the same pumps flow, in time order."""
    corners_h = sorted({corner_h for flow in flows for corner_h in (flow.begin_h, flow.end_h)})
    for begin_h, end_h in pairwise(corners_h):
        flowing = [f for f in flows if f.begin_h <= begin_h and end_h <= f.end_h]
        if flowing and end_h - begin_h > _SLIVER_H:
            yield begin_h, end_h, flowing

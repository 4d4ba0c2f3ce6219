"""What every chip really got, by the journal alone.

Belongs here: outcomes of pumps to schedules of chips. Not here: fits, proposals (campaign).
"""

from __future__ import annotations

from chiploop.dosing import ChipSchedule, delivered_segments
from chiploop.record.actions import Action
from chiploop.record.journal import Journal
from chiploop.record.progress import programme_progress
from chiploop.study import Study


def schedules_of(journal: Journal, study: Study, run_id: str) -> dict[str, ChipSchedule]:
    """Return chip -> schedule from the programmes whose every volume is known, in time order.

    A programme ends where its pumps reached their targets, or where a person gave it up; and in any case
    where the next one of its line began.
    """
    keys = dict.fromkeys(action.intent.programme_key for action in journal.actions(run_id))
    all_of = sorted((programme_progress(journal, key) for key in keys), key=lambda p: p.begins_h)
    schedules = {chip: ChipSchedule(chip) for chip in study.chip_ids}
    for i, progress in enumerate(all_of):
        if not progress.known:
            continue
        line = progress.programme.line
        later = [other.begins_h for other in all_of[i + 1 :] if other.programme.line == line]
        ended = max(stopped_h(action) for action in journal.programme(progress.programme_key))
        ends_h = min([ended, *later])
        if not ends_h > progress.begins_h:
            continue
        segments = delivered_segments(
            study, progress.programme, progress.delivered_ul, progress.begins_h, ends_h
        )
        for chip, segment in segments.items():
            schedules[chip] = schedules[chip].with_segment(segment)
    return schedules


def stopped_h(action: Action) -> float:
    """Return the study time at which a pump reached its target volume, or was given up before."""
    begun_h = action.sent_h[-1] if action.sent_h else action.intent.time_h
    ends_h = begun_h + action.intent.volume_ul / action.intent.flow_rate_ul_h
    if action.end is not None and action.end.kind == "abandoned":
        return min(ends_h, float(action.end.body["time_h"]))
    return ends_h

"""What every chip really got, by the journal alone.

Belongs here: outcomes of pumps to schedules of chips. Not here: fits, proposals (campaign).
"""

from __future__ import annotations

from chiploop.dosing import ChipSchedule, delivered_segments
from chiploop.record.journal import Journal
from chiploop.record.progress import programme_progress
from chiploop.study import Study


def schedules_of(journal: Journal, study: Study, run_id: str) -> dict[str, ChipSchedule]:
    """Return chip -> schedule from the programmes whose every volume is known, in time order."""
    keys = dict.fromkeys(action.intent.programme_key for action in journal.actions(run_id))
    finished = [p for p in (programme_progress(journal, key) for key in keys) if p.known]
    schedules = {chip: ChipSchedule(chip) for chip in study.chip_ids}
    for progress in sorted(finished, key=lambda p: p.begins_h):
        segments = delivered_segments(
            study, progress.programme, progress.delivered_ul, progress.begins_h, progress.ends_h
        )
        for chip, segment in segments.items():
            schedules[chip] = schedules[chip].with_segment(segment)
    return schedules

"""The end of a run: the hidden truth of a simulated one on record, the summary, the report.

Belongs here: what is done once the flow has ended. Not here: what the report shows (chiploop.report).
"""

from __future__ import annotations

from typing import Any

from chiploop.report.run_summary import plain, summarise
from flows.clock import VirtualClock
from flows.fault_points import reached
from flows.laboratory import Laboratory
from flows.record_place import place_of


def end_run(lab: Laboratory, wall_s: float) -> dict[str, Any]:
    """Return the summary of a run with the paths of its report and record."""
    if isinstance(lab.clock, VirtualClock):
        truth = lab.clock.control.call("truth")
        goals = {name: plain(value) for name, value in truth["goals"].items()}
        lab.record.add_event(
            lab.run_id,
            "truth",
            lab.clock.now_h(),
            {"goals": goals, "model": truth["model"]},
            key="truth",
        )
        reached("truth_recorded")
    lab.say(lab.study.timeline.cycles, "writing the report")
    summary = summarise(lab.record, lab.journal, lab.study, lab.run_id)
    summary["wall_s"] = round(wall_s, 2)
    try:
        summary["report"] = str(write(lab))
    except OSError as trouble:  # the study is done; its record is what counts
        said = f"the report can not be written ({trouble.strerror or trouble})"
        lab.say(lab.study.timeline.cycles, f"{said}; the record has everything")
        summary["report"] = ""
    reached("report_written")
    place = place_of(lab.folder.parent)
    summary["record"] = place.shown if place.file is None else str(place.file)
    summary["journal"] = str(lab.journal.path)
    return summary


def write(lab: Laboratory) -> Any:
    """Write the report and return its path."""
    from chiploop.report.html_report import write_report

    return write_report(lab.record, lab.journal, lab.study, lab.run_id, lab.folder)

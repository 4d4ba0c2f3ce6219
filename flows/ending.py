"""The end of a run: the hidden truth of a simulated one on record, the summary, the report.

Belongs here: what is done once the flow has ended. Not here: what the report shows (chiploop.report).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from chiploop.report.run_summary import plain, summarise
from flows.clock import VirtualClock
from flows.fault_points import reached
from flows.laboratory import Laboratory
from flows.patients_at_hand import patient_at_hand
from flows.record_place import place_of

if TYPE_CHECKING:
    from chiploop.report.patient_part import PatientPart


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
        path, patients = write(lab)
        summary["report"] = str(path)
        if patients:
            summary["patients"] = [facts_of_patient(part) for part in patients]
    except OSError as trouble:  # the study is done; its record is what counts
        said = f"the report can not be written ({trouble.strerror or trouble})"
        lab.say(lab.study.timeline.cycles, f"{said}; the record has everything")
        summary["report"] = ""
    reached("report_written")
    place = place_of(lab.folder.parent)
    summary["record"] = place.shown if place.file is None else str(place.file)
    summary["journal"] = str(lab.journal.path)
    return summary


def write(lab: Laboratory) -> tuple[Path, list[PatientPart]]:
    """Write the report; return its path, and what it says of each patient."""
    from chiploop.report.html_report import FILE, RunEvidence, page, write_page

    evidence = RunEvidence(
        lab.record, lab.journal, lab.study, lab.run_id, lab.folder, patient_at_hand
    )
    path = Path(lab.folder) / FILE
    write_page(page(evidence), path)
    return path, evidence.patients


def facts_of_patient(part: PatientPart) -> dict[str, Any]:
    """Return what the end of a run says of a patient; none of it goes on record."""
    forecasts = () if part.told is None else part.told.forecasts
    return {
        "patient": part.patient,
        "donor": part.donor,
        "drugs": [
            {
                "name": one.name,
                "improvement_pct": dict(
                    zip(("low", "median", "high"), one.improvement_pct, strict=True)
                ),
                "EASI75_probability": one.easi75_probability,
                "potency": one.potency,
            }
            for one in forecasts
        ],
        "problem": part.problem,
        "research_use_only": True,
    }

"""Named points at which a crash test ends this process, as ``kill -9`` would.

Belongs here: the points between the steps of a run; those of a delivery are in instruments.fault_points, those
within one write in chiploop.fault_points.
"""

from __future__ import annotations

from chiploop.fault_points import Place, die_if_named

OPENING_FAULT_POINTS: dict[str, Place] = {
    "folder_made": Place("an empty folder", "there is no run to take up: it is started anew"),
    "study_frozen": Place(
        "a folder with frozen study and model", "there is no run to take up: it is started anew"
    ),
    "file_drafted": Place(
        "a draft of a file of the run (its seed, the virtual lab's settings) beside its place",
        "before the run's own file is there it is started anew, later the file is written",
    ),
    "run_described": Place("a run's folder; no record, no journal", "the run is begun"),
    "run_owned": Place("a folder with the mark of a dead owner", "owned by the next process"),
    "record_opened": Place("a record that has tables and not the run", "the run is added"),
    "journal_opened": Place("an empty journal", "the run is added to the record"),
    "lab_opened": Place("settings of the bench; the run not on record", "the run is added"),
    "run_on_record": Place("the run on record, no port open", "the bench is opened"),
    "bench_opened": Place("pumps that were met; a run without a state", "the run goes on"),
}
"""From the command to an open bench."""
FLOW_FAULT_POINTS: dict[str, Place] = {
    "run_begun": Place("a run that says `running`, nothing proposed", "the pilot is proposed"),
    "proposal_recorded": Place("a proposal and its card, nobody asked", "the same proposal stands"),
    "decision_recorded": Place("an approved proposal, nothing begun", "its doses are begun"),
    "proposal_asked": Place("a proposal that was put to people", "not asked a second time"),
    "person_waited_for": Place("a run that waits for a person", "it waits on for the same word"),
    "decision_seen": Place("an approval that nobody has acted on", "the approved doses are begun"),
    "on_hold": Place("a run that a person holds", "it stays on hold until a person lets it go on"),
    "hold_lifted": Place("a hold that has ended, the run's state says `on hold`", "it goes on"),
    "line_started": Place("one line perfused, others not yet", "the others are started in time"),
    "part_due": Place("a line between two parts of its dose", "the next part begins, once"),
    "line_finished": Place("outcomes of one line, others open", "the others are read"),
    "line_left_out": Place(
        "a line that is on record as left out of a phase, and stands", "plain medium is begun"
    ),
    "plain_wanted": Place(
        "a line that lost its programme, plain medium not begun", "plain medium is begun, once"
    ),
    "stimulus_stopped": Place(
        "a stimulus that was stopped for plain medium, which is not begun", "plain medium is begun"
    ),
    "plain_started": Place("a line on plain medium in place of its programme", "adopted"),
    "supervisor_stopped": Place(
        "drug that the supervisor stopped, plain medium not begun",
        "the supervisor begins it at its next look, or the run in place of the dose",
    ),
    "spectrum_read": Place("a spectrum that was measured and not kept", "it is measured again"),
    "raw_file_stored": Place("raw bytes in the store, not on record", "put on record, once"),
    "spectrum_kept": Place(
        "spectra of some chips on record, no readout", "all chips are measured; readouts once"
    ),
    "hands_waited_for": Place(
        "samples taken or to be taken, a run that waits for hands with flow",
        "it waits on, with flow",
    ),
    "hand_said": Place(
        "what hands did, or that they are late, on record and not acted on", "it is acted on, once"
    ),
    "plate_asked": Place("a plate in the reader, nothing read", "the same plate is read"),
    "absorbance_read": Place("a plate that was read and not kept", "it is read again"),
    "plate_read": Place("absorbances on record, no readout", "read again, readouts once"),
    "plate_noted": Place("a plate with label and deadline, nobody asked", "it is asked for"),
    "plate_sent": Place("a plate that is read elsewhere", "the same file is waited for"),
    "file_kept": Place("a file that was taken and not used", "used from the store"),
    "readouts_recorded": Place("readouts on record, others to come", "read on"),
    "posterior_written": Place("a posterior, no calibration on record", "the fit is made again"),
    "calibration_recorded": Place("a calibration, nothing proposed", "it is taken from its file"),
    "stop_rule_told": Place("the reason for the end on record", "the study ends"),
    "predictions_kept": Place("what doses would do, no proposal on record", "the same proposal"),
    "outlook_recorded": Place("the outlook of a run that says `running`", "the run is finished"),
    "run_finished": Place("a finished run without truth and report", "they are written"),
    "truth_recorded": Place("the hidden truth, no report", "the report is written"),
    "report_written": Place("the report, bench and mirror still open", "nothing is left to do"),
    "run_closed": Place("all there is, nothing said at the terminal", "it is said"),
    "pump_settled": Place("a person's word on a held pump, not answered", "the word stands"),
}
"""In the order of a cycle; the last ones of its end and of people's commands."""
FILE_FAULT_POINTS = ("plate_noted", "plate_sent", "file_kept")
"""Of a plate that is read elsewhere: its label and deadline are on record, it was asked for, its file is kept."""


def reached(point: str) -> None:
    """Die here where ``CHIPLOOP_FAULT`` names this point; KeyError for a name that is not listed."""
    if point not in FLOW_FAULT_POINTS and point not in OPENING_FAULT_POINTS:
        raise KeyError(f"{point} is no fault point; add it to FLOW_FAULT_POINTS")
    die_if_named(point)

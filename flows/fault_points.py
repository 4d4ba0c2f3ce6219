"""Named points at which a crash test ends this process, as ``kill -9`` would.

Belongs here: the points between the steps of a flow; those of a delivery are in instruments.fault_points.
"""

from __future__ import annotations

from instruments.fault_points import die_if_named

FLOW_FAULT_POINTS = (
    "line_started",
    "line_finished",
    "plate_read",
    "readouts_recorded",
    "posterior_written",
    "proposal_recorded",
    "decision_recorded",
)
"""In the order of a cycle."""
FILE_FAULT_POINTS = ("plate_noted", "plate_sent", "file_kept")
"""Of a plate that is read elsewhere: its label and deadline are on record, it was asked for, its file is kept."""


def reached(point: str) -> None:
    """Die here where ``CHIPLOOP_FAULT`` names this point; KeyError for a name that is not listed."""
    if point not in (*FLOW_FAULT_POINTS, *FILE_FAULT_POINTS):
        raise KeyError(f"{point} is no fault point; add it to FLOW_FAULT_POINTS")
    die_if_named(point)

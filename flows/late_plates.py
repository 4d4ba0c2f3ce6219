"""Plates that a person said will come later: the study goes on, and learns from them once they are there.

Belongs here: which those are, by the record. Not here: their files (awaited_files), what they are expected to say
(chiploop.pending_readings), the command (cli.lost).
"""

from __future__ import annotations

from dataclasses import dataclass

from chiploop.record.record import Record

LATE = "plate comes later"
"""Kind of event on record."""
LOST = "plate lost"
NOTED = "plate sent away"


@dataclass(frozen=True)
class LatePlate:
    """A plate that is on its way while the study goes on."""

    plate_id: str
    cycle: int
    """Whose effluent stands on it."""
    assay: str
    """As the study names it."""
    window_h: tuple[float, float]
    """Study time from which to which the effluent was collected."""


def late_plates(record: Record, run_id: str) -> tuple[LatePlate, ...]:
    """Return the plates that are still to come, in the order in which they were said to."""
    said = [event.content["plate"] for event in record.events(run_id, LATE)]
    if not said:
        return ()
    sent = {event.content["plate"]: event.content for event in record.events(run_id, NOTED)}
    gone = {event.content["plate"] for event in record.events(run_id, LOST)}
    gone |= {readout.plate for readout in record.readouts(run_id)}
    return tuple(
        LatePlate(
            plate,
            int(sent[plate]["cycle"]),
            str(sent[plate]["assay"]),
            (float(sent[plate]["window_h"][0]), float(sent[plate]["window_h"][1])),
        )
        for plate in said
        if plate not in gone
    )

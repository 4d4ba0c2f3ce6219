"""Were the readings of an exposure what the card of its doses had foretold?

Belongs here: predictions beside what was read. Not here: making predictions (proposal_predictions), the card
(proposal_card).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from chiploop.measurement import Readout
from chiploop.proposal_predictions import PredictedReading
from chiploop.record.actions import Action


def predictions_held(
    readouts: Sequence[Readout], last: Sequence[PredictedReading]
) -> tuple[int, int]:
    """Return how many predicted readings lay inside their 90 % band, and how many were read.

    A reading belongs to the prediction of its chip and readout that is nearest in time within an hour. Censored
    readings count as inside where their bounds meet the band; failed ones are left out.
    """
    inside = count = 0
    for reading in readouts:
        if reading.qc == "fail":
            continue
        own = [
            one
            for one in last
            if (one.chip, one.readout) == (reading.chip_id, reading.readout)
            and abs(one.time_h - reading.time_h) <= 1.0
        ]
        if not own:
            continue
        one = min(own, key=lambda each: abs(each.time_h - reading.time_h))
        count += 1
        if reading.censoring == "none":
            inside += one.outer[0] <= reading.value <= one.outer[1]
        else:
            low = -np.inf if reading.lower is None else reading.lower
            high = np.inf if reading.upper is None else reading.upper
            inside += low <= one.outer[1] and high >= one.outer[0]
    return int(inside), count


def dose_begun_h(actions: Sequence[Action], cycle: int) -> float | None:
    """Return when a cycle's first dose began, by the journal; None where none did."""
    begun = [
        action.begun_h
        for action in actions
        if action.intent.programme_key.rsplit("/", 3)[1::2] == [f"c{cycle:02d}", "dose"]
        and action.sent_h
    ]
    return min(begun, default=None)


def as_given(
    predicted: Sequence[PredictedReading], planned_h: float, begun_h: float | None
) -> tuple[PredictedReading, ...]:
    """Return predictions at the times that follow from when their exposure really began."""
    later_h = 0.0 if begun_h is None else begun_h - planned_h
    return tuple(
        replace(
            one,
            time_h=one.time_h + later_h,
            window_start_h=None if one.window_start_h is None else one.window_start_h + later_h,
        )
        for one in predicted
    )

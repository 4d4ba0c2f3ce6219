"""The textbook's design: vehicle and seven doses evenly on a log scale, line by line in turn. A baseline.

Belongs here: that grid. Where it has gone round, or how far, is the table's ``turn``.
"""

from __future__ import annotations

import numpy as np

from chiploop.policies.dose_choice import nearest, span_nm
from chiploop.policies.nested_information import NestedMonteCarlo
from chiploop.policies.prediction_table import Batch, PredictionTable
from chiploop.policies.scored_batch import scored_batch

DOSES = 8
"""With the vehicle."""


def log_grid(table: PredictionTable, rng: np.random.Generator) -> Batch:
    """Return the next doses of the grid over what is allowed on each line.

    Raises ValueError where a line has no allowed candidate.
    """
    table = table.predictable()
    chosen = []
    for line in range(len(table.lines)):
        span = span_nm(table, line)
        step = (table.turn * len(table.lines) + line) % DOSES
        if span is None or step == 0:
            dose_nm = 0.0
        else:
            dose_nm = float(np.geomspace(*span, DOSES - 1)[step - 1])
        chosen.append(nearest(table, line, dose_nm))
    return scored_batch(table, chosen, NestedMonteCarlo(table, rng))

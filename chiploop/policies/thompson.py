"""Treating more than learning: each line draws a posterior draw and gets the allowed dose nearest to its goal.

Belongs here: that draw. It goes for the target and soon stops learning; never a default.
"""

from __future__ import annotations

import numpy as np

from chiploop.policies.dose_choice import nearest
from chiploop.policies.nested_information import NestedMonteCarlo
from chiploop.policies.prediction_table import Batch, PredictionTable
from chiploop.policies.scored_batch import scored_batch


def thompson(table: PredictionTable, rng: np.random.Generator) -> Batch:
    """Return for each line the allowed dose nearest to the goal of one draw, bounded by what is allowed.

    Raises ValueError where a line has no allowed candidate, or the goal is not a dose.
    """
    table = table.predictable()
    if not table.goal_is_dose:
        raise ValueError(
            "thompson gives the dose nearest to the goal, and the leading goal is not a concentration; "
            "let a concentration lead, or choose goal_information"
        )
    drawn = rng.integers(len(table.goal), size=len(table.lines))
    chosen = [
        nearest(table, line, float(np.exp(table.goal[draw]))) for line, draw in enumerate(drawn)
    ]
    return scored_batch(table, chosen, NestedMonteCarlo(table, rng))

"""Doses at random: log-uniform over what is allowed, and one vehicle in eight. A baseline.

Belongs here: that draw. Where the study has schedules, which one is drawn as well.
"""

from __future__ import annotations

import numpy as np

from chiploop.policies.dose_choice import nearest, span_nm
from chiploop.policies.nested_information import NestedMonteCarlo
from chiploop.policies.prediction_table import Batch, PredictionTable
from chiploop.policies.scored_batch import scored_batch

VEHICLE_SHARE = 1.0 / 8.0


def uniform_random(table: PredictionTable, rng: np.random.Generator) -> Batch:
    """Return a random allowed dose per line; of several candidates that were asked for that dose, by whatever
    schedule, any one.

    Raises ValueError where a line has no allowed candidate.
    """
    table = table.predictable()
    options = table.options()
    chosen = []
    for line in range(len(table.lines)):
        is_vehicle, height = rng.random() < VEHICLE_SHARE, rng.random()
        span = span_nm(table, line)
        dose_nm = 0.0
        if span is not None and not is_vehicle:
            dose_nm = float(np.exp(np.interp(height, [0.0, 1.0], np.log(span))))
        doses = np.array([programme.asked_nm for programme in table.programmes[line]])
        same = options[line][doses[options[line]] == doses[nearest(table, line, dose_nm)]]
        chosen.append(int(rng.choice(same)))
    return scored_batch(table, chosen, NestedMonteCarlo(table, rng))

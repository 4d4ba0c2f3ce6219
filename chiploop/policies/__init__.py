"""Which doses to give next. One file a policy; all take a table and give a batch of allowed candidates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chiploop.policies.d_optimal import d_optimal
from chiploop.policies.goal_information import goal_information
from chiploop.policies.log_grid import log_grid
from chiploop.policies.prediction_table import Batch, PredictionTable
from chiploop.policies.thompson import thompson
from chiploop.policies.uniform_random import uniform_random
from chiploop.policies.value_of_information import value_of_information

Policy = Callable[[PredictionTable, np.random.Generator], Batch]

POLICIES: dict[str, Policy] = {
    "goal_information": goal_information,
    "value_of_information": value_of_information,
    "thompson": thompson,
    "d_optimal": d_optimal,
    "log_grid": log_grid,
    "uniform_random": uniform_random,
}
"""``own_doses`` makes one more, of doses that a person asks for."""

"""Which doses to give next. One file a policy; all take a prediction table and give a batch."""

from __future__ import annotations

from collections.abc import Callable

from chiploop.policies.goal_information import goal_information
from chiploop.policies.prediction_table import Batch, PredictionTable

Policy = Callable[[PredictionTable], Batch]

POLICIES: dict[str, Policy] = {"goal_information": goal_information}

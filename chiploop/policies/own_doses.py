"""A person's own doses, measured like any policy's: what they would teach stands beside them.

Belongs here: finding the candidates that were asked for, and saying what is not among them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from chiploop.policies.nested_information import NestedMonteCarlo
from chiploop.policies.prediction_table import Batch, PredictionTable
from chiploop.policies.scored_batch import scored_batch
from chiploop.study_schedules import WHOLE


def own_doses(
    asked_nm: Mapping[str, float],
    schedules: Mapping[str, str] | None = None,
) -> Callable[[PredictionTable, np.random.Generator], Batch]:
    """Return a policy that gives each line the dose asked for, line -> nM, by the schedule that is named for it
    (line -> name); for the whole exposure where none is.

    The policy raises ValueError that names every line without a dose, unknown line and dose that is not allowed,
    with those that are.
    """

    def policy(table: PredictionTable, rng: np.random.Generator) -> Batch:
        table = table.predictable()
        options = table.options()
        problems = [
            f"line {line} is not dosed here" for line in asked_nm if line not in table.lines
        ]
        chosen = []
        for line, name in enumerate(table.lines):
            if name not in asked_nm:
                problems.append(f"line {name} was given no dose")
                continue
            wanted = asked_nm[name]
            schedule = WHOLE if wanted == 0.0 else (schedules or {}).get(name, WHOLE)
            programmes = table.programmes[line]
            own = [
                k
                for k in options[line]
                if programmes[k].schedule == schedule or programmes[k].asked_nm == 0.0
            ]
            found = [k for k in own if math.isclose(programmes[k].asked_nm, wanted)]
            if found:
                chosen.append(int(found[0]))
                continue
            able = ", ".join(f"{dose:g}" for dose in sorted({programmes[k].asked_nm for k in own}))
            by = "" if schedule == WHOLE else f" by {schedule}"
            problems.append(f"{wanted:g} nM{by} is not allowed on {name}; allowed are {able} nM")
        if problems:
            raise ValueError("; ".join(problems))
        return scored_batch(table, chosen, NestedMonteCarlo(table, rng))

    return policy

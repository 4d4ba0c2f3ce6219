"""A person's own doses, measured like any policy's: what they would teach stands beside them.

Belongs here: finding the candidates that were asked for, and saying what is not among them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from chiploop.exposure import ExposureProgramme
from chiploop.policies.nested_information import NestedMonteCarlo
from chiploop.policies.prediction_table import Batch, PredictionTable
from chiploop.policies.scored_batch import scored_batch
from chiploop.study_schedules import STIMULUS, WHOLE


def by_schedule(
    programmes: Sequence[ExposureProgramme], places: Iterable[int], schedule: str
) -> list[int]:
    """Return those of some candidates that go by a schedule; what has no drug by every one of its stimulus."""
    usual = (
        STIMULUS if schedule == WHOLE else None
    )  # a schedule that the line has no candidate of is nobody's
    arm = next((one.arm for one in programmes if one.schedule == schedule), usual)
    return [
        k
        for k in places
        if programmes[k].schedule == schedule
        or (programmes[k].asked_nm == 0.0 and programmes[k].arm == arm)
    ]


def with_dose(
    programmes: Sequence[ExposureProgramme], places: Iterable[int], dose_nm: float
) -> int | None:
    """Return the first of some candidates that was asked for as this dose; None where none was."""
    found = (k for k in places if math.isclose(programmes[k].asked_nm, dose_nm, rel_tol=1e-9))
    return next(found, None)


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
            schedule = (schedules or {}).get(name, WHOLE)
            programmes = table.programmes[line]
            own = by_schedule(programmes, options[line].tolist(), schedule)
            found = with_dose(programmes, own, wanted)
            if found is not None:
                chosen.append(found)
                continue
            able = ", ".join(f"{dose:g}" for dose in sorted({programmes[k].asked_nm for k in own}))
            by = "" if schedule == WHOLE else f" by {schedule}"
            problems.append(f"{wanted:g} nM{by} is not allowed on {name}; allowed are {able} nM")
        if problems:
            raise ValueError("; ".join(problems))
        return scored_batch(table, chosen, NestedMonteCarlo(table, rng))

    return policy

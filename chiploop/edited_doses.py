"""A person's own doses: what speaks against each of them, told whole and before anything is decided.

Belongs here: the refusal. Not here: what a dose must meet (safety, toxicity_closures), what a batch must meet
(batch_safety), what the doses would teach (policies.own_doses).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from chiploop.dosing import RefusedDose
from chiploop.errors import SafetyRefusal, WrongUse
from chiploop.policies.own_doses import by_schedule, with_dose
from chiploop.policies.prediction_table import PredictionTable
from chiploop.study_schedules import WHOLE


def refuse_edit(
    table: PredictionTable,
    own_nm: Mapping[str, float],
    refused: Sequence[RefusedDose],
    schedules: Mapping[str, str] | None = None,
) -> None:
    """Raise SafetyRefusal that says of every dose of a person why it may not be given.

    ``schedules`` (line -> name) as ``policies.own_doses`` has them.

    WrongUse for a line that gets no dose in this cycle, or one that was given none.
    """
    unknown = [line for line in own_nm if line not in table.lines]
    missing = [line for line in table.lines if line not in own_nm]
    if unknown or missing:
        raise WrongUse(
            "; ".join(
                [
                    *(f"line {line} is not dosed in this cycle" for line in unknown),
                    *(f"line {line} was given no dose" for line in missing),
                ]
            )
            + f". Lines are {', '.join(table.lines)}; nothing was changed"
        )
    problems = []
    for i, line in enumerate(table.lines):
        programmes = table.programmes[i]
        by = (schedules or {}).get(line, WHOLE)
        ways = by_schedule(programmes, range(len(programmes)), by)
        at = with_dose(programmes, ways, own_nm[line])
        if at is not None and table.allowed[i][at]:
            continue
        why = [
            one.reason.removeprefix(f"line {line}: ")
            for one in refused
            if (one.line, one.schedule) == (line, by)
            and math.isclose(one.asked_nm, own_nm[line], rel_tol=1e-9)
        ]
        able = (
            ", ".join(f"{programmes[k].asked_nm:g}" for k in ways if table.allowed[i][k]) or "none"
        )
        how = "" if by == WHOLE else f" by {by}"
        problems.append(
            f"{own_nm[line]:g} nM{how} on {line}: {'; '.join(why) or 'not allowed'}. Of those looked at, "
            f"{able} nM may be given there"
        )
    if problems:
        raise SafetyRefusal("; ".join(problems) + ". Nothing was changed")

"""What else could be given: a few batches that differ, each with what it would cost in information.

Belongs here: which alternatives a person is shown. Not here: how a batch is chosen (policies), the card
(proposal_card).

Whoever picks among batches that are near the best loses next to nothing; so near-ties are named as ties.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from chiploop.batch_safety import is_safe
from chiploop.campaign_values import Campaign
from chiploop.policies.dose_choice import nearest, span_nm
from chiploop.policies.goal_information import TIE_ERRORS
from chiploop.policies.linear_gaussian import LinearGaussian
from chiploop.policies.nested_information import NestedMonteCarlo
from chiploop.policies.prediction_table import PredictionTable

SEED = 61
"""Of the noise with which alternatives are compared: the same for all of them, so that differences are sharp."""
OTHER_FOLD = 2.0
"""Factor by which a dose must differ for a batch to count as another one."""


@dataclass(frozen=True)
class Alternative:
    """Another batch."""

    name: str
    doses_nm: Mapping[str, float]
    """Line -> asked dose; empty where nothing is given."""
    information_nats: float
    loss_nats: float
    """Against what is proposed."""
    is_tie: bool
    highest_risk: float
    """Of a line of the batch."""
    schedules: Mapping[str, str] = field(default_factory=dict)
    """Line -> schedule."""
    loss_error_nats: float = 0.0
    """Monte Carlo standard error of the loss."""


def alternatives_of(
    campaign: Campaign,
    table: PredictionTable,
    chosen: Mapping[int, int],
    batch_nats: float | None = None,
) -> tuple[Alternative, ...]:
    """Return up to four other batches that may be given as they are, the most informative first, and to stop.

    ``batch_nats`` is what the chosen batch was said to teach; losses are taken from it, so that all numbers agree.

    Raises ValueError where a line has no allowed candidate.
    """
    screen = LinearGaussian(table)
    measure = NestedMonteCarlo(table.predictable(), np.random.default_rng(SEED))
    own = measure.information(dict(chosen))
    best = own.nats if batch_nats is None else batch_nats
    wanted: list[tuple[str, dict[int, int] | None]] = [
        ("other doses", other_doses(table, screen, chosen)),
        ("the last doses again", nearest_batch(table, chosen, last_doses(campaign))),
        ("log-spaced doses", log_spaced(table, chosen)),
        ("vehicle alone", vehicle_alone(table, chosen)),
    ]
    found: list[Alternative] = []
    seen = {tuple(sorted(chosen.items()))}
    for name, batch in wanted:
        if batch is None or tuple(sorted(batch.items())) in seen:
            continue
        seen.add(tuple(sorted(batch.items())))
        if not is_safe(campaign.study, table, batch):
            continue
        loss = own - measure.information(batch)
        doses, by = table.asked(batch)
        risk = max(float(table.risk[i][k]) for i, k in batch.items())
        is_tie = abs(loss.nats) <= TIE_ERRORS * loss.error_nats
        told = (best - loss.nats, loss.nats, is_tie, risk, by, loss.error_nats)
        found.append(Alternative(name, doses, *told))
    found.sort(key=lambda one: -one.information_nats)
    is_idle = best <= TIE_ERRORS * own.error_nats
    return (*found, Alternative("stop now", {}, 0.0, best, is_idle, 0.0))


def other_doses(
    table: PredictionTable, measure: LinearGaussian, chosen: Mapping[int, int]
) -> dict[int, int] | None:
    """Return the most informative batch in which every line with drug differs; None where none can.

    Line by line, as the batch itself is built.
    """
    batch = dict(chosen)
    differs = False
    for i, k in sorted(chosen.items()):
        own = table.programmes[i][k].asked_nm
        options = [
            j
            for j in np.flatnonzero(table.allowed[i])
            if is_other(own, table.programmes[i][j].asked_nm)
        ]
        if own > 0.0 and options:
            batch[i] = int(max(options, key=lambda j: measure.information({**batch, i: int(j)})))
            differs = True
    return batch if differs else None


def is_other(one_nm: float, other_nm: float) -> bool:
    """Return whether two doses are worlds apart for a person."""
    if one_nm == 0.0 or other_nm == 0.0:
        return one_nm != other_nm
    return max(one_nm / other_nm, other_nm / one_nm) >= OTHER_FOLD


def last_doses(campaign: Campaign) -> dict[str, float]:
    """Return line -> the last dose that its chips got, 0 where they got none."""
    found = {}
    for line in campaign.study.lines:
        given = [
            segment.drug_nm
            for chip in line.chips
            for segment in campaign.schedules[chip].segments
            if segment.drug_nm > 0.0
        ]
        found[line.id] = given[-1] if given else 0.0
    return found


def nearest_batch(
    table: PredictionTable, chosen: Mapping[int, int], wanted_nm: Mapping[str, float]
) -> dict[int, int]:
    """Return the batch of allowed candidates nearest to doses, line -> nM."""
    return {i: nearest(table, i, wanted_nm[table.lines[i]]) for i in chosen}


def vehicle_alone(table: PredictionTable, chosen: Mapping[int, int]) -> dict[int, int] | None:
    """Return the batch without drug; None where a line must not go without."""
    batch = nearest_batch(table, chosen, dict.fromkeys(table.lines, 0.0))
    return None if any(table.dose_nm(i)[k] > 0.0 for i, k in batch.items()) else batch


def log_spaced(table: PredictionTable, chosen: Mapping[int, int]) -> dict[int, int] | None:
    """Return the vehicle and doses spread evenly over the logarithm of what every line may get."""
    spans = [span for i in chosen if (span := span_nm(table, i)) is not None]
    if len(spans) < len(chosen):
        return None
    lowest, highest = max(low for low, _ in spans), min(high for _, high in spans)
    doses = [0.0, *np.geomspace(lowest, highest, len(chosen))[1:]]
    wanted = {table.lines[i]: float(nm) for i, nm in zip(sorted(chosen), doses, strict=True)}
    return nearest_batch(table, chosen, wanted)

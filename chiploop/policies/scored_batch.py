"""A choice of candidates with the numbers that are shown beside it: the same for every policy.

Belongs here: information of the batch and of each line in it. Not here: choosing.
"""

from __future__ import annotations

from collections.abc import Sequence

from chiploop.policies.nested_information import NestedMonteCarlo
from chiploop.policies.prediction_table import Batch, LineChoice, PredictionTable, Tie


def scored_batch(
    table: PredictionTable,
    candidates: Sequence[int],
    measure: NestedMonteCarlo,
    ties: tuple[Tie, ...] = (),
    note: str = "",
) -> Batch:
    """Return the batch of one candidate per line, measured by nested Monte Carlo."""
    chosen = {line: int(k) for line, k in enumerate(candidates)}
    whole = measure.information(chosen)
    choices = []
    for line, k in chosen.items():
        rest = measure.information({other: c for other, c in chosen.items() if other != line})
        choices.append(LineChoice(table.lines[line], k, whole.nats - rest.nats))
    return Batch(tuple(choices), whole.nats, whole.error_nats, ties, note)

"""Which of several drugs is the best, from draws of what each is judged by.

Belongs here: the comparison of numbers. Not here: what a drug is judged by (goals), when the answer is known well
enough (stopping).

In one draw the best drug is the one with the best value; equals share it. The two drugs that are most often the
best are compared: how many times better the first is than the second, so that ln of it is a difference and 1
means alike. Which two these are hangs on the draws: with three drugs and more it may change from cycle to cycle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Comparison:
    """Drugs compared."""

    best: Mapping[str, float]
    """Drug -> share of the draws in which it is the best; 1 in all."""
    pair: tuple[str, str]
    """The two that lead, the better one first; of those that are equally often the best, the better
    in the middle."""
    ratio: np.ndarray
    """(n,) how many times better the first of the pair is than the second."""


def compared(
    values: Mapping[str, np.ndarray],
    higher_is_better: bool,
    pair: tuple[str, ...] = (),
) -> Comparison:
    """Return the comparison of drugs by finite values (n,) above zero.

    ``pair``: the two whose ratio is wanted; empty for those that lead. ValueError for fewer than two drugs.
    """
    drugs = list(values)
    if len(drugs) < 2:
        raise ValueError(f"{', '.join(drugs) or 'no drug'} alone can not be compared")
    merit = np.stack([values[drug] if higher_is_better else 1.0 / values[drug] for drug in drugs])
    is_best = merit == merit.max(axis=0)
    share = (is_best / is_best.sum(axis=0)).mean(axis=1)
    best = dict(zip(drugs, share.tolist(), strict=True))
    middle = dict(zip(drugs, np.median(merit, axis=1).tolist(), strict=True))
    leading = sorted(drugs, key=lambda drug: (-best[drug], -middle[drug]))[:2]
    first, second = pair or leading
    ratio = merit[drugs.index(first)] / merit[drugs.index(second)]
    return Comparison(best, (first, second), ratio)

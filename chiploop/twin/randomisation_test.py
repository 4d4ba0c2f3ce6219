"""An exact test for few patients: what the effect would be under every other way to have drawn the arms.

Belongs here: complete randomisation with fixed arm sizes. Not here: large trials (control_arm).

Where the effect is d for everybody, the outcomes of treated patients less d are what they would have been as
controls, whatever the twin foretold: the test holds its level for any number of patients and any twin (Rosenbaum
2002, 10.1214/ss/1042727942; the statistic is the difference of residuals that the prognosis leaves).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from chiploop.twin.trial_data import TrialData

MOST_EXACT = 20_000
"""Draws of the arms that are all looked at; of more, ``DRAWS`` at random."""
DRAWS = 9_999
EDGE = 1e-9
"""Relative: statistics this close count as equal."""


@dataclass(frozen=True)
class RandomisationTest:
    """What the drawing of the arms alone says."""

    p: float
    """Two-sided, of no effect."""
    draws: int
    """That were compared with the real one."""
    exact: bool
    """Whether these are all there are."""
    smallest_p: float
    """Below which this design can not come."""


def randomisation_test(
    data: TrialData, rng: np.random.Generator, effect: float = 0.0
) -> RandomisationTest:
    """Return the test of one size of the effect; adjusted by the prognosis and covariates where they are given."""
    n, k = len(data.outcome), data.n_treated
    if not 0 < k < n:
        raise ValueError("both arms need patients")
    rest = residuals(data.outcome - effect * data.treated, data.adjusted_for)
    total = comb(n, k)
    exact = total <= MOST_EXACT
    if exact:
        drawn = np.zeros((total, n), dtype=bool)
        for i, chosen in enumerate(combinations(range(n), k)):
            drawn[i, list(chosen)] = True
    else:
        drawn = np.argsort(rng.random((DRAWS, n)), axis=1) < k
    own = _difference(rest, data.treated[None])[0]
    others = _difference(rest, drawn)
    as_far = int((np.abs(others) >= abs(own) * (1 - EDGE)).sum())
    p = as_far / total if exact else (as_far + 1) / (DRAWS + 1)
    smallest = (1 if 2 * k != n else 2) / total if exact else 1 / (DRAWS + 1)
    return RandomisationTest(p, len(drawn), exact, smallest)


def _difference(rest: np.ndarray, treated: np.ndarray) -> np.ndarray:
    """Return treated minus control means (draws,) for arms (draws, n)."""
    k = treated.sum(axis=1)
    sums = treated @ rest
    return np.asarray(sums / k - (rest.sum() - sums) / (len(rest) - k))


def residuals(outcome: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return what a linear fit on other columns leaves of the outcome, arms unseen."""
    columns = np.column_stack([np.ones(len(outcome)), others])
    fitted, *_ = np.linalg.lstsq(columns, outcome, rcond=None)
    return np.asarray(outcome - columns @ fitted)


def interval(
    data: TrialData, rng: np.random.Generator, level: float = 0.95, tolerance: float = 1e-3
) -> tuple[float, float]:
    """Return the effects that the test does not reject: each end to ``tolerance`` of the outcome's sd.

    Infinite where the design can not reject at this level.
    """
    seed = int(rng.integers(2**32))
    # the size at which the statistic is 0, so that no draw of the arms is less extreme
    parts = [residuals(column, data.adjusted_for) for column in (data.outcome, data.treated * 1.0)]
    of_outcome, of_arm = (float(_difference(part, data.treated[None])[0]) for part in parts)
    centre = of_outcome / of_arm
    spread = float(np.std(data.outcome)) or 1.0

    def is_rejected(effect: float) -> bool:
        found = randomisation_test(data, np.random.default_rng(seed), effect)
        return found.p <= 1.0 - level

    ends = []
    for side in (-1.0, 1.0):
        step = spread
        while not is_rejected(centre + side * step):
            step *= 2.0
            if step > 1e6 * spread:
                break
        if step > 1e6 * spread:
            ends.append(side * np.inf)
            continue
        inside, outside = 0.0, step
        while outside - inside > tolerance * spread:
            middle = 0.5 * (inside + outside)
            inside, outside = (
                (inside, middle) if is_rejected(centre + side * middle) else (middle, outside)
            )
        ends.append(centre + side * outside)
    return ends[0], ends[1]

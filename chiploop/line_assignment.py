"""Which line gets which dose: drawn at random, with donors balanced over doses as far as the plumbing allows.

Belongs here: the draw, as a pure function of a seed. Not here: which doses are wanted (policies, spread_out),
whether a line may get its dose (safety).

The chips of a line share its dose, so the line is what is assigned. Where every line holds the same donors any
draw is balanced; where lines differ, a donor's chips should be spread over the doses, and over low and high ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

MOST_TRIED = 5040
"""Orders that are compared: all of up to seven lines, otherwise as many random ones."""


@dataclass(frozen=True)
class Assignment:
    """What each line gets, and the seed that gives the same draw again."""

    doses_nm: Mapping[str, float]
    """Line -> dose."""
    seed: int

    @property
    def sentence(self) -> str:
        """Return it for the record."""
        doses = ", ".join(f"{line} {nm:g} nM" for line, nm in self.doses_nm.items())
        return f"doses drawn over the lines, donors balanced (seed {self.seed}): {doses}"


def assign_doses(
    line_donors: Mapping[str, Sequence[str]], wanted_nm: Sequence[float], seed: int
) -> Assignment:
    """Return which line gets which of the wanted doses.

    Parameters
    ----------
    line_donors : line -> donor of each of its chips.
    wanted_nm : one dose for each line, in any order; a dose may be there more than once.

    Raises ValueError where there are not as many doses as lines.
    """
    lines = tuple(line_donors)
    if len(wanted_nm) != len(lines):
        raise ValueError(f"{len(wanted_nm)} doses for {len(lines)} lines; each line gets one")
    rng = np.random.default_rng(seed)
    doses = sorted(wanted_nm)
    if len(lines) <= 7:
        orders = sorted(set(itertools.permutations(doses)))
    else:
        orders = [tuple(float(nm) for nm in rng.permutation(doses)) for _ in range(MOST_TRIED)]
    donors = sorted({donor for own in line_donors.values() for donor in own})
    chips = np.array([[list(own).count(donor) for donor in donors] for own in line_donors.values()])
    scores = [imbalance(chips, order) for order in orders]
    best = min(scores)
    drawn = orders[int(rng.choice([i for i, score in enumerate(scores) if score == best]))]
    return Assignment(dict(zip(lines, drawn, strict=True)), seed)


def imbalance(chips: np.ndarray, doses_nm: Sequence[float]) -> tuple[float, float]:
    """Return how unevenly donors lie over doses, and over low and high ones; 0 is even.

    ``chips`` (lines, donors) counts each line's chips of each donor.
    """
    levels = sorted(set(doses_nm))
    level = np.array([levels.index(nm) for nm in doses_nm])
    table = np.array([chips[level == k].sum(axis=0) for k in range(len(levels))], dtype=float)
    of_dose, of_donor = table.sum(axis=1, keepdims=True), table.sum(axis=0, keepdims=True)
    even = of_dose * of_donor / max(table.sum(), 1.0)
    ranks = (level[:, None] * chips).sum(axis=0) / np.maximum(chips.sum(axis=0), 1)
    overall = (level * chips.sum(axis=1)).sum() / max(int(chips.sum()), 1)
    spread = (chips.sum(axis=0) * (ranks - overall) ** 2).sum()
    return round(float(((table - even) ** 2).sum()), 9), round(float(spread), 9)

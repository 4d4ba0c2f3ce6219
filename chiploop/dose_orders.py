"""Which line gets which of a batch's doses, where that makes no difference to what is learned: drawn at random.

Belongs here: the draw over orders of a chosen batch. Not here: which doses are wanted (policies), the balance of
donors (line_assignment), what a batch may risk (batch_safety).

A search over lines takes the first of equals, cycle after cycle; a place in the incubator, the end of a manifold
or an operator's habit would then go with the dose. So of all orders that teach as much, those that balance donors
over doses best are kept, of them those in which fewest lines are again among the higher doses, and one is drawn.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chiploop.line_assignment import imbalance
from chiploop.policies.linear_gaussian import LinearGaussian, Measure
from chiploop.policies.prediction_table import PredictionTable

AS_GOOD = 0.99
"""Share of the chosen order's information that another order must have to count as one that teaches as much."""
AS_DEAR = 1.0 + 1e-9
"""Most that another order may cost, over the chosen one."""
MOST_TRIED = 120
"""Orders that are looked at: all where there are no more, otherwise as many random ones."""


@dataclass(frozen=True)
class DrawnOrder:
    """A batch with its doses drawn over the lines."""

    chosen: Mapping[int, int]
    """Line (its place in the table) -> candidate."""
    orders: int
    """From which it was drawn; 1 where nothing was to be drawn."""

    @property
    def sentence(self) -> str:
        """Return it for the record; empty where nothing was drawn."""
        if self.orders < 2:
            return ""
        return (
            f"which line gets which dose was drawn from {self.orders} orders that teach as much, "
            "donors balanced"
        )


def draw_order(
    table: PredictionTable,
    chosen: Mapping[int, int],
    donors: Sequence[Sequence[str]],
    drugs: Sequence[str],
    before_nm: Sequence[float],
    rng: np.random.Generator,
) -> DrawnOrder:
    """Return a batch with its doses drawn over the lines of each drug.

    Parameters
    ----------
    chosen : line -> candidate, of every line of the table.
    donors : per line, the donor of each of its chips.
    drugs : per line, its drug: doses change places within a drug alone.
    before_nm : per line, the dose that its chips got last; 0 where none.
    """
    orders = list(_orders(table, dict(chosen), drugs, rng))
    if len(orders) < 2:
        return DrawnOrder(dict(chosen), 1)
    measure: Measure = LinearGaussian(table.predictable())
    least = AS_GOOD * measure.information(dict(chosen))
    most = AS_DEAR * _cost(table, dict(chosen))
    as_good = [
        order
        for order in orders
        if measure.information(order) >= least and _cost(table, order) <= most
    ]
    names = sorted({donor for own in donors for donor in own})
    chips = np.array([[list(own).count(name) for name in names] for own in donors])
    was_high = _is_high(np.asarray(before_nm, dtype=float), drugs)

    def score(order: Mapping[int, int]) -> tuple[tuple[float, float], int]:
        doses = np.array([table.programmes[i][order[i]].asked_nm for i in range(len(table.lines))])
        again = int((was_high & _is_high(doses, drugs)).sum())
        return imbalance(chips, doses.tolist()), again

    scores = [score(order) for order in as_good]
    best = [order for order, own in zip(as_good, scores, strict=True) if own == min(scores)]
    return DrawnOrder(best[int(rng.integers(len(best)))], len(best))


def _cost(table: PredictionTable, order: Mapping[int, int]) -> float:
    """Return what an order costs; nothing where the study states no costs."""
    if table.cost is None:
        return 0.0
    return float(sum(table.cost[i][k] for i, k in order.items()))


def _is_high(doses_nm: np.ndarray, drugs: Sequence[str]) -> np.ndarray:
    """Return whether each line's dose is above the middle one of its drug."""
    names = np.asarray(drugs)
    middle = np.array([np.median(doses_nm[names == drug]) for drug in names])
    return np.asarray(doses_nm > middle)


def _orders(
    table: PredictionTable, chosen: dict[int, int], drugs: Sequence[str], rng: np.random.Generator
) -> Iterator[dict[int, int]]:
    """Yield every order of the chosen candidates within each drug that is allowed, or a random part of them; the
    chosen one is the first.
    """

    def key(line: int, k: int) -> tuple[float, str]:
        programme = table.programmes[line][k]
        return programme.asked_nm, programme.schedule

    at = [
        {key(i, int(k)): int(k) for k in np.flatnonzero(table.allowed[i])}
        for i in range(len(table.lines))
    ]
    wanted = {i: key(i, k) for i, k in chosen.items()}
    groups = [[i for i in sorted(chosen) if drugs[i] == drug] for drug in dict.fromkeys(drugs)]
    yield chosen
    seen = {tuple(wanted[i] for i in sorted(chosen))}
    for drawn in _permutations([[wanted[i] for i in group] for group in groups], rng):
        order = {
            i: own
            for group, doses in zip(groups, drawn, strict=True)
            for i, own in zip(group, doses, strict=True)
        }
        whole = tuple(order[i] for i in sorted(order))
        if whole in seen or any(own not in at[i] for i, own in order.items()):
            continue
        seen.add(whole)
        yield {i: at[i][own] for i, own in order.items()}


def _permutations(
    groups: Sequence[Sequence[tuple[float, str]]], rng: np.random.Generator
) -> Iterator[Sequence[Sequence[tuple[float, str]]]]:
    """Yield all orders within every group where there are few, otherwise ``MOST_TRIED`` random ones."""
    if math.prod(math.factorial(len(group)) for group in groups) <= MOST_TRIED:
        yield from itertools.product(*(itertools.permutations(group) for group in groups))
        return
    for _ in range(MOST_TRIED):
        yield [[group[j] for j in rng.permutation(len(group))] for group in groups]

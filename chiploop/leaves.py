"""Many things that stand in order, some on each page: which ones a page has, and how many pages there are.

Belongs here: the arithmetic, one for every page. Not here: what is shown, addresses, markup (chiploop.review).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

Thing = TypeVar("Thing")
ALL_NUMBERS = 12
"""So many pages are all named."""


@dataclass(frozen=True)
class Leaf:
    """One page."""

    page: int
    """From 1; the nearest that there is to the one that was asked for."""
    pages: int
    """At least one."""
    first: int
    """Place of its first thing, from 0."""
    end: int
    """Place after its last one."""

    @property
    def numbers(self) -> tuple[int, ...]:
        """Pages to name: all of a few; of many the first, the last and those nearby, with 0 for a gap."""
        if self.pages <= ALL_NUMBERS:
            return tuple(range(1, self.pages + 1))
        nearby = range(max(1, self.page - 3), min(self.pages, self.page + 3) + 1)
        named = sorted({1, *nearby, self.pages})
        found: list[int] = []
        for one in named:
            found += [0, one] if found and one > found[-1] + 1 else [one]
        return tuple(found)

    def of(self, things: Sequence[Thing]) -> tuple[Thing, ...]:
        """Return the things of this page."""
        return tuple(things[self.first : self.end])


def pages_for(count: int, a_page: int) -> int:
    """Return how many pages so many things need; one where there are none."""
    return max(1, -(-count // a_page))


def leaf_of(count: int, asked: int, a_page: int) -> Leaf:
    """Return a page of so many things."""
    pages = pages_for(count, a_page)
    page = min(max(1, asked), pages)
    return Leaf(page, pages, (page - 1) * a_page, min(count, page * a_page))

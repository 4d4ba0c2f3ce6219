"""Pages of many things: every thing is on one page, and the pages that are named lead everywhere."""

from __future__ import annotations

import pytest

from chiploop.leaves import leaf_of


@pytest.mark.parametrize("count", [0, 1, 24, 25, 300])
def test_every_thing_is_on_one_page_and_in_order(count: int) -> None:
    things = tuple(range(count))
    pages = leaf_of(count, 1, 24).pages
    leaves = [leaf_of(count, page, 24) for page in range(1, pages + 1)]
    assert tuple(one for leaf in leaves for one in leaf.of(things)) == things
    assert all(leaf.of(things) or not count for leaf in leaves)


@pytest.mark.parametrize(("asked", "page"), [(0, 1), (-5, 1), (10**9, 13), (13, 13), (2, 2)])
def test_a_page_that_is_not_there_is_the_nearest(asked: int, page: int) -> None:
    assert leaf_of(300, asked, 24).page == page


@pytest.mark.parametrize(
    ("pages", "page", "named"),
    [
        (3, 2, (1, 2, 3)),
        (12, 1, tuple(range(1, 13))),
        (40, 1, (1, 2, 3, 4, 0, 40)),
        (40, 5, (1, 2, 3, 4, 5, 6, 7, 8, 0, 40)),
        (40, 20, (1, 0, 17, 18, 19, 20, 21, 22, 23, 0, 40)),
        (40, 38, (1, 0, 35, 36, 37, 38, 39, 40)),
    ],
)
def test_of_many_pages_the_ends_and_those_nearby_are_named(
    pages: int, page: int, named: tuple[int, ...]
) -> None:
    assert leaf_of(pages, page, 1).numbers == named

"""Which chips of a run a page shows: some of a large one, by donor and by state, line after line.

Belongs here: the choice and its addresses. Not here: what is shown of a chip (run_view), markup.

Everything stands in the address: a page can be kept, sent and loaded again, and works without script.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from chiploop.leaves import leaf_of

LINES_A_PAGE = 24
MANY_CHIPS = 36
"""From here on a page offers to choose among them."""


@dataclass(frozen=True)
class Choice:
    """What somebody asked to see; what can not be (a donor that the run has not) is as if nobody had asked."""

    page: int = 1
    donor: str = ""
    state: str = ""

    @property
    def is_all(self) -> bool:
        """Whether every chip is meant."""
        return not self.donor and not self.state

    def address(self, page: int | None = None) -> str:
        """Return the query of another page of the same choice."""
        asked = {"lines": self.page if page is None else page}
        more = {"donor": self.donor, "state": self.state}
        return urlencode({**asked, **{name: value for name, value in more.items() if value}})


@dataclass(frozen=True)
class Chosen:
    """The chips of one page."""

    choice: Choice
    """As it could be met."""
    pages: int
    lines: tuple[str, ...]
    """That feed them, in the study's order."""
    chips: tuple[str, ...]
    of: int
    """How many chips there are on all pages."""


def chosen_chips(
    asked: Choice,
    lines: tuple[str, ...],
    donors: Mapping[str, str],
    fed_by: Mapping[str, str],
    states: Mapping[str, str],
) -> Chosen:
    """Return the chips of a page.

    Parameters
    ----------
    lines
        In the study's order.
    donors
        Chip -> donor, in the study's order.
    fed_by
        Chip -> line in which it is shown.
    states
        Chip -> state; looked at only where the choice names one.
    """
    donor = asked.donor if asked.donor in set(donors.values()) else ""
    state = asked.state
    meant = [
        chip
        for chip, own in donors.items()
        if (not donor or own == donor) and (not state or states[chip] == state)
    ]
    with_chips = {fed_by[chip] for chip in meant}
    shown = lines if not donor and not state else tuple(one for one in lines if one in with_chips)
    leaf = leaf_of(len(shown), asked.page, LINES_A_PAGE)
    own_lines = leaf.of(shown)
    return Chosen(
        Choice(leaf.page, donor, state),
        leaf.pages,
        own_lines,
        tuple(chip for chip in meant if fed_by[chip] in own_lines),
        len(meant),
    )

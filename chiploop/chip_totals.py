"""What one chip has got so far, where valves let several lines feed it, as its line's totals would show it.

Belongs here: a chip's share of what the pumps moved, and whose chips a line has now. Not here: the limits
(safety_rules), who asks (safety), what the journal says (record.actions).

Every limit per chip follows the chip from line to line: volume of one dose, of any 24 h and of all doses, drug
mass, interval. The rules look at a line, so each chip of the line is shown to them as if all its chips had got
what it got. Where nobody knows which line fed it, it is charged with every line that may have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from chiploop.connections import Connection, line_in, lines_that_may_feed
from chiploop.dosing import pump_name

if TYPE_CHECKING:
    from chiploop.record.actions import JournalTotals, Moved
    from chiploop.study import Study


def totals_by_chip(
    study: Study, line_id: str, totals: JournalTotals
) -> Iterator[tuple[str, JournalTotals]]:
    """Yield (chip, totals) for every chip that a line feeds now; once, for nobody, where no valve can change
    that.
    """
    if not study.valves:
        yield "", totals
        return
    for chip in study.line(line_id).chips:
        yield chip, of_chip(study, line_id, chip, totals)


def of_chip(study: Study, line_id: str, chip: str, totals: JournalTotals) -> JournalTotals:
    """Return a line's totals as if all the chips that it feeds now had got what one of them got."""
    now = len(study.line(line_id).chips)
    moved: list[Moved] = []
    delivered_ul: dict[str, float] = {}
    for line, own in totals.moved.items():
        for one in own:
            if not _may_have_fed(study, one.connection, line, chip):
                continue
            shares = max(1, _fed(study, one.connection, line))
            as_line = replace(one, volume_ul=one.volume_ul * now / shares)
            moved.append(as_line)
            role = one.pump.removeprefix(f"{line}-")
            pump = pump_name(line_id, role)
            delivered_ul[pump] = delivered_ul.get(pump, 0.0) + as_line.volume_ul
    ends_h = [
        dose.end_h
        for dose in totals.doses
        if _may_have_fed(study, dose.connection, dose.line, chip)
    ]
    return replace(
        totals,
        moved={line_id: tuple(moved)},
        delivered_ul=delivered_ul,
        last_dose_end_h={line_id: max(ends_h)} if ends_h else {},
    )


def _fed(study: Study, connection: Connection, line: str) -> int:
    """Return how many chips a line fed for certain."""
    return sum(line_in(study, connection, chip) == line for chip in study.chip_ids)


def _may_have_fed(study: Study, connection: Connection, line: str, chip: str) -> bool:
    fed_by = line_in(study, connection, chip)
    return fed_by == line or (fed_by is None and line in lines_that_may_feed(study, chip))

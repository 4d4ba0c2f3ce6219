"""Lost and garbled answers put on record, also those that asking again has mended.

Belongs here: which event tells of them, and when. Not here: counting (instruments.wire_troubles), what is done
about one that asking again does not mend (perfusion, away).

The first of a kind on a port is told at once; what follows within the hour is told together, so that a reader that
is away for a weekend, and asked every few minutes, does not fill the record. What can not be put on record yet is
kept and counted on. A hold, an instrument that is back and the end of the run, also by a stop or by trouble, put
on record what is left. A process that is killed takes the counts of its last hour with it: the wire's own record
has each of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from chiploop.record.next_event import add_next_event
from chiploop.record.sessions import RecordAway
from instruments.wire_troubles import WireTrouble

if TYPE_CHECKING:
    from flows.laboratory import Laboratory

WIRE = "wire trouble"
"""Kind of the record's events."""
APART_H = 1.0
"""Between two events of one kind on one port."""
AWAY_AGAIN_H = 0.25
"""How long a record that is away is left alone: waiting for it takes a minute that pumps are not looked at."""
SAME_H = 1e-9


@dataclass
class WireNews:
    """What a run has told of its wires."""

    told_h: dict[tuple[str, str], float] = field(default_factory=dict)
    """Port and kind -> study time of the last event."""
    not_before_h: float = -math.inf
    """Study time before which the record is not asked again."""
    cycle: int = 0
    """In which it was told last."""


def tell_wires(lab: Laboratory, cycle: int) -> None:
    """Tell, and put on record, what went wrong on each wire and was not told within the hour."""
    news, now_h = lab.wire_news, lab.clock.now_h()
    news.cycle = cycle
    if now_h < news.not_before_h - SAME_H:
        return
    found = lab.bench.troubles.take()
    due = [t for t in found if now_h - _told_h(news, t) >= APART_H - SAME_H]
    for trouble in found:
        if trouble not in due:
            lab.bench.troubles.keep(trouble)
    _put_on_record(lab, due)


def tell_all_wires(lab: Laboratory, cycle: int | None = None) -> None:
    """Tell, and put on record, all that went wrong and is not told yet; ``cycle`` None: the last one told of."""
    if cycle is not None:
        lab.wire_news.cycle = cycle
    _put_on_record(lab, list(lab.bench.troubles.take()))


def tell_last(opened: Sequence[Laboratory]) -> None:
    """Tell and put on record what is left when a run ends, however it ends; what ended it is what is raised."""
    for lab in opened:
        with suppress(Exception):
            tell_all_wires(lab)


def _told_h(news: WireNews, trouble: WireTrouble) -> float:
    return news.told_h.get((trouble.port, trouble.kind), -math.inf)


def _put_on_record(lab: Laboratory, troubles: list[WireTrouble]) -> None:
    """Put troubles on record; what does not come there, whatever is raised, is kept for the next time."""
    news, now_h = lab.wire_news, lab.clock.now_h()
    left = list(troubles)
    try:
        for trouble in troubles:
            content = {**asdict(trouble), "cycle": news.cycle}
            times = "once" if trouble.times == 1 else f"{trouble.times} times"
            said = f"wire of {trouble.port}: {trouble.kind} {times}, last: {trouble.last}"
            lab.say(news.cycle, said)
            add_next_event(lab.record, lab.run_id, WIRE, now_h, content)
            news.told_h[trouble.port, trouble.kind] = now_h
            left.remove(trouble)
    except RecordAway as away:
        news.not_before_h = now_h + AWAY_AGAIN_H
        lab.say(news.cycle, f"that is not on record yet: {away}")
    finally:
        for trouble in left:
            lab.bench.troubles.keep(trouble)

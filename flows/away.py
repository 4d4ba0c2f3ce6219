"""A reader or meter that does not answer: read again while chips are perfused, a person asked, pumps untouched.

Belongs here: waiting for an instrument that only reads. Not here: reading (tasks), pumps (perfusion).

A read moves nothing, so it may be repeated for ever. A plate waits; TEER does not: a reading that can not be taken
until the next thing is due is missed, on record, and never a value.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from chiploop.measurement import Readout
from chiploop.record.progress import ProgrammeProgress
from flows import perfusion, tasks
from flows.clock import refuse_when_stopped
from flows.cycle_holds import ends_h, next_number
from flows.laboratory import Laboratory
from flows.wire_news import tell_all_wires, tell_wires
from instruments.errors import InstrumentError

AWAY, BACK, MISSED = "instrument away", "instrument back", "reading missed"
"""Kinds of the record's events."""
REAL_RETRY_H, VIRTUAL_RETRY_H = 0.1, 0.5
VIRTUAL_PATIENCE_H = 24.0
"""Virtual time would run away where nobody plugs the reader in."""
LAST_PATIENCE_H = 0.25
"""How long TEER is tried for at the end of an exposure, when chips stand without flow."""
HoldAgain = Callable[[Laboratory, int, str], list[ProgrammeProgress]]


class Work:
    """How long an instrument was at work for readings that were taken, without the waiting in between."""

    def __init__(self) -> None:
        self.took_s, self.readings = 0.0, 0

    def timed(self, read: Callable[..., list[Readout]], *asked: Any) -> list[Readout]:
        """Return what a read returns; its time counts where it found anything."""
        begun_s = time.monotonic()
        found = read(*asked)
        if found:
            self.took_s += time.monotonic() - begun_s
            self.readings += 1
        return found


NOBODYS = Work()
"""Of an instrument that is not shared: nobody asks."""


def plate_when_it_answers(
    lab: Laboratory,
    cycle: int,
    assay: str,
    window_h: tuple[float, float],
    hold: list[ProgrammeProgress],
    hold_again: HoldAgain,
    work: Work = NOBODYS,
) -> tuple[list[Readout], list[ProgrammeProgress]]:
    """Return a plate's readouts and the hold that runs then; hold follows hold while the reader is away."""
    name, since_h = f"reader of the {assay} plate", None
    while True:
        try:
            readouts = work.timed(tasks.read_plate, lab, cycle, assay, window_h)
        except InstrumentError as trouble:
            refuse_when_stopped(lab.clock.stopped_by())
            now_h = lab.clock.now_h()
            since_h = now_h if since_h is None else since_h
            if lab.simulated and now_h - since_h > VIRTUAL_PATIENCE_H:
                raise
            ask(lab, cycle, name, trouble)
        else:
            back(lab, cycle, name, "answers again" if readouts else "is not asked any more")
            return readouts, hold
        next_h = lab.clock.now_h() + (VIRTUAL_RETRY_H if lab.simulated else REAL_RETRY_H)
        if not hold:
            lab.clock.wait_until_h(next_h)
            continue
        end_h = ends_h(hold)
        hold = perfusion.watch_pumps(lab, hold, min(next_h, end_h), cycle)
        if lab.clock.now_h() >= end_h - 1e-9:
            perfusion.finish_pumps(lab, hold)
            hold = hold_again(lab, cycle, f"hold-{next_number(hold)}")


def teer_when_it_answers(
    lab: Laboratory,
    running: list[ProgrammeProgress],
    cycle: int,
    planned_h: float,
    until_h: float | None,
    work: Work = NOBODYS,
) -> tuple[list[Readout], list[ProgrammeProgress]]:
    """Return a planned reading of TEER and what runs then; none where the meter is away until ``until_h``.

    ``until_h`` is when the next thing is due; None at the end of an exposure.
    """
    last_h = planned_h + (LAST_PATIENCE_H if until_h is None else tasks.SAME_READING_H)
    last_h = last_h if until_h is None else min(last_h, until_h)
    while (readouts := teer_now(lab, cycle, planned_h, last_h, work)) is None:
        next_h = lab.clock.now_h() + (VIRTUAL_RETRY_H if lab.simulated else REAL_RETRY_H)
        running = perfusion.watch_pumps(lab, running, min(next_h, last_h), cycle)
    return readouts, running


def teer_now(
    lab: Laboratory,
    cycle: int,
    planned_h: float,
    last_h: float | None = None,
    work: Work = NOBODYS,
) -> list[Readout] | None:
    """Return a planned reading of TEER, taken now; empty where it is missed, None where it is to be tried again.

    ``last_h`` is when it is given up; None as late as it still counts as the planned one.
    """
    if is_missed(lab, planned_h):  # before an interruption: what is read now is of another time
        return []
    name = f"meter for TEER of {planned_h:g} h"
    last_h = planned_h + tasks.SAME_READING_H if last_h is None else last_h
    try:
        readouts = work.timed(tasks.measure_teer, lab, cycle, planned_h)
    except InstrumentError as trouble:
        refuse_when_stopped(lab.clock.stopped_by())
        ask(lab, cycle, name, trouble)
    else:
        back(lab, cycle, name)
        return readouts
    if lab.clock.now_h() < last_h - 1e-9:
        return None
    lab.say(cycle, f"TEER of {planned_h:g} h IS MISSED: the meter does not answer")
    content = {"readout": "TEER", "planned_h": planned_h, "what": name}
    put(lab, MISSED, f"TEER/{planned_h!r}", content)
    lab.record.add_state(lab.run_id, "running", lab.clock.now_h())
    return []


def ask(lab: Laboratory, cycle: int, name: str, trouble: InstrumentError) -> None:
    """Ask a person, once for each time that an instrument went away."""
    tell_wires(lab, cycle)
    if is_away(lab, name):
        return
    number = 1 + sum(e.content["what"] == name for e in lab.record.events(lab.run_id, AWAY))
    put(lab, AWAY, f"{name}/{number}", {"what": name, "number": number, "trouble": str(trouble)})
    lab.record.add_state(lab.run_id, "waiting for a person", lab.clock.now_h(), name)
    lab.say(
        cycle,
        f"WAITING FOR A PERSON: the {name} does not answer ({trouble}). It is asked again; pumps go on as they "
        "were. Look at its cable and power",
    )


def is_missed(lab: Laboratory, planned_h: float) -> bool:
    """Return whether a planned reading of TEER is on record as missed."""
    missed = lab.record.events(lab.run_id, MISSED)
    return any(abs(event.content["planned_h"] - planned_h) < 1e-6 for event in missed)


def back(lab: Laboratory, cycle: int, name: str, how: str = "answers again") -> None:
    """Tell that an instrument answers again or is needed no more, where a person was asked."""
    if is_away(lab, name):
        tell_all_wires(lab, cycle)
        number = sum(e.content["what"] == name for e in lab.record.events(lab.run_id, AWAY))
        put(lab, BACK, f"{name}/{number}/back", {"what": name, "number": number})
        lab.record.add_state(lab.run_id, "running", lab.clock.now_h())
        lab.say(cycle, f"the {name} {how}")


def is_away(lab: Laboratory, name: str) -> bool:
    """Return whether a person was asked to look at an instrument and it has not answered since."""
    gone = sum(e.content["what"] == name for e in lab.record.events(lab.run_id, AWAY))
    return gone > sum(e.content["what"] == name for e in lab.record.events(lab.run_id, BACK))


def put(lab: Laboratory, kind: str, key: str, content: dict[str, object]) -> None:
    """Put an event on record under a key of its kind."""
    lab.record.add_event(lab.run_id, kind, lab.clock.now_h(), content, key=f"{kind}/{key}")

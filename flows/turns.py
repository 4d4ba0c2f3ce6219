"""Readings with instruments that several runs share: each waits for its turn, and chips are perfused meanwhile.

Belongs here: waiting for a turn, what becomes of a reading that can not wait longer. Not here: the line and the
port (instruments.shared), what a reading is (tasks), when it is planned (closed_loop).

No pump waits for a meter. Between two steps of an exposure a reading is tried again and again; what has to happen
at its time happens, and the reading is tried on afterwards. One that is still waiting when the exposure ends is
taken under the hold that follows. It is recorded with the time at which it was taken. After ``longest_wait_min``
TEER is given up, with an event on record: no readout, never a zero. A plate keeps: people are asked, and it
goes on to wait.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from chiploop.campaign_values import Campaign
from chiploop.measurement import Readout
from chiploop.record.progress import ProgrammeProgress
from flows import away, hands, perfusion, tasks
from flows.away import NOBODYS, Work
from flows.clock import refuse_when_stopped
from flows.cycle_holds import ends_h, next_number
from flows.laboratory import Laboratory
from flows.reserving import IN_VAIN, TURN
from instruments.errors import InstrumentError
from instruments.shared import SharedInstrument

LOOK_H = 10.0 / 3600.0
"""Between two tries for a turn."""
SAME_H = 1e-6
PIECE_H = 0.25
"""Plain medium that is given at a time while TEER before the stimulus waits."""

Holds = list[ProgrammeProgress]
HoldAgain = Callable[[Laboratory, int, str], Holds]


@dataclass
class Due:
    """A reading of TEER that is due."""

    planned_h: float
    asked_h: float | None = None
    """Since when it waits."""


def shared_of(instruments: dict[str, Any]) -> SharedInstrument | None:
    """Return the only instrument of a kind where it is shared; None where this run has it for itself."""
    found = [one for one in instruments.values() if isinstance(one, SharedInstrument)]
    return found[0] if len(found) == 1 and len(instruments) == 1 else None


def who_has(instrument: SharedInstrument) -> str:
    """Return who has an instrument, empty once it is ours. One that does not answer is waited for, too."""
    try:
        return instrument.try_turn()
    except InstrumentError as trouble:
        return f"nobody, and does not answer ({trouble})"


def read_teer(
    lab: Laboratory,
    running: Holds,
    due: list[Due],
    until_h: float,
    cycle: int,
    words: str = "measuring TEER",
) -> tuple[Holds, list[Readout]]:
    """Read the TEER that is due, each when it is its turn, until a study time at the latest; what could not be
    read by then stays in ``due``. Return what runs then, and the readouts.
    """
    readouts: list[Readout] = []
    meter = shared_of(lab.bench.meters)
    while due:
        one = due[0]
        if away.is_missed(lab, one.planned_h):
            due.pop(0)
            continue
        if meter is None or tasks.teer_is_done(lab, cycle, one.planned_h):
            lab.say(cycle, words)
            running, read = measured(lab, running, cycle, one.planned_h, until_h)
            if read is None:
                return running, readouts
            readouts += read
            due.pop(0)
            continue
        if given_up(lab, cycle, one.planned_h):
            due.pop(0)
            continue
        one.asked_h = lab.clock.now_h() if one.asked_h is None else one.asked_h
        if not (who := who_has(meter)):
            chips = len(lab.study.chip_ids)
            what = f"TEER of cycle {cycle}"
            with on_record(
                lab, meter, "impedance_meter", what, one.planned_h, one.asked_h, chips
            ) as work:
                lab.say(cycle, words)
                running, read = measured(lab, running, cycle, one.planned_h, until_h, work)
            if read is None:
                return running, readouts
            readouts += read
            due.pop(0)
            continue
        now_h = lab.clock.now_h()
        if now_h <= one.asked_h + SAME_H:
            lab.say(cycle, f"TEER WAITS for {meter.name}, which is with {who}")
        if 3600.0 * (now_h - one.asked_h) >= meter.longest_wait_s - 1e-6:
            meter.leave()
            give_up(lab, cycle, meter, one.planned_h, who)
            due.pop(0)
            continue
        if now_h >= until_h - SAME_H:
            return running, readouts
        running = pass_time(lab, running, min(until_h, now_h + LOOK_H), cycle)
    return running, readouts


def measured(
    lab: Laboratory,
    running: Holds,
    cycle: int,
    planned_h: float,
    until_h: float,
    work: Work = NOBODYS,
) -> tuple[Holds, list[Readout] | None]:
    """Read TEER now; with a meter that does not answer again and again while pumps run.

    None where nothing runs and whoever asks gives the chips something first: it is to be tried again.
    """
    is_now = until_h == -math.inf
    if is_now and not running:
        return running, away.teer_now(lab, cycle, planned_h, work=work)
    last_h = None if is_now else until_h
    read, running = away.teer_when_it_answers(lab, running, cycle, planned_h, last_h, work)
    return running, read


def read_before_stimulus(
    lab: Laboratory, campaign: Campaign, give: Callable[[Campaign, float, str], Campaign]
) -> tuple[Campaign, list[Readout]]:
    """Read TEER before the stimulus; while it waits, for others or for a meter that is silent, chips get plain
    medium by ``give``, piece by piece.
    """
    planned_h = lab.study.timeline.stimulus_from_h
    due = [Due(planned_h)]
    readouts: list[Readout] = []
    for turn in count(1):
        phase = f"teer-{turn}"
        if not perfusion.begun(lab, 0, phase):
            words = "measuring TEER before the stimulus"
            _, readouts = read_teer(lab, [], due, -math.inf, 1, words)
            if not due:
                return campaign, readouts
        campaign = give(campaign, PIECE_H, phase)
    raise AssertionError("count does not end")


def late_teer(lab: Laboratory, cycle: int, window_h: tuple[float, float]) -> list[Due]:
    """Return the readings of an exposure that were due and are neither on record nor given up nor skipped."""
    if shared_of(lab.bench.meters) is None:
        return []
    begin_h = window_h[0] - lab.study.sampling.effluent_h[0]
    planned = (begin_h + after for after in sorted(lab.study.sampling.teer_h))
    return [
        Due(planned_h)
        for planned_h in planned
        if not (
            tasks.teer_is_done(lab, cycle, planned_h)
            or given_up(lab, cycle, planned_h)
            or away.is_missed(lab, planned_h)
        )
    ]


def read_late(
    lab: Laboratory, cycle: int, due: list[Due], hold: Holds, hold_again: HoldAgain
) -> tuple[Holds, list[Readout]]:
    """Read the TEER of an exposure that has ended, while one hold follows the other; return the hold that runs."""
    readouts: list[Readout] = []
    while due:
        end_h = ends_h(hold)
        hold, read = read_teer(lab, hold, due, end_h, cycle)
        readouts += read
        if due:
            hold = next_of(lab, cycle, hold, hold_again)
    return hold, readouts


def wait_for_reader(
    lab: Laboratory, cycle: int, assay: str, hold: Holds, hold_again: HoldAgain
) -> Holds:
    """Return once the reader is ours, or the plate was skipped, with the hold that runs then."""
    reader = shared_of(lab.bench.readers)
    kit = lab.study.assays[assay]
    if reader is None or kit.comes_as_file or tasks.plate_is_done(lab, cycle, assay):
        return hold
    asked_h, is_told = lab.clock.now_h(), False
    while who := who_has(reader):
        now_h = lab.clock.now_h()
        if now_h <= asked_h + SAME_H:
            lab.say(cycle, f"the {assay} plate WAITS for {reader.name}, which is with {who}")
        if plate_is_skipped(lab, cycle, assay):
            reader.leave()
            return hold
        if not is_told and 3600.0 * (now_h - asked_h) >= reader.longest_wait_s - 1e-6:
            is_told = True
            put_in_vain(lab, cycle, reader, f"{assay} plate", asked_h, who, "it goes on to wait")
        end_h = ends_h(hold)
        if hold and now_h >= end_h - SAME_H:
            hold = next_of(lab, cycle, hold, hold_again)
        else:
            hold = pass_time(lab, hold, min(end_h, now_h + LOOK_H), cycle)
    return hold


@contextmanager
def reader_in_turn(lab: Laboratory, cycle: int, assay: str, ready_h: float) -> Iterator[Work]:
    """Put the use of a shared reader on record, and leave it to the others afterwards."""
    reader = shared_of(lab.bench.readers)
    if reader is None or not reader.lock_names:
        yield NOBODYS
        return
    what = f"{assay} plate of cycle {cycle}"
    with on_record(lab, reader, "plate_reader", what, ready_h, ready_h, 1) as work:
        yield work


@contextmanager
def on_record(
    lab: Laboratory,
    instrument: SharedInstrument,
    kind: str,
    what: str,
    planned_h: float,
    asked_h: float,
    readings: int,
) -> Iterator[Work]:
    """Leave an instrument at the end of a block, and put on record how long it was waited for and was at work.

    ``readings`` are those of one whole piece of work; where none came about there is nothing to put.
    """
    begun_h, work = lab.clock.now_h(), Work()
    try:
        yield work
    finally:
        instrument.leave()
    if not work.readings:
        return
    content = {
        "instrument": instrument.name,
        "device": instrument.device,
        "kind": kind,
        "what": what,
        "planned_h": planned_h,
        "waited_s": round(3600.0 * (begun_h - asked_h), 1),
        "took_s": round(work.took_s, 2),
        "readings": readings,
    }
    lab.record.add_event(
        lab.run_id, TURN, begun_h, content, key=f"{what} at {planned_h:.6g}/{begun_h:.6f}"
    )


def given_up(lab: Laboratory, cycle: int, planned_h: float) -> bool:
    """Return whether a reading was given up before."""
    key = teer_words(cycle, planned_h)
    return any(e.content["what"] == key for e in lab.record.events(lab.run_id, IN_VAIN))


def give_up(
    lab: Laboratory, cycle: int, meter: SharedInstrument, planned_h: float, who: str
) -> None:
    """Put on record that a reading of TEER was not taken, and say so."""
    what = teer_words(cycle, planned_h)
    put_in_vain(lab, cycle, meter, what, planned_h, who, "it is given up: no readouts of it")


def teer_words(cycle: int, planned_h: float) -> str:
    """Return what a reading of TEER is called on record."""
    return f"TEER of cycle {cycle} planned at {planned_h:.4f} h"


def put_in_vain(
    lab: Laboratory,
    cycle: int,
    instrument: SharedInstrument,
    what: str,
    since_h: float,
    who: str,
    outcome: str,
) -> None:
    """Put on record, once, that an instrument was not free for as long as a reading may wait, and say so."""
    content = {
        "instrument": instrument.name,
        "what": what,
        "cycle": cycle,
        "with": who,
        "waits_min": instrument.longest_wait_s / 60.0,
        "outcome": outcome,
    }
    key = f"{what} since {since_h:.4f}"
    lab.record.add_event(lab.run_id, IN_VAIN, lab.clock.now_h(), content, key=key)
    minutes = instrument.longest_wait_s / 60.0
    lab.say(
        cycle,
        f"{what}: {instrument.name} WAS NOT FREE for {minutes:.3g} min, it is with {who}; {outcome}",
    )


def plate_is_skipped(lab: Laboratory, cycle: int, assay: str) -> bool:
    """Return whether a person has said that a plate will not be read."""
    name = f"c{cycle:02d}/plate/{assay}"
    said = [one.state for one in hands.said_of(lab.record, lab.run_id) if one.task == name]
    return bool(said) and said[-1] == "skipped"


def next_of(lab: Laboratory, cycle: int, hold: Holds, hold_again: HoldAgain) -> Holds:
    """End a hold and return the next one."""
    perfusion.finish_pumps(lab, hold)
    lab.say(cycle, "a reading still waits: stimulus without drug on every line")
    return hold_again(lab, cycle, f"hold-{next_number(hold)}")


def pass_time(lab: Laboratory, running: Holds, until_h: float, cycle: int) -> Holds:
    """Let time pass, with a look at the pumps where one is due."""
    refuse_when_stopped(lab.clock.stopped_by())
    look_h = perfusion.next_look_h(lab)
    if running and until_h >= look_h - SAME_H:
        return perfusion.watch_until(lab, running, look_h, cycle)
    lab.clock.wait_until_h(until_h)
    return running

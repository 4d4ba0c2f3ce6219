"""Plain medium in place of what a line can not have any more: tissue dies without flow.

Belongs here: keeping one line alive, the last look at the limits before its pumps, what is told of a held line.
Not here: phases of all lines (perfusion), who decides that a line loses its dose (perfusion, supervisor). No
Prefect: this also works where the flow has died.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from chiploop.dosing import PumpProgramme, Purpose, make_programme, pump_name, remaining_ul
from chiploop.errors import ChiploopError, WaitingForPerson
from chiploop.record.actions import Action, JournalTotals, programme_key
from chiploop.record.disk import DiskFull
from chiploop.record.journal import Journal
from chiploop.record.progress import ProgrammeProgress, pump_progress
from chiploop.record.record import Record
from chiploop.safety import check_before_wire, newest_toxicity_h
from chiploop.study import Study
from flows.asking import refuse_unapproved
from flows.clock import Clock, RunStopped, refuse_when_stopped
from flows.fault_points import reached
from flows.readouts_at_hand import ReadoutsAtHand
from flows.valve_turns import connected_for_plain, connected_now, refuse_misplaced
from instruments.bench import Bench
from instruments.delivery import (
    Guard,
    finish_programme,
    quantise_with,
    refuse_when_busy,
    start_programme,
    stop_plain,
)
from instruments.errors import InstrumentError

SUPERVISED = "supervised"
"""How the phases begin in which the supervisor keeps a line alive."""
DRY_UNTIL_H = "dry_until_h"
"""Key in the body of a note that a line stands without flow: study time until which plain medium was wanted.

None where it is not tried again before the next phase: a limit barred it.
"""
LOOK_AGAIN_H = 0.02
"""Between two looks at a pump that should have ended; a shorter rest of a phase is not filled."""


class Perfused(Protocol):
    """What is needed to perfuse a line; a run's laboratory has it."""

    @property
    def study(self) -> Study: ...
    @property
    def run_id(self) -> str: ...
    @property
    def record(self) -> Record: ...
    @property
    def journal(self) -> Journal: ...
    @property
    def bench(self) -> Bench: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def simulated(self) -> bool: ...
    @property
    def at_hand(self) -> ReadoutsAtHand: ...

    def say(self, cycle: int, what: str) -> None:
        """Tell what happens now."""


def plain_programme(
    lab: Perfused, key: str, line: str, purpose: Purpose, duration_h: float
) -> PumpProgramme:
    """Return a line's programme without drug: the one on record under the key, or a new one.

    Raises DoseNotFeasible where the line can not make it.
    """
    on_record = lab.journal.programme(key)
    if on_record:
        return on_record[0].intent.programme
    left = remaining_ul(lab.study, lab.journal.totals(lab.run_id).drawn_ul)
    round_off = quantise_with(lab.bench.pumps)
    study = connected_for_plain(lab, line) if purpose == "medium" else connected_now(lab)
    return make_programme(study, line, purpose, 0.0, duration_h, round_off, left)


def tell_held(lab: Perfused, progress: ProgrammeProgress) -> list[ProgrammeProgress]:
    """Tell that a programme is held, whatever it was for, and keep its line alive; return what does."""
    _, line, phase = progress.programme_key.rsplit("/", 2)
    cycle, why = cycle_of(progress.programme_key), f"held: {progress.reason}"
    left_h = progress.ends_h - lab.clock.now_h()
    kept: list[ProgrammeProgress] = []
    begun_before = lab.journal.programme(f"{progress.programme_key}-plain")
    if progress.programme.purpose != "medium" and (left_h > LOOK_AGAIN_H or begun_before):
        kept = keep_alive(lab, line, left_h, cycle, phase, why)
    elif progress.programme.purpose != "dose":  # no pump that would be left, or no time
        lab.say(cycle, f"line {line} STANDS WITHOUT FLOW: {why}")
    else:
        lab.say(cycle, f"line {line}: {why}")
    tell_may_run(lab, progress.programme_key, progress.may_run)
    return kept


def tell_may_run(lab: Perfused, key: str, pumps: Sequence[str]) -> None:
    """Tell of pumps of a programme that were told to stop and have not said that they stand."""
    for pump in pumps:
        said = f"{pump} MAY STILL RUN: stop it by hand; it is told again at every look"
        lab.say(cycle_of(key), said)


def keep_alive(
    lab: Perfused, line: str, duration_h: float, cycle: int, phase: str, why: str
) -> list[ProgrammeProgress]:
    """Perfuse a line with plain medium alone for as long; what can not be done is told, not forced."""
    refuse_when_stopped(lab.clock.stopped_by())
    key = programme_key(lab.run_id, cycle, line, f"{phase}-plain")
    lab.say(cycle, f"line {line}: {why}; plain medium instead")
    reached("plain_wanted")
    try:
        settle_plain(lab, line)
        programme = plain_programme(lab, key, line, "medium", duration_h)
        if not lab.journal.programme(key):
            if not phase.startswith(SUPERVISED):
                end_supervised(lab, line)  # its own end would leave the line dry in mid-phase
            stop_stimulus(lab, programme, cycle)
            reached("stimulus_stopped")
        progress = start_programme(
            lab.journal,
            lab.bench.pumps,
            lab.run_id,
            key,
            programme,
            lab.clock.now_h(),
            guard(lab, cycle),
        )
    except (RunStopped, DiskFull):
        raise
    except ChiploopError as trouble:
        refuse_when_stopped(lab.clock.stopped_by())
        flowing = ", ".join(
            a.intent.pump
            for a in line_actions(lab, line)
            if pump_progress(a).state == "running" and a.stood_h is None
        )
        said = f"line {line} STANDS WITHOUT FLOW"
        if flowing:
            said = f"line {line} keeps what flows from {flowing}"
        said += f": plain medium could not be started: {trouble}"
        again = not flowing and isinstance(trouble, InstrumentError | WaitingForPerson)
        dry = {DRY_UNTIL_H: lab.clock.now_h() + duration_h if again else None}
        lab.journal.note(lab.run_id, key, lab.clock.now_h(), said, **dry)
        lab.say(cycle, said)
        return []
    reached("plain_started")
    if progress.held:
        tell_held(lab, progress)
    return [progress]


def retry_dry(lab: Perfused) -> list[ProgrammeProgress]:
    """Start the plain medium that a pump's trouble kept from a line, once its pump is free and answers; return it.

    Under its own key, so at most once ever. Where a limit barred it, or nobody knows what its pump did, a person
    has to look.
    """
    open_lines = {
        a.intent.programme.line
        for a in lab.journal.open_actions(lab.run_id)
        if a.may_run or (a.held is None and a.stood_h is None)
    }
    dry = [line for line in lab.study.line_ids if line not in open_lines]
    events = lab.journal.events() if dry else []
    kept = []
    for line in dry:
        own = [
            e
            for e in events
            if e.run_id == lab.run_id
            and f"/{line}/" in e.key
            and (e.kind == "intent" or DRY_UNTIL_H in e.body)
        ]
        until_h = own[-1].body.get(DRY_UNTIL_H) if own else None
        if until_h is None or f"/{SUPERVISED}-" in own[-1].key:
            continue  # it was given something since, or a person has to look
        key, left_h = own[-1].key, until_h - lab.clock.now_h()
        if left_h <= LOOK_AGAIN_H or lab.journal.programme(key):
            continue
        try:
            programme = plain_programme(lab, key, line, "medium", left_h)
            refuse_when_busy(lab.journal, lab.bench.pumps, programme)
        except ChiploopError:
            continue  # as it was told
        phase = key.rsplit("/", 1)[-1].removesuffix("-plain")
        why = "it stood without flow, and its pump answers"
        kept += keep_alive(lab, line, left_h, cycle_of(key), phase, why)
    return kept


def line_actions(lab: Perfused, line: str) -> list[Action]:
    """Return the open actions of a line's pumps."""
    actions = lab.journal.actions(lab.run_id)
    return [a for a in actions if a.open and a.intent.programme.line == line]


def end_supervised(lab: Perfused, line: str) -> None:
    """End the plain medium that the supervisor gave a line while nobody worked on the run: something follows."""
    for action in line_actions(lab, line):
        own = action.intent.programme_key
        if f"/{SUPERVISED}-" in own:
            progress = stop_plain(
                lab.journal, lab.bench.pumps, own, lab.clock.now_h(), "the run goes on"
            )
            tell_may_run(lab, own, progress.may_run)


def settle_plain(lab: Perfused, line: str) -> None:
    """Read the counters of a line's earlier plain medium, which would bar its pump otherwise."""
    for action in line_actions(lab, line):
        if action.intent.programme.purpose == "medium":
            finish_programme(
                lab.journal, lab.bench.pumps, action.intent.programme_key, lab.clock.now_h()
            )


def stop_stimulus(lab: Perfused, plain: PumpProgramme, cycle: int) -> None:
    """Stop a line's stimulus before plain medium takes its place, which would come on top of it.

    Raises ChiploopError where plain medium can not run: the stimulus goes on then.
    """
    now_h = lab.clock.now_h()
    stimuli = {pump_name(plain.line, arm) for arm in lab.study.arms_of(plain.line)}
    going = [
        action
        for action in line_actions(lab, plain.line)
        if action.intent.pump in stimuli and action.stood_h is None
    ]
    if not going:
        return
    refuse_when_busy(lab.journal, lab.bench.pumps, plain)
    totals = lab.journal.totals(lab.run_id)
    stopped = tuple(
        moved.until(now_h) if moved.pump in {a.intent.pump for a in going} else moved
        for moved in totals.moved[plain.line]
    )
    totals = replace(totals, moved={**totals.moved, plain.line: stopped})
    guard(lab, cycle)(plain, totals, now_h)
    for key in dict.fromkeys(action.intent.programme_key for action in going):
        reason = "stopped for plain medium"
        progress = stop_plain(lab.journal, lab.bench.pumps, key, now_h, reason)
        tell_may_run(lab, key, [a.intent.pump for a in going if a.intent.pump in progress.may_run])


def guard(lab: Perfused, cycle: int) -> Guard:
    """Return the last look at the limits before a cycle's pumps; it asks record and journal anew each time."""

    def look(programme: PumpProgramme, totals: JournalTotals, time_h: float) -> None:
        refuse_unapproved(lab, programme, cycle)
        refuse_misplaced(lab, programme)
        read_h = newest_toxicity_h(lab.study, lab.at_hand.now(), programme.line)
        study, line = connected_now(lab), programme.line
        if programme.purpose == "medium" and not study.line(line).chips:
            study = connected_for_plain(lab, line)
            # who is on this line has nothing of the others meanwhile
            totals = replace(totals, moved={line: totals.moved.get(line, ())})
        check_before_wire(study, programme, totals, time_h, read_h, cycle=cycle)

    return look


def cycle_of(key: str) -> int:
    """Return the cycle in a programme's key."""
    return int(key.rsplit("/", 3)[1].removeprefix("c"))

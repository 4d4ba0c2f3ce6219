"""Liquids: starting the pumps of a phase, watching them, and reading them at the end.

Belongs here: which line gets what in a phase, and what is done about a line that can not have it. Not here:
intents, wire and counters (instruments.delivery), the order of phases (closed_loop).

A phase is one perfusion of every line: medium, a dose, a hold; where a dose has several parts, those after the
first are phases of their line alone (exposure_parts). What it needs is on record under its key, so a
phase that was begun goes on after an interruption with the programme on record, and a line that was left out
stays left out. A line that can not have its programme is told and kept alive on plain medium: tissue dies
without flow. Its stimulus stops for that, unless plain medium can not run. A pump that was told to stop and
has not said that it stands is told again at every look, and so is the person.

Plain functions, no tasks: what touches a chip waits for no flow engine. Prefect's timeline shows each programme
all the same, from the journal (flows.timeline).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from chiploop.campaign_values import Campaign
from chiploop.dosing import PumpProgramme, Purpose
from chiploop.errors import ChiploopError, SafetyRefusal
from chiploop.record.actions import Action, programme_key
from chiploop.record.disk import DiskFull
from chiploop.record.progress import ProgrammeProgress
from chiploop.record.replay import schedules_of
from chiploop.record.sessions import RecordAway
from chiploop.study_schedules import LATEST_START_H
from flows import valve_turns
from flows.clock import RunStopped, WallClock, refuse_when_stopped
from flows.fault_points import reached
from flows.laboratory import Laboratory
from flows.plain_medium import (
    LOOK_AGAIN_H,
    SUPERVISED,
    cycle_of,
    end_supervised,
    guard,
    keep_alive,
    line_actions,
    plain_programme,
    retry_dry,
    tell_held,
    tell_may_run,
)
from flows.stop_on_record import was_stopped_by_person
from flows.wire_news import tell_wires
from instruments.delivery import (
    SILENT,
    hold_programme,
    look_at_programme,
    start_programme,
    stop_again,
    stop_plain,
)
from instruments.errors import InstrumentError

SILENT_PATIENCE_H = 0.5
"""How long a pump that runs may be silent; its line may be dry, so it is held and kept alive then."""
SILENT_LOOKS = 3
"""How many looks in a row must have met silence before; looks may be hours apart."""
OVERDUE_SHARE = 0.05
"""How late a pump may end, as a part of its programme: clocks of pump and computer differ."""
CLOCK = "clock"
"""Kind of the record's event that the computer's clock was set, or that it slept."""
LEFT_OUT = "left out: "
"""How the journal's note begins that a line got no programme in a phase."""
MAY_BEGIN = "may begin after all: "
"""How the note begins that ends one of ``LEFT_OUT``."""


@dataclass(frozen=True)
class Wanted:
    """What a line shall get in a phase."""

    line: str
    duration_h: float
    programme: PumpProgramme | None
    """None where it can not be made; ``why`` then says so."""
    why: str = ""
    due_h: float | None = None
    """Study time at which it must begin, where that hangs on the line and not on the others."""


def wanted_plain(
    lab: Laboratory, purpose: Purpose, duration_h: float, cycle: int, phase: str
) -> list[Wanted]:
    """Return medium or stimulus without drug for every line; what is on record stands."""
    wanted = []
    for line in lab.study.line_ids:
        key = programme_key(lab.run_id, cycle, line, phase)
        programme: PumpProgramme | None = None
        why = ""
        try:
            programme = plain_programme(lab, key, line, purpose, duration_h)
        except SafetyRefusal as refusal:
            why = str(refusal)
        wanted.append(Wanted(line, duration_h, programme, why))
    return wanted


def start_pumps(
    lab: Laboratory, wanted: Sequence[Wanted], cycle: int, phase: str
) -> list[ProgrammeProgress]:
    """Start every line's programme, each at most once ever; return all that runs.

    Raises the first trouble where no line at all could have its programme.
    """
    return start_lines(lab, wanted, cycle, phase)


def start_lines(
    lab: Laboratory, wanted: Sequence[Wanted], cycle: int, phase: str
) -> list[ProgrammeProgress]:
    """Start every line's programme as ``start_pumps`` does; a line with a time of its own raises no trouble."""
    retry_stops(lab)
    begun: list[ProgrammeProgress] = []
    kept: list[ProgrammeProgress] = []
    troubles: list[ChiploopError] = []
    begun_h = phase_begins_h(lab, cycle, phase)
    for one in wanted:
        key = programme_key(lab.run_id, cycle, one.line, phase)
        now_h = lab.clock.now_h()
        why = reason_to_leave_out(lab, one, key, begun_h)
        trouble: ChiploopError | None = None
        if not why and one.programme is not None:
            try:
                if not lab.journal.programme(key):
                    end_supervised(lab, one.line)
                progress = start_programme(
                    lab.journal,
                    lab.bench.pumps,
                    lab.run_id,
                    key,
                    one.programme,
                    now_h,
                    guard(lab, cycle),
                )
                begun.append(progress)
                begun_h.append(progress.begins_h)
                kept += in_place_of_stopped(lab, progress, cycle, phase)
                if progress.held:
                    kept += tell_held(lab, progress)
            except (RunStopped, DiskFull):
                raise
            except ChiploopError as met:
                refuse_when_stopped(
                    lab.clock.stopped_by()
                )  # else the line would be left out for it
                troubles.append(met)
                trouble, why = met, str(met)
        if why and lab.journal.programme(key):
            progress = hold_programme(lab.journal, lab.bench.pumps, key, now_h, why)
            begun += [] if trouble else [progress]
            kept += tell_held(lab, progress)
        elif why:
            leave_out(lab, key, why)
            reached("line_left_out")
            due_h = min(begun_h, default=now_h) if one.due_h is None else one.due_h
            left_h = one.duration_h + min(due_h, now_h) - now_h  # to the end of the phase
            if left_h > LOOK_AGAIN_H or lab.journal.programme(f"{key}-plain"):
                kept += keep_alive(lab, one.line, left_h, cycle, phase, why)
        reached("line_started")
    tell_wires(lab, cycle)
    if troubles and not begun and all(one.due_h is None for one in wanted):
        raise troubles[0]
    return begun + kept


def in_place_of_stopped(
    lab: Laboratory, progress: ProgrammeProgress, cycle: int, phase: str
) -> list[ProgrammeProgress]:
    """Return what perfuses a line to the end of a phase whose programme the supervisor or a person stopped.

    The run has been taken up again since. What the supervisor gave has an end of its own that nobody else sees to.
    """
    left_h = progress.ends_h - lab.clock.now_h()
    actions = lab.journal.programme(progress.programme_key)
    was_stopped = all(a.end is not None and a.stood_h is not None for a in actions)
    if progress.held or not was_stopped or left_h <= LOOK_AGAIN_H:
        return []
    line = progress.programme.line
    supervised = [a for a in line_actions(lab, line) if f"/{SUPERVISED}-" in a.intent.programme_key]
    begun_before = lab.journal.programme(f"{progress.programme_key}-plain")
    if not (supervised or begun_before or was_stopped_by_person(lab.journal, actions)):
        return []
    end_supervised(lab, line)
    return keep_alive(lab, line, left_h, cycle, phase, "its programme was ended before its time")


def phase_begins_h(lab: Laboratory, cycle: int, phase: str) -> list[float]:
    """Return when lines began a phase, by the journal."""
    keys = (programme_key(lab.run_id, cycle, line, phase) for line in lab.study.line_ids)
    return [a.begun_h for key in keys for a in lab.journal.programme(key) if a.sent_h]


def reason_to_leave_out(lab: Laboratory, wanted: Wanted, key: str, begun_h: Sequence[float]) -> str:
    """Return why a line does not get its programme in this phase; empty where it does."""
    if wanted.due_h is not None:
        begun_h = ()
    on_record = lab.journal.programme(key)
    if on_record:
        return too_late(lab, begun_h, on_record, wanted.due_h)
    if left_out := left_out_for(lab, key):
        return left_out
    held = lab.journal.held(lab.run_id).get(wanted.line)
    if held:
        return f"the line is held: {held}"
    if wanted.programme is None:
        return wanted.why
    return too_late(lab, begun_h, (), wanted.due_h)


def too_late(
    lab: Laboratory,
    begun_h: Sequence[float],
    on_record: Sequence[Action] = (),
    due_h: float | None = None,
) -> str:
    """Return why a programme of which nothing was sent begins no more; empty where it may.

    ``due_h`` is when it must begin where that does not hang on other lines.

    Plain medium on record begins however late: tissue dies without flow.
    """
    if any(a.sent_h or a.held or not a.open for a in on_record):
        return ""
    if any(a.intent.programme.purpose == "medium" for a in on_record):
        return ""
    late_h = lab.clock.now_h() - min(begun_h, default=lab.clock.now_h())
    if late_h > LATEST_START_H:
        return f"other lines began {late_h:.2g} h ago; a dose begun now would be another dose"
    own_h = min((a.intent.time_h for a in on_record), default=lab.clock.now_h())
    if due_h is not None:
        own_h = min(own_h, due_h)
    late_h = lab.clock.now_h() - own_h
    if late_h > LATEST_START_H:
        return f"it was to begin {late_h:.2g} h ago; a dose begun now would be another dose"
    return ""


def leave_out(lab: Laboratory, key: str, why: str) -> None:
    """Put on record, once, that a line was left out of a phase."""
    notes = [str(e.body["text"]) for e in lab.journal.events(key) if e.kind == "note"]
    if not notes or notes[-1].startswith(MAY_BEGIN):
        lab.journal.note(lab.run_id, key, lab.clock.now_h(), LEFT_OUT + why)


def left_out_for(lab: Laboratory, key: str) -> str:
    """Return why a line was left out of a phase; empty where it was not, or may begin after all."""
    notes = [str(e.body["text"]) for e in lab.journal.events(key) if e.kind == "note"]
    told = [text for text in notes if text.startswith((LEFT_OUT, MAY_BEGIN))]
    return told[-1].removeprefix(LEFT_OUT) if told and told[-1].startswith(LEFT_OUT) else ""


def look_again_at_left_out(lab: Laboratory, cycle: int) -> None:
    """Let a cycle's doses begin after all that were left out while a valve was silent or in doubt.

    Only where none of the cycle has begun, and every valve says by now, or a person has, where it stands. The
    plain medium in their place ends: no valve turns under flow.
    """
    keys = [programme_key(lab.run_id, cycle, line, "dose") for line in lab.study.line_ids]
    left_out = [key for key in keys if left_out_for(lab, key)]
    if not left_out or not lab.study.valves or valve_turns.has_begun(lab, cycle):
        return
    valve_turns.look_at_open_turns(lab, cycle, in_doubt=True)
    if valve_turns.in_doubt_now(lab) or valve_turns.silent_valve(lab):
        return
    for key in left_out:
        end_supervised(lab, key.split("/")[-2])
        plain = f"{key}-plain"
        if any(action.open for action in lab.journal.programme(plain)):
            reason = "the doses begin after all"
            progress = stop_plain(lab.journal, lab.bench.pumps, plain, lab.clock.now_h(), reason)
            tell_may_run(lab, plain, progress.may_run)
        why = "the valves say where they stand"
        lab.journal.note(lab.run_id, key, lab.clock.now_h(), MAY_BEGIN + why)
        lab.say(cycle, f"line {key.split('/')[-2]} {MAY_BEGIN}{why}")


def retry_stops(lab: Laboratory) -> None:
    """Tell every pump to stop that was told before and has not said that it stands."""
    told = [a.intent for a in lab.journal.actions(lab.run_id) if a.open and a.may_run]
    for key in dict.fromkeys(intent.programme_key for intent in told):
        progress = stop_again(lab.journal, lab.bench.pumps, key, lab.clock.now_h())
        for intent in told:
            if intent.programme_key == key and intent.pump not in progress.may_run:
                lab.say(cycle_of(key), f"{intent.pump} says now that it stands still")
        tell_may_run(lab, key, progress.may_run)


def unsettled(progress: ProgrammeProgress) -> bool:
    """Return whether a pump of the programme has no outcome yet that time alone would bring."""
    return progress.running or (
        not progress.held and any(p.state == "waiting" for p in progress.pumps)
    )


def of_phase(running: Sequence[ProgrammeProgress], phase: str) -> list[ProgrammeProgress]:
    """Return the programmes that the phase wanted, without plain medium that stands in for one."""
    return [p for p in running if p.programme_key.endswith(f"/{phase}")]


def begun(lab: Laboratory, cycle: int, phase: str) -> bool:
    """Return whether a phase is on record for any line: an interrupted run had come that far."""
    keys = (programme_key(lab.run_id, cycle, line, phase) for line in lab.study.line_ids)
    return any(lab.journal.programme(key) for key in keys)


def is_under_way(lab: Laboratory, cycle: int, phase: str) -> bool:
    """Return whether a phase is on record for any line, or that a line was left out of it."""
    keys = (programme_key(lab.run_id, cycle, line, phase) for line in lab.study.line_ids)
    return begun(lab, cycle, phase) or any(left_out_for(lab, key) for key in keys)


def next_look_h(lab: Laboratory) -> float:
    """Return when the pumps are looked at next: at whole multiples, so that a resumed run keeps the times."""
    every_h = lab.watch_every_h
    return (math.floor(lab.clock.now_h() / every_h + 1e-9) + 1) * every_h


def watch_pumps(
    lab: Laboratory, running: Sequence[ProgrammeProgress], until_h: float, cycle: int
) -> list[ProgrammeProgress]:
    """Wait until a study time and look at every pump meanwhile; return all that runs then.

    A pump that stalled, lost its power or was silent for too long holds its line: the drug stops,
    plain medium flows.
    """
    return watch_until(lab, running, until_h, cycle)


def watch_until(
    lab: Laboratory, running: Sequence[ProgrammeProgress], until_h: float, cycle: int
) -> list[ProgrammeProgress]:
    """Look at every pump until a study time, as ``watch_pumps`` does."""
    watched = list(running)
    while lab.clock.now_h() < until_h - 1e-9:
        lab.clock.wait_until_h(min(until_h, next_look_h(lab)))
        tell_clock(lab, cycle)
        retry_stops(lab)
        stop_unasked(lab, cycle)
        watched += retry_dry(lab)
        tell_wires(lab, cycle)
        for i, progress in enumerate(watched):
            if unsettled(progress):
                watched[i], kept = look(lab, progress)
                watched += kept
    return watched


def finish_pumps(lab: Laboratory, running: Sequence[ProgrammeProgress]) -> None:
    """Read every pump's counter at its end and put the outcome into the journal.

    A pump that still runs long after its end is stopped and its line held.
    """
    finish_lines(lab, running)


def finish_lines(lab: Laboratory, running: Sequence[ProgrammeProgress]) -> None:
    """Read the counters as ``finish_pumps`` does."""
    retry_stops(lab)
    watched = list(running)
    for progress in watched:
        while unsettled(progress):
            progress, kept = look(lab, progress)
            watched += kept
            late_h = lab.clock.now_h() - progress.ends_h
            if progress.running and late_h > OVERDUE_SHARE * progress.programme.duration_h:
                progress = hold_programme(
                    lab.journal,
                    lab.bench.pumps,
                    progress.programme_key,
                    lab.clock.now_h(),
                    f"it still runs, or is silent, {late_h:.2g} h after its end",
                    stop_all=True,
                )
                watched += tell_held(lab, progress)
            elif progress.running:
                lab.clock.wait_until_h(lab.clock.now_h() + LOOK_AGAIN_H)
                retry_stops(lab)
        tell_wires(lab, cycle_of(progress.programme_key))
        reached("line_finished")


def look(
    lab: Laboratory, progress: ProgrammeProgress
) -> tuple[ProgrammeProgress, list[ProgrammeProgress]]:
    """Look at a programme's pumps once and tell what is new; return it and what keeps its line alive."""
    key, now_h = progress.programme_key, lab.clock.now_h()
    before = {pump.pump for pump in progress.pumps if pump.state == "held"}
    progress = look_at_programme(lab.journal, lab.bench.pumps, key, now_h)
    tell_silence(lab, progress)
    silent_h = {p.pump: now_h - min(p.silent_h, default=now_h) for p in progress.pumps}
    too_long = [
        pump.pump
        for pump in progress.pumps
        if len(pump.silent_h) >= SILENT_LOOKS and silent_h[pump.pump] > SILENT_PATIENCE_H
    ]
    if too_long:
        reason = ", ".join(
            f"{pump} has been silent for {silent_h[pump]:.2g} h" for pump in too_long
        )
        progress = hold_programme(
            lab.journal, lab.bench.pumps, key, now_h, reason, in_doubt=too_long
        )
    held = {pump.pump for pump in progress.pumps if pump.state == "held"}
    return progress, tell_held(lab, progress) if held - before else []


def stop_unasked(lab: Laboratory, cycle: int) -> None:
    """Stop every pump that runs though nothing is on record for it, and hold what its line gets.

    A flipped bit of another pump's start, or a hand at its keys: what flowed nobody has approved.
    """
    asked = {action.intent.pump for action in lab.journal.open_actions()}
    now_h = lab.clock.now_h()
    for name, pump in lab.bench.pumps.items():
        if name in asked:
            continue
        try:
            status = pump.status()
        except InstrumentError:
            continue  # a pump that is not in use is told of when it is wanted
        if status.state not in ("infusing", "withdrawing"):
            continue
        said = f"{name} RAN THOUGH NOTHING WAS ASKED OF IT (counter {status.infused_ul:g} uL)"
        try:
            pump.stop()
            said += "; it was stopped"
        except InstrumentError as trouble:
            said += f" and MAY STILL RUN: stop it by hand ({trouble})"
        line = name.rsplit("-", 1)[0]
        lab.say(cycle, f"line {line}: {said}")
        lab.journal.note(lab.run_id, f"{lab.run_id}/unasked/{name}", now_h, said)
        for key in dict.fromkeys(a.intent.programme_key for a in line_actions(lab, line)):
            held = hold_programme(lab.journal, lab.bench.pumps, key, now_h, said, stop_all=True)
            tell_held(lab, held)


def tell_silence(lab: Laboratory, progress: ProgrammeProgress) -> None:
    """Tell of a running pump's first silence, and again with each hour of it."""
    for pump in progress.pumps:
        hours = [int(h - pump.silent_h[0] + 1e-9) for h in pump.silent_h]
        if hours and (len(hours) == 1 or hours[-1] > hours[-2]):
            line, cycle = progress.programme.line, cycle_of(progress.programme_key)
            said = f"line {line}: {pump.pump} {SILENT}"
            lab.say(cycle, f"{said}, since {pump.silent_h[0]:.4g} h")


def tell_clock(lab: Laboratory, cycle: int) -> None:
    """Tell, and put on record, that somebody has set the computer's clock, or that it slept."""
    if not isinstance(lab.clock, WallClock):
        return
    for news in lab.clock.happened():
        lab.say(cycle, news.told)
        content = {"what": news.kind, "seconds": round(news.seconds, 1), "cycle": cycle}
        try:
            lab.record.add_event(lab.run_id, CLOCK, lab.clock.now_h(), content)
        except RecordAway as trouble:  # a dose is under way: it was told, and run.log has it
            lab.say(cycle, f"that is not on record: {trouble}")


def delivered(lab: Laboratory, campaign: Campaign) -> Campaign:
    """Return the campaign with what the journal says that the chips got: counters, or a person's word.

    Programmes with a volume that nobody knows are left out; ``replay.unknown_chips_since`` tells of them.
    """
    return replace(campaign, schedules=schedules_of(lab.journal, lab.study, lab.run_id))

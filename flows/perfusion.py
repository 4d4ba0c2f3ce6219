"""Liquids as Prefect tasks: starting the pumps of a phase, watching them, and reading them at the end.

Belongs here: which line gets what in a phase, and what is done about a line that can not have it. Not here:
intents, wire and counters (instruments.delivery), the order of phases (closed_loop).

A phase is one perfusion of every line: medium, a dose, a hold. What it needs is on record under its key, so a
phase that was begun goes on after an interruption with the programme on record, and a line that was left out
stays left out. A line that can not have its programme is told and kept alive on plain medium: tissue dies
without flow, and the plain medium pump is not the one in doubt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from chiploop.campaign_values import Campaign, Proposal
from chiploop.dosing import PumpProgramme, Purpose, make_programme, remaining_ul
from chiploop.errors import ChiploopError, SafetyRefusal
from chiploop.record.actions import JournalTotals, programme_key
from chiploop.record.progress import ProgrammeProgress, programme_progress
from chiploop.record.replay import schedules_of
from chiploop.safety import check_before_wire, newest_toxicity_h
from flows.clock import refuse_when_stopped
from flows.fault_points import reached
from flows.laboratory import Laboratory
from instruments.delivery import (
    Guard,
    finish_programme,
    hold_programme,
    quantise_with,
    start_programme,
)
from instruments.errors import InstrumentError

LIQUID: dict[str, Any] = {"retries": 0, "cache_policy": NO_CACHE, "persist_result": False}
LATEST_START_H = 0.5
"""How much later than the first line of a phase another may begin; a later dose is another dose."""
LOOK_AGAIN_H = 0.02
"""Between two looks at a pump that should have ended."""
OVERDUE_SHARE = 0.05
"""How late a pump may end, as a part of its programme: clocks of pump and computer differ."""
LEFT_OUT = "left out: "
"""How the journal's note begins that a line got no programme in a phase."""


@dataclass(frozen=True)
class Wanted:
    """What a line shall get in a phase."""

    line: str
    duration_h: float
    programme: PumpProgramme | None
    """None where it can not be made; ``why`` then says so."""
    why: str = ""


def wanted_doses(lab: Laboratory, proposal: Proposal) -> list[Wanted]:
    """Return an approved proposal's doses, and nothing for the lines that it leaves out."""
    doses = {dose.line: dose.programme for dose in proposal.doses}
    hours = lab.study.timeline.exposure_h
    return [
        Wanted(line, hours, doses.get(line), "" if line in doses else "no dose was proposed for it")
        for line in lab.study.line_ids
    ]


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


def plain_programme(
    lab: Laboratory, key: str, line: str, purpose: Purpose, duration_h: float
) -> PumpProgramme:
    """Return a line's programme without drug: the one on record under the key, or a new one.

    Raises DoseNotFeasible where the line can not make it.
    """
    on_record = lab.journal.programme(key)
    if on_record:
        return on_record[0].intent.programme
    left = remaining_ul(lab.study, lab.journal.totals(lab.run_id).drawn_ul)
    round_off = quantise_with(lab.bench.pumps)
    return make_programme(lab.study, line, purpose, 0.0, duration_h, round_off, left)


@task(name="start pumps", **LIQUID)
def start_pumps(
    lab: Laboratory, wanted: Sequence[Wanted], cycle: int, phase: str
) -> list[ProgrammeProgress]:
    """Start every line's programme, each at most once ever; return all that runs.

    Raises the first trouble where no line at all could have its programme.
    """
    begun: list[ProgrammeProgress] = []
    kept: list[ProgrammeProgress] = []
    troubles: list[ChiploopError] = []
    for one in wanted:
        key = programme_key(lab.run_id, cycle, one.line, phase)
        why = reason_to_leave_out(lab, one, key, [p.begins_h for p in begun])
        if not why and one.programme is not None:
            try:
                progress = start_programme(
                    lab.journal,
                    lab.bench.pumps,
                    lab.run_id,
                    key,
                    one.programme,
                    lab.clock.now_h(),
                    guard(lab),
                )
                begun.append(progress)
                if progress.held:
                    kept += keep_alive(lab, one.line, one.duration_h, cycle, phase, progress.reason)
            except (InstrumentError, SafetyRefusal) as trouble:
                refuse_when_stopped(
                    lab.clock.stopped_by()
                )  # else the line would be left out for it
                troubles.append(trouble)
                why = str(trouble)
        if why:
            leave_out(lab, key, why)
            kept += keep_alive(lab, one.line, one.duration_h, cycle, phase, why)
        reached("line_started")
    if troubles and not begun:
        raise troubles[0]
    return begun + kept


def reason_to_leave_out(lab: Laboratory, wanted: Wanted, key: str, begun_h: Sequence[float]) -> str:
    """Return why a line does not get its programme in this phase; empty where it does."""
    if lab.journal.programme(key):
        return ""
    for event in lab.journal.events(key):
        if event.kind == "note" and str(event.body["text"]).startswith(LEFT_OUT):
            return str(event.body["text"]).removeprefix(LEFT_OUT)
    held = lab.journal.held(lab.run_id).get(wanted.line)
    if held:
        return f"the line is held: {held}"
    if wanted.programme is None:
        return wanted.why
    late_h = lab.clock.now_h() - min(begun_h, default=lab.clock.now_h())
    if late_h > LATEST_START_H:
        return f"other lines began {late_h:.2g} h ago; a dose begun now would be another dose"
    return ""


def leave_out(lab: Laboratory, key: str, why: str) -> None:
    """Put on record, once, that a line was left out of a phase."""
    if not any(event.kind == "note" for event in lab.journal.events(key)):
        lab.journal.note(lab.run_id, key, lab.clock.now_h(), LEFT_OUT + why)


def keep_alive(
    lab: Laboratory, line: str, duration_h: float, cycle: int, phase: str, why: str
) -> list[ProgrammeProgress]:
    """Perfuse a line with plain medium for as long; what can not be done is told, not forced."""
    refuse_when_stopped(lab.clock.stopped_by())
    key = programme_key(lab.run_id, cycle, line, f"{phase}-plain")
    lab.say(cycle, f"line {line}: {why}; plain medium instead")
    try:
        settle_plain(lab, line)
        programme = plain_programme(lab, key, line, "medium", duration_h)
        progress = start_programme(
            lab.journal, lab.bench.pumps, lab.run_id, key, programme, lab.clock.now_h(), guard(lab)
        )
    except ChiploopError as trouble:
        said = f"line {line} STANDS WITHOUT FLOW: plain medium could not be started: {trouble}"
        lab.journal.note(lab.run_id, key, lab.clock.now_h(), said)
        lab.say(cycle, said)
        return []
    return [progress]


def settle_plain(lab: Laboratory, line: str) -> None:
    """Read the counters of a line's earlier plain medium, which would bar its pump otherwise."""
    for action in lab.journal.actions(lab.run_id):
        programme = action.intent.programme
        if action.open and programme.line == line and programme.purpose == "medium":
            finish_programme(
                lab.journal, lab.bench.pumps, action.intent.programme_key, lab.clock.now_h()
            )


def guard(lab: Laboratory) -> Guard:
    """Return the last look at the limits before the pumps; it asks record and journal anew each time."""

    def look(programme: PumpProgramme, totals: JournalTotals, time_h: float) -> None:
        read_h = newest_toxicity_h(lab.study, lab.record.readouts(lab.run_id))
        check_before_wire(lab.study, programme, totals, time_h, read_h)

    return look


def unsettled(progress: ProgrammeProgress) -> bool:
    """Return whether a pump of the programme has no outcome yet that time alone would bring."""
    return not progress.held and any(p.state in ("waiting", "running") for p in progress.pumps)


def of_phase(running: Sequence[ProgrammeProgress], phase: str) -> list[ProgrammeProgress]:
    """Return the programmes that the phase wanted, without plain medium that stands in for one."""
    return [p for p in running if p.programme_key.endswith(f"/{phase}")]


def begun(lab: Laboratory, cycle: int, phase: str) -> bool:
    """Return whether a phase is on record for any line: an interrupted run had come that far."""
    keys = (programme_key(lab.run_id, cycle, line, phase) for line in lab.study.line_ids)
    return any(lab.journal.programme(key) for key in keys)


def next_look_h(lab: Laboratory) -> float:
    """Return when the pumps are looked at next: at whole multiples, so that a resumed run keeps the times."""
    every_h = lab.watch_every_h
    return (math.floor(lab.clock.now_h() / every_h + 1e-9) + 1) * every_h


@task(name="watch pumps", **LIQUID)
def watch_pumps(
    lab: Laboratory, running: Sequence[ProgrammeProgress], until_h: float, cycle: int
) -> list[ProgrammeProgress]:
    """Wait until a study time and look at every pump meanwhile; return all that runs then.

    A pump that stalled or lost its power holds its line at once: the drug stops, plain medium flows.
    """
    watched = list(running)
    while lab.clock.now_h() < until_h - 1e-9:
        lab.clock.wait_until_h(min(until_h, next_look_h(lab)))
        for i, progress in enumerate(watched):
            if not unsettled(progress):
                continue
            now_h = lab.clock.now_h()
            watched[i] = finish_programme(
                lab.journal, lab.bench.pumps, progress.programme_key, now_h, patient=True
            )
            if watched[i].held:
                watched[i] = hold_programme(
                    lab.journal, lab.bench.pumps, progress.programme_key, now_h, watched[i].reason
                )
                phase = progress.programme_key.rsplit("/", 1)[1]
                left_h = progress.ends_h - now_h
                if left_h > LOOK_AGAIN_H and progress.programme.purpose != "medium":
                    line = progress.programme.line
                    why = f"held: {watched[i].reason}"
                    watched += keep_alive(lab, line, left_h, cycle, phase, why)
    return watched


@task(name="finish pumps", **LIQUID)
def finish_pumps(lab: Laboratory, running: Sequence[ProgrammeProgress]) -> None:
    """Read every pump's counter at its end and put the outcome into the journal.

    A pump that still runs long after its end is stopped and its line held.
    """
    for progress in running:
        key = progress.programme_key
        while unsettled(progress):
            now_h = lab.clock.now_h()
            progress = finish_programme(lab.journal, lab.bench.pumps, key, now_h, patient=True)
            late_h = now_h - progress.ends_h
            if progress.running and late_h > OVERDUE_SHARE * progress.programme.duration_h:
                reason = f"it still runs, or is silent, {late_h:.2g} h after its end"
                progress = hold_programme(
                    lab.journal, lab.bench.pumps, key, lab.clock.now_h(), reason
                )
            elif progress.running:
                lab.clock.wait_until_h(lab.clock.now_h() + LOOK_AGAIN_H)
        reached("line_finished")


def delivered(lab: Laboratory, campaign: Campaign) -> Campaign:
    """Return the campaign with what the journal says that the chips got: counters, or a person's word.

    Programmes with a volume that nobody knows are left out; ``unknown_since`` tells of them.
    """
    return replace(campaign, schedules=schedules_of(lab.journal, lab.study, lab.run_id))


def unknown_since(lab: Laboratory) -> dict[str, float]:
    """Return line -> study time from which nobody knows what its chips got; absent where all is known."""
    since: dict[str, float] = {}
    keys = dict.fromkeys(a.intent.programme_key for a in lab.journal.actions(lab.run_id))
    for key in keys:
        progress = programme_progress(lab.journal, key)
        lost = progress.held or any(
            p.state == "abandoned" and not math.isfinite(p.delivered_ul) for p in progress.pumps
        )
        if lost:
            line = progress.programme.line
            since[line] = min(since.get(line, math.inf), progress.begins_h)
    return since

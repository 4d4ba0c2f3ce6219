"""The parts of an exposure: what every line gets first, and at its own times next.

Belongs here: when which line changes to its next part, and what bars it. Not here: starting and watching pumps
(perfusion), what a part is (chiploop.exposure), the order of an exposure's steps (closed_loop).

Each part is a phase of its own under the line's cycle (``dose``, ``dose-2`` ...), begun at most once ever. A line
whose part was not given in full (left out, held, stopped) gets no later part of that exposure, whatever a person
has settled meanwhile: what its chips got is another dose already. It is kept alive on plain medium, part by part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from chiploop.campaign_values import Proposal
from chiploop.dosing import PumpProgramme
from chiploop.errors import SafetyRefusal
from chiploop.exposure import ExposureProgramme
from chiploop.record.actions import part_phase, programme_key
from chiploop.record.progress import ProgrammeProgress
from chiploop.record.replay import schedules_of
from chiploop.safety import check_exposure_before_wire, newest_toxicity_h
from chiploop.study_schedules import LATEST_START_H, STIMULUS
from chiploop.toxicity_closures import closed_now
from flows import perfusion
from flows.disk_room import part_kept_back_by
from flows.fault_points import reached
from flows.laboratory import Laboratory
from flows.perfusion import Wanted
from flows.plain_medium import LOOK_AGAIN_H, tell_held
from flows.proposing import reopened_doses
from flows.valve_turns import connected_now, reason_not_connected
from instruments.delivery import hold_programme


@dataclass(frozen=True)
class Change:
    """A line's change to its next part."""

    line: str
    number: int
    """Of the part, from 2."""
    due_h: float
    """Study time at which it must begin."""
    programme: PumpProgramme


def wanted_doses(lab: Laboratory, proposal: Proposal, cycle: int) -> list[Wanted]:
    """Return the first part of every approved dose, and nothing for the lines that a proposal leaves out.

    A dose of several parts that the limits would not let come to its end is not begun.
    """
    doses = {dose.line: dose for dose in proposal.doses}
    wanted = []
    for line in lab.study.line_ids:
        if line not in doses:
            hours = lab.study.timeline.exposure_h
            wanted.append(Wanted(line, hours, None, "no dose was proposed for it"))
            continue
        first = doses[line].programme.parts[0]
        why = reason_not_to_begin(lab, doses[line].programme, cycle)
        why = why or reason_not_connected(lab, doses[line], cycle)
        wanted.append(Wanted(line, first.duration_h, None if why else first, why))
    return wanted


def reason_not_to_begin(lab: Laboratory, exposure: ExposureProgramme, cycle: int) -> str:
    """Return what closes an approved dose by now, or which limit a later part would break; empty where nothing
    does, or where the dose is on record.

    Harm that was read since the dose was proposed closes it here. Limits of a dose of one part are met at the
    pumps alone.
    """
    key = programme_key(lab.run_id, cycle, exposure.line, part_phase(1))
    if lab.journal.programme(key):
        return ""
    if closed := closed_by_harm(lab, exposure, cycle):
        return f"{exposure.asked_nm:g} nM is not given: {closed}"
    if len(exposure.parts) == 1:
        return ""
    read_h = newest_toxicity_h(lab.study, lab.at_hand.now(), exposure.line)
    totals = lab.journal.totals(lab.run_id)
    try:
        now_h = lab.clock.now_h()
        check_exposure_before_wire(connected_now(lab), exposure, totals, now_h, read_h, cycle)
    except SafetyRefusal as refusal:
        return str(refusal)
    return ""


def closed_by_harm(lab: Laboratory, exposure: ExposureProgramme, cycle: int) -> str:
    """Return why harm on record by now closes a dose of a cycle; empty where none does."""
    readouts = lab.at_hand.now()
    if not readouts or exposure.delivered_nm == 0.0:
        return ""
    schedules = schedules_of(lab.journal, lab.study, lab.run_id)
    if not closed_now(lab.study, schedules, readouts, (), exposure, cycle):
        return ""  # nobody has to be asked what persons have reopened
    reopened = reopened_doses(lab.record, lab.run_id)
    return closed_now(lab.study, schedules, readouts, reopened, exposure, cycle)


def changes_of(proposal: Proposal, dosed: Sequence[ProgrammeProgress]) -> list[Change]:
    """Return every change of the exposure, in time order.

    A line counts from the begin of its own first part; one that has none from that of the first line.
    """
    begins_h = {progress.programme.line: progress.begins_h for progress in dosed}
    first_h = min(begins_h.values())
    found = []
    for dose in proposal.doses:
        begin_h = begins_h.get(dose.line, first_h)
        parts = dose.programme.parts
        after_h = accumulate(part.duration_h for part in parts[:-1])
        for number, (hours, part) in enumerate(zip(after_h, parts[1:], strict=True), 2):
            found.append(Change(dose.line, number, begin_h + hours, part))
    return sorted(found, key=lambda change: (change.due_h, change.line))


def reason_against(lab: Laboratory, change: Change, cycle: int) -> str:
    """Return why a line gets no further part of this exposure; empty where every part before was given."""
    for number in range(1, change.number):
        phase = part_phase(number)
        actions = lab.journal.programme(programme_key(lab.run_id, cycle, change.line, phase))
        if not actions:
            return f"its {phase} of this exposure was left out; the parts after it are too"
        if any(action.end is None or action.end.kind != "outcome" for action in actions):
            return f"its {phase} of this exposure was not given to its end; no part follows"
        if any(action.stood_h is not None for action in actions):
            return f"its {phase} of this exposure was stopped; no part follows"
    own = programme_key(lab.run_id, cycle, change.line, part_phase(change.number))
    by = part_kept_back_by(lab)
    if by and change.programme.delivered_nm > 0.0 and not lab.journal.programme(own):
        return f"the run is on hold by {by}"
    return ""


def next_part(
    lab: Laboratory, running: Sequence[ProgrammeProgress], change: Change, cycle: int
) -> list[ProgrammeProgress]:
    """Start a line's next part once its last one has ended; other lines are watched meanwhile.

    A last part that goes on for so long that the next one would be too late is stopped and holds the line.
    Returns all that runs.
    """
    watched = list(running)
    for i, progress in enumerate(running):  # the last look may be long ago
        if goes_on(progress, change.line):
            watched[i], kept = perfusion.look(lab, progress)
            watched += kept
    last_h = change.due_h + LATEST_START_H
    while lab.clock.now_h() < last_h - 1e-6 and any(goes_on(p, change.line) for p in watched):
        until_h = min(lab.clock.now_h() + LOOK_AGAIN_H, last_h)
        watched = perfusion.watch_until(lab, watched, until_h, cycle)
    own = [p for p in watched if p.programme.line == change.line]
    watched = [p for p in watched if p.programme.line != change.line]
    own = [end_dose(lab, progress) for progress in own]
    perfusion.finish_lines(lab, [p for p in own if not goes_on(p, change.line)])
    if still := [p for p in own if goes_on(p, change.line)]:  # plain medium, which keeps it alive
        return watched + still
    reached("part_due")
    why = reason_against(lab, change, cycle)
    hours = change.programme.duration_h
    wanted = Wanted(change.line, hours, None if why else change.programme, why, change.due_h)
    if not why:
        lab.say(cycle, f"line {change.line}: {words(change.programme)} for {hours:g} h")
    return watched + perfusion.start_lines(lab, [wanted], cycle, part_phase(change.number))


def goes_on(progress: ProgrammeProgress, line: str) -> bool:
    """Return whether a programme of a line has no outcome yet."""
    return progress.programme.line == line and perfusion.unsettled(progress)


def end_dose(lab: Laboratory, progress: ProgrammeProgress) -> ProgrammeProgress:
    """Stop and hold a part of a dose that goes on when the next one can not begin in time any more."""
    if progress.programme.purpose != "dose" or not perfusion.unsettled(progress):
        return progress
    now_h = lab.clock.now_h()
    reason = f"it still runs, or is silent, {now_h - progress.ends_h:.2g} h after its end"
    key = progress.programme_key
    held = hold_programme(lab.journal, lab.bench.pumps, key, now_h, reason, stop_all=True)
    tell_held(lab, held)
    return held


def words(programme: PumpProgramme) -> str:
    """Return what a part is, for people."""
    dose = f"{programme.asked_nm:g} nM" if programme.asked_nm > 0.0 else "stimulus without drug"
    return dose if programme.arm == STIMULUS else f"{dose}, in {programme.arm}"

"""Valves of a run: turned before the doses that want it, looked at before every dose.

Belongs here: when valves turn, and what is refused where one does not stand as the doses want it. Not here: which
connection is wanted (chiploop.connected_doses), journal and wire of one turn (instruments.valve_turn). No Prefect.

Valves turn between the end of a hold and the begin of the next exposure, once the hold's counters are read and its
pumps stand still, and at no other time. What stands before a closed port then is what the hold rinsed it with,
without drug. Once a dose of a cycle is on record no valve turns for that cycle any more, however often the run
is taken up again. A dose whose chips are not on its line is not given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from chiploop.campaign_values import LineDose, Proposal
from chiploop.connections import (
    connected,
    line_in,
    lines_that_may_feed,
    with_chips_that_may_be_on,
)
from chiploop.dosing import PumpProgramme
from chiploop.errors import ChiploopError, SafetyRefusal
from chiploop.record.actions import cycle_in, is_part_of_dose, part_phase, programme_key
from chiploop.record.disk import DiskFull
from chiploop.record.turns import TurnAsked, next_turn_key
from chiploop.study import Study
from flows.clock import RunStopped, refuse_when_stopped
from instruments.errors import DeviceRejected, InstrumentError
from instruments.valve_turn import found_elsewhere, turn_valve

if TYPE_CHECKING:
    from flows.plain_medium import Perfused

BEFORE_ALL = 0
"""Cycle of the first turns, to the lines under which the study's file has its chips."""


def connected_now(lab: Perfused) -> Study:
    """Return the study with its chips on the lines that feed them now, by the journal."""
    if not lab.study.valves:
        return lab.study
    return connected(lab.study, lab.journal.connection(lab.run_id))


def connected_for_plain(lab: Perfused, line: str) -> Study:
    """Return the study as it is connected now, for plain medium on a line: with the chips that may be on it."""
    if not lab.study.valves:
        return lab.study
    return with_chips_that_may_be_on(lab.study, lab.journal.connection(lab.run_id), line)


def connect(lab: Perfused, proposal: Proposal, cycle: int) -> None:
    """Turn the valves to what a cycle's doses are for; one that can not be turned is told, and its lines wait.

    ``cycle`` is ``BEFORE_ALL`` before anything flows. Safe to repeat.
    """
    if not lab.study.valves or has_begun(lab, cycle):
        return
    look_at_open_turns(lab, cycle, in_doubt=True)
    wanted = {chip: dose.line for dose in proposal.doses for chip in dose.chips}
    doubts = in_doubt_now(lab)
    for chip in lab.study.valves:
        connection = lab.journal.connection(lab.run_id)
        if chip not in wanted or connection.get(chip) == wanted[chip]:
            continue
        if doubts.get(chip):
            lab.say(cycle, f"valve {chip} is not turned: {doubts[chip]}")
            continue
        turn(lab, chip, wanted[chip], cycle, connection.get(chip))


def look_at_open_turns(lab: Perfused, cycle: int, in_doubt: bool = False) -> None:
    """Ask the valves of which nobody knows where they stand, and put on record what they say; moves nothing.

    One that was interrupted in its turn stands where it says. One in doubt that stands at a port of its own again
    is known from now on: what flowed before stays unknown. One that was found elsewhere than it was left is for a
    person to look at, unless it stands where it was left. ``in_doubt``: those alone, others are turned next.
    """
    for chip in lab.study.valves:
        own = [t for t in lab.journal.turns(lab.run_id) if t.asked.chip == chip]
        if not own or not own[-1].open or (in_doubt and not own[-1].doubt):
            continue
        last, now_h = own[-1], lab.clock.now_h()
        lines = {port: line for line, port in lab.bench.plumbed[chip].items()}
        position, why = None, "it stands at no port of a line"
        try:
            position = lab.bench.valves[chip].position()
        except InstrumentError as trouble:
            refuse_when_stopped(lab.clock.stopped_by())
            why = str(trouble)  # it is asked again before the next hold, and before the dose
        line = None if position is None else lines.get(position)
        if last.doubt:
            was_found = "/found-" in last.asked.key
            if line is None or (was_found and line != last.asked.to_line):
                continue
            asked = asked_of(lab, chip, line, f"c00/{chip}/looked-{len(own) + 1}", None)
            lab.journal.turn(asked)
            lab.journal.turned(asked.key, now_h, line, asked.port, "its own position, asked again")
        elif line is None:
            lab.journal.turn_unknown(last.asked.key, now_h, why)
            lab.say(cycle, f"NOBODY KNOWS WHICH LINE FEEDS {chip}: {why}; look at the valve")
            continue
        else:
            port = lab.bench.plumbed[chip][line]
            lab.journal.turned(last.asked.key, now_h, line, port, "its own position, asked again")
        lab.say(cycle, f"{chip} is fed by {line}: its valve says so")


def in_doubt_now(lab: Perfused) -> dict[str, str]:
    """Return chip -> why nobody knows where its valve stands."""
    last = {t.asked.chip: t for t in lab.journal.turns(lab.run_id)}
    return {chip: turn.doubt for chip, turn in last.items() if turn.doubt}


def silent_valve(lab: Perfused) -> str:
    """Return which valve does not answer, in words; empty where all do, or are in doubt already. Moves nothing."""
    doubtful = in_doubt_now(lab) if lab.study.valves else {}
    for chip in lab.study.valves:
        if chip in doubtful:
            continue
        try:
            lab.bench.valves[chip].position()
        except DeviceRejected:
            continue  # it answers: the turn or the dose sees to it
        except InstrumentError as trouble:
            return f"valve {chip}, which does not say where it stands ({trouble})"
    return ""


def has_begun(lab: Perfused, cycle: int) -> bool:
    """Return whether what the turns of a cycle are for is on record for any line."""
    for action in lab.journal.actions(lab.run_id):
        key = action.intent.programme_key
        if cycle == BEFORE_ALL or (cycle_in(key) == cycle and is_part_of_dose(key)):
            return True
    return False


def turn(lab: Perfused, chip: str, line: str, cycle: int, before: str | None) -> None:
    """Let a line feed a chip; what can not be done is told and on record."""
    key = next_turn_key(lab.journal.turns(lab.run_id), lab.run_id, cycle, chip)
    asked = asked_of(lab, chip, line, key.removeprefix(f"{lab.run_id}/"), before)
    try:
        stands = turn_valve(
            lab.journal, lab.bench.valves[chip], lab.bench.pumps, asked, lab.clock.now_h()
        )
    except (RunStopped, DiskFull):
        raise
    except ChiploopError as trouble:
        refuse_when_stopped(lab.clock.stopped_by())
        open_now = {t.asked.key for t in lab.journal.turns(lab.run_id) if t.open and not t.doubt}
        if asked.key in open_now:
            lab.journal.turn_unknown(asked.key, lab.clock.now_h(), str(trouble))
        lab.say(cycle, f"valve {chip} IS NOT TURNED to {line}: {trouble}")
        return
    if stands:
        lab.say(cycle, f"{chip} is fed by {line} now: valve at port {asked.port}")
        return
    refuse_when_stopped(lab.clock.stopped_by())
    doubt = lab.journal.turns(lab.run_id)[-1].doubt
    lines = ", ".join(asked.lines)
    lab.say(
        cycle,
        f"NOBODY KNOWS WHICH LINE FEEDS {chip}: {doubt}. Lines {lines} are held; look at the valve",
    )


def asked_of(
    lab: Perfused, chip: str, line: str, place: str, before: str | None, known_until: int = 0
) -> TurnAsked:
    """Return a turn of a chip's valve to the port of a line, as the journal takes it."""
    ports = lab.bench.plumbed[chip]
    return TurnAsked(
        key=f"{lab.run_id}/{place}",
        run_id=lab.run_id,
        chip=chip,
        valve=chip,
        from_line=before,
        to_line=line,
        port=ports[line],
        lines=tuple(ports),
        time_h=lab.clock.now_h(),
        known_until=known_until,
    )


def reason_not_connected(lab: Perfused, dose: LineDose, cycle: int) -> str:
    """Return which of an approved dose's chips its line does not feed, or which others it does; empty where it
    fits, or where the dose is on record.
    """
    if not lab.study.valves:
        return ""
    if lab.journal.programme(programme_key(lab.run_id, cycle, dose.line, part_phase(1))):
        return ""
    now = connected_now(lab)
    fed = set(now.line(dose.line).chips)
    if fed == set(dose.chips):
        return ""
    without, besides = sorted(set(dose.chips) - fed), sorted(fed - set(dose.chips))
    told = [f"{dose.line} does not feed {', '.join(without)}"] if without else []
    told += [f"it feeds {', '.join(besides)} too"] if besides else []
    return f"the approved dose is for {', '.join(dose.chips)}: {'; '.join(told)}"


def refuse_misplaced(lab: Perfused, programme: PumpProgramme) -> None:
    """Raise SafetyRefusal where a valve on a programme's line does not stand where the journal has it.

    One that stands elsewhere, or does not know where, is in doubt from then on: its lines are held. Plain medium
    does not ask: a chip is kept alive by the line that it is on.
    """
    if not lab.study.valves or programme.purpose == "medium":
        return
    connection = lab.journal.connection(lab.run_id)
    for chip in lab.study.valves:
        if programme.line not in lines_that_may_feed(lab.study, chip):
            continue
        line = line_in(lab.study, connection, chip)
        if line is None or chip not in connection:
            raise SafetyRefusal(
                f"line {programme.line}: nobody knows which line feeds {chip}. Nothing was sent to the pumps"
            )
        position, why = None, ""
        try:
            position = lab.bench.valves[chip].position()
        except DeviceRejected as trouble:
            why = str(trouble)
        except InstrumentError as trouble:
            if programme.purpose != "dose":
                continue  # what flowed before flows on; the next dose asks again
            raise SafetyRefusal(
                f"line {programme.line}: valve {chip} does not say where it stands ({trouble}). Nothing was sent "
                "to the pumps"
            ) from trouble
        if position == lab.bench.plumbed[chip][line]:
            continue
        said = in_doubt(lab, chip, line, position, why)
        raise SafetyRefusal(f"line {programme.line}: {said}. Nothing was sent to the pumps")


def in_doubt(lab: Perfused, chip: str, line: str, position: int | None, why: str) -> str:
    """Put on record that a valve does not stand where it was left, since the last programme that saw it there."""
    turns = [t for t in lab.journal.turns(lab.run_id) if t.asked.chip == chip]
    seen = max(
        (
            action.seq
            for action in lab.journal.actions(lab.run_id)
            if action.intent.programme.line in turns[-1].asked.lines
            and action.intent.programme.purpose != "medium"
        ),
        default=0,
    )
    # that programme began with the valve in its place, and may have ended without
    known_until = max(turns[-1].seq, seen - 1)
    place = f"c00/{chip}/found-{len(turns) + 1}"
    asked = asked_of(lab, chip, line, place, line, known_until)
    valve, now_h = lab.bench.valves[chip], lab.clock.now_h()
    said = found_elsewhere(lab.journal, valve, asked, now_h, position, why)
    lab.say(0, f"{said}. Lines {', '.join(asked.lines)} are held until a person has looked")
    return said


def why_held(lab: Perfused, chip: str, held: Mapping[str, str]) -> str:
    """Return why a chip's readouts are not learned from: the line that feeds it is held; empty where none is."""
    if not lab.study.valves:
        return held.get(lab.study.line_of(chip).id, "")
    line = line_in(lab.study, lab.journal.connection(lab.run_id), chip)
    if line is None:
        return next((held[one] for one in lines_that_may_feed(lab.study, chip) if one in held), "")
    return held.get(line, "")

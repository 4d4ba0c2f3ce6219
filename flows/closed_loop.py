"""The closed loop as a Prefect flow: perfuse, read, learn, propose, decide, dose again.

Belongs here: the order of steps, as the bench protocol would be read aloud. Not here: what a step does (tasks).

The flow may be started again at any time after an interruption: every step looks into the record and the
journal first, so what was done is not done again. ``simulate`` and ``run`` use this same flow.
"""

from __future__ import annotations

import math
import time
from itertools import count
from typing import Any

from prefect import flow

from chiploop import campaign as loop
from chiploop.campaign_values import Campaign, Proposal, proposal_from_dict
from chiploop.dosing import Purpose
from chiploop.errors import WaitingForPerson
from chiploop.measurement import Readout
from chiploop.record.chain import RecordConflict, canonical, digest
from chiploop.record.progress import ProgrammeProgress
from chiploop.record.rows import Decision
from chiploop.study_parts import Tracer
from chiploop.study_schedules import dose_words
from flows import (
    asking,
    awaited_files,
    away,
    exposure_parts,
    hands,
    perfusion,
    tasks,
    turns,
    valve_turns,
)
from flows.clock import refuse_when_stopped
from flows.cycle_holds import ends_h, newest_hold, next_number, number_after
from flows.disk_room import kept_back_by, part_kept_back_by
from flows.fault_points import reached
from flows.laboratory import Laboratory
from flows.proposing import Offer
from flows.wire_news import tell_all_wires

POLL_S = 0.5
"""How often the record is asked whether a person has decided."""
SILENT_VALVE_HOLDS = 3
"""How many holds, one after another, a valve that does not answer is waited for before a dose."""


@flow(name="closed loop", validate_parameters=False, persist_result=False)
def closed_loop(laboratory: Any) -> Campaign:
    """Run a study to its end; return what is known then."""
    lab: Laboratory = laboratory  # Any: Prefect would derive a form from the type
    study = lab.study
    lab.record.add_state(lab.run_id, "running", lab.clock.now_h())
    reached("run_begun")
    campaign = loop.start(study)
    proposal = first_doses(lab, campaign)
    valve_turns.connect(lab, proposal, valve_turns.BEFORE_ALL)
    campaign = perfuse(lab, campaign, "medium", study.timeline.stimulus_from_h)
    campaign, before = turns.read_before_stimulus(
        lab, campaign, lambda known, hours, phase: perfuse(lab, known, "medium", hours, phase)
    )
    campaign = wait_before_dosing(lab, campaign)
    for cycle in range(1, study.timeline.cycles + 1):
        campaign, readouts, window_h = expose(lab, campaign, proposal, cycle)
        last = cycle == study.timeline.cycles
        late = turns.late_teer(lab, cycle, window_h)
        newest = newest_hold(lab.journal, lab.run_id, cycle)  # taken up again, it may run still
        is_over = last and not late and not newest
        hold = (
            [] if is_over else start_hold(lab, cycle, newest or "hold")
        )  # no chip stands dry beside a plate
        hold, read = turns.read_late(lab, cycle, late, hold, start_hold)
        readouts += read
        awaited_files.send_plates(lab, cycle, window_h)
        read, hold = read_plates(lab, cycle, window_h, hold)
        readouts += read
        campaign, hold = await_files(lab, campaign, hold, cycle, window_h)
        readouts += awaited_files.readouts_of_files(lab, cycle)
        lab.say(cycle, "fitting the model to everything read so far")
        campaign = tasks.recalibrate(lab, campaign, [*before, *readouts], cycle)
        before = []
        offered = None
        if not last:
            ends, offered = enough(lab, campaign, next_begin_h(lab, hold))
            last = ends
        if last:
            finish_hold(lab, campaign, hold)
            break
        campaign, proposal = next_doses(lab, campaign, hold, offered)
    tasks.outlook(lab, campaign)
    tell_all_wires(lab, campaign.cycle)
    lab.record.add_state(lab.run_id, "finished", lab.clock.now_h())
    reached("run_finished")
    return campaign


def enough(
    lab: Laboratory, campaign: Campaign, begin_h: float | None = None
) -> tuple[bool, Offer | None]:
    """Return whether the study's stop rules end it here, and the offer that they looked at.

    Where doses were proposed since, the rules have let the study go on: what a person made of them and what has
    become of it are not judged again after an interruption.
    """
    if lab.record.proposed(lab.run_id, campaign.cycle + 1):
        return False, None
    verdict, offered = tasks.stop_verdict(lab, campaign, begin_h)
    return verdict.stops, offered


def next_begin_h(lab: Laboratory, hold: list[ProgrammeProgress]) -> float | None:
    """Return when the exposure after a hold will begin; None where no line holds."""
    return ends_h(hold) if hold else None


def first_doses(lab: Laboratory, campaign: Campaign) -> Proposal:
    """Return the pilot ladder once it is approved; nothing flows before."""
    decision = None
    while decision is None or decision.action == "expire":
        tasks.record_proposal(lab, tasks.propose(lab, campaign))
        wait_for_decision(lab, 1)
        proposal_id, decision = standing(lab, 1)
    if decision.action == "reject":
        raise WaitingForPerson(
            f"the first doses of the study were rejected ({decision.why}). "
            "Nothing was sent to any instrument; change first_doses in the study file and start anew"
        )
    if fault := asking.fault_of(lab, proposal_id):
        raise asking.NotApproved(f"{proposal_id} is not given: {fault}. Nothing was sent")
    return approved(lab, proposal_id)


def wait_before_dosing(lab: Laboratory, campaign: Campaign) -> Campaign:
    """Keep the chips on plain medium as long as a person holds the run before its first dose.

    A hold that was put on later, of a run that is taken up again, belongs to what comes after: here it is over.
    """
    if perfusion.begun(lab, 1, "dose"):
        return campaign
    for turn in count(1):
        phase = f"hold-{turn}"
        is_begun = perfusion.begun(lab, 0, phase)
        by = kept_back_by(lab)
        silent = "" if by or is_begun else valve_turns.silent_valve(lab)
        if silent and turn <= SILENT_VALVE_HOLDS:
            lab.say(0, f"on hold by {silent}")
            hours = lab.study.timeline.turnaround_h
            campaign = perfuse(lab, campaign, "medium", hours, phase)
            continue
        if not by and not is_begun:
            return campaign
        if lab.simulated and not is_begun:
            wait_for_release(lab, 1)
            return campaign
        lab.say(0, f"on hold by {by or 'nobody any more'}")
        campaign = perfuse(lab, campaign, "medium", lab.study.timeline.turnaround_h, phase)
    raise AssertionError("count does not end")


def perfuse(
    lab: Laboratory, campaign: Campaign, purpose: Purpose, duration_h: float, phase: str = ""
) -> Campaign:
    """Perfuse every line without drug before the first dose; ``phase`` is the purpose's own name otherwise."""
    if duration_h <= 0.0:
        return campaign
    phase = phase or purpose
    lab.say(0, f"{purpose} on every line")
    wanted = perfusion.wanted_plain(lab, purpose, duration_h, 0, phase)
    running = perfusion.start_pumps(lab, wanted, 0, phase)
    if not running:
        raise WaitingForPerson("every line is held until a person has looked; nothing was dosed")
    running = perfusion.watch_pumps(lab, running, latest_begin_h(running) + duration_h, 0)
    perfusion.finish_pumps(lab, running)
    return perfusion.delivered(lab, campaign)


def expose(
    lab: Laboratory, campaign: Campaign, proposal: Proposal, cycle: int
) -> tuple[Campaign, list[Readout], tuple[float, float]]:
    """Give the approved doses, read TEER meanwhile, collect effluent; say from when to when."""
    study = lab.study
    campaign, proposal = connect_and_look(lab, campaign, proposal, cycle)
    doses = (
        f"{d.line} {dose_words(d.asked_nm, d.schedule, study.schedules)}" for d in proposal.doses
    )
    lab.say(cycle, "dosing " + "; ".join(doses))
    wanted = exposure_parts.wanted_doses(lab, proposal, cycle)
    running = perfusion.start_pumps(lab, wanted, cycle, "dose")
    dosed = perfusion.of_phase(running, "dose")
    if not dosed:
        raise WaitingForPerson(f"cycle {cycle}: every line is held until a person has looked")
    begin_h = min(p.begins_h for p in dosed)
    window_h = (begin_h + study.sampling.effluent_h[0], begin_h + study.sampling.effluent_h[1])
    teer_h = [begin_h + after for after in study.sampling.teer_h]
    changes = exposure_parts.changes_of(proposal, dosed)
    tracer_h = {
        begin_h + study.timeline.exposure_h - assay.kit.tracer.duration_h: assay.kit.tracer
        for assay in study.assays.values()
        if assay.kit.tracer is not None
    }
    stops_h = {*teer_h, *window_h, *tracer_h, *(c.due_h for c in changes)}
    ends_h = sorted({*stops_h, begin_h + study.timeline.exposure_h})
    lab.reserve()
    readouts: list[Readout] = []
    due: list[turns.Due] = []
    for stop_h, next_h in zip(ends_h, [*ends_h[1:], -math.inf], strict=True):
        running = perfusion.watch_pumps(lab, running, stop_h, cycle)
        for change in changes:
            if change.due_h == stop_h:
                running = exposure_parts.next_part(lab, running, change, cycle)
        if stop_h in tracer_h:
            lab.say(cycle, tracer_words(tracer_h[stop_h]))
        due += [turns.Due(stop_h)] if stop_h in teer_h else []
        running, read = turns.read_teer(lab, running, due, next_h, cycle)
        readouts += read
    perfusion.finish_pumps(lab, running)
    return perfusion.delivered(lab, campaign), readouts, window_h


def connect_and_look(
    lab: Laboratory, campaign: Campaign, proposal: Proposal, cycle: int
) -> tuple[Campaign, Proposal]:
    """Turn the valves to a cycle's doses; hold once more where somebody holds the run by then: turns take time."""
    while True:
        perfusion.look_again_at_left_out(lab, cycle)
        valve_turns.connect(lab, proposal, cycle)
        if perfusion.is_under_way(lab, cycle, "dose") or not (by := part_kept_back_by(lab)):
            return campaign, proposal
        if cycle == 1:
            campaign = wait_before_dosing(lab, campaign)
            continue
        lab.say(campaign.cycle, f"on hold by {by}: stimulus without drug on every line")
        again = f"hold-{number_after(newest_hold(lab.journal, lab.run_id, campaign.cycle))}"
        hold = start_hold(lab, campaign.cycle, again)
        campaign, proposal = next_doses(lab, campaign, hold)


def tracer_words(tracer: Tracer) -> str:
    """Return what is done now with a tracer, in words."""
    minutes = 60.0 * tracer.duration_h / tracer.samples
    return (
        f"tracer now: {tracer.donor_volume_ul:g} uL of {tracer.donor_concentration_pg_ml / 1e6:g} ug/mL above "
        f"the tissue of every chip; its effluent in {tracer.samples} samples of {minutes:g} min; a part of "
        "the donor is kept now and at the end"
    )


def read_plates(
    lab: Laboratory, cycle: int, window_h: tuple[float, float], hold: list[ProgrammeProgress]
) -> tuple[list[Readout], list[ProgrammeProgress]]:
    """Read the plates with the effluent of a window that are read here; return their readouts, and the hold that
    runs then.
    """
    readouts: list[Readout] = []
    for assay, settings in lab.study.assays.items():
        if settings.export is not None:
            continue
        hold = hands.wait(lab, cycle, assay, hold, start_hold)
        ready_h = lab.clock.now_h()
        hold = turns.wait_for_reader(lab, cycle, assay, hold, start_hold)
        with turns.reader_in_turn(lab, cycle, assay, ready_h) as work:
            lab.say(cycle, f"reading the {assay} plate")
            read, hold = away.plate_when_it_answers(
                lab, cycle, assay, window_h, hold, start_hold, work
            )
        readouts += read
    return readouts, hold


def await_files(
    lab: Laboratory,
    campaign: Campaign,
    hold: list[ProgrammeProgress],
    cycle: int,
    window_h: tuple[float, float],
) -> tuple[Campaign, list[ProgrammeProgress]]:
    """Wait for the plates that are read elsewhere; a hold follows the other for as long as it takes."""
    while True:
        end_h = ends_h(hold)
        hold, all_there = awaited_files.wait_for_files(lab, hold, cycle, window_h, end_h)
        if all_there:
            return campaign, hold
        campaign = finish_hold(lab, campaign, hold)
        lab.say(cycle, "files are still awaited: stimulus without drug on every line")
        hold = start_hold(lab, cycle, f"files-{next_number(hold)}")


def start_hold(lab: Laboratory, cycle: int, phase: str) -> list[ProgrammeProgress]:
    """Let stimulus without drug run while the fit runs and the next doses are decided."""
    hours = lab.study.timeline.turnaround_h
    valve_turns.look_at_open_turns(lab, cycle)
    wanted = perfusion.wanted_plain(lab, "stimulus", hours, cycle, phase)
    lab.reserve()
    hold = perfusion.start_pumps(lab, wanted, cycle, phase)
    tell_all_wires(lab, cycle)  # afterwards: no chip waits for a record that is away
    return hold


def finish_hold(lab: Laboratory, campaign: Campaign, hold: list[ProgrammeProgress]) -> Campaign:
    """Wait for the end of a hold; return the campaign with what the chips got in it."""
    if not hold:
        return campaign
    hold = perfusion.watch_pumps(lab, hold, ends_h(hold), campaign.cycle)
    perfusion.finish_pumps(lab, hold)
    return perfusion.delivered(lab, campaign)


def next_doses(
    lab: Laboratory,
    campaign: Campaign,
    hold: list[ProgrammeProgress],
    offered: Offer | None = None,
) -> tuple[Campaign, Proposal]:
    """Propose, wait for the decision and for the end of the hold; hold again while nobody has decided.

    ``offered`` is what the stop rules looked at, so that it is not worked out twice.
    """
    silent_holds = 0
    for turn in count(next_number(hold)):
        again, is_offered = f"hold-{turn}", False
        if not perfusion.begun(lab, campaign.cycle, again):
            if asking.end_expired(lab, campaign.cycle + 1):
                offered = None
            lab.say(campaign.cycle, "proposing the next doses")
            offered = offered or tasks.propose(lab, campaign, next_begin_h(lab, hold))
            tasks.record_proposal(lab, offered, tasks.question(campaign))
            is_offered = True
            if lab.simulated:  # virtual time stands still while a person thinks
                wait_for_decision(lab, campaign.cycle + 1)
                wait_for_release(lab, campaign.cycle)
        offered = None  # for this turn alone: another one begins at another time
        if not hold:
            raise WaitingForPerson(
                "every line is held until a person has looked; nothing was dosed"
            )
        campaign = finish_hold(lab, campaign, hold)
        proposal_id, decision = standing(lab, campaign.cycle + 1)
        by = kept_back_by(lab)
        if perfusion.begun(lab, campaign.cycle + 1, "dose"):
            by = ""  # taken up again: these doses were begun before anybody held the run
        elif is_offered and not by and decision and silent_holds < SILENT_VALVE_HOLDS:
            by = valve_turns.silent_valve(lab)
            silent_holds += bool(by)
        if is_offered and not by and decision is not None and decision.action == "approve":
            if not (fault := asking.fault_of(lab, proposal_id)):
                return campaign, approved(lab, proposal_id)
            lab.say(campaign.cycle, f"{proposal_id} IS NOT GIVEN: {fault}")
        why = f"on hold by {by}" if by else "no approved doses yet"
        lab.say(campaign.cycle, f"{why}: stimulus without drug on every line")
        hold = start_hold(lab, campaign.cycle, again)
    raise AssertionError("count does not end")


def latest_begin_h(started: list[ProgrammeProgress]) -> float:
    """Return when the last of these programmes began."""
    return max(progress.begins_h for progress in started)


def standing(lab: Laboratory, cycle: int) -> tuple[str, Decision | None]:
    """Return the last proposal on record of a cycle, which may be a person's edit, and what was decided."""
    found = lab.record.proposed(lab.run_id, cycle)
    return (found[-1][0].key, found[-1][1]) if found else ("", None)


def approved(lab: Laboratory, proposal_id: str) -> Proposal:
    """Return a proposal as it stands on record."""
    recorded = [p for p in lab.record.proposals(lab.run_id) if p.key == proposal_id]
    decision = lab.record.decision_for(proposal_id)
    content = recorded[0].content
    if decision is None or decision.proposal_sha256 != digest(canonical(content)):
        raise RecordConflict(f"{proposal_id} is not what was approved; nothing was dosed")
    return proposal_from_dict(content)


def wait_for_release(lab: Laboratory, cycle: int) -> None:
    """Return once nobody holds the run; virtual time stands still meanwhile."""
    if not (by := kept_back_by(lab)):
        return
    tell_all_wires(lab, cycle)
    lab.record.add_state(lab.run_id, "on hold", lab.clock.now_h(), by)
    lab.say(cycle, f"ON HOLD by {by}: chiploop resume {lab.run_id} lets it go on")
    reached("on_hold")
    while kept_back_by(lab):
        refuse_when_stopped(lab.clock.stopped_by())
        time.sleep(POLL_S)
    reached("hold_lifted")
    lab.record.add_state(lab.run_id, "running", lab.clock.now_h())


def wait_for_decision(lab: Laboratory, cycle: int) -> None:
    """Return once a person has decided about a cycle's doses; nobody and no timeout does in a person's place."""
    if standing(lab, cycle)[1] is not None:
        return
    lab.record.add_state(lab.run_id, "waiting for a person", lab.clock.now_h())
    told = f"chiploop propose {lab.run_id} shows the doses, chiploop approve {lab.run_id}"
    lab.say(max(1, cycle - 1), f"WAITING FOR A PERSON: {told}")
    reached("person_waited_for")
    while standing(lab, cycle)[1] is None and not asking.end_expired(lab, cycle):
        refuse_when_stopped(lab.clock.stopped_by())
        time.sleep(POLL_S)
    reached("decision_seen")
    lab.record.add_state(lab.run_id, "running", lab.clock.now_h())

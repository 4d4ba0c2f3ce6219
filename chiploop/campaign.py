"""The loop as pure functions: start, observe, propose. The same record replays to the same proposal.

Belongs here: what is known after each cycle and what follows from it. Not here: pumps, ports, clocks, people;
numbers of the statistics (inference, policies).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chiploop.batch_safety import batch_rules, drug_candidates, is_safe, safe_batch
from chiploop.campaign_values import Campaign, LineDose, Proposal, TiedBatch
from chiploop.connected_doses import best_connection, connected_campaign
from chiploop.connections import Connection
from chiploop.dose_orders import draw_order
from chiploop.dosing import ChipSchedule, Quantise
from chiploop.edited_doses import refuse_edit
from chiploop.errors import FitNotAccepted, SafetyRefusal
from chiploop.exposure import make_exposure
from chiploop.goals import donor_tissues, estimates, goal_draws
from chiploop.inference.posterior import CalibrationInfo, Posterior
from chiploop.inference.prior import Prior
from chiploop.inference.recalibrate import USUAL_EFFORT, Effort, recalibrate
from chiploop.kept_predictions import KeptPredictions
from chiploop.measurement import Readout
from chiploop.models.study_model import model_of
from chiploop.next_exposure import highest_read_nm, likelihood_of, prediction_table
from chiploop.pending_readings import Plate
from chiploop.policies import POLICIES
from chiploop.policies.nested_information import NestedMonteCarlo
from chiploop.policies.own_doses import own_doses
from chiploop.policies.prediction_table import Batch, PredictionTable
from chiploop.policies.scored_batch import scored_batch
from chiploop.proposal_alternatives import last_doses
from chiploop.record.actions import JournalTotals
from chiploop.record.stays import first_stay
from chiploop.safety import check_exposure
from chiploop.spread_out import spread_out, spread_out_drugs
from chiploop.study import Study
from chiploop.study_schedules import STIMULUS, WHOLE, vehicle_by
from chiploop.toxicity_closures import Reopened, closures, in_force, still_allowed

DOUBT = (
    "the data contradict the model: what these doses are expected to teach and to harm is in doubt"
)
"""Told beside doses that a person chose all the same."""


@dataclass(frozen=True)
class Suggestion:
    """Doses, and what they were chosen from."""

    proposal: Proposal
    table: PredictionTable
    campaign: Campaign
    """What the table is of: its study as valves will have connected it."""


def start(study: Study) -> Campaign:
    """Return the campaign before anything has happened."""
    schedules = {chip: ChipSchedule(chip, (), first_stay(study, chip)) for chip in study.chip_ids}
    return Campaign(study, 0, schedules, (), None)


def observe(
    campaign: Campaign,
    readouts: Sequence[Readout],
    rng: np.random.Generator,
    effort: Effort = USUAL_EFFORT,
) -> tuple[Campaign, CalibrationInfo]:
    """Return the campaign with one more cycle's readouts learned from, and the diagnostics.

    ``info.passed`` false: the posterior is kept to be shown, and ``propose`` refuses it.
    """
    study = campaign.study
    everything = (*campaign.readouts, *readouts)
    model = model_of(study)
    likelihood = likelihood_of(study, campaign.schedules, everything)
    prior = Prior.of_study(model, study)
    posterior, info = recalibrate(likelihood, prior, rng, campaign.posterior, effort)
    return learned(campaign, readouts, posterior, info), info


def learned(
    campaign: Campaign,
    readouts: Sequence[Readout],
    posterior: Posterior,
    info: CalibrationInfo,
) -> Campaign:
    """Return the campaign with a cycle's readouts and the posterior that was found with them."""
    study = campaign.study
    drawn = goal_draws(model_of(study), study, posterior.particles, donor_tissues(study, posterior))
    read = {r.chip_id for r in (*campaign.readouts, *readouts) if r.qc != "fail"}
    given = {
        line.id: [
            s.drug_nm
            for chip in line.chips
            if chip in read
            for s in campaign.schedules[chip].segments
        ]
        for line in study.lines
    }
    of_drugs = {
        drug: [nm for line in study.lines_of(drug) for nm in given[line.id]] for drug in study.drugs
    }
    return replace(
        campaign,
        cycle=campaign.cycle + 1,
        readouts=(*campaign.readouts, *readouts),
        highest_read_nm=max((nm for own in given.values() for nm in own), default=None),
        highest_read_of_nm={drug: max(own) for drug, own in of_drugs.items() if own},
        posterior=posterior,
        info=info,
        goals=estimates(drawn),
    )


def first_proposal(
    campaign: Campaign, quantise: Quantise, remaining_ul: Mapping[str, float]
) -> Proposal:
    """Return the pilot ladder that the study file names, one dose per line.

    Raises SafetyRefusal where a limit forbids one, DoseNotFeasible where a line can not make it.
    """
    study = campaign.study
    doses = []
    for line, asked in zip(study.lines, study.first_doses_nm, strict=True):
        programme = make_exposure(study, line.id, asked, WHOLE, quantise, remaining_ul)
        verdict = check_exposure(
            study,
            programme,
            highest_read_nm=None,
            overdose_risk=None,
            start_h=study.exposure_start_h(1),
            newest_toxicity_h=None,
            cycle=1,
        )
        if not verdict.allowed:
            raise SafetyRefusal(f"first dose of line {line.id}: " + "; ".join(verdict.reasons))
        doses.append(
            LineDose(
                line.id, tuple(line.chips), asked, programme.delivered_nm, None, None, programme
            )
        )
    return Proposal(1, "pilot", study.goals[0].name, drugs_of(study), tuple(doses), None, ())


def drugs_of(study: Study) -> str:
    """Return what a proposal calls its drug: of several all of them."""
    return ", ".join(study.drugs)


def suggest(
    campaign: Campaign,
    quantise: Quantise,
    remaining_ul: Mapping[str, float],
    totals: JournalTotals,
    rng: np.random.Generator,
    *,
    begin_h: float | None = None,
    without_lines: Collection[str] = (),
    connection_now: Connection | None = None,
    connection: Connection | None = None,
    **more: Any,
) -> Suggestion:
    """Return doses for the next exposure, with the table that they were chosen from.

    Parameters and errors as ``doses_as_connected``. In a study with valves ``connection_now`` says which line
    feeds which chip now (its own where a chip is not in it), and ``connection`` for which one the doses shall
    be; None: for the one that teaches most (connected_doses).
    """
    study = campaign.study
    if not study.valves:
        return doses_as_connected(
            campaign,
            quantise,
            remaining_ul,
            totals,
            rng,
            begin_h=begin_h,
            without_lines=without_lines,
            **more,
        )
    now, seed = connection_now or {}, int(rng.integers(2**63))
    begins_h = study.exposure_start_h(campaign.cycle + 1) if begin_h is None else begin_h

    def choose(one: Connection) -> Suggestion:
        return doses_as_connected(
            connected_campaign(campaign, now, one, begins_h),
            quantise,
            remaining_ul,
            totals,
            np.random.default_rng(seed),
            begin_h=begin_h,
            without_lines=without_lines,
            **more,
        )

    more["kept"] = more.get("kept") or KeptPredictions()
    if connection is not None:
        return choose(connection)
    return best_connection(study, now, tuple(without_lines), choose)


def doses_as_connected(
    campaign: Campaign,
    quantise: Quantise,
    remaining_ul: Mapping[str, float],
    totals: JournalTotals,
    rng: np.random.Generator,
    *,
    begin_h: float | None = None,
    without_lines: Collection[str] = (),
    rejected: Collection[tuple[str, float, str]] = (),
    reopened: Collection[Reopened] = (),
    policy: str = "goal_information",
    own_nm: Mapping[str, float] | None = None,
    own_schedules: Mapping[str, str] | None = None,
    kept: KeptPredictions | None = None,
    awaited: Collection[Plate] = (),
) -> Suggestion:
    """Return doses for the next exposure, with the table that they were chosen from.

    ``begin_h`` is when the exposure will begin (None: as planned). ``without_lines`` are held and get
    none; ``rejected`` (line, asked nM, schedule) were refused by a person for this cycle and are not proposed
    again; ``reopened`` are doses that a person lets be given again after harm.
    Where the data contradict the model no policy is asked: the doses are spread out, and ``notes`` say so.
    ``own_nm`` (line -> nM, every line) are a person's doses in place of a policy's: the same rules hold for
    them, and none of them is changed. ``own_schedules`` (line -> name) says by which schedule; ``whole`` where
    a line is not in it. What is ``kept`` of an earlier table is not simulated again. ``awaited`` plates
    (cycle, assay) are on their way: the doses are chosen for what these will not tell.

    Raises
    ------
    FitNotAccepted
        Where the last calibration failed its diagnostics: it proposes nothing.
    SafetyRefusal
        Where no dose, not even the vehicle, may be given to some line, or a person's dose may not.
    """
    if campaign.posterior is None or campaign.info is None:
        raise FitNotAccepted("nothing has been read out yet, so there is nothing to propose from")
    if not campaign.info.passed:
        raise FitNotAccepted(
            f"the calibration of cycle {campaign.cycle} failed its diagnostics and proposes nothing: "
            + "; ".join(campaign.info.failures)
        )
    study = campaign.study
    lines = tuple(line for line in study.lines if line.id not in without_lines)
    if not lines:
        raise SafetyRefusal("every line is held until a person has looked; nothing can be dosed")
    table, refused = prediction_table(
        campaign,
        lines,
        quantise,
        remaining_ul,
        totals,
        rng,
        set(rejected),
        begin_h,
        own_nm,
        kept,
        awaited,
    )
    closed = closures(study, campaign.schedules, campaign.readouts, campaign.cycle, reopened)
    drug_of = (
        {line.id: study.drug_of(line.id).name for line in lines} if study.further_drugs else {}
    )
    lifted = in_force(study, campaign.schedules, campaign.readouts, reopened)
    allowed, more = still_allowed(table, closed, lifted, drug_of)
    table, refused = replace(table, allowed=allowed), (*refused, *more)
    ways = named_ways(study, own_nm or {}, own_schedules or {})
    misfit = campaign.info.misfit
    information: dict[int, float] = {}
    batch: Batch | None = None
    notes: tuple[str, ...] = ()
    is_in_doubt = misfit is not None and misfit.fires
    if own_nm is not None:
        refuse_edit(table, own_nm, refused, ways)
        policy = "own_doses"
        notes = (DOUBT,) if is_in_doubt else ()
    try:
        if is_in_doubt and own_nm is None:
            donors = {line.id: tuple(line.chips.values()) for line in lines}
            longest_h = max(p.drug_h for own in table.programmes for p in own if p.arm == STIMULUS)
            seed = int(rng.integers(2**31))
            if study.further_drugs:
                highest_of_nm = {
                    study.drug_of(line.id).name: highest
                    for line in lines
                    if (highest := highest_read_nm(campaign, longest_h, line.id)) is not None
                }
                spread = spread_out_drugs(table, donors, seed, drug_of, highest_of_nm)
            else:
                highest_nm = highest_read_nm(campaign, longest_h, lines[0].id) or 0.0
                spread = spread_out(table, donors, seed, highest_nm)
            policy, chosen, notes = "spread_out", spread.chosen, (spread.sentence,)
        else:
            chooses = POLICIES[policy] if own_nm is None else own_doses(own_nm, ways)
            batch = chooses(table, rng)
            at = {line: i for i, line in enumerate(table.lines)}
            chosen = {at[choice.line]: choice.candidate for choice in batch.choices}
            if own_nm is None:
                before_nm = last_doses(campaign)
                drawn = draw_order(
                    table,
                    chosen,
                    [tuple(line.chips.values()) for line in lines],
                    [study.drug_of(line.id).name for line in lines],
                    [before_nm[line.id] for line in lines],
                    rng,
                )
                if drawn.chosen != chosen:
                    chosen = dict(drawn.chosen)
                    measure = NestedMonteCarlo(table.predictable(), rng)
                    order = [chosen[i] for i in range(len(lines))]
                    ties = tuple(tie for tie in batch.ties if list(tie.candidates) != order)
                    batch = scored_batch(table, order, measure, ties, batch.note)
                notes += (drawn.sentence,) if drawn.sentence else ()
            information = {at[choice.line]: choice.information_nats for choice in batch.choices}
            notes += (batch.note,) if batch.note else ()
    except ValueError as problem:
        raise SafetyRefusal(f"{problem}: " + "; ".join(r.reason for r in refused[:4])) from None
    safe = safe_batch(table, chosen, **batch_rules(study, table), worth=information)
    if own_nm is not None and safe.changed:
        raise SafetyRefusal("; ".join(safe.notes) + ". Nothing was changed")
    doses = []
    for i, line in enumerate(lines):
        programme = table.programmes[i][safe.chosen[i]]
        doses.append(
            LineDose(
                line=line.id,
                chips=tuple(line.chips),
                asked_nm=programme.asked_nm,
                delivered_nm=programme.delivered_nm,
                risk=float(table.risk[i][safe.chosen[i]]),
                eig_nats=None if safe.changed else information.get(i),
                programme=programme,
            )
        )
    share, least = drug_candidates(table)
    told = None if safe.changed else batch
    proposal = Proposal(
        campaign.cycle + 1,
        policy,
        study.goals[0].name,
        drugs_of(study),
        tuple(doses),
        None if told is None else told.information_nats,
        refused,
        (*notes, *safe.notes),
        share,
        least,
        begin_h,
        None if told is None else told.error_nats,
        () if told is None else tied(study, table, told),
        None
        if table.cost is None
        else float(sum(table.cost[i][safe.chosen[i]] for i in range(len(lines)))),
    )
    return Suggestion(proposal, table, campaign)


def named_ways(
    study: Study, own_nm: Mapping[str, float], schedules: Mapping[str, str]
) -> dict[str, str]:
    """Return line -> schedule of a person's doses, under the one name that the vehicle has in each stimulus."""
    named = {line: schedules.get(line, WHOLE) for line in own_nm}
    return {
        line: way if own_nm[line] > 0.0 else vehicle_by(study, way) for line, way in named.items()
    }


def propose(*given: Any, **more: Any) -> Proposal:
    """Return the proposal of ``suggest`` alone; same parameters, same errors."""
    return suggest(*given, **more).proposal


def tied(study: Study, table: PredictionTable, batch: Batch) -> tuple[TiedBatch, ...]:
    """Return the batches that can not be told from the chosen one, and that may be given as they are."""
    found = []
    for tie in batch.ties:
        chosen = dict(enumerate(tie.candidates))
        if is_safe(study, table, chosen):
            doses_nm, schedules = table.asked(chosen)
            found.append(TiedBatch(doses_nm, tie.behind_nats, tie.behind_error_nats, schedules))
    return tuple(found)

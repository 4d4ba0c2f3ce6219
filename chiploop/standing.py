"""Where a campaign stands, as its stop rules look at it, and what they say.

Belongs here: gathering what the rules need. Not here: the rules (stopping), who acts on a verdict (flows).
"""

from __future__ import annotations

import numpy as np

from chiploop.campaign_values import Campaign, Proposal
from chiploop.goals import curves_of, donor_tissues, goal_draws, harmful_nm
from chiploop.models.study_model import model_of
from chiploop.stopping import Standing, Verdict, needs_proposal, rule_of
from chiploop.study_limits import drug_ng

NO_RULE = Verdict("go on", "the study states no stop rule")


def stop_verdict(
    campaign: Campaign, proposal: Proposal | None = None, refused: bool = False
) -> Verdict:
    """Return what the study's stop rules say after a cycle.

    Parameters
    ----------
    proposal : what would be given next; without it, rules about it are not met.
    refused : True where nothing at all may be given next.
    """
    stop = campaign.study.stop
    if stop is None:
        return NO_RULE
    return rule_of(stop, campaign.study).judge(standing_of(campaign, proposal, refused))


def looks_ahead(campaign: Campaign) -> bool:
    """Return whether the study's rules look at what would be proposed next."""
    return campaign.study.stop is not None and needs_proposal(campaign.study.stop)


def standing_of(
    campaign: Campaign, proposal: Proposal | None = None, refused: bool = False
) -> Standing:
    """Return what the stop rules look at."""
    study, info = campaign.study, campaign.info
    decided = study.stop.decided if study.stop else ()
    with_dose = {question.goal for question in decided if question.dose_nm is not None}
    draws, harmful = {}, {}
    if decided and campaign.posterior is not None:
        model, posterior = model_of(study), campaign.posterior
        donors = donor_tissues(study, posterior)
        draws = goal_draws(model, study, posterior.particles, donors)
        for goal in study.goals:
            if goal.name in with_dose:  # the other questions do not look at harm
                curves = curves_of(model, study, goal, posterior.particles, donors)
                harmful[goal.name] = harmful_nm(curves.viability, study.limits.viability)
    chips = len(study.chip_ids)
    if proposal is not None:
        chips = sum(len(dose.chips) for dose in proposal.doses)
    return Standing(
        goals=campaign.goals,
        passed=info is not None and info.passed,
        cycles=campaign.cycle,
        chips=exposures(campaign),
        chips_per_cycle=chips,
        drug_ng=given_ng(campaign),
        draws=draws,
        harmful_nm=harmful,
        information_nats=None if proposal is None else proposal.eig_nats,
        cost=None if proposal is None else proposal.cost,
        allowed_share=0.0 if refused else None if proposal is None else proposal.allowed_share,
        least_risk=None if proposal is None else proposal.least_risk,
        misfit=None if info is None else info.misfit,
    )


def exposures(campaign: Campaign) -> int:
    """Return how many exposures of chips have been read: a chip counts once in every cycle."""
    return len({(r.chip_id, r.cycle) for r in campaign.readouts if r.cycle > 0})


def given_ng(campaign: Campaign) -> float:
    """Return how much drug, of all drugs, all chips together have got."""
    study = campaign.study
    drug_of = {chip: study.drug_of(line.id) for line in study.lines for chip in line.chips}
    return float(
        np.sum(
            [
                drug_ng(drug_of[chip], s.drug_nm, s.flow_rate_ul_h * (s.end_h - s.start_h))
                for chip, schedule in campaign.schedules.items()
                for s in schedule.segments
            ]
        )
    )

"""What a person must see before doses are approved: one card per proposal, as values.

Belongs here: everything that a card holds, from the table that the proposal was chosen from; nothing is simulated
again. Not here: choosing (policies), words and layout (the command line, the page).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from chiploop.campaign_values import Campaign, LineDose, Proposal
from chiploop.goals import best_in_words
from chiploop.policies.prediction_table import PredictionTable
from chiploop.predictions_held import predictions_held
from chiploop.proposal_alternatives import Alternative, alternatives_of
from chiploop.proposal_predictions import (
    InformationPart,
    PredictedReading,
    information_parts,
    predicted_readings,
)
from chiploop.study import Study
from chiploop.study_schedules import study_words


@dataclass(frozen=True)
class GoalOutlook:
    """The leading goal now, and how wide it is expected to be afterwards."""

    name: str
    unit: str
    median: float
    lower: float
    upper: float
    level: float
    fold: float
    """Upper over lower."""
    expected_fold: float | None
    """After the readouts, if the information is as expected: the width of ln goal shrinks by exp(-nats)."""
    best: str = ""
    """Of a best drug: which two are compared, and how probably each is the best."""


@dataclass(frozen=True)
class SyringeUse:
    """What one pump gives in the proposed exposure."""

    pump: str
    stock: str
    flow_rate_ul_h: float
    volume_ul: float
    left_ul: float
    """In the syringe afterwards."""


@dataclass(frozen=True)
class LineCard:
    """The dose of one line."""

    line: str
    chips: tuple[str, ...]
    donors: tuple[str, ...]
    """In the chips' order."""
    asked_nm: float
    delivered_nm: float
    risk: float | None
    """P(viability of any of its chips below the limit)."""
    fold_of_highest_read: float | None
    """Delivered dose over the highest one read out; None for the vehicle or where none was."""
    information_nats: float | None
    vehicle_fraction: float
    hours: float
    syringes: tuple[SyringeUse, ...]
    schedule: str = "whole"
    schedule_text: str = ""
    """In words; empty where drug flows for the whole exposure."""
    drug: str = ""
    """Which drug of a study with several; empty where it has one."""


@dataclass(frozen=True)
class ModelHealth:
    """Whether what the card says rests on a model that can be believed."""

    effective_particles: float
    population_gap_sd: float
    predictive_p: Mapping[str, float]
    misfit_fires: bool
    warnings: tuple[str, ...]
    inside: int
    """Readings of the last exposure that lay in the 90 % band that the last card predicted."""
    predicted: int
    """Of how many; 0 where there was no card or nothing was read."""

    @property
    def sentence(self) -> str:
        """How the last predictions did."""
        if not self.predicted:
            return "no prediction has been tested yet"
        return f"{self.inside} of the last {self.predicted} predictions inside their 90 % band"


@dataclass(frozen=True)
class Card:
    """Everything that a person sees of one proposal."""

    cycle: int
    policy: str
    drug: str
    goal: GoalOutlook
    lines: tuple[LineCard, ...]
    information_nats: float | None
    risk_limit: float
    viability_limit: float
    unsafe_lines_expected: float
    """Expected number of lines with a chip below the viability limit."""
    parts: tuple[InformationPart, ...]
    """What each readout at each time teaches, the most first."""
    predicted: tuple[PredictedReading, ...]
    alternatives: tuple[Alternative, ...]
    drug_nmol: float
    begins_h: float
    ends_h: float
    """Study time at which the last effluent is there."""
    health: ModelHealth
    notes: tuple[str, ...]
    cost: str | None = None
    """With its unit; None where the study states no costs."""

    @property
    def decision(self) -> str:
        """The decision in one line."""
        doses = ", ".join(
            f"{one.line} {f'{one.asked_nm:g} nM' if one.asked_nm else 'vehicle'}"
            + (f" of {one.drug}" if one.drug and one.asked_nm else "")
            + (f" ({one.schedule_text})" if one.schedule_text else "")
            for one in self.lines
        )
        goal = self.goal
        now = f"{goal.name} {goal.lower:.3g} to {goal.upper:.3g} {goal.unit} ({goal.fold:.2g}-fold)"
        now += f", {goal.best}" if goal.best else ""
        if goal.expected_fold is None:
            return f"{self.drug}: {doses}. Now {now}"
        return f"{self.drug}: {doses}. Now {now}, expected afterwards {goal.expected_fold:.2g}-fold"

    def facts(self) -> dict[str, Any]:
        """Return it for the record: what only a study of several drugs has is left out of others."""
        content = asdict(self)
        content["goal"] = {k: v for k, v in content["goal"].items() if k != "best" or v}
        content["lines"] = [
            {k: v for k, v in line.items() if k != "drug" or v} for line in content["lines"]
        ]
        return content


def card_from_dict(content: Mapping[str, Any]) -> Card:
    """Return the card that ``dataclasses.asdict`` wrote, as JSON gives it back."""
    return Card(
        **{
            **content,
            "goal": GoalOutlook(**content["goal"]),
            "lines": tuple(line_from_dict(one) for one in content["lines"]),
            "parts": tuple(InformationPart(**one) for one in content["parts"]),
            "predicted": tuple(reading_from_dict(one) for one in content["predicted"]),
            "alternatives": tuple(Alternative(**one) for one in content["alternatives"]),
            "health": ModelHealth(
                **{**content["health"], "warnings": tuple(content["health"]["warnings"])}
            ),
            "notes": tuple(content["notes"]),
        }
    )


def line_from_dict(content: Mapping[str, Any]) -> LineCard:
    """Return one line of a card."""
    listed = {name: tuple(content[name]) for name in ("chips", "donors")}
    syringes = tuple(SyringeUse(**one) for one in content["syringes"])
    return LineCard(**{**content, **listed, "syringes": syringes})


def reading_from_dict(content: Mapping[str, Any]) -> PredictedReading:
    """Return one predicted reading of a card."""
    bands = {name: tuple(content[name]) for name in ("inner", "outer", "model")}
    return PredictedReading(**{**content, **bands})


def card_of(
    campaign: Campaign,
    proposal: Proposal,
    table: PredictionTable,
    begin_h: float,
    remaining_ul: Mapping[str, float],
    last: Sequence[PredictedReading] = (),
) -> Card:
    """Return the card of a proposal that was chosen from a table.

    Parameters
    ----------
    begin_h
        Study time at which the exposure would begin.
    remaining_ul
        Pump -> volume in its syringe now.
    last
        What the last card predicted, to be compared with what was read.

    Raises ValueError where a dose of the proposal is not in the table, or a line has no allowed candidate.
    """
    study = campaign.study
    chosen = chosen_of(table, proposal.doses)
    lines = tuple(line_card(campaign, dose, remaining_ul) for dose in proposal.doses)
    hours = max(one.hours for one in lines)
    predicted = predicted_readings(table, chosen, donors_of(study))
    missing = sum(len(table.readings[i]) for i in chosen) - len(predicted)
    blind = (f"{missing} readings can not be simulated and stand not on the card",)
    return Card(
        cycle=proposal.cycle,
        policy=proposal.policy,
        drug=", ".join(drug.title or name for name, drug in study.drugs.items()),
        goal=goal_outlook(campaign, proposal.eig_nats),
        lines=lines,
        information_nats=proposal.eig_nats,
        risk_limit=study.limits.overdose_probability,
        viability_limit=study.limits.viability,
        unsafe_lines_expected=float(sum(one.risk or 0.0 for one in lines)),
        parts=information_parts(table, chosen),
        predicted=predicted,
        alternatives=alternatives_of(campaign, table, chosen, proposal.eig_nats),
        drug_nmol=sum(dose.programme.drug_nmol for dose in proposal.doses),
        cost=None if proposal.cost is None else f"{proposal.cost:.4g} {study.costs.unit}",
        begins_h=begin_h,
        ends_h=begin_h + max(hours, study.sampling.effluent_h[1]),
        health=health_of(campaign, last),
        notes=(*proposal.notes, *(blind if missing else ())),
    )


def chosen_of(table: PredictionTable, doses: Sequence[LineDose]) -> dict[int, int]:
    """Return line -> candidate of the doses in the table; ValueError where one is not there."""
    chosen = {}
    for dose in doses:
        i = table.lines.index(dose.line)
        asked = [(programme.asked_nm, programme.schedule) for programme in table.programmes[i]]
        own = (dose.asked_nm, dose.schedule)
        if own not in asked:
            raise ValueError(f"{dose.asked_nm:g} nM on {dose.line} was not simulated")
        chosen[i] = asked.index(own)
    return chosen


def donors_of(study: Study) -> dict[str, str]:
    """Return chip -> donor."""
    return {chip: study.donor_of(chip).id for chip in study.chip_ids}


def goal_outlook(campaign: Campaign, nats: float | None) -> GoalOutlook:
    """Return the leading goal now, and its expected width after so much information."""
    goal = campaign.goals[0]
    fold = goal.upper / goal.lower
    expected = None if nats is None else float(fold ** np.exp(-max(nats, 0.0)))
    return GoalOutlook(
        goal.name,
        goal.unit,
        goal.median,
        goal.lower,
        goal.upper,
        goal.level,
        fold,
        expected,
        best_in_words(goal.facts()),
    )


def line_card(campaign: Campaign, dose: LineDose, remaining_ul: Mapping[str, float]) -> LineCard:
    """Return the dose of one line with what its pumps do."""
    study, highest = campaign.study, campaign.highest_read(dose.line)
    return LineCard(
        line=dose.line,
        chips=dose.chips,
        donors=tuple(study.donor_of(chip).id for chip in dose.chips),
        asked_nm=dose.asked_nm,
        delivered_nm=dose.delivered_nm,
        risk=dose.risk,
        fold_of_highest_read=dose.delivered_nm / highest if dose.delivered_nm and highest else None,
        information_nats=dose.eig_nats,
        vehicle_fraction=dose.programme.vehicle_fraction,
        hours=dose.programme.duration_h,
        syringes=tuple(
            SyringeUse(
                step.pump,
                step.stock,
                step.flow_rate_ul_h,
                step.volume_ul,
                remaining_ul[step.pump] - step.volume_ul,
            )
            for step in dose.programme.steps
        ),
        schedule=dose.schedule,
        schedule_text=study_words(study, dose.schedule),
        drug=study.drug_of(dose.line).name if study.further_drugs else "",
    )


def health_of(campaign: Campaign, last: Sequence[PredictedReading]) -> ModelHealth:
    """Return how far the model behind a card can be believed."""
    info = campaign.info
    assert info is not None
    inside, predicted = predictions_held(campaign.readouts, last)
    return ModelHealth(
        effective_particles=info.ess,
        population_gap_sd=info.population_gap_sd,
        predictive_p=info.predictive_p,
        misfit_fires=info.misfit is not None and info.misfit.fires,
        warnings=info.warnings,
        inside=inside,
        predicted=predicted,
    )

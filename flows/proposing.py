"""The next doses of a run from its record: for the running flow, and for any other process that asks.

Belongs here: what of record and journal a suggestion hangs on, its card, and a person's edit of it. Not here: how
doses are chosen (chiploop.campaign), what a card holds (chiploop.proposal_card), who may decide (cli.decide).

The same record gives the same suggestion in every process. Nothing here moves liquid or opens a port.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chiploop import campaign as loop
from chiploop.campaign_values import Campaign, Proposal, proposal_from_dict
from chiploop.dosing import Quantise, remaining_ul
from chiploop.errors import FileNotValid, WrongUse
from chiploop.proposal_card import Card, card_from_dict, card_of
from chiploop.proposal_predictions import PredictedReading
from chiploop.record.journal import Journal
from chiploop.record.posterior_file import read_posterior
from chiploop.record.record import Record
from chiploop.record.rows import RecordedContent
from chiploop.refit import evidence_up_to, readouts_of
from chiploop.study import Study
from chiploop.toxicity_closures import Reopened
from flows.fit import calibration_path, plain
from flows.opening import SETTINGS_FILE, RunFiles
from instruments.drivers import load_lab_settings
from instruments.rounding import rounding_of

CARD = "card"
"""Kind of the record's event that holds a proposal's card; its key is the proposal's place in the run."""
PROPOSAL_STEP = 2
"""Place in the key of random numbers."""


@dataclass(frozen=True)
class Books:
    """What is on record of a run."""

    study: Study
    run_id: str
    seed: int
    record: Record
    journal: Journal
    round_off: Quantise
    """The rounding of the run's pumps."""


@dataclass(frozen=True)
class Offer:
    """A proposal with its card; the card of the pilot, which has no fit, is None."""

    proposal: Proposal
    card: Card | None


def offer(
    books: Books,
    campaign: Campaign,
    begin_h: float | None,
    own_nm: Mapping[str, float] | None = None,
    edited_from: str = "",
) -> Offer:
    """Return doses for the next exposure with their card; ``own_nm`` (line -> nM) are a person's.

    Raises FitNotAccepted, SafetyRefusal and WrongUse as ``campaign.suggest``.
    """
    cycle = campaign.cycle + 1
    totals = books.journal.totals(books.run_id)
    left = remaining_ul(books.study, totals.drawn_ul)
    earlier = [p for p in books.record.proposals(books.run_id) if p.cycle == cycle]
    turned_down = [p for p in earlier if rejected(books.record, p.key)]
    found = loop.suggest(
        campaign,
        books.round_off,
        left,
        totals,
        np.random.default_rng([books.seed, campaign.cycle, PROPOSAL_STEP]),
        begin_h=begin_h,
        without_lines=tuple(books.journal.held(books.run_id)),
        # a person may choose what was turned down before
        rejected=()
        if own_nm is not None
        else {dose for p in turned_down for dose in refused_doses(p.content)},
        reopened=reopened_doses(books),
        own_nm=own_nm,
    )
    proposal = replace(found.proposal, edited_from=edited_from)
    begins = books.study.exposure_start_h(cycle) if begin_h is None else begin_h
    last = last_predictions(books, campaign.cycle)
    return Offer(proposal, card_of(campaign, proposal, found.table, begins, left, last))


def offered_again(books: Books, campaign: Campaign, standing: RecordedContent) -> Offer:
    """Return a proposal that stands on record with its card made anew: who proposed it ended before it was kept.

    Raises SafetyRefusal where a limit forbids one of its doses by now.
    """
    doses = {dose["line"]: dose["asked_nm"] for dose in standing.content["doses"]}
    proposal = proposal_from_dict(standing.content)
    card = offer(books, campaign, proposal.begin_h, doses).card
    if card is not None:
        card = replace(card, policy=proposal.policy, notes=proposal.notes)
    return Offer(proposal, card)


def rejected(record: Record, proposal_id: str) -> bool:
    """Return whether a person has rejected a proposal."""
    decision = record.decision_for(proposal_id)
    return decision is not None and decision.action == "reject"


def refused_doses(content: Mapping[str, Any]) -> set[tuple[str, float]]:
    """Return what a rejected proposal rules out: its doses, or the vehicle where it had nothing else."""
    given = {(dose["line"], dose["asked_nm"]) for dose in content["doses"]}
    return {dose for dose in given if dose[1] > 0.0} or given


def reopened_doses(books: Books) -> tuple[Reopened, ...]:
    """Return what persons have reopened after harm, from the record's events of kind ``reopened``."""
    events = books.record.events(books.run_id, "reopened")
    return tuple(
        Reopened(float(e.content["up_to_nm"]), e.time_h, str(e.content.get("drug", "")))
        for e in events
    )


def card_key(proposal_id: str) -> str:
    """Return the place of a proposal in its run, ``c02/p1``."""
    return "/".join(proposal_id.rsplit("/", 2)[1:])


def keep_card(record: Record, run_id: str, proposal_id: str, card: Card, time_h: float) -> None:
    """Put the card of a proposal on record, once."""
    record.add_event(run_id, CARD, time_h, plain(card.facts()), card_key(proposal_id))


def card_on_record(record: Record, run_id: str, proposal_id: str) -> Card | None:
    """Return the card of a proposal; None where there is none on record."""
    key = f"{run_id}/{CARD}/{card_key(proposal_id)}"
    found = [event for event in record.events(run_id, CARD) if event.key == key]
    return card_from_dict(found[0].content) if found else None


def last_predictions(books: Books, cycle: int) -> Sequence[PredictedReading]:
    """Return what the approved proposal of a cycle predicted; nothing where it has no card."""
    for p in reversed([p for p in books.record.proposals(books.run_id) if p.cycle == cycle]):
        decision = books.record.decision_for(p.key)
        if decision is not None and decision.action == "approve":
            card = card_on_record(books.record, books.run_id, p.key)
            return card.predicted if card is not None else ()
    return ()


def books_of(files: RunFiles, record: Record, journal: Journal) -> Books:
    """Return the books of a run for a process that has none of its ports open."""
    round_off = rounding_of(load_lab_settings(files.folder / SETTINGS_FILE))
    return Books(files.study, files.run_id, files.seed, record, journal, round_off)


def campaign_on_record(files: RunFiles, books: Books) -> Campaign:
    """Return the campaign after the last cycle that was fitted.

    Raises WrongUse where nothing was fitted yet, FileNotValid where the posterior can not be read.
    """
    fitted = [c.cycle for c in books.record.calibrations(books.run_id)]
    if not fitted:
        raise WrongUse(
            f"{books.run_id} has no calibration yet, so there is nothing to propose from: its first doses are "
            "those of the study file"
        )
    cycle = max(fitted)
    path = calibration_path(files.folder, cycle)
    try:
        posterior, info = read_posterior(path)
    except (OSError, KeyError, ValueError, TypeError) as problem:
        raise FileNotValid(
            f"{path} can not be read ({problem}); nothing was decided. chiploop resume {books.run_id} makes it "
            "again"
        ) from problem
    actions = books.journal.actions(books.run_id)
    evidence = evidence_up_to(books.study, actions, books.record.readouts(books.run_id), cycle)
    begun = replace(
        loop.start(books.study),
        cycle=cycle - 1,
        schedules=evidence[-1].schedules,
        readouts=readouts_of(evidence[:-1]),
    )
    return loop.learned(begun, evidence[-1].readouts, posterior, info)

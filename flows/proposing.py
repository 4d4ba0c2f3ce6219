"""The next doses of a run from its record: for the running flow, and for any other process that asks.

Belongs here: what of record and journal a suggestion hangs on, its card, and a person's edit of it. Not here: how
doses are chosen (chiploop.campaign), what a card holds (chiploop.proposal_card), who may decide (cli.decide).

The same record gives the same suggestion in every process. Nothing here moves liquid or opens a port.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from chiploop import campaign as loop
from chiploop.campaign_values import Campaign, Proposal, proposal_from_dict, schedule_in
from chiploop.connections import Connection, lines_that_may_feed
from chiploop.dosing import Quantise, remaining_ul
from chiploop.errors import FileNotValid, WrongUse
from chiploop.kept_predictions import KeptPredictions
from chiploop.predictions_held import as_given, dose_begun_h
from chiploop.proposal_card import Card, card_from_dict, card_of
from chiploop.proposal_predictions import PredictedReading
from chiploop.record.exclusions import SAME_TIME_H
from chiploop.record.journal import Journal
from chiploop.record.posterior_file import read_posterior
from chiploop.record.record import Record
from chiploop.record.rows import RecordedContent
from chiploop.record.unexplained import decided_on_record
from chiploop.refit import evidence_up_to, is_hold, readouts_of
from chiploop.study import Study
from chiploop.toxicity_closures import Reopened
from flows.fault_points import reached
from flows.fit import calibration_path
from flows.late_plates import late_plates
from flows.opening import SETTINGS_FILE, RunFiles
from instruments.drivers import load_lab_settings
from instruments.rounding import rounding_of

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
    folder: Path | None = None
    """Of the run; None where nothing is kept."""


@dataclass(frozen=True)
class Offer:
    """A proposal with its card; the card of the pilot, which has no fit, is None."""

    proposal: Proposal
    card: Card | None
    proposal_id: str | None = None
    """Where it stands on record already: what stands is never written again."""


def predictions_path(folder: Path | None, cycle: int) -> Path | None:
    """Return where a run keeps what was simulated for the doses after a cycle."""
    if folder is None:
        return None
    return calibration_path(folder, cycle).with_name("predictions.npz")


def standing_offer(record: Record, run_id: str, cycle: int) -> Offer | None:
    """Return the last proposal of a cycle, which may be a person's edit; None where none stands.

    One that was rejected, or that nobody decided in time, stands no more.
    """
    found = record.proposed(run_id, cycle)
    if not found:
        return None
    content, decision = found[-1]
    if decision is not None and decision.action in ("reject", "expire"):
        return None
    card = card_on_record(record, run_id, content.key)
    return Offer(proposal_from_dict(content.content), card, content.key)


def offer(
    books: Books,
    campaign: Campaign,
    begin_h: float | None,
    own_nm: Mapping[str, float] | None = None,
    edited_from: str = "",
    own_schedules: Mapping[str, str] | None = None,
) -> Offer:
    """Return doses for the next exposure with their card; ``own_nm`` (line -> nM) are a person's, by
    ``own_schedules`` (line -> name), for the whole exposure where a line is not in it.

    Raises FitNotAccepted, SafetyRefusal and WrongUse as ``campaign.suggest``.
    """
    cycle = campaign.cycle + 1
    totals = books.journal.totals(books.run_id)
    left = remaining_ul(books.study, totals.drawn_ul)
    turned_down = [
        p.content
        for p, decision in books.record.proposed(books.run_id, cycle)
        if decision is not None and decision.action == "reject"
    ]
    without = set(books.journal.held(books.run_id))
    if own_nm is not None:
        without |= {line for line in books.study.line_ids if line not in own_nm}
    kept = KeptPredictions(predictions_path(books.folder, campaign.cycle))
    now = books.journal.connection(books.run_id) if books.study.valves else {}
    found = loop.suggest(
        campaign,
        books.round_off,
        left,
        totals,
        np.random.default_rng([books.seed, campaign.cycle, PROPOSAL_STEP]),
        begin_h=begin_h,
        without_lines=tuple(line for line in books.study.line_ids if line in without),
        # a person may choose what was turned down before
        rejected=()
        if own_nm is not None
        else {dose for content in turned_down for dose in refused_doses(content)},
        reopened=reopened_doses(books.record, books.run_id),
        own_nm=own_nm,
        own_schedules=own_schedules,
        kept=kept,
        awaited=[(one.cycle, one.assay) for one in late_plates(books.record, books.run_id)],
        connection_now=now,
        connection=connection_of_edited(books, now, cycle, edited_from) if edited_from else None,
    )
    with suppress(OSError):  # it only saves time
        kept.save()
    reached("predictions_kept")
    proposal = replace(found.proposal, edited_from=edited_from)
    begins = books.study.exposure_start_h(cycle) if begin_h is None else begin_h
    last = last_predictions(books, campaign.cycle)
    return Offer(proposal, card_of(found.campaign, proposal, found.table, begins, left, last))


def connection_of_edited(
    books: Books, now: Connection, cycle: int, proposal_id: str
) -> dict[str, str | None]:
    """Return which line is to feed which chip by a proposal that a person edits: an edit changes doses alone.

    A chip with a line that is held by now stays where it is.
    """
    found = [p for p, _ in books.record.proposed(books.run_id, cycle) if p.key == proposal_id]
    held = set(books.journal.held(books.run_id))
    wanted = {
        chip: str(dose["line"])
        for dose in (found[-1].content["doses"] if found else ())
        for chip in dose["chips"]
        if chip in books.study.valves and not held & set(lines_that_may_feed(books.study, chip))
    }
    return {**now, **wanted}


def may_begin_h(books: Books, standing: RecordedContent) -> float:
    """Return when the doses of an open proposal can begin: not before the hold ends that runs now."""
    cycle = int(standing.content["cycle"])
    asked_h = standing.content.get("begin_h")
    begin_h = books.study.exposure_start_h(cycle) if asked_h is None else float(asked_h)
    for action in books.journal.actions(books.run_id):
        _, own, _, phase = action.intent.programme_key.rsplit("/", 3)
        if own == f"c{cycle - 1:02d}" and is_hold(phase) and action.sent_h:
            end_h = action.begun_h + action.intent.programme.duration_h
            begin_h = end_h if end_h > begin_h + SAME_TIME_H else begin_h
    return begin_h


def refused_doses(content: Mapping[str, Any]) -> set[tuple[str, float, str]]:
    """Return what a rejected proposal rules out: its doses, or the vehicle where it had nothing else."""
    given = {(dose["line"], dose["asked_nm"], schedule_in(dose)) for dose in content["doses"]}
    return {dose for dose in given if dose[1] > 0.0} or given


def reopened_doses(record: Record, run_id: str) -> tuple[Reopened, ...]:
    """Return what persons have reopened after harm, from the record's events of kind ``reopened``."""
    events = record.events(run_id, "reopened")
    return tuple(
        Reopened(
            float(e.content["up_to_nm"]),
            e.time_h,
            frozenset((chip, float(h)) for chip, h in e.content["seen"])
            if "seen" in e.content
            else None,
            str(e.content.get("drug", "")),
        )
        for e in events
    )


def card_on_record(record: Record, run_id: str, proposal_id: str) -> Card | None:
    """Return the card of a proposal; None where there is none on record."""
    content = record.card(run_id, proposal_id)
    return None if content is None else card_from_dict(content)


def last_predictions(books: Books, cycle: int) -> Sequence[PredictedReading]:
    """Return what the approved proposal of a cycle predicted; nothing where it has no card."""
    for p, decision in reversed(books.record.proposed(books.run_id, cycle)):
        if decision is not None and decision.action == "approve":
            card = card_on_record(books.record, books.run_id, p.key)
            if card is None:
                return ()
            begun_h = dose_begun_h(books.journal.actions(books.run_id), cycle)
            return as_given(card.predicted, card.begins_h, begun_h)
    return ()


def books_of(files: RunFiles, record: Record, journal: Journal) -> Books:
    """Return the books of a run for a process that has none of its ports open."""
    round_off = rounding_of(load_lab_settings(files.folder / SETTINGS_FILE))
    return Books(files.study, files.run_id, files.seed, record, journal, round_off, files.folder)


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
    readouts = books.record.readouts(books.run_id)
    decided = decided_on_record(books.record, books.run_id)
    evidence = evidence_up_to(books.study, actions, readouts, cycle, decided)
    begun = replace(
        loop.start(books.study),
        cycle=cycle - 1,
        schedules=evidence[-1].schedules,
        readouts=readouts_of(evidence[:-1]),
    )
    return loop.learned(begun, evidence[-1].readouts, posterior, info)
